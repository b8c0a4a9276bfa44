"""`abnet pretrain`: the folder that it writes, continuing, refusing."""

from __future__ import annotations

import dataclasses
import json
import math
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM, AutoTokenizer

from abnet.backbone import load_backbone
from abnet.errors import AbNetError
from abnet.pretraining.masked_lm_model import LeanBertForMaskedLM
from abnet.pretraining.options import BertShape
from abnet.pretraining.pretrain import pretrain
from abnet.tokenizer import Tokenizer
from tests.conftest import TinyBerts
from tests.short_pretraining import SHAPE, WORDS, Made, continuing, options, same
from tests.tiny import GERMAN, make_bert


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
def test_learns_to_predict(tmp_path: Path, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight lines of one word each, in many copies that differ in length only."""
    computed: set[torch.dtype] = set()
    original = LeanBertForMaskedLM.forward

    @wraps(original)  # transformers looks at its arguments
    def watched(self: LeanBertForMaskedLM, *given: Any, **named: Any) -> Any:
        output = original(self, *given, **named)
        computed.add(output.logits.dtype)
        return output

    monkeypatch.setattr(LeanBertForMaskedLM, "forward", watched)
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
    assert computed == {torch.bfloat16 if precision == "bf16" else torch.float32}
    model = AutoModelForMaskedLM.from_pretrained(tmp_path / "bert").eval()
    assert model.dtype == torch.float32
    assert model.config.hidden_dropout_prob == model.config.attention_probs_dropout_prob == 0.0
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


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_continued_bert(text: Path, tmp_path: Path, kind: str) -> None:
    """Same vocabulary and shape, and weights a few steps of Adam away, one as much as five."""
    start = make_bert(tmp_path / "start", GERMAN, seed=1, kind=kind)
    pretrain([text], tmp_path / "one", continuing(start, updates=1))
    pretrain([text], tmp_path / "many", continuing(start, updates=5))
    begun, one, many = (
        load_file(tmp_path / name / "model.safetensors") for name in ("start", "one", "many")
    )
    for weights, steps in ((one, 0.5 / 0.95), (many, 5)):
        change = {name: (weights[name] - begun[name]).abs().max() for name in begun}
        assert max(change.values()) < steps * 5e-4 * 1.1
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
    (tmp_path / "marks").write_text("\u200b\u200e\n\u200d\n" * 9, encoding="utf-8")
    with pytest.raises(AbNetError, match="must have words, but has only signs that do not show"):
        pretrain([tmp_path / "marks"], output, options())
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
