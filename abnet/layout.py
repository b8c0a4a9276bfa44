"""How weights lie in memory while decoding; what they are does not change."""

from __future__ import annotations

import torch

from abnet.ensemble import Ensemble
from abnet.linear import PackedLinear, replace_linear
from abnet.model import AbNet


def pack_weights(system: AbNet | Ensemble) -> None:
    """Stores the matrices of linear layers as oneDNN reads them fastest, on a CPU that has it.

    They are no parameters any more: such a system can neither train nor be saved nor moved.

    Args:
        system: in evaluation mode, on its device, in the precision it is to decode in.
    """
    for model in system.models if isinstance(system, Ensemble) else (system,):
        device = next(model.parameters()).device.type
        if device == "cpu" and torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
            replace_linear(model, PackedLinear)
