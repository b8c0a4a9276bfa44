"""`abnet COMMAND ...`: finds the command's file in `abnet/commands` and runs it."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from abnet.errors import AbNetError

COMMANDS = (
    "systems",
    "describe",
    "doctor",
    "tokenize",
    "prepare",
    "pretrain",
    "lexicon",
    "distill",
    "backtranslate",
    "translate",
    "evaluate",
    "average",
    "bench",
)


class Parser(argparse.ArgumentParser):
    """Lets options stand between two files, as Python's own does from 3.12.7 on."""

    is_intermixing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's."""
        if self._subparsers is not None or self.is_intermixing:
            return super().parse_known_args(args, namespace)
        self.is_intermixing = True
        return self.parse_known_intermixed_args(args, namespace)


class Version(argparse.Action):
    """Prints the version, which takes a while to find, and ends."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """As argparse's own."""
        from importlib.metadata import version

        print(f"abnet {version('ab-net')}")
        parser.exit()


def build_parser(names: Sequence[str] = COMMANDS) -> argparse.ArgumentParser:
    """The parser of some commands; each command's file adds its own arguments."""
    parser = Parser(prog="abnet", description="Translate with two frozen BERTs and small adapters.")
    parser.add_argument("--version", action=Version, help="the version of this package")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in names:
        command = importlib.import_module(f"abnet.commands.{name}")
        subparser = subparsers.add_parser(name, help=command.HELP, description=command.HELP)
        command.configure(subparser)
        subparser.set_defaults(run=command.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: arguments without the program's name; `None` takes the process's own.

    Returns:
        The exit status: 0 for success, 2 for something the user can mend, 130 after Ctrl-C.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    named = arguments[:1] if arguments[:1] and arguments[0] in COMMANDS else COMMANDS
    args = build_parser(named).parse_args(arguments)
    try:
        status: int = args.run(args)
        if sys.stdout is not None:
            sys.stdout.flush()
    except AbNetError as error:
        print(f"abnet: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130  # as a shell reports it
    except BrokenPipeError:
        _drop_output()
        return 1  # the reader of our output left; nothing to report to
    except OSError as error:
        if error.strerror is None:
            raise
        where = "standard output" if error.filename is None else error.filename
        print(f"abnet: error: {where}: {error.strerror}.", file=sys.stderr)
        _drop_output()
        return 2
    return status


def _drop_output() -> None:
    """What standard output cannot take is not tried again when the process ends."""
    with contextlib.suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())
        os.close(nothing)


if __name__ == "__main__":
    sys.exit(main())
