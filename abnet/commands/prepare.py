"""`abnet prepare`: a corpus to a folder that `fairseq-train` reads."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from abnet.commands.common import resumable, say
from abnet.corpora.corpus import OVERLONG_SOURCE
from abnet.errors import AbNetError

if TYPE_CHECKING:
    from abnet.corpora.corpus import Corpus

HELP = "download, clean, split, tokenize and binarize a parallel corpus"

CORPORA = {
    "iwslt14": "TED talks: de, it, es, nl to or from en",
    "wmt14": "news: de, fr to or from en",
    "wmt16_ro_en": "news: ro to or from en",
    "multi30k": "image captions: de, fr to or from en",
    "text": "your own text files: two languages, or any other task from text to text",
    "jsonl": "your own JSONL files: a key for the source, a key for the target",
}
OWN = ("text", "jsonl")
# A side's name is a file's suffix, and fairseq reads the names of both from its files' names.
NAME = re.compile(r"\w[^\s./-]*")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments: one parser a corpus."""
    corpora = parser.add_subparsers(dest="corpus", required=True, metavar="CORPUS")
    for name, help in CORPORA.items():
        corpus = corpora.add_parser(name, help=help, description=help)
        _add_common(corpus, name)
        if name == "wmt14":
            corpus.add_argument(
                "--news-commentary",
                type=int,
                default=9,
                choices=(9, 12),
                help="edition: 9, WMT 2014's, or 12, which fairseq's script takes (default: 9)",
            )
        elif name == "wmt16_ro_en":
            corpus.add_argument(
                "--back-translated",
                action="store_true",
                help="add Sennrich et al.'s back-translated news to the training data",
            )
        elif name in OWN:
            _add_own(corpus, name)


def _add_own(parser: argparse.ArgumentParser, corpus: str) -> None:
    prefix = corpus == "text"
    for split in ("train", "valid", "test"):
        parser.add_argument(
            f"--{split}",
            required=split != "test",
            metavar="PREFIX" if prefix else "FILE",
            help=f"the {split} files without their .SIDE or .SIDE.gz (for example .en, .summary)"
            if prefix
            else f"the {split} file, .gz or not",
        )
    if not prefix:
        for side in ("source", "target"):
            parser.add_argument(
                f"--{side}-key", metavar="KEY", help=f"key of the {side} (default: as in --pair)"
            )
    parser.add_argument(
        "--overlong-source",
        choices=OVERLONG_SOURCE,
        default=OVERLONG_SOURCE[0],
        help="a source with more pieces than its BERT has positions: drop it from the training "
        "part, truncate it everywhere, or refuse the file (default: %(default)s)",
    )
    if corpus == "text":
        parser.add_argument(
            "--distilled-by",
            metavar="NAME",
            help="the model whose translations the training targets are, if they are; what "
            "`abnet distill` wrote is known without it",
        )


def _add_common(parser: argparse.ArgumentParser, corpus: str) -> None:
    parser.add_argument(
        "--pair",
        required=True,
        metavar="SOURCE-TARGET",
        help="the two sides, for example de-en or document-summary"
        if corpus in OWN
        else "languages, for example de-en",
    )
    parser.add_argument("--source-bert", required=True, help="Hugging Face name or folder")
    parser.add_argument("--target-bert", required=True, help="Hugging Face name or folder")
    parser.add_argument(
        "--dest", required=True, type=Path, help="folder to make, for example data-bin/NAME"
    )
    if corpus not in OWN:
        parser.add_argument(
            "--from",
            dest="given",
            type=Path,
            metavar="DIR",
            help="folder with the archives, or the files in them; nothing is then downloaded",
        )
        parser.add_argument(
            "--downloads",
            type=Path,
            help="folder for archives and what is unpacked of them (default: beside --dest)",
        )
    parser.add_argument(
        "--workers",
        type=int,
        default=len(os.sched_getaffinity(0)),
        help="processes (default: one a processor)",
    )
    parser.add_argument("--text-only", action="store_true", help="stop before fairseq-preprocess")
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace what --dest holds if it was prepared from something else",
    )


def run(args: argparse.Namespace) -> int:
    """Prepares, and says where the result is."""
    source, target = _sides(args.pair, args.corpus)
    if args.workers < 1:
        raise AbNetError(f"`--workers` must be at least 1, but is {args.workers} instead.")
    from abnet.corpora.preparing import Options, prepare

    options = Options(
        source_bert=args.source_bert,
        target_bert=args.target_bert,
        dest=args.dest,
        downloads=getattr(args, "downloads", None) or args.dest.parent / "downloads" / args.corpus,
        given=Path() if args.corpus in OWN else args.given,
        workers=args.workers,
        text_only=args.text_only,
        overwrite=args.overwrite,
        overlong_source=args.overlong_source if args.corpus in OWN else OVERLONG_SOURCE[0],
    )
    with resumable():
        prepare(_build(args, source, target), options, say)
    say(f"prepared {args.dest}; its manifest.json says from what")
    return 0


def _sides(pair: str, corpus: str) -> tuple[str, str]:
    """The names of the two sides; those of one's own data need not be languages."""
    source, _, target = pair.partition("-")
    if corpus not in OWN:
        if not source or not target or source == target:
            raise AbNetError(
                f"`--pair` must be two languages such as de-en, but is {pair} instead."
            )
    elif not (NAME.fullmatch(source) and NAME.fullmatch(target)):
        raise AbNetError(
            f"`--pair` must be two names such as de-en or document-summary, but is {pair} "
            "instead. A name begins with a letter or a digit and has no white space, dot, slash or "
            "further hyphen: write pt_BR for pt-BR, and name the files so."
        )
    elif source == target:
        raise AbNetError(
            f"`--pair` must be two different names, but is {pair} instead: the files of both "
            "sides would have one name. For a task within one language, say what the sides are, "
            "for example document-summary, "
            + (
                f"and rename your files accordingly: PREFIX.{source} to PREFIX.document, ..."
                if corpus == "text"
                else "and name the keys with `--source-key` and `--target-key`."
            )
        )
    return source, target


def _build(args: argparse.Namespace, source: str, target: str) -> Corpus:
    from abnet.corpora import iwslt14, jsonl, multi30k, text, wmt14, wmt16_ro_en

    match args.corpus:
        case "iwslt14":
            return iwslt14.build(source, target)
        case "wmt14":
            return wmt14.build(source, target, args.news_commentary)
        case "wmt16_ro_en":
            return wmt16_ro_en.build(source, target, args.back_translated)
        case "multi30k":
            return multi30k.build(source, target)
        case "jsonl":
            files = (args.train, args.valid, args.test)
            return jsonl.build(source, target, *files, args.source_key, args.target_key)
        case _:
            return text.build(source, target, args.train, args.valid, args.test, args.distilled_by)
