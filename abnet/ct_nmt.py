"""CT-NMT (Yang et al., AAAI 2020): a Transformer's encoder that a BERT feeds and teaches.

Its three parts: a dynamic switch mixes the word embeddings with the source BERT's last states
before the first layer; asymptotic distillation draws the encoder's last states to the BERT's;
rate-scheduled learning lets the BERT train for a while (`abnet.training.rate_schedule`).

As in the paper both sides read the BERT's word pieces. It departs from it in two things. The two
widths may differ, and then one linear layer brings the BERT's states to the Transformer's; equal
widths, as in the paper, have none. The gate's weights begin small, so that both inputs count
equally at first; the paper is silent. It is also silent on whether the states to be drawn to are of
the BERT as published: here they are of the BERT as it trains, its dropout on.

Legend: B sentences, S source positions, H the width of the Transformer, M the width of the BERT.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from abnet.backbone import Backbone
from abnet.encoder import Encoder, EncoderBesideBert, EncoderOutput
from abnet.length import LengthPredictor
from abnet.tokenizer import SymbolIds

INITIAL_DEVIATION = 0.02  # of the gate's weights


class DynamicSwitch(nn.Module):
    """`g * bert + (1 - g) * own` with `g = sigmoid(W bert + U own + b)`, a gate for each feature.

    Args:
        width: H.
        bert_width: M.
    """

    def __init__(self, width: int, bert_width: int) -> None:
        super().__init__()
        self.project = nn.Identity() if width == bert_width else nn.Linear(bert_width, width)
        self.bert_gate = nn.Linear(width, width, bias=False)
        self.own_gate = nn.Linear(width, width)
        for gate in (self.bert_gate, self.own_gate):
            nn.init.normal_(gate.weight, std=INITIAL_DEVIATION)
        nn.init.zeros_(self.own_gate.bias)

    def forward(self, own: Tensor, bert: Tensor) -> Tensor:
        """Own and bert: (B, S, H), the BERT's states projected -> (B, S, H)."""
        gate = torch.sigmoid(self.bert_gate(bert) + self.own_gate(own))
        mixed: Tensor = gate * bert + (1 - gate) * own
        return mixed


class SwitchedEncoder(EncoderBesideBert):
    """The encoder: embeddings and BERT through the switch, then the layers of a Transformer.

    [LENGTH] stands in front of what comes out of the switch.

    Args:
        backbone: the Transformer.
        length: the [LENGTH] vector and its head; `None` for none.
        symbols: special ids of the source vocabulary.
        keep_cls: put [CLS] in front, for Transformer and BERT.
        bert: the BERT alone.
        distill: whether to measure the distance of the states to the BERT's while training.
    """

    def __init__(
        self,
        backbone: Backbone,
        length: LengthPredictor | None,
        symbols: SymbolIds,
        keep_cls: bool,
        bert: Encoder,
        distill: bool,
    ) -> None:
        switch = DynamicSwitch(backbone.hidden_size, bert.backbone.hidden_size)
        adapters = nn.ModuleDict({"switch": switch})
        super().__init__(backbone, adapters, length, symbols, keep_cls, bert)
        self.distill = distill

    @property
    def switch(self) -> DynamicSwitch:
        """What mixes embeddings and BERT."""
        switch = self.adapters["switch"]
        if not isinstance(switch, DynamicSwitch):
            raise TypeError("the adapter must be a switch")
        return switch

    def forward(self, source: Tensor) -> EncoderOutput:
        """source: (B, S) ids, right-padded."""
        states = self.switch.project(self.bert(source).memory)
        encoded = self._encode(source, self._layer, lambda own: self.switch(own, states))
        if not (self.distill and self.training):
            return encoded
        return encoded._replace(distance=squared_distance(encoded.memory, states, encoded.padding))


def squared_distance(states: Tensor, teacher: Tensor, padding: Tensor) -> Tensor:
    """Mean over tokens of `|state - teacher|^2`; the teacher gets no gradient.

    Args:
        states, teacher: (B, S, H).
        padding: (B, S) boolean, `True` at padding, which does not count.
    """
    difference = (states - teacher.detach())[~padding]
    return difference.float().square().sum(dim=1).mean()
