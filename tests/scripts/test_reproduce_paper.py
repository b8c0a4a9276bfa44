"""The scripts of the paper's tables and figures, and of each system."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from abnet.systems import SYSTEMS
from scripts.reproduce import paper
from scripts.reproduce.paper import Paper
from scripts.reproduce.paper_rows import TABLES, of_system
from tests.commands import check_script

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


def test_the_same_training_is_done_once() -> None:
    trainings = {(row.system, row.corpus, row.pair, row.options) for row in ROWS}
    assert len({row.name for row in ROWS}) == len(trainings)
    assert {row.name for row in TABLES["figure3b"]} <= {row.name for row in TABLES["table3b"]}


def test_figures_are_the_papers() -> None:
    """Guo et al., NeurIPS 2020."""
    figures = {(row.system, row.corpus, row.pair): row.bleu for row in TABLES["table1"]}
    assert figures["abnet_iwslt_de_en", "iwslt14", "de-en"] == 36.49
    assert figures["abnet_wmt_en_de", "wmt14", "de-en"] == 33.57
    assert figures["mask_predict", "wmt16_ro_en", "ro-en"] == 33.31
    low = {(row.system, row.pair): row.bleu for row in TABLES["table3a"]}
    assert low["abnet_iwslt_de_en", "es-en"] == 42.66
    assert len(low) == 18


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


def test_models_of_another_kind_have_data_of_their_own(tmp_path: Path) -> None:
    work = Paper(tmp_path, None)
    folders = {
        name: work.data(of_system(name, "iwslt14", "de-en")).name
        for name in ("abnet", "bert_share", "abnet_gpt")
    }
    assert len(set(folders.values())) == 3
    (prepare,) = work.prepare(of_system("bert_share", "iwslt14", "de-en"))
    assert prepare.command.count("bert-base-multilingual-cased") == 2


def test_unknown_systems_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        paper.main(["system", "gpt5"])
    assert "must name one of the systems abnet, " in capsys.readouterr().err


def run_toy(out: Path, *what: str) -> int:
    return paper.main([*what, "--toy", "--out", str(out), "--results", str(out / "results")])


@pytest.mark.slow
def test_one_system_at_toy_size(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_toy(tmp_path, "system", "abnet_enc_ar") == 0, capfd.readouterr().err
    printed = capfd.readouterr().out
    assert "| abnet_enc_ar | iwslt14 de-en | - |" in printed
    (path,) = (tmp_path / "results").glob("*.json")
    found = json.loads(path.read_text())
    assert (found["system"], found["beam"], found["updates"]) == ("abnet_enc_ar", 5, 8)
    assert found["dataset"] == "toy"


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
