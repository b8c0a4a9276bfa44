"""Every choice of a model, and the named presets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any

from abnet.config_checks import check_config
from abnet.errors import AbNetError
from abnet.systems import PRESETS

FOR_A_NEW_MODEL = ("lexicon", "warm_start")  # files that only its first weights come from
FOR_TRAINING = (*FOR_A_NEW_MODEL, "soft_teacher")  # files that a trained model does without


@dataclass(frozen=True)
class AbNetConfig:
    """The choices that make a system: encoder x decoder x objective.

    Each field's text is also the help of the option of the same name. The defaults make AB-Net
    (Guo et al., NeurIPS 2020, "the paper"); where the paper is silent they say so. "Released" means
    the paper's released code.

    Raises:
        AbNetError: a value is outside of what its field allows.
    """

    source_bert: str
    """Hugging Face name or local folder of the BERT of the source language; its vocabulary is
    used even where its weights are not."""
    target_bert: str
    """The same of the target language."""
    encoder: str = "bert"
    """"bert": the source BERT with feed-forward adapters; "transformer": one from scratch;
    "bert_fused": one from scratch whose layers also attend to the source BERT's output; "ct_nmt":
    one from scratch that reads words and the source BERT's output through a dynamic switch."""
    decoder: str = "bert"
    """"bert": the target BERT (or GPT-2) with cross-attention; "transformer": one from scratch;
    "bert_fused": one from scratch whose layers also attend to the source BERT's output."""
    objective: str = "conditional_masked_lm"
    """"conditional_masked_lm": all positions in parallel, in a few passes; "autoregressive": word
    by word; "ctc" and "dag": in one pass, over more [MASK]s than there are words."""
    train: str = "adapters"
    """"adapters": and all that starts from random weights; "all": the BERTs as well."""
    source_weights: str = "pretrained"
    """The source BERT's weights: "pretrained", "random" ones of the same shape, or
    "random_layers" behind its pre-trained embeddings."""
    target_weights: str = "pretrained"
    """The same of the target BERT."""
    share_bert: bool = False
    """One BERT in encoder and decoder: the target side uses the source BERT's weights."""
    cross_attention: str = "behind"
    """"behind" each layer of the target BERT (Eq. 6), or "inside", before its feed-forward part;
    a Transformer has it inside."""
    encoder_adapter_dim: int = 2048
    """Hidden size dAenc of the encoder's feed-forward adapters (Eq. 4)."""
    encoder_adapter_layers: int | None = None
    """Adapters in the top k source layers only; all if not given, 0 for none."""
    lexical_adapter_dim: int = 0
    """Size of a trained vector of each source piece, which is projected and added to the encoder's
    output; 0 for none (the paper)."""
    lexicon: str | None = None
    """File of `abnet lexicon` with what these vectors begin as in a new model; random if not given.
    Not needed to go on or to translate, and not for a `warm_start`, which has its own."""
    decoder_adapter_layers: int | None = None
    """Adapters in the top k target layers only; all if not given, 0 for none."""
    decoder_adapter_ffn_dim: int = 0
    """Hidden size of a feed-forward block behind each cross-attention; 0 for none (Eq. 6)."""
    decoder_adapter_heads: int | None = None
    """Heads of the cross-attention; the target BERT's if not given."""
    decoder_adapter_norm: str = "pre"
    """Layer norm of a decoder adapter: "pre" in the branch, "post" behind the sum (released)."""
    adapter_init: str = "identity"
    """"identity": adapters change nothing at first; "released": as the released code has them."""
    adapter_dropout: float = 0.1
    """Dropout of a decoder adapter's branches."""
    adapter_attention_dropout: float | None = None
    """Dropout of the weights of its cross-attention; `adapter_dropout` if not given; released:
    0."""
    bert_dropout: float = 0.1
    """Dropout inside the two BERTs while training."""
    transformer_encoder_layers: int = 6
    """Layers of an encoder from scratch."""
    transformer_decoder_layers: int = 6
    """Layers of a decoder from scratch."""
    transformer_dim: int = 512
    """Width of what is from scratch."""
    transformer_ffn_dim: int = 2048
    """Hidden size of its feed-forward parts."""
    transformer_heads: int = 8
    """Its attention heads."""
    transformer_dropout: float = 0.1
    """Its dropout; the paper has 0.3 on IWSLT."""
    transformer_attention_dropout: float = 0.0
    """Dropout of its attentions' weights; fairseq's big ones have 0.1, all others none."""
    transformer_norm: str = "post"
    """Its layer norms: "post" behind each sum, as the paper and BERT have them, or "pre" in the
    branches and behind the last layer (fairseq's `--encoder-normalize-before`)."""
    drop_net: float = 1.0
    """BERT-Fused, while training: a layer keeps one of its two attentions alone with this
    probability, half of it for each, and their mean otherwise (Zhu et al. 2020, whose code calls
    the half of it a ratio, at most 0.5)."""
    distillation_weight: float = 0.0
    """CT-NMT's asymptotic distillation: the share w of the loss that is the squared distance of
    the encoder's states to the source BERT's, the rest stays (1 - w); 0.1 in Yang et al. 2020,
    whose code recommends 0.01."""
    bert_rate_rise: int = 0
    """With `bert_rate_end`: the update until which the BERTs' learning rate rises."""
    bert_rate_end: int | None = None
    """Rate-scheduled learning (Yang et al. 2020): the BERTs' learning rate, as a share of the
    others', rises from 0 to 1 and falls to 0 again at this update, from which on they stay as they
    are; if not given, BERTs that train do so as the rest does."""
    soft_teacher: str | None = None
    """Checkpoint of a conditional masked LM (`abnet_fb`, `abnet`, ...) of the same vocabularies,
    whose predictions are soft labels while training (Chen et al. 2020); not saved, not needed to
    translate."""
    soft_label_weight: float = 0.0
    """The share of the word loss that the soft labels have, the true words have the rest; 0.5 in
    the code of Chen et al. 2020."""
    soft_label_top_k: int = 8
    """How many of the teacher's words count at each position."""
    soft_label_temperature: float = 10.0
    """By which their logits are divided before they become probabilities; 10 as in that code."""
    soft_label_passes: int = 7
    """Passes of the teacher for each batch: one in so many tokens of a target is hidden in each."""
    warm_start: str | None = None
    """Checkpoint whose weights a new model of the same shape begins with: that of a Transformer
    (`transformer_base`, `mask_predict`) for a Transformer or BERT-Fused, that of an AB-Net
    (`abnet_ctc`, ...) for an AB-Net on the same BERTs, whatever the objectives."""
    keep_cls: bool = False
    """Whether the model puts [CLS] in front of source and target (never masked, not counted)."""
    length_classes: int = 512
    """Rows of the length table: lengths 1 .. n-1 can be predicted, row 0 is [LENGTH] itself."""
    spread_source: bool = False
    """Target positions begin with the encoder's state at the same share of the source, through a
    trained projection; for parallel systems."""
    gloss_source: bool = False
    """One [MASK] of those that begin with the same source position begins as the word that its
    piece is translated by, too: a projection of the piece's vector (`lexical_adapter_dim`), which a
    `lexicon` gives; with `spread_source`."""
    frames_per_piece: int = 2
    """One pass: how many [MASK]s the decoder gets for each piece of the source."""
    reveal_frames: float = 0.0
    """One pass: share of the targets that have, while training, words at some of the frames where
    the model itself puts them, so that the rest is to be found. With CTC decoding may then take
    more than one pass (Saharia et al., EMNLP 2020)."""
    fuzzy_ngrams: int = 0
    """A graph: 0 trains it by likelihood; n by the precision of the n-grams that are expected of it
    (`abnet.one_pass.fuzzy_alignment`; 2 in Ma et al. 2023), for what has been trained by
    likelihood before (`warm_start`)."""
    fuzzy_likelihood_weight: float = 0.0
    """With `fuzzy_ngrams`: the weight of the likelihood, in nats a word, that stays beside them."""
    train_head: str = "none"
    """Of the target BERT's masked-LM head trains: "none", its "bias", or "transform" and bias."""
    mask_count: str = "uniform"
    """Of L target tokens while training are chosen: "uniform", U{1..L}; "cosine", more often many;
    "share", a fixed 15 %, as BERT."""
    target_noise: str = "mask"
    """A chosen target token becomes: "mask", or "bert" (80 % [MASK], 10 % random, rest kept)."""
    source_noise: float = 0.0
    """Share of the source that is corrupted as one span while training; released: 0.1."""
    label_smoothing: float = 0.1
    """Label smoothing of the word loss."""
    length_loss_weight: float = 1.0
    """Weight of the length loss; released: 0.1."""
    loss_normalization: str = "masked"
    """"masked": the mean over masked tokens, and the lengths' over sentences; "target": the sum of
    both over the number of all target tokens (released), with a weight of 1 as Mask-Predict."""
    correction: float = 0.0
    """Share of the revealed target tokens that become the model's own guesses, to be corrected."""
    r_drop: float = 0.0
    """Weight of R-Drop: two passes with different dropout must agree; 0 for one pass."""

    def __post_init__(self) -> None:
        check_config(self)
        for field in fields(self):
            value = getattr(self, field.name)
            kind = type(value)
            if issubclass(kind, Real) and kind.__module__ != "builtins":
                plain = int(value) if isinstance(value, Integral) else float(value)
                object.__setattr__(self, field.name, plain)  # a number of numpy, say

    def bert(self, side: str) -> str:
        """The name or folder of the BERT of a side, "source" or "target"."""
        return self.source_bert if side == "source" else self.target_bert

    def weights(self, side: str) -> str:
        """Where the weights of a side's BERT come from."""
        return self.source_weights if side == "source" else self.target_weights

    def pretrained(self, side: str) -> bool:
        """Whether a side uses the weights of its BERT; a BERT-Fused decoder has none."""
        has_bert = self.encoder != "transformer" if side == "source" else self.decoder == "bert"
        return has_bert and self.weights(side) == "pretrained"

    def trains(self, side: str) -> bool:
        """Whether a side's BERT trains, or what stands in its place; the rest always does."""
        return self.train == "all" or not self.pretrained(side)

    def to_dict(self) -> dict[str, Any]:
        """All fields by name, as plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> AbNetConfig:
        """A config from a mapping that may hold other keys too; missing fields take defaults.

        Raises:
            AbNetError: `source_bert` or `target_bert` is missing, or a value is not allowed.
        """
        known = {name: values[name] for name in CONFIG_FIELDS if name in values}
        for name in ("source_bert", "target_bert"):
            if name not in known:
                raise AbNetError(f"`{name}` must be given, but is missing.")
        return cls(**known)

    @classmethod
    def from_preset(cls, preset: str, **overrides: Any) -> AbNetConfig:
        """The named preset with some fields overridden.

        Raises:
            AbNetError: no such preset, or no such field.
        """
        check_fields(overrides)
        if preset not in PRESETS:
            raise AbNetError(
                f"`preset` must be one of {sorted(PRESETS)}, but is {preset!r} instead."
            )
        return cls.from_dict({**PRESETS[preset], **overrides})


CONFIG_FIELDS = tuple(field.name for field in fields(AbNetConfig))


def check_fields(names: Iterable[str]) -> None:
    """Sees to it that names are fields of `AbNetConfig`.

    Raises:
        AbNetError: one is not; the message has the one that looks most like it.
    """
    for name in names:
        if name not in CONFIG_FIELDS:
            near = "".join(get_close_matches(name, CONFIG_FIELDS, 1)) or "another name"
            raise AbNetError(f"`{name}` is no field of AbNetConfig: is {near} meant?")
