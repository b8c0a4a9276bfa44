"""Standard input and output that cannot be used: said in a line, with status 2."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from abnet.cli import main
from tests.conftest import TinyBerts

ABNET = f"{sys.executable} -m abnet.cli"


def shell(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize("command", ["systems", "systems --json"])
def test_a_full_disk_behind_the_output(command: str) -> None:
    done = shell(f"{ABNET} {command} > /dev/full")
    assert (done.returncode, done.stderr) == (
        2,
        "abnet: error: standard output: No space left on device.\n",
    )


def test_a_full_disk_behind_the_pieces(
    tiny_berts: TinyBerts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tmp_path / "text"
    text.write_text("der Hund\n")
    errors = io.StringIO()
    monkeypatch.setattr("sys.stderr", errors)
    with open("/dev/full", "w") as full:
        monkeypatch.setattr("sys.stdout", full)
        assert main(["tokenize", "--bert", tiny_berts.german, str(text)]) == 2
    assert errors.getvalue() == "abnet: error: standard output: No space left on device.\n"


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        ("stdin", "Standard input must be open, but is closed: name a file to read."),
        ("stdout", "Standard output must be open, but is closed: redirect it to a file."),
    ],
)
@pytest.mark.parametrize("command", ["tokenize", "translate"])
def test_closed_streams(
    command: str,
    stream: str,
    message: str,
    tiny_berts: TinyBerts,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = {"tokenize": ["--bert", tiny_berts.german], "translate": ["no-checkpoint"]}
    monkeypatch.setattr(f"sys.{stream}", None)
    assert main([command, *arguments[command]]) == 2
    assert capsys.readouterr().err == f"abnet: error: {message}\n"


def test_a_reader_that_has_left() -> None:
    done = shell(f"{ABNET} systems | true; exit ${{PIPESTATUS[0]}}")
    assert (done.returncode, done.stderr) in ((0, ""), (1, ""))
