"""`abnet bench` from end to end, without fairseq's systems."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from abnet.bench import huggingface, ours
from abnet.bench.engine import Row
from abnet.bench.inputs import Text
from abnet.bench.sizes import SIZES
from abnet.checkpoint import save_checkpoint
from abnet.cli import main
from abnet.commands import bench
from abnet.config import AbNetConfig
from abnet.decoding.mask_predict import DecodingOptions, mask_predict
from abnet.model import AbNet
from abnet.translated.files import sha256_of
from abnet.translator import Translator
from benchmarks import records
from tests.tiny import ENGLISH, GERMAN


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    for name, lines in (("test.de", GERMAN), ("test.en", ENGLISH)):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    sides = ["--source", str(tmp_path / "test.de"), "--target", str(tmp_path / "test.en")]
    quick = ["--size", "tiny", "--device", "cpu", "--repeats", "1", "--count", "1"]
    return ["bench", *sides, *quick, "--threads", "1", "--results", str(tmp_path / "results")]


def test_results_go_to_a_folder(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results").write_text("mine")
    assert main(command) == 2
    assert "`--results` must be a folder, but" in capsys.readouterr().err


def test_our_cells_are_written_as_proper_results(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("abnet.bench.rates.ENOUGH", 1e-5)
    rows = "abnet-1-float32,abnet-10-float32,bert2bert-transformers-beam1"
    assert main([*command, "--batches", "1,2", "--rows", rows]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("6 results in")
    results = records.read_all(tmp_path / "results")
    assert sorted((r["row"], r["batch"]) for r in results) == [
        (name, batch)
        for name in ("abnet-1-float32", "abnet-10-float32", "bert2bert-transformers-beam1-float32")
        for batch in (1, 2)
    ]
    assert len({result["run"] for result in results}) == 1
    for result in results:
        assert (result["input"], result["size"], result["device_kind"]) == ("test", "tiny", "cpu")
        assert result["peer"] == (result["engine"] == "transformers")
        assert result["floor_s"] > 0
        assert result["median_s"] <= result["with_tokenization_s"]
        assert result["median_s"] <= result["p95_s"]
        assert str(tmp_path) not in json.dumps(result)
    passes = {result["row"]: result["passes"] for result in results}
    assert (passes["abnet-1-float32"], passes["abnet-10-float32"]) == (1, 10)


def test_a_checkpoint_decides_its_lengths_itself(
    command: list[str],
    tiny_model: AbNet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("abnet.bench.rates.ENOUGH", 1e-5)
    monkeypatch.setattr("abnet.bench.ours.computes_in_bfloat16", lambda: False)
    save_checkpoint(tmp_path / "own.safetensors", tiny_model)
    more = ["--checkpoint", str(tmp_path / "own.safetensors"), "--batches", "8"]
    assert main([*command, *more]) == 0
    assert "left out: others' systems with random weights" in capsys.readouterr().out
    results = {result["row"]: result for result in records.read_all(tmp_path / "results")}
    ways = ("1", "4", "10", "4-pruned", "10-pruned")  # and no system but the checkpoint's
    assert set(results) == {f"abnet-{way}-{kind}" for way in ways for kind in ("float32", "int8")}
    translator = Translator(tiny_model)
    sides = (translator.source_tokenizer, translator.target_tokenizer)
    (batch,) = Text.of("x", GERMAN, ENGLISH, sides, 56).batches(8, 1)  # that of the run
    source = translator.collate(translator.source_tokenizer.encode_batch(batch.lines))
    options = DecodingOptions(iterations=1)
    written = sum(best.tokens.numel() for (best,) in mask_predict(tiny_model, source, options))
    result = results["abnet-1-float32"]
    assert result["tokens_per_s"] / result["sentences_per_s"] == pytest.approx(written / 8)


def test_a_checkpoint_is_given_lines_that_it_takes(
    command: list[str], tiny_model: AbNet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its own positions decide, not those of the size; what is too long for it is left out."""
    save_checkpoint(tmp_path / "own.safetensors", tiny_model)
    assert tiny_model.max_source_positions < SIZES["small"].bert.max_positions - 8
    for name, text in (("test.de", GERMAN), ("test.en", ENGLISH)):
        (tmp_path / name).write_text(f"{' '.join(text[:4])}\n{text[0]}\n", encoding="utf-8")
    more = ["--checkpoint", str(tmp_path / "own.safetensors"), "--batches", "1", "--size", "small"]
    assert main([*command, *more, "--rows", "abnet-1-float32", "--count", "2"]) == 0
    [result] = records.read_all(tmp_path / "results")
    called = f"checkpoint-{sha256_of(tmp_path / 'own.safetensors')[:8]}"  # not another's result
    assert (result["size"], result["checkpoint"]) == (called, more[1])
    assert f"-{called}-" in next((tmp_path / "results").iterdir()).name
    assert result["left_out"] == 1
    assert "left out: 1 pairs with an empty side or more than 39 pieces" in capsys.readouterr().out


def test_a_checkpoint_decodes_as_the_rows_do(
    command: list[str], tiny_config: AbNetConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.safetensors"
    for change, message in (
        ({"objective": "ctc"}, "and the objective ctc instead"),
        ({"decoder": "transformer"}, "the decoder transformer and"),
    ):
        config = replace(tiny_config, label_smoothing=0.0, **change)
        save_checkpoint(other, AbNet.from_pretrained(config))
        assert main([*command, "--checkpoint", str(other)]) == 2
        assert message in capsys.readouterr().err


def test_numbers_and_names_of_a_list_count_once() -> None:
    assert bench._numbers("batches", "8,1,8") == (8, 1)
    rows = ours.rows(torch.device("cpu"))
    assert [row.name for row in bench._named(rows, "abnet-1-float32,")] == ["abnet-1-float32"]


def peers(device: torch.device) -> list[Row]:
    return huggingface.rows(device)


def test_ours_and_others_come_by_turns_and_only_trained_ones_with_a_checkpoint(
    tmp_path: Path,
) -> None:
    (tmp_path / "model.bin").touch()
    cpu = torch.device("cpu")
    given = Namespace(checkpoint=None, ctranslate2=tmp_path, rows=None)
    names = [row.name for row in bench._chosen_rows(given, cpu, peers)]
    assert names[:6] == [
        "abnet-1-float32",
        f"{tmp_path.name}-ctranslate2-beam5-float32",
        "abnet-4-float32",
        f"{tmp_path.name}-ctranslate2-beam1-float32",
        "abnet-10-float32",
        f"{tmp_path.name}-ctranslate2-beam5-int8",
    ]
    assert sum(name.startswith("bert2bert") for name in names) == 4
    given.checkpoint = "trained.pt"
    rows = bench._chosen_rows(given, cpu, peers)
    assert {row.system for row in rows} == {"abnet", tmp_path.name}


def test_on_a_gpu_the_rows_that_count_most_come_first() -> None:
    gpu = torch.device("cuda")
    given = Namespace(checkpoint=None, ctranslate2=None, rows=None)

    def row(system: str, engine: str, beam: int) -> Row:
        name = f"{system}-{engine}-beam{beam}-float16"
        return Row(name, system, True, engine, f"beam {beam}", "float16", lambda _: None)  # type: ignore[arg-type, return-value]

    others = [row("transformer", kind, beam) for kind in ("fairseq", "ctranslate2")
              for beam in (5, 1)]  # fmt: skip
    names = [row.name for row in bench._chosen_rows(given, gpu, lambda device: others)]
    assert names[:4] == [
        "abnet-10-bfloat16-compiled",
        "transformer-fairseq-beam5-float16",
        "transformer-ctranslate2-beam5-float16",
        "abnet-10-bfloat16",
    ]
    assert names[4:8] == [  # as they were
        "abnet-1-bfloat16",
        "abnet-4-bfloat16",
        "transformer-fairseq-beam1-float16",
        "abnet-10-bfloat16-every-logit",
    ]
    assert len(names) == len(set(names))


def test_a_row_that_fails_shows_in_the_status(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("abnet.bench.rates.ENOUGH", 1e-5)

    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("abnet.bench.huggingface.GenerateEngine.decode", fail)
    rows = "bert2bert-transformers-beam1,abnet-1-float32"
    assert main([*command, "--batches", "1", "--rows", rows]) == 1
    (result,) = records.read_all(tmp_path / "results")
    assert result["row"] == "abnet-1-float32"
    failed = "bert2bert-transformers-beam1-float32, batch 1, 1 thread"
    assert capsys.readouterr().err.endswith(f"bench: 1 failed: {failed}\n")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--size", "huge"], "`--size` must be one of ['base', 'small', 'tiny'], but is 'huge'"),
        (["--batches", "1,many"], "`--batches` must be numbers with commas between them, but has"),
        (["--threads", "x"], "`--threads` must be numbers with commas between them, but has 'x'"),
        (["--rows", "nothing"], "`--rows` must name one of abnet-1-float32, "),
        (["--batches", "largest"], "`batches` must be numbers on a CPU"),
        (["--ctranslate2", "nowhere"], "`--ctranslate2` must be a folder that a converter"),
        (["--checkpoint", "nowhere.pt"], "There is no checkpoint 'nowhere.pt'"),
        (["--training", "--ctranslate2", "some"], "`--ctranslate2` must be left out with"),
        (["--batches", "\u00b2"], "`--batches` must be numbers"),
        (["--input", "a/b"], "`--input` must be of letters"),
        (["--rows", ","], "`--rows` must name one of"),
    ],
)
def test_errors_say_what_to_do(
    command: list[str], more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, *more]) == 2
    assert message in capsys.readouterr().err
