"""Preparing into a folder that holds something already: an earlier run, or data of others."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from abnet.corpora import cleaning, preparing
from abnet.corpora.binarize import Binarized
from abnet.errors import AbNetError
from abnet.processes import sole_user
from tests.corpora.conftest import Scene, spelled
from tests.tiny import forget_case


class KilledError(Exception):
    """Stands for a killed process."""


@pytest.mark.parametrize(
    ("after", "valid_every", "overlong_source"),
    [*((n, every, "drop") for n in (0, 1, 3) for every in (0, 4)), (1, 0, "truncate")],
)
def test_interruption_loses_nothing(
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
    after: int,
    valid_every: int,
    overlong_source: str,
) -> None:
    if overlong_source == "truncate":
        scene.write("train", [(f"{spelled(n)}{' ein' * 60}", spelled(n)) for n in range(50)])
    scene.options = dataclasses.replace(scene.options, overlong_source=overlong_source)
    corpus = scene.corpus(("train", "test"), valid_every=valid_every)
    monkeypatch.setattr(cleaning, "CHUNK_PAIRS", 9)
    scene.prepare(corpus, dest=scene.root / "whole")
    whole = dataclasses.replace(scene.options, dest=scene.root / "whole")
    expected = Scene.digest(_At(scene, whole.dest))

    chunks = 0
    original = preparing.SplitWriter.write

    def write(self: Any, pairs: Any) -> None:
        nonlocal chunks
        if "raw/train.de" in self.names:
            chunks += 1
            if chunks > after:
                original(self, pairs)
                for stream in self._streams.values():
                    stream.flush()  # half a chunk is on the disk
                raise KilledError
        original(self, pairs)

    monkeypatch.setattr(preparing.SplitWriter, "write", write)
    with pytest.raises(KilledError):
        scene.prepare(corpus)
    assert not (scene.dest / "raw/train.de").exists()
    assert (scene.dest / "raw/test.de").exists()
    before = (scene.dest / "raw/test.de").stat().st_mtime_ns
    monkeypatch.setattr(preparing.SplitWriter, "write", original)
    manifest = scene.prepare(corpus)
    assert scene.digest() == expected
    assert (scene.dest / "raw/test.de").stat().st_mtime_ns == before  # not done again
    assert manifest["steps"]["train"]["read"] == 50
    if overlong_source == "truncate":
        assert manifest["steps"]["train"]["written"]["train"]["truncated_sources"] == 50


class _At:
    """A scene's `digest` somewhere else."""

    def __init__(self, scene: Scene, dest: Path) -> None:
        self.dest = dest


def test_nothing_is_done_twice(scene: Scene) -> None:
    scene.prepare()
    before = {path: path.stat().st_mtime_ns for path in scene.dest.glob("*/*")}
    scene.prepare()
    assert {path: path.stat().st_mtime_ns for path in scene.dest.glob("*/*")} == before


def test_damaged_result_is_made_again(scene: Scene) -> None:
    scene.prepare()
    expected = scene.digest()
    (scene.dest / "pieces/train.de").write_text("half")
    (scene.dest / "raw/test.en").unlink()
    scene.prepare()
    assert scene.digest() == expected


def test_data_of_something_else_stays(scene: Scene) -> None:
    scene.prepare()
    before = scene.digest()
    with pytest.raises(AbNetError, match=r"something else: pieces .*; vocabularies.*overwrite"):
        scene.prepare(source_bert=scene.options.target_bert)
    assert scene.digest() == before
    scene.write("test", [("das Buch", "the book")])
    with pytest.raises(AbNetError, match="something else: files"):
        scene.prepare()
    scene.prepare(overwrite=True)
    assert scene.lines("raw/test.de") == ["das Buch"]


def test_a_tokenizer_that_cuts_in_another_way_is_something_else(scene: Scene) -> None:
    """Though its vocabulary is the same."""
    bert = shutil.copytree(scene.options.source_bert, scene.root / "lower")
    scene.prepare(source_bert=str(bert))
    assert scene.lines("pieces/test.de")[0].startswith("der A")
    before = scene.digest()
    forget_case(bert)
    with pytest.raises(AbNetError, match="prepared from something else: pieces"):
        scene.prepare(source_bert=str(bert))
    assert scene.digest() == before
    scene.prepare(source_bert=str(bert), overwrite=True)
    assert scene.lines("pieces/test.de")[0].startswith("der a")
    manifest = scene.dest / "manifest.json"
    older = json.loads(manifest.read_text())
    del older["made_from"]["pieces"]  # as versions wrote it that did not look at that
    manifest.write_text(json.dumps(older))
    before = scene.digest()
    scene.prepare()
    assert scene.digest() == before


def test_nothing_is_overwritten_by_what_cannot_be_read(scene: Scene) -> None:
    scene.prepare()
    before = scene.digest()
    (scene.root / "train.de").write_text("der Hund\nein Ball\n")
    (scene.root / "train.en").write_text("the dog\n")
    with pytest.raises(AbNetError, match=r"train\.en must have the same number of lines"):
        scene.prepare(overwrite=True)
    assert scene.digest() == before
    scene.write("train", [("der Hund", "the dog")])
    with pytest.raises(AbNetError, match=r"holds data that was prepared from something else"):
        scene.prepare()


def test_what_failed_at_its_first_line_is_nothing_to_overwrite(scene: Scene) -> None:
    """A folder in which nothing was made but a record of what was to be."""
    scene.write("test", [(" ".join(["der"] * 60), "the")])
    with pytest.raises(AbNetError, match=r"test\.de, line 1: a source must have at most"):
        scene.prepare(overlong_source="refuse")
    scene.write("test", [("der", "the")])
    scene.prepare(overlong_source="refuse")
    assert scene.lines("raw/test.de") == ["der"]


def test_what_was_never_finished_is_said_to_be_so(scene: Scene) -> None:
    good = (scene.root / "train.de").read_bytes()
    (scene.root / "train.de").write_bytes(b"\xff" + good)
    with pytest.raises(AbNetError, match=r"train\.de.*UTF-8"):
        scene.prepare()
    (scene.root / "train.de").write_bytes(good)
    with pytest.raises(AbNetError, match=r"files of train .*what was never finished"):
        scene.prepare()
    scene.prepare(overwrite=True)
    assert scene.lines("raw/train.de")


def test_files_that_changed_places_are_something_else(scene: Scene) -> None:
    """Splits or sides whose files are the same ones as before, in another order."""
    scene.prepare()
    before = scene.digest()
    for language in ("de", "en"):
        valid, test = (scene.root / f"{split}.{language}" for split in ("valid", "test"))
        (scene.root / "spare").write_bytes(valid.read_bytes())
        valid.write_bytes(test.read_bytes())
        test.write_bytes((scene.root / "spare").read_bytes())
    with pytest.raises(AbNetError, match=r"something else: files of test .*; files of valid"):
        scene.prepare()
    assert scene.digest() == before
    scene.prepare(overwrite=True)
    assert scene.lines("raw/valid.de") == ["der Arzt", "der Ball"]
    german, english = scene.root / "train.de", scene.root / "train.en"
    texts = german.read_bytes(), english.read_bytes()
    english.write_bytes(texts[0])
    german.write_bytes(texts[1])
    with pytest.raises(AbNetError, match="something else: files of train"):
        scene.prepare()


@pytest.mark.parametrize("linked", [False, True])
def test_what_is_read_is_not_overwritten(scene: Scene, tmp_path: Path, linked: bool) -> None:
    scene.prepare()
    before = scene.digest()
    given = scene.dest / "raw"
    if linked:
        given = tmp_path / "links"
        given.mkdir()
        for file in (scene.dest / "raw").iterdir():
            (given / file.name).symlink_to(file)
    with pytest.raises(AbNetError, match=r"train.* is to be read, but would be deleted or"):
        scene.prepare(scene.corpus(("train", "valid")), given=given, overwrite=True)
    assert scene.digest() == before


def test_missing_binary_files_are_made_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def binarize(folder: Path, *_: Any) -> Binarized:
        (folder / "train.bin").write_bytes(b"binary")
        return Binarized([], ["train.bin"])

    monkeypatch.setattr(preparing, "binarize", binarize)
    scene.prepare(text_only=False)
    (scene.dest / "train.bin").unlink()
    scene.prepare(text_only=False)
    assert (scene.dest / "train.bin").exists()


@pytest.mark.parametrize("content", ["[]", '{"made_from": {"kind": "distilled"}, "result": {}}'])
def test_manifest_of_another_command(scene: Scene, content: str) -> None:
    scene.dest.mkdir()
    mine = scene.dest / "train.de"
    mine.write_text("mine")
    (scene.dest / "manifest.json").write_text(content)
    with pytest.raises(AbNetError, match=r"not a manifest of `abnet prepare`, but another"):
        scene.prepare(overwrite=True)
    assert mine.read_text() == "mine"


def test_foreign_folder_stays(scene: Scene) -> None:
    (scene.dest / "raw").mkdir(parents=True)
    (scene.dest / "raw/train.de").write_text("mine")
    with pytest.raises(
        AbNetError, match=r"`--dest` must be a new folder .* has raw and no manifest"
    ):
        scene.prepare(overwrite=True)
    assert (scene.dest / "raw/train.de").read_text() == "mine"


def test_another_programs_data_stay(scene: Scene) -> None:
    scene.dest.mkdir(parents=True)
    for file in ("dict.de.txt", "train.de-en.de.bin"):
        (scene.dest / file).write_text("mine")
    with pytest.raises(AbNetError, match=r"has dict\.de\.txt and train\.de-en\.de\.bin and no man"):
        scene.prepare(overwrite=True)
    assert (scene.dest / "dict.de.txt").read_text() == "mine"


def test_broken_manifest(scene: Scene) -> None:
    scene.prepare()
    (scene.dest / "manifest.json").write_text("{")
    with pytest.raises(AbNetError, match=r"manifest\.json is not a manifest"):
        scene.prepare()


def test_folder_that_is_being_prepared_is_let_alone(scene: Scene) -> None:
    with sole_user(scene.dest), pytest.raises(AbNetError, match="is in use by another process"):
        scene.prepare(scene.corpus(("train", "test")))
    assert not any(scene.dest.iterdir())
