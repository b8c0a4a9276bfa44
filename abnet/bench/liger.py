"""The loss by liger-kernel, which has the product with the vocabulary and the loss in one.

Legend: N words to predict, H the width of their states, V vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from abnet.attention import training_attention
from abnet.bench.released import with_length
from abnet.errors import AbNetError
from abnet.model import AbNet
from abnet.training.loss import LossParts
from abnet.training.masking import MaskedTarget
from abnet.training.objective import Pairs
from abnet.training.word_loss import WordLoss

FusedLoss = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]
"""Weight (V, H), states (N, H), gold (N,) and bias (V,) to a sum."""


def load_liger(smoothing: float) -> FusedLoss:
    """The summed loss with label smoothing; it runs on a GPU.

    Raises:
        AbNetError: liger-kernel is not there.
    """
    try:
        from liger_kernel.transformers import (  # type: ignore[import-not-found]
            LigerFusedLinearCrossEntropyLoss,
        )
    except ImportError as error:
        raise AbNetError(f"liger-kernel is not there to train with: {error}") from None
    loss: FusedLoss = LigerFusedLinearCrossEntropyLoss(label_smoothing=smoothing, reduction="sum")
    return loss


def liger_loss(model: AbNet, pairs: Pairs, masked: MaskedTarget, fused: FusedLoss) -> LossParts:
    """Logits of the masked positions only, and never all at once.

    What is right and the loss without smoothing are not computed: it has less to do than ours.
    """
    with training_attention(model, pairs.source, masked.inputs):
        encoded = model.encode(pairs.source)
        hidden = model.decoder.hidden(masked.inputs, model.project(encoded))[masked.chosen]
        before, last = split_head(model.decoder.lm_head, model.decoder.backbone.vocab_size)
        loss = fused(last.weight, before(hidden), pairs.target[masked.chosen], last.bias)
    uncounted = torch.zeros_like(masked.chosen[0, 0], dtype=torch.long)
    words = WordLoss(loss, loss.detach(), uncounted)
    return with_length(model, encoded.length_logits, pairs, masked, words)


def split_head(head: nn.Module, vocab_size: int) -> tuple[nn.Module, nn.Linear]:
    """An output head without its product with the vocabulary, and that product.

    Raises:
        AbNetError: it does not end in such a product.
    """
    for name, child in head.named_children():
        if isinstance(child, nn.Linear) and child.out_features == vocab_size:
            before = copy.copy(head)
            before._modules = {**head._modules, name: nn.Identity()}
            return before, child
    raise AbNetError("liger-kernel needs an output head with a product of its own, but has none.")
