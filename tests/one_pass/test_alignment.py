"""The most probable path through a known target, against all paths written out."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

from abnet.one_pass.alignment import best_alignment
from abnet.training.masking import batch_generator, reveal_frames
from tests.one_pass.test_ctc import FIRST, SECOND, SYMBOLS, VOCABULARY, collapse, frames_of

TARGETS = torch.tensor(
    [
        [FIRST, FIRST, SECOND, SYMBOLS.sep],
        [SECOND, FIRST, SYMBOLS.sep, SYMBOLS.pad],
        [SECOND, SYMBOLS.sep, SYMBOLS.pad, SYMBOLS.pad],
        [SYMBOLS.sep, SYMBOLS.pad, SYMBOLS.pad, SYMBOLS.pad],
        [FIRST, FIRST, SYMBOLS.sep, SYMBOLS.pad],
    ]
)
FRAMES = frames_of(6, 5, 1, 3, 2)  # the last one has no room for a blank between equal words


def words_of(row: int) -> tuple[int, ...]:
    return tuple(id for id in TARGETS[row].tolist() if id not in (SYMBOLS.sep, SYMBOLS.pad))


def best_of_all(log_probs: Tensor, words: tuple[int, ...]) -> tuple[int, ...]:
    """The most probable of all paths that become the words; log_probs: (F, V)."""
    labels = (FIRST, SECOND, SYMBOLS.mask)
    paths = [path for path in product(labels, repeat=log_probs.size(0)) if collapse(path) == words]
    return max(paths, key=lambda path: sum(float(log_probs[at, id]) for at, id in enumerate(path)))


@pytest.mark.parametrize("seed", range(5))
def test_no_path_is_more_probable(seed: int) -> None:
    torch.manual_seed(seed)
    log_probs = (3 * torch.randn(5, 6, VOCABULARY)).log_softmax(dim=2)
    found = best_alignment(log_probs, FRAMES, TARGETS, SYMBOLS)
    for row, count in enumerate((6, 5, 1, 3)):
        path = tuple(found[row].tolist())
        assert path[:count] == best_of_all(log_probs[row, :count], words_of(row))
        assert set(path[count:]) <= {SYMBOLS.mask}
    assert found[4].eq(SYMBOLS.mask).all()


def test_from_none_to_all_but_one_of_the_words_are_revealed() -> None:
    path = torch.tensor([FIRST, SYMBOLS.mask, SECOND, SECOND, SYMBOLS.mask]).expand(3000, 5)
    frames = torch.tensor([SYMBOLS.mask] * 4 + [SYMBOLS.pad]).expand(3000, 5)
    shown = reveal_frames(path, frames, SYMBOLS, batch_generator(path.device, 1))
    known = shown.ne(frames)
    assert shown[known].equal(path[known])
    assert not known[:, [1, 4]].any()
    counts = known.sum(dim=1).bincount(minlength=4) / 3000
    assert counts[:3].tolist() == pytest.approx([1 / 3] * 3, abs=0.03)
    assert counts[3] == 0
    assert (known.float().mean(dim=0)[[0, 2, 3]] - 1 / 3).abs().max() < 0.03
