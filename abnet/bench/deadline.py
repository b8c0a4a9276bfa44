"""The minutes of a run, and the share that a part of it has."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator


class OutOfTimeError(Exception):
    """The plan's minutes do not suffice."""


class Deadline:
    """When a part of a run has to be done.

    Args:
        begun: when the minutes began, as `time.monotonic` has it.
        minutes: of the whole run; `None` for no limit.
        parts: equal ones of the minutes that are left, of which this is the first.
    """

    def __init__(self, begun: float, minutes: float | None, parts: int = 1) -> None:
        self.until: float | None = None
        if minutes is not None:
            now, self.end = time.monotonic(), begun + 60 * minutes
            self.until = now + (self.end - now) / parts

    def check(self) -> None:
        """Looks at the clock.

        Raises:
            OutOfTimeError: the part is over.
        """
        if self.until is not None and time.monotonic() >= self.until:
            raise OutOfTimeError("no time left of its share of --minutes")

    def keep(self, seconds: float) -> None:
        """Keeps seconds of the part for what is done later.

        Raises:
            OutOfTimeError: so many are not left.
        """
        if self.until is None:
            return
        if time.monotonic() + seconds > self.until:
            raise OutOfTimeError(f"needs about {seconds:.0f} s, more than its share of --minutes")
        self.until -= seconds
        self.end -= seconds

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """What is done inside a `with` takes time of the minutes, but not of the part."""
        start = time.monotonic()
        try:
            yield
        finally:
            if self.until is not None:
                self.until = min(self.until + time.monotonic() - start, self.end)
