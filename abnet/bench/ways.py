"""The ways to train that the benchmark sets side by side."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

import torch

from abnet.doctor import apex_kernels, computes_in_bfloat16

MEASURES = {
    "masked": "logits and loss of the masked positions only",
    "chunks": "one pass over the logits for all sums, in chunks of words",
    "sdpa": "fused attention, or what is faster",
    "adam": "fused AdamW",
    "bf16": "weights and computation in bfloat16, beside trained weights in 32 bits",
}
"""What makes a step cheaper, and can be switched off."""

EXTRAS = {
    "compile": "layers and adapters compiled by torch",
    "liger": "liger-kernel's product and loss in one, in place of chunks",
    "half": "frozen weights in bfloat16, which are made 32 bits again where they are used",
    "tf32": "products of 32 bits in TF32",
}
"""What is tried besides the measures, on a GPU; a row that cannot have it is left out."""

ALWAYS = {
    "frozen": "no gradients of frozen weights",
    "cut": "no backward pass below the lowest trained weight",
    "buckets": "batches of pairs of like length",
}
"""What every way has, the baseline too; a row without each shows what it brings."""


@dataclass(frozen=True)
class Way:
    """One system as it is trained: a row of the table.

    Attributes:
        name: of the row, unique.
        system: "abnet" or "abnet_fb" (everything trains).
        measures: those of `MEASURES` and `EXTRAS` that are on.
        apex: take apex's fused Adam in place of torch's.
        without: those of `ALWAYS` that are off; where "frozen" is, "cut" has nothing to cut.
    """

    name: str
    system: str
    measures: frozenset[str]
    apex: bool = False
    without: frozenset[str] = frozenset()


def ways(device: torch.device) -> list[Way]:
    """The baseline, ours, each measure alone and left out, and full fine-tuning, both ways.

    On a GPU also the baseline with TF32, and what is tried besides the measures. On a CPU that is
    no faster with bfloat16, all measures are all but that one. "chunks" need "masked".
    """
    is_slow = device.type == "cpu" and not computes_in_bfloat16()
    every = frozenset(MEASURES) - ({"bf16"} if is_slow else set())
    found = [
        Way("abnet-baseline", "abnet", frozenset()),
        Way("abnet-all", "abnet", every),
        Way("abnet_fb-baseline", "abnet_fb", frozenset()),
        Way("abnet_fb-all", "abnet_fb", every),
    ]
    if device.type == "cuda":
        found.append(Way("abnet-baseline-tf32", "abnet", frozenset({"tf32"})))
    for name in sorted(every):
        if name != "chunks":
            found.append(Way(f"abnet-only-{name}", "abnet", frozenset({name})))
        without = every - ({name, "chunks"} if name == "masked" else {name})
        found.append(Way(f"abnet-without-{name}", "abnet", without))
    for name in ALWAYS:
        found.append(Way(f"abnet-without-{name}", "abnet", every, without=frozenset({name})))
    if device.type == "cuda":
        for system in ("abnet", "abnet_fb"):
            found.append(Way(f"{system}-with-compile", system, every | {"compile"}))
        found.append(Way("abnet-with-liger", "abnet", every - {"chunks"} | {"liger"}))
        found.append(Way("abnet-with-half", "abnet", every - {"bf16"} | {"half"}))
        if has_apex_adam():
            found.append(Way("abnet-all-apex", "abnet", every, apex=True))
    return found


def has_apex_adam() -> bool:
    """Whether apex is there with the kernels of `apex.optimizers.FusedAdam`."""
    return "Adam" in apex_kernels() and find_spec("amp_C") is not None
