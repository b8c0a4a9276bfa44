"""The decoder: a BERT or a Transformer with cross-attention, over all positions or word by word.

Legend: B sentences, C candidates (or hypotheses) a sentence, T target positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from abnet.adapters import CrossAttentionAdapter, KeysValues, Places
from abnet.backbone import Backbone, attention_bias, causal_bias
from abnet.bert_fused import FusedCrossAttention, FusedKeysValues
from abnet.encoder import EncoderOutput, prepend_symbol
from abnet.errors import AbNetError
from abnet.one_pass.links import Links
from abnet.spread import SourceSpread, Spread
from abnet.tokenizer import SymbolIds
from abnet.training.word_loss import WordLoss, rows_at_once, word_loss, word_loss_of_states


class Memory(NamedTuple):
    """The source as the decoder reads it, made once a sentence and used in every pass.

    Attributes:
        layers: layer index (as a string) to the keys and values of that layer's adapter.
        visible: (B, 1, 1, S) boolean, `False` at source padding.
        spread: the source as `SourceSpread` adds it to the target; else `None`.
        places: which candidates read it; `None` if each sentence has as many.
    """

    layers: dict[str, KeysValues | FusedKeysValues]
    visible: Tensor
    spread: Spread | None = None
    places: Places | None = None

    def select(self, sentences: Tensor) -> Memory:
        """The rows of some sentences only; sentences: (K,) indices."""
        return Memory(
            {index: source.select(sentences) for index, source in self.layers.items()},
            self.visible[sentences],
            None if self.spread is None else self.spread.each(lambda own: own[sentences]),
        )

    def read_by(self, places: Places | None) -> Memory:
        """The same, read by the given candidates; `None` if each sentence has as many."""
        return Memory(
            {index: source.read_by(places) for index, source in self.layers.items()},
            self.visible,
            self.spread,
            places,
        )


class DecoderState:
    """What a causal decoder remembers of the tokens so far: keys and values of its layers."""

    def __init__(self) -> None:
        self.cache = DynamicCache()
        self.length = 0

    def select(self, rows: Tensor) -> None:
        """Keeps the given hypotheses, in this order; rows: (K,) indices."""
        self.cache.batch_select_indices(rows)


class Decoder(nn.Module):
    """Target ids to logits; where the cross-attention of layer i stands depends on `inside`.

    Args:
        backbone: the BERT or Transformer with its output head.
        adapters: layer index (as a string) to `CrossAttentionAdapter` or `FusedCrossAttention`.
        symbols: special ids of the target vocabulary.
        keep_cls: put [CLS] in front of the target; its state is dropped again.
        causal: no position sees what comes later.
        inside: the cross-attention stands between self-attention and feed-forward part of a layer,
            as in the Transformer, instead of behind it (Eq. 6).
        spread: adds the source to the target's embeddings; `None` for not.
        blank: gives the logit of CTC's blank, which has the id of [MASK], from a state.
        links: which frame comes after which, for `dag`.

    Raises:
        AbNetError: the backbone has no output head, or its layers cannot be used so.
    """

    def __init__(
        self,
        backbone: Backbone,
        adapters: nn.ModuleDict,
        symbols: SymbolIds,
        keep_cls: bool = False,
        causal: bool = False,
        inside: bool = False,
        spread: SourceSpread | None = None,
        blank: nn.Linear | None = None,
        links: Links | None = None,
    ) -> None:
        super().__init__()
        if backbone.lm_head is None:
            raise AbNetError("`backbone` must have a masked-LM head to decode, but has none.")
        if (causal or inside) and backbone.halves is None:
            raise AbNetError(
                "The target BERT must be of a kind whose layers can be split and can cache keys "
                "and values (BERT, RoBERTa, XLM-R, CamemBERT, ELECTRA) for this system, but is not."
            )
        if backbone.causal and not causal:
            raise AbNetError(
                "`objective` must be autoregressive with a GPT-2 on the target side, which has "
                "never seen what comes later."
            )
        if not causal and symbols.mask in (symbols.pad, symbols.sep):
            raise AbNetError(
                "The target vocabulary must have a mask symbol for a system that predicts hidden "
                "words, but has none, as a GPT-2's: take another one, or the autoregressive "
                "objective."
            )
        self.backbone = backbone
        self.lm_head = backbone.lm_head
        self.adapters = adapters
        self.symbols = symbols
        self.keep_cls = keep_cls
        self.causal = causal
        self.inside = inside
        self.spread = spread
        self.blank = blank
        self.links = links
        # What `abnet.decoding.compiling` puts in place of the layers:
        self.fast: Callable[[Tensor, Memory], Tensor] | None = None

    @property
    def max_positions(self) -> int:
        """The longest target in tokens, [SEP] included."""
        return self.backbone.max_positions - int(self.keep_cls)

    def project(self, encoded: EncoderOutput) -> Memory:
        """Keys and values of every adapter."""
        return Memory(
            {
                index: adapter.project(encoded)
                for index, adapter in self.adapters.items()
                if isinstance(adapter, CrossAttentionAdapter | FusedCrossAttention)
            },
            ~encoded.padding[:, None, None, :],
            None if self.spread is None else self.spread.project(encoded.memory, encoded.pieces),
        )

    def forward(self, target: Tensor, memory: Memory, predict: Tensor) -> Tensor:
        """Logits at the chosen positions only.

        Args:
            target: (B*C, T) ids, [MASK]s among them or, for a causal decoder, [CLS] in front and
                each token to predict one place to the left; the C candidates of a sentence stand
                together.
            memory: of the B sentences.
            predict: (B*C, T) boolean, the positions whose logits are wanted.

        Returns:
            (number of chosen positions, V), in row-major order of `predict`.
        """
        [positions] = torch.where(predict.flatten())
        return self.logits(self.states(target, memory, positions))

    def dag(self, frames: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """What the output head makes logits of, at all frames, and how these follow each other.

        Args:
            frames: (B, F) ids, [MASK]s and maybe words among them, right-padded.
            memory: of the B sentences.

        Returns:
            (B * F, H), and (B, F, F) as `Links` has them.

        Raises:
            AbNetError: the system has no links.
        """
        if self.links is None:
            raise AbNetError("`objective` must be dag to have links, but is another.")
        hidden = (self.fast or self.hidden)(frames, memory)
        links = self.links(hidden, self.symbols.words(frames).sum(dim=1))
        return hidden.flatten(0, 1), links

    def word_loss(
        self, target: Tensor, memory: Memory, positions: Tensor, gold: Tensor, smoothing: float
    ) -> WordLoss:
        """The loss of the words at some positions; never holds all their logits, but in float16.

        Args:
            target, memory: see `forward`.
            positions: (N,) indices into the flattened target.
            gold: (N,) ids, in the order of `positions`.
            smoothing: of labels.
        """
        hidden = self.hidden(target, memory).flatten(0, 1).index_select(0, positions)
        dtype, device = hidden.dtype, hidden.device.type
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)  # of the logits, whatever the states have
        if dtype == torch.float16:
            return word_loss(self.lm_head(hidden), gold, smoothing)
        rows = rows_at_once(self.backbone.vocab_size, hidden.device)
        return word_loss_of_states(self.lm_head, hidden, gold, smoothing, rows)

    def states(self, target: Tensor, memory: Memory, positions: Tensor) -> Tensor:
        """What the output head makes logits of, at some positions.

        Args:
            target, memory: see `forward`; there may be fewer rows, if the memory has places.
            positions: (N,) indices into the flattened target.

        Returns:
            (N, H), in the order of `positions`. Nothing waits for an accelerator.
        """
        hidden = (self.fast or self.hidden)(target, memory)
        return hidden.flatten(0, 1).index_select(0, positions)

    def logits(self, states: Tensor) -> Tensor:
        """The output head, of states (N, H): (N, V)."""
        logits: Tensor = self.lm_head(states)
        if self.blank is not None:
            logits[:, self.symbols.mask] = self.blank(states)[:, 0].to(logits.dtype)
        return logits

    def bert_states(self, target: Tensor, positions: Tensor) -> Tensor:
        """What the output head makes logits of, when the BERT reads the target alone.

        Args:
            target: (R, T) ids `w1 .. wn [SEP]` with [MASK]s among them, right-padded.
            positions: (N,) indices into the flattened target.

        Returns:
            (N, H), in the order of `positions`; of a BERT that is bidirectional.
        """
        target = prepend_symbol(target, self.symbols.cls)
        hidden = self.backbone.embed(target)
        bias = attention_bias(target.eq(self.symbols.pad), hidden.dtype)
        for layer in self.backbone.layers:
            hidden = layer(hidden, attention_mask=bias)
        states: Tensor = self.backbone.final_norm(hidden)[:, 1:].flatten(0, 1)
        return states.index_select(0, positions)

    def hidden(self, target: Tensor, memory: Memory) -> Tensor:
        """States behind the last layer, (B*C, T, H); see `forward` for the arguments."""
        counts = self.symbols.words(target).sum(dim=1)
        if self.keep_cls:
            target = prepend_symbol(target, self.symbols.cls)
        hidden = self._spread_source(target, counts, memory)
        if self.causal:
            bias = causal_bias(target.size(1), hidden)  # padding, on the right, is hidden as well
        else:
            bias = attention_bias(target.eq(self.symbols.pad), hidden.dtype)
        hidden = self._layers(hidden, bias, memory, None)
        return hidden[:, 1:] if self.keep_cls else hidden

    def step(self, tokens: Tensor, memory: Memory, state: DecoderState) -> Tensor:
        """Logits of the next token; for a causal decoder.

        Args:
            tokens: (B*C,) the last token of each hypothesis, [CLS] at first.
            memory: of the B sentences.
            state: of the tokens before; takes up this one.

        Returns:
            (B*C, V).
        """
        hidden = self.backbone.embed(tokens[:, None], start=state.length)
        hidden = self._layers(hidden, None, memory, state.cache)
        state.length += 1
        logits: Tensor = self.lm_head(hidden[:, 0])
        return logits

    def _spread_source(self, target: Tensor, counts: Tensor, memory: Memory) -> Tensor:
        """Embeddings of a target (R, T) of `counts` (R,) tokens, with the source in them."""
        embedded = self.backbone.embed(target)
        if self.spread is None or memory.spread is None:
            return embedded
        first, sentences = int(self.keep_cls), memory.visible.size(0)
        if memory.places is not None:
            sentence = memory.places.slots // memory.places.candidates
        else:
            rows = torch.arange(embedded.size(0), device=embedded.device)
            sentence = rows // (embedded.size(0) // sentences)
        sizes = memory.visible.flatten(1).sum(dim=1)
        masked = target[:, first:].eq(self.symbols.mask)
        begun = embedded[:, first:]
        spread = self.spread(begun, masked, memory.spread, sentence, sizes, counts)
        return torch.cat([embedded[:, :first], spread], dim=1)

    def _layers(
        self, hidden: Tensor, bias: Tensor | None, memory: Memory, cache: DynamicCache | None
    ) -> Tensor:
        """All layers with their cross-attention: (B*C, T, H) -> (B*C, T, H)."""
        halves = self.backbone.halves
        for index, layer in enumerate(self.backbone.layers):
            if self.inside and halves is not None:
                hidden = halves.attend(layer, hidden, bias, cache)
                hidden = self._read_source(index, hidden, memory)
                hidden = halves.feed_forward(layer, hidden)
            else:
                more = {} if cache is None else {"past_key_values": cache}
                hidden = layer(hidden, attention_mask=bias, **more)
                hidden = self._read_source(index, hidden, memory)
        normed: Tensor = self.backbone.final_norm(hidden)
        return normed

    def _read_source(self, index: int, hidden: Tensor, memory: Memory) -> Tensor:
        """The adapter of a layer, if it has one."""
        name = str(index)
        if name not in self.adapters:
            return hidden
        read: Tensor = self.adapters[name](hidden, memory.layers[name], memory.visible)
        return read
