"""What every way of decoding needs of a model, be it one model or an ensemble of several."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from abnet.adapters import Places
from abnet.tokenizer import SymbolIds


class Rows(Protocol):
    """What a model keeps of a batch's sources: only the model itself looks into it."""

    def select(self, sentences: Tensor) -> Rows:
        """The rows of some sentences only, with all candidates; sentences: (K,) indices."""

    def read_by(self, places: Places | None) -> Rows:
        """The same, read by the given candidates; `None` if each sentence has as many."""


class SourceReader(Protocol):
    """Reads sources; what it knows of them goes back to it as it came, hence `Any`."""

    target_symbols: SymbolIds

    def encode(self, source: Tensor) -> Any:
        """Source ids (B, S) to states, and length logits where a length is predicted."""

    def project(self, encoded: Any) -> Rows:
        """What all passes or steps read of the source; encoded: from `encode`."""


class Predictor(SourceReader, Protocol):
    """Predicts any positions of targets; see `abnet.model.AbNet` for the shapes."""

    def states(self, target: Tensor, memory: Any, positions: Tensor) -> Any:
        """What `logits` are made of, at N positions of the flattened target."""

    def logits(self, states: Any, part: slice) -> Tensor:
        """Logits of a part of the states, (n, V)."""
