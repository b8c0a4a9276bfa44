"""`abnet backtranslate`: monolingual target text with a reverse model's source side."""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

from abnet.commands.common import (
    add_sharding_options,
    filter_of,
    resumable,
    running_of,
    say,
    split_pair,
    teacher_of,
)
from abnet.errors import AbNetError

HELP = "translate monolingual target text with a reverse model, and mix it with true pairs"
DESCRIPTION_OF_OUTPUT = """
FOLDER gets train.SOURCE and train.TARGET, the true pairs first, for `abnet prepare text --train
FOLDER/train`, and manifest.json. Call the command again after an interruption: finished shards are
kept.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.epilog = DESCRIPTION_OF_OUTPUT
    parser.add_argument(
        "checkpoint",
        help="of the reverse model, from TARGET to SOURCE, as `abnet translate` takes it",
    )
    parser.add_argument(
        "--pair",
        required=True,
        metavar="SOURCE-TARGET",
        help="languages of the model to train, for example de-en",
    )
    parser.add_argument(
        "--mono", nargs="+", type=Path, required=True, metavar="FILE", help="text in TARGET"
    )
    parser.add_argument(
        "--true",
        required=True,
        metavar="PREFIX",
        help="the true training files without their .LANGUAGE (or .LANGUAGE.gz)",
    )
    parser.add_argument(
        "--exclude",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="validation and test files in TARGET: their lines are not taken",
    )
    parser.add_argument(
        "--ratio",
        default="1",
        metavar="R",
        help="at most R synthetic pairs for each true one, upsampled ones counted (default: 1)",
    )
    parser.add_argument(
        "--upsample-true",
        type=int,
        default=1,
        metavar="N",
        help="write the true pairs N times (default: 1)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=1,
        help="decides which lines are taken, where there are more than needed (default: 1)",
    )
    add_sharding_options(parser)


def run(args: argparse.Namespace) -> int:
    """Back-translates, and says what came out."""
    from abnet.translated.back_translation import BackTranslation, back_translate

    try:
        ratio = Fraction(args.ratio)  # exact, where a float of 0.29 is less
        float(ratio)  # for the manifest
    except (ValueError, ZeroDivisionError, OverflowError):
        raise AbNetError(
            f"`--ratio` must be a number such as 0.5, but is {args.ratio} instead."
        ) from None
    task = BackTranslation(
        pair=split_pair(args.pair),
        mono=args.mono,
        true=args.true,
        output=args.output,
        ratio=ratio,
        upsample_true=args.upsample_true,
        seed=args.seed,
        exclude=args.exclude,
        rules=filter_of(args),
        overwrite=args.overwrite,
    )
    with resumable():
        back_translate(task, teacher_of(args), running_of(args), say)
    return 0
