"""What each field of a config may be, and what goes together."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from abnet.errors import AbNetError
from abnet.field_types import check_types
from abnet.systems import ONE_PASS

if TYPE_CHECKING:
    from abnet.config import AbNetConfig


def check_config(config: AbNetConfig) -> None:
    """Raises an `AbNetError` that names the field and what it must be, unless all is well."""
    check_types(config)
    _check_values(config)
    _check_combinations(config)
    _check_teachers(config)


def _check_values(config: AbNetConfig) -> None:
    """Each field alone."""
    for name in ("source_bert", "target_bert"):
        if not getattr(config, name):
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
        value = getattr(config, name)
        if value is not None and not (math.isfinite(value) and value >= least):
            must = f"at least {least}" if math.isfinite(value) else "a finite number"
            raise AbNetError(f"`{name}` must be {must}, but is {value} instead.")
    for name in (
        "adapter_dropout",
        "bert_dropout",
        "adapter_attention_dropout",
        "transformer_dropout",
        "transformer_attention_dropout",
        "source_noise",
        "label_smoothing",
        "correction",
        "distillation_weight",
    ):
        value = getattr(config, name)
        if value is not None and not 0.0 <= value < 1.0:
            raise AbNetError(f"`{name}` must be in [0, 1), but is {value} instead.")
    for name in ("drop_net", "soft_label_weight", "reveal_frames"):
        value = getattr(config, name)
        if not 0.0 <= value <= 1.0:
            raise AbNetError(f"`{name}` must be in [0, 1], but is {value} instead.")
    if not config.soft_label_temperature > 0:
        raise AbNetError(
            "`soft_label_temperature` must be more than 0, but is "
            f"{config.soft_label_temperature} instead."
        )
    for name, allowed in (
        ("encoder", ("bert", "transformer", "bert_fused", "ct_nmt")),
        ("decoder", ("bert", "transformer", "bert_fused")),
        ("objective", ("conditional_masked_lm", "autoregressive", *ONE_PASS)),
        ("train", ("adapters", "all")),
        ("source_weights", ("pretrained", "random", "random_layers")),
        ("target_weights", ("pretrained", "random", "random_layers")),
        ("cross_attention", ("behind", "inside")),
        ("decoder_adapter_norm", ("pre", "post")),
        ("transformer_norm", ("pre", "post")),
        ("adapter_init", ("identity", "released")),
        ("train_head", ("none", "bias", "transform")),
        ("mask_count", ("uniform", "cosine", "share")),
        ("target_noise", ("mask", "bert")),
        ("loss_normalization", ("masked", "target")),
    ):
        value = getattr(config, name)
        if value not in allowed:
            raise AbNetError(f"`{name}` must be one of {allowed}, but is {value!r} instead.")


def _check_combinations(config: AbNetConfig) -> None:
    """What one field asks of another."""
    if config.objective == "autoregressive" and config.correction:
        raise AbNetError(
            "`correction` must be 0 for the autoregressive objective, which reveals no token "
            f"that it predicts, but is {config.correction} instead."
        )
    if config.objective not in ONE_PASS and config.reveal_frames:
        raise AbNetError(
            f"`reveal_frames` must be 0 for the objective {config.objective}, which has no "
            f"frames, but is {config.reveal_frames} instead."
        )
    if config.objective != "dag" and config.fuzzy_ngrams:
        raise AbNetError(
            f"`fuzzy_ngrams` must be 0 for the objective {config.objective}, which has no graph, "
            f"but is {config.fuzzy_ngrams} instead."
        )
    if config.fuzzy_likelihood_weight and not config.fuzzy_ngrams:
        raise AbNetError(
            "`fuzzy_likelihood_weight` must be 0 without `fuzzy_ngrams`, but is "
            f"{config.fuzzy_likelihood_weight} instead."
        )
    if config.objective == "autoregressive" and config.spread_source:
        raise AbNetError(
            "`spread_source` must be left out for the autoregressive objective, which does not "
            "know how long the target will be."
        )
    for name in ("label_smoothing", "correction", "soft_label_weight"):
        if config.objective in ONE_PASS and getattr(config, name):
            raise AbNetError(
                f"`{name}` must be 0 for the objective {config.objective}, which does not know "
                f"the word of a position, but is {getattr(config, name)} instead."
            )
    if config.share_bert and (
        config.source_bert != config.target_bert
        or (config.encoder, config.decoder) != ("bert", "bert")
        or config.source_weights != config.target_weights
    ):
        raise AbNetError(
            "`share_bert` must go with one BERT for both sides (`source_bert` = `target_bert`, "
            '`encoder` and `decoder` "bert", equal weights), but they differ.'
        )

    if config.lexicon is not None and not config.lexical_adapter_dim:
        raise AbNetError(
            "`lexical_adapter_dim` must be more than 0 with a `lexicon`, but is 0 instead."
        )
    if config.lexicon is not None and config.warm_start is not None:
        raise AbNetError(
            "`lexicon` must be left out with a `warm_start`, whose vectors would replace it."
        )
    for name, needed in (
        ("spread_source", config.spread_source),
        ("lexical_adapter_dim", config.lexical_adapter_dim > 0),
        ('decoder="bert"', config.decoder == "bert"),
    ):
        if config.gloss_source and not needed:
            raise AbNetError(f"`gloss_source` needs `{name}`, but the config has it not.")
    if config.lexical_adapter_dim and config.encoder != "bert":
        raise AbNetError(
            '`lexical_adapter_dim` must be 0 where the encoder is not "bert": the words of a '
            f"Transformer train, and the encoder is {config.encoder!r}."
        )
    if (config.decoder, config.cross_attention) == ("bert", "inside"):
        for name, usual in (
            ("decoder_adapter_ffn_dim", 0),
            ("decoder_adapter_heads", None),
            ("decoder_adapter_norm", "pre"),
        ):
            if getattr(config, name) != usual:
                raise AbNetError(
                    f'`{name}` must be left out where `cross_attention` is "inside" a layer, whose '
                    f"heads, norms and feed-forward part it has, but is {getattr(config, name)!r} "
                    "instead."
                )
    if config.decoder == "bert_fused" and config.encoder != "bert_fused":
        raise AbNetError(
            '`encoder` must be "bert_fused" with a decoder that is, for the source BERT that '
            f"both read, but is {config.encoder!r} instead."
        )
    if config.warm_start is not None and (config.encoder == "bert") != (config.decoder == "bert"):
        raise AbNetError(
            "`warm_start` must go with BERTs on both sides or with none, but the encoder is "
            f"{config.encoder!r} and the decoder {config.decoder!r}."
        )


def _check_teachers(config: AbNetConfig) -> None:
    """What a BERT as a teacher needs beside it."""
    if config.distillation_weight and config.encoder != "ct_nmt":
        raise AbNetError(
            '`encoder` must be "ct_nmt" with a `distillation_weight`, but is '
            f"{config.encoder!r} instead."
        )
    if config.soft_teacher is not None and not config.soft_label_weight:
        raise AbNetError(
            "`soft_label_weight` must be more than 0 with a `soft_teacher`, but is "
            f"{config.soft_label_weight} instead."
        )
    if config.bert_rate_end is None:
        return
    if config.bert_rate_end <= config.bert_rate_rise:
        raise AbNetError(
            f"`bert_rate_end` must be more than `bert_rate_rise` = {config.bert_rate_rise}, but "
            f"is {config.bert_rate_end} instead."
        )
    if config.train != "all" or not any(map(config.pretrained, ("source", "target"))):
        raise AbNetError(
            '`bert_rate_end` must go with `train` "all" and the weights of a BERT, without '
            "which no BERT trains."
        )
