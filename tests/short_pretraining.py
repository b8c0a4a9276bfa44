"""A quick pre-training, for the tests of the function and of the command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from abnet.pretraining.options import BertShape, PretrainingOptions
from abnet.pretraining.pretrain import PretrainingReport

SHAPE = BertShape(layers=1, hidden=16, heads=2, ffn=32, vocab_size=120, max_positions=24)
WORDS = "alt blau eins Haus im klein Mann oben".split()


def options(**changes: Any) -> PretrainingOptions:
    given = {"shape": SHAPE, "updates": 6, "batch_tokens": 200} | changes
    return PretrainingOptions(**given)


def continuing(start: str | Path, **changes: Any) -> PretrainingOptions:
    return options(shape=None, start=str(start), **changes)


class Made:
    """A finished run."""

    def __init__(self, folder: Path, report: PretrainingReport) -> None:
        self.folder = folder
        self.report = report
        self.weights = load_file(folder / "model.safetensors")


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    assert ours.keys() == theirs.keys()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)
