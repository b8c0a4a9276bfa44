"""Raw text in, raw text out."""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from abnet.decoding.compiling import compile_decoder
from abnet.decoding.decode import Options, check_options, decode, options_for
from abnet.decoding.ensemble import Ensemble, load_system, share_berts
from abnet.decoding.hypothesis import Hypothesis
from abnet.decoding.layout import pack_weights
from abnet.decoding.precision import set_precision
from abnet.decoding.reranking import Reranker
from abnet.errors import AbNetError
from abnet.field_types import check_type
from abnet.model import AbNet
from abnet.text import UNKNOWN_SHARE_TO_WARN
from abnet.tokenizer import Tokenizer

BATCH_SIZE = 32
FEW = 10  # unknown pieces, which nothing is said of
USUAL_PIECES = 64  # lines longer than this come in smaller batches, of about equal memory


@dataclass(frozen=True)
class Translation:
    """One translation of one line.

    Attributes:
        text: detokenized, a single line.
        score: `sum(log p) / L ** length_penalty`, or see `Reranker` and `DagOptions`; 0 for an
            empty line.
        passes: decoder passes, or steps of a beam search, that it took; 0 for an empty line.
        pieces: of the target vocabulary, the final [SEP] left out.
        piece_scores: log-probability of each piece.
    """

    text: str
    score: float
    passes: int
    pieces: list[str]
    piece_scores: list[float]


EMPTY = Translation("", 0.0, 0, [], [])


@dataclass
class InputReport:
    """What was wrong with the lines translated so far, by line number from 1.

    Attributes:
        lines: how many there were.
        truncated: those with more pieces than the model takes.
        unknown: those of whose pieces more than half are unknown.
        pieces, unknown_pieces: how many there were in all.
        decomposed: whether a line with unknown pieces has accents as characters of their own.
    """

    lines: int = 0
    truncated: list[int] = field(default_factory=list)
    unknown: list[int] = field(default_factory=list)
    pieces: int = 0
    unknown_pieces: int = 0
    decomposed: bool = False

    def messages(self, translator: Translator) -> list[str]:
        """One sentence a kind of trouble, with what to do about it."""
        messages = []
        if self.truncated:
            messages.append(
                f"{_count(self.truncated)} longer than the {translator.max_pieces} pieces that "
                "the source BERT has positions for, and cut there: split long lines into "
                "sentences first."
            )
        asked = f"is the text in the language and script of {translator.source_tokenizer.name}?"
        if self.decomposed:
            asked += " It has accents as characters of their own (NFD): compose them first (NFC)."
        if self.unknown:
            messages.append(
                f"{_count(self.unknown)} made of unknown words for the most part: {asked}"
            )
        elif self.unknown_pieces > max(UNKNOWN_SHARE_TO_WARN * self.pieces, FEW):
            messages.append(f"{self.unknown_pieces} of {self.pieces} pieces are unknown: {asked}")
        return messages


class Translator:
    """Translates lines of raw text; each gives exactly one translation, an empty line an empty one.

    Args:
        model: made by `AbNet.from_pretrained` or `load_checkpoint`, or an `Ensemble` of such. It is
            moved to the device and put into evaluation mode, in which it stays.
        device: a torch device; by default the GPU if there is one.
        reranker: chooses among the length candidates of a parallel system. What it has of that
            one's frozen BERTs is in memory once.
        dtype: of the weights while decoding, "float32", "bfloat16", "float16" (on a GPU) or "int8"
            (on the CPU); all but the first may change the output. The models stay so.
        compile: compile the decoder, see `compile_decoder`; the first batches then take a while.

    Raises:
        AbNetError: the device or the precision cannot be used, the model has no tokenizers or
            cannot be compiled, or the reranker does not suit it.
    """

    def __init__(
        self,
        model: AbNet | Ensemble,
        device: str | torch.device | None = None,
        reranker: Reranker | None = None,
        dtype: str = "float32",
        compile: bool = False,
    ) -> None:
        if model.source_tokenizer is None or model.target_tokenizer is None:
            raise AbNetError("`model` must have tokenizers: make it with `AbNet.from_pretrained`.")
        self.source_tokenizer: Tokenizer = model.source_tokenizer
        self.target_tokenizer: Tokenizer = model.target_tokenizer
        self.device = usable_device(device)
        self.model: AbNet | Ensemble = model.eval().to(self.device)
        self.reranker = reranker
        if reranker is not None:
            reranker.check(model)
            share_berts([model, reranker.model])
            reranker.model.eval().to(self.device)
        for system in self.systems:
            set_precision(system, dtype)
        if compile:
            compile_decoder(self.model)

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path | Sequence[str | Path],
        device: str | torch.device | None = None,
        source_bert: str | None = None,
        target_bert: str | None = None,
        reranker: str | Path | Sequence[str | Path] | None = None,
        rerank_weight: float | None = None,
        dtype: str = "float32",
        compile: bool = False,
    ) -> Translator:
        """Loads checkpoints of the library or of `fairseq-train`.

        Args:
            path: the file, or several to decode as an `Ensemble`.
            device: a torch device; by default the GPU if there is one.
            source_bert, target_bert: where the BERTs are now, if not where the checkpoints say.
            reranker: the file or files of a `Reranker`.
            rerank_weight: its share of the score; `Reranker.weight` if not given.
            dtype, compile: see `Translator`.

        Raises:
            AbNetError: see `load_checkpoint`, `Ensemble`, `Reranker` and `Translator`.
        """
        device = usable_device(device)
        overrides = {"source_bert": source_bert, "target_bert": target_bert}
        given = {name: value for name, value in overrides.items() if value is not None}
        chooser = None
        if reranker is not None:
            share = Reranker.weight if rerank_weight is None else rerank_weight
            chooser = Reranker(load_system(reranker, given), share)
        elif rerank_weight is not None:
            raise AbNetError("`rerank_weight` must go with a `reranker`.")
        translator = cls(load_system(path, given), device, chooser, dtype, compile)
        if not compile:
            for system in translator.systems:
                pack_weights(system)
        return translator

    @property
    def systems(self) -> list[AbNet | Ensemble]:
        """What translates and, if there is one, what chooses."""
        return [self.model] if self.reranker is None else [self.model, self.reranker.model]

    @property
    def max_pieces(self) -> int:
        """The longest source line in pieces; what is longer is cut."""
        return min(system.max_source_positions for system in self.systems) - 1

    def translate(
        self,
        lines: Iterable[str],
        *,
        batch_size: int = BATCH_SIZE,
        **decoding: Any,
    ) -> list[str]:
        """The best translation of each line.

        Args:
            lines: raw text.
            batch_size: sentences decoded at once; fewer where they are long.
            **decoding: fields of the options of the system's way of decoding: of `DecodingOptions`
                (`iterations`, `length_beam`, ...) for a parallel system, of `BeamOptions` (`beam`,
                ...) for an autoregressive one, of `CtcOptions` or `DagOptions` in one pass.

        Raises:
            AbNetError: an argument is outside of what it allows, or of the other kind of system.
        """
        options = options_for(self.model.config, decoding)
        for name, only in (("n_best", 1), ("keep_history", False)):
            if getattr(options, name, only) != only:
                raise AbNetError(
                    f"`{name}` must be left out: a line gets its best translation alone here. "
                    "`translate_n_best` gives more."
                )
        found = self.translate_n_best(lines, options, batch_size=batch_size)
        return [translations[0].text for translations in found]

    def translate_n_best(
        self,
        lines: Iterable[str],
        options: Options,
        *,
        batch_size: int = BATCH_SIZE,
        report: InputReport | None = None,
    ) -> list[list[Translation]]:
        """The `options.n_best` best translations of each line, best first.

        All lines are read first and batched by length; the translations come in the lines' order.

        Args:
            lines: raw text.
            options: how to decode.
            batch_size: sentences decoded at once; fewer where they are long.
            report: takes up what was wrong with lines. Without one, it is given as warnings.

        Raises:
            AbNetError: an argument is outside of what it allows.
        """
        if isinstance(lines, str) or not isinstance(lines, Iterable):
            raise AbNetError(
                f"`lines` must be a sequence of strings, but is of type {type(lines).__name__} "
                "instead."
            )
        lines = list(lines)
        if not all(isinstance(line, str) for line in lines):
            raise AbNetError("`lines` must be a sequence of strings, but has something else in it.")
        check_type("`batch_size`", batch_size, int)
        if batch_size < 1:
            raise AbNetError(f"`batch_size` must be at least 1, but is {batch_size} instead.")
        check_options(self.model, options)
        noted = InputReport() if report is None else report
        encoded = self._encode(lines, noted)
        translations = [[EMPTY] * options.n_best for _ in lines]
        for batch in _batches([len(ids) for ids in encoded], batch_size):
            source = self.collate([encoded[at] for at in batch])
            decoded = decode(self.model, source, options, self.reranker)
            for at, found in zip(batch, decoded, strict=True):
                translations[at] = [self._translation(hypothesis) for hypothesis in found]
        if report is None:
            for message in noted.messages(self):
                warnings.warn(message, stacklevel=2)
        return translations

    def _encode(self, lines: Sequence[str], report: InputReport) -> list[list[int]]:
        """Ids of each line, cut to what fits."""
        encoded = self.source_tokenizer.encode_batch(lines)
        unk = self.source_tokenizer.symbols.unk
        for number, (line, ids) in enumerate(
            zip(lines, encoded, strict=True), start=report.lines + 1
        ):
            report.pieces += len(ids)
            if unknown := ids.count(unk):
                report.unknown_pieces += unknown
                report.decomposed |= not unicodedata.is_normalized("NFC", line)
            if self.source_tokenizer.is_mostly_unknown(ids):
                report.unknown.append(number)
            if len(ids) > self.max_pieces:
                report.truncated.append(number)
                del ids[self.max_pieces :]
        report.lines += len(lines)
        return encoded

    def collate(self, encoded: Sequence[list[int]]) -> torch.Tensor:
        """Ids with a final [SEP], right-padded: (B, S)."""
        symbols = self.source_tokenizer.symbols
        sequences = [torch.tensor([*ids, symbols.sep]) for ids in encoded]
        padded = torch.nn.utils.rnn.pad_sequence(sequences, True, symbols.pad)
        return padded.to(self.device)

    def _translation(self, hypothesis: Hypothesis) -> Translation:
        ids = hypothesis.tokens.tolist()
        scores = hypothesis.token_scores.tolist()
        if ids and ids[-1] == self.target_tokenizer.symbols.sep:
            del ids[-1], scores[-1]
        return Translation(
            text=self.target_tokenizer.decode(ids),
            score=hypothesis.score,
            passes=hypothesis.passes,
            pieces=[self.target_tokenizer.vocabulary[id] for id in ids],
            piece_scores=scores,
        )


def _batches(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Indices of the lines that are not empty, by falling length."""
    order = sorted((at for at, length in enumerate(lengths) if length), key=lambda at: -lengths[at])
    start = 0
    while start < len(order):
        size = batch_size * USUAL_PIECES // max(lengths[order[start]], USUAL_PIECES)
        yield order[start : start + max(size, 1)]
        start += max(size, 1)


def usable_device(device: str | torch.device | None) -> torch.device:
    """The device of a name; by default the GPU if there is one.

    Raises:
        AbNetError: this torch cannot use it.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.zeros(1, device=found).item()
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise AbNetError(
            f"`device` must be one that this torch can use, but is {device!r} instead: {reason}. "
            "`abnet doctor` lists what there is."
        ) from None
    return found


def _count(lines: Sequence[int]) -> str:
    if len(lines) == 1:
        return f"Line {lines[0]} is"
    return f"{len(lines)} lines (the first is line {lines[0]}) are"
