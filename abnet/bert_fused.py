"""BERT-Fused (Zhu et al., ICLR 2020): a Transformer whose layers also attend to a frozen BERT.

Each layer reads the source BERT's last states by an attention of its own, beside the attention that
a Transformer has there anyway, and takes the mean of the two: `LN(x + (own(x) + bert(x)) / 2)`. The
own attention is the self-attention in the encoder and the one to the encoder in the decoder.

It departs from the original in its data: there the Transformer reads BPE and the BERT its own word
pieces, two streams of different lengths; here both read the BERT's word pieces, as all systems of
this package do, so one padding serves both. The weights' start and the shape are those of this
package's Transformer, which are Mask-Predict's; where its norms stand in the branches, both
attentions read the normed states: `x + (own(LN(x)) + bert(LN(x))) / 2`.

Legend: B sentences, C candidates a sentence, S source positions, T target positions, H the width of
the Transformer, M the width of the BERT.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from abnet.adapters import CrossAttention, KeysValues, Places
from abnet.backbone import Backbone
from abnet.encoder import Encoder, EncoderBesideBert, EncoderOutput
from abnet.errors import AbNetError
from abnet.length import LengthPredictor
from abnet.tokenizer import SymbolIds


class BertAttention(nn.Module):
    """A layer's attention to the BERT, joined with its other one by drop-net.

    While training, the layer keeps either of the two alone with probability `drop_net` / 2 each,
    drawn anew in every call for the whole batch, and the mean otherwise; in evaluation always the
    mean. Both are computed in any case, so that every weight has a gradient.

    Args:
        attention: from H to M.
        dropout: on its output.
        drop_net: the paper's p_net, in [0, 1]; 1 for never the mean.
    """

    def __init__(self, attention: CrossAttention, dropout: float, drop_net: float) -> None:
        super().__init__()
        self.attention = attention
        self.dropout = nn.Dropout(dropout)
        self.drop_net = drop_net

    def project(self, states: Tensor) -> KeysValues:
        """The BERT's states (B, S, M) to keys and values; once a sentence is enough."""
        return self.attention.project(states)

    def forward(self, own: Tensor, hidden: Tensor, bert: KeysValues, visible: Tensor) -> Tensor:
        """The branch of the layer.

        Args:
            own: (B*C, T, H) what the layer's other attention gave for `hidden`.
            hidden: (B*C, T, H) what that attention read.
            bert: keys and values of the B sentences.
            visible: (B, 1, 1, S) boolean, `False` at source padding.

        Returns:
            (B*C, T, H), to be added to `hidden`.
        """
        read = self.dropout(self.attention(hidden, bert, visible))
        share = self._share_of_own()
        branch: Tensor = share * own + (1.0 - share) * read
        return branch

    def _share_of_own(self) -> float:
        if not self.training or self.drop_net == 0.0:
            return 0.5
        drawn = torch.rand(()).item()  # on the CPU: no accelerator has to be waited for
        if drawn < self.drop_net / 2:
            return 1.0
        return 0.0 if drawn >= 1.0 - self.drop_net / 2 else 0.5


class FusedEncoder(EncoderBesideBert):
    """The encoder: `LN(x + (self-attention + BERT attention) / 2)`, then the feed-forward part.

    [LENGTH] is in the Transformer's sequence only; it attends to the BERT as the others do.

    Args:
        backbone: the Transformer.
        attentions: layer index (as a string) to `BertAttention`, for every layer.
        length: the [LENGTH] vector and its head; `None` for none.
        symbols: special ids of the source vocabulary.
        keep_cls: put [CLS] in front, for Transformer and BERT.
        bert: the BERT alone.

    Raises:
        AbNetError: the backbone's layers cannot be split.
    """

    def __init__(
        self,
        backbone: Backbone,
        attentions: nn.ModuleDict,
        length: LengthPredictor | None,
        symbols: SymbolIds,
        keep_cls: bool,
        bert: Encoder,
    ) -> None:
        super().__init__(backbone, attentions, length, symbols, keep_cls, bert)
        if backbone.halves is None:
            raise AbNetError("`backbone` must have layers that can be split, but has not.")
        self.halves = backbone.halves

    def forward(self, source: Tensor) -> EncoderOutput:
        """source: (B, S) ids, right-padded."""
        states, padding, *_ = self.bert(source)
        visible = ~padding[:, None, None, :]

        def layer(index: int, hidden: Tensor, bias: Tensor) -> Tensor:
            module = self.backbone.layers[index]
            fused: Any = self.adapters[str(index)]
            read = self.halves.before(module, hidden)
            own = self.halves.attention(module, read, bias, None)
            branch = fused(own, read, fused.project(states), visible)
            hidden = self.halves.after(module, hidden + branch)
            return self.halves.feed_forward(module, hidden)

        return self._encode(source, layer)._replace(bert=states)


class FusedKeysValues(NamedTuple):
    """What one decoder layer reads: of the encoder and of the BERT."""

    encoder: KeysValues
    bert: KeysValues

    def select(self, sentences: Tensor) -> FusedKeysValues:
        """The rows of some sentences only; sentences: (K,) indices."""
        return FusedKeysValues(self.encoder.select(sentences), self.bert.select(sentences))

    def read_by(self, places: Places | None) -> FusedKeysValues:
        """The same, read by the given candidates."""
        return FusedKeysValues(self.encoder.read_by(places), self.bert.read_by(places))


class FusedCrossAttention(nn.Module):
    """Within a decoder's layer: `LN(x + (encoder attention + BERT attention) / 2)`.

    Args:
        attention: to the encoder; it and the norm have the names of a Transformer's, so that a
            trained one's weights fit.
        bert: to the BERT.
        width: H.
        dropout: on the output of the attention to the encoder.
        pre_norm: the norm stands in the branch, rather than behind the sum.
        norm_eps: of the norm.
    """

    def __init__(
        self,
        attention: CrossAttention,
        bert: BertAttention,
        width: int,
        dropout: float,
        pre_norm: bool,
        norm_eps: float,
    ) -> None:
        super().__init__()
        self.attention = attention
        self.pre_norm = pre_norm
        self.attention_norm = nn.LayerNorm(width, eps=norm_eps)
        self.dropout = nn.Dropout(dropout)
        self.bert = bert

    def project(self, encoded: EncoderOutput) -> FusedKeysValues:
        """Keys and values of both.

        Raises:
            AbNetError: the encoder is of another kind and says nothing of a BERT.
        """
        if encoded.bert is None:
            raise AbNetError(
                "The encoder must be a `FusedEncoder`, which hands on the BERT's states, but hands "
                "on none."
            )
        return FusedKeysValues(
            self.attention.project(encoded.memory), self.bert.project(encoded.bert)
        )

    def forward(self, hidden: Tensor, source: FusedKeysValues, visible: Tensor) -> Tensor:
        """hidden: (B*C, T, H) -> (B*C, T, H); see `CrossAttention.forward` for the others."""
        read = self.attention_norm(hidden) if self.pre_norm else hidden
        own = self.dropout(self.attention(read, source.encoder, visible))
        fused: Tensor = hidden + self.bert(own, read, source.bert, visible)
        return fused if self.pre_norm else self.attention_norm(fused)
