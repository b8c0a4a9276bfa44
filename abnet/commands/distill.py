"""`abnet distill`: a teacher's translations of the training side as training targets."""

from __future__ import annotations

import argparse
from pathlib import Path

from abnet.commands.common import (
    DECODING,
    add_sharding_options,
    filter_of,
    resumable,
    running_of,
    say,
    split_pair,
    teacher_of,
)
from abnet.errors import AbNetError

HELP = "translate the training side with a trained model, for another one to learn from"
DESCRIPTION_OF_OUTPUT = """
FOLDER gets train.SOURCE and train.TARGET, for `abnet prepare text --train FOLDER/train`, and
manifest.json. Call the command again after an interruption: finished shards are kept.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.epilog = DESCRIPTION_OF_OUTPUT
    parser.add_argument(
        "checkpoint", nargs="?", help="of the teacher, as `abnet translate` takes it"
    )
    parser.add_argument(
        "--train",
        nargs="+",
        required=True,
        metavar="PREFIX",
        help="the training files without their .LANGUAGE (or .LANGUAGE.gz); the source is read",
    )
    parser.add_argument(
        "--pair", required=True, metavar="SOURCE-TARGET", help="languages, for example de-en"
    )
    made = parser.add_argument_group("translations of another program, instead of a checkpoint")
    made.add_argument(
        "--translations", nargs="+", type=Path, metavar="FILE", help="one translation a line"
    )
    made.add_argument(
        "--generate-output",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="logs of fairseq-generate on the training side; their D- lines are taken",
    )
    add_sharding_options(parser)


def run(args: argparse.Namespace) -> int:
    """Distills, and says what came out."""
    given = [args.checkpoint, args.translations, args.generate_output]
    if sum(one is not None for one in given) != 1:
        raise AbNetError(
            "`abnet distill` must have one of a checkpoint, --translations and --generate-output."
        )
    from abnet.translated.distillation import Distillation, adopt, distill

    task = Distillation(
        pair=split_pair(args.pair),
        train=args.train,
        output=args.output,
        rules=filter_of(args),
        overwrite=args.overwrite,
    )
    with resumable():
        if args.checkpoint is not None:
            distill(task, teacher_of(args), running_of(args), say)
            return 0
        _refuse_ignored(args)
        if args.teacher_name is None:
            raise AbNetError(
                "`--teacher-name` must say which model made the translations, for example "
                "'transformer-big, beam 5'."
            )
        files = args.translations or args.generate_output
        adopt(task, _translations(args), files, args.teacher_name, say)
    return 0


def _refuse_ignored(args: argparse.Namespace) -> None:
    """Refuses what is said of how to translate, where nothing is translated."""
    names = (*DECODING, "source_bert", "target_bert", "devices", "workers", "part")
    for name in names:
        if getattr(args, name) is not None:
            raise AbNetError(
                f"`--{name.replace('_', '-')}` must go with a checkpoint that translates, but the "
                "translations are given."
            )


def _translations(args: argparse.Namespace) -> list[str]:
    from abnet.scoring.evaluate import read_generate_output
    from abnet.translated.files import Lines

    if args.translations is not None:
        return list(Lines(tuple(args.translations)))
    return read_generate_output(*args.generate_output)
