"""Copies in 32 bits as fairseq keeps them: a list on a CPU, one flat tensor on a GPU."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from fairseq_plugins.full_precision import copies_of, restore_copies

VALUES = torch.arange(10.0) / 7


def optimizer(flat: bool) -> SimpleNamespace:
    shapes = ((2, 3), (4,))
    weights = [nn.Parameter(torch.zeros(shape, dtype=torch.float16)) for shape in shapes]
    copies: object = [nn.Parameter(torch.zeros(shape)) for shape in shapes]
    if flat:
        copies = {0: nn.Parameter(torch.zeros(10))}
    return SimpleNamespace(fp16_params=weights, fp32_params=copies, has_flat_params=flat)


@pytest.mark.parametrize("flat", [False, True])
def test_copies_are_restored_where_they_are(flat: bool) -> None:
    one = optimizer(flat)
    first, second = one.fp16_params
    restore_copies(one, {first: VALUES[:6].view(2, 3), second: VALUES[6:]})
    kept = one.fp32_params.values() if flat else one.fp32_params
    assert torch.cat([copy.detach().flatten() for copy in kept]).equal(VALUES)
    found = dict(copies_of(one))
    assert found[first].equal(VALUES[:6].view(2, 3))
    assert found[second].equal(VALUES[6:])
    restore_copies(one, {})
    assert found[second].equal(VALUES[6:])


def test_weights_in_32_bits_have_no_copies() -> None:
    assert not list(copies_of(SimpleNamespace()))
