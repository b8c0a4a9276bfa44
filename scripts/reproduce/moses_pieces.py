"""Multi30k as most papers on it have it: lower-cased Moses tokens in joint BPE pieces.

The comparison itself is of raw text; this is for figures of others that are told so.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sacremoses import MosesPunctNormalizer, MosesTokenizer
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from abnet.text import read_lines
from scripts.reproduce.recipes import SPLITS

PIECES = 9800
END_OF_WORD = "</w>"


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the tokens of all splits into `DEST/raw` and their pieces into `DEST/pieces`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--pair", required=True, metavar="SRC-TGT")
    parser.add_argument("--dest", type=Path, required=True)
    args = parser.parse_args(argv)
    languages = args.pair.split("-")
    tokens = {
        (split, code): tokenize(read_lines(args.data / f"{name}.{code}"), code)
        for split, name in SPLITS.items()
        for code in languages
    }
    bpe = learn_bpe([line for code in languages for line in tokens["train", code]])
    for (split, code), lines in tokens.items():
        pieces = [" ".join(encoding.tokens) for encoding in bpe.encode_batch(lines)]
        _write(args.dest / "raw" / f"{split}.{code}", lines)
        _write(args.dest / "pieces" / f"{split}.{code}", pieces)
    return 0


def tokenize(lines: Sequence[str], language: str) -> list[str]:
    """Lower-cased Moses tokens, a space between two."""
    normalizer, tokenizer = MosesPunctNormalizer(language), MosesTokenizer(language)
    return [
        tokenizer.tokenize(normalizer.normalize(line).lower(), escape=False, return_str=True)
        for line in lines
    ]


def learn_bpe(lines: Sequence[str]) -> Tokenizer:
    """Byte-pair encoding within tokens; the last piece of one ends in `END_OF_WORD`."""
    bpe = Tokenizer(models.BPE(end_of_word_suffix=END_OF_WORD, unk_token="<unk>"))
    bpe.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=PIECES, end_of_word_suffix=END_OF_WORD, special_tokens=["<unk>"],
        show_progress=False,
    )  # fmt: skip
    bpe.train_from_iterator(lines, trainer)
    return bpe


def join(pieces: str) -> str:
    """The tokens of a line of pieces."""
    return pieces.replace(" ", "").replace(END_OF_WORD, " ").strip()


def _write(path: Path, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
