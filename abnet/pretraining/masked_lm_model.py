"""The masked LM that pre-training trains: a new BERT, or one to continue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    AutoTokenizer,
    BertForMaskedLM,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)
from transformers.modeling_outputs import MaskedLMOutput

from abnet.attention import training_attention
from abnet.backbone import FAMILIES
from abnet.errors import AbNetError
from abnet.tokenizer import Tokenizer
from abnet.training.word_loss import word_loss

if TYPE_CHECKING:
    from abnet.pretraining.options import BertShape

IGNORED = -100


class LeanBertForMaskedLM(BertForMaskedLM):  # type: ignore[misc]
    """`BertForMaskedLM` whose training loss makes vocabulary logits for masked words only."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> MaskedLMOutput:
        """Mean loss over `labels != -100`; all three tensors are (batch, length)."""
        with training_attention(self, input_ids):
            hidden = self.bert(input_ids, attention_mask=attention_mask).last_hidden_state
        chosen = labels != IGNORED
        logits = self.cls(hidden[chosen])
        words = word_loss(logits, labels[chosen], smoothing=0.0)
        return MaskedLMOutput(loss=words.loss / chosen.sum(), logits=logits)


def new_bert(
    shape: BertShape, tokenizer: PreTrainedTokenizerBase, dropout: float, seed: int
) -> PreTrainedModel:
    """A BERT of this shape with random weights."""
    set_seed(seed)
    return LeanBertForMaskedLM(
        shape.config(
            len(tokenizer),
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def load_masked_lm(
    name_or_folder: str, head_only: bool = False, seed: int = 1
) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    """Tokenizer and model, in 32 bits, of an existing BERT.

    Args:
        name_or_folder: of a masked LM or, with `head_only`, of an encoder without a head.
        head_only: nothing but the masked-LM head trains, never the embeddings it is tied to; a
            missing head is made anew.
        seed: of a new head's weights.

    Raises:
        AbNetError: nothing of the kind is there, or its tokenizer or weights are missing, or do not
            fit each other.
    """
    checked = Tokenizer.from_pretrained(name_or_folder)  # its errors say what a tokenizer lacks
    tokenizer = AutoTokenizer.from_pretrained(name_or_folder)
    set_seed(seed)
    try:
        config = AutoConfig.from_pretrained(name_or_folder)
        kind = LeanBertForMaskedLM if config.model_type == "bert" else AutoModelForMaskedLM
        model, report = kind.from_pretrained(
            name_or_folder, dtype=torch.float32, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise AbNetError(
            f"the BERT to continue must be a masked language model, but {name_or_folder} cannot "
            f"be loaded as one: {error}"
        ) from error
    checked.check_fits(model.config.vocab_size)
    trunk = f"{model.base_model_prefix}."
    missing = sorted(
        key
        for key in report["missing_keys"]
        if "pooler" not in key and (key.startswith(trunk) or not head_only)
    )
    if missing:
        raise AbNetError(
            f"the BERT to continue must bring all weights of a masked language model, but of "
            f"{name_or_folder} {len(missing)} are missing: {', '.join(missing[:5])}. If it is an "
            "encoder without a masked-LM head, `--head-only` makes one."
        )
    if head_only:
        model.base_model.requires_grad_(False)  # the tied embeddings with it
    return tokenizer, model


def positions_of(config: PretrainedConfig) -> int:
    """The longest sequence of a BERT; RoBERTa's first positions belong to padding.

    Of kinds that AB-Net cannot take apart two are taken off, as RoBERTa has it.
    """
    longest = int(config.max_position_embeddings)
    family = FAMILIES.get(config.model_type)
    return longest - (2 if family is None else family.first_position(config))
