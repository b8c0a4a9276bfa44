"""Weights in lower precision, for decoding: it may change the output."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from abnet.backbone.families import TiedHead
from abnet.ensemble import Ensemble
from abnet.errors import AbNetError
from abnet.model import AbNet

HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
PRECISIONS = ("float32", *HALVES, "int8")
SMALLEST = 128  # inputs or outputs of a layer; below, preparing the states costs more than it saves


def set_precision(system: AbNet | Ensemble, dtype: str) -> None:
    """Lowers the weights of a system that is on its device; checkpoints stay as they are.

    Scores, log-probabilities of tokens and of lengths remain in 32 bits. "int8" replaces the linear
    layers, of the BERTs, adapters and output heads alike, by `Int8Linear`, on the CPU only.

    Args:
        system: in evaluation mode.
        dtype: of `PRECISIONS`; "float32" changes nothing.

    Raises:
        AbNetError: there is no such precision, or not on this device.
    """
    if dtype not in PRECISIONS:
        raise AbNetError(f"`dtype` must be one of {', '.join(PRECISIONS)}, but is {dtype} instead.")
    for model in system.models if isinstance(system, Ensemble) else (system,):
        device = next(model.parameters()).device.type
        if dtype == "int8" and device != "cpu":
            raise AbNetError(
                f"`dtype` must be bfloat16 or float16 on the device {device}, but is int8, which "
                "is for the CPU, instead."
            )
        if dtype == "float16" and device == "cpu":
            raise AbNetError(
                "`dtype` must be bfloat16 or int8 on the CPU, but is float16, which is for GPUs, "
                "instead."
            )
        if dtype == "int8" and not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
            raise AbNetError("`dtype` must not be int8: this torch was built without oneDNN.")
        if dtype == "int8":
            _quantize(model)
        elif dtype != "float32":
            model.to(HALVES[dtype])


class Int8Linear(nn.Module):
    """A linear layer with 8-bit weights, one scale an output, that rounds its inputs as they come.

    Inputs have one scale a call and 7 bits: processors without VNNI add two products in 16 bits,
    which 8 bits would overflow. The rounding of a sentence thus depends on its batch.

    It calls oneDNN itself, as compiled models of torch do: torch's own dynamic quantization is
    about to be removed, and torchao's products of integers are slow on a CPU without compiling.

    Args:
        weight: (out_features, in_features), on the CPU.
        bias: (out_features,) or `None`.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        weight = weight.detach().float().contiguous()  # packing knows no strides
        scale = weight.abs().amax(dim=1).clamp(min=1e-12) / 127
        rounded = (weight / scale[:, None]).round().to(torch.int8)
        self.out_features, self.in_features = weight.shape
        self.packed = torch.ops.onednn.qlinear_prepack(rounded, None)  # no buffer: it cannot move
        self.scale = scale
        self.zero = torch.zeros(self.out_features, dtype=torch.long)
        self.bias = None if bias is None else bias.detach().float()

    @property
    def weight_bytes(self) -> int:
        """Of the weights with their scales, zeros and biases."""
        beside = 4 + 8 + (0 if self.bias is None else 4)
        return self.out_features * (self.in_features + beside)

    def forward(self, states: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        flat = states.reshape(-1, self.in_features)
        least, most = (float(one) for one in torch.aminmax(flat))
        least, most = min(least, 0.0), max(most, 0.0)
        step = max(most - least, 1e-12) / 127
        zero = int(-least / step)  # rounded up, the largest state could not be held
        rounded = torch.add(zero + 0.5, flat, alpha=1 / step).to(torch.int8)  # uint8 is slower
        output = self.multiply(rounded.view(torch.uint8), step, zero)
        return output.view(*states.shape[:-1], self.out_features)

    def multiply(self, rounded: Tensor, step: float, zero: int) -> Tensor:
        """The product alone, with the bias: `step * (rounded - zero)` are the states.

        Args:
            rounded: (rows, in_features) of torch.uint8.
            step, zero: of all of them.

        Returns:
            (rows, out_features) of torch.float32.
        """
        output: Tensor = torch.ops.onednn.qlinear_pointwise(
            rounded, step, zero, self.packed, self.scale, self.zero, self.bias,
            1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip
        return output


def _quantize(model: nn.Module) -> None:
    """Replaces the linear layers of a model that are large enough, each by one everywhere."""
    made: dict[nn.Module, Int8Linear] = {}
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if child not in made:
                if isinstance(child, TiedHead):
                    made[child] = Int8Linear(child.words.weight, None)
                elif isinstance(child, nn.Linear) and min(child.weight.shape) >= SMALLEST:
                    made[child] = Int8Linear(child.weight, child.bias)
                else:
                    continue
            setattr(parent, name, made[child])
