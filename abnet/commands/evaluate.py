"""`abnet evaluate`: scores of translations against raw references."""

from __future__ import annotations

import argparse
import json

HELP = "score translations with sacreBLEU against raw references"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    hypotheses = parser.add_mutually_exclusive_group(required=True)
    hypotheses.add_argument("--hypotheses", metavar="FILE", help="translations, one a line")
    hypotheses.add_argument(
        "--generate-output", metavar="FILE", help="log of fairseq-generate; its D- lines are scored"
    )
    parser.add_argument("--references", metavar="FILE", required=True, help="raw text, untouched")
    parser.add_argument(
        "--language", default="en", metavar="CODE", help="target language (default: en)"
    )
    parser.add_argument("--lowercase", action="store_true", help="ignore case")
    parser.add_argument(
        "--tokenized",
        action="store_true",
        help="also the paper's BLEU over Moses tokens; not comparable with the others",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Prints the scores, each with its signature."""
    from abnet.evaluate import evaluate, read_generate_output, tokenized_bleu
    from abnet.text import read_lines

    if args.hypotheses is not None:
        hypotheses = read_lines(args.hypotheses)
    else:
        hypotheses = read_generate_output(args.generate_output)
    references = read_lines(args.references)
    how = {"language": args.language, "lowercase": args.lowercase}
    scores = evaluate(hypotheses, references, **how)
    if args.tokenized:
        scores.append(tokenized_bleu(hypotheses, references, **how))
    if args.json:
        values = {score.name: score.value for score in scores}
        signatures = {score.name: score.signature for score in scores}
        print(json.dumps({**values, "sentences": len(references), "signatures": signatures}))
        return 0
    for score in scores:
        print(f"{score.label:<15}{score.value:7.2f}   {score.signature}")
    return 0
