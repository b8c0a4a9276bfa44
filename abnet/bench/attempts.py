"""What one row cannot do stops no other, and is said."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable

from abnet.bench.deadline import OutOfTimeError
from abnet.bench.engine import Made
from abnet.errors import AbNetError


class Attempts:
    """Tries what may fail.

    Args:
        say: takes what a reader should know.

    Attributes:
        missing: names of rows that cannot run at all, not to be tried again.
        failed: what failed for a fault, as a reader calls it.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.missing: set[str] = set()
        self.failed: list[str] = []

    def __call__(
        self, name: str, called: str, action: Callable[[], Made], optional: bool = False
    ) -> Made | None:
        """What an action returns, or `None` if it fails, which is said.

        Args:
            name: of the row.
            called: what a reader calls what is tried.
            action: to do.
            optional: whether a machine may lack what it takes, so that failing is no fault.
        """
        try:
            return action()
        except (AbNetError, ImportError) as error:
            self.missing.add(name)
            self.say(f"skipped: {name}: {error}")
        except OutOfTimeError as error:
            self.say(f"skipped: {called}: {error}")
        except Exception as error:  # whatever is wrong with one system, the others are measured
            if "out of memory" in str(error):
                self.say(f"skipped: {called}: out of memory")
            elif optional:
                first = (str(error).splitlines() or [""])[0]
                self.say(f"skipped: {called}: {type(error).__name__}: {first}")
            else:
                self.failed.append(called)
                sys.stderr.write(f"failed: {called}\n{traceback.format_exc()}")
                self.say(f"failed: {called}: {type(error).__name__}: {error}")
        return None
