"""Rate-scheduled learning (Yang et al., AAAI 2020): the BERTs learn at a pace of their own.

The paper multiplies the BERT's gradients by a factor that rises, falls and ends at zero. An
optimizer that divides by the gradients' size, as Adam does, would undo that; here the factor is on
the learning rate, with the same effect for plain gradient descent and the meant one for Adam.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from abnet.errors import AbNetError


def slanted_triangle(update: int, rise: int, end: int) -> float:
    """The factor: from 0 to 1 at the update `rise`, back to 0 at `end`, then 0; all linear.

    Args:
        update: how many updates were made before.
        rise, end: see `AbNetConfig.bert_rate_rise` and `bert_rate_end`.
    """
    if update < rise:
        return update / rise
    return max(0.0, (end - update) / (end - rise))


@contextmanager
def scaled_rate(
    optimizer: Optimizer, chosen: Callable[[Tensor], bool], factor: float
) -> Iterator[None]:
    """Within it, a step of the optimizer moves the chosen weights at `factor` times their rate.

    Outside of it the optimizer's groups, and so what is saved of it, are as ever.

    Args:
        optimizer: one whose step is as long as its learning rate says (SGD, Adam, ...).
        chosen: says of a weight whether it is meant.
        factor: at least 0; at 0 the weights stay, and what the optimizer remembers goes on.

    Raises:
        AbNetError: the optimizer has no such weight.
    """
    groups = optimizer.param_groups
    split: list[dict[str, Any]] = []
    of_group: list[int] = []
    found = False
    for number, group in enumerate(groups):
        slow = [weight for weight in group["params"] if chosen(weight)]
        rest = [weight for weight in group["params"] if not chosen(weight)]
        found = found or bool(slow)
        for weights, rate in ((slow, factor * group["lr"]), (rest, group["lr"])):
            if weights:
                split.append({**group, "params": weights, "lr": rate})
                of_group.append(number)
    if not found:
        raise AbNetError(
            "`optimizer` must have the BERTs' weights one by one for rate-scheduled learning, but "
            "has none of them: neither flatten nor shard them."
        )
    optimizer.param_groups = split
    try:
        yield
    finally:
        for number, part in zip(of_group, split, strict=True):
            kept = {key: groups[number][key] for key in ("params", "lr")}
            groups[number].update({**part, **kept})  # apex counts the steps there
        optimizer.param_groups = groups
