"""Linear layers for decoding on a CPU, whose weights lie as the fastest products want them.

They call oneDNN themselves, as compiled models of torch do, and FBGEMM through torch.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from abnet.backbone.families import TiedHead
from abnet.errors import AbNetError

SMALLEST = 128  # inputs or outputs of a layer; below, there is nothing to gain
LARGE = 1 << 18  # weights of a layer; below, FBGEMM's kernel is the faster one even beside VNNI


def packs(dtype: torch.dtype) -> bool:
    """Whether oneDNN can have matrices of a type as it wants them, on this processor."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    return dtype == torch.float32 or (
        dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )


class DecodingLinear(nn.Module):
    """A linear layer that only decodes, in this process.

    Attributes:
        in_features, out_features: its sizes.
        weight_bytes: of all that it holds.
    """

    in_features: int
    out_features: int
    weight_bytes: int

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Refuses to be copied or pickled, which what oneDNN and FBGEMM hold cannot be.

        Raises:
            AbNetError: always.
        """
        raise AbNetError(
            "A model whose weights were packed for decoding cannot be copied or pickled: load it "
            "where it is needed, for example with `Translator.from_checkpoint` in each process."
        )


class PackedLinear(DecodingLinear):
    """A linear layer that computes what torch's own does, on some processors in half the time.

    On a CPU torch takes MKL for 32 bits, which does not use all that AMD's processors have.

    Args:
        weight: (out_features, in_features), of a type that `packs`, on the CPU.
        bias: (out_features,) or `None`.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), None)
        self.bias = None if bias is None else bias.detach()
        self.weight_bytes = weight.nbytes + (0 if bias is None else bias.nbytes)

    def forward(self, states: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        output: Tensor = torch.ops.mkldnn._linear_pointwise(
            states, self.packed, self.bias, "none", [], ""
        )
        return output


class Int8Linear(DecodingLinear):
    """A linear layer with 8-bit weights, one scale an output, that rounds its inputs as they come.

    Inputs have one scale a call and 7 bits: processors without VNNI add two products in 16 bits,
    which 8 bits would overflow. The rounding of a sentence thus depends on its batch. (torchao's
    products of integers are slow on a CPU without compiling.)

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
        self.scale = scale
        self.zero = torch.zeros(self.out_features, dtype=torch.long)
        self.bias = None if bias is None else bias.detach().float()
        self.packed = self.pack(rounded)  # no buffer: it cannot move
        beside = 4 + 8 + (0 if bias is None else 4)  # scale, zero, bias
        self.weight_bytes = self.out_features * (self.in_features + beside)

    def pack(self, rounded: Tensor) -> Any:
        """The weights, (out_features, in_features) of torch.int8, as oneDNN wants them."""
        return torch.ops.onednn.qlinear_prepack(rounded, None)

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


class FusedInt8Linear(Int8Linear):
    """The same by torch's own kernel, which rounds the inputs itself.

    Without VNNI, where that kernel is FBGEMM's, it takes half the time for one sentence. It
    is given its weights as a quantized tensor, a kind that torch is going to remove.
    """

    bits = 7

    def pack(self, rounded: Tensor) -> Any:
        """The weights, (out_features, in_features) of torch.int8, with scales and bias."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.quantize_per_tensor.*deprecated", UserWarning)
            weight = torch._make_per_channel_quantized_tensor(
                rounded, self.scale.double(), self.zero, 0
            )
        return torch.ops.quantized.linear_prepack(weight, self.bias)

    def forward(self, states: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        output: Tensor = torch.ops.quantized.linear_dynamic(states, self.packed, self.bits < 8)
        return output


class VnniInt8Linear(FusedInt8Linear):
    """The same by oneDNN's kernel, which makes use of VNNI and AMX, and with 8 bits of the inputs.

    For one sentence of 24 tokens and its four length candidates a layer of BERT-Base takes half to
    two thirds of FBGEMM's time on AMX; for one candidate it takes about as long.
    """

    bits = 8

    def pack(self, rounded: Tensor) -> Any:
        """As torch's engine of this name wants them."""
        before = torch.backends.quantized.engine
        torch.backends.quantized.engine = "onednn"
        try:
            return super().pack(rounded)
        finally:
            torch.backends.quantized.engine = before


def fuses() -> bool:
    """Whether this torch has `FusedInt8Linear`'s kernel for this processor."""
    is_x86 = torch.backends.quantized.engine in ("x86", "fbgemm")
    return is_x86 and hasattr(torch, "_make_per_channel_quantized_tensor")


def has_vnni() -> bool:
    """Whether this processor adds products of bytes in 32 bits, and torch has a kernel for that."""
    found = torch.cpu.get_capabilities()
    names = ("avx_vnni", "avx512_vnni", "amx_int8")
    is_there = any(found.get(name, False) for name in names)
    return is_there and fuses() and "onednn" in torch.backends.quantized.supported_engines


def int8_linear(weight: Tensor, bias: Tensor | None) -> Int8Linear:
    """The fastest layer with 8-bit weights here; see `Int8Linear`."""
    if weight.numel() >= LARGE and has_vnni():
        return VnniInt8Linear(weight, bias)
    return FusedInt8Linear(weight, bias) if fuses() else Int8Linear(weight, bias)


def replace_linear(
    model: nn.Module, make: Callable[[Tensor, Tensor | None], DecodingLinear]
) -> None:
    """Replaces the linear layers of a model that are large enough, each by one everywhere.

    Args:
        model: on the CPU.
        make: a layer of weight and bias.
    """
    made: dict[nn.Module, nn.Module] = {}
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if child not in made:
                if isinstance(child, TiedHead):
                    made[child] = make(child.words.weight, None)
                elif isinstance(child, nn.Linear) and min(child.weight.shape) >= SMALLEST:
                    made[child] = make(child.weight, child.bias)
                else:
                    continue
            setattr(parent, name, made[child])
