"""`abnet bench`: how fast we translate, or train, beside others, in one run."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from abnet.config import AbNetConfig
from abnet.errors import AbNetError
from abnet.processes import keep_kernels

if TYPE_CHECKING:
    import torch

    from abnet.bench.engine import Materials, Row
    from abnet.bench.plan import Plan
    from abnet.bench.rates import Rates
    from abnet.bench.training import TrainingBench

HELP = "time our systems and others' side by side, translating or training"
DESCRIPTION_OF_OUTPUT = """
Models have random weights, and every system writes translations as long as the references, but for
one pass, whose frames are as many as the source gives. With --checkpoint, AB-Net's are trained and
lengths are the models' own; others' systems with random weights, which would write on and on, are
left out, so that only a model of --ctranslate2 stands beside it. Each cell is one JSON file in
--results, written as soon as it is measured, and again with its floor at the end. Systems take
turns in every round. The status is 1 if a cell failed, which stops no other, or if nothing was
measured. With --training they train instead: as the released code does, as ours does, with each
measure alone and left out, with more of them on a GPU, and with both BERTs trained.
"""


FIRST_ON_GPU = (
    "abnet-10-bfloat16-compiled",
    "transformer-fairseq-beam5-float16",
    "transformer-ctranslate2-beam5-float16",
    "abnet-10-bfloat16",  # what the largest batch has in place of the compiled one
)
"""Rows that a few minutes are to suffice for, where there are any."""
TRAINING_ONLY = ("tokens", "processes")  # options


class _HasName(Protocol):
    @property
    def name(self) -> str: ...


Named = TypeVar("Named", bound=_HasName)
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
    parser.add_argument(
        "--size",
        help="tiny, small or base (default: base on a GPU, else small); a checkpoint has its own",
    )
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
    parser.add_argument(
        "--checkpoint", help="of an AB-Net, instead of random weights; leaves out what has these"
    )
    parser.add_argument("--training", action="store_true", help="time steps of training")
    parser.add_argument(
        "--tokens",
        type=int,
        help="with --training: positions a batch and side (default: 8192 on a GPU, else 1024)",
    )
    parser.add_argument(
        "--processes",
        help="with --training: data-parallel ones, each with a GPU if they train on one, for "
        "example 1,2 (default: 1)",
    )
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
    rates: dict[int, Rates] | None = None,
) -> int:
    """Measures, with rows of others among ours; the status is 1 if a cell failed.

    Args:
        args: of `configure`.
        more_rows: what to measure besides, for a device; of random weights.
        stamps: versions and commit; by default those that the library knows.
        write: takes a result and its path; by default as JSON.
        command: to note in the results.
        rates: see `Bench`; a dict that several calls share.

    Raises:
        AbNetError: a value is not allowed, or nothing is left to measure.
    """
    begun = time.monotonic()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # or it takes all cores
    keep_kernels(16_384)  # models that take turns would push out each other's
    import torch
    from transformers.utils import logging

    from abnet.bench.engine import Materials
    from abnet.bench.inputs import Text
    from abnet.bench.machine import write_result
    from abnet.bench.plan import LARGEST, Plan
    from abnet.bench.run import Bench
    from abnet.bench.sizes import SIZES
    from abnet.text import read_pair
    from abnet.translator import usable_device

    if args.results.exists() and not args.results.is_dir():
        raise AbNetError(f"`--results` must be a folder, but {args.results} is a file.")
    device = usable_device(args.device)
    size = args.size or ("small" if device.type == "cpu" else "base")
    if size not in SIZES:
        raise AbNetError(f"`--size` must be one of {sorted(SIZES)}, but is {size!r} instead.")
    for option in ("checkpoint", "ctranslate2", "batches") if args.training else TRAINING_ONLY:
        if getattr(args, option) is not None:
            when = "with" if args.training else "without"
            raise AbNetError(f"`--{option}` must be left out {when} `--training`.")
    if args.input is not None and not re.fullmatch(r"[\w.-]+", args.input):
        raise AbNetError(
            f"`--input` must be of letters, digits and any of '.-_', but is {args.input!r} instead."
        )
    usual = "1,8,32" if device.type == "cpu" else f"1,8,32,{LARGEST}"
    plan = Plan(
        _numbers("batches", args.batches or usual, LARGEST),
        tuple(int(number) for number in _numbers("threads", args.threads)),
        args.repeats,
        args.count,
        args.minutes,
    )
    rows = [] if args.training else _chosen_rows(args, device, more_rows)
    source, target = read_pair(args.source, args.target)
    logging.set_verbosity_error()
    torch.manual_seed(1)
    with tempfile.TemporaryDirectory(prefix="abnet-bench-") as folder:
        tokenizers = _tokenizers(args.checkpoint, SIZES[size], source, target, Path(folder))
        materials = Materials(SIZES[size], tokenizers, device, folder, checkpoint=args.checkpoint)
        fields = {
            "size": size if args.checkpoint is None else _called(args.checkpoint),
            **({} if args.checkpoint is None else {"checkpoint": args.checkpoint}),
            "run": f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}",
            "command": _said(command or ["abnet", *sys.argv[1:]]),
            **(stamps or _stamps)(),
        }
        put = write or write_result
        name = args.input or args.source.stem

        def note(name: str, result: dict[str, Any]) -> None:
            put(result, args.results / f"{name}.json")

        def say(line: str) -> None:
            print(line, flush=True)

        failed: list[str] = []
        if args.checkpoint is not None:
            say(
                "left out: others' systems with random weights, since --checkpoint has trained ones"
            )
        if args.training:
            trained = _training(
                args, plan, materials, name, source, target, fields, note, say, begun
            )
            count, failed = trained.run(), trained.attempt.failed
        else:
            positions = SIZES[size].bert.max_positions
            if args.checkpoint is not None:
                positions = _positions_of(args.checkpoint)
            longest = positions - 8  # room for symbols, length candidates
            text = Text.of(name, source, target, tokenizers, longest)
            if text.dropped:
                what = f"with an empty side or more than {longest} pieces"
                say(f"left out: {text.dropped} pairs {what}")
            measured = Bench(rows, materials, text, plan, fields, note, say, begun, rates)
            count, failed = measured.run(), measured.attempt.failed
    print(f"{count} results in {args.results}")
    if failed:
        print(f"bench: {len(failed)} failed: {'; '.join(failed)}", file=sys.stderr)
    return int(bool(failed) or not count)


def _chosen_rows(args: argparse.Namespace, device: torch.device, more_rows: More) -> list[Row]:
    """All rows, or those asked for; if time is short ours and others' by turns.

    On a GPU those of `FIRST_ON_GPU` stand before all others.

    Raises:
        AbNetError: none is.
    """
    from abnet.bench import ctranslate, huggingface, ours

    others = [] if args.checkpoint is not None else more_rows(device)
    if args.ctranslate2 is not None:
        others = [*ctranslate.folder_rows(args.ctranslate2, device), *others]
    if args.checkpoint is None:
        others = [*others, *huggingface.rows(device)]
    pairs = zip_longest(ours.rows(device, args.checkpoint), others)
    rows = [row for pair in pairs for row in pair if row is not None]
    if device.type == "cuda":
        first = {name: place for place, name in enumerate(FIRST_ON_GPU)}
        rows.sort(key=lambda row: first.get(row.name, len(first)))
    return _named(rows, args.rows)


def _called(checkpoint: str) -> str:
    """What stands for the size in names of results: each checkpoint has its own."""
    from abnet.translated.files import sha256_of

    return f"checkpoint-{sha256_of(Path(checkpoint))[:8]}"


def _positions_of(checkpoint: str) -> int:
    """The longest sentence in tokens that a checkpoint takes and makes.

    Raises:
        AbNetError: it cannot be loaded, or is no AB-Net.
    """
    from abnet.checkpoint import load_checkpoint

    model = load_checkpoint(checkpoint)
    own = (model.config.encoder, model.config.decoder, model.config.objective)
    if own != (AbNetConfig.encoder, AbNetConfig.decoder, AbNetConfig.objective):
        raise AbNetError(
            "`--checkpoint` must be of an AB-Net that decodes by Mask-Predict, as the rows are "
            f"called, but has the encoder {own[0]}, the decoder {own[1]} and the objective "
            f"{own[2]} instead."
        )
    return min(model.max_source_positions, model.max_target_positions)


def _named(rows: list[Named], beginnings: str | None) -> list[Named]:
    """The rows whose names begin so, or all.

    Raises:
        AbNetError: none does.
    """
    if beginnings is None:
        return rows
    wanted = tuple(beginning for beginning in beginnings.split(",") if beginning)
    chosen = [row for row in rows if row.name.startswith(wanted)]
    if not chosen:
        raise AbNetError(
            f"`--rows` must name one of {', '.join(row.name for row in rows)}, but is "
            f"{beginnings!r} instead."
        )
    return chosen


def _training(
    args: argparse.Namespace,
    plan: Plan,
    materials: Materials,
    name: str,
    source: list[str],
    target: list[str],
    fields: dict[str, Any],
    note: Callable[[str, dict[str, Any]], None],
    say: Callable[[str], None],
    begun: float,
) -> TrainingBench:
    """What times training."""
    from abnet.bench.training import TrainingBench, TrainingPlan
    from abnet.bench.ways import ways

    usual = 1024 if materials.device.type == "cpu" else 8192
    training = TrainingPlan(
        usual if args.tokens is None else args.tokens,
        plan.threads,
        tuple(int(number) for number in _numbers("processes", args.processes or "1")),
        plan.repeats,
        plan.count,
        plan.minutes,
    )
    chosen = _named(ways(materials.device), args.rows)
    return TrainingBench(
        chosen, materials, name, source, target, training, fields, note, say, begun
    )


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
        if item != word and not item.isdecimal():
            raise AbNetError(
                f"`--{name}` must be numbers with commas between them, but has {item!r} instead."
            )
    return tuple(dict.fromkeys(item if item == word else int(item) for item in items))


def _said(command: Sequence[str]) -> str:
    """A command as others may give it: without the folders of this machine."""
    words = [f"DIR/{Path(w).name}" if Path(w).is_absolute() else w for w in command]
    return shlex.join(words)


def _stamps() -> dict[str, Any]:
    from abnet.bench.machine import commit, versions

    return {"versions": versions(), "commit": commit(Path(__file__).parent)}
