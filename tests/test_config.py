from __future__ import annotations

import re

import pytest

from abnet.config import CONFIG_FIELDS, AbNetConfig
from abnet.errors import AbNetError
from abnet.field_help import field_help
from abnet.systems import PRESETS


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"source_bert": ""}, "`source_bert` must be a Hugging Face name or a folder"),
        ({"encoder_adapter_dim": 0}, "`encoder_adapter_dim` must be at least 1, but is 0 instead"),
        ({"encoder_adapter_layers": -1}, "`encoder_adapter_layers` must be at least 0, but is -1"),
        ({"adapter_dropout": 1.0}, r"`adapter_dropout` must be in [0, 1), but is 1.0 instead"),
        ({"transformer_norm": "mid"}, "`transformer_norm` must be one of ('pre', 'post')"),
        ({"decoder_adapter_norm": "mid"}, "`decoder_adapter_norm` must be one of ('pre', 'post')"),
        ({"target_noise": "x"}, "`target_noise` must be one of ('mask', 'bert'), but is 'x'"),
        ({"mask_count": "all"}, "`mask_count` must be one of ('uniform', 'cosine', 'share')"),
        ({"train_head": "all"}, "`train_head` must be one of ('none', 'bias', 'transform')"),
        ({"correction": -0.1}, r"`correction` must be in [0, 1), but is -0.1 instead"),
        ({"r_drop": -1}, "`r_drop` must be at least 0, but is -1 instead"),
        ({"r_drop": float("nan")}, "`r_drop` must be a finite number, but is nan instead"),
        ({"length_loss_weight": float("nan")}, "`length_loss_weight` must be a finite number"),
        (
            {"objective": "dag", "fuzzy_ngrams": 2, "fuzzy_likelihood_weight": float("inf")},
            "`fuzzy_likelihood_weight` must be a finite number, but is inf instead",
        ),
        (
            {"soft_label_temperature": float("inf")},
            "`soft_label_temperature` must be a finite number, but is inf instead",
        ),
        (
            {"lexical_adapter_dim": 8, "lexicon": "x", "warm_start": "y"},
            "`lexicon` must be left out with a `warm_start`",
        ),
        (
            {"cross_attention": "inside", "decoder_adapter_ffn_dim": 64},
            '`decoder_adapter_ffn_dim` must be left out where `cross_attention` is "inside"',
        ),
        (
            {"cross_attention": "inside", "decoder_adapter_norm": "post"},
            '`decoder_adapter_norm` must be left out where `cross_attention` is "inside"',
        ),
        ({"length_classes": 1}, "`length_classes` must be at least 2, but is 1 instead"),
    ],
)
def test_bad_values_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(AbNetError, match=re.escape(message)):
        AbNetConfig.from_dict({"source_bert": "a", "target_bert": "b", **values})


def test_missing_berts_and_unknown_presets_are_refused() -> None:
    with pytest.raises(AbNetError, match="`target_bert` must be given"):
        AbNetConfig.from_dict({"source_bert": "a"})
    with pytest.raises(AbNetError, match=r"`preset` must be one of .*, but is 'x' instead"):
        AbNetConfig.from_preset("x", source_bert="a", target_bert="b")


def test_a_misspelt_field_is_refused() -> None:
    with pytest.raises(
        AbNetError, match=r"`length_los_wieght` is no field .* is length_loss_weight meant"
    ):
        AbNetConfig.from_preset("abnet", source_bert="a", target_bert="b", length_los_wieght=0.1)
    with pytest.raises(AbNetError, match=r"`x9` is no field .* is another name meant\?"):
        AbNetConfig.from_preset("abnet", source_bert="a", target_bert="b", x9=1)


def test_a_config_survives_a_round_trip_among_foreign_keys() -> None:
    config = AbNetConfig("a", "b", encoder_adapter_dim=64, keep_cls=True)
    assert AbNetConfig.from_dict({**config.to_dict(), "_name": "abnet", "lr": [1]}) == config


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_presets_are_valid_and_can_be_overridden(preset: str) -> None:
    config = AbNetConfig.from_preset(preset, source_bert="a", target_bert="a", adapter_dropout=0.2)
    assert config.adapter_dropout == 0.2
    for name, value in PRESETS[preset].items():
        assert getattr(config, name) == value


def test_every_field_has_a_help_text() -> None:
    assert set(field_help()) == set(CONFIG_FIELDS)
    assert field_help()["encoder_adapter_dim"].startswith("Hidden size dAenc")
