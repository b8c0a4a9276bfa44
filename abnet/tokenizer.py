"""Raw text to the ids of a BERT's own tokenizer, and back to raw text."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import tokenizers

from abnet.detokenize import join_wordpieces
from abnet.errors import AbNetError
from abnet.text import clean_line

if TYPE_CHECKING:
    from torch import Tensor


PROBE = (  # capitals, accents composed and not, compatibility forms, punctuation, other scripts
    "Der kleine HUND frißt Äpfel, e\u0301té naïve CafÉs; don't U.S.A. www.x-y.org/Z_1?q=%20 "
    "1,234.50 € km² \ufb01n \uff21\uff42 İı Мир 日本語 – „Zitat“ »[MASK]«"
)


class SymbolIds(NamedTuple):
    """Ids of the five special symbols that a masked language model has.

    Those that GPT-2 lacks are its end-of-text symbol, which ends a sentence, begins it and pads it.
    """

    pad: int
    unk: int
    cls: int
    sep: int
    mask: int

    @property
    def never_predicted(self) -> list[int]:
        """[PAD], [MASK] and [CLS], but for one that is also [SEP]."""
        return sorted({self.pad, self.mask, self.cls} - {self.sep})

    def words(self, ids: Tensor) -> Tensor:
        """Which of some right-padded ids (B, T) are no padding; the first [SEP] never is."""
        words = ids.ne(self.pad)
        if self.pad != self.sep:
            return words
        return words | (~words & (~words).cumsum(dim=1).eq(1))


class Tokenizer:
    """A BERT's tokenizer: ids are the BERT's own, nothing is added or moved.

    Wraps a fast Hugging Face tokenizer of any kind: WordPiece (BERT, ELECTRA, DistilBERT),
    byte-level BPE (RoBERTa) or SentencePiece (XLM-R, CamemBERT). All text goes through
    `clean_line` first.

    Attributes:
        name: the Hugging Face name or the folder.
        symbols: ids of the special symbols.
        vocabulary: the piece of each id. An id that the tokenizer can never give (a gap, or
            a second id of one piece) has a placeholder, so that pieces are distinct.
        vocab_hash: "sha256:" and the hash of `vocabulary`, one piece a line.
        pieces_hash: "sha256:" and the hash of the ids that a fixed text is cut into, which tells
            tokenizers of one vocabulary apart.
        lowercases: whether upper case is lost.
    """

    def __init__(self, name: str, backend: tokenizers.Tokenizer, symbols: SymbolIds) -> None:
        self.name = name
        self.symbols = symbols
        self._backend = backend
        backend.no_truncation()
        backend.no_padding()
        backend.encode_special_tokens = True  # "[SEP]" in a text is text
        if isinstance(backend.model, tokenizers.models.BPE):
            backend.model.dropout = None  # else a text would have other pieces each time
        self._id_of = backend.get_vocab(with_added_tokens=True)
        self.vocabulary = _vocabulary(self._id_of)
        digest = hashlib.sha256("\n".join(self.vocabulary).encode("utf-8")).hexdigest()
        self.vocab_hash = f"sha256:{digest}"
        normalizer = backend.normalizer
        self.lowercases = normalizer is not None and "a" in normalizer.normalize_str("A")
        added = backend.get_added_tokens_decoder()
        self._special_ids = frozenset(id for id, token in added.items() if token.special)
        self._special_ids |= {symbols.pad, symbols.cls, symbols.sep, symbols.mask}
        self._special_ids -= {symbols.unk}
        self.pieces_hash = f"sha256:{hashlib.sha256(self._probe().encode()).hexdigest()}"

    def _probe(self) -> str:
        """What each word of `PROBE` is cut into."""
        cut: list[object] = []
        for word in PROBE.split(" "):
            try:
                cut.append(self.encode(word))
            except Exception:  # tokenizers has no kind of its own for a word that cannot be cut
                cut.append(None)
        return str(cut)

    def __reduce__(self) -> tuple[type[Tokenizer], tuple[str, tokenizers.Tokenizer, SymbolIds]]:
        return type(self), (self.name, self._backend, self.symbols)  # for other processes

    @classmethod
    def from_pretrained(cls, name_or_folder: str) -> Tokenizer:
        """Loads the tokenizer of a Hugging Face model.

        Args:
            name_or_folder: a name on the Hugging Face hub, or a local folder.

        Raises:
            AbNetError: nothing of the name can be loaded, or it has no fast tokenizer, no
                vocabulary, or not the five symbols.
        """
        from transformers import AutoTokenizer

        name = str(name_or_folder)
        if not Path(name).is_dir() and (name.startswith((".", "/", "~")) or name.count("/") > 1):
            raise AbNetError(
                f"A BERT must be a Hugging Face name or an existing folder, but {name} is no "
                "folder. If it has moved, give its new place."
            )
        try:
            wrapper: Any = AutoTokenizer.from_pretrained(name)
        except Exception as error:  # transformers raises many kinds for one thing: not loadable
            where = "" if Path(name).is_dir() else " (there is no folder of this name)"
            raise AbNetError(f"Cannot load a tokenizer from {name}{where}: {error}") from error
        backend = getattr(wrapper, "backend_tokenizer", None)
        if not isinstance(backend, tokenizers.Tokenizer):
            raise AbNetError(
                f"{name} must have a fast tokenizer (tokenizer.json, vocab.txt, ...), but its "
                f"tokenizer is a {type(wrapper).__name__} without one."
            )
        if backend.get_vocab_size(with_added_tokens=True) <= len(wrapper.all_special_ids):
            # transformers makes an empty tokenizer where a folder has a config.json only
            raise AbNetError(
                f"{name} must hold a tokenizer (tokenizer.json, vocab.txt, ...), but there is "
                "none: copy the tokenizer's files beside the model's."
            )
        return cls(name, backend, _symbol_ids(name, wrapper))

    def check_fits(self, rows: int) -> None:
        """Refuses a vocabulary that its BERT has too few embeddings for.

        Args:
            rows: of the BERT's word embeddings; more than pieces are fine.

        Raises:
            AbNetError: there are more pieces.
        """
        if len(self.vocabulary) > rows:
            raise AbNetError(
                f"The vocabulary of {self.name!r} must fit its BERT's {rows} embeddings, but has "
                f"{len(self.vocabulary)} pieces instead."
            )

    def pieces(self, text: str) -> list[str]:
        """The pieces of `text`, without special symbols."""
        return [self.vocabulary[id] for id in self.encode(text)]

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, as the tokenizer itself gives them without special symbols."""
        encoding = self._backend.encode(clean_line(text), add_special_tokens=False)
        return self._without_specials(encoding.ids)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of every text, in parallel threads (`RAYON_NUM_THREADS` limits them)."""
        cleaned = [clean_line(text) for text in texts]
        encodings = self._backend.encode_batch_fast(cleaned, add_special_tokens=False)
        return [self._without_specials(encoding.ids) for encoding in encodings]

    def is_mostly_unknown(self, ids: Sequence[int]) -> bool:
        """Whether more than half of the pieces are unknown.

        SentencePiece has a mark of its own before an unknown word, which does not count.
        """
        return 2 * ids.count(self.symbols.unk) > len(ids) - ids.count(self._id_of.get("\u2581", -1))

    def truncate(self, text: str, length: int) -> str:
        """The beginning of `text`, one clean line, that makes at most `length` pieces.

        It ends behind a piece, be that in the middle of a word.
        """
        text = clean_line(text)
        ends = [end for _, end in self._backend.encode(text, add_special_tokens=False).offsets]
        kept, beginning = min(length, len(ends)), text
        while len(self.encode(beginning)) > length:  # may differ: what is cut has another context
            beginning = text[: ends[kept - 1] if kept else 0].rstrip()
            kept -= 1
        return beginning

    def join(self, pieces: Sequence[str]) -> str:
        """Raw text, one clean line, from pieces: the inverse of `pieces` as far as there is one."""
        if isinstance(self._backend.model, tokenizers.models.WordPiece):
            return join_wordpieces(pieces, self._backend.model.continuing_subword_prefix)
        return clean_line(self._backend.decoder.decode(list(pieces)))

    def decode(self, ids: Sequence[int]) -> str:
        """Raw text from ids; padding, [CLS], [SEP] and [MASK] are dropped."""
        dropped = {self.symbols.pad, self.symbols.cls, self.symbols.sep, self.symbols.mask}
        return self.join([self.vocabulary[id] for id in ids if id not in dropped])

    def _without_specials(self, ids: list[int]) -> list[int]:
        """Spells out the specials that a text holds.

        A SentencePiece vocabulary has "<s>" among its pieces, so that its model finds it in text.
        """
        if self._special_ids.isdisjoint(ids):
            return ids
        spelled: list[int] = []
        for id in ids:
            if id in self._special_ids:
                characters = self.vocabulary[id]
                spelled += [self._id_of.get(one, self.symbols.unk) for one in characters]
            else:
                spelled.append(id)
        return spelled


def _vocabulary(id_of: dict[str, int]) -> list[str]:
    """The piece of each id from 0 to the largest."""
    vocabulary = [f"[abnet-unused-{id}]" for id in range(max(id_of.values()) + 1)]
    for piece, id in id_of.items():
        vocabulary[id] = piece
    return vocabulary


def _symbol_ids(name: str, wrapper: Any) -> SymbolIds:
    tokens = {symbol: getattr(wrapper, f"{symbol}_token") for symbol in SymbolIds._fields}
    if tokens["sep"] is None and tokens["mask"] is None and wrapper.eos_token is not None:
        ends = {"cls": wrapper.bos_token, "sep": wrapper.eos_token}  # as GPT-2
        tokens = {s: tokens[s] or ends.get(s) or wrapper.eos_token for s in tokens}
    missing = [symbol for symbol, token in tokens.items() if token is None]
    if missing:
        present = {symbol: token for symbol, token in tokens.items() if token is not None}
        raise AbNetError(
            f"The tokenizer of {name} must have the symbols {', '.join(SymbolIds._fields)}, but "
            f"lacks {', '.join(missing)}; it has {present or 'none of them'}. A masked language "
            "model such as BERT, RoBERTa or ELECTRA has them all."
        )
    return SymbolIds(*(wrapper.convert_tokens_to_ids(token) for token in tokens.values()))
