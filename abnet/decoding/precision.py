"""Weights in lower precision, for decoding: it may change the output."""

from __future__ import annotations

import torch

from abnet.decoding.ensemble import Ensemble, mark_lowered
from abnet.decoding.linear import fuses, int8_linear, replace_linear
from abnet.errors import AbNetError
from abnet.model import AbNet

HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
PRECISIONS = ("float32", *HALVES, "int8")


def set_precision(system: AbNet | Ensemble, dtype: str) -> None:
    """Lowers the weights of a system that is on its device; checkpoints stay as they are.

    BERTs that are shared with another model, see `Ensemble`, are so for that one, too, which from
    then on takes no other precision.

    Scores, log-probabilities of tokens and of lengths remain in 32 bits. "int8" replaces the linear
    layers, of the BERTs, adapters and output heads alike, by `Int8Linear`, on the CPU only.

    Args:
        system: in evaluation mode.
        dtype: of `PRECISIONS`; "float32" changes nothing.

    Raises:
        AbNetError: there is no such precision, or not on this device, or the weights have been
            lowered to another one before.
    """
    if dtype not in PRECISIONS:
        raise AbNetError(f"`dtype` must be one of {', '.join(PRECISIONS)}, but is {dtype} instead.")
    for model in system.models if isinstance(system, Ensemble) else (system,):
        device = next(model.parameters()).device.type
        if model.precision not in ("float32", dtype):
            raise AbNetError(
                f"`dtype` must be {model.precision}, to which this model's weights were lowered "
                f"before, but is {dtype} instead: load the checkpoint again for another one."
            )
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
        has_onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        if dtype == "int8" and not (fuses() or has_onednn):
            raise AbNetError("`dtype` must not be int8: this torch was built without oneDNN.")
        if dtype == "int8":
            replace_linear(model, int8_linear)
        elif dtype != "float32":
            model.to(HALVES[dtype])
        if dtype != "float32":
            mark_lowered(model, dtype)
