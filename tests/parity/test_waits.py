"""The tests that nothing waits would see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.parity.waits import Waits


@pytest.mark.parametrize(
    "call",
    [
        lambda t: int(t[0]),
        lambda t: t[0].item(),
        lambda t: t[0] > 1 or 0,
        lambda t: t.tolist(),
        lambda t: t.cpu(),
        lambda t: t[t > 1],
        lambda t: t.nonzero(),
        lambda t: torch.where(t > 1),
        lambda t: torch.tensor([1], device=t.device),
        lambda t: t.repeat_interleave(t),
    ],
)
def test_what_waits_is_seen(call: Callable[[Tensor], Any]) -> None:
    with torch.inference_mode():
        numbers = torch.tensor([1, 2, 3])
        with Waits() as waits:
            numbers.repeat_interleave(numbers, output_size=6)
            torch.where(numbers > 1, numbers, 0).float().index_select(0, numbers - 1)
            assert waits.found == []
            call(numbers)
    assert len(waits.found) == 1
