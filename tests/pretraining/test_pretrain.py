"""`abnet pretrain`: the folder that it writes, continuing, resuming, refusing."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM, AutoTokenizer

from abnet.backbone import load_backbone
from abnet.errors import AbNetError
from abnet.pretraining import masked_lm
from abnet.pretraining.pretrain import BertShape, PretrainingReport, pretrain
from abnet.tokenizer import Tokenizer
from tests.conftest import TinyBerts
from tests.short_pretraining import SHAPE, WORDS, continuing, options
from tests.tiny import GERMAN, make_bert


class Made:
    """A finished run."""

    def __init__(self, folder: Path, report: PretrainingReport) -> None:
        self.folder = folder
        self.report = report
        self.weights = load_file(folder / "model.safetensors")


@pytest.fixture(scope="module")
def made(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("made") / "new" / "bert"
    excluded = folder.parents[1] / "valid.de"
    excluded.write_text(f"\n  EINS {GERMAN[0]}\nanother line\n", encoding="utf-8")
    return Made(folder, pretrain([text], folder, options(), [excluded]))


def content(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Time and bytes of every file."""
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    assert ours.keys() == theirs.keys()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_result_is_a_hugging_face_folder(made: Made) -> None:
    assert {path.name for path in made.folder.iterdir()} == {
        "config.json",
        "model.safetensors",
        "pretraining.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
    }
    model, report = AutoModelForMaskedLM.from_pretrained(made.folder, output_loading_info=True)
    assert type(model) is transformers.BertForMaskedLM
    assert model.config.architectures == ["BertForMaskedLM"]
    assert not any(report.values())
    tokenizer = AutoTokenizer.from_pretrained(made.folder)
    batch = tokenizer(GERMAN, padding=True, truncation=True, return_tensors="pt")
    assert batch.input_ids.shape == (8, 24)
    loss = model.eval()(**batch, labels=batch.input_ids).loss
    assert loss.item() == pytest.approx(math.log(len(tokenizer)), rel=0.2)  # it has learned little


def test_result_is_what_was_asked_for(made: Made) -> None:
    config = AutoModelForMaskedLM.from_pretrained(made.folder).config
    assert config.num_hidden_layers == 1
    assert config.hidden_size == 16
    assert config.num_attention_heads == 2
    assert config.intermediate_size == 32
    assert config.max_position_embeddings == 24
    assert config.hidden_dropout_prob == config.attention_probs_dropout_prob == 0.1
    pieces = (made.folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    assert pieces == Tokenizer.from_pretrained(str(made.folder)).vocabulary
    assert config.vocab_size == len(pieces) == made.report.vocab_size <= 120
    assert config.pad_token_id == 0


def test_abnet_takes_the_result(made: Made) -> None:
    backbone = load_backbone(str(made.folder), with_head=True, dropout=0.0)
    tokenizer = Tokenizer.from_pretrained(str(made.folder))
    assert backbone.vocab_size == len(tokenizer.vocabulary)
    assert backbone.max_positions == 24
    assert tokenizer.decode(tokenizer.encode(GERMAN[0])) == GERMAN[0].replace(" .", ".")


def test_report(made: Made) -> None:
    saved = json.loads((made.folder / "pretraining.json").read_text(encoding="utf-8"))
    assert saved == dataclasses.asdict(made.report)
    report = made.report
    assert (report.lines, report.held_out_lines, report.dropped_lines) == (62, 1, 1)
    assert report.updates == 6
    assert report.parameters == sum(weight.numel() for weight in made.weights.values())
    assert 0.0 <= report.masked_accuracy <= 1.0
    assert report.versions["torch"] == torch.__version__
    assert list(report.settings["texts"]) == ["text.de"]
    assert report.settings["shape"] == dataclasses.asdict(SHAPE)


def test_training_text_only_makes_the_vocabulary(text: Path, tmp_path: Path) -> None:
    """An excluded letter is in no piece."""
    (tmp_path / "more.de").write_text("żółw żółw\nżółw żółw\n", encoding="utf-8")
    texts = [text, tmp_path / "more.de"]
    pretrain(texts, tmp_path / "bert", options(updates=1), [tmp_path / "more.de"])
    assert "ż" not in (tmp_path / "bert/vocab.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("changes", [{"lowercase": True}, {"with_cls": False}])
def test_case_and_cls(text: Path, tmp_path: Path, changes: dict[str, bool]) -> None:
    pretrain([text], tmp_path / "bert", options(updates=1, **changes))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "bert")
    pieces = tokenizer.convert_ids_to_tokens(tokenizer("der Mann läuft").input_ids)
    assert ("[CLS]" in pieces) == ("with_cls" not in changes)
    assert pieces[-1] == "[SEP]"
    ours = Tokenizer.from_pretrained(str(tmp_path / "bert"))
    assert ours.lowercases == ("lowercase" in changes)
    assert "ä" in "".join(ours.pieces("der Mann läuft"))


def test_seed_decides(made: Made, text: Path, tmp_path: Path) -> None:
    exclude = [made.folder.parents[1] / "valid.de"]
    again = Made(tmp_path / "a", pretrain([text], tmp_path / "a", options(), exclude))
    assert same(again.weights, made.weights)
    assert again.report.masked_accuracy == made.report.masked_accuracy
    other = Made(tmp_path / "b", pretrain([text], tmp_path / "b", options(seed=2), exclude))
    name = "bert.encoder.layer.0.output.dense.weight"
    assert not torch.equal(other.weights[name], made.weights[name])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_learns_to_predict(tmp_path: Path, precision: str) -> None:
    """Eight lines of one word each, in many copies that differ in length only."""
    lines = [" ".join([word] * count) for word in WORDS for count in range(2, 12)]
    (tmp_path / "text").write_text("\n".join(lines), encoding="utf-8")
    report = pretrain(
        [tmp_path / "text"],
        tmp_path / "bert",
        options(
            updates=150,
            learning_rate=1e-2,
            dropout=0.0,
            precision=precision,
            shape=dataclasses.replace(SHAPE, vocab_size=500),
        ),
    )
    model = AutoModelForMaskedLM.from_pretrained(tmp_path / "bert").eval()
    assert model.dtype == torch.float32
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "bert")
    assert report.held_out_lines == 1
    for word in WORDS:
        inputs = tokenizer(f"{word} [MASK] {word} {word}", return_tensors="pt")
        predicted = tokenizer.decode(model(**inputs).logits[0, 2].argmax())
        assert predicted == word


def test_budget_in_minutes(text: Path, tmp_path: Path) -> None:
    report = pretrain([text], tmp_path / "bert", options(updates=None, minutes=0.01))
    assert report.updates >= 1
    assert report.seconds >= 0.6


class StoppedError(Exception):
    pass


def interrupt(step: int, whole: bool, patch: pytest.MonkeyPatch) -> None:
    """Stops a run as this checkpoint is being written, or right after."""
    on_save = masked_lm.Budget.on_save

    def stop(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == step and not whole:
            raise StoppedError
        on_save(self, args, state, control, **kwargs)
        if state.global_step == step:
            raise StoppedError

    patch.setattr(masked_lm.Budget, "on_save", stop)


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[list[list[int]]]:
    """Sequences of every batch that is masked from here on."""
    seen: list[list[list[int]]] = []
    collate = masked_lm.MaskingCollator.__call__

    def record(self: Any, features: Any) -> Any:
        seen.append([feature["input_ids"] for feature in features])
        return collate(self, features)

    monkeypatch.setattr(masked_lm.MaskingCollator, "__call__", record)
    return seen


@pytest.mark.parametrize(
    ("stop", "whole", "last"),
    [(13, True, 13), (11, False, 10)],
    ids=["within an epoch", "from the checkpoint before a broken one"],
)
def test_resumed_run_goes_on(
    text: Path,
    tmp_path: Path,
    batches: list[list[list[int]]],
    stop: int,
    whole: bool,
    last: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Same batches in the same order; from the end of an epoch on, same weights to the bit."""
    expected = Made(tmp_path / "whole", pretrain([text], tmp_path / "whole", options(updates=23)))
    order = batches[:23]
    first, second = list(chain(*order[:10])), list(chain(*order[10:20]))
    assert sorted(first) == sorted(second)  # two epochs of ten batches, in different order
    assert first != second
    assert len(first) > 60
    with monkeypatch.context() as patch:
        interrupt(stop, whole, patch)
        with pytest.raises(StoppedError):
            pretrain([text], tmp_path / "cut", options(updates=23, save_minutes=1e-9))
    work = tmp_path / "cut/training"
    assert (work / f"checkpoint-{stop}").exists()
    checkpoint = work / f"checkpoint-{last}"
    assert masked_lm.last_checkpoint(work) == checkpoint
    (checkpoint / "seconds.json").write_text("1000.0")
    batches.clear()
    resumed = options(updates=23, resume=True)
    ours = Made(tmp_path / "cut", pretrain([text], tmp_path / "cut", resumed))
    assert batches[: 23 - last] == order[last:]
    assert ours.report.updates == 23
    assert 1000.0 < ours.report.seconds < 1100.0
    assert same(ours.weights, expected.weights) == (last == 10)
    for name, weight in ours.weights.items():
        torch.testing.assert_close(weight, expected.weights[name], rtol=0, atol=0.01)
    assert not work.exists()


def test_resumed_run_with_other_settings(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(2, True, monkeypatch)
    with pytest.raises(StoppedError):
        pretrain([text], tmp_path / "cut", options(save_minutes=1e-9))
    before = content(tmp_path / "cut")
    with pytest.raises(AbNetError, match=r"cut was begun with other settings \(learning_rate, see"):
        pretrain([text], tmp_path / "cut", options(seed=2, learning_rate=1.0, resume=True))
    with pytest.raises(AbNetError, match=r"must be a new or empty folder, but .*add --resume"):
        pretrain([text], tmp_path / "cut", options())
    assert content(tmp_path / "cut") == before


def test_finished_run_is_kept(made: Made, text: Path) -> None:
    before = content(made.folder)
    exclude = [made.folder.parents[1] / "valid.de"]
    assert pretrain([text], made.folder, options(resume=True), exclude) == made.report
    with pytest.raises(AbNetError, match=r"begun with other settings \(excluded, dropped_lines\)"):
        pretrain([text], made.folder, options(resume=True))
    with pytest.raises(AbNetError, match=r"begun with other settings \(updates\)"):
        pretrain([text], made.folder, options(resume=True, updates=7), exclude)
    with pytest.raises(AbNetError, match="must be a new or empty folder"):
        pretrain([text], made.folder, options(), exclude)
    assert content(made.folder) == before


def test_resume_begins_a_new_run(text: Path, tmp_path: Path) -> None:
    """One command line for the first time and every other."""
    assert pretrain([text], tmp_path, options(updates=1, resume=True)).updates == 1


def test_folder_with_something_else(text: Path, tmp_path: Path) -> None:
    folder = tmp_path / "full"
    folder.mkdir()
    (folder / "note").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for output in (folder, tmp_path / "file"):
        with pytest.raises(AbNetError, match=f"but {output} is not; to go on"):
            pretrain([text], output, options())
        with pytest.raises(AbNetError, match=f"but {output} is not; it holds no run to resume"):
            pretrain([text], output, options(resume=True))
    assert (folder / "note").read_text() == (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_continued_bert(text: Path, tmp_path: Path, kind: str) -> None:
    """Same vocabulary and shape; the first update has learning rate 0, so weights stay too."""
    start = make_bert(tmp_path / "start", GERMAN, seed=1, kind=kind)
    pretrain([text], tmp_path / "one", continuing(start, updates=1))
    pretrain([text], tmp_path / "many", continuing(start, updates=5))
    begun, one, many = (
        load_file(tmp_path / name / "model.safetensors") for name in ("start", "one", "many")
    )
    assert same(one, begun)
    change = {name: (many[name] - begun[name]).abs().max() for name in begun}
    assert max(change.values()) < 5 * 5e-4 * 1.1
    assert sum(value > 0 for value in change.values()) > len(change) * 0.8
    for folder in ("one", "many"):
        ours, theirs = (
            Tokenizer.from_pretrained(str(tmp_path / name)) for name in (folder, "start")
        )
        assert ours.vocabulary == theirs.vocabulary
        assert ours.encode(GERMAN[1]) == theirs.encode(GERMAN[1])
        config = transformers.AutoConfig.from_pretrained(tmp_path / folder)
        assert config.model_type == kind
        assert config.architectures == transformers.AutoConfig.from_pretrained(start).architectures
        load_backbone(str(tmp_path / folder), with_head=True, dropout=0.0)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_head_only(text: Path, tmp_path: Path, kind: str) -> None:
    """An encoder without a head gets one; its own weights stay as they are."""
    start = make_bert(tmp_path / "start", GERMAN, seed=1, kind=kind)
    transformers.AutoModel.from_pretrained(start).save_pretrained(start)
    with pytest.raises(AbNetError, match="`--head-only` makes one"):
        pretrain([text], tmp_path / "all", continuing(start, updates=1))
    for name, updates in (("few", 1), ("many", 60)):
        chosen = continuing(start, updates=updates, head_only=True, learning_rate=5e-3)
        pretrain([text], tmp_path / name, chosen)
    begun = transformers.AutoModel.from_pretrained(start).state_dict()
    trained = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "many")
    trunk = trained.base_model.state_dict()
    assert all(trunk[name].equal(begun[name]) for name in trunk)
    load_backbone(str(tmp_path / "many"), with_head=True, dropout=0.0)
    tokens = AutoTokenizer.from_pretrained(start)(GERMAN, padding=True, return_tensors="pt")
    labels = tokens.input_ids.masked_fill(tokens.attention_mask.eq(0), -100)
    untrained = AutoModelForMaskedLM.from_pretrained(tmp_path / "few")
    with torch.no_grad():
        before, after = (model(**tokens, labels=labels).loss for model in (untrained, trained))
    assert after < before - 0.5


def test_failed_start_leaves_no_folder(text: Path, tmp_path: Path, tiny_berts: TinyBerts) -> None:
    """So that the right command works after the wrong one."""
    output = tmp_path / "bert"
    with pytest.raises(AbNetError, match="no-bert is no folder"):
        pretrain([text], output, continuing(tmp_path / "no-bert"))
    with pytest.raises(AbNetError, match="`vocab_size` must be more than"):
        pretrain([text], output, options(shape=BertShape(vocab_size=5)))
    with pytest.raises(AbNetError, match="Cannot read"):
        pretrain([tmp_path / "missing"], output, options())
    if not torch.cuda.is_available():
        with pytest.raises(AbNetError, match="fp16 needs a GPU"):
            pretrain([text], output, options(precision="fp16"))
    assert not output.exists()
    assert pretrain([text], output, continuing(tiny_berts.german, updates=1)).updates == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 3}, r"`heads` must divide `hidden` \(256\), but is 3 instead"),
        ({"layers": 0}, r"`layers` must be at least 1, but is 0 instead"),
        ({"hidden": -4}, r"`hidden` must be at least 1, but is -4 instead"),
        ({"heads": 0}, r"`heads` must be at least 1, but is 0 instead"),
        ({"ffn": 0}, r"`ffn` must be at least 1"),
        ({"vocab_size": 0}, r"`vocab_size` must be at least 1"),
        ({"max_positions": 3}, r"`max_positions` must be at least 4, but is 3 instead"),
    ],
)
def test_impossible_shapes(changes: dict[str, int], message: str) -> None:
    with pytest.raises(AbNetError, match=message):
        BertShape(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"minutes": 1.0}, "give either `updates` or `minutes`"),
        ({"updates": None}, "give either `updates` or `minutes`"),
        ({"head_only": True}, "`head_only` must come with `start`"),
        ({"start": "bert"}, "either the shape of a new BERT or one to continue, not both"),
        ({"shape": None}, "either the shape of a new BERT or one to continue"),
        ({"updates": 0}, "`updates` must be positive, but is 0 instead"),
        ({"updates": None, "minutes": -1.0}, "`minutes` must be positive, but is -1.0 instead"),
        ({"batch_tokens": 0}, "`batch_tokens` must be positive"),
        ({"learning_rate": 0.0}, "`learning_rate` must be positive"),
        ({"save_minutes": 0.0}, "`save_minutes` must be positive"),
        ({"dropout": 1.0}, r"`dropout` must be in \[0, 1\), but is 1.0 instead"),
        ({"mask_share": 0.0}, r"`mask_share` must be in \(0, 1\), but is 0.0 instead"),
        ({"mask_share": 1.0}, r"`mask_share` must be in \(0, 1\), but is 1.0 instead"),
        ({"masking": "whole"}, "`masking` must be 'bert' or 'decoder', but is 'whole' instead"),
        ({"precision": "fp8"}, "`precision` must be 'fp32', 'bf16' or 'fp16', but is 'fp8'"),
    ],
)
def test_impossible_options(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(AbNetError, match=message):
        options(**changes)


def test_other_excluded_text_is_another_setting(text: Path, tmp_path: Path) -> None:
    """As many lines dropped, but not the same ones."""
    files = [tmp_path / "a", tmp_path / "b"]
    for at, file in enumerate(files):
        file.write_text(text.read_text("utf-8").splitlines()[at] + "\n", encoding="utf-8")
    pretrain([text], tmp_path / "bert", options(), files[:1])
    with pytest.raises(AbNetError, match=r"begun with other settings \(excluded\)"):
        pretrain([text], tmp_path / "bert", options(resume=True), files[1:])
    report = pretrain([text], tmp_path / "bert", options(resume=True), files[:1])
    assert report.dropped_lines == 1


def test_settings_of_an_earlier_version_say_nothing_of_newer_ones(
    made: Made, text: Path, tmp_path: Path
) -> None:
    shutil.copytree(made.folder, tmp_path / "bert")
    report = tmp_path / "bert" / "pretraining.json"
    told = json.loads(report.read_text())
    del told["settings"]["excluded"]
    report.write_text(json.dumps(told))
    exclude = [made.folder.parents[1] / "valid.de"]
    found = pretrain([text], tmp_path / "bert", options(resume=True), exclude)
    assert found.masked_accuracy == made.report.masked_accuracy


def test_a_damaged_record_is_named(made: Made, text: Path, tmp_path: Path) -> None:
    shutil.copytree(made.folder, tmp_path / "bert")
    report = tmp_path / "bert" / "pretraining.json"
    report.write_text("")
    with pytest.raises(AbNetError, match=r"pretraining\.json must be as it was written, but"):
        pretrain([text], tmp_path / "bert", options(resume=True))


def test_resuming_does_not_write_the_record_again(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk nothing but the old one would do."""
    record = tmp_path / "cut" / "training" / "settings.json"
    written = []
    for step, resume in ((2, False), (3, True)):
        interrupt(step, True, monkeypatch)
        with pytest.raises(StoppedError):
            pretrain([text], tmp_path / "cut", options(save_minutes=1e-9, resume=resume))
        written.append((record.stat().st_ino, record.stat().st_mtime_ns))
    assert written[0] == written[1]
