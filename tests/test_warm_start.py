from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from abnet.checkpoint import load_checkpoint, read_checkpoint, save_checkpoint, write_checkpoint
from abnet.errors import AbNetError
from tests.systems import Toys, lively_model, small_model, small_pairs
from tests.tiny import forget_case


@pytest.fixture(scope="module")
def starts(toys: Toys, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Checkpoints of three systems at toy size."""
    folder = tmp_path_factory.mktemp("starts")
    paths = {}
    for name in ("transformer_base", "mask_predict", "abnet_enc_ar", "abnet_ctc", "abnet"):
        paths[name] = str(folder / f"{name}.safetensors")
        save_checkpoint(paths[name], lively_model(name, toys))
    paths["pre_norm"] = str(folder / "pre_norm.safetensors")
    save_checkpoint(paths["pre_norm"], lively_model("mask_predict", toys, transformer_norm="pre"))
    return paths


@pytest.mark.parametrize(
    ("start", "name", "left"),
    [
        ("transformer_base", "bert_fused", []),
        ("transformer_base", "bert_fused_nat", []),
        ("transformer_base", "mask_predict", []),
        ("mask_predict", "bert_fused_nat", []),
        ("mask_predict", "bert_fused", ["encoder.length.table.weight"]),
        ("pre_norm", "bert_fused_nat", []),
    ],
)
def test_every_weight_of_the_transformer_is_taken(
    toys: Toys, starts: dict[str, str], caplog: pytest.LogCaptureFixture, start: str, name: str,
    left: list[str],
) -> None:  # fmt: skip
    theirs = read_checkpoint(starts[start]).weights
    with caplog.at_level(logging.INFO, logger="abnet.warm_start"):
        norm = "pre" if start == "pre_norm" else "post"
        changes = {"warm_start": starts[start], "transformer_norm": norm}
        model = small_model(name, toys, transformer_dropout=0.2, **changes)
    found = model.warm_start
    assert found is not None
    assert found.taken == sorted(theirs.keys() - set(left))
    assert found.left == left
    own = model.trained_state_dict()
    assert set(found.new) == own.keys() - theirs.keys()
    for weight in found.taken:
        assert own[weight].equal(theirs[weight])
    assert all("attention." in weight or "length." in weight for weight in found.new)
    parameters = sum(theirs[weight].numel() for weight in found.taken)
    said = f"{len(found.taken)} weights taken over ({parameters} parameters), {len(found.new)} new"
    assert said in caplog.text
    assert ("left in it (encoder.length.table.weight)" in caplog.text) == bool(left)


@pytest.mark.parametrize(
    ("start", "name", "left", "new"),
    [
        ("abnet_ctc", "abnet", "decoder.blank.", "encoder.length."),
        ("abnet", "abnet_ctc", "encoder.length.", "decoder.blank."),
        ("abnet", "abnet", "nothing", "nothing"),
    ],
)
def test_adapters_go_on_with_another_objective(
    toys: Toys, starts: dict[str, str], start: str, name: str, left: str, new: str
) -> None:
    theirs = read_checkpoint(starts[start]).weights
    model = small_model(name, toys, warm_start=starts[start])
    found = model.warm_start
    assert found is not None
    own = model.trained_state_dict()
    assert found.left == sorted(weight for weight in theirs if weight.startswith(left))
    assert found.new == sorted(weight for weight in own if weight.startswith(new))
    assert found.taken == sorted(theirs.keys() & own.keys())
    for weight in found.taken:
        assert own[weight].equal(theirs[weight])


def test_a_saved_model_needs_its_start_no_more(
    toys: Toys, starts: dict[str, str], tmp_path: Path
) -> None:
    start = tmp_path / "start.safetensors"
    start.write_bytes(Path(starts["transformer_base"]).read_bytes())
    model = small_model("bert_fused", toys, warm_start=str(start)).eval()
    save_checkpoint(tmp_path / "model.safetensors", model)
    start.unlink()
    assert read_checkpoint(tmp_path / "model.safetensors").config.warm_start == str(start)
    again = load_checkpoint(tmp_path / "model.safetensors")
    assert again.warm_start is None
    assert again.config.warm_start is None
    pairs = small_pairs(model)
    batch = pairs.source, pairs.target, pairs.target.ne(0)
    with torch.no_grad():
        torch.testing.assert_close(again(*batch).word_logits, model(*batch).word_logits)


@pytest.mark.parametrize(
    ("start", "name", "changes", "message"),
    [
        ("nothing", "bert_fused", {}, "There is no checkpoint 'nothing'"),
        ("abnet_enc_ar", "bert_fused", {}, "`warm_start` must be the checkpoint of a Transformer "),
        ("mask_predict", "abnet", {}, "must be the checkpoint of an AB-Net with adapters on both"),
        ("abnet_ctc", "abnet", {"spread_source": False}, "`spread_source` must be True as in the"),
        ("abnet", "abnet", {"decoder_adapter_norm": "post"}, "`decoder_adapter_norm` must be 'pre"),
        ("abnet", "abnet", {"train": "all"}, "`train` must be 'adapters' as in the checkpoint"),
        (
            "transformer_base",
            "bert_fused",
            {"transformer_dim": 32},
            "`transformer_dim` must be 16 as in the checkpoint .*, but is 32 instead",
        ),
        (
            "transformer_base",
            "bert_fused",
            {"transformer_decoder_layers": 3},
            "`transformer_decoder_layers` must be 2 as in",
        ),
        ("transformer_base", "bert_fused", {"transformer_heads": 2}, "`transformer_heads` must be"),
        (
            "transformer_base",
            "bert_fused",
            {"transformer_norm": "pre"},
            "`transformer_norm` must",
        ),
        ("mask_predict", "bert_fused_nat", {"length_classes": 40}, "`length_classes` must be 48"),
        ("abnet_ctc", "abnet_ctc", {"frames_per_piece": 3}, "`frames_per_piece` must be 2 as in"),
    ],
)
def test_another_shape_is_refused(
    toys: Toys, starts: dict[str, str], start: str, name: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(AbNetError, match=message):
        small_model(name, toys, warm_start=starts.get(start, start), **changes)


def test_frames_are_of_one_objective(toys: Toys, starts: dict[str, str]) -> None:
    model = small_model("abnet_dag", toys, warm_start=starts["abnet_ctc"], frames_per_piece=3)
    assert model.warm_start is not None
    assert model.warm_start.taken


def test_another_vocabulary_is_refused(toys: Toys, starts: dict[str, str]) -> None:
    swapped = toys._replace(german=toys.english, english=toys.german)
    with pytest.raises(AbNetError, match=r"with the vocabulary of the source BERT .* other pieces"):
        small_model("bert_fused", swapped, warm_start=starts["transformer_base"])


def test_pieces_of_another_tokenizer_are_refused(
    toys: Toys, starts: dict[str, str], tmp_path: Path
) -> None:
    lower = forget_case(shutil.copytree(toys.german, tmp_path / "lower"))
    with pytest.raises(AbNetError, match=r"cut into pieces as the source BERT .*lower' cuts it"):
        small_model(
            "bert_fused", toys._replace(german=str(lower)), warm_start=starts["transformer_base"]
        )


def test_adapters_of_other_berts_are_refused(toys: Toys, starts: dict[str, str]) -> None:
    swapped = toys._replace(german=toys.english, english=toys.german)
    with pytest.raises(AbNetError, match="of the source BERT must be what the checkpoint was"):
        small_model("abnet", swapped, warm_start=starts["abnet"])


def test_a_checkpoint_that_lacks_a_weight_is_refused(
    toys: Toys, starts: dict[str, str], tmp_path: Path
) -> None:
    contents = read_checkpoint(starts["transformer_base"])
    weights = dict(contents.weights)
    name = "decoder.adapters.1.attention.q_proj.weight"
    weights["decoder.adapters.1.q.weight"] = weights.pop(name)
    write_checkpoint(tmp_path / "other.safetensors", contents._replace(weights=weights))
    message = rf"1 are missing \({name}\) and 1 do not fit \(decoder\.adapters\.1\.q\.weight\)"
    with pytest.raises(AbNetError, match=message):
        small_model("bert_fused", toys, warm_start=str(tmp_path / "other.safetensors"))
