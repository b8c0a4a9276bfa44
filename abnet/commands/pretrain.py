"""`abnet pretrain`: a BERT from plain text."""

from __future__ import annotations

import argparse
from pathlib import Path

from abnet.commands.common import say

HELP = "pre-train a BERT from plain text, or continue an existing one"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument(
        "--text", nargs="+", type=Path, required=True, metavar="FILE", help="one sentence a line"
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FOLDER", help="Hugging Face folder to write"
    )
    parser.add_argument(
        "--exclude",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="validation and test files: their lines are dropped from the text",
    )
    parser.add_argument(
        "--from", dest="start", metavar="BERT", help="continue this BERT (name or folder)"
    )
    parser.add_argument(
        "--head-only",
        action="store_true",
        help="with --from: train nothing but the masked-LM head; an encoder without one gets it",
    )
    shape = parser.add_argument_group("shape of a new BERT")
    shape.add_argument("--layers", type=int, help="default 4")
    shape.add_argument("--hidden", type=int, help="default 256")
    shape.add_argument("--heads", type=int, help="default 4")
    shape.add_argument("--ffn", type=int, help="default 1024")
    shape.add_argument("--vocab-size", type=int, help="default 8000")
    shape.add_argument("--max-positions", type=int, help="default 512")
    case = shape.add_mutually_exclusive_group()
    case.add_argument("--cased", action="store_true", help="keep case (default)")
    case.add_argument("--lowercase", action="store_true", help="fold case, keep accents")
    training = parser.add_argument_group("training")
    budget = training.add_mutually_exclusive_group(required=True)
    budget.add_argument("--updates", type=int, help="number of optimizer steps")
    budget.add_argument("--minutes", type=float, help="wall-clock time of training")
    training.add_argument("--batch-tokens", type=int, default=4096, help="default %(default)s")
    training.add_argument("--lr", type=float, default=5e-4, help="default %(default)s")
    training.add_argument("--dropout", type=float, help="of a new BERT; default 0.1")
    training.add_argument(
        "--masking",
        choices=("bert", "decoder"),
        default="bert",
        help="bert: a fixed share of the words; decoder: any number of them, [SEP] too",
    )
    training.add_argument(
        "--mask-share",
        type=float,
        help="share of words to predict, with --masking bert; default 0.4",
    )
    training.add_argument(
        "--no-cls", action="store_true", help="sequences begin with their first word"
    )
    precision = training.add_mutually_exclusive_group()
    for name in ("bf16", "fp16"):
        precision.add_argument(
            f"--{name}", dest="precision", action="store_const", const=name, default="fp32"
        )
    training.add_argument("--seed", type=int, default=1, help="default %(default)s")
    training.add_argument(
        "--save-minutes", type=float, default=5.0, help="between checkpoints; default %(default)s"
    )
    training.add_argument(
        "--resume", action="store_true", help="go on with an interrupted run; keep a finished one"
    )


def run(args: argparse.Namespace) -> int:
    """Pre-trains and says what came of it."""
    from transformers.utils import logging

    from abnet.errors import AbNetError
    from abnet.pretraining.options import BertShape, PretrainingOptions
    from abnet.pretraining.pretrain import pretrain

    logging.disable_progress_bar()  # of loading and saving weights; training has its own
    sizes = ("layers", "hidden", "heads", "ffn", "vocab_size", "max_positions")
    given = {name: value for name in sizes if (value := vars(args)[name]) is not None}
    if args.head_only and args.start is None:
        raise AbNetError("--head-only must come with --from, the BERT whose head trains.")
    if args.start is not None and (given or args.lowercase):
        raise AbNetError("--from keeps the shape and the vocabulary of that BERT; leave them out.")
    if args.start is not None and args.dropout is not None:
        raise AbNetError("--from keeps the dropout of that BERT; leave --dropout out.")
    if args.masking == "decoder" and args.mask_share is not None:
        raise AbNetError("--masking decoder hides any share of the words; leave --mask-share out.")
    chosen = {name: vars(args)[name] for name in ("dropout", "mask_share")}
    options = PretrainingOptions(
        shape=BertShape(**given) if args.start is None else None,
        start=args.start,
        head_only=args.head_only,
        lowercase=args.lowercase,
        with_cls=not args.no_cls,
        updates=args.updates,
        minutes=args.minutes,
        batch_tokens=args.batch_tokens,
        learning_rate=args.lr,
        masking=args.masking,
        precision=args.precision,
        seed=args.seed,
        save_minutes=args.save_minutes,
        resume=args.resume,
        **{name: value for name, value in chosen.items() if value is not None},
    )
    try:
        report = pretrain(args.text, args.output, options, args.exclude)
    except KeyboardInterrupt:
        say(f"stopped; the same command with --resume goes on in {args.output}")
        raise
    print(
        f"{args.output}: {report.parameters:,} weights, {report.vocab_size:,} pieces; "
        f"{report.lines:,} lines ({report.dropped_lines:,} dropped as excluded), "
        f"{report.updates:,} updates in {report.seconds:.0f} s; predicts "
        f"{100 * report.masked_accuracy:.1f} % of the masked words of "
        f"{report.held_out_lines:,} held-out lines"
    )
    return 0
