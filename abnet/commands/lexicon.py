"""`abnet lexicon`: what each source piece is in the target language, for a lexical adapter."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from abnet.commands.common import say, split_pair
from abnet.errors import AbNetError
from abnet.text import UNKNOWN_SHARE_TO_WARN

if TYPE_CHECKING:
    from abnet.tokenizer import Tokenizer

HELP = "count what source pieces are translated by, as a beginning for `--lexical-adapter-dim`"
MAX_PAIRS = 200_000
LINES_AT_ONCE = 10_000
DESCRIPTION_OF_OUTPUT = """
The file is for `fairseq-train ... --lexical-adapter-dim 128 --lexicon FILE`, and not needed to
translate.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.epilog = DESCRIPTION_OF_OUTPUT
    parser.add_argument(
        "--train",
        nargs="+",
        required=True,
        metavar="PREFIX",
        help="the training files without their .LANGUAGE (or .LANGUAGE.gz)",
    )
    parser.add_argument(
        "--pair", required=True, metavar="SOURCE-TARGET", help="languages, for example de-en"
    )
    parser.add_argument("--source-bert", required=True, help="Hugging Face name or folder")
    parser.add_argument("--target-bert", required=True, help="Hugging Face name or folder")
    parser.add_argument(
        "--output", required=True, type=Path, metavar="FILE", help="a .safetensors to write"
    )
    parser.add_argument(
        "--max-pairs",
        type=int,
        default=MAX_PAIRS,
        metavar="N",
        help="of more pairs so many are drawn (default: %(default)s; 100,000 pairs of 30 pieces "
        "take two gigabytes)",
    )
    parser.add_argument("--seed", type=int, default=1, help="of the draw (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Counts, and says of how much."""
    from abnet.backbone import load_backbone
    from abnet.lexicon import (
        check_place,
        piece_vectors,
        translation_table,
        word_inputs,
        write_lexicon,
    )
    from abnet.tokenizer import Tokenizer

    if args.max_pairs < 1:
        raise AbNetError(f"`--max-pairs` must be at least 1, but is {args.max_pairs} instead.")
    check_place(args.output)
    if args.output.resolve() in [path.resolve() for pair in _files(args) for path in pair]:
        raise AbNetError(f"`--output` must be a new file, but {args.output} is counted in.")
    source, target = map(Tokenizer.from_pretrained, (args.source_bert, args.target_bert))
    bert = load_backbone(args.target_bert, with_head=True, dropout=0.0).eval()
    target.check_fits(bert.vocab_size)
    try:
        pairs = list(_pieces(args, source, target))
    except OSError as error:
        raise AbNetError(f"The training pairs cannot be read ({error}).") from error
    say(f"counting in {len(pairs):,} pairs")
    languages = split_pair(args.pair)
    _warn_of_unknown(f"source side, {languages[0]},", source, [ids for ids, _ in pairs])
    _warn_of_unknown(f"target side, {languages[1]},", target, [ids for _, ids in pairs])
    table = translation_table(pairs)
    words = word_inputs(bert, target.symbols, len(target.vocabulary))
    lexicon = piece_vectors(table, words, len(source.vocabulary))
    about = {"pairs": str(len(pairs)), "pair": args.pair}
    write_lexicon(args.output, lexicon, source, about, target)
    known, pieces = int(lexicon.vectors.any(dim=1).sum()), len(lexicon.vectors)
    print(f"{args.output}: {known:,} of {pieces:,} source pieces, {len(table.source):,} links")
    return 0


def _pieces(
    args: argparse.Namespace, source: Tokenizer, target: Tokenizer
) -> Iterator[tuple[list[int], list[int]]]:
    """The ids of the pairs, or of as many as are wanted."""
    from abnet.corpora.cleaning import in_chunks
    from abnet.translated.files import Sample

    count = sum(1 for _ in _lines(args))
    sample = Sample(min(args.max_pairs, count), count, args.seed)
    for chunk in in_chunks(sample.choose(_lines(args)), LINES_AT_ONCE):
        texts, translations = zip(*chunk, strict=True)
        yield from zip(source.encode_batch(texts), target.encode_batch(translations), strict=True)


def _warn_of_unknown(what: str, tokenizer: Tokenizer, sentences: list[list[int]]) -> None:
    """Tells of more than 1 % of pieces that the vocabulary has not."""
    total = sum(map(len, sentences))
    unknown = sum(ids.count(tokenizer.symbols.unk) for ids in sentences)
    if unknown > UNKNOWN_SHARE_TO_WARN * total:
        say(
            f"warning: {unknown} of {total} pieces ({unknown / total:.1%}) of the {what} are "
            f"unknown to {tokenizer.name}: is it a BERT for this language and script?"
        )


def _files(args: argparse.Namespace) -> list[list[Path]]:
    from abnet.corpora.text import find_file

    languages = split_pair(args.pair)
    return [[find_file("--train", one, side) for side in languages] for one in args.train]


def _lines(args: argparse.Namespace) -> Iterator[tuple[str, str]]:
    from abnet.corpora.formats import read_text_pairs

    return itertools.chain.from_iterable(read_text_pairs(*pair) for pair in _files(args))
