"""Vocabularies and BERT folders of a size, made on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from abnet.bench.sizes import Size
from abnet.pretraining.corpus import learn_tokenizer
from abnet.pretraining.options import BertShape
from abnet.tokenizer import Tokenizer


def make_tokenizers(
    size: Size, source: Sequence[str], target: Sequence[str], folder: Path
) -> tuple[Tokenizer, Tokenizer]:
    """Folders `source` and `target` of BERTs without weights; models draw these at random.

    Args:
        size: of the BERTs.
        source, target: raw text to learn the vocabularies from.
        folder: to make them in.
    """
    return (
        _make(size.bert, source, folder / "source"),
        _make(size.bert, target, folder / "target"),
    )


def _make(shape: BertShape, lines: Sequence[str], folder: Path) -> Tokenizer:
    """A vocabulary of the lines, filled up to the shape's size with pieces that no text has.

    The output layer thus has the size that it has with a vocabulary of more text.
    """
    from transformers import BertTokenizer

    learned = learn_tokenizer(lines, shape.vocab_size, False, shape.max_positions, True)
    id_of = learned.get_vocab()
    pieces = sorted(id_of, key=lambda piece: id_of[piece])
    pieces += [f"[unused{at}]" for at in range(shape.vocab_size - len(pieces))]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "vocab.txt"
    path.write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
    tokenizer = BertTokenizer(
        str(path),
        do_lower_case=False,
        strip_accents=False,
        model_max_length=shape.max_positions,
    )
    tokenizer.save_pretrained(folder)
    shape.config(len(pieces)).save_pretrained(folder)
    return Tokenizer.from_pretrained(str(folder))
