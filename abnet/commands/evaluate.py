"""`abnet evaluate`: scores of translations and other texts against raw references."""

from __future__ import annotations

import argparse
import json

from abnet.errors import AbNetError

HELP = "score translations and other texts against raw references"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    hypotheses = parser.add_mutually_exclusive_group(required=True)
    hypotheses.add_argument("--hypotheses", metavar="FILE", help="translations, one a line")
    hypotheses.add_argument(
        "--generate-output", metavar="FILE", help="log of fairseq-generate; its D- lines are scored"
    )
    parser.add_argument(
        "--references",
        metavar="FILE",
        required=True,
        nargs="+",
        action="extend",
        help="raw text, untouched; several files if each line has several references",
    )
    parser.add_argument(
        "--language", default="en", metavar="CODE", help="target language (default: en)"
    )
    parser.add_argument(
        "--lowercase", action="store_true", help="ignore case, as TER, ROUGE and SARI do"
    )
    parser.add_argument(
        "--tokenized",
        action="store_true",
        help="also the paper's BLEU over Moses tokens; not comparable with the others",
    )
    parser.add_argument(
        "--rouge", action="store_true", help="also ROUGE-1, ROUGE-2 and ROUGE-L, for summaries"
    )
    parser.add_argument(
        "--sari",
        action="store_true",
        help="also SARI, for simplification, sentence splitting and fusion; needs --sources",
    )
    parser.add_argument("--sources", metavar="FILE", help="what the hypotheses were made from")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Prints the scores, each with its signature."""
    from abnet.evaluate import evaluate, read_generate_output, tokenized_bleu
    from abnet.rouge import rouge
    from abnet.sari import sari
    from abnet.text import read_lines

    if args.sari != (args.sources is not None):
        raise AbNetError("`--sari` and `--sources` must be given together, but only one is.")
    if args.hypotheses is not None:
        hypotheses = read_lines(args.hypotheses)
    else:
        hypotheses = read_generate_output(args.generate_output)
    references = [read_lines(file) for file in args.references]
    language = args.language
    scores = evaluate(hypotheses, *references, language=language, lowercase=args.lowercase)
    if args.tokenized:
        scores.append(
            tokenized_bleu(hypotheses, *references, language=language, lowercase=args.lowercase)
        )
    if args.rouge:
        scores += rouge(hypotheses, *references, language=language)
    if args.sari:
        sources = read_lines(args.sources)
        scores += sari(hypotheses, *references, sources=sources, language=language)
    if args.json:
        values = {score.name: score.value for score in scores}
        signatures = {score.name: score.signature for score in scores}
        print(json.dumps({**values, "sentences": len(hypotheses), "signatures": signatures}))
        return 0
    for score in scores:
        print(f"{score.label:<15}{score.value:7.2f}   {score.signature}")
    return 0
