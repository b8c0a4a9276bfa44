"""What a preset has gained since a checkpoint was written is not of its model."""

from __future__ import annotations

from fairseq.models import ARCH_CONFIG_REGISTRY
from omegaconf import OmegaConf

from abnet.systems import PRESETS
from fairseq_plugins.models.abnet_model import AbNetModel
from tests.conftest import TinyBerts


def test_a_choice_that_a_checkpoint_does_not_know_is_left_out(tiny_berts: TinyBerts) -> None:
    source, target = tiny_berts
    options = {"source_bert": source, "target_bert": target, "decoder_adapter_ffn_dim": 8}
    written = OmegaConf.create(options)
    ARCH_CONFIG_REGISTRY["abnet"](written)
    assert PRESETS["abnet"]["lexical_adapter_dim"]
    assert AbNetModel.build_model(written, None).abnet.encoder.lexical is None
