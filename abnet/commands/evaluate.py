"""`abnet evaluate`: scores of translations and other texts against raw references."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from abnet.commands.common import say
from abnet.errors import AbNetError
from abnet.scoring.languages import measured_code

HELP = "score translations and other texts against raw references"
LANGUAGE = "en"  # where nothing tells another


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    hypotheses = parser.add_mutually_exclusive_group(required=True)
    hypotheses.add_argument("--hypotheses", metavar="FILE", help="translations, one a line")
    hypotheses.add_argument(
        "--generate-output",
        metavar="FILE",
        nargs="+",
        help="log of fairseq-generate, or logs of all its parts; their D- lines are scored",
    )
    parser.add_argument(
        "--references",
        metavar="FILE",
        nargs="+",
        action="extend",
        help="raw text, untouched; several files if each line has several references",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="prepared folder that the system was trained on: the scores say whether its training "
        "data are raw or distilled, and by whom; its raw test set is the default of --references",
    )
    parser.add_argument(
        "--language",
        metavar="CODE",
        help=f"target language (default: that of --data, if its target side has a code such as "
        f"de, pt-BR or zho_Hans, or else {LANGUAGE})",
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
    """Prints the scores, each with its signature, and what the training data were."""
    from abnet.scoring.evaluate import evaluate, read_generate_output, tokenized_bleu
    from abnet.scoring.rouge import rouge
    from abnet.scoring.sari import sari
    from abnet.text import read_lines
    from abnet.translated.origin import describe_origin, told_origin

    if args.sari != (args.sources is not None):
        raise AbNetError("`--sari` and `--sources` must be given together, but only one is.")
    if args.data is None and args.references is None:
        raise AbNetError("`abnet evaluate` must have --references or --data, but has neither.")
    prepared = None if args.data is None else _prepared(args.data)
    side = LANGUAGE if prepared is None else prepared["made_from"]["pair"].split("-", 1)[1]
    if args.hypotheses is not None:
        hypotheses = read_lines(args.hypotheses)
    else:
        hypotheses = read_generate_output(*args.generate_output)
    files = args.references or [args.data / "raw" / f"test.{side}"]
    references = [read_lines(file) for file in files]
    language = _language(side) if args.language is None else _code(args.language)
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
        about: dict[str, Any] = {"sentences": len(hypotheses), "signatures": signatures}
        if prepared is None:
            about["training_data"] = "unknown"
        else:
            origin = told_origin(prepared)
            about |= {"training_data": describe_origin(origin), "distilled": "distilled" in origin}
            if about["distilled"]:
                about["teacher"] = origin["distilled"]["teacher"]
        print(json.dumps({**values, **about}))
        return 0
    for score in scores:
        print(f"{score.label:<15}{score.value:7.2f}   {score.signature}")
    if prepared is None:
        print("training data: unknown (give --data)")
    else:
        print(f"training data: {describe_origin(told_origin(prepared))}")
    return 0


def _code(language: str) -> str:
    """A language as the measures know it: "zh" of zh-CN."""
    code = measured_code(language)
    if code is None:
        raise AbNetError(f"`--language` must be a code such as de or pt-BR, but is {language!r}.")
    return code


def _language(side: str) -> str:
    """The language of a prepared folder's target side, whose name may be any word ("summary")."""
    code = measured_code(side)
    if code is None or len(code) > 2:  # "sum"
        say(
            f"the side {side!r} is not taken for a language: the texts are scored as {LANGUAGE}. "
            "If they are in another one, give --language."
        )
        return LANGUAGE
    return code


def _prepared(folder: Path) -> dict[str, Any]:
    """The manifest of a prepared folder."""
    from abnet.corpora.manifest import FILE
    from abnet.translated.manifest import read_manifest

    data = read_manifest(folder / FILE)
    if data is None or "steps" not in data:
        raise AbNetError(
            f"`--data` must be a folder that `abnet prepare` made, but {folder} has no {FILE} of "
            "it."
        )
    return data
