"""`abnet tokenize`: raw text to the pieces of a BERT, the text that `fairseq-preprocess` takes."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import sys
from collections.abc import Iterable, Iterator
from typing import BinaryIO, TypeVar

from abnet.errors import AbNetError
from abnet.text import UNKNOWN_SHARE_TO_WARN, decode_lines, open_bytes

HELP = "raw text to the pieces of a BERT, one line a line"

BUFFER_LINES = 10_000

T = TypeVar("T")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("file", nargs="?", default="-", help="raw text; standard input if absent")
    parser.add_argument("--bert", required=True, help="Hugging Face name or folder of the BERT")
    parser.add_argument("--workers", type=int, help="threads (default: one a processor)")


def run(args: argparse.Namespace) -> int:
    """Writes the pieces of every line to standard output, separated by spaces."""
    if args.workers is not None:
        if args.workers < 1:
            raise AbNetError(f"`--workers` must be at least 1, but is {args.workers} instead.")
        os.environ["RAYON_NUM_THREADS"] = str(args.workers)  # read when the pool starts
    from tqdm import tqdm

    from abnet.tokenizer import Tokenizer

    tokenizer = Tokenizer.from_pretrained(args.bert)
    unknown = total = 0
    open_output()
    name = "standard input" if args.file == "-" else args.file
    with (
        open_input(args.file) as stream,
        tqdm(desc="tokenize", unit=" lines", unit_scale=True, disable=None) as bar,
    ):
        for lines in chunks(decode_lines(stream, name), BUFFER_LINES):
            for ids in tokenizer.encode_batch(lines):
                total += len(ids)
                unknown += ids.count(tokenizer.symbols.unk)
                print(" ".join(tokenizer.vocabulary[id] for id in ids))
            bar.update(len(lines))
    sys.stdout.flush()
    if unknown > UNKNOWN_SHARE_TO_WARN * total:
        print(
            f"abnet: warning: {unknown} of {total} pieces ({unknown / total:.1%}) of {name} "
            f"are unknown to {args.bert}: is it a BERT for this language and script?",
            file=sys.stderr,
        )
    return 0


def open_input(file: str) -> contextlib.AbstractContextManager[BinaryIO]:
    """The file, or standard input for "-", as bytes.

    Raises:
        AbNetError: it cannot be opened.
    """
    if file == "-":
        if sys.stdin is None:
            raise AbNetError("Standard input must be open, but is closed: name a file to read.")
        return contextlib.nullcontext(sys.stdin.buffer)
    return open_bytes(file)


def open_output() -> None:
    """Makes standard output take UTF-8, with the same line ends everywhere.

    Raises:
        AbNetError: it is closed.
    """
    if sys.stdout is None:
        raise AbNetError("Standard output must be open, but is closed: redirect it to a file.")
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, the last one shorter."""
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, min(size, sys.maxsize))):
        yield chunk
