"""The Transformer on lower-cased tokens: its data, and the whole of it at toy size."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from abnet.scoring.evaluate import read_generate_output, tokenized_bleu
from benchmarks import records
from scripts.reproduce import common, moses_pieces, tokenized
from tests.commands import check_script
from tests.scripts.forked import Forked
from tests.scripts.test_reproduce_multi30k import data  # noqa: F401 - a fixture


def read(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    ("language", "line", "tokens"),
    [
        ("en", "He DOESN’T stop, Ümit!", "he doesn 't stop , ümit !"),
        ("en", "A man & a dog (brown).", "a man & a dog ( brown ) ."),  # nothing escaped
        ("de", "Ein ca. 3 m großer T-Shirt-Verkäufer.", "ein ca. 3 m großer t-shirt-verkäufer ."),
    ],
)
def test_tokens_are_lower_cased_ones_of_moses(language: str, line: str, tokens: str) -> None:
    assert moses_pieces.tokenize([line], language) == [tokens]


def test_pieces_join_to_the_tokens_and_are_learned_of_both_training_sides(
    data: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    (data / "train.de").write_text(
        "Zebra\n" * 3 + "".join(f"{x}\n" for x in read(data / "train.de"))
    )
    (data / "test2016.en").write_text("A quixotic man.\n" * 12)
    assert moses_pieces.main([str(data), "--pair", "de-en", "--dest", str(tmp_path)]) == 0
    for split, name in (("train", "train"), ("valid", "valid"), ("test", "test2016")):
        for code in ("de", "en"):
            pieces = read(tmp_path / "pieces" / f"{split}.{code}")
            tokens = read(tmp_path / "raw" / f"{split}.{code}")
            assert tokens == moses_pieces.tokenize(read(data / f"{name}.{code}"), code)
            if (split, code) != ("test", "en"):  # where letters are unknown
                assert [moses_pieces.join(line) for line in pieces] == tokens
    assert read(tmp_path / "pieces" / "train.de")[0] == "zebra</w>"
    assert len(read(tmp_path / "pieces" / "test.en")[0].split()) > 4  # not learned of


@pytest.mark.slow
def test_the_transformer_is_trained_and_scored_on_tokens(
    data: Path,  # noqa: F811
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(common, "Runner", Forked)
    out, results = tmp_path / "out", tmp_path / "results"
    document = tmp_path / "page.md"
    document.write_text("<!-- results: multi30k -->\n<!-- end of results -->\n")
    command = [str(data), "--size", "tiny", "--direction", "de-en", "--seeds", "1,2"]
    command += ["--out", str(out), "--results", str(results), "--document", str(document)]
    assert tokenized.main(command) == 0, capfd.readouterr().err
    folder = out / "tokenized"
    references = read(folder / "data-de-en" / "raw" / "test.en")
    assert references == moses_pieces.tokenize(read(data / "test2016.en"), "en")
    first, second = (folder / "de-en" / "transformer" / seed for seed in "12")
    pieces = read(folder / "data-de-en" / "pieces" / "test.en")
    right = [f"D-{place}\t-0.1\t{line}\n" for place, line in enumerate(pieces)]
    wrong = [f"D-{place}\t-0.1\tthe</w> man</w>\n" for place in range(len(pieces))]
    (first / "generate-test.txt").write_text("".join(right[:8] + wrong[8:]))
    (second / "generate-test.txt").write_text("".join(right[:5] + wrong[5:]))
    assert tokenized.main(command) == 0  # nothing but the scores is made anew
    (record,) = records.read_all(results)
    expected = [_bleu(run, references) for run in (first, second)]
    assert expected[0] > expected[1] > 20
    assert record["bleu_by_seed"] == pytest.approx(expected, abs=0.005)
    assert record["bleu"] == pytest.approx(sum(expected) / 2, abs=0.011)
    assert record["updates"] == 16
    assert record["command"].endswith("DIR --size tiny --direction de-en --seeds 1,2")
    told = json.loads((folder / "prepare-de-en.done").read_text("utf-8"))["command"]
    assert told[:3] == ["python", "-m", "scripts.reproduce.moses_pieces"]


def _bleu(run: Path, references: Sequence[str]) -> float:
    """Of tokens that stay the same when Moses has them again."""
    hypotheses = [
        moses_pieces.join(line) for line in read_generate_output(run / "generate-test.txt")
    ]
    return tokenized_bleu(hypotheses, references, language="en").value


def test_missing_text_is_named(data: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    for name in ("valid.en", "mono/captions.en"):
        (data / name).unlink()
    assert tokenized.main([str(data)]) == 2
    assert "multi30k lacks valid.en." in capsys.readouterr().err


def test_the_script_says_what_it_takes() -> None:
    check_script("scripts/reproduce/tokenized.sh")
