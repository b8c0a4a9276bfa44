"""Whose turn it is, and what becomes of times."""

from __future__ import annotations

import numpy as np
import pytest

from abnet.bench.engine import Output
from abnet.bench.inputs import Batch
from abnet.bench.timing import Times, percentile, turns

BATCHES = [Batch(["a", "b"], 4), Batch(["c", "d"], 6)]


def test_each_round_begins_with_the_next_one() -> None:
    assert "".join(turns("abc", 4)) == "abcbcacababc"
    assert list(turns([], 3)) == []


@pytest.mark.parametrize("share", [0, 50, 95, 100])
def test_percentiles_are_numpys(share: float) -> None:
    values = [3.0, 1.0, 7.5, 2.25, 9.0]
    assert percentile(values, share) == pytest.approx(np.percentile(values, share))
    assert percentile([2.0], share) == 2.0


def test_the_summary_of_times() -> None:
    outputs = [Output([], [3, 4], 3), Output([], [5, 5], 6)]
    times = Times([[1.0, 3.0], [2.0, 4.0], [1.0, 2.0]], [[2.0, 4.0]] * 3, outputs)
    summary = times.summary(BATCHES, forced=True)
    assert summary["median_s"] == 2.0
    assert summary["p95_s"] == pytest.approx(3.75)
    assert summary["with_tokenization_s"] == 3.0
    assert summary["sentences_per_s"] == pytest.approx(4 / 4)  # the median round has 4 seconds
    assert summary["tokens_per_s"] == pytest.approx((2 * 4 + 2 * 6) / 4)
    assert (summary["passes"], summary["repeats"], summary["batches"]) == (4.5, 3, 2)
    assert times.summary(BATCHES, forced=False)["tokens_per_s"] == pytest.approx(17 / 4)
