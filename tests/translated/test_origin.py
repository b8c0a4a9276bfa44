"""From distilled text to the scores: every step hands on where the training data come from."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from abnet.cli import main
from abnet.corpora import wmt16_ro_en
from abnet.errors import AbNetError
from abnet.translated.origin import describe_origin, origin_of
from tests.conftest import TinyBerts
from tests.tiny import ENGLISH, GERMAN
from tests.translated.conftest import Folder, Outcome, write

Run = Callable[..., Outcome]
TEACHER = {"distilled": {"teacher": "big"}}


@pytest.fixture
def made(run: Run, tmp_path: Path) -> Path:
    """The folder of `abnet distill` with translations of another program, and held-out text."""
    for language, texts in (("de", GERMAN), ("en", ENGLISH)):
        write(tmp_path / f"train.{language}", texts)
        write(tmp_path / f"held.{language}", texts[:2])
    outcome = run(
        "distill", "--train", tmp_path / "train", "--pair", "de-en", "--output", tmp_path / "made",
        "--translations", tmp_path / "train.en", "--teacher-name", "big",
    )  # fmt: skip
    assert outcome.status == 0, outcome.errors
    return tmp_path / "made"


@pytest.fixture
def prepare(run: Run, tmp_path: Path, tiny_berts: TinyBerts) -> Callable[..., Any]:
    """Prepares text with some training files; the manifest."""

    def call(train: Path, *more: str, pair: str = "de-en", dest: str = "data") -> dict[str, Any]:
        source, target = tiny_berts if pair == "de-en" else tiny_berts[::-1]
        held = str(tmp_path / "held")
        outcome = run(
            "prepare", "text", "--pair", pair, "--train", train, "--valid", held, "--test", held,
            "--source-bert", source, "--target-bert", target, "--dest", tmp_path / dest,
            "--text-only", "--workers", "1", *more,
        )  # fmt: skip
        assert outcome.status == 0, outcome.errors
        call.errors = outcome.errors  # type: ignore[attr-defined]
        found: dict[str, Any] = json.loads((tmp_path / dest / "manifest.json").read_text())
        return found

    return call


def test_prepare_hands_the_origin_on(prepare: Any, made: Path, tmp_path: Path) -> None:
    manifest = prepare(made / "train")
    assert manifest["distilled"] == {"teacher": "big"}
    assert "back_translated" not in manifest
    assert "abnet: training data: distilled by big" in prepare.errors
    again = prepare(tmp_path / "data" / "raw" / "train", dest="again")
    assert again["distilled"] == {"teacher": "big"}


def test_raw_text_has_no_origin(prepare: Any, made: Path, tmp_path: Path) -> None:
    manifest = prepare(tmp_path / "train")
    assert not {"distilled", "back_translated"} & manifest.keys()
    assert "abnet: training data: raw" in prepare.errors
    # What was prepared of it before is not "something else" when the teacher is told later.
    later = prepare(tmp_path / "train", "--distilled-by", "somebody")
    assert later["distilled"] == {"teacher": "somebody"}
    assert later["made_from"] == manifest["made_from"]
    assert "distilled" not in prepare(tmp_path / "train")


def test_in_the_other_direction_the_sides_change_places(prepare: Any, made: Path) -> None:
    manifest = prepare(made / "train", pair="en-de")
    assert manifest["back_translated"] == {"teacher": "big"}
    assert "distilled" not in manifest


def test_with_another_language_only_what_a_model_wrote_counts(made: Path) -> None:
    """English is the model's, German is people's; French comes from elsewhere."""
    for language in ("fr", "en"):
        write(made.parent / f"other.{language}", ["un chien"])
    french = made.parent / "other.fr"
    assert origin_of([made / "train.de", french], "de-fr") == {}
    assert origin_of([french, made / "train.en"], "fr-en") == TEACHER
    assert origin_of([made / "train.en", french], "en-fr") == {
        "back_translated": {"teacher": "big"}
    }


def test_back_translated_and_distilled(
    run: Run, prepare: Any, made: Path, checkpoint: str, tmp_path: Path
) -> None:
    """True pairs that are distilled, mixed with back-translations of the tiny model."""
    output = Folder(tmp_path / "mixed")
    outcome = run(
        "backtranslate", checkpoint, "--pair", "de-en", "--mono", tmp_path / "train.de",
        "--true", made / "train", "--output", output.path, "--no-filter", "--devices", "cpu",
        "--teacher-name", "tiny",
    )  # fmt: skip
    assert outcome.status == 0, outcome.errors
    manifest = prepare(output.path / "train")
    assert manifest["distilled"] == {"teacher": "big"}
    assert manifest["back_translated"]["teacher"] == "tiny"
    assert manifest["back_translated"]["decoding"]["iterations"] == 10
    assert "training data: distilled by big, with back-translations by tiny" in prepare.errors
    # Distilled anew, the targets are the new teacher's; the sources are in part the model's still.
    second = tmp_path / "second"
    run(
        "distill", "--train", output.path / "train", "--pair", "de-en", "--output", second,
        "--translations", output.path / "train.en", "--teacher-name", "huge", "--no-filter",
    )  # fmt: skip
    found = origin_of([second / "train.de", second / "train.en"], "de-en")
    assert found["distilled"] == {"teacher": "huge"}
    assert found["back_translated"]["teacher"] == "tiny"


def test_wmt16_with_back_translations() -> None:
    assert wmt16_ro_en.build("ro", "en").origin == {}
    origin = wmt16_ro_en.build("ro", "en", back_translated=True).origin
    assert describe_origin(origin) == "raw, with back-translations by Sennrich et al. (2016)"


def test_files_that_were_changed(made: Path) -> None:
    files = [made / "train.de", made / "train.en"]
    assert origin_of(files, "de-en") == TEACHER
    packed = files[1].with_name("train.en.gz")
    packed.write_bytes(gzip.compress(files[1].read_bytes()))
    assert origin_of([files[0], packed], "de-en") == TEACHER
    assert origin_of([write(made / "other.de", ["mine"])], "de-en") == {}
    files[1].write_text("changed\n")
    with pytest.raises(AbNetError, match=r"train\.en must be as it was written, but differs"):
        origin_of(files, "de-en")


def test_files_that_are_not_finished(made: Path) -> None:
    path = made / "manifest.json"
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "result": None}))
    with pytest.raises(AbNetError, match=r"train\.de must be finished, but the manifest\.json"):
        origin_of([made / "train.de"], "de-en")


@pytest.mark.parametrize("content", ["{", "[]", '{"name": "a web page"}'])
def test_manifests_of_others_say_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    assert origin_of([write(tmp_path / "train.de", ["mine"])], "de-en") == {}


def test_a_name_of_a_side_may_have_a_hyphen(run: Run, tmp_path: Path) -> None:
    train = write(tmp_path / "train.en", ["a dog"])
    output = Folder(tmp_path / "out")
    outcome = run(
        "distill", "--train", tmp_path / "train", "--pair", "en-zh-Hant", "--output", output.path,
        "--translations", train, "--teacher-name", "big",
    )  # fmt: skip
    assert outcome.status == 0, outcome.errors
    assert output.lines("zh-Hant") == ["a dog"]
    files = [output.path / f"train.{side}" for side in ("en", "zh-Hant")]
    assert origin_of(files, "en-zh-Hant") == TEACHER


@pytest.fixture
def scored(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Scores perfect translations of the test set of a prepared folder."""

    def call(*more: str) -> str:
        hypotheses = write(tmp_path / "hypotheses", ENGLISH[:2])
        command = ["evaluate", "--hypotheses", str(hypotheses), *more]
        assert main([*command, "--data", str(tmp_path / "data")]) == 0
        return capsys.readouterr().out

    return call


def test_scores_say_distilled(prepare: Any, made: Path, scored: Callable[..., str]) -> None:
    prepare(made / "train")
    printed = scored().splitlines()
    assert printed[0].split()[:2] == ["BLEU", "100.00"]
    assert printed[-1] == "training data: distilled by big"
    found = json.loads(scored("--json"))
    assert (found["bleu"], found["sentences"]) == (pytest.approx(100), 2)
    assert found["training_data"] == "distilled by big"
    assert (found["distilled"], found["teacher"]) == (True, "big")


def test_scores_say_raw(
    prepare: Any, made: Path, scored: Callable[..., str], tmp_path: Path
) -> None:
    prepare(tmp_path / "train")
    assert scored().splitlines()[-1] == "training data: raw"
    found = json.loads(scored("--json", "--references", str(tmp_path / "held.en")))
    assert (found["training_data"], found["distilled"]) == ("raw", False)
    assert "teacher" not in found


def test_scores_without_the_folder(run: Run, made: Path, tmp_path: Path) -> None:
    hypotheses = write(tmp_path / "hypotheses", ["a"])
    outcome = run("evaluate", "--hypotheses", hypotheses)
    assert (outcome.status, outcome.errors) == (
        2,
        "abnet: error: `abnet evaluate` must have --references or --data, but has neither.\n",
    )
    for folder in (tmp_path, made):
        outcome = run("evaluate", "--hypotheses", hypotheses, "--data", folder)
        assert outcome.status == 2
        assert (
            f"`--data` must be a folder that `abnet prepare` made, but {folder} has no "
            "manifest.json of it."
        ) in outcome.errors
