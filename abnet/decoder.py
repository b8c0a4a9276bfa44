"""The decoder: a frozen BERT that sees all target positions, with cross-attention adapters."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from abnet.adapters import CrossAttentionAdapter, KeysValues
from abnet.backbone import Backbone, attention_bias
from abnet.encoder import EncoderOutput, prepend_symbol
from abnet.errors import AbNetError
from abnet.tokenizer import SymbolIds


class Memory(NamedTuple):
    """The source as the decoder reads it, made once a sentence and used in every pass.

    Attributes:
        layers: layer index (as a string) to the keys and values of that layer's adapter.
        visible: (B, 1, 1, S) boolean, `False` at source padding.
    """

    layers: dict[str, KeysValues]
    visible: Tensor

    def select(self, sentences: Tensor) -> Memory:
        """The rows of some sentences only; sentences: (K,) indices."""
        return Memory(
            {
                index: KeysValues(source.keys[sentences], source.values[sentences])
                for index, source in self.layers.items()
            },
            self.visible[sentences],
        )


class Decoder(nn.Module):
    """Partly masked target ids to logits of the masked ones; adapter i follows BERT layer i.

    Args:
        backbone: the frozen BERT with its masked-LM head.
        adapters: layer index (as a string) to `CrossAttentionAdapter`.
        symbols: special ids of the target vocabulary.
        keep_cls: put [CLS] in front of the target; its state is dropped again.

    Raises:
        AbNetError: the backbone has no masked-LM head.
    """

    def __init__(
        self, backbone: Backbone, adapters: nn.ModuleDict, symbols: SymbolIds, keep_cls: bool
    ) -> None:
        super().__init__()
        if backbone.lm_head is None:
            raise AbNetError("`backbone` must have a masked-LM head to decode, but has none.")
        self.backbone = backbone
        self.lm_head = backbone.lm_head
        self.adapters = adapters
        self.symbols = symbols
        self.keep_cls = keep_cls

    @property
    def max_positions(self) -> int:
        """The longest target in tokens, [SEP] included."""
        return self.backbone.max_positions - int(self.keep_cls)

    def project(self, encoded: EncoderOutput) -> Memory:
        """Keys and values of every adapter."""
        return Memory(
            {
                index: adapter.project(encoded.memory)
                for index, adapter in self.adapters.items()
                if isinstance(adapter, CrossAttentionAdapter)
            },
            ~encoded.padding[:, None, None, :],
        )

    def forward(self, target: Tensor, memory: Memory, predict: Tensor) -> Tensor:
        """Logits at the chosen positions only.

        Args:
            target: (B*C, T) ids with [MASK]s; the C candidates of a sentence stand together.
            memory: of the B sentences.
            predict: (B*C, T) boolean, the positions whose logits are wanted.

        Returns:
            (number of chosen positions, vocabulary), in row-major order of `predict`.
        """
        if self.keep_cls:
            target = prepend_symbol(target, self.symbols.cls)
        hidden = self.backbone.embed(target)
        bias = attention_bias(target.eq(self.symbols.pad), hidden.dtype)
        for index, layer in enumerate(self.backbone.layers):
            hidden = layer(hidden, attention_mask=bias)
            if str(index) in self.adapters:
                hidden = self.adapters[str(index)](
                    hidden, memory.layers[str(index)], memory.visible
                )
        if self.keep_cls:
            hidden = hidden[:, 1:]
        logits: Tensor = self.lm_head(hidden[predict])
        return logits
