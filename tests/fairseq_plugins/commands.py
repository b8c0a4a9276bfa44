"""The fairseq commands inside the test's process: a start of its own costs seconds each time."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from unittest import mock

import fairseq_cli.train
import pytest
from fairseq import checkpoint_utils

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = ("--user-dir", str(ROOT / "fairseq_plugins"), "--task", "translation_abnet")
LEFTOVERS = (
    (checkpoint_utils.save_checkpoint, "best"),
    (fairseq_cli.train.should_stop_early, "best"),
    (fairseq_cli.train.should_stop_early, "num_runs"),
)


def run(command: str, *arguments: object) -> str:
    """Runs `fairseq-COMMAND ARGUMENTS`; returns what it printed and logged."""
    output = io.StringIO()
    _run(output, command, arguments)
    return output.getvalue()


def train(data: object, save_dir: object, berts: tuple[str, str], *arguments: object) -> str:
    """`fairseq-train` on the CPU at toy size; later arguments win."""
    return run("train", *train_arguments(data, save_dir, berts), *arguments)


def failing_train(
    data: object, save_dir: object, berts: tuple[str, str], *arguments: object
) -> str:
    """What a `fairseq-train` says that cannot load its checkpoint."""
    output = io.StringIO()
    with pytest.raises(Exception, match="Cannot load model parameters from checkpoint"):
        _run(output, "train", [*train_arguments(data, save_dir, berts), *arguments])
    return output.getvalue()


def _run(output: io.StringIO, command: str, arguments: Iterable[object]) -> None:
    argv = [f"fairseq-{command}", *PLUGIN, *map(str, arguments)]
    with (
        mock.patch.object(sys, "argv", argv),
        warnings.catch_warnings(),
        _log_to(output),
        contextlib.redirect_stdout(output),
    ):
        warnings.simplefilter("ignore")  # fairseq's own, of hydra and torch
        for module in ("abnet", "fairseq_plugins"):
            warnings.filterwarnings("error", module=module)
        try:
            importlib.import_module(f"fairseq_cli.{command}").cli_main()
        finally:
            for owner, name in LEFTOVERS:  # fairseq keeps them on its functions
                if hasattr(owner, name):
                    delattr(owner, name)


def train_arguments(data: object, save_dir: object, berts: tuple[str, str]) -> list[str]:
    """What every training run of the tests has."""
    source, target = berts
    return [
        *(str(data), "--save-dir", str(save_dir), "--cpu", "--num-workers", "0"),
        *("--arch", "abnet", "--criterion", "conditional_masked_lm"),
        *("--source-bert", source, "--target-bert", target),
        *("--encoder-adapter-dim", "16", "--length-classes", "48", "--adapter-init", "released"),
        *("--optimizer", "adam", "--lr", "0.0005", "--max-tokens", "200", "--max-update", "3"),
        *("--log-format", "simple", "--log-interval", "1"),
    ]


def lines(output: str, kind: str) -> dict[int, list[str]]:
    """The lines `KIND-ID<tab>...` of `fairseq-generate`, by id; the last column of each."""
    found: dict[int, list[str]] = {}
    for match in re.finditer(rf"^{kind}-(\d+)\t(.*)$", output, re.MULTILINE):
        found.setdefault(int(match[1]), []).append(match[2].split("\t")[-1])
    return found


def logged(output: str, tag: str, name: str) -> list[float]:
    """The values of a metric in the order in which they were logged."""
    pattern = rf"{tag} \| .*?\b{name}[ =]([-+.\deinfa]+)"
    return [float(value) for value in re.findall(pattern, output)]


@contextlib.contextmanager
def _log_to(output: io.StringIO) -> Iterator[None]:
    """Sends the root logger to `output` alone, and puts it back as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    handler = logging.StreamHandler(output)
    handler.setFormatter(logging.Formatter("%(levelname)s | %(name)s | %(message)s"))
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.handlers = handlers
        root.setLevel(level)
