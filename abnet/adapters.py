"""The trained layers between the frozen ones: Eq. 4 in the encoder, Eq. 6 in the decoder.

Legend: B sentences, C candidates a sentence, S source positions, T target positions, H the width of
the BERT at hand, M the width of the encoder's.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from abnet.encoder import EncoderOutput
from abnet.errors import AbNetError

INITIAL_DEVIATION = 0.02  # of BERT's weights


class FeedForwardAdapter(nn.Module):
    """Encoder adapter: `Z = W1 LN(H)`, `H' = H + W2 ReLU(Z)` (Eq. 4 and 5; no biases, no dropout).

    Args:
        width: H of the BERT layer it follows.
        hidden: dAenc.
        identity: start as the identity (W2 = 0) instead of Xavier, as the released code does.
    """

    def __init__(self, width: int, hidden: int, identity: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.w1 = nn.Linear(width, hidden, bias=False)
        self.w2 = nn.Linear(hidden, width, bias=False)
        nn.init.xavier_uniform_(self.w1.weight)
        if identity:
            nn.init.zeros_(self.w2.weight)
        else:
            nn.init.xavier_uniform_(self.w2.weight)

    def forward(self, hidden: Tensor) -> Tensor:
        """hidden: (B, S, H) -> (B, S, H)."""
        adapted: Tensor = hidden + self.w2(F.relu(self.w1(self.norm(hidden))))
        return adapted


class Places(NamedTuple):
    """Which candidates there are, where the sentences have different numbers of them.

    Attributes:
        slots: (R,) of each candidate there is, in a grid of B times `candidates`.
        candidates: the most that a sentence has.
    """

    slots: Tensor
    candidates: int

    def spread(self, rows: Tensor, sentences: int) -> Tensor:
        """The rows in their slots, zeros between: (R, ...) -> (B*candidates, ...)."""
        grid = rows.new_zeros(sentences * self.candidates, *rows.shape[1:])
        return grid.index_copy_(0, self.slots, rows)


class KeysValues(NamedTuple):
    """What one decoder adapter reads of the source.

    Attributes:
        keys, values: (B, heads, S, H/heads) each.
        places: which candidates read it; `None` if each sentence has as many.
    """

    keys: Tensor
    values: Tensor
    places: Places | None = None

    def select(self, sentences: Tensor) -> KeysValues:
        """The rows of some sentences only, with all candidates; sentences: (K,) indices."""
        return KeysValues(self.keys[sentences], self.values[sentences])

    def read_by(self, places: Places | None) -> KeysValues:
        """The same, read by the given candidates."""
        return self._replace(places=places)


class CrossAttention(nn.Module):
    """Multi-head attention from target states to the encoder's, all projections with biases.

    Args:
        width: H of the target BERT, the width of queries and output.
        memory_width: M of the source BERT.
        heads: number of heads; must divide `width`.
        dropout: on the attention weights.
        identity: start with a zero output. Otherwise all is as in the released code, where queries,
            keys and values have Xavier's range of one matrix of all three.

    Raises:
        AbNetError: `heads` does not divide `width`.
    """

    def __init__(
        self, width: int, memory_width: int, heads: int, dropout: float, identity: bool
    ) -> None:
        super().__init__()
        if width % heads:
            raise AbNetError(
                f"`decoder_adapter_heads` must divide the target BERT's width {width}, "
                f"but is {heads} instead."
            )
        self.heads = heads
        self.dropout = dropout
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(memory_width, width)
        self.v_proj = nn.Linear(memory_width, width)
        self.out_proj = nn.Linear(width, width)
        for projection in (self.q_proj, self.k_proj, self.v_proj):
            nn.init.xavier_uniform_(projection.weight, gain=1.0 if identity else 2**-0.5)
            nn.init.zeros_(projection.bias)
        _start(self.out_proj, identity)

    def project(self, memory: Tensor) -> KeysValues:
        """Encoder states (B, S, M) to keys and values; once a sentence is enough."""
        return KeysValues(
            self._split(self.k_proj(memory)),
            self._split(self.v_proj(memory)),
        )

    def forward(self, hidden: Tensor, source: KeysValues, visible: Tensor) -> Tensor:
        """Attends from every candidate of a sentence to the sentence's source.

        Args:
            hidden: (B*C, T, H); the candidates of a sentence stand together. Fewer, if `source`
                has places.
            source: keys and values of the B sentences, shared by their candidates.
            visible: (B, 1, 1, S) boolean, `False` at source padding.

        Returns:
            As `hidden`.
        """
        sentences, places = source.keys.size(0), source.places
        asking: Tensor = self.q_proj(hidden)
        if places is not None:
            asking = places.spread(asking, sentences)
        queries = self._split(asking.reshape(sentences, -1, hidden.size(-1)))
        attended = F.scaled_dot_product_attention(
            queries,
            source.keys,
            source.values,
            attn_mask=visible,
            dropout_p=self.dropout if self.training else 0.0,
        )
        answers = attended.transpose(1, 2).reshape(-1, *hidden.shape[1:])
        if places is not None:
            answers = answers.index_select(0, places.slots)
        output: Tensor = self.out_proj(answers)
        return output

    def _split(self, states: Tensor) -> Tensor:
        """(B, L, H) -> (B, heads, L, H/heads)."""
        batch, length, width = states.shape
        return states.view(batch, length, self.heads, width // self.heads).transpose(1, 2)


class FeedForward(nn.Module):
    """`fc2(ReLU(fc1 x))` with biases: the block that the released code adds to Eq. 6."""

    def __init__(self, width: int, hidden: int, identity: bool) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)
        if identity:
            nn.init.xavier_uniform_(self.fc1.weight)
        else:
            nn.init.normal_(self.fc1.weight, std=INITIAL_DEVIATION)
        nn.init.zeros_(self.fc1.bias)
        _start(self.fc2, identity)

    def forward(self, hidden: Tensor) -> Tensor:
        """hidden: (..., H) -> (..., H)."""
        output: Tensor = self.fc2(F.relu(self.fc1(hidden)))
        return output


class CrossAttentionAdapter(nn.Module):
    """Decoder adapter: cross-attention (Eq. 6) and, optionally, a feed-forward block.

    With `pre_norm`, `x + drop(f(LN(x)))` for each of the two; otherwise `LN(x + drop(f(x)))`, as
    the released code has it. Only the former can start as the identity exactly. Without a
    feed-forward block it is also the cross-attention of a Transformer's layer.
    """

    def __init__(
        self,
        attention: CrossAttention,
        feed_forward: FeedForward | None,
        width: int,
        dropout: float,
        pre_norm: bool,
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.attention = attention
        self.attention_norm = nn.LayerNorm(width, eps=norm_eps)
        self.feed_forward = feed_forward
        has_block = feed_forward is not None
        self.feed_forward_norm = nn.LayerNorm(width, eps=norm_eps) if has_block else None
        self.dropout = nn.Dropout(dropout)
        self.pre_norm = pre_norm

    def project(self, encoded: EncoderOutput) -> KeysValues:
        """Keys and values of the source; see `CrossAttention.project`."""
        return self.attention.project(encoded.memory)

    def forward(self, hidden: Tensor, source: KeysValues, visible: Tensor) -> Tensor:
        """hidden: (B*C, T, H) -> (B*C, T, H); see `CrossAttention.forward` for the others."""
        if self.pre_norm:
            attended = self.attention(self.attention_norm(hidden), source, visible)
            hidden = hidden + self.dropout(attended)
        else:
            attended = self.attention(hidden, source, visible)
            hidden = self.attention_norm(hidden + self.dropout(attended))
        if self.feed_forward is None or self.feed_forward_norm is None:
            return hidden
        if self.pre_norm:
            adapted: Tensor = hidden + self.dropout(
                self.feed_forward(self.feed_forward_norm(hidden))
            )
        else:
            adapted = self.feed_forward_norm(hidden + self.dropout(self.feed_forward(hidden)))
        return adapted


def _start(last: nn.Linear, identity: bool) -> None:
    """First values of a branch's last projection: zero makes the branch vanish at the start."""
    if identity:
        nn.init.zeros_(last.weight)
    else:
        nn.init.normal_(last.weight, std=INITIAL_DEVIATION)
    nn.init.zeros_(last.bias)
