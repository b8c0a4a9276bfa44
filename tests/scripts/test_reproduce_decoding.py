"""One model decoded in many ways."""

from __future__ import annotations

import copy
import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from sacrebleu.metrics import BLEU

from abnet.decoding.mask_predict import mask_predict
from abnet.decoding.precision import set_precision
from abnet.model import AbNet
from abnet.translator import Translator
from scripts.reproduce import decoding
from scripts.reproduce.decoding import WAYS, Decoder, Way
from tests.commands import check_script
from tests.test_checkpoint import save_fairseq
from tests.tiny import ENGLISH, GERMAN


@pytest.fixture
def decoder(tiny_model: AbNet) -> Decoder:
    return Decoder(Translator(tiny_model, "cpu"), GERMAN, ENGLISH)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way.factor} {way.value}")
def test_a_way_equals_mask_predict_with_its_options(decoder: Decoder, way: Way) -> None:
    """Also where another way's candidates are scored anew."""
    model = decoder.translator.model
    for other in WAYS:
        if other.factor in (way.factor, "recipe"):
            decoder.decode(other)
    source = decoder.translator.collate(decoder.encoded)
    gold = decoder.gold if way.gold else None
    if way.dtype != "float32":
        model = copy.deepcopy(model)
        set_precision(model, way.dtype)
    expected = mask_predict(model, source, way.options, gold)
    for ours, (theirs,) in zip(decoder.decode(way), expected, strict=True):
        assert ours.tokens.tolist() == theirs.tokens.tolist()


def test_measures_by_hand(decoder: Decoder) -> None:
    found = decoder.decode(WAYS[0])
    pieces = [hypothesis.tokens.tolist() for hypothesis in found]
    repeats = sum(a == b for row in pieces for a, b in pairwise(row))
    total = sum(map(len, pieces))
    tokenizer = decoder.translator.target_tokenizer
    gold = [len(tokenizer.encode(line)) + 1 for line in ENGLISH]
    measured = decoder.measure(found)
    assert measured["repeats"] == pytest.approx(100 * repeats / total, abs=1e-3)
    assert measured["length_ratio"] == pytest.approx(total / sum(gold), abs=1e-4)
    right = sum(len(row) == length for row, length in zip(pieces, gold, strict=True))
    assert measured["length_right"] == pytest.approx(100 * right / len(gold), abs=0.01)
    texts = [tokenizer.decode(row) for row in pieces]
    assert measured["bleu"] == round(BLEU().corpus_score(texts, [ENGLISH]).score, 2)


def test_the_worst_come_with_source_and_reference(
    decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "WORST", 2)
    right = decoder.translator.target_tokenizer.encode_batch(ENGLISH)
    (example, *_) = decoder.decode(WAYS[0])
    found = [example._replace(tokens=torch.tensor(ids)) for ids in right]
    found[3] = found[5]
    first, _ = decoder.worst(found)
    assert re.search(r"^chrF \d+\.\d, line 4$", first, re.MULTILINE)
    assert GERMAN[3] in first
    assert ENGLISH[3] in first


def test_the_script(tiny_model: AbNet, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_script("scripts/reproduce/decoding.sh")
    out, results, document = (tmp_path / name for name in ("out", "results", "page.md"))
    command = ["--size", "tiny", "--out", str(out), "--results", str(results)]
    command += ["--document", str(document)]
    raw = out / "data-de-en" / "raw"
    raw.mkdir(parents=True)
    (raw / "valid.de").write_text("".join(f"{line}\n" for line in GERMAN), encoding="utf-8")
    (raw / "valid.en").write_text("".join(f"{line}\n" for line in ENGLISH), encoding="utf-8")
    assert decoding.main(command) == 1
    assert "There is no checkpoint" in capsys.readouterr().err

    run = out / "de-en" / "abnet" / "1"
    run.mkdir(parents=True)
    save_fairseq(run / "checkpoint_average.pt", tiny_model)
    document.write_text("<!-- decoding: multi30k -->\n<!-- end of decoding -->\n")
    assert decoding.main(command) == 0
    assert document.read_text().count("| tiny |") == len(WAYS)
    assert len(list(results.glob("*.json"))) == len(WAYS)
    record = json.loads((results / "decoding-tiny-de-en-gold-length-ban-repeats.json").read_text())
    assert record["length_right"] == 100.0
    assert record["options"].endswith("--iter-decode-ban-repeats lengths of the references")
    assert capsys.readouterr().out.count("\nchrF ") == len(GERMAN)
    for path in results.glob("*.json"):
        path.unlink()
    assert decoding.main([*command, "--only", "patience,ban, repredict,ban repeats"]) == 0
    assert len(list(results.glob("*.json"))) == 4
    with pytest.raises(SystemExit):
        decoding.main([*command, "--only", "patience,luck"])
    assert "argument --only: must be of all passes, ban" in capsys.readouterr().err
