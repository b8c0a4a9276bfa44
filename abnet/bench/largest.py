"""The largest batch that fits."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

MOST = 65536  # lines of the largest batch that is tried
HALVINGS = 2  # of what lies between the last size that fitted and the first that did not


class Found(NamedTuple):
    """What a search found.

    Attributes:
        size: that fits.
        capped: whether the search ended before memory did.
        trouble: the error that capped it, if one did.
    """

    size: int
    capped: bool = False
    trouble: str = ""


def largest(attempt: Callable[[int], None], release: Callable[[], None], most: int = MOST) -> Found:
    """The largest size that can be attempted without running out of memory.

    Powers of two are tried first, then some sizes between the last two. Where a larger size fails
    with another error, as of a kernel that takes no more, the search is capped.

    Args:
        attempt: tries so many lines.
        release: called after each.
        most: the last one tried.

    Raises:
        RuntimeError: not even 1 can.
    """

    def trouble(size: int) -> str:
        try:
            attempt(size)
        except RuntimeError as error:
            if size == 1:
                raise
            return str(error) or type(error).__name__
        finally:  # the error is gone, and with it what its frames held
            release()
        return ""

    fits, size = 0, 1
    while not (found := trouble(size)):
        fits, size = size, 2 * size
        if size > most:
            return Found(fits, capped=True)
    if "out of memory" not in found:
        return Found(fits, capped=True, trouble=found)
    for _ in range(HALVINGS):
        between = (fits + size) // 2
        if between == fits:
            break
        if trouble(between):
            size = between
        else:
            fits = between
    return Found(fits)
