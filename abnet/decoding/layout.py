"""How weights lie in memory while decoding; what they are does not change."""

from __future__ import annotations

from abnet.decoding.ensemble import Ensemble, mark_lowered
from abnet.decoding.linear import PackedLinear, packs, replace_linear
from abnet.model import AbNet


def pack_weights(system: AbNet | Ensemble) -> None:
    """Stores the matrices of linear layers as oneDNN reads them fastest, on a CPU where it can.

    They are no parameters any more: such a system can neither train nor be saved nor moved.

    Args:
        system: in evaluation mode, on its device, in the precision it is to decode in.
    """
    for model in system.models if isinstance(system, Ensemble) else (system,):
        first = next(model.parameters())
        if first.device.type == "cpu" and packs(first.dtype):
            replace_linear(model, PackedLinear)
            mark_lowered(model, model.precision)
