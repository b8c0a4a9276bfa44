"""Systems as they are trained: a model, an optimizer, and which measures are on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from abnet.bench.engine import Materials, module_bytes
from abnet.bench.released import masked_loss, released_loss
from abnet.bench.training_batches import TrainingBatch
from abnet.config import AbNetConfig
from abnet.doctor import apex_kernels, computes_in_bfloat16
from abnet.errors import AbNetError
from abnet.loss import LossParts
from abnet.masking import MaskedTarget, batch_generator, mask_targets
from abnet.model import AbNet
from abnet.objective import training_loss

MEASURES = {
    "masked": "logits and loss of the masked positions only",
    "chunks": "one pass over the logits for all sums, in chunks of words",
    "sdpa": "fused attention, or what is faster",
    "adam": "fused AdamW",
    "bf16": "weights and computation in bfloat16, beside trained weights in 32 bits",
}
"""What makes a step cheaper, and can be switched off."""

Reduce = Callable[[Sequence[Tensor]], None]


@dataclass(frozen=True)
class Way:
    """One system as it is trained: a row of the table.

    Attributes:
        name: of the row, unique.
        system: "abnet" or "abnet_fb" (everything trains).
        measures: those of `MEASURES` that are on.
        apex: take apex's fused Adam in place of torch's.
    """

    name: str
    system: str
    measures: frozenset[str]
    apex: bool = False


def ways(device: torch.device) -> list[Way]:
    """The baseline, ours, each measure alone and left out, and full fine-tuning, both ways.

    On a CPU that is no faster with bfloat16, all measures are all but that one. "chunks" need
    "masked".
    """
    is_slow = device.type == "cpu" and not computes_in_bfloat16()
    every = frozenset(MEASURES) - ({"bf16"} if is_slow else set())
    found = [
        Way("abnet-baseline", "abnet", frozenset()),
        Way("abnet-all", "abnet", every),
        Way("abnet_fb-baseline", "abnet_fb", frozenset()),
        Way("abnet_fb-all", "abnet_fb", every),
    ]
    for name in sorted(every):
        if name != "chunks":
            found.append(Way(f"abnet-only-{name}", "abnet", frozenset({name})))
        without = every - ({name, "chunks"} if name == "masked" else {name})
        found.append(Way(f"abnet-without-{name}", "abnet", without))
    if device.type == "cuda" and apex_kernels():
        found.append(Way("abnet-all-apex", "abnet", every, apex=True))
    return found


def make_model(materials: Materials, system: str, bf16: bool, dropout: float = 0.1) -> AbNet:
    """A model of the size with random weights, ready to train.

    Args:
        materials: of the run.
        system: of `abnet.systems`; both have the shape of the paper's WMT model.
        bf16: whether all weights are bfloat16.
        dropout: everywhere.
    """
    source, target = materials.tokenizers
    config = AbNetConfig.from_preset(
        "abnet_wmt_en_de",
        source_bert=source.name,
        target_bert=target.name,
        source_weights="random",
        target_weights="random",
        encoder_adapter_dim=materials.size.adapter_dim,
        adapter_init="released",
        bert_dropout=dropout,
        adapter_dropout=dropout,
    )
    model = AbNet.from_pretrained(config).train()
    if system == "abnet":  # a BERT with random weights is frozen for nothing but its speed
        for backbone in (model.encoder.bert_backbone, model.decoder.backbone):
            backbone.requires_grad_(False)
    return model.to(materials.device, torch.bfloat16 if bf16 else torch.float32)


class Learner:
    """Trains a model step by step.

    Args:
        model: in training mode.
        way: which measures are on.
        reduce: sums gradients over processes; `None` for one process.

    Raises:
        AbNetError: apex is asked for, but is not there.
    """

    def __init__(self, model: AbNet, way: Way, reduce: Reduce | None = None) -> None:
        self.model = model
        self.way = way
        self.reduce = reduce
        self.trained = [p for p in model.parameters() if p.requires_grad]
        self.masters = self.trained
        if "bf16" in way.measures:  # what fairseq's `--bf16` keeps
            self.masters = [nn.Parameter(p.detach().float().clone()) for p in self.trained]
        self.optimizer = _optimizer(self.masters, way)

    def step(self, batch: TrainingBatch, seed: int) -> LossParts:
        """One update; the masks depend on the seed alone."""
        parts = self.gradients(batch, seed)
        if self.reduce is not None:
            self.reduce([p.grad for p in self.trained if p.grad is not None])
        if self.masters is not self.trained:
            for master, parameter in zip(self.masters, self.trained, strict=True):
                master.grad = None if parameter.grad is None else parameter.grad.float()
        self.optimizer.step()
        if self.masters is not self.trained:
            torch._foreach_copy_([p.data for p in self.trained], [m.data for m in self.masters])
        for parameter in (*self.trained, *self.masters):
            parameter.grad = None
        return parts

    def gradients(self, batch: TrainingBatch, seed: int) -> LossParts:
        """Loss and its gradients."""
        with self._attention():
            parts = self._loss(batch, seed)
            torch.autograd.backward(parts.loss / parts.sample_size)
        return parts

    def _loss(self, batch: TrainingBatch, seed: int) -> LossParts:
        if "chunks" in self.way.measures:
            generator = batch_generator(batch.pairs.target.device, seed)
            return training_loss(self.model, self.model, batch.pairs, generator, True)
        compute = masked_loss if "masked" in self.way.measures else released_loss
        return compute(self.model, batch.pairs, batch.masked(self, seed))

    def mask(self, batch: TrainingBatch, seed: int) -> MaskedTarget:
        """The masks that `training_loss` draws."""
        return mask_targets(
            batch.pairs.target,
            self.model.target_symbols,
            batch.pairs.target_vocab,
            self.model.config.target_noise,
            batch_generator(batch.pairs.target.device, seed),
        )

    @contextlib.contextmanager
    def _attention(self) -> Iterator[None]:
        """Without "sdpa", scores and probabilities are tensors of their own."""
        if "sdpa" in self.way.measures:
            yield
            return
        with sdpa_kernel(SDPBackend.MATH):
            yield

    def resident_bytes(self) -> int:
        """Weights, their copies in 32 bits, and the optimizer's state; no gradients."""
        copies = 0 if self.masters is self.trained else sum(p.nbytes for p in self.masters)
        states = self.optimizer.state.values()
        values = [v for state in states for v in state.values() if isinstance(v, Tensor)]
        return module_bytes(self.model) + copies + sum(value.nbytes for value in values)

    def checkpoint_bytes(self) -> int:
        """Of a checkpoint to go on from: weights in 32 bits and Adam's two moments.

        Without any measure all weights are in it, as in the released code's; else what trains.
        """
        trained = sum(p.numel() for p in self.trained)
        saved = trained if self.way.measures else sum(p.numel() for p in self.model.parameters())
        return 4 * (saved + 2 * trained)

    def kernels(self) -> dict[str, str]:
        """Which kernels a step takes; apex is named where it is installed."""
        adam = "torch, fused" if "adam" in self.way.measures else "torch, one tensor at a time"
        is_fused = "sdpa" in self.way.measures and not (
            "bf16" in self.way.measures and self.trained[0].device.type == "cpu"
        )
        return {
            "adam": "apex, fused" if self.way.apex else adam,
            "layer norm": "torch",  # a BERT's; fairseq's own models alone take apex's
            "attention": "torch, fused" if is_fused else "torch, unfused",
            "apex": ", ".join(apex_kernels()) or "not there",
        }


def _optimizer(parameters: list[nn.Parameter], way: Way) -> Any:
    if way.apex:
        try:
            from apex.optimizers import FusedAdam  # type: ignore[import-not-found]
        except ImportError as error:
            raise AbNetError(f"apex is not there to train with: {error}") from None
        return FusedAdam(parameters, lr=1e-4, betas=(0.9, 0.98))
    if "adam" in way.measures:
        return torch.optim.AdamW(parameters, lr=1e-4, betas=(0.9, 0.98), fused=True)
    return torch.optim.Adam(parameters, lr=1e-4, betas=(0.9, 0.98), foreach=False, fused=False)
