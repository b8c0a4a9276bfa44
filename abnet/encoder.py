"""The encoder: a BERT or a Transformer with adapters, and the length of the translation."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from abnet.backbone import Backbone, attention_bias
from abnet.length import LengthPredictor
from abnet.lexical import LexicalAdapter
from abnet.tokenizer import SymbolIds


class EncoderOutput(NamedTuple):
    """What the decoder and the length beam need.

    Attributes:
        memory: (B, S, H) states of the source tokens, [LENGTH] taken off.
        padding: (B, S) boolean, `True` at padding.
        length_logits: (B, classes); `None` where nothing predicts a length.
        bert: (B, S, H of the BERT) what the source BERT says of the same tokens, and thus with the
            same padding; BERT-Fused only.
        distance: how far the states are from a teacher's, a mean over tokens; CT-NMT only, and
            only while training.
        pieces: (B, S, dim) vectors of the source pieces (`abnet.lexical`); `None` for none.
    """

    memory: Tensor
    padding: Tensor
    length_logits: Tensor | None
    bert: Tensor | None = None
    distance: Tensor | None = None
    pieces: Tensor | None = None


Layer = Callable[[int, Tensor, Tensor], Tensor]
"""Index of a layer, hidden states (B, S, H) and additive attention bias to hidden states."""


class Encoder(nn.Module):
    """Source ids to states: after layer i comes adapter i, where there is one (Eq. 4, 5).

    Args:
        backbone: the BERT or Transformer.
        adapters: layer index (as a string) to adapter.
        length: the [LENGTH] vector and its head; `None` for none.
        symbols: special ids of the source vocabulary.
        keep_cls: put [CLS] behind [LENGTH]; it stays in the memory.
        lexical: a vector of each piece for the memory; `None` for none.
    """

    def __init__(
        self,
        backbone: Backbone,
        adapters: nn.ModuleDict,
        length: LengthPredictor | None,
        symbols: SymbolIds,
        keep_cls: bool,
        lexical: LexicalAdapter | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.adapters = adapters
        self.length = length
        self.lexical = lexical
        self.symbols = symbols
        self.keep_cls = keep_cls

    @property
    def max_positions(self) -> int:
        """The longest source in tokens, [SEP] included."""
        return self.backbone.max_positions - int(self.keep_cls)

    @property
    def bert_backbone(self) -> Backbone:
        """The source BERT, or the Transformer in its place."""
        return self.backbone

    def forward(self, source: Tensor) -> EncoderOutput:
        """source: (B, S) ids, right-padded."""
        return self._encode(source, self._layer)

    def _layer(self, index: int, hidden: Tensor, bias: Tensor) -> Tensor:
        """A layer and its adapter."""
        hidden = self.backbone.layers[index](hidden, attention_mask=bias)
        if str(index) in self.adapters:
            hidden = self.adapters[str(index)](hidden)
        return hidden

    def _encode(
        self, source: Tensor, apply: Layer, change: Callable[[Tensor], Tensor] | None = None
    ) -> EncoderOutput:
        """Embeddings, [LENGTH] in front, all layers by `apply`, and the length head.

        `change` is what becomes of the embeddings (B, S, H) before anything reads them.
        """
        if self.keep_cls:
            source = prepend_symbol(source, self.symbols.cls)
        padding = source.eq(self.symbols.pad)
        hidden, seen = self.backbone.embed(source), padding
        if change is not None:
            hidden = change(hidden)
        if self.length is not None:
            hidden = self.length.prepend(hidden)
            seen = torch.cat([padding.new_zeros(padding.size(0), 1), padding], dim=1)
        bias = attention_bias(seen, hidden.dtype)
        for index in range(len(self.backbone.layers)):
            hidden = apply(index, hidden, bias)
        hidden = self.backbone.final_norm(hidden)
        memory, length_logits = hidden, None
        if self.length is not None:
            memory, length_logits = hidden[:, 1:], self.length(hidden[:, 0])
        pieces = None
        if self.lexical is not None:
            pieces = self.lexical.vectors(source)
            memory = memory + self.lexical(pieces)
        return EncoderOutput(memory, padding, length_logits, pieces=pieces)


class EncoderBesideBert(Encoder):
    """A Transformer that reads a BERT's states of the same source; what with, subclasses say.

    Args:
        backbone: the Transformer.
        adapters: what reads the BERT.
        length: the [LENGTH] vector and its head; `None` for none.
        symbols: special ids of the source vocabulary.
        keep_cls: put [CLS] in front, for Transformer and BERT.
        bert: the BERT alone.
    """

    def __init__(
        self,
        backbone: Backbone,
        adapters: nn.ModuleDict,
        length: LengthPredictor | None,
        symbols: SymbolIds,
        keep_cls: bool,
        bert: Encoder,
    ) -> None:
        super().__init__(backbone, adapters, length, symbols, keep_cls)
        self.bert = bert

    @property
    def max_positions(self) -> int:
        """The longest source in tokens, [SEP] included, that Transformer and BERT can read."""
        return min(super().max_positions, self.bert.max_positions)

    @property
    def bert_backbone(self) -> Backbone:
        """The source BERT."""
        return self.bert.backbone


def prepend_symbol(ids: Tensor, symbol: int) -> Tensor:
    """(B, L) ids -> (B, 1+L) ids with `symbol` in front."""
    return torch.cat([ids.new_full((ids.size(0), 1), symbol), ids], dim=1)
