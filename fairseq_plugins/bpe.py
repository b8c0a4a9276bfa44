"""Raw text to the pieces of the source BERT, and the pieces of either BERT back to raw text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fairseq.data.encoders import register_bpe
from fairseq.dataclass import FairseqDataclass

from abnet.errors import AbNetError
from abnet.tokenizer import Tokenizer
from fairseq_plugins.dictionary import SourcePieces


@dataclass
class AbNetBpeConfig(FairseqDataclass):
    """Nothing: the checkpoint knows the BERTs."""


@register_bpe("abnet", dataclass=AbNetBpeConfig)
class AbNetBpe:
    """What `--task translation_abnet` takes for `--bpe`, given or not.

    Args:
        source: encodes, and joins what the source dictionary has written.
        target: joins everything else.
    """

    def __init__(self, source: Tokenizer, target: Tokenizer) -> None:
        self.source = source
        self.target = target
        self.lines = 0

    @classmethod
    def build_bpe(cls, cfg: Any) -> AbNetBpe:
        """Fairseq's own way to build one, which knows no BERT.

        Raises:
            AbNetError: always; the task builds it, from the checkpoint's BERTs.
        """
        raise AbNetError("`--bpe abnet` must go with `--task translation_abnet`.")

    def encode(self, x: str) -> str:
        """Pieces of the next line that `fairseq-interactive` has read, separated by spaces.

        Raises:
            AbNetError: the line was not UTF-8.
        """
        self.lines += 1
        if self.lines == 1:
            x = x.removeprefix("\ufeff")
        if any("\ud800" <= character <= "\udfff" for character in x):
            raise AbNetError(
                f"Line {self.lines} of the input must be UTF-8, but is not: {x!r}. Convert the "
                "text first, for example with `iconv -f LATIN1 -t UTF-8`."
            )
        return " ".join(self.source.pieces(x))

    def decode(self, x: str) -> str:
        """One line of raw text."""
        tokenizer = self.source if isinstance(x, SourcePieces) else self.target
        return tokenizer.join(x.split(" ") if x else [])
