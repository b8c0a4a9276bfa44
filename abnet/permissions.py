"""Who may read a file that a library made through a temporary one, which is its owner's alone."""

from __future__ import annotations

import os
from pathlib import Path


def usual_permissions(path: str | Path) -> None:
    """Gives a file the permissions that any new file in its folder has.

    Raises:
        OSError: the folder cannot be written.
    """
    path = Path(path)
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    beside.touch()
    try:
        path.chmod(beside.stat().st_mode & 0o777)
    finally:
        beside.unlink()
