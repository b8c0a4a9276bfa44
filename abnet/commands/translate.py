"""`abnet translate`: raw text in, raw text out, one line a line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from abnet.commands.common import add_decoding_options, checkpoint_files, decoding_options
from abnet.commands.tokenize import chunks, open_input, open_output
from abnet.errors import AbNetError
from abnet.text import decode_lines

if TYPE_CHECKING:
    from abnet.translator import Translator

HELP = "translate raw text with a checkpoint, one line a line"
BATCHES_A_BUFFER = 16  # lines of so many batches are sorted by length together
DESCRIPTION_OF_OUTPUT = """
Each line of input gives one line of output, in order; an empty line gives an empty one. With
--n-best N it gives N lines, best first. With --scores each line begins with its score (the
log-probability by length to the power of the length penalty) and a tab.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.epilog = DESCRIPTION_OF_OUTPUT
    parser.add_argument(
        "checkpoint",
        help="a .pt of fairseq-train, or a .safetensors of abnet; several with colons between "
        "them, A.pt:B.pt, decode as an ensemble",
    )
    parser.add_argument("file", nargs="?", default="-", help="raw text; standard input if absent")
    add_decoding_options(parser)
    parser.add_argument(
        "--overlong",
        choices=("truncate", "refuse"),
        default="truncate",
        help="of a line with more pieces than the source BERT has positions for: cut the end off, "
        "with a warning (default), or stop there with an error; what was written before stays",
    )
    parser.add_argument(
        "--reranker",
        metavar="CHECKPOINT",
        help="an autoregressive model that chooses among the length candidates of a parallel one",
    )
    parser.add_argument(
        "--rerank-weight",
        type=float,
        metavar="W",
        help="the reranker's share of the score; the rest is the model's own (default: 1)",
    )
    parser.add_argument(
        "--dtype",
        default="float32",
        help="precision of the weights: float32 (default), bfloat16, float16 (on a GPU) or int8 "
        "(on the CPU); all but float32 may change the output",
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="parallel systems: compile the decoder; pays for long inputs on a GPU",
    )
    parser.add_argument("--n-best", type=int, default=1, metavar="N", help="N translations a line")
    parser.add_argument("--scores", action="store_true", help="begin each line with its score")
    parser.add_argument(
        "--buffer-size",
        type=int,
        help="lines read before they are sorted by length, translated and written "
        "(default: 16 times the batch size, or 1 line from a terminal)",
    )
    parser.add_argument("--device", help="torch device (default: the GPU if there is one)")


def run(args: argparse.Namespace) -> int:
    """Translates until the input ends, the reader leaves, or Ctrl-C."""
    from abnet.translator import InputReport, Translator

    reranker = None if args.reranker is None else checkpoint_files(args.reranker)
    weight = {} if args.rerank_weight is None else {"rerank_weight": args.rerank_weight}
    if weight and reranker is None:
        raise AbNetError("`--rerank-weight` must go with `--reranker`.")
    buffer_size = args.buffer_size
    if buffer_size is None:
        by_hand = args.file == "-" and sys.stdin is not None and sys.stdin.isatty()
        buffer_size = 1 if by_hand else BATCHES_A_BUFFER * args.batch_size
    for name, value in (("batch_size", args.batch_size), ("buffer_size", buffer_size)):
        if value < 1:
            raise AbNetError(f"`{name}` must be at least 1, but is {value} instead.")
    report = InputReport()
    open_output()
    with open_input(args.file) as stream:
        translator = Translator.from_checkpoint(
            checkpoint_files(args.checkpoint),
            args.device,
            args.source_bert,
            args.target_bert,
            reranker,
            dtype=args.dtype,
            compile=args.compile,
            **weight,
        )
        options = decoding_options(args, translator.model.config, n_best=args.n_best)
        name = "standard input" if args.file == "-" else args.file
        try:
            for lines in chunks(decode_lines(stream, name), buffer_size):
                if args.overlong == "refuse":
                    _refuse_overlong(lines, name, report.lines + 1, translator)
                found = translator.translate_n_best(
                    lines, options, batch_size=args.batch_size, report=report
                )
                for translations in found:
                    for translation in translations:
                        score = f"{translation.score:.4f}\t" if args.scores else ""
                        print(score + translation.text)
                sys.stdout.flush()
        finally:
            for message in report.messages(translator):
                print(f"abnet: warning: {message}", file=sys.stderr)
    return 0


def _refuse_overlong(lines: Sequence[str], name: str, first: int, translator: Translator) -> None:
    """Raises an `AbNetError` that names the first line that would be cut.

    Args:
        name: what an error calls their source.
        first: the number of the first of the lines.
    """
    tokenizer = translator.source_tokenizer
    for number, pieces in enumerate(tokenizer.encode_batch(lines), start=first):
        if len(pieces) > translator.max_pieces:
            raise AbNetError(
                f"{name}, line {number}: a line must have at most {translator.max_pieces} pieces "
                f"of {tokenizer.name}, but has {len(pieces)}. Split it into sentences, or choose "
                "`--overlong truncate`."
            )
