"""Command lines, read as their programs would read them, without running them."""

from __future__ import annotations

import os
import shlex
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from fairseq import options

from abnet import cli

ROOT = Path(__file__).parents[1]
PARSERS: dict[str, Callable[[], Any]] = {
    "fairseq-train": options.get_training_parser,
    "fairseq-validate": options.get_validation_parser,
    "fairseq-generate": options.get_generation_parser,
    "fairseq-interactive": options.get_interactive_generation_parser,
    "fairseq-preprocess": options.get_preprocessing_parser,
}


def parse(command: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> Namespace:
    """The arguments as `abnet` or a fairseq command reads them; no checkpoint need be there.

    Raises:
        SystemExit: it would not.
    """
    program, *arguments = command
    if program == "abnet":
        return cli.build_parser().parse_args(arguments)
    monkeypatch.setattr("fairseq_plugins.command_line.check_checkpoint", lambda path: None)
    monkeypatch.setattr(sys, "argv", [program, *arguments])  # where --user-dir is looked for
    parser = PARSERS[program]()
    if program == "fairseq-preprocess":
        return parser.parse_args(arguments)
    return options.parse_args_and_arch(parser, arguments)


def split_line(line: str) -> list[list[str]]:
    """The commands of a shell line, one a pipe's end, without variables and redirections."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|<>")
    lexer.whitespace_split = True
    commands: list[list[str]] = [[]]
    words = iter(lexer)
    for word in words:
        if word == "|":
            commands.append([])
        elif word in ("<", ">", ">>"):
            next(words)
        elif commands[-1] or "=" not in word:
            commands[-1].append(word)
    return commands


def check_script(name: str) -> None:
    """A script of the project is there and can be run."""
    path = ROOT / name
    assert path.is_file(), name
    assert os.access(path, os.X_OK), f"{name} is not executable"
