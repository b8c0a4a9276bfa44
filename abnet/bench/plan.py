"""What a run of the benchmark measures."""

from __future__ import annotations

from dataclasses import dataclass

from abnet.errors import AbNetError

LARGEST = "largest"


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        batches: lines a batch; "largest" for the largest that fits a GPU, for each system its own.
        threads: of a CPU.
        repeats: rounds that are timed, after one that is not.
        count: batches a cell.
        minutes: for all; what does not fit is left out. `None` for no limit.

    Raises:
        AbNetError: a value is not allowed.
    """

    batches: tuple[int | str, ...] = (1, 8, 32)
    threads: tuple[int, ...] = (1, 2)
    repeats: int = 5
    count: int = 6
    minutes: float | None = None

    def __post_init__(self) -> None:
        for name in ("batches", "threads"):
            for value in getattr(self, name):
                if value != LARGEST and (not isinstance(value, int) or value < 1):
                    raise AbNetError(f"`{name}` must be at least 1, but is {value} instead.")
            if not getattr(self, name):
                raise AbNetError(f"`{name}` must name at least one, but is empty.")
        for name in ("repeats", "count"):
            if getattr(self, name) < 1:
                raise AbNetError(
                    f"`{name}` must be at least 1, but is {getattr(self, name)} instead."
                )
        if self.minutes is not None and not self.minutes > 0:  # nor nan
            raise AbNetError(f"`minutes` must be positive, but is {self.minutes} instead.")
