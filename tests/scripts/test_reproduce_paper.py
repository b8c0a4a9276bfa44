"""The scripts of the paper's tables and figures, and of each system."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from abnet.systems import SYSTEMS
from scripts.reproduce import paper, paper_steps
from scripts.reproduce.paper_rows import TABLES, Row, of_system
from scripts.reproduce.paper_steps import Paper
from scripts.reproduce.paper_tables import curves_table, paper_table
from scripts.reproduce.steps import StepError
from scripts.reproduce.toy import Toy
from tests.commands import ROOT, check_script, parse
from tests.scripts.forked import Forked

ROWS = [row for rows in TABLES.values() for row in rows]


@pytest.mark.parametrize("what", ["system", *TABLES])
def test_each_has_a_script(what: str) -> None:
    check_script(f"scripts/reproduce/{what}.sh")


def test_rows_name_systems_and_corpora_that_there_are() -> None:
    for row in ROWS:
        assert row.system in SYSTEMS
        corpus = row.corpus.removesuffix("_bt")
        for kind in ("prepare", "train", "generate"):
            check_script(f"scripts/{kind}/{corpus}.sh")


def test_systems_say_which_tables_they_stand_in() -> None:
    for name, system in SYSTEMS.items():
        has_it = (what for what, rows in TABLES.items() if any(row.system == name for row in rows))
        assert system.stands_in == tuple(has_it)


def test_the_same_training_is_done_once() -> None:
    trainings = {(row.system, row.corpus, row.pair, row.options) for row in ROWS}
    assert len({row.name for row in ROWS}) == len(trainings)
    assert {row.name for row in TABLES["figure3b"]} <= {row.name for row in TABLES["table3b"]}


def test_figures_are_the_papers() -> None:
    """Guo et al., NeurIPS 2020: all of them, by table."""

    def figures(table: str) -> dict[tuple[str, str, str], float]:
        rows = {(row.system, row.corpus, row.pair): row.bleu for row in TABLES[table]}
        assert len(rows) == len(TABLES[table])
        return rows

    iwslt, ro_en, en_de, de_en, en_fr = (
        ("iwslt14", "de-en"), ("wmt16_ro_en", "ro-en"), ("wmt14", "en-de"), ("wmt14", "de-en"),
        ("wmt14", "en-fr"),
    )  # fmt: skip
    back = ("wmt16_ro_en_bt", "ro-en")
    assert figures("table1") == {
        ("transformer_base", *iwslt): 33.59, ("transformer_base", *ro_en): 34.46,
        ("transformer_base", *en_de): 28.04, ("transformer_base", *de_en): 32.69,
        ("mask_predict", *iwslt): 31.71, ("mask_predict", *ro_en): 33.31,
        ("mask_predict", *en_de): 27.03, ("mask_predict", *de_en): 30.53,
        ("bert_fused_nat", *iwslt): 33.14, ("bert_fused_nat", *ro_en): 34.12,
        ("bert_fused_nat", *en_de): 27.73, ("bert_fused_nat", *de_en): 32.10,
        ("abnet_iwslt_de_en", *iwslt): 36.49, ("abnet_wmt_en_de", *ro_en): 35.63,
        ("abnet_wmt_en_de", *en_de): 28.69, ("abnet_wmt_en_de", *de_en): 33.57,
        ("abnet_enc", *iwslt): 34.45, ("abnet_enc", *en_de): 28.08,
    }  # fmt: skip
    assert figures("table2") == {
        ("transformer_big", *en_de): 28.91, ("transformer_big", *en_fr): 42.23,
        ("transformer_big", *back): 36.46, ("bert_distilled", *en_de): 27.53,
        ("ct_nmt", *en_de): 30.10, ("ct_nmt", *en_fr): 42.30,
        ("bert_fused", *en_de): 30.75, ("bert_fused", *en_fr): 43.78,
        ("bert_fused", *back): 39.10, ("abnet_enc_ar", *en_de): 30.60,
        ("abnet_enc_ar", *en_fr): 43.56, ("abnet_enc_ar", *back): 39.21,
    }  # fmt: skip
    low = figures("table3a")
    languages = {pair for _, _, pair in low}
    systems = ("transformer_base", "mask_predict", "abnet_iwslt_de_en")
    assert {pair: tuple(low[name, "iwslt14", pair] for name in systems) for pair in languages} == {
        "en-it": (29.26, 26.05, 31.81), "it-en": (33.57, 29.50, 34.20),
        "en-es": (36.04, 32.15, 37.45), "es-en": (39.31, 35.37, 42.66),
        "en-nl": (31.30, 25.78, 32.52), "nl-en": (36.19, 32.91, 38.94),
    }  # fmt: skip
    assert [row.bleu for row in TABLES["table3b"]] == [None, 34.45, None, 36.49, 34.60, 33.78]
    assert [row.bleu for row in TABLES["figure2"]] == [34.81, None, None, 36.49, None, None]
    latencies = {row.system: row.latency_ms for row in TABLES["table1"] if row.latency_ms}
    assert latencies == {
        "transformer_base": 778, "mask_predict": 161, "bert_fused_nat": 260,
        "abnet_wmt_en_de": 327, "abnet_enc": 165,
    }  # fmt: skip


@pytest.mark.parametrize("toy", [False, True])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_each_row_trains_what_it_says(
    row: Row, toy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Paper(tmp_path, Toy(tmp_path / "toy") if toy else None)
    *env, script, pair = work.train(row).command[: 1 + 2 + 2]
    assert env == ["env", f"DATA={work.data(row)}", f"SAVE={work.run(row)}"]
    assert script.endswith(f"scripts/train/{row.corpus.removesuffix('_bt')}.sh")
    assert pair == row.pair
    command = ["fairseq-train", "data", "--user-dir", str(ROOT / "fairseq_plugins")]
    command += ["--task", "translation_abnet", *work.train(row).command[5:]]
    args = vars(parse(command, monkeypatch))
    expected = {**SYSTEMS[row.system].options}
    expected |= {
        option.removeprefix("--").replace("-", "_"): value
        for option, value in zip(row.options[::2], row.options[1::2], strict=True)
    }
    for name, value in expected.items():
        if not toy:
            assert str(args[name]) == str(value)
        elif name == "encoder_adapter_dim":
            assert args[name] == int(value) // 32
        elif name.endswith("adapter_layers"):
            assert args[name] == min(int(value), 1)
    assert (args.get("warm_start") is not None) == (SYSTEMS[row.system].starts_from is not None)


def test_data_with_back_translations_are_prepared_so(tmp_path: Path) -> None:
    rows = [row for row in TABLES["table2"] if row.corpus == "wmt16_ro_en_bt"]
    assert len(rows) == 3
    for row in rows:
        (prepare,) = Paper(tmp_path, None).prepare(row)
        assert prepare.command[0].endswith("prepare/wmt16_ro_en.sh")
        assert prepare.command[-1] == "--back-translated"


def test_bert_fused_starts_from_a_transformer_of_its_shape(tmp_path: Path) -> None:
    work = Paper(tmp_path, None)
    row = next(r for r in TABLES["table2"] if (r.system, r.pair) == ("bert_fused", "en-de"))
    start = work.start(row)
    assert start is not None
    assert start.options == row.options
    assert dict(zip(row.options[::2], row.options[1::2], strict=True)) == {
        "--transformer-dim": "1024", "--transformer-ffn-dim": "4096",
        "--transformer-heads": "16", "--transformer-dropout": "0.3",
        "--transformer-attention-dropout": "0.1",
    }  # fmt: skip


def test_autoregressive_systems_read_english_with_the_large_bert(tmp_path: Path) -> None:
    work = Paper(tmp_path, None)
    for row in TABLES["table2"]:
        (prepare,) = work.prepare(row)
        is_large = row.system in ("abnet_enc_ar", "bert_fused") and row.pair != "ro-en"
        assert ("bert-large-cased" in prepare.command) == is_large
        assert work.data(row).name.endswith("-from-bert-large-cased") == is_large


def test_a_system_alone_is_that_of_the_tables() -> None:
    of_tables = {(row.system, row.corpus, row.pair): row for row in TABLES["table2"]}
    for (system, corpus, pair), row in of_tables.items():
        assert of_system(system, corpus, pair) == row
    ours = of_system("bert_fused", "wmt14", "en-de", source_bert="my/bert")
    assert (ours.source_bert, ours.bleu) == ("my/bert", None)  # another system than the paper's
    assert ours.options == of_tables["bert_fused", "wmt14", "en-de"].options


def test_results_with_other_options_are_others(tmp_path: Path) -> None:
    plain, short = (
        Paper(tmp_path, None, tuple(o.split())) for o in ("", "--max-update 9 --seed 3")
    )
    assert (plain.name, plain.seed) == ("", 1)
    assert (short.name, short.seed) == (".max-update9.seed3", 3)
    assert Paper(tmp_path, None, ("--seed=2",)).seed == 2


def test_parallel_systems_learn_wmt14_from_a_teacher(tmp_path: Path) -> None:
    work = Paper(tmp_path, None)
    parallel = of_system("mask_predict", "wmt14", "en-de")
    names = [step.name for step in work.prepare(parallel)]
    assert names == [
        "prepare-wmt14.en-de", "train", "average",
        "distill-wmt14.en-de-distilled", "prepare-wmt14.en-de-distilled",
    ]  # fmt: skip
    distill = work.prepare(parallel)[3].command
    assert str(work.run(of_system("transformer_big", "wmt14", "en-de"))) in distill[2]
    assert not work.is_distilled(of_system("transformer_base", "wmt14", "en-de"))
    assert not work.is_distilled(replace(parallel, corpus="wmt16_ro_en"))


def test_bert_fused_starts_from_a_trained_transformer(tmp_path: Path) -> None:
    work = Paper(tmp_path, None)
    row = of_system("bert_fused", "iwslt14", "de-en")
    start = of_system("transformer_base", "iwslt14", "de-en")
    assert [step.folder for step in work.before(row)] == [
        tmp_path, work.run(start), work.run(start), tmp_path,
    ]  # fmt: skip
    command = work.train(row).command
    taken = command[command.index("--warm-start") + 1]
    assert taken == work.average(start).command[-1]
    assert row.options == start.options  # of one shape and one dropout
    prepared = work.prepare(row)[-1]
    assert work.train(row).needs == (prepared.stamp, work.average(start).stamp)
    assert work.average(row).needs == (work.train(row).stamp,)
    assert work.generate(row).needs == (work.average(row).stamp,)


def test_a_teacher_of_soft_labels_is_trained_first_on_the_same_data(tmp_path: Path) -> None:
    work = Paper(tmp_path, None, ("--bf16",))
    student = of_system("bert_distilled", "iwslt14", "de-en")
    prepare, train, average = work.before(student)
    assert prepare.name == "prepare-iwslt14.de-en"
    assert {train.folder, average.folder} == {work.run(student) / "teacher"}
    command = " ".join(train.command)
    assert "--arch abnet_fb --criterion conditional_masked_lm --bf16" in command
    assert f"DATA={work.data(student)} " in command
    taught = work.train(student).command
    assert taught[taught.index("--soft-teacher") + 1] == average.command[-1]
    assert "--soft-teacher" not in train.command
    assert work.train(student).needs == (prepare.stamp, average.stamp)
    assert (train.needs, average.needs) == ((prepare.stamp,), (train.stamp,))


def test_models_of_another_kind_have_data_of_their_own(tmp_path: Path) -> None:
    work = Paper(tmp_path, None)
    folders = {
        name: work.data(of_system(name, "iwslt14", "de-en")).name
        for name in ("abnet", "bert_share", "abnet_gpt")
    }
    assert len(set(folders.values())) == 3
    (prepare,) = work.prepare(of_system("bert_share", "iwslt14", "de-en"))
    assert prepare.command.count("bert-base-multilingual-cased") == 2


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (("system", "gpt5"), "argument SYSTEM: invalid choice: 'gpt5' (choose from 'abnet', "),
        (("system", "abnet", "wmt99"), "argument CORPUS: invalid choice: 'wmt99' (choose from"),
        (("system", "abnet", "wmt14", "ende"), "argument PAIR: must be as de-en is, not 'ende'"),
        (("table1", "de-en"), "unrecognized arguments: de-en"),
    ],
)
def test_what_there_is_not_is_refused(
    what: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        paper.main(what)
    assert message in capsys.readouterr().err


def test_an_english_gpt_does_not_write_german(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert paper.main(["system", "abnet_gpt", "wmt14", "en-de", "--out", str(tmp_path)]) == 1
    assert "writes de with gpt2, which knows English only" in capsys.readouterr().err
    row = of_system("abnet_gpt", "wmt14", "en-de", target_bert="my/german-gpt2")
    (prepare,) = Paper(tmp_path, None).prepare(row)
    assert prepare.command[-2:] == ("--target-bert", "my/german-gpt2")


def test_all_gpus_distil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    command = Paper(tmp_path, None).prepare(of_system("mask_predict", "wmt14", "en-de"))[3].command
    assert command[command.index("--devices") + 1] == "cuda:0,cuda:1,cuda:2"


def test_every_pair_can_be_distilled(tmp_path: Path) -> None:
    row = of_system("mask_predict", "wmt14", "en-fr", source_bert="roberta-base")
    command = Paper(tmp_path, None).prepare(row)[-1].command
    assert command[command.index("--source-bert") + 1] == "roberta-base"
    assert command[command.index("--target-bert") + 1] == "bert-base-multilingual-cased"


def test_options_may_stand_before_the_names(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[Row] = []
    monkeypatch.setattr(paper, "run_rows", lambda work, found, runner, save: rows.extend(found))
    monkeypatch.setattr(paper, "show", lambda *of: "")
    monkeypatch.setattr(paper, "working_in", lambda folder: nullcontext())
    monkeypatch.setattr(paper, "Toy", lambda folder: None)
    assert paper.main(["system", "bert2bert", "--toy", "iwslt14", "en-de", "--options=--bf16"]) == 0
    assert paper.main(["system", "--target-bert", "roberta-base", "abnet"]) == 0
    first, second = rows
    assert (first.system, first.pair) == ("bert2bert", "en-de")
    assert (second.target_bert, second.pair) == ("roberta-base", "de-en")


def run_toy(out: Path, *what: str) -> int:
    return paper.main([*what, "--toy", "--out", str(out), "--results", str(out / "results")])


@pytest.mark.slow
def test_one_system_at_toy_size(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paper, "Runner", Forked)
    assert run_toy(tmp_path, "system", "abnet_enc_ar") == 0, capfd.readouterr().err
    printed = capfd.readouterr().out
    assert "| abnet_enc_ar | iwslt14 de-en | - |" in printed
    (path,) = (tmp_path / "results").glob("*.json")
    found = json.loads(path.read_text())
    assert (found["system"], found["beam"], found["updates"]) == ("abnet_enc_ar", 5, 8)
    assert found["dataset"] == "toy"
    assert found["command"] == "scripts/reproduce/system.sh abnet_enc_ar iwslt14 de-en"
    assert found["tokenized_signature"].startswith("nrefs:1|case:lc|")
    assert found["curve"][-1][0] == 8


def test_the_papers_figures_stand_beside_ours() -> None:
    fused = next(row for row in TABLES["table1"] if row.latency_ms == 260)
    ours = {
        "system": "bert_fused_nat", "bleu": 20.0, "tokenized_bleu": 21.25, "chrf": 50.0,
        "trained_parameters": 91_149_312, "distilled": True, "teacher": "transformer_big",
        "back_translated": False, "device": "a GPU", "seconds_a_sentence": 0.1234,
    }  # fmt: skip
    head, _, row = paper_table([fused], [ours]).splitlines()
    cells = dict(zip(head.split(" | "), row.split(" | "), strict=True))
    assert cells["paper, tokenized BLEU"] == "27.73"
    assert cells["tokenized BLEU"] == "21.25"
    assert cells["sacreBLEU"] == "20.00"
    assert (cells["paper, trained"], cells["trained"]) == ("90M", "91.15M")
    elsewhere = paper_table([replace(fused, pair="de-en")], [ours])
    assert "| 90M |" not in elsewhere  # other vocabularies
    assert cells["data"] == "distilled by transformer_big"
    assert (cells["paper, a sentence alone"], cells["a sentence alone"]) == ("260 ms", "123 ms")


def test_learning_curves_stand_side_by_side() -> None:
    rows = TABLES["figure3b"]
    curves: list[dict[str, Any]] = [
        {"curve": [[100.0 * at, 9 - at / 10] for at in range(1, 21)]},
        {"curve": [[200.0, 8.0], [400.0, 7.5]]},
    ]
    lines = curves_table(rows, curves).splitlines()
    assert lines[0] == "| updates | + decoder adapters | + target BERT, no decoder adapters |"
    assert lines[2:4] == ["| 200 | 8.80 | 8.00 |", "| 400 | 8.60 | 7.50 |"]
    assert lines[-1] == "| 2,000 | 7.00 | - |"


def test_the_time_of_a_sentence_is_read(tmp_path: Path) -> None:
    log, told = tmp_path / "one-by-one.log", "INFO:Translated {} sentences (9 tokens) in {}s (3.0"
    log.write_text(f"{told.format('2', '1.0')}\nD-0\n{told.format('3,003', '300.3')}\n")
    assert paper_steps._seconds_a_sentence(log) == pytest.approx(0.1)
    log.write_text("D-0\t1\tnothing\n")
    with pytest.raises(StepError, match="must tell how long"):
        paper_steps._seconds_a_sentence(log)


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(SYSTEMS))
def test_every_system_at_toy_size(
    name: str, tmp_path_factory: pytest.TempPathFactory, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path_factory.getbasetemp() / "systems"
    assert run_toy(out, "system", name) == 0, capfd.readouterr().err
    assert f"| {name} |" in capfd.readouterr().out


@pytest.mark.long
@pytest.mark.parametrize("what", sorted(TABLES))
def test_every_table_at_toy_size(
    what: str, tmp_path_factory: pytest.TempPathFactory, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path_factory.getbasetemp() / "systems"
    assert run_toy(out, what) == 0, capfd.readouterr().err
    assert capfd.readouterr().out.count("\n| ") >= len(TABLES[what])
