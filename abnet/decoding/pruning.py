"""Giving up length candidates early; it may change the output."""

from __future__ import annotations

from collections.abc import Sequence


def survivors(scores: Sequence[float], keep: int | None, margin: float | None) -> list[bool]:
    """Which candidates of one sentence go on; the best one always does.

    Args:
        scores: of its candidates so far, the most probable length first.
        keep: how many at most, of equals the more probable lengths; `None` for any number.
        margin: how much lower than the best a score may be; `None` for any.
    """
    best = max(scores)
    order = sorted(range(len(scores)), key=lambda candidate: -scores[candidate])
    kept = set(order if keep is None else order[:keep])
    return [
        candidate in kept and (margin is None or score >= best - margin)
        for candidate, score in enumerate(scores)
    ]
