"""Which choices of a config do nothing in its system."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING

from abnet.systems import ONE_PASS

if TYPE_CHECKING:
    from abnet.config import AbNetConfig


def without_effect(config: AbNetConfig) -> list[str]:
    """Names of the fields that are not at their default and that nothing reads in this system."""
    default = {field.name: field.default for field in fields(config)}
    return [
        name
        for name, is_used in USED.items()
        if getattr(config, name) != default[name] and not is_used(config)
    ]


def _from_scratch(config: AbNetConfig) -> bool:
    return config.encoder != "bert" or config.decoder != "bert"


def _in_encoder(config: AbNetConfig) -> bool:
    """Whether there are adapters between the source BERT's layers."""
    return config.encoder == "bert" and config.encoder_adapter_layers != 0


def _behind(config: AbNetConfig) -> bool:
    """Whether there are adapters behind the target BERT's layers."""
    has_any = config.decoder == "bert" and config.decoder_adapter_layers != 0
    return has_any and config.cross_attention == "behind"


def _in_passes(config: AbNetConfig) -> bool:
    return config.objective == "conditional_masked_lm"


def _with_soft_labels(config: AbNetConfig) -> bool:
    return config.soft_label_weight > 0


USED: dict[str, Callable[[AbNetConfig], bool]] = {
    "train": lambda c: any(map(c.pretrained, ("source", "target"))),
    "source_weights": lambda c: c.encoder != "transformer",
    "target_weights": lambda c: c.decoder == "bert",
    "cross_attention": lambda c: c.decoder == "bert",
    "encoder_adapter_dim": _in_encoder,
    "encoder_adapter_layers": lambda c: c.encoder == "bert",
    "decoder_adapter_layers": lambda c: c.decoder == "bert",
    "decoder_adapter_ffn_dim": _behind,
    "decoder_adapter_heads": _behind,
    "decoder_adapter_norm": _behind,
    "adapter_init": lambda c: _in_encoder(c) or _behind(c),
    "adapter_dropout": lambda c: _behind(c) or c.lexical_adapter_dim > 0,
    "adapter_attention_dropout": _behind,
    "bert_dropout": lambda c: c.encoder != "transformer" or c.decoder == "bert",
    "transformer_encoder_layers": lambda c: c.encoder != "bert",
    "transformer_decoder_layers": lambda c: c.decoder != "bert",
    "transformer_dim": _from_scratch,
    "transformer_ffn_dim": _from_scratch,
    "transformer_heads": _from_scratch,
    "transformer_dropout": _from_scratch,
    "transformer_attention_dropout": _from_scratch,
    "transformer_norm": _from_scratch,
    "drop_net": lambda c: c.encoder == "bert_fused",
    "bert_rate_rise": lambda c: c.bert_rate_end is not None,
    "soft_label_top_k": _with_soft_labels,
    "soft_label_temperature": _with_soft_labels,
    "soft_label_passes": _with_soft_labels,
    "length_classes": _in_passes,
    "length_loss_weight": _in_passes,
    "mask_count": _in_passes,
    "target_noise": _in_passes,
    "loss_normalization": _in_passes,
    "frames_per_piece": lambda c: c.objective in ONE_PASS,
}
"""By field, where it acts; the others act everywhere, or are refused where they would not."""
