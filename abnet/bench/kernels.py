"""Which kernels a step of training ran, as torch's profiler names them."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase

import torch

KERNELS = {
    "attention": {
        "aten::_scaled_dot_product_flash_attention": "flash",
        "aten::_scaled_dot_product_flash_attention_for_cpu": "flash for CPUs",
        "aten::_scaled_dot_product_efficient_attention": "efficient",
        "aten::_scaled_dot_product_cudnn_attention": "cuDNN",
        "aten::_scaled_dot_product_attention_math": "math",
    },
    "layer norm": {
        "aten::native_layer_norm": "torch",
        "triton_*layer_norm*": "torch, compiled",
        "*FusedLayerNorm*": "apex, fused",
    },
    "adam": {
        "aten::_fused_adam*_": "torch, fused",
        "aten::_foreach_addcdiv_": "torch, lists of tensors",
        "aten::addcdiv_": "torch, one tensor at a time",
        "Optimizer.step#FusedAdam.step": "apex, fused",
    },
}
"""Of each topic what is looked for, and what it is called in the results."""

UNNAMED = "none that the profiler names"


def kernels_of(step: Callable[[], object]) -> dict[str, str]:
    """What ran of each topic of `KERNELS`; several are joined by "and".

    Operations are looked at, and not what a GPU makes of them: each of those listed is one kernel.

    Args:
        step: with loss, gradients and update; is run once.
    """
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        step()
    names = {event.key for event in profile.key_averages()}
    found = {}
    for topic, patterns in KERNELS.items():
        ran = [
            called
            for pattern, called in patterns.items()
            if any(fnmatchcase(name, pattern) for name in names)
        ]
        found[topic] = " and ".join(ran) or UNNAMED
    return found
