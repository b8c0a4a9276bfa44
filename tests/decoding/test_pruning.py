from __future__ import annotations

from typing import Any

import pytest

from abnet.decoding.mask_predict import DecodingOptions
from abnet.decoding.pruning import survivors
from abnet.errors import AbNetError


def test_the_best_stay() -> None:
    scores = [-1.0, -0.5, -0.7, -0.5]
    assert survivors(scores, 1, None) == [False, True, False, False]
    assert survivors(scores, 3, None) == [False, True, True, True]
    assert survivors(scores, None, 0.2) == [False, True, True, True]
    assert survivors(scores, None, 0.0) == [False, True, False, True]
    assert survivors(scores, 2, 0.2) == [False, True, False, True]
    assert survivors(scores, 9, 9.0) == [True] * 4
    assert survivors([-3.0], 1, 0.0) == [True]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"prune_keep": 1}, "`prune_keep` must go with `prune_after`"),
        ({"prune_margin": 0.1}, "`prune_margin` must go with `prune_after`"),
        ({"prune_after": 2}, "`prune_after` must go with `prune_keep`, `prune_margin` or both"),
        ({"prune_after": 0, "prune_keep": 1}, "`prune_after` must be at least 1, but is 0 instead"),
        ({"prune_after": 1, "prune_keep": 0}, "`prune_keep` must be at least 1, but is 0 instead"),
        (
            {"prune_after": 1, "prune_margin": -0.1},
            r"`prune_margin` must be at least 0, but is -0\.1 instead",
        ),
        (
            {"iterations": 3, "prune_after": 3, "prune_keep": 1},
            "`prune_after` must be less than the 3 passes that `iterations` allows, but is 3",
        ),
        (
            {"prune_after": 1, "prune_margin": float("nan")},
            "`prune_margin` must be at least 0, but is nan instead",
        ),
        ({"confidence": 1.0}, r"`confidence` must be between 0 and 1, but is 1\.0 instead"),
        ({"confidence": 0.0}, r"`confidence` must be between 0 and 1, but is 0\.0 instead"),
    ],
)
def test_what_cannot_be(given: dict[str, Any], message: str) -> None:
    with pytest.raises(AbNetError, match=message):
        DecodingOptions(**given)
