"""The model: encoder, length head and decoder; what trains and what is saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from abnet.attention import training_attention
from abnet.builders import Vocabulary, build_backbones, build_decoder, build_encoder
from abnet.config import AbNetConfig
from abnet.decoder import Decoder, DecoderState, Memory
from abnet.encoder import Encoder, EncoderOutput
from abnet.errors import AbNetError
from abnet.identity import BertIdentity
from abnet.length import LengthBeam, length_beam
from abnet.lexicon import read_lexicon
from abnet.tokenizer import Tokenizer
from abnet.training.word_loss import WordLoss

if TYPE_CHECKING:
    from abnet.training.soft_labels import Teacher
    from abnet.warm_start import WarmStart


class AbNetOutput(NamedTuple):
    """Training output.

    Attributes:
        word_logits: (number of chosen positions, V), row-major; (0, V) beside `words`.
        length_logits: (B, classes); `None` for an autoregressive system.
        distance: of the encoder's states to a teacher's; see `EncoderOutput`.
        words: the loss at the chosen positions, where it was asked for in place of logits.
        links: (B, T, T), for the objective "dag"; see `abnet.one_pass.links.Links`.
    """

    word_logits: Tensor
    length_logits: Tensor | None
    distance: Tensor | None = None
    words: WordLoss | None = None
    links: Tensor | None = None


class AbNet(nn.Module):
    """Any system of `abnet.systems`; by default two frozen BERTs with trained adapters (AB-Net).

    Build it with `from_pretrained`, or from parts with the functions of `abnet.builders`.

    Attributes:
        config: the choices that made it.
        source_symbols, target_symbols: special ids of the two vocabularies.
        source_tokenizer, target_tokenizer: of the two BERTs, after `from_pretrained`.
        warm_start: what `from_pretrained` took over from another checkpoint; `None` if nothing.
        soft_teacher: frozen, for training with soft labels, after `from_pretrained`; or `None`.
        decodes_only: whether its weights have been packed or rounded for decoding.
        precision: what they have been rounded to, of `abnet.decoding.precision.PRECISIONS`.
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
        self.warm_start: WarmStart | None = None
        self.soft_teacher: Teacher | None = None
        self.decodes_only = False
        self.precision = "float32"
        encoder.bert_backbone.requires_grad_(config.trains("source"))
        decoder.backbone.requires_grad_(config.trains("target"))
        head = decoder.backbone.head_parameters(config.train_head)
        if config.train_head != "none" and not head:
            raise AbNetError(
                '`train_head` must be "none" for a head of the embeddings alone, which has no '
                f"weights of its own, but is {config.train_head!r} instead."
            )
        for parameter in head:
            parameter.requires_grad_(True)
        for parameter in decoder.backbone.idle_parameters():
            parameter.requires_grad_(False)
        self._identities: dict[str, BertIdentity] | None = None

    @classmethod
    def from_pretrained(cls, config: AbNetConfig) -> AbNet:
        """Loads both BERTs, or what the config has of them, and their tokenizers; the rest is new.

        The model is in training mode.

        With `config.lexicon` the vectors of the lexical adapter begin as that file has them, with
        `config.warm_start` weights of another checkpoint are taken over, with
        `config.soft_teacher` that model is loaded, too.

        Raises:
            AbNetError: a BERT or its tokenizer is missing, foreign or incomplete, the two do not
                belong together, the adapters do not fit the BERTs, or see `read_lexicon`,
                `take_over` and `load_teacher`.
        """
        tokenizers = {
            side: Tokenizer.from_pretrained(config.bert(side)) for side in ("source", "target")
        }
        source, target = (
            Vocabulary(len(tokenizer.vocabulary), tokenizer.symbols)
            for tokenizer in tokenizers.values()
        )
        backbones = build_backbones(config, source, target)
        berts = {"source": backbones.fused or backbones.source, "target": backbones.target}
        for tokenizer, backbone in zip(tokenizers.values(), berts.values(), strict=True):
            tokenizer.check_fits(backbone.vocab_size)
        model = cls(
            config,
            build_encoder(config, backbones, source.symbols),
            build_decoder(config, backbones, target.symbols),
        )
        model.source_tokenizer = tokenizers["source"]
        model.target_tokenizer = tokenizers["target"]
        model._identities = {  # hashed now, before weights train or lose precision
            side: BertIdentity.of(tokenizers[side], backbone, config.pretrained(side))
            for side, backbone in berts.items()
        }
        if model.encoder.lexical is not None and config.lexicon is not None:
            lexicon = read_lexicon(
                config.lexicon,
                tokenizers["source"],
                config.lexical_adapter_dim,
                tokenizers["target"],
            )
            model.encoder.lexical.begin_with(lexicon.vectors)
            if model.decoder.spread is not None:
                model.decoder.spread.begin_with(lexicon.axes)
        if config.warm_start is not None:
            from abnet.warm_start import take_over  # which reads checkpoints of this class

            model.warm_start = take_over(model, config.warm_start)
        if config.soft_teacher is not None:
            from abnet.training.soft_labels import load_teacher  # which reads them, too

            model.soft_teacher = load_teacher(model, config.soft_teacher)
        return model.train()  # transformers gives the layers of BERTs in evaluation mode

    def bert_parameters(self) -> list[nn.Parameter]:
        """What trains of the weights that come from a BERT."""
        berts = {"source": self.encoder.bert_backbone, "target": self.decoder.backbone}
        return [
            parameter
            for side, bert in berts.items()
            if self.config.pretrained(side)
            for parameter in bert.parameters()
            if parameter.requires_grad
        ]

    @property
    def max_source_positions(self) -> int:
        """The longest source in tokens, [SEP] included."""
        return self.encoder.max_positions

    @property
    def max_target_positions(self) -> int:
        """The longest target in tokens, [SEP] included."""
        if self.encoder.length is None:
            return self.decoder.max_positions
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

    def forward(
        self, source: Tensor, target: Tensor, predict: Tensor, gold: Tensor | None = None
    ) -> AbNetOutput:
        """Logits for training, or the loss of the words alone.

        Args:
            source: (B, S) ids `w1 .. wn [SEP]`, right-padded.
            target: (B, T) what the decoder reads, right-padded; see `Decoder.forward`.
            predict: (B, T) boolean, the positions to predict; a graph has all.
            gold: (number of chosen positions,) true ids, row-major, to have their loss and not the
                logits, which takes far less memory; `None` for logits.
        """
        # Before all else: an accelerator is waited for to know how many there are.
        [positions] = torch.where(predict.flatten())
        with training_attention(self, source, target):
            encoded = self.encode(source)
            memory = self.project(encoded)
            if self.config.objective == "dag":
                states, links = self.dag(target, memory)
                logits = self.decoder.logits(states)
                return AbNetOutput(logits, encoded.length_logits, encoded.distance, None, links)
            if gold is None:
                logits = self.decoder.logits(self.states(target, memory, positions))
                return AbNetOutput(logits, encoded.length_logits, encoded.distance)
            smoothing = self.config.label_smoothing
            words = self.decoder.word_loss(target, memory, positions, gold, smoothing)
        none = encoded.memory.new_empty(0, self.decoder.backbone.vocab_size)
        return AbNetOutput(none, encoded.length_logits, encoded.distance, words)

    def encode(self, source: Tensor) -> EncoderOutput:
        """source: (B, S) ids; see `Encoder.forward`."""
        output: EncoderOutput = self.encoder(source)
        return output

    def predict_length(self, encoded: EncoderOutput, candidates: int) -> LengthBeam:
        """The most probable target lengths, (B, candidates) each.

        Raises:
            AbNetError: the system predicts none, or there are fewer lengths than candidates.
        """
        return length_beam(self.length_logits(encoded), candidates, self.max_target_positions)

    def length_logits(self, encoded: EncoderOutput) -> Tensor:
        """(B, classes), class n for n tokens, class 0 banned.

        Raises:
            AbNetError: the system predicts no length.
        """
        if encoded.length_logits is None:
            raise AbNetError(
                "`objective` must be conditional_masked_lm to predict a length, but is "
                f"{self.config.objective} instead: decode with `Translator`"
                f"{' or `beam_search`' if self.config.objective == 'autoregressive' else ''}."
            )
        return encoded.length_logits

    def project(self, encoded: EncoderOutput) -> Memory:
        """Keys and values of the source for every decoder adapter; see `Decoder.project`."""
        return self.decoder.project(encoded)

    def decode(self, target: Tensor, memory: Memory, predict: Tensor) -> Tensor:
        """Logits (chosen positions, V) of the pieces; see `Decoder.forward`."""
        return self._of_pieces(self.decoder(target, memory, predict))

    def dag(self, frames: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """What `logits` are made of, (B * F, H), and links (B, F, F); see `Decoder.dag`."""
        return self.decoder.dag(frames, memory)

    def states(self, target: Tensor, memory: Memory, positions: Tensor) -> Tensor:
        """What `logits` are made of, (N, H); see `Decoder.states`."""
        return self.decoder.states(target, memory, positions)

    def bert_states(self, target: Tensor, positions: Tensor) -> Tensor:
        """The same of the target BERT alone, (N, H); see `Decoder.bert_states`.

        Raises:
            AbNetError: it has been trained to translate, or never was pre-trained.
        """
        if self.config.trains("target") or self.config.train_head != "none":
            raise AbNetError(
                "`lm_weight` must be 0 for this system: its target BERT has been trained to "
                "translate, and only a frozen one with its own head tells how well a text reads."
            )
        return self.decoder.bert_states(target, positions)

    def logits(self, states: Tensor, part: slice) -> Tensor:
        """Logits of a part of the states, (n, V), of the pieces."""
        return self._of_pieces(self.decoder.logits(states[part]))

    def new_state(self) -> DecoderState:
        """What `step` remembers, of no tokens yet.

        Raises:
            AbNetError: the system does not translate step by step.
        """
        if self.config.objective != "autoregressive":
            raise AbNetError(
                "`objective` must be autoregressive to translate step by step, but is "
                f"{self.config.objective} instead: decode with `Translator`."
            )
        return DecoderState()

    def step(self, tokens: Tensor, memory: Memory, state: DecoderState) -> Tensor:
        """Logits of the next token, (B*C, V), of the pieces; see `Decoder.step`."""
        return self._of_pieces(self.decoder.step(tokens, memory, state))

    def _of_pieces(self, logits: Tensor) -> Tensor:
        """Without the spare rows of an embedding table, which no text has."""
        if self.target_tokenizer is None:
            return logits
        return logits[:, : len(self.target_tokenizer.vocabulary)]

    def train(self, mode: bool = True) -> AbNet:
        """Training mode, or evaluation mode.

        Raises:
            AbNetError: it can only decode any more.
        """
        if mode:
            self._check_trainable()
        return super().train(mode)

    def _check_trainable(self) -> None:
        if self.decodes_only:
            raise AbNetError(
                "The model's weights were packed or rounded for decoding, so that it can neither "
                "train nor be saved: take one of `load_checkpoint` for that."
            )

    def trained_state_dict(self) -> dict[str, Tensor]:
        """The weights that train, by name; nothing frozen.

        Raises:
            AbNetError: it can only decode any more.
        """
        self._check_trainable()
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
