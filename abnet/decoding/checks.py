"""What the options of all ways to decode have in common: which values they take."""

from __future__ import annotations

import math

from abnet.errors import AbNetError

# With more, 512 pieces to its power are no number in 32 bits any more.
MOST_LENGTH_PENALTY = 10.0


def at_least_one(options: object, *names: str) -> None:
    """Sees to it that these fields are counts.

    Raises:
        AbNetError: one is less than 1.
    """
    for name in names:
        value = getattr(options, name)
        if value < 1:
            raise AbNetError(f"`{name}` must be at least 1, but is {value} instead.")


def finite(options: object, *names: str) -> None:
    """Sees to it that these fields are numbers to reckon with.

    Raises:
        AbNetError: one is infinite or no number, or a `length_penalty` is too large to divide by.
    """
    for name in names:
        value = getattr(options, name)
        if not math.isfinite(value):
            raise AbNetError(f"`{name}` must be a finite number, but is {value} instead.")
        if name == "length_penalty" and abs(value) > MOST_LENGTH_PENALTY:
            raise AbNetError(
                f"`length_penalty` must be from -{MOST_LENGTH_PENALTY:g} to "
                f"{MOST_LENGTH_PENALTY:g}, but is {value} instead."
            )
