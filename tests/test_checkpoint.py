from __future__ import annotations

import json
import os
import pickle
import random
import resource
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoModelForMaskedLM

from abnet.averaging import (
    average_checkpoints,
)
from abnet.checkpoint import (
    FAIRSEQ_IDENTITY,
    FAIRSEQ_PREFIX,
    load_checkpoint,
    read_checkpoint,
    save_checkpoint,
    write_checkpoint,
)
from abnet.errors import AbNetError
from abnet.identity import BertIdentity, identities_to_json
from abnet.model import AbNet
from abnet.tokenizer import Tokenizer
from tests.batches import batch
from tests.conftest import TinyBerts
from tests.tiny import GERMAN, make_bert


def length_logits(model: AbNet) -> torch.Tensor:
    assert model.source_tokenizer is not None
    with torch.no_grad():
        return model.eval().encode(batch(model.source_tokenizer, GERMAN)).length_logits


def save_fairseq(path: Path, model: AbNet, largest: bool = False, **extra: object) -> None:
    """A file of the layout that fairseq's trainer writes with the plugin."""
    identity = identities_to_json(model.identities).encode()
    weights = {FAIRSEQ_PREFIX + name: w.clone() for name, w in model.trained_state_dict().items()}
    state = {
        "cfg": {
            "model": {**model.config.to_dict(), "_name": "abnet"},
            "checkpoint": {"maximize_best_checkpoint_metric": largest},
        },
        "model": {**weights, FAIRSEQ_IDENTITY: torch.tensor(list(identity), dtype=torch.uint8)},
        "last_optimizer_state": {"step": 3},
        "extra_state": {"epoch": 1},
        **extra,
    }
    torch.save(state, path)


def test_a_checkpoint_is_the_trained_weights_and_gives_the_model_back(
    tiny_model: AbNet, tmp_path: Path
) -> None:
    path = tmp_path / "deep" / "model.safetensors"
    save_checkpoint(path, tiny_model)
    with safe_open(path, framework="pt") as file:
        assert set(file.keys()) == {n for n, p in tiny_model.named_parameters() if p.requires_grad}
        identities = json.loads(file.metadata()["identities"])
    trained_bytes = sum(w.numel() * 4 for w in tiny_model.trained_state_dict().values())
    assert path.stat().st_size < trained_bytes + 10_000
    assert identities["source"]["weight_hash"].startswith("sha256:")
    again = load_checkpoint(path)
    assert again.config == tiny_model.config
    torch.testing.assert_close(length_logits(again), length_logits(tiny_model), atol=0, rtol=0)


def test_a_trained_head_comes_back_with_the_checkpoint(tiny_model: AbNet, tmp_path: Path) -> None:
    model = AbNet.from_pretrained(replace(tiny_model.config, train_head="transform"))
    for parameter in model.decoder.backbone.head_parameters("transform"):
        parameter.data.add_(0.5)
    save_checkpoint(tmp_path / "model.safetensors", model)
    again = load_checkpoint(tmp_path / "model.safetensors")  # for which the BERTs must be the same
    head = again.decoder.lm_head.state_dict()
    assert all(
        weight.equal(head[name]) for name, weight in model.decoder.lm_head.named_parameters()
    )


def test_a_fairseq_file_loads_without_fairseq(tiny_model: AbNet, tmp_path: Path) -> None:
    save_fairseq(tmp_path / "checkpoint1.pt", tiny_model)
    again = load_checkpoint(tmp_path / "checkpoint1.pt")
    torch.testing.assert_close(length_logits(again), length_logits(tiny_model), atol=0, rtol=0)


def test_a_file_is_read_by_what_it_holds_whatever_it_is_called(
    tiny_model: AbNet, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "own.pt", tiny_model)
    save_fairseq(tmp_path / "fairseq.safetensors", tiny_model)
    for name in ("own.pt", "fairseq.safetensors"):
        again = load_checkpoint(tmp_path / name)
        torch.testing.assert_close(length_logits(again), length_logits(tiny_model), atol=0, rtol=0)
    assert not read_checkpoint(tmp_path / "own.pt").envelope
    assert read_checkpoint(tmp_path / "fairseq.safetensors").envelope
    (tmp_path / "empty.safetensors").touch()
    with pytest.raises(AbNetError, match="it is truncated, damaged"):
        read_checkpoint(tmp_path / "empty.safetensors")


def test_a_fairseq_file_becomes_the_librarys_by_its_new_name(
    tiny_model: AbNet, tmp_path: Path
) -> None:
    save_fairseq(tmp_path / "checkpoint1.pt", tiny_model)
    contents = read_checkpoint(tmp_path / "checkpoint1.pt")
    write_checkpoint(tmp_path / "model.safetensors", contents)
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        assert set(file.keys()) == contents.weights.keys()
    found = read_checkpoint(tmp_path / "model.safetensors")
    assert (found.config, found.identities) == (contents.config, contents.identities)
    assert all(torch.equal(found.weights[n], w) for n, w in contents.weights.items())


def test_a_moved_bert_is_found_by_an_override(
    tiny_model: AbNet, tiny_berts: TinyBerts, tmp_path: Path
) -> None:
    config = replace(tiny_model.config, source_bert="/moved/away")
    contents = read_after(tmp_path, tiny_model)._replace(config=config)
    write_checkpoint(tmp_path / "moved.safetensors", contents)
    with pytest.raises(AbNetError, match="/moved/away"):
        load_checkpoint(tmp_path / "moved.safetensors")
    load_checkpoint(tmp_path / "moved.safetensors", {"source_bert": tiny_berts.german})


def read_after(folder: Path, model: AbNet):  # type: ignore[no-untyped-def]
    save_checkpoint(folder / "read.safetensors", model)
    return read_checkpoint(folder / "read.safetensors")


def test_a_misspelt_override_is_refused(tiny_model: AbNet, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "model.safetensors", tiny_model)
    with pytest.raises(AbNetError, match=r"`sourcebert` is no field .* is source_bert"):
        load_checkpoint(tmp_path / "model.safetensors", {"sourcebert": "elsewhere"})


def test_a_bert_with_another_vocabulary_is_refused(tiny_model: AbNet, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "model.safetensors", tiny_model)
    other = make_bert(tmp_path / "other", [*GERMAN, "Zebra Yak Xylophon"], seed=1)
    with pytest.raises(AbNetError, match="The vocabulary of the source BERT must be what"):
        load_checkpoint(tmp_path / "model.safetensors", {"source_bert": str(other)})


def test_a_bert_with_other_weights_is_refused(
    tiny_model: AbNet, tiny_berts: TinyBerts, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "model.safetensors", tiny_model)
    other = shutil.copytree(tiny_berts.german, tmp_path / "other")
    bert = AutoModelForMaskedLM.from_pretrained(other)
    with torch.no_grad():
        bert.get_input_embeddings().weight[7, 7] += 1e-5
    bert.save_pretrained(other)
    with pytest.raises(AbNetError, match="The weights of the source BERT must be what"):
        load_checkpoint(tmp_path / "model.safetensors", {"source_bert": str(other)})


def test_a_bert_whose_tokenizer_cuts_otherwise_is_refused(
    tiny_model: AbNet, tiny_berts: TinyBerts, tmp_path: Path
) -> None:
    """As transformers reads a folder without the tokenizer's settings: in lower case."""
    save_checkpoint(tmp_path / "model.safetensors", tiny_model)
    other = tmp_path / "other"
    other.mkdir()
    for name in ("config.json", "model.safetensors", "vocab.txt"):
        shutil.copy(Path(tiny_berts.german) / name, other)
    assert Tokenizer.from_pretrained(str(other)).pieces("Hund")[0] == "h"
    message = r"The pieces of a text of the source BERT must be .* tokenizer_config\.json included"
    with pytest.raises(AbNetError, match=message):
        load_checkpoint(tmp_path / "model.safetensors", {"source_bert": str(other)})


@pytest.mark.parametrize(("name", "value"), [("num_attention_heads", 2), ("hidden_act", "relu")])
def test_a_bert_that_computes_otherwise_is_refused(
    tiny_model: AbNet, tiny_berts: TinyBerts, tmp_path: Path, name: str, value: object
) -> None:
    save_checkpoint(tmp_path / "model.safetensors", tiny_model)
    other = shutil.copytree(tiny_berts.english, tmp_path / "other")
    settings = json.loads((other / "config.json").read_text("utf-8"))
    (other / "config.json").write_text(json.dumps({**settings, name: value}), "utf-8")
    with pytest.raises(AbNetError, match=rf"The settings of the target BERT .* {value}.* instead"):
        load_checkpoint(tmp_path / "model.safetensors", {"target_bert": str(other)})


def test_what_older_checkpoints_do_not_record_is_not_asked_of_them(
    tiny_model: AbNet, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "model.safetensors", tiny_model)
    contents = read_checkpoint(tmp_path / "model.safetensors")
    older = {
        side: BertIdentity(one.name, one.vocab_hash, one.weight_hash)
        for side, one in contents.identities.items()
    }
    write_checkpoint(tmp_path / "older.safetensors", contents._replace(identities=older))
    loaded = load_checkpoint(tmp_path / "older.safetensors")
    assert loaded.identities == contents.identities
    paths = [tmp_path / f"{name}.safetensors" for name in ("model", "older")]
    assert average_checkpoints(paths).identities == contents.identities


def test_missing_truncated_and_foreign_files_are_refused(tiny_model: AbNet, tmp_path: Path) -> None:
    with pytest.raises(AbNetError, match="There is no checkpoint"):
        load_checkpoint(tmp_path / "none.pt")
    for name in ("model.safetensors", "model.pt"):
        path = tmp_path / name
        save_fairseq(path, tiny_model) if name.endswith("pt") else save_checkpoint(path, tiny_model)
        path.write_bytes(path.read_bytes()[:-2000])
        with pytest.raises(AbNetError, match="cannot be read: it is truncated, damaged"):
            load_checkpoint(path)
    torch.save({"model": {"weight": torch.zeros(2)}}, tmp_path / "foreign.pt")
    with pytest.raises(AbNetError, match="records no BERTs"):
        load_checkpoint(tmp_path / "foreign.pt")
    save_file({"weight": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(AbNetError, match="is another safetensors file"):
        load_checkpoint(tmp_path / "foreign.safetensors")


@pytest.mark.parametrize("name", ["model.safetensors", "model.pt"])
def test_a_flipped_byte_changes_nothing_silently(
    tiny_model: AbNet, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    save_fairseq(path, tiny_model) if name.endswith("pt") else save_checkpoint(path, tiny_model)
    whole, refused = path.read_bytes(), 0
    contents = read_checkpoint(path)
    flips = random.Random(1).sample(range(len(whole)), 40)
    for place in flips:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        try:
            found = read_checkpoint(path)
        except AbNetError as error:
            assert "is truncated, damaged" in str(error)  # noqa: PT017 - some are only padding
            refused += 1
            continue
        assert found.config == contents.config
        assert all(torch.equal(found.weights[n], w) for n, w in contents.weights.items())
    assert refused > 30


class Trap:
    """Runs a command when it is unpickled carelessly."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.system, (f"touch {self.mark}",))


def test_a_malicious_file_runs_nothing(tiny_model: AbNet, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    save_fairseq(tmp_path / "trap.pt", tiny_model, extra=Trap(mark))
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Trap(mark)))
    for name in ("trap.pt", "plain.pt"):
        with pytest.raises(AbNetError, match="need code to be executed"):
            load_checkpoint(tmp_path / name)
    assert not mark.exists()


def test_a_full_disk_leaves_the_previous_checkpoint(tiny_model: AbNet, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, tiny_model)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(AbNetError, match=r"cannot be written .*; an older one is untouched"):
            save_checkpoint(path, tiny_model)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


def test_a_folder_that_cannot_be_made_is_named(tiny_model: AbNet, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder.safetensors").mkdir()
    for path in (
        tmp_path / "file" / "model.safetensors",
        tmp_path / "file" / "deep" / "model.safetensors",
        Path("/proc/abnet/model.safetensors"),
        tmp_path / "folder.safetensors",
    ):
        with pytest.raises(AbNetError, match=f"The checkpoint '{path}' cannot be written"):
            save_checkpoint(path, tiny_model)
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.safetensors"]


def test_a_record_of_the_berts_that_is_damaged_is_refused(
    tiny_model: AbNet, tmp_path: Path
) -> None:
    save_fairseq(tmp_path / "checkpoint1.pt", tiny_model)
    state = torch.load(tmp_path / "checkpoint1.pt", weights_only=True)
    state["model"][FAIRSEQ_IDENTITY] = torch.tensor([1, 2, 3], dtype=torch.uint8)
    torch.save(state, tmp_path / "checkpoint1.pt")
    with pytest.raises(AbNetError, match="record of its BERTs is damaged"):
        read_checkpoint(tmp_path / "checkpoint1.pt")


def test_others_may_read_it_where_they_may_read_a_new_file(
    tiny_model: AbNet, tmp_path: Path
) -> None:
    (tmp_path / "new").touch()
    save_checkpoint(tmp_path / "model.safetensors", tiny_model)
    modes = [(tmp_path / name).stat().st_mode for name in ("new", "model.safetensors")]
    assert modes[0] == modes[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.safetensors", "new"]
