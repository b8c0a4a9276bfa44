"""`abnet distill` with translations that another program made, and arguments that cannot be."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.translated.conftest import Folder, Outcome, write

Run = Callable[..., Outcome]


@pytest.fixture
def adopt(train: str, output: Folder) -> list[str]:
    """The command with translations of another program."""
    write(Path(f"{train}.de"), ["ein Hund", "eine Katze", "zwei Frauen", "ein Mann"])
    return ["distill", "--train", train, "--pair", "de-en", "--output", str(output.path)]


def test_translations_of_another_program(
    run: Run, adopt: list[str], output: Folder, tmp_path: Path
) -> None:
    parts = [write(tmp_path / "1", ["a dog", ""]), write(tmp_path / "2", ["two women", "Ein Mann"])]
    told = ["--teacher-name", "transformer-big, beam 5", "--drop-copies"]
    outcome = run(*adopt, "--translations", *parts, *told)
    assert outcome.status == 0, outcome.errors
    assert "2 pairs of 4; dropped: 1 copy, 1 empty" in outcome.errors
    assert output.lines("de") == ["ein Hund", "zwei Frauen"]
    assert output.lines("en") == ["a dog", "two women"]
    assert output.manifest["distilled"] == {"teacher": "transformer-big, beam 5"}
    digests = [hashlib.sha256(part.read_bytes()).hexdigest() for part in parts]
    assert [one["sha256"] for one in output.manifest["teacher"]["translations"]] == digests
    renamed = ["--teacher-name", "big", "--no-filter"]
    assert run(*adopt, "--translations", *parts, *renamed).status == 0
    assert output.manifest["teacher"]["name"] == output.manifest["distilled"]["teacher"] == "big"
    assert output.lines("en") == ["a dog", "", "two women", "Ein Mann"]
    parts[0].write_text("a dog\na cat\n")
    assert "something else: translations" in run(*adopt, "--translations", *parts, *told).errors


def test_logs_of_fairseq_generate(
    run: Run, adopt: list[str], output: Folder, tmp_path: Path
) -> None:
    logs = [tmp_path / "0.out", tmp_path / "1.out"]
    logs[0].write_text("D-2\t-0.1\ttwo women\nD-0\t-0.1\ta dog\nD-0\t-0.4\tdog\n")
    logs[1].write_text("D-3\t-0.1\ta man\nD-1\t-0.1\ta cat\n")
    outcome = run(*adopt, "--generate-output", *logs, "--teacher-name", "big")
    assert outcome.status == 0, outcome.errors
    assert output.lines("en") == ["a dog", "a cat", "two women", "a man"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "must have one of a checkpoint, --translations and --generate-output"),
        (["x.pt", "--translations", "y"], "must have one of a checkpoint, --translations and"),
        (["--translations", "one"], "`--teacher-name` must say which model made"),
        (["--translations", "one", "--teacher-name", "x"], "one has 1 and "),
        (["--translations", "none", "--teacher-name", "x"], "Cannot read none"),
        (
            ["--translations", "one", "--teacher-name", "x", "--beam", "4"],
            "`--beam` must go with a checkpoint that translates",
        ),
        (
            ["--translations", "one", "--teacher-name", "x", "--part", "1/2"],
            "`--part` must go with a checkpoint that translates",
        ),
        (["no.pt"], "There is no checkpoint 'no.pt'"),
        (["ok.safetensors", "--part", "3/2"], "`--part` must be I/N"),
        (["ok.safetensors", "--shard-lines", "0"], "`--shard-lines` must be at least 1"),
        (["ok.safetensors", "--batch-size", "0"], "`batch_size` must be at least 1"),
        (["ok.safetensors", "--iterations", "0"], "`iterations` must be at least 1"),
        (["ok.safetensors", "--max-ratio", "0"], "`max_ratio` must be at least 1"),
        (
            ["ok.safetensors", "--workers", "1", "--devices", "a,b"],
            "`--workers` must be at least 2",
        ),
        (["ok.safetensors", "--pair", "de"], "`--pair` must be two languages"),
        (
            ["ok.safetensors", "--pair", "it-en"],
            "`--train` must be what two files",
        ),
    ],
)
def test_arguments_that_cannot_be(
    run: Run,
    adopt: list[str],
    checkpoint: str,
    output: Folder,
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "one", ["a dog"])
    shutil.copy(checkpoint, tmp_path / "ok.safetensors")
    positional = [one for one in arguments[:1] if one.endswith((".pt", ".safetensors"))]
    outcome = run("distill", *positional, *adopt[1:], *arguments[len(positional) :])
    assert outcome.status == 2
    assert re.search(message, outcome.errors), outcome.errors
    assert not output.path.exists()


def test_what_a_killed_call_left_goes(
    run: Run, adopt: list[str], output: Folder, tmp_path: Path
) -> None:
    half = write(output.path / "train.en.0a1b2c3d.part", ["a d"])
    translations = write(tmp_path / "one", ["a dog", "a cat", "two women", "a man"])
    outcome = run(*adopt, "--translations", translations, "--teacher-name", "big")
    assert outcome.status == 0, outcome.errors
    assert not half.exists()


def test_names_that_are_no_utf8(run: Run, adopt: list[str], output: Folder, tmp_path: Path) -> None:
    name = os.fsdecode(b"made\xe9.en")
    translations = write(tmp_path / name, ["a dog", "a cat", "two women", "a man"])
    outcome = run(*adopt, "--translations", translations, "--teacher-name", "big")
    assert outcome.status == 0, outcome.errors
    [told] = output.manifest["teacher"]["translations"]
    assert told["file"] == str(translations)
