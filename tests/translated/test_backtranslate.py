"""`abnet backtranslate`; the tiny teacher stands for the reverse model of an English-German one."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abnet.decoding.mask_predict import DecodingOptions
from abnet.model import AbNet
from abnet.translated.back_translation import most_synthetic
from abnet.translated.translating import Teacher
from abnet.translator import Translator
from tests.corpora.making import lines
from tests.test_checkpoint import save_fairseq
from tests.tiny import GERMAN
from tests.translated.conftest import Folder, Outcome, write

Run = Callable[..., Outcome]
TRUE = [("a dog", "ein Hund"), ("a cat", "eine Katze")]


@pytest.fixture
def command(checkpoint: str, output: Folder, tmp_path: Path) -> list[str]:
    """English-German, two true pairs, and eight German lines in a file with two empty ones."""
    mono = write(tmp_path / "mono.de", [*GERMAN[:4], "", *GERMAN[4:], " "])
    for at, language in enumerate(("en", "de")):
        write(tmp_path / f"train.{language}", [pair[at] for pair in TRUE])
    return [
        "backtranslate", checkpoint, "--pair", "en-de", "--mono", str(mono),
        "--true", str(tmp_path / "train"), "--output", str(output.path),
        "--shard-lines", "3", "--devices", "cpu", "--no-filter",
    ]  # fmt: skip


def test_true_pairs_first_then_synthetic_ones(
    run: Run, command: list[str], output: Folder, tiny_model: AbNet, checkpoint: str
) -> None:
    outcome = run(*command, "--ratio", "100", "--upsample-true", "2")
    assert outcome.status == 0, outcome.errors
    translations = Translator(tiny_model, "cpu").translate(GERMAN)
    assert output.lines("de") == [*(pair[1] for pair in TRUE * 2), *GERMAN]
    assert output.lines("en") == [*(pair[0] for pair in TRUE * 2), *translations]
    result = output.result
    assert (result["true_pairs"], result["upsample_true"]) == (2, 2)
    assert (result["synthetic_pairs"], result["pairs"]) == (8, 12)
    assert output.manifest["back_translated"]["teacher"] == checkpoint
    assert output.manifest["made_from"]["sample"] == {"taken": 8, "of": 8, "seed": None}
    assert "2 true pairs (2 times) and 8 synthetic ones; dropped: none" in outcome.errors
    before = output.times()
    # All lines are taken in any case: neither seed nor ratio asks for other translations.
    assert run(*command, "--ratio", "50", "--upsample-true", "1", "--seed", "9").status == 0
    assert output.times() == before
    assert len(output.lines("de")) == 10


def test_true_pairs_that_are_raw_again_are_told_as_raw(
    run: Run, command: list[str], output: Folder, tmp_path: Path
) -> None:
    """All lines are taken both times, so that the second call finds the first one's shards."""
    files = {
        name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
        for name in ("train.en", "train.de")
    }
    of_teacher = tmp_path / "manifest.json"
    of_teacher.write_text(
        json.dumps(
            {
                "made_from": {"kind": "distilled", "pair": "en-de"},
                "result": {"files": files},
                "distilled": {"teacher": "big"},
            }
        )
    )
    assert run(*command, "--ratio", "100").status == 0
    assert output.manifest["distilled"]["teacher"] == "big"
    of_teacher.unlink()
    assert run(*command, "--ratio", "100").status == 0
    assert "distilled" not in output.manifest
    assert "back_translated" in output.manifest


def test_what_came_out_is_no_true_pair_of_the_same_call(
    run: Run, command: list[str], output: Folder
) -> None:
    assert run(*command, "--ratio", "100").status == 0
    before = output.lines("de")
    outcome = run(*command, "--ratio", "100", "--true", str(output.path / "train"))
    assert outcome.status == 2
    assert "is to be read, but would be deleted or written over" in outcome.errors
    assert output.lines("de") == before


def test_the_sample_depends_on_the_seed(run: Run, command: list[str], output: Folder) -> None:
    found = {}
    for seed in range(4):
        outcome = run(*command, "--ratio", "1.5", "--seed", str(seed), "--overwrite")
        assert outcome.status == 0, outcome.errors
        assert "3 of 8 lines are taken, 1.5 for each true pair at most" in outcome.errors
        found[seed] = output.lines("de")[2:]
        assert len(found[seed]) == 3
        assert found[seed] == [line for line in GERMAN if line in found[seed]]
    assert len({tuple(lines) for lines in found.values()}) > 1
    outcome = run(*command, "--ratio", "1.5", "--seed", "0")
    assert outcome.status == 2
    assert "something else: sample (" in outcome.errors


def test_held_out_lines_are_not_taken(
    run: Run, command: list[str], output: Folder, tmp_path: Path
) -> None:
    held_out = write(tmp_path / "test.de", [GERMAN[2].upper()])
    assert run(*command, "--ratio", "100", "--exclude", held_out).status == 0
    assert output.lines("de")[2:] == [*GERMAN[:2], *GERMAN[3:]]
    digest = hashlib.sha256(held_out.read_bytes()).hexdigest()
    assert output.manifest["exclude"] == [{"file": str(held_out), "sha256": digest, "lines": 1}]


def test_what_is_read_twice_is_no_pipe(
    run: Run, command: list[str], output: Folder, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    outcome = run(*command, "--exclude", str(tmp_path / "pipe"))
    assert outcome.status == 2
    assert "pipe must be a file, since it is read more than once" in outcome.errors
    assert not output.path.exists()


@pytest.mark.parametrize("kind", ["distill", "backtranslate"])
def test_a_model_of_the_other_direction_is_refused(
    kind: str, run: Run, command: list[str], output: Folder, tiny_model: AbNet, tmp_path: Path
) -> None:
    """Where the checkpoint says of which direction it is, as those of `fairseq-train` do."""
    model = {**tiny_model.config.to_dict(), "_name": "abnet"}
    files = {}
    for pair in ("de-en", "en-de", "document-summary"):
        source, target = pair.split("-")
        task = {"source_lang": source, "target_lang": target}
        files[pair] = tmp_path / f"{pair}.pt"
        save_fairseq(files[pair], tiny_model, cfg={"model": model, "task": task})
    if kind == "distill":
        command = ["distill", "", "--pair", "de-en", "--train", str(tmp_path / "train")]
        command += ["--output", str(output.path), "--devices", "cpu", "--no-filter"]
    command[1] = str(files["en-de"])
    outcome = run(*command)
    assert outcome.status == 2
    message = f"must translate from de into en, but {files['en-de']} was trained from en into de"
    assert message in outcome.errors
    assert not output.path.exists()
    said: list[str] = []
    Teacher((files["de-en"],), DecodingOptions()).check_direction("de", "en", said.append)
    assert not said
    # Of another task it may be anything.
    other = files["document-summary"]
    Teacher((other,), DecodingOptions()).check_direction("de", "en", said.append)
    assert said == [
        f"warning: the model is to translate from de into en, but {other} was trained from "
        "document into summary"
    ]


def test_the_filter_drops_synthetic_pairs_alone(
    run: Run, command: list[str], output: Folder, tmp_path: Path
) -> None:
    command.remove("--no-filter")
    write(tmp_path / "train.en", ["a dog", ""])
    mono = write(tmp_path / "mono.de", [GERMAN[0], "שלום", GERMAN[1]])
    options = ["--max-ratio", "99", "--max-repeats", "99"]
    assert run(*command, "--mono", mono, "--ratio", "2", *options).status == 0
    assert output.result["dropped"] == {"unknown": 1}
    assert output.result["synthetic_pairs"] == 2
    assert output.lines("de") == ["ein Hund", "eine Katze", GERMAN[0], GERMAN[1]]


def test_compressed_text(run: Run, command: list[str], output: Folder, tmp_path: Path) -> None:
    packed = tmp_path / "more.de.gz"
    packed.write_bytes(gzip.compress(lines(["der Hund"]).encode()))
    for language in ("en", "de"):
        path = tmp_path / f"train.{language}"
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert run(*command, "--mono", packed).status == 0
    assert output.lines("de") == ["ein Hund", "eine Katze", "der Hund"]


@given(st.integers(0, 10**9), st.integers(1, 50), st.fractions(min_value=0, max_value=100))
def test_ratio(true_pairs: int, upsample: int, ratio: Fraction) -> None:
    """The most whole number of pairs that is not beyond the ratio."""
    most = most_synthetic(true_pairs, upsample, ratio)
    assert most <= ratio * true_pairs * upsample < most + 1


def test_ratio_is_exact() -> None:
    assert most_synthetic(100, 1, Fraction("0.29")) == 29  # int(0.29 * 100) is 28


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ratio", "much"], "`--ratio` must be a number such as 0.5, but is much instead."),
        (["--ratio", "1/0"], "`--ratio` must be a number"),
        (["--ratio", "1e400"], "`--ratio` must be a number"),
        (["--ratio", "-1"], "`ratio` must be more than 0, but is -1.0 instead."),
        (["--ratio", "0.4"], "large enough for one synthetic pair, but is 0.4 with 2 true pairs"),
        (["--upsample-true", "0"], "`upsample_true` must be at least 1, but is 0 instead."),
        (["--true", "nothing"], "`--true` must be what two files nothing.LANGUAGE have in common"),
        (["--mono", "nothing"], "Cannot read nothing"),
        (["--exclude", "nothing"], "Cannot read nothing"),
        (["--pair", "de-de"], "`--pair` must be two languages"),
    ],
)
def test_arguments_that_cannot_be(
    run: Run, command: list[str], output: Folder, arguments: list[str], message: str
) -> None:
    outcome = run(*command, *arguments)
    assert outcome.status == 2
    assert message in outcome.errors
    assert not output.path.exists()
