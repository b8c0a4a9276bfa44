"""Every choice of a model, and the named presets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from typing import Any

from abnet.errors import AbNetError
from abnet.systems import PRESETS

ONE_PASS = ("ctc", "dag")  # objectives whose decoder reads frames
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
    """The source BERT's weights: "pretrained", or "random" ones of the same shape."""
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
    """"identity": adapters change nothing at first; "released": Xavier, as the released code."""
    adapter_dropout: float = 0.1
    """Dropout of a decoder adapter's branches."""
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
    """The loss is a mean over "masked" tokens, or is divided by all "target" tokens (released)."""
    correction: float = 0.0
    """Share of the revealed target tokens that become the model's own guesses, to be corrected."""
    r_drop: float = 0.0
    """Weight of R-Drop: two passes with different dropout must agree; 0 for one pass."""

    def __post_init__(self) -> None:
        for name in ("source_bert", "target_bert"):
            if not getattr(self, name):
                raise AbNetError(
                    f"`{name}` must be a Hugging Face name or a folder, but is empty instead."
                )
        for name, least in (
            ("encoder_adapter_dim", 1),
            ("encoder_adapter_layers", 0),
            ("lexical_adapter_dim", 0),
            ("decoder_adapter_layers", 0),
            ("decoder_adapter_ffn_dim", 0),
            ("decoder_adapter_heads", 1),
            ("length_classes", 2),
            ("frames_per_piece", 1),
            ("transformer_encoder_layers", 1),
            ("transformer_decoder_layers", 1),
            ("transformer_dim", 1),
            ("transformer_ffn_dim", 1),
            ("transformer_heads", 1),
            ("bert_rate_rise", 0),
            ("bert_rate_end", 1),
            ("soft_label_top_k", 1),
            ("soft_label_passes", 1),
            ("soft_label_temperature", 0),
            ("length_loss_weight", 0),
            ("r_drop", 0),
            ("fuzzy_ngrams", 0),
            ("fuzzy_likelihood_weight", 0),
        ):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= least):
                must = f"at least {least}" if math.isfinite(value) else "a finite number"
                raise AbNetError(f"`{name}` must be {must}, but is {value} instead.")
        for name in (
            "adapter_dropout",
            "bert_dropout",
            "transformer_dropout",
            "source_noise",
            "label_smoothing",
            "correction",
            "distillation_weight",
        ):
            value = getattr(self, name)
            if not 0.0 <= value < 1.0:
                raise AbNetError(f"`{name}` must be in [0, 1), but is {value} instead.")
        for name in ("drop_net", "soft_label_weight", "reveal_frames"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise AbNetError(f"`{name}` must be in [0, 1], but is {value} instead.")
        if not self.soft_label_temperature > 0:
            raise AbNetError(
                "`soft_label_temperature` must be more than 0, but is "
                f"{self.soft_label_temperature} instead."
            )
        for name, allowed in (
            ("encoder", ("bert", "transformer", "bert_fused", "ct_nmt")),
            ("decoder", ("bert", "transformer", "bert_fused")),
            ("objective", ("conditional_masked_lm", "autoregressive", *ONE_PASS)),
            ("train", ("adapters", "all")),
            ("source_weights", ("pretrained", "random")),
            ("target_weights", ("pretrained", "random")),
            ("cross_attention", ("behind", "inside")),
            ("decoder_adapter_norm", ("pre", "post")),
            ("adapter_init", ("identity", "released")),
            ("train_head", ("none", "bias", "transform")),
            ("mask_count", ("uniform", "cosine", "share")),
            ("target_noise", ("mask", "bert")),
            ("loss_normalization", ("masked", "target")),
        ):
            value = getattr(self, name)
            if value not in allowed:
                raise AbNetError(f"`{name}` must be one of {allowed}, but is {value!r} instead.")

        if self.objective == "autoregressive" and self.correction:
            raise AbNetError(
                "`correction` must be 0 for the autoregressive objective, which reveals no token "
                f"that it predicts, but is {self.correction} instead."
            )
        if self.objective not in ONE_PASS and self.reveal_frames:
            raise AbNetError(
                f"`reveal_frames` must be 0 for the objective {self.objective}, which has no "
                f"frames, but is {self.reveal_frames} instead."
            )
        if self.objective != "dag" and self.fuzzy_ngrams:
            raise AbNetError(
                f"`fuzzy_ngrams` must be 0 for the objective {self.objective}, which has no graph, "
                f"but is {self.fuzzy_ngrams} instead."
            )
        if self.fuzzy_likelihood_weight and not self.fuzzy_ngrams:
            raise AbNetError(
                "`fuzzy_likelihood_weight` must be 0 without `fuzzy_ngrams`, but is "
                f"{self.fuzzy_likelihood_weight} instead."
            )
        if self.objective == "autoregressive" and self.spread_source:
            raise AbNetError(
                "`spread_source` must be left out for the autoregressive objective, which does not "
                "know how long the target will be."
            )
        for name in ("label_smoothing", "correction", "soft_label_weight"):
            if self.objective in ONE_PASS and getattr(self, name):
                raise AbNetError(
                    f"`{name}` must be 0 for the objective {self.objective}, which does not know "
                    f"the word of a position, but is {getattr(self, name)} instead."
                )
        if self.share_bert and (
            self.source_bert != self.target_bert
            or (self.encoder, self.decoder) != ("bert", "bert")
            or self.source_weights != self.target_weights
        ):
            raise AbNetError(
                "`share_bert` must go with one BERT for both sides (`source_bert` = `target_bert`, "
                '`encoder` and `decoder` "bert", equal weights), but they differ.'
            )

        if self.lexicon is not None and not self.lexical_adapter_dim:
            raise AbNetError(
                "`lexical_adapter_dim` must be more than 0 with a `lexicon`, but is 0 instead."
            )
        if self.lexicon is not None and self.warm_start is not None:
            raise AbNetError(
                "`lexicon` must be left out with a `warm_start`, whose vectors would replace it."
            )
        for name, needed in (
            ("spread_source", self.spread_source),
            ("lexical_adapter_dim", self.lexical_adapter_dim > 0),
            ('decoder="bert"', self.decoder == "bert"),
        ):
            if self.gloss_source and not needed:
                raise AbNetError(f"`gloss_source` needs `{name}`, but the config has it not.")
        if self.lexical_adapter_dim and self.encoder != "bert":
            raise AbNetError(
                '`lexical_adapter_dim` must be 0 where the encoder is not "bert": the words of a '
                f"Transformer train, and the encoder is {self.encoder!r}."
            )
        if self.decoder == "bert_fused" and self.encoder != "bert_fused":
            raise AbNetError(
                '`encoder` must be "bert_fused" with a decoder that is, for the source BERT that '
                f"both read, but is {self.encoder!r} instead."
            )
        if self.warm_start is not None and (self.encoder == "bert") != (self.decoder == "bert"):
            raise AbNetError(
                "`warm_start` must go with BERTs on both sides or with none, but the encoder is "
                f"{self.encoder!r} and the decoder {self.decoder!r}."
            )
        self._check_teachers()

    def _check_teachers(self) -> None:
        """What a BERT as a teacher needs beside it."""
        if self.distillation_weight and self.encoder != "ct_nmt":
            raise AbNetError(
                '`encoder` must be "ct_nmt" with a `distillation_weight`, but is '
                f"{self.encoder!r} instead."
            )
        if self.soft_teacher is not None and not self.soft_label_weight:
            raise AbNetError(
                "`soft_label_weight` must be more than 0 with a `soft_teacher`, but is "
                f"{self.soft_label_weight} instead."
            )
        if self.bert_rate_end is None:
            return
        if self.bert_rate_end <= self.bert_rate_rise:
            raise AbNetError(
                f"`bert_rate_end` must be more than `bert_rate_rise` = {self.bert_rate_rise}, but "
                f"is {self.bert_rate_end} instead."
            )
        if self.train != "all" or not any(map(self.pretrained, ("source", "target"))):
            raise AbNetError(
                '`bert_rate_end` must go with `train` "all" and the weights of a BERT, without '
                "which no BERT trains."
            )

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
