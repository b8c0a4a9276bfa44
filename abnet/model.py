"""AB-Net: the encoder, the length head and the decoder; what trains and what is saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from abnet.adapters import CrossAttention, CrossAttentionAdapter, FeedForward, FeedForwardAdapter
from abnet.backbone import Backbone, load_backbone
from abnet.config import AbNetConfig
from abnet.decoder import Decoder, Memory
from abnet.encoder import Encoder, EncoderOutput
from abnet.errors import AbNetError
from abnet.identity import BertIdentity
from abnet.length import LengthBeam, LengthPredictor, length_beam
from abnet.tokenizer import SymbolIds, Tokenizer


class AbNetOutput(NamedTuple):
    """Training output.

    Attributes:
        word_logits: (number of chosen positions, V), row-major.
        length_logits: (B, classes).
    """

    word_logits: Tensor
    length_logits: Tensor


class AbNet(nn.Module):
    """Two frozen BERTs with trained adapters between their layers (Guo et al., NeurIPS 2020).

    Build it with `from_pretrained`, or from parts with `build_encoder` and `build_decoder`.

    Attributes:
        config: the choices that made it.
        source_symbols, target_symbols: special ids of the two vocabularies.
        source_tokenizer, target_tokenizer: of the two BERTs, after `from_pretrained`.
    """

    def __init__(self, config: AbNetConfig, encoder: Encoder, decoder: Decoder) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.decoder = decoder
        self.source_symbols = encoder.symbols
        self.target_symbols = decoder.symbols
        self.source_tokenizer: Tokenizer | None = None
        self.target_tokenizer: Tokenizer | None = None
        encoder.backbone.requires_grad_(False)
        decoder.backbone.requires_grad_(False)
        for parameter in decoder.backbone.head_parameters(config.train_head):
            parameter.requires_grad_(True)
        self._identities: dict[str, BertIdentity] | None = None

    @classmethod
    def from_pretrained(cls, config: AbNetConfig) -> AbNet:
        """Loads both BERTs and their tokenizers; the adapters are new.

        Raises:
            AbNetError: a BERT or its tokenizer is missing, foreign or incomplete, the two do not
                belong together, or the adapters do not fit the BERTs.
        """
        source_tokenizer = Tokenizer.from_pretrained(config.source_bert)
        target_tokenizer = Tokenizer.from_pretrained(config.target_bert)
        source = load_backbone(config.source_bert, with_head=False, dropout=config.bert_dropout)
        target = load_backbone(config.target_bert, with_head=True, dropout=config.bert_dropout)
        for tokenizer, backbone in ((source_tokenizer, source), (target_tokenizer, target)):
            if len(tokenizer.vocabulary) > backbone.vocab_size:
                raise AbNetError(
                    f"The vocabulary of {tokenizer.name!r} must fit its BERT's "
                    f"{backbone.vocab_size} embeddings, but has {len(tokenizer.vocabulary)} pieces "
                    "instead."
                )
        model = cls(
            config,
            build_encoder(config, source, source_tokenizer.symbols),
            build_decoder(config, target, target_tokenizer.symbols, source.hidden_size),
        )
        model.source_tokenizer = source_tokenizer
        model.target_tokenizer = target_tokenizer
        model._identities = {  # hashed now, before weights of the head train or lose precision
            "source": BertIdentity.of(source_tokenizer, source),
            "target": BertIdentity.of(target_tokenizer, target),
        }
        return model

    @property
    def max_source_positions(self) -> int:
        """The longest source in tokens, [SEP] included."""
        return self.encoder.max_positions

    @property
    def max_target_positions(self) -> int:
        """The longest target in tokens, [SEP] included."""
        return min(self.decoder.max_positions, self.config.length_classes - 1)

    @property
    def identities(self) -> dict[str, BertIdentity]:
        """Which BERTs the adapters belong to: "source" and "target".

        Raises:
            AbNetError: the model was built from parts, without tokenizers.
        """
        if self._identities is None:
            raise AbNetError("`identities` must be asked of a model made by `from_pretrained`.")
        return self._identities

    def forward(self, source: Tensor, target: Tensor, predict: Tensor) -> AbNetOutput:
        """Logits for training.

        Args:
            source: (B, S) ids `w1 .. wn [SEP]`, right-padded.
            target: (B, T) ids with [MASK]s, right-padded.
            predict: (B, T) boolean, the positions to predict.
        """
        encoded = self.encode(source)
        return AbNetOutput(
            self.decode(target, self.project(encoded), predict), encoded.length_logits
        )

    def encode(self, source: Tensor) -> EncoderOutput:
        """source: (B, S) ids; see `Encoder.forward`."""
        output: EncoderOutput = self.encoder(source)
        return output

    def predict_length(self, encoded: EncoderOutput, candidates: int) -> LengthBeam:
        """The most probable target lengths, (B, candidates) each."""
        return length_beam(encoded.length_logits, candidates, self.max_target_positions)

    def project(self, encoded: EncoderOutput) -> Memory:
        """Keys and values of the source for every decoder adapter; see `Decoder.project`."""
        return self.decoder.project(encoded)

    def decode(self, target: Tensor, memory: Memory, predict: Tensor) -> Tensor:
        """Logits (chosen positions, V); see `Decoder.forward`."""
        logits: Tensor = self.decoder(target, memory, predict)
        return logits

    def trained_state_dict(self) -> dict[str, Tensor]:
        """The weights that train, by name; nothing frozen."""
        return {
            name: parameter.detach()
            for name, parameter in self.named_parameters()
            if parameter.requires_grad
        }

    def load_trained_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Takes over trained weights.

        Raises:
            AbNetError: names or shapes are not exactly this model's.
        """
        own = {n: p for n, p in self.named_parameters() if p.requires_grad}
        missing, foreign = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        if missing or foreign:
            raise AbNetError(
                "The checkpoint must hold exactly this model's trained weights, but "
                f"{len(missing)} are missing ({', '.join(missing[:3]) or 'none'}) and "
                f"{len(foreign)} are foreign ({', '.join(foreign[:3]) or 'none'}). "
                "Is it of another shape?"
            )
        for name, parameter in own.items():
            if parameter.shape != state[name].shape:
                raise AbNetError(
                    f"`{name}` must have the shape {tuple(parameter.shape)}, "
                    f"but has {tuple(state[name].shape)} in the checkpoint instead."
                )
            parameter.data.copy_(state[name])


def build_encoder(config: AbNetConfig, backbone: Backbone, symbols: SymbolIds) -> Encoder:
    """The encoder of a config around a source BERT."""
    adapters = nn.ModuleDict(
        {
            str(layer): FeedForwardAdapter(
                backbone.hidden_size, config.encoder_adapter_dim, config.adapter_init == "identity"
            )
            for layer in _top_layers("encoder", config.encoder_adapter_layers, backbone)
        }
    )
    length = LengthPredictor(config.length_classes, backbone.hidden_size)
    return Encoder(backbone, adapters, length, symbols, config.keep_cls)


def build_decoder(
    config: AbNetConfig, backbone: Backbone, symbols: SymbolIds, memory_width: int
) -> Decoder:
    """The decoder of a config around a target BERT; `memory_width` is the source BERT's."""
    width = backbone.hidden_size
    identity = config.adapter_init == "identity"

    def adapter() -> CrossAttentionAdapter:
        attention = CrossAttention(
            width,
            memory_width,
            config.decoder_adapter_heads or backbone.num_heads,
            config.adapter_dropout,
            identity,
        )
        block = None
        if config.decoder_adapter_ffn_dim:
            block = FeedForward(width, config.decoder_adapter_ffn_dim, identity)
        return CrossAttentionAdapter(
            attention, block, width, config.adapter_dropout, config.decoder_adapter_norm == "pre"
        )

    layers = _top_layers("decoder", config.decoder_adapter_layers, backbone)
    adapters = nn.ModuleDict({str(layer): adapter() for layer in layers})
    return Decoder(backbone, adapters, symbols, config.keep_cls)


def _top_layers(side: str, count: int | None, backbone: Backbone) -> range:
    """Indices of the top `count` layers, all if `None`."""
    depth = len(backbone.layers)
    if count is None:
        return range(depth)
    if count > depth:
        raise AbNetError(
            f"`{side}_adapter_layers` must be at most the BERT's {depth} layers, "
            f"but is {count} instead."
        )
    return range(depth - count, depth)
