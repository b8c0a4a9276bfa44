"""The scripts that train and score the paper's tasks: what they run, with stand-ins for it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import ROOT, check_script, parse

CORPORA = {
    "iwslt14": ("de-en", "abnet_iwslt_de_en", 4096),
    "wmt14": ("en-de", "abnet_wmt_en_de", 8 * 4096),
    "wmt16_ro_en": ("ro-en", "abnet_wmt_en_de", 8 * 4096),
    "multi30k": ("de-en", "abnet_iwslt_de_en", 4096),
}
PYTHON = """#!/bin/sh
case "$2" in
*read_checkpoint*)
    if [ "$OBJECTIVE" = unreadable ]; then echo "not a checkpoint" >&2; exit 1; fi
    echo "${{OBJECTIVE:-conditional_masked_lm}}" ;;
*) exec {python} "$@" ;;
esac
"""
STAND_IN = """#!{python}
import json, sys
with open({log!r}, "a") as log:
    log.write(json.dumps([{name!r}, *sys.argv[1:]]) + "\\n")
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the scripts whose .venv has programs that only note how they were called.

    Every checkpoint has the objective that the environment names.
    """
    root = tmp_path / "checkout"
    shutil.copytree(ROOT / "scripts", root / "scripts")
    programs = root / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("abnet", "fairseq-train", "fairseq-generate"):
        (programs / name).write_text(
            STAND_IN.format(python=sys.executable, log=str(root / "log"), name=name)
        )
    (programs / "python").write_text(PYTHON.format(python=sys.executable))
    for program in programs.iterdir():
        program.chmod(0o755)
    return root


def run(checkout: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        ["bash", str(checkout / script), *arguments],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def calls(checkout: Path) -> list[list[str]]:
    return [json.loads(line) for line in (checkout / "log").read_text().splitlines()]


def prepare(checkout: Path, name: str) -> Path:
    folder = checkout / "data-bin" / name
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"berts": ["one bert", "other-bert"]}))
    return folder


@pytest.mark.parametrize("corpus", CORPORA)
def test_training(corpus: str, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair, architecture, tokens = CORPORA[corpus]
    check_script(f"scripts/train/{corpus}.sh")
    data = prepare(checkout, f"{corpus}.{pair}")
    done = run(checkout, f"scripts/train/{corpus}.sh", pair, "--lr", "1e-4", "--bf16")
    assert done.returncode == 0, done.stderr
    (command,) = calls(checkout)
    command[command.index("--user-dir") + 1] = str(ROOT / "fairseq_plugins")
    args = parse(command, monkeypatch)
    assert (args.data, args.arch) == (str(data), architecture)
    assert (args.source_bert, args.target_bert) == ("one bert", "other-bert")
    assert (args.lr, args.bf16) == ([1e-4], True)  # what is given last wins
    assert args.max_tokens * args.update_freq[0] == tokens
    assert args.save_dir == str(checkout / "checkpoints" / f"{corpus}.{pair}")
    assert args.keep_last_epochs == 10


def test_other_data_have_checkpoints_of_their_own(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a training on distilled data would go on from that on the true ones."""
    monkeypatch.setenv("DATA", str(prepare(checkout, "distilled")))
    done = run(checkout, "scripts/train/wmt14.sh", "en-de")
    assert done.returncode == 0, done.stderr
    (command,) = calls(checkout)
    save = checkout / "checkpoints" / "wmt14.en-de-distilled"
    assert command[command.index("--save-dir") + 1] == str(save)
    save.mkdir(parents=True)
    done = run(checkout, "scripts/generate/wmt14.sh", "en-de")
    assert done.returncode == 0, done.stderr
    assert calls(checkout)[1][:3] == ["abnet", "average", str(save)]


@pytest.mark.parametrize("corpus", CORPORA)
def test_scoring(corpus: str, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = CORPORA[corpus][0]
    check_script(f"scripts/generate/{corpus}.sh")
    data = prepare(checkout, f"{corpus}.{pair}")
    runs = checkout / "checkpoints" / f"{corpus}.{pair}"
    runs.mkdir(parents=True)
    done = run(checkout, f"scripts/generate/{corpus}.sh", pair, "--iter-decode-max-iter", "4")
    assert done.returncode == 0, done.stderr
    average, generate, evaluate = calls(checkout)
    averaged = parse(average, monkeypatch)
    assert (averaged.checkpoints, averaged.last) == ([str(runs)], 10)
    generate[generate.index("--user-dir") + 1] = str(ROOT / "fairseq_plugins")
    generated = parse(generate, monkeypatch)
    assert (generated.data, generated.path) == (str(data), averaged.output)
    assert (generated.iter_decode_max_iter, generated.iter_decode_with_beam) == (4, 4)
    assert generated.iter_decode_patience == 1  # the paper's stop
    scored = parse(evaluate, monkeypatch)
    target = pair.split("-")[1]
    assert scored.data == data
    assert scored.references == [str(data / "raw" / f"test.{target}")]
    assert scored.generate_output == [f"{generated.results_path}/generate-test.txt"]
    assert (scored.language, scored.tokenized) == (target, True)
    assert scored.lowercase == (corpus == "iwslt14")


@pytest.mark.parametrize("form", ["{} {}", "{}={}"])
def test_scores_are_of_what_was_decoded(form: str, checkout: Path, tmp_path: Path) -> None:
    data = prepare(checkout, "multi30k.de-en")
    (checkout / "checkpoints" / "multi30k.de-en").mkdir(parents=True)
    former = tmp_path / "elsewhere" / "generate-valid.txt"
    former.parent.mkdir()
    former.write_text("of an earlier call")
    options = form.format("--gen-subset", "valid").split()
    options += form.format("--results-path", former.parent).split()
    done = run(checkout, "scripts/generate/multi30k.sh", "de-en", *options)
    assert done.returncode == 0, done.stderr
    _, generate, evaluate = calls(checkout)
    assert generate[-len(options) :] == options
    assert evaluate[evaluate.index("--generate-output") + 1] == str(former)
    assert evaluate[evaluate.index("--references") + 1] == str(data / "raw" / "valid.en")
    assert not former.exists()  # the stand-in decodes nothing


@pytest.mark.parametrize(
    ("objective", "decoding"), [("autoregressive", ["--beam", "5"]), ("ctc", []), ("dag", [])]
)
def test_each_objective_is_decoded_in_its_own_way(
    objective: str, decoding: list[str], checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OBJECTIVE", objective)
    prepare(checkout, "multi30k.de-en")
    (checkout / "checkpoints" / "multi30k.de-en").mkdir(parents=True)
    done = run(checkout, "scripts/generate/multi30k.sh", "de-en")
    assert done.returncode == 0, done.stderr
    command = calls(checkout)[1]
    place = command.index("--scoring") + 2
    assert command[place : command.index("--results-path")] == decoding


def test_what_cannot_be_read_is_not_decoded(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OBJECTIVE", "unreadable")
    prepare(checkout, "multi30k.de-en")
    (checkout / "checkpoints" / "multi30k.de-en").mkdir(parents=True)
    done = run(checkout, "scripts/generate/multi30k.sh", "de-en")
    assert done.returncode == 1
    assert "not a checkpoint" in done.stderr
    assert [name for name, *_ in calls(checkout)] == ["abnet"]  # averaged, and no more


@pytest.mark.parametrize("kind", ["train", "generate"])
def test_what_must_come_first_is_said(kind: str, checkout: Path) -> None:
    done = run(checkout, f"scripts/{kind}/iwslt14.sh", "it-en")
    assert done.returncode == 2
    assert "run scripts/prepare/iwslt14.sh it-en" in done.stderr
    assert not (checkout / "log").exists()


@pytest.mark.parametrize("kind", ["train", "generate"])
def test_the_project_must_be_installed(
    kind: str, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(checkout / ".venv")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    prepare(checkout, "multi30k.de-en")
    done = run(checkout, f"scripts/{kind}/multi30k.sh", "de-en")
    assert done.returncode == 2
    assert done.stderr == "abnet is not installed: run scripts/setup.sh first\n"


@pytest.mark.parametrize(("gpus", "batches"), [(0, 8), (1, 8), (3, 6), (4, 8), (16, 16)])
def test_batches_of_fewer_or_more_gpus(gpus: int, batches: int, checkout: Path) -> None:
    """All GPUs together gather the paper's eight batches, or it is said how many."""
    (checkout / ".venv/bin/python").unlink()
    (checkout / ".venv/bin/python").symlink_to(sys.executable)
    (checkout / "torch.py").write_text(
        f"class cuda:\n    device_count = staticmethod(lambda: {gpus})\n"
    )
    source = f"source {checkout}/scripts/train/common.sh; gathered"
    done = subprocess.run(
        ["bash", "-c", source], env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(done.stdout) * max(1, gpus) == batches
    assert (f"{gpus} GPUs gather {batches} batches" in done.stderr) == (batches != 8)


@pytest.mark.parametrize("kind", ["train", "generate"])
@pytest.mark.parametrize("corpus", CORPORA)
def test_help_names_the_script_itself(kind: str, corpus: str) -> None:
    done = run(ROOT, f"scripts/{kind}/{corpus}.sh", "--help")
    assert done.returncode == 0
    assert f"scripts/{kind}/{corpus}.sh [PAIR] [OPTION...]" in done.stdout
