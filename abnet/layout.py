"""How weights lie in memory while decoding; what they are does not change."""

from __future__ import annotations

import torch
from torch import nn

from abnet.backbone.families import TiedHead
from abnet.ensemble import Ensemble
from abnet.model import AbNet


def store_by_columns(system: AbNet | Ensemble) -> None:
    """Stores the matrices of linear layers by columns where a CPU multiplies them in 32 bits.

    With the few rows of one sentence MKL reads them faster so: decoding takes about a tenth less
    time. Training wants them by rows, as they are made.

    Args:
        system: on its device, in the precision it is to decode in.
    """
    for model in system.models if isinstance(system, Ensemble) else (system,):
        for part in model.modules():
            if isinstance(part, TiedHead):
                part = part.words
            elif not isinstance(part, nn.Linear):
                continue
            weight = part.weight
            if weight.device.type == "cpu" and weight.dtype == torch.float32:
                weight.data = weight.detach().t().contiguous().t()
