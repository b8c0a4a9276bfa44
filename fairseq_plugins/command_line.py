"""What the commands that only decode or validate are given: looked at before they act on it."""

from __future__ import annotations

import argparse
import contextlib
import io
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from fairseq import utils

from abnet.checkpoint import is_whole
from abnet.errors import AbNetError
from abnet.text import decode_lines, open_bytes


def check_files(arguments: Sequence[str]) -> None:
    """Looks at the files that a command line names with `--path` and `--input`.

    Args:
        arguments: of any fairseq command, all of them.

    Raises:
        AbNetError: see `check_whole` and `check_text`.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--path")
    parser.add_argument("--input", default="-")
    given, _ = parser.parse_known_args(arguments)
    for path in utils.split_paths(given.path) if given.path else []:
        if Path(path).is_file():
            check_whole(Path(path))
    if given.input != "-":
        check_text(Path(given.input))


def check_whole(path: Path) -> None:
    """Refuses a checkpoint that was cut off or damaged, or that would run code; reads it once.

    Raises:
        AbNetError: naming the intact ones beside it.
    """
    if not is_whole(path):
        beside = [other for other in sorted(path.parent.glob("checkpoint*.pt")) if other != path]
        whole = ", ".join(other.name for other in beside if is_whole(other))
        hint = f"Whole ones beside it: {whole}." if whole else "None beside it is whole."
        raise AbNetError(
            f"The checkpoint {path} cannot be read: it is truncated, damaged or not written by "
            f"fairseq. {hint} Take one of them, or move the file away."
        )
    try:
        torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError as error:
        raise AbNetError(
            f"The checkpoint {path} must hold tensors and options alone, but holds objects that "
            "would need code to be executed. It was not written by this plugin: do not use it."
        ) from error


def check_text(path: Path) -> None:
    """Refuses a file in which `fairseq-interactive` would stumble, or count lines differently.

    Raises:
        AbNetError: it cannot be opened, is not UTF-8, or has carriage returns within lines.
    """
    if path.exists() and not path.is_file():
        return  # a pipe can be read only once
    with open_bytes(path) as stream:
        for number, line in enumerate(decode_lines(stream, str(path)), start=1):
            if "\r" in line:
                raise AbNetError(
                    f"{path}, line {number}: fairseq-interactive takes the carriage return within "
                    "this line for its end, and the translations would no longer belong to the "
                    "lines. Take it out first, for example with `tr '\\r' ' '`, or give the text "
                    "by `--input -` from standard input."
                )


def read_standard_input_as_files() -> None:
    """Standard input as UTF-8 lines that end in line feeds; bad bytes come out as surrogates."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        with contextlib.suppress(io.UnsupportedOperation):  # a program has read from it before
            sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape", newline="\n")
