"""What the options of all ways to decode have in common: which values they take."""

from __future__ import annotations

import math

from torch import Tensor

from abnet.errors import AbNetError

# With more, 512 pieces to the power of a penalty are no number in 32 bits any more, and rewards
# leave no digits for probabilities.
MOST_OF = {"length_penalty": 10.0, "word_reward": 100.0}


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
        AbNetError: one is infinite or no number, or too large to reckon with in 32 bits.
    """
    for name in names:
        value = getattr(options, name)
        if not math.isfinite(value):
            raise AbNetError(f"`{name}` must be a finite number, but is {value} instead.")
        most = MOST_OF.get(name, math.inf)
        if abs(value) > most:
            raise AbNetError(
                f"`{name}` must be from -{most:g} to {most:g}, but is {value} instead."
            )


def check_call(model: object, source: Tensor, options: object, kind: type) -> None:
    """Sees to it that a way of decoding has what it needs.

    Raises:
        AbNetError: the options are not of the kind, `source` is no batch, or the model is in
            training mode.
    """
    if not isinstance(options, kind):
        raise AbNetError(
            f"`options` must be {kind.__name__}, but are {type(options).__name__} instead."
        )
    if source.dim() != 2:
        raise AbNetError(
            f"`source` must be ids of the shape (B, S), but has {source.dim()} dimensions instead."
        )
    check_evaluates(model)


def check_evaluates(model: object) -> None:
    """Sees to it that a model is in evaluation mode.

    Raises:
        AbNetError: it is in training mode.
    """
    if getattr(model, "training", False):
        raise AbNetError(
            "The model must be in evaluation mode to translate, or dropout would have a part in "
            "it, but is in training mode: call its `eval()` before."
        )
