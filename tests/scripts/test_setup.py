"""What scripts/setup.sh looks for before it installs anything."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import ROOT


def call(function: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """One function of the script, which is not run itself."""
    script = (ROOT / "scripts" / "setup.sh").read_text(encoding="utf-8")
    functions = re.findall(r"^\w+\(\) \{\n.*?^\}\n", script, flags=re.DOTALL | re.MULTILINE)
    return subprocess.run(
        ["bash", "-c", f"set -euo pipefail\n{''.join(functions)}{function}"],
        cwd=cwd, env={"PATH": "/usr/bin:/bin", **environment}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def test_an_interpreter_may_have_a_space_in_its_path(tmp_path: Path) -> None:
    python = tmp_path / "my tools" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    assert call("find_python", tmp_path, PYTHON=str(python)).stdout == f"{python}\n"
    none = call("find_python", tmp_path, PYTHON=str(tmp_path))
    assert none.returncode == 1
    assert "found none; set PYTHON to such an interpreter" in none.stderr


SCRIPT = (
    "#!/bin/sh\n'''exec' \"{}/.venv/bin/python\" \"$0\" \"$@\"\n' '''"  # of a path with a space
)


@pytest.mark.parametrize(
    ("name", "first"), [("here", "#!{}/.venv/bin/python3.11"), ("with a space", SCRIPT)]
)
def test_an_environment_that_was_moved_is_none(tmp_path: Path, name: str, first: str) -> None:
    programs = tmp_path / name / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").symlink_to(sys.executable)
    root = tmp_path / name
    (programs / "pip").write_text(f"{first.format(root)}\nimport pip\n")
    assert call("is_there", root).returncode == 0
    moved = root.rename(tmp_path / "moved")
    assert call("is_there", moved).returncode != 0
    moved.rename(root)
    (root / ".venv").rename(tmp_path / "elsewhere")
    (root / ".venv").symlink_to(tmp_path / "elsewhere")  # where the programs are found as before
    assert call("is_there", root).returncode == 0
    (programs / "pip").unlink()
    assert call("is_there", root).returncode != 0
