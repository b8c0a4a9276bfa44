"""`abnet bench`: how fast we translate beside others, in one run."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abnet.errors import AbNetError

if TYPE_CHECKING:
    import torch

    from abnet.bench.engine import Row

HELP = "time our systems and others' side by side"
DESCRIPTION_OF_OUTPUT = """
Models have random weights, and every system writes translations as long as the references; with
--checkpoint, AB-Net's are trained and lengths are the models' own. Each cell is one JSON file in
--results, written as soon as it is measured. Systems take turns in every round.
"""
More = Callable[["torch.device"], "list[Row]"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.epilog = DESCRIPTION_OF_OUTPUT
    parser.add_argument("--source", type=Path, required=True, metavar="FILE", help="raw text")
    parser.add_argument("--target", type=Path, required=True, metavar="FILE", help="references")
    parser.add_argument("--input", metavar="NAME", help="of the text (default: the file's)")
    parser.add_argument("--results", type=Path, required=True, metavar="FOLDER", help="to write to")
    add_options(parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What is measured and how, but for the text and where results go."""
    parser.add_argument("--size", help="tiny, small or base (default: base on a GPU, else small)")
    parser.add_argument("--device", help="torch device (default: the GPU if there is one)")
    parser.add_argument(
        "--batches", help="lines a batch (default: 1,8,32 and, on a GPU, largest: what fits)"
    )
    parser.add_argument("--threads", default="1,2", help="of a CPU (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="rounds (default: %(default)s)")
    parser.add_argument(
        "--count", type=int, default=6, help="batches a cell and round (default: %(default)s)"
    )
    parser.add_argument("--minutes", type=float, help="leave out what does not fit")
    parser.add_argument(
        "--rows", metavar="LIST", help="only rows whose names begin so, for example abnet-10,cmlm"
    )
    parser.add_argument("--checkpoint", help="of an AB-Net, instead of random weights")
    parser.add_argument(
        "--ctranslate2", type=Path, metavar="FOLDER", help="a model of CTranslate2 to time, too"
    )


def run(args: argparse.Namespace) -> int:
    """Measures what the library knows: ours, transformers, and CTranslate2 if given a model."""
    return bench(args)


def bench(
    args: argparse.Namespace,
    more_rows: More = lambda device: [],
    stamps: Callable[[], dict[str, Any]] | None = None,
    write: Callable[[dict[str, Any], Path], None] | None = None,
    command: Sequence[str] | None = None,
) -> int:
    """Measures, with rows of others in front.

    Args:
        args: of `configure`.
        more_rows: what to measure besides, for a device.
        stamps: versions and commit; by default those that the library knows.
        write: takes a result and its path; by default as JSON.
        command: to note in the results.

    Raises:
        AbNetError: a value is not allowed, or nothing is left to measure.
    """
    begun = time.monotonic()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # or it takes all cores
    import torch
    from transformers.utils import logging

    from abnet.bench.engine import Materials
    from abnet.bench.inputs import Text
    from abnet.bench.machine import write_result
    from abnet.bench.run import LARGEST, Bench, Plan
    from abnet.bench.sizes import SIZES
    from abnet.text import read_pair
    from abnet.translator import usable_device

    device = usable_device(args.device)
    size = args.size or ("small" if device.type == "cpu" else "base")
    if size not in SIZES:
        raise AbNetError(f"`--size` must be one of {sorted(SIZES)}, but is {size!r} instead.")
    usual = "1,8,32" if device.type == "cpu" else f"1,8,32,{LARGEST}"
    plan = Plan(
        _numbers("batches", args.batches or usual, LARGEST),
        tuple(int(number) for number in _numbers("threads", args.threads)),
        args.repeats,
        args.count,
        args.minutes,
    )
    rows = _chosen_rows(args, device, more_rows)
    source, target = read_pair(args.source, args.target)
    logging.set_verbosity_error()
    torch.manual_seed(1)
    with tempfile.TemporaryDirectory(prefix="abnet-bench-") as folder:
        tokenizers = _tokenizers(args.checkpoint, SIZES[size], source, target, Path(folder))
        materials = Materials(SIZES[size], tokenizers, device, folder, checkpoint=args.checkpoint)
        longest = SIZES[size].bert.max_positions - 8  # room for symbols and length candidates
        text = Text.of(args.input or args.source.stem, source, target, tokenizers, longest)
        fields = {
            "size": size,
            "run": f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}",
            "command": _said(command or ["abnet", *sys.argv[1:]]),
            **(stamps or _stamps)(),
        }
        put = write or write_result
        count = Bench(
            rows, materials, text, plan, fields,
            lambda name, result: put(result, args.results / f"{name}.json"),
            lambda line: print(line, flush=True), begun,
        ).run()  # fmt: skip
    print(f"{count} results in {args.results}")
    return 0


def _chosen_rows(args: argparse.Namespace, device: torch.device, more_rows: More) -> list[Row]:
    """All rows, or those asked for.

    Raises:
        AbNetError: none is.
    """
    from abnet.bench import ctranslate, huggingface, ours

    rows = [*more_rows(device), *ours.rows(device, args.checkpoint)]
    if args.ctranslate2 is not None:
        rows += ctranslate.folder_rows(args.ctranslate2, device)
    rows += huggingface.rows(device)
    if args.rows is None:
        return rows
    chosen = [row for row in rows if row.name.startswith(tuple(args.rows.split(",")))]
    if not chosen:
        raise AbNetError(
            f"`--rows` must name one of {', '.join(row.name for row in rows)}, but is "
            f"{args.rows!r} instead."
        )
    return chosen


def _tokenizers(
    checkpoint: str | None, size: Any, source: list[str], target: list[str], folder: Path
) -> Any:
    """Of the checkpoint, or learned from the text."""
    from abnet.bench.materials import make_tokenizers
    from abnet.checkpoint import read_checkpoint
    from abnet.tokenizer import Tokenizer

    if checkpoint is None:
        return make_tokenizers(size, source, target, folder)
    config = read_checkpoint(checkpoint).config
    return tuple(Tokenizer.from_pretrained(config.bert(side)) for side in ("source", "target"))


def _numbers(name: str, text: str, word: str | None = None) -> tuple[Any, ...]:
    """The numbers of a list, and perhaps a word.

    Raises:
        AbNetError: something else is in it.
    """
    items = text.split(",")
    for item in items:
        if item != word and not item.isdigit():
            raise AbNetError(
                f"`--{name}` must be numbers with commas between them, but has {item!r} instead."
            )
    return tuple(item if item == word else int(item) for item in items)


def _said(command: Sequence[str]) -> str:
    """A command as others may give it: without the folders of this machine."""
    words = [f"DIR/{Path(w).name}" if Path(w).is_absolute() else w for w in command]
    return shlex.join(words)


def _stamps() -> dict[str, Any]:
    from abnet.bench.machine import commit, versions

    return {"versions": versions(), "commit": commit(Path(__file__).parent)}
