"""Systems as they are trained: a model, an optimizer, and which measures are on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from abnet.bench.compiled_layers import compile_layers
from abnet.bench.engine import Materials, module_bytes
from abnet.bench.halved import halve_frozen
from abnet.bench.kernels import kernels_of
from abnet.bench.liger import liger_loss, load_liger
from abnet.bench.released import masked_loss, released_loss
from abnet.bench.training_batches import TrainingBatch
from abnet.bench.ways import Way
from abnet.config import AbNetConfig
from abnet.doctor import apex_kernels
from abnet.errors import AbNetError
from abnet.model import AbNet
from abnet.training.loss import LossParts
from abnet.training.masking import MaskedTarget, batch_generator, mask_targets
from abnet.training.objective import training_loss

OF_MODELS = frozenset({"bf16", "compile", "half"})
"""The measures that a model is made with."""

Reduce = Callable[[Sequence[Tensor]], None]


def make_model(materials: Materials, way: Way, dropout: float = 0.1) -> AbNet:
    """A model of the size with random weights and the shape of the paper's WMT model.

    Args:
        materials: of the run.
        way: that it is to be trained in; of its measures those in `OF_MODELS` count.
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
    if way.system == "abnet":  # a BERT with random weights is frozen for nothing but its speed
        for backbone in (model.encoder.bert_backbone, model.decoder.backbone):
            backbone.requires_grad_(False)
    model.to(materials.device, torch.bfloat16 if "bf16" in way.measures else torch.float32)
    if "half" in way.measures:
        halve_frozen(model)
    if "compile" in way.measures:
        compile_layers(model)
    return model


class Learner:
    """Trains a model step by step.

    Args:
        model: in training mode, made for the way.
        way: which measures are on.
        reduce: sums gradients over processes; `None` for one process.

    Raises:
        AbNetError: apex or liger-kernel is asked for, but is not there.
    """

    def __init__(self, model: AbNet, way: Way, reduce: Reduce | None = None) -> None:
        self.model = model
        self.way = way
        self.reduce = reduce
        self.trained = [p for p in model.parameters() if p.requires_grad]
        self.frozen = [p for p in model.parameters() if not p.requires_grad]
        self.masters = self.trained
        if "bf16" in way.measures:  # what fairseq's `--bf16` keeps
            self.masters = [nn.Parameter(p.detach().float().clone()) for p in self.trained]
        self.optimizer = _optimizer(self.masters, way)
        if "liger" in way.measures:
            self.fused_loss = load_liger(model.config.label_smoothing)

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
        """Loss and its gradients, of what trains."""
        with self._attention(), self._products(), self._gradients_of_more():
            parts = self._loss(batch, seed)
            torch.autograd.backward(parts.loss / parts.sample_size)
        return parts

    def _loss(self, batch: TrainingBatch, seed: int) -> LossParts:
        if "chunks" in self.way.measures:
            generator = batch_generator(batch.pairs.target.device, seed)
            return training_loss(self.model, self.model, batch.pairs, generator, True)
        if "liger" in self.way.measures:
            masked = self.mask(batch, seed)
            return liger_loss(self.model, batch.pairs, masked, self.fused_loss)
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

    @contextlib.contextmanager
    def _products(self) -> Iterator[None]:
        """With "tf32", those of 32 bits are allowed to be rounded so."""
        if "tf32" not in self.way.measures:
            yield
            return
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)

    @contextlib.contextmanager
    def _gradients_of_more(self) -> Iterator[None]:
        """Without "frozen" or "cut" there are gradients that nothing takes; they end here."""
        thawed = self.frozen if "frozen" in self.way.without else []
        hooks = []
        if "cut" in self.way.without:
            for backbone in (self.model.encoder.bert_backbone, self.model.decoder.backbone):
                hooks.append(backbone.embeddings.register_forward_hook(_follow))
        for parameter in thawed:
            parameter.requires_grad_(True)
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
            for parameter in thawed:
                parameter.requires_grad_(False)
                parameter.grad = None

    def resident_bytes(self) -> int:
        """Weights, their copies in 32 bits, and the optimizer's state; no gradients."""
        copies = 0 if self.masters is self.trained else sum(p.nbytes for p in self.masters)
        states = self.optimizer.state.values()
        values = [v for state in states for v in state.values() if isinstance(v, Tensor)]
        return module_bytes(self.model) + copies + sum(value.nbytes for value in values)

    def checkpoint_bytes(self) -> int:
        """Of a checkpoint to go on from: weights in 32 bits and Adam's two moments.

        In a baseline all weights are in it, as in the released code's; else what trains.
        """
        trained = sum(p.numel() for p in self.trained)
        is_baseline = not self.way.measures - {"tf32"}
        saved = sum(p.numel() for p in self.model.parameters()) if is_baseline else trained
        return 4 * (saved + 2 * trained)

    def kernels(self, batch: TrainingBatch, seed: int) -> dict[str, str]:
        """Which kernels a step ran, which is done to see; apex is named where it is installed."""
        ran = kernels_of(lambda: self.step(batch, seed))
        return {**ran, "apex": ", ".join(apex_kernels()) or "not there"}


def _follow(module: nn.Module, inputs: Any, output: Tensor) -> None:
    """From here on there is a backward pass."""
    output.requires_grad_(True)


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
