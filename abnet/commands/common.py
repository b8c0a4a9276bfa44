"""What several commands have in common: options, and how they tell of their progress."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abnet.errors import AbNetError

if TYPE_CHECKING:
    from abnet.config import AbNetConfig
    from abnet.decoding.decode import Options
    from abnet.translated.filtering import PairFilter
    from abnet.translated.translating import Running, Teacher


# What may have passed when the same command runs again.
PASSING = (None, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOMEM, errno.EMFILE, errno.EINTR)


def say(line: str) -> None:
    """A line about the progress, on standard error."""
    print(f"abnet: {line}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def resumable() -> Iterator[None]:
    """Tells of a full disk and the like as something to mend, after which the command goes on."""
    try:
        yield
    except OSError as error:
        name = "" if error.filename is None else f"{error.filename}: "
        again = "run the command again" if error.errno in PASSING else "name another file or folder"
        raise AbNetError(
            f"{name}{error.strerror or error}. What is done is kept: {again}."
        ) from error


def split_pair(text: str) -> tuple[str, str]:
    """The two languages of `--pair`.

    Raises:
        AbNetError: there are not two.
    """
    source, _, target = text.partition("-")
    if not source or not target or source == target:
        raise AbNetError(f"`--pair` must be two languages such as de-en, but is {text} instead.")
    return source, target


DECODING = (  # options that are fields of a system's own, see `abnet.decoding.decode`
    "iterations",
    "length_beam",
    "length_weight",
    "ban_repeats",
    "repredict",
    "force_max_iterations",
    "patience",
    "prune_after",
    "prune_keep",
    "prune_margin",
    "confidence",
    "beam",
    "blank_penalty",
    "word_reward",
    "lm_weight",
    "rescore_weight",
    "length_penalty",
)


def add_decoding_options(parser: argparse._ActionsContainer) -> None:
    """How a checkpoint decodes; `decoding_options` reads them.

    None has a default here: what is given must have a meaning for the system at hand.
    """
    parallel = "parallel systems: "
    parser.add_argument(
        "--iterations",
        type=int,
        help=f"{parallel}decoder passes at most (default: 10); systems of CTC trained with "
        "--reveal-frames: passes (default: 1)",
    )
    parser.add_argument(
        "--length-beam", type=int, help=f"{parallel}length candidates a line (default: 4)"
    )
    parser.add_argument(
        "--length-weight",
        type=float,
        metavar="W",
        help=f"{parallel}add W times the length's log-probability to a candidate's score "
        "(default: 0)",
    )
    for name, what in (
        ("--ban-repeats", "of two equal neighbouring pieces, replace the less probable"),
        ("--repredict", "predict all pieces in every pass, not masked only"),
        ("--force-max-iterations", "do all passes even when a translation repeats"),
    ):
        parser.add_argument(name, action="store_const", const=True, help=parallel + what)
    parser.add_argument(
        "--patience",
        type=int,
        metavar="N",
        help=f"{parallel}stop when a translation repeats N times in a row (default: 2)",
    )
    for name, kind, metavar, what in (
        ("--prune-after", int, "N", "give up some length candidates after N passes"),
        ("--prune-keep", int, "N", "keep the N best candidates then"),
        ("--prune-margin", float, "M", "keep candidates whose score is at most M below the best"),
        ("--confidence", float, "P", "stop when every piece has at least the probability P"),
    ):
        parser.add_argument(
            name, type=kind, metavar=metavar, help=f"{parallel}{what}; may change the output"
        )
    parser.add_argument(
        "--beam",
        type=int,
        help="autoregressive systems: hypotheses a line (default: 5); one-pass systems: "
        "translations kept in a search (default: 1, the best path)",
    )
    parser.add_argument(
        "--blank-penalty",
        type=float,
        metavar="P",
        help="systems of CTC: take P from the blank's logit; more makes longer (default: 0)",
    )
    parser.add_argument(
        "--word-reward",
        type=float,
        metavar="R",
        help="systems of a graph: add R to a path for each word; more makes longer (default: 1)",
    )
    parser.add_argument(
        "--lm-weight",
        type=float,
        metavar="W",
        help="parallel systems, and those of a graph with a --beam: add W times the target BERT's "
        "own log-probability of a translation to what it is chosen by (default: 0)",
    )
    parser.add_argument(
        "--rescore-weight",
        type=float,
        metavar="W",
        help=f"{parallel}add W times the log-probability that a translation has, every fourth "
        "piece shown, to what it is chosen by; one more pass, of four copies (default: 0)",
    )
    parser.add_argument(
        "--length-penalty",
        type=float,
        help="1, the default: by mean log-probability; in one pass only of the score that is told",
    )
    parser.add_argument("--batch-size", type=int, default=32, help="lines decoded at once")
    parser.add_argument("--source-bert", help="where the source BERT is now, if it has moved")
    parser.add_argument("--target-bert", help="where the target BERT is now, if it has moved")


def decoding_options(args: argparse.Namespace, config: AbNetConfig, **more: Any) -> Options:
    """What `add_decoding_options` was given.

    Args:
        config: of the system that decodes.
        more: other fields.

    Raises:
        AbNetError: a value is outside of what its field allows, or of another kind of system.
    """
    from abnet.decoding.decode import options_for

    if args.batch_size < 1:
        raise AbNetError(f"`batch_size` must be at least 1, but is {args.batch_size} instead.")
    return options_for(config, {**{name: getattr(args, name) for name in DECODING}, **more})


def add_sharding_options(parser: argparse.ArgumentParser) -> None:
    """How a model translates a whole text into a folder; `teacher_of` and `running_of` read them.

    They are followed by those of the filter, which `filter_of` reads.
    """
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="to make")
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace what --output holds if it was made from something else",
    )
    parser.add_argument(
        "--teacher-name",
        metavar="NAME",
        help="what scores call the model that translates (default: its path)",
    )
    add_decoding_options(parser.add_argument_group("decoding"))
    division = parser.add_argument_group("division of the work")
    division.add_argument(
        "--shard-lines", type=int, default=5_000, metavar="N", help="default %(default)s"
    )
    division.add_argument(
        "--devices",
        metavar="LIST",
        help="torch devices, for example cuda:0,cuda:1, a process each "
        "(default: the GPU if there is one)",
    )
    division.add_argument(
        "--workers", type=int, metavar="N", help="processes in all (default: one a device)"
    )
    division.add_argument(
        "--part",
        metavar="I/N",
        help="translate every Nth shard from the Ith on; N calls with the same --output, on any "
        "machines, do all",
    )
    rules = parser.add_argument_group("filter")
    rules.add_argument("--no-filter", action="store_true", help="keep every pair")
    rules.add_argument(
        "--max-ratio",
        type=float,
        default=3.0,
        metavar="R",
        help="drop a pair if one side has more than R times the other's words "
        "(default: %(default)s)",
    )
    rules.add_argument(
        "--max-repeats",
        type=int,
        default=3,
        metavar="N",
        help="drop a translation with a word more than N times in a row, unless the original has "
        "such a run (default: %(default)s)",
    )
    rules.add_argument(
        "--drop-copies", action="store_true", help="drop a translation that is the original"
    )


def checkpoint_files(text: str) -> list[str]:
    """The checkpoints with colons between them, as fairseq's `--path` has them."""
    return [text] if Path(text).exists() else text.split(os.pathsep)


def teacher_of(args: argparse.Namespace) -> Teacher:
    """The model, and how it decodes.

    Raises:
        AbNetError: a value is outside of what it allows.
    """
    from abnet.checkpoint import read_checkpoint
    from abnet.translated.translating import Teacher

    checkpoints = checkpoint_files(args.checkpoint)
    config = read_checkpoint(checkpoints[0]).config
    return Teacher(
        checkpoints=tuple(map(Path, checkpoints)),
        options=decoding_options(args, config),
        name=args.teacher_name,
        source_bert=args.source_bert,
        target_bert=args.target_bert,
        batch_size=args.batch_size,
    )


def running_of(args: argparse.Namespace) -> Running:
    """How the work is divided.

    Raises:
        AbNetError: a value is outside of what it allows.
    """
    from abnet.translated.shards import ALL, Part
    from abnet.translated.translating import Running

    return Running(
        shard_lines=args.shard_lines,
        devices=(None,) if args.devices is None else tuple(args.devices.split(",")),
        workers=args.workers,
        part=ALL if args.part is None else Part.parse(args.part),
    )


def filter_of(args: argparse.Namespace) -> PairFilter | None:
    """What is dropped.

    Raises:
        AbNetError: a value is outside of what it allows.
    """
    from abnet.translated.filtering import PairFilter

    rules = PairFilter(args.max_ratio, args.max_repeats, args.drop_copies)
    return None if args.no_filter else rules
