"""Runs `fairseq-preprocess` with the project's plugin, in a process of its own."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from abnet.corpora.download import Say
from abnet.errors import AbNetError

LOG = "fairseq-preprocess.log"
LOG_LINES_IN_ERROR = 15


class Binarized(NamedTuple):
    """What `fairseq-preprocess` was asked and what it wrote, relative to the prepared folder."""

    command: list[str]
    files: list[str]


def binarize(
    folder: Path,
    languages: tuple[str, str],
    splits: Sequence[str],
    berts: tuple[str, str],
    workers: int,
    say: Say,
) -> Binarized:
    """Turns `folder/pieces` into the binary files that `fairseq-train` reads, in `folder`.

    They appear when all are there; an interrupted run is simply done again.

    Raises:
        AbNetError: fairseq or the plugin is not installed, or fairseq-preprocess fails.
    """
    unfinished = folder / "binarizing"
    shutil.rmtree(unfinished, ignore_errors=True)
    command = _command(folder, languages, splits, berts, workers, unfinished)
    log = folder / LOG
    say("binarizing with fairseq-preprocess")
    with open(log, "wb") as stream:
        status = subprocess.run(command, stdout=stream, stderr=stream, check=False).returncode
    if status != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        end = "\n".join(lines[-LOG_LINES_IN_ERROR:])
        raise AbNetError(f"fairseq-preprocess failed (status {status}); {log} ends with:\n{end}")
    files = sorted(path.name for path in unfinished.iterdir())
    for name in files:
        os.replace(unfinished / name, folder / name)
    unfinished.rmdir()
    log.unlink()  # fairseq keeps the same words in its preprocess.log
    return Binarized(command, files)


def _command(
    folder: Path,
    languages: tuple[str, str],
    splits: Sequence[str],
    berts: tuple[str, str],
    workers: int,
    destination: Path,
) -> list[str]:
    if importlib.util.find_spec("fairseq_cli") is None:
        raise AbNetError(
            "fairseq-preprocess must be there to binarize, but fairseq is not installed: run "
            "scripts/setup.sh, or stop before this step with `--text-only`."
        )
    plugin = importlib.util.find_spec("fairseq_plugins")
    if plugin is None or plugin.origin is None:
        raise AbNetError("The package fairseq_plugins must be installed beside abnet, but is not.")
    command = [sys.executable, "-m", "fairseq_cli.preprocess"]
    command += ["--user-dir", str(Path(plugin.origin).parent), "--task", "translation_abnet"]
    command += ["--source-lang", languages[0], "--target-lang", languages[1]]
    for split in splits:
        command += [f"--{split}pref", str(folder / "pieces" / split)]
    command += ["--srcdict", berts[0], "--tgtdict", berts[1]]
    return [*command, "--destdir", str(destination), "--workers", str(workers)]
