"""A BERT's vocabulary as a fairseq dictionary: ids are the BERT's own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from fairseq.data import Dictionary
from torch import Tensor

from abnet.corpora.manifest import FILE
from abnet.errors import AbNetError
from abnet.identity import TOKENIZER
from abnet.tokenizer import SymbolIds, Tokenizer
from abnet.translated.manifest import read_manifest

END = "<|endoftext|>"  # GPT-2's only special symbol, which stands for all
# The names of each special symbol; the first that the vocabulary has is taken.
SYMBOL_NAMES = SymbolIds(
    pad=("[PAD]", "<pad>", END),
    unk=("[UNK]", "<unk>", END),
    cls=("[CLS]", "<s>", END),
    sep=("[SEP]", "</s>", END),
    mask=("[MASK]", "<mask>", END),
)


class SourcePieces(str):
    """Pieces of the source language, which `AbNetBpe.decode` joins with the source tokenizer."""


class BertDictionary(Dictionary):
    """The pieces of a BERT in id order. Nothing is added, moved or padded.

    Text for it is pieces separated by single spaces, as `abnet tokenize` writes them. A special
    symbol in such a text counts as unknown, so that no text can pretend to be padding or an end.

    Args:
        pieces: the piece of each id.
        origin: what errors call their source.

    Raises:
        AbNetError: a special symbol is missing, or pieces are not distinct.
    """

    def __init__(self, pieces: Sequence[str], origin: str) -> None:
        ids = {piece: id for id, piece in enumerate(pieces)}
        found = [next((name for name in names if name in ids), None) for names in SYMBOL_NAMES]
        missing = [
            names[0] for names, name in zip(SYMBOL_NAMES, found, strict=True) if name is None
        ]
        if missing:
            raise AbNetError(
                f"{origin} must be the vocabulary of a BERT, one piece a line, but has no "
                f"{', '.join(missing)}. If it was made by fairseq-preprocess without "
                "`--user-dir fairseq_plugins --task translation_abnet`, make the data-bin again "
                "with them (`abnet prepare` does)."
            )
        if len(ids) < len(pieces):
            raise AbNetError(f"{origin} must have distinct pieces, but some occur twice.")
        pad, unk, cls, sep, mask = found
        super().__init__(bos=cls, pad=pad, eos=sep, unk=unk, add_special_symbols=False)
        self.symbols = list(pieces)
        self.count = [1] * len(pieces)
        self.indices = ids
        self.nspecial = 0
        self.special_ids = SymbolIds(ids[pad], ids[unk], ids[cls], ids[sep], ids[mask])
        self.pad_index, self.unk_index, self.bos_index, self.eos_index, _ = self.special_ids
        self._hidden = frozenset({pad, cls, sep, mask})

    @classmethod
    def of_bert(cls, name_or_folder: str) -> BertDictionary:
        """The vocabulary of a BERT.

        Raises:
            AbNetError: it cannot be loaded, or names its special symbols in an unknown way.
        """
        tokenizer = Tokenizer.from_pretrained(name_or_folder)
        dictionary = cls(tokenizer.vocabulary, f"The vocabulary of {name_or_folder}")
        if dictionary.special_ids != tokenizer.symbols:
            names = [tokenizer.vocabulary[id] for id in tokenizer.symbols]
            raise AbNetError(
                f"The special symbols of {name_or_folder} must be named as one of "
                f"{list(SYMBOL_NAMES)}, but are {names} instead."
            )
        return dictionary

    @classmethod
    def load(cls, f: str, add_special_symbols: bool = True) -> BertDictionary:
        """Reads a saved dictionary: one piece a line, ended by a line feed and nothing else.

        Raises:
            AbNetError: the file is missing or no vocabulary of a BERT.
        """
        path = Path(f)
        if not path.is_file():
            raise AbNetError(
                f"There is no dictionary {f}: the folder must be a data-bin of both languages."
            )
        pieces = path.read_bytes().decode("utf-8").split("\n")
        return cls(pieces[:-1] if pieces[-1] == "" else pieces, f)

    def save(self, f: str) -> None:
        """Writes what `load` reads."""
        os.makedirs(os.path.dirname(f) or ".", exist_ok=True)
        Path(f).write_bytes("".join(f"{piece}\n" for piece in self.symbols).encode("utf-8"))

    def add_symbol(self, word: str, n: int = 1, overwrite: bool = False) -> int:
        """Refuses: the BERT has no embedding for a new symbol."""
        raise AbNetError(f"A BERT's vocabulary must stay as it is, but {word!r} was to be added.")

    def encode_line(
        self,
        line: str,
        line_tokenizer: Callable[[str], list[str]] | None = None,
        add_if_not_exist: bool = False,
        consumer: Callable[[str, int], None] | None = None,
        append_eos: bool = True,
        reverse_order: bool = False,
    ) -> torch.IntTensor:
        """Ids of pieces separated by spaces, with the end symbol.

        Args:
            line: the pieces.
            line_tokenizer: ignored; fairseq's splits at white space that a piece may hold.
            add_if_not_exist: ignored; unknown pieces stay unknown.
            consumer: called with each piece and its id.
            append_eos: whether [SEP] follows.
            reverse_order: not supported.

        Raises:
            AbNetError: the order is to be reversed.
        """
        if reverse_order:
            raise AbNetError("`reverse_order` must be false: a BERT reads forwards.")
        pieces = [piece for piece in line.strip("\r\n").split(" ") if piece]
        ids = [self.unk_index if p in self._hidden else self.index(p) for p in pieces]
        if consumer is not None:
            for piece, id in zip(pieces, ids, strict=True):
                consumer(piece, id)
        return torch.IntTensor([*ids, self.eos_index] if append_eos else ids)

    def string(
        self,
        tensor: Tensor,
        bpe_symbol: str | None = None,
        escape_unk: bool = False,
        extra_symbols_to_ignore: Iterable[int] | None = None,
        **kwargs: Any,
    ) -> str:
        """Pieces separated by spaces, without padding, [CLS] and the end; see `Dictionary`."""
        ignored = {self.pad_index, *(extra_symbols_to_ignore or ())}
        return super().string(tensor, bpe_symbol, escape_unk, ignored, **kwargs)


class SourceDictionary(BertDictionary):
    """The source side's; its strings say so."""

    def string(self, *args: Any, **kwargs: Any) -> str:
        """See `BertDictionary.string`."""
        return SourcePieces(super().string(*args, **kwargs))


def check_same_dictionaries(folders: Sequence[str], languages: Iterable[str]) -> None:
    """Sees to it that training data in several folders are of one pair of vocabularies.

    Raises:
        AbNetError: a dictionary of one differs from the first one's.
    """
    first, *others = map(Path, folders)
    for folder in others:
        for name in (f"dict.{language}.txt" for language in languages):
            here, there = first / name, folder / name
            if not there.is_file() or here.read_bytes() != there.read_bytes():
                raise AbNetError(
                    f"The folders of DATA must be of the same BERTs, but {there} is not what "
                    f"{here} is: make both with the same `--source-bert` and `--target-bert`."
                )


def check_pieces(folders: Sequence[str], language: str, tokenizer: Tokenizer) -> None:
    """Holds how text was cut in folders of `abnet prepare` against the BERT's tokenizer.

    What `fairseq-preprocess` made alone, or an older version prepared, does not say.

    Raises:
        AbNetError: the tokenizer cuts text in another way.
    """
    for folder in folders:
        made_from = (read_manifest(Path(folder) / FILE) or {}).get("made_from", {})
        languages = str(made_from.get("pair", "")).split("-", 1)
        cut = dict(zip(languages, made_from.get("pieces", ()), strict=False))
        if cut.get(language, tokenizer.pieces_hash) != tokenizer.pieces_hash:
            raise AbNetError(
                f"{tokenizer.name!r} must cut text into pieces as it did for {folder}, but does so "
                f"in another way: are its {TOKENIZER} as they were? Prepare the data anew with it, "
                "or give the BERT that they were made with."
            )


def check_vocabulary(side: str, dictionary: BertDictionary, tokenizer: Tokenizer) -> None:
    """Holds the data-bin's dictionary against the BERT's vocabulary, piece by piece.

    Args:
        side: "source" or "target", for the message.

    Raises:
        AbNetError: they differ.
    """
    here, there = dictionary.symbols, tokenizer.vocabulary
    if here == there:
        return
    pairs = enumerate(zip(here, there, strict=False))
    first = next((f"id {i} ({a!r} and {b!r})" for i, (a, b) in pairs if a != b), "the end")
    raise AbNetError(
        f"The {side} dictionary of the data-bin must be the vocabulary of {tokenizer.name!r}, but "
        f"has {len(here)} pieces where the BERT has {len(there)}; they differ from {first} on. "
        "Make the data-bin with this BERT, or give the one that it was made with."
    )
