"""The masked LM that pre-training continues."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import transformers
from transformers import AutoModel, AutoTokenizer

from abnet.errors import AbNetError
from abnet.pretraining.masked_lm_model import LeanBertForMaskedLM, load_masked_lm, positions_of
from tests.conftest import TinyBerts
from tests.tiny import GERMAN, make_bert, random_model


@pytest.mark.parametrize("kind", ["bert", "roberta", "electra", "distilbert"])
def test_continued_model_is_in_32_bits(tmp_path: Path, kind: str) -> None:
    folder = str(make_bert(tmp_path / "bert", GERMAN, seed=1, kind=kind))
    model = transformers.AutoModelForMaskedLM.from_pretrained(folder)
    model.half().save_pretrained(folder)
    _, loaded = load_masked_lm(folder)
    assert isinstance(loaded, type(model))
    assert isinstance(loaded, LeanBertForMaskedLM) == (kind == "bert")
    for (name, ours), theirs in zip(loaded.named_parameters(), model.parameters(), strict=True):
        assert ours.dtype == torch.float32
        assert torch.equal(ours, theirs.float()), name


def test_a_new_head_is_that_of_the_seed(tiny_berts: TinyBerts, tmp_path: Path) -> None:
    AutoTokenizer.from_pretrained(tiny_berts.german).save_pretrained(tmp_path)
    AutoModel.from_pretrained(tiny_berts.german).save_pretrained(tmp_path)
    heads = [
        load_masked_lm(str(tmp_path), head_only=True, seed=seed)[1].get_parameter(
            "cls.predictions.transform.dense.weight"
        )
        for seed in (1, 1, 2)
    ]
    assert heads[0].equal(heads[1])
    assert not heads[0].equal(heads[2])


@pytest.mark.parametrize(("kind", "padding", "longest"), [("bert", 0, 48), ("roberta", 7, 40)])
def test_positions_are_those_behind_the_padding(kind: str, padding: int, longest: int) -> None:
    config = random_model(kind, vocab_size=50).config
    config.pad_token_id = padding
    assert positions_of(config) == longest


def test_continued_model_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(AbNetError, match=r"existing folder, but .*/no-bert is no folder"):
        load_masked_lm(str(tmp_path / "no-bert"))


def test_continued_model_must_have_a_tokenizer(tmp_path: Path) -> None:
    random_model("bert", vocab_size=50).save_pretrained(tmp_path)
    with pytest.raises(AbNetError, match=f"{tmp_path} must hold a tokenizer .*there is none"):
        load_masked_lm(str(tmp_path))


def test_continued_model_must_have_weights(tmp_path: Path) -> None:
    folder = make_bert(tmp_path / "bert", GERMAN, seed=1)
    (folder / "model.safetensors").unlink()
    with pytest.raises(AbNetError, match=f"masked language model, but {folder} cannot be loaded"):
        load_masked_lm(str(folder))


def test_continued_model_must_be_a_masked_lm(tiny_berts: TinyBerts, tmp_path: Path) -> None:
    AutoTokenizer.from_pretrained(tiny_berts.german).save_pretrained(tmp_path)
    config = transformers.GPT2Config(vocab_size=50, n_embd=8, n_layer=1, n_head=1)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path)
    with pytest.raises(AbNetError, match=f"masked language model, but {tmp_path} cannot be loaded"):
        load_masked_lm(str(tmp_path))


def test_continued_model_must_have_its_head(tiny_berts: TinyBerts, tmp_path: Path) -> None:
    """A new random head would not be the BERT that was asked for."""
    AutoTokenizer.from_pretrained(tiny_berts.german).save_pretrained(tmp_path)
    AutoModel.from_pretrained(tiny_berts.german).save_pretrained(tmp_path)
    with pytest.raises(AbNetError, match=rf"of {tmp_path} \d are missing: cls\.predictions\."):
        load_masked_lm(str(tmp_path))


def test_continued_model_must_have_a_row_for_each_piece(
    tiny_berts: TinyBerts, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_berts.german, tmp_path / "added")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<num>"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(AbNetError, match=r"must fit its BERT's \d+ embeddings, but has \d+ pieces"):
        load_masked_lm(str(folder))
