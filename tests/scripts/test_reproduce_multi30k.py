"""The Multi30k comparison at toy size: the whole road, and what is refused before it."""

from __future__ import annotations

import itertools
import json
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from abnet.errors import AbNetError
from abnet.scoring.evaluate import read_generate_output
from abnet.tokenizer import Tokenizer
from benchmarks import quality
from scripts.reproduce import average_fairseq, common, latency, multi30k, timing, tradeoff
from scripts.reproduce.recipes import Multi30k
from scripts.reproduce.sizes import SIZES
from scripts.reproduce.steps import Runner, Step
from scripts.reproduce.tradeoff import Point
from tests.scripts.forked import Forked
from tests.scripts.stand_in import StandIn

SUBJECTS = [("der Mann", "the man"), ("eine Frau", "a woman"), ("ein Hund", "a dog")]
VERBS = [("sieht", "sees"), ("malt", "paints"), ("sucht", "looks for"), ("trägt", "carries")]
OBJECTS = [("einen Ball", "a ball"), ("das Haus", "the house"), ("zwei Äpfel", "two apples")]
PLACES = [("im Park", "in the park"), ("am Strand", "on the beach"), ("heute", "today")]
PAIRS = [
    tuple(" ".join(words) + "." for words in zip(s, v, o, p, strict=True))
    for s, v, o, p in itertools.product(SUBJECTS, VERBS, OBJECTS, PLACES)
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """108 sentence pairs in the folder's layout, each side's captions with it."""
    folder = tmp_path / "multi30k"
    (folder / "mono").mkdir(parents=True)
    splits = {"test2016": PAIRS[::9], "valid": PAIRS[1::9], "train": PAIRS}
    for place, code in enumerate(("de", "en")):
        for split, pairs in splits.items():
            kept = [p for p in pairs if split != "train" or PAIRS.index(p) % 9 > 1]
            write(folder / f"{split}.{code}", [pair[place] for pair in kept])
        write(folder / "mono" / f"captions.{code}", [pair[place] for pair in PAIRS])
    return folder


def write(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


@pytest.mark.parametrize(
    "system",
    [
        "abnet", "abnet_corrected", "abnet_reranked", "abnet_dag_ranked", "abnet_dag_fuzzy_ranked",
        "abnet_ctc",
    ],
)  # fmt: skip
def test_a_lexicon_is_counted_before_it_is_begun_with(system: str, tmp_path: Path) -> None:
    steps: list[str] = []

    class Reader(Runner):
        def run(self, chains: Sequence[Sequence[Step | Callable[[], object]]]) -> None:
            steps.extend(step.name for chain in chains for step in chain if isinstance(step, Step))

    args = Namespace(systems=[system], directions=["de-en"], seeds=[1], size="cpu")
    work = Multi30k(tmp_path, tmp_path / "out", SIZES["cpu"])
    multi30k.run_all(Reader(1, {}), work, args, tmp_path / "results")
    counted = [name for name in steps if name.startswith("lexicon")]
    assert counted == ([] if system == "abnet_ctc" else ["lexicon-de-en"])
    order = ["prepare-de-en", *counted, "train", "average", "generate"]
    found = [name for name in steps if name in order]
    assert list(dict.fromkeys(found)) == order  # the second of two names for one training is none


def test_a_reranker_is_trained_first_whenever_that_was(tmp_path: Path) -> None:
    calls: list[list[str]] = []

    class Reader(Runner):
        def run(self, chains: Sequence[Sequence[Step | Callable[[], object]]]) -> None:
            steps = (step for chain in chains for step in chain if isinstance(step, Step))
            calls.append([f"{step.folder.parent.name} {step.name}" for step in steps])

    args = Namespace(systems=["abnet_reranked"], directions=["de-en"], seeds=[1], size="cpu")
    work = Multi30k(tmp_path, tmp_path / "out", SIZES["cpu"])
    multi30k.run_all(Reader(1, {}), work, args, tmp_path / "results")
    assert calls[-2] == ["abnet_enc_ar train", "abnet_enc_ar average"]
    # Not in one chain with it, whose steps must be the later the further behind they stand.
    assert not any("abnet_enc_ar" in step for step in calls[-1])
    assert calls[-1][-1] == "abnet_reranked generate"


@pytest.mark.slow
def test_the_whole_road(
    data: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(common, "Runner", Forked)
    out, results = tmp_path / "out", tmp_path / "results"
    document = tmp_path / "page.md"
    document.write_text("<!-- results: multi30k -->\n<!-- end of results -->\n")
    command = [str(data), "--size", "tiny", "--directions", "de-en", "--systems"]
    command += ["abnet,abnet_reranked,transformer,cmlm", "--out", str(out)]
    command += ["--results", str(results), "--document", str(document)]
    assert multi30k.main(command) == 0, capfd.readouterr().err

    abnet, reranked, cmlm = (
        json.loads((results / f"multi30k-tiny-de-en-{system}.json").read_text())
        for system in ("abnet", "abnet_reranked", "cmlm")
    )
    assert (abnet["seeds"], abnet["passes"], abnet["updates"]) == ([1], 10, 16)
    assert abnet["trained_parameters"] < abnet["total_parameters"]
    chooser = reranked["reranker"]
    assert (chooser["system"], chooser["updates"]) == ("abnet_enc_ar", 16)
    assert reranked["total_parameters"] - abnet["total_parameters"] == chooser["trained_parameters"]
    assert [start["system"] for start in reranked["starts"]] == ["abnet"]
    assert cmlm["trained_parameters"] == cmlm["total_parameters"]
    assert 0 <= cmlm["bleu"] <= 100
    assert cmlm["command"].endswith("--directions de-en --systems cmlm --seeds 1")
    assert "| de-en | tiny | AB-Net |" in document.read_text()
    report = json.loads((out / "bert-de" / "pretraining.json").read_text())
    assert report["dropped_lines"] == 24  # the captions' copies of validation and test lines
    for system in ("abnet", "transformer", "cmlm"):
        assert len((out / "de-en" / system / "1" / "test.txt").read_text().splitlines()) == 12

    capfd.readouterr()
    assert multi30k.main(command) == 0  # everything has its stamp
    assert " ..." not in capfd.readouterr().err

    places = ["--out", str(out), "--results", str(results), "--document", str(document)]
    few = ["--size", "tiny", "--sentences", "2", "--rounds", "1"]
    assert latency.main([*few, "--compared-with", "cmlm", *places]) == 0
    timed = json.loads((results / "latency-tiny-de-en-abnet.json").read_text())
    assert timed["systems"] == [
        "transformer", "cmlm", "abnet", "abnet_corrected", "abnet_rescored", "abnet_reranked",
        "abnet_enc_ar",
    ]  # fmt: skip
    assert timed["ratio"] > 0
    row = next(line for line in document.read_text().splitlines() if "CMLM" in line)
    assert "| 1.00 of cmlm |" in row

    document.write_text("<!-- tradeoff: multi30k -->\n<!-- end of tradeoff -->\n")
    int8 = Point("abnet", "2 passes, int8", "--iter-decode-max-iter 2 --iter-decode-dtype int8")
    untrained = Point("abnet_ctc", "plain", "")
    exact = Point("transformer", "CTranslate2", "--beam 5", converted="float32")
    points = [tradeoff.COMPARED_WITH, exact, int8, untrained]
    monkeypatch.setattr(tradeoff, "POINTS", points)
    assert tradeoff.main([*few, *places]) == 0
    lines = document.read_text().splitlines()
    assert "| Transformer | beam 5 (`--beam 5`) |" in lines[4]
    assert lines[4].endswith(" 1.00 |")
    assert "| Transformer | CTranslate2 (`--beam 5`) |" in lines[5]
    folder = out / "de-en" / "transformer" / "1" / "tradeoff"
    theirs, converted = (
        read_generate_output(folder / name / "generate-valid.txt")
        for name in (tradeoff.name(tradeoff.COMPARED_WITH), tradeoff.name(exact))
    )
    assert len(theirs) == len(converted) == 12
    assert sum(map(str.__eq__, theirs, converted)) > 9  # but for ties of rounding
    assert "| AB-Net | 2 passes, int8 (`--iter-decode-max-iter 2 " in lines[6]
    record = json.loads((results / "tradeoff-tiny-de-en-abnet-2-passes-int8.json").read_text())
    assert (record["split"], record["sentences"]) == ("valid", 2)
    point = out / "de-en" / "abnet" / "1" / "tradeoff" / tradeoff.name(int8)
    command = json.loads((point / "generate.done").read_text())["command"]
    (sample,) = timing.Timed(command[1:], [3]).samples
    raw = (out / "data-de-en" / "raw" / "valid.en").read_text().splitlines()
    pieces = Tokenizer.from_pretrained(str(out / "bert-en")).encode(raw[3])
    assert sample["target"][0, : len(pieces)].tolist() == pieces


def test_seeds_are_added_once(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "Runner", StandIn)
    document = tmp_path / "page.md"
    document.write_text("<!-- results: multi30k -->\n<!-- end of results -->\n")
    command = [str(data), "--size", "tiny", "--directions", "de-en", "--systems", "abnet"]
    command += ["--out", str(tmp_path / "out"), "--results", str(tmp_path)]
    command += ["--document", str(document)]
    path = tmp_path / "multi30k-tiny-de-en-abnet.json"
    assert multi30k.main([*command, "--seeds", "12"]) == 0, capfd.readouterr().err
    assert json.loads(path.read_text())["bleu_by_seed"] == [100.0]  # of 12 sentences
    for _ in range(2):  # what is there is not added again
        assert multi30k.main([*command, "--seeds", "4", "--add"]) == 0, capfd.readouterr().err
        both = json.loads(path.read_text())
        assert both["seeds"] == [4, 12]
        less, most = both["bleu_by_seed"]
        assert less < most == 100.0
        assert both["bleu"] == pytest.approx((less + most) / 2, abs=0.01)
        assert both["train_seconds"] == 80  # 10 a seed's number
        assert both["train_seconds_by_seed"] == [40, 120]
        assert both["command"].endswith("--systems abnet --seeds 4,12")


def test_missing_text_is_named(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("valid.en", "test2016.de", "mono/captions.en"):
        (data / name).unlink()
    assert multi30k.main([str(data)]) == 2
    told = capsys.readouterr().err
    assert "multi30k lacks valid.en, test2016.de, mono/captions.en." in told


@pytest.mark.parametrize(
    ("option", "value"),
    [("--directions", "de-fr"), ("--systems", "abnet,gpt"), ("--seeds", "x"), ("--jobs", "0")],
)
def test_unknown_choices_are_refused(
    data: Path, option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        multi30k.main([str(data), option, value])
    assert f"argument {option}: " in capsys.readouterr().err


def test_an_average_is_the_mean_of_the_last_checkpoints(tmp_path: Path) -> None:
    for update, value in ((10, 100.0), (20, 1.0), (30, 2.0)):
        state = {"model": {"w": torch.full((2,), value)}, "last_optimizer_state": {"big": 1}}
        torch.save(state, tmp_path / f"checkpoint_1_{update}.pt")
    output = tmp_path / "average.pt"
    assert average_fairseq.main([str(tmp_path), "--last", "2", "--output", str(output)]) == 0
    averaged = torch.load(output, weights_only=True)
    assert averaged["model"]["w"].tolist() == [1.5, 1.5]
    assert averaged["last_optimizer_state"] is None


def test_scores_of_several_seeds_are_averaged(tmp_path: Path) -> None:
    references = tmp_path / "test.en"
    write(references, ["The man's ball is seen today", "a dog paints the house"])
    runs = [tmp_path / "1", tmp_path / "2"]
    outputs = (
        "D-1\t-0.1\ta dog paints the house\nD-0\t-0.1\tThe man's ball is seen today\n",
        "D-0\t-0.1\tThe man's ball is seen today\nD-1\t-0.1\ta dog paints two red apples\n",
    )
    for run, output in zip(runs, outputs, strict=True):
        run.mkdir()
        (run / "generate-test.txt").write_text(output)
    scores = quality.score_runs(runs, references, str)
    assert scores["bleu_by_seed"][0] == 100.0
    assert 50 < scores["bleu_by_seed"][1] < 90
    assert scores["bleu"] == pytest.approx(sum(scores["bleu_by_seed"]) / 2, abs=0.01)
    # Moses has two tokens of man's, which are both found, and sacreBLEU one.
    assert scores["tokenized_bleu"] > scores["bleu"] == scores["bleu_lowercase"]
    assert (tmp_path / "1" / "test.txt").read_text().startswith("The man's")


ONE_SEED = {
    "system": "cmlm", "seeds": [2], "bleu": 20.0, "bleu_by_seed": [20.0], "bleu_lowercase": 21.0,
    "chrf": 40.0, "train_seconds": 100, "peak_memory_bytes": 7, "updates": 8, "commit": "abc",
}  # fmt: skip


def test_seeds_that_were_trained_elsewhere_are_joined() -> None:
    more = {
        **ONE_SEED, "seeds": [3, 1], "bleu": 25.0, "bleu_by_seed": [23.0, 27.0], "chrf": 46.0,
        "bleu_lowercase": 27.0, "train_seconds": 70, "peak_memory_bytes": 9, "commit": "def",
        "train_seconds_by_seed": [80, 60],
    }  # fmt: skip
    assert quality.joined(ONE_SEED, more) == {
        **ONE_SEED, "seeds": [1, 2, 3], "bleu": 23.33, "bleu_by_seed": [27.0, 20.0, 23.0],
        "bleu_lowercase": 25.0, "chrf": 44.0, "train_seconds": 80, "peak_memory_bytes": 9,
        "train_seconds_by_seed": [60, 100, 80],
    }  # fmt: skip
    words = [{**ONE_SEED, "found_by_frequency": [2]}, {**more, "found_by_frequency": [9]}]
    assert quality.joined(*words)["found_by_frequency"] == [9]  # of seed 1, whose BLEU is first
    told = [{**one, "tokenized_bleu": score} for one, score in ((ONE_SEED, 31.0), (more, 28.0))]
    assert quality.joined(*told)["tokenized_bleu"] == 29.0
    assert "tokenized_bleu" not in quality.joined(told[0], more)


def test_only_seeds_of_one_recipe_are_joined() -> None:
    longer = {**ONE_SEED, "seeds": [1], "updates": 9, "passes": 10}
    with pytest.raises(ValueError, match=r"differ in updates: 8, 9; passes: None, 10\.$"):
        quality.joined(ONE_SEED, longer)
    with pytest.raises(ValueError, match=r"must not share seeds, but do: \[2\]"):
        quality.joined(ONE_SEED, ONE_SEED)


@pytest.mark.parametrize(
    ("size", "before", "ours"),
    [("tiny", "bfloat16", "float32"), ("gpu", "bfloat16", "float16"), ("gpu", "float16", None)],
)
def test_a_result_in_another_precision_is_not_added_to(
    size: str,
    before: str,
    ours: str | None,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(multi30k, "run_and_show", lambda *_: 0)
    path = tmp_path / f"multi30k-{size}-de-en-cmlm.json"
    path.write_text(json.dumps({"precision": before}))
    command = [str(data), "--size", size, "--systems", "cmlm", "--directions", "de-en", "--add"]
    status = multi30k.main([*command, "--results", str(tmp_path), "--out", str(tmp_path)])
    said = capsys.readouterr().err
    assert status == (0 if ours is None else 2)
    assert (f"has been trained in {before} and would be in {ours}" in said) == (ours is not None)


def test_a_sentence_that_was_not_decoded_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "references", ["one", "two"])
    (tmp_path / "generate-test.txt").write_text("D-0\t-0.1\tone\n")
    with pytest.raises(AbNetError, match="1 hypotheses and 2 references"):
        quality.score_runs([tmp_path], tmp_path / "references", str)


def test_a_run_tells_its_size_and_time(tmp_path: Path) -> None:
    state = {
        "optimizer_history": [{"num_updates": 5}, {"num_updates": 70}],
        "extra_state": {"previous_training_time": 12.5},
        "cfg": {"common": {"fp16": False, "bf16": True}},
    }
    torch.save(state, tmp_path / "checkpoint_last.pt")
    log = tmp_path / "train.log"
    told = "... num. shared model params: {} (num. trained: 1,710,080)\n"
    log.write_text(told.format(8) + told.format("10,883,136"))  # the last try holds
    expected = (70, 12.5, 10_883_136, 1_710_080, "bfloat16")
    assert quality.read_training(tmp_path, log) == expected
    state["cfg"]["common"]["bf16"] = False
    torch.save(state, tmp_path / "checkpoint_last.pt")
    assert quality.read_training(tmp_path, log).precision == "float32"
    log.write_text("nothing\n")
    with pytest.raises(AbNetError, match=r"train\.log must tell the number of parameters"):
        quality.read_training(tmp_path, log)
