from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from abnet.corpora import cleaning, preparing
from abnet.corpora.binarize import Binarized
from abnet.corpora.corpus import Archive, Corpus, Pair, Part, Rules, TextFile
from abnet.corpora.formats import read_text_pairs
from abnet.corpora.preparing import Options, longest_pieces, prepare
from abnet.errors import AbNetError
from tests.conftest import TinyBerts
from tests.corpora.making import lines

GERMAN = ["der kleine Hund", "ein Mann liest", "zwei Frauen spielen", "das Mädchen isst"]
ENGLISH = ["the little dog", "a man reads", "two women play", "the girl eats"]


def name(number: int) -> str:
    """A number in letters, which the tiny BERTs know."""
    return " ".join("adehilnrst"[int(digit)] for digit in str(number))


class Scene:
    """A folder of texts, and what is prepared from it."""

    def __init__(self, root: Path, berts: TinyBerts) -> None:
        self.root = root
        self.dest = root / "out"
        self.said: list[str] = []
        self.options = Options(
            berts.german, berts.english, self.dest, root / "downloads", root, text_only=True
        )
        pairs = [(f"{GERMAN[n % 4]} {name(n)}", f"{ENGLISH[n % 4]} {name(n)}") for n in range(50)]
        self.write("train", pairs)
        self.write("valid", [("der Zug", "the train")])
        self.write("test", [("der Arzt", "the doctor"), ("der Ball", "the ball")])

    def write(self, split: str, pairs: list[Pair]) -> None:
        for language, texts in zip(("de", "en"), zip(*pairs, strict=True), strict=True):
            (self.root / f"{split}.{language}").write_text(lines(list(texts)))

    def corpus(self, splits: tuple[str, ...] = ("train", "valid", "test"), **more: Any) -> Corpus:
        parts = tuple(
            Part(
                split,
                TextFile(Archive(f"{split}.de")),
                TextFile(Archive(f"{split}.en")),
                read_text_pairs,
            )
            for split in splits
        )
        return Corpus("scene", "de", "en", parts, **more)

    def prepare(self, corpus: Corpus | None = None, **options: Any) -> dict[str, Any]:
        self.said.clear()
        changed = dataclasses.replace(self.options, **options)
        return prepare(corpus or self.corpus(), changed, self.said.append).data

    def lines(self, name: str) -> list[str]:
        return (self.dest / name).read_text(encoding="utf-8").split("\n")[:-1]

    def warnings(self) -> list[str]:
        return [line for line in self.said if line.startswith("warning")]

    def digest(self) -> dict[str, str]:
        """Hashes of all text that was written."""
        files = [*self.dest.glob("raw/*"), *self.dest.glob("pieces/*")]
        return {
            str(path.relative_to(self.dest)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
        }


@pytest.fixture
def scene(tmp_path: Path, tiny_berts: TinyBerts) -> Scene:
    return Scene(tmp_path, tiny_berts)


def test_raw_pieces_and_manifest(scene: Scene) -> None:
    manifest = scene.prepare()
    assert scene.lines("raw/test.de") == ["der Arzt", "der Ball"]
    assert scene.lines("raw/train.en")[5] == "a man reads l"
    assert len(scene.lines("pieces/train.de")) == 50
    joined = "".join(scene.lines("pieces/train.de")[5].split()).replace("##", "")
    assert joined == "einMannliestl"
    step = manifest["steps"]["train"]
    assert (step["done"], step["read"], step["dropped"]) == (True, 50, {})
    pieces = sum(len(line.split()) for line in scene.lines("pieces/train.en"))
    assert step["written"]["train"]["pieces"]["en"] == pieces
    assert manifest == json.loads((scene.dest / "manifest.json").read_text())
    source = manifest["sources"][str(scene.root / "train.de")]
    content = (scene.root / "train.de").read_bytes()
    assert source["sha256"] == hashlib.sha256(content).hexdigest()
    assert not list(scene.dest.rglob("*.part"))


def test_every_nth_clean_pair_is_for_validation(scene: Scene) -> None:
    pairs = [(f"der Hund {name(n)}", f"the dog {name(n)}") for n in range(1, 47)]
    pairs.insert(3, ("", "empty"))  # dropped before counting
    scene.write("train", pairs)
    scene.prepare(scene.corpus(("train", "test"), valid_every=23))
    assert scene.lines("raw/valid.de") == [f"der Hund {name(23)}", f"der Hund {name(46)}"]
    kept = scene.lines("raw/train.en")
    assert len(kept) == 44
    assert f"the dog {name(23)}" not in kept


def test_drops_are_counted_and_said(scene: Scene) -> None:
    long = " ".join(["der"] * 47)  # the tiny BERTs have 48 positions
    pairs = [("der Hund", "the dog"), ("", "x"), ("ein", "a a a"), (long, long), ("ein", "a")]
    scene.write("train", pairs)
    manifest = scene.prepare(scene.corpus(rules=Rules(max_ratio=2.0)))
    step = manifest["steps"]["train"]
    assert step["dropped"] == {"empty": 1, "ratio": 1}
    assert step["written"]["train"]["too_long_for_bert"] == 1
    assert scene.lines("raw/train.de") == ["der Hund", "ein"]
    assert "train: 2 pairs; dropped of 5: 1 empty, 1 ratio, 1 too_long_for_bert" in scene.said


def test_validation_and_test_pairs_are_all_kept(scene: Scene) -> None:
    long = " ".join(["der"] * 60)
    scene.write("test", [(long, "the"), ("", "x"), ("der", "the the the the")])
    scene.prepare(scene.corpus(rules=Rules(max_length=9, max_ratio=1.5)))
    assert scene.lines("raw/test.de") == [long, "", "der"]
    assert scene.lines("pieces/test.de")[1] == ""
    warnings = "\n".join(scene.warnings())
    assert "1 pairs of test have an empty side" in warnings
    assert "1 pairs of test have a side that is too long for its BERT" in warnings


@pytest.fixture
def long(scene: Scene) -> str:
    """A text of 60 pieces for BERTs that take 46, as a source of every split at the second line."""
    text = " ".join(["der"] * 60)
    for split in ("train", "valid", "test"):
        scene.write(split, [("der Hund", "the dog"), (text, "the"), ("ein Ball", "a ball")])
    return text


def test_overlong_sources_are_truncated_by_choice(scene: Scene, long: str) -> None:
    scene.write("test", [(long, long), (long, "the")])
    manifest = scene.prepare(overlong_source="truncate")
    cut = " ".join(["der"] * 46)
    assert scene.lines("raw/train.de") == ["der Hund", cut, "ein Ball"]
    assert scene.lines("pieces/valid.de")[1] == cut
    assert scene.lines("raw/test.de") == [cut, cut]
    written = {split: step["written"][split] for split, step in manifest["steps"].items()}
    assert {split: counts["truncated_sources"] for split, counts in written.items()} == {
        "train": 1, "valid": 1, "test": 2,
    }  # fmt: skip
    assert written["train"]["too_long_for_bert"] == 0
    assert written["test"]["too_long_for_bert"] == 1  # the target
    german = scene.options.source_bert
    assert f"train: 1 sources were truncated to the 46 pieces that {german} takes" in scene.said
    assert manifest["made_from"]["overlong_source"] == "truncate"


def test_overlong_sources_are_refused_by_choice(scene: Scene, long: str) -> None:
    with pytest.raises(
        AbNetError,
        match=r"test\.de, line 2: a source must have at most 46 pieces of .*, but has 60\. Shorten "
        r"it, or choose `--overlong-source truncate` or `drop`; then .* `--overwrite`",
    ):
        scene.prepare(overlong_source="refuse")
    for split in ("valid", "test"):
        scene.write(split, [("der Hund", "the dog")])
    with pytest.raises(AbNetError, match=r"train\.de, line 2: a source must have"):
        scene.prepare(overlong_source="refuse", overwrite=True)
    scene.write("train", [("der Hund", "the dog"), ("der", long)])
    manifest = scene.prepare(overlong_source="refuse", overwrite=True)
    assert manifest["steps"]["train"]["written"]["train"]["too_long_for_bert"] == 1


def test_changed_choice_for_overlong_sources(scene: Scene, long: str) -> None:
    manifest = scene.prepare()
    assert "overlong_source" not in manifest["made_from"]  # nor in folders of before the choice
    assert "truncated_sources" not in manifest["steps"]["train"]["written"]["train"]
    with pytest.raises(
        AbNetError, match=r'something else: overlong_source \(the default, now "truncate"\)'
    ):
        scene.prepare(overlong_source="truncate")
    scene.prepare(overlong_source="truncate", overwrite=True)
    with pytest.raises(AbNetError, match=r'overlong_source \("truncate", now the default\)'):
        scene.prepare()
    with pytest.raises(
        AbNetError, match=r"`overlong_source` must be one of drop, .* but is cut in"
    ):
        scene.prepare(overlong_source="cut")


def test_longest_pieces(tiny_berts: TinyBerts) -> None:
    assert longest_pieces(tiny_berts.german, tiny_berts.english) == (46, 46)


def test_unknown_pieces_are_warned_of(scene: Scene) -> None:
    scene.prepare()
    assert scene.warnings() == []
    scene.write("test", [("日本 語 中", "the dog"), ("der", "the")])
    scene.prepare(overwrite=True)
    (warning,) = scene.warnings()
    assert "4 of 5 pieces (80.0%) of test.de are unknown to" in warning


def test_training_pairs_that_are_held_out_too(scene: Scene) -> None:
    scene.write("train", [("der Arzt", "the doctor"), ("der Arzt", "a doctor"), ("ein", "a")])
    scene.prepare()
    assert len(scene.lines("raw/train.de")) == 3
    (warning,) = scene.warnings()
    assert "1 training pairs are also in the validation or test split" in warning


def test_number_of_pairs_that_is_not_the_published_one(scene: Scene) -> None:
    scene.prepare(scene.corpus(expected={"test": 2, "valid": 1000}))
    assert scene.warnings() == ["warning: valid has 1 pairs, but the published set-up has 1000"]


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
        scene.write("train", [(f"{name(n)}{' ein' * 60}", name(n)) for n in range(50)])
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
    with pytest.raises(AbNetError, match=r"prepared from something else: vocabularies.*overwrite"):
        scene.prepare(source_bert=scene.options.target_bert)
    assert scene.digest() == before
    scene.write("test", [("das Buch", "the book")])
    with pytest.raises(AbNetError, match="something else: files"):
        scene.prepare()
    scene.prepare(overwrite=True)
    assert scene.lines("raw/test.de") == ["das Buch"]


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
    with pytest.raises(AbNetError, match=r"train.* is to be read, but `--overwrite` would delete"):
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


def test_folders_of_berts_are_named_from_the_root(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    german = Path(scene.options.source_bert)
    monkeypatch.chdir(german.parent)
    manifest = scene.prepare(source_bert=german.name)
    assert manifest["berts"] == [str(german), scene.options.target_bert]


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
    for name in ("dict.de.txt", "train.de-en.de.bin"):
        (scene.dest / name).write_text("mine")
    with pytest.raises(AbNetError, match=r"has dict\.de\.txt and train\.de-en\.de\.bin and no man"):
        scene.prepare(overwrite=True)
    assert (scene.dest / "dict.de.txt").read_text() == "mine"


def test_broken_manifest(scene: Scene) -> None:
    scene.prepare()
    (scene.dest / "manifest.json").write_text("{")
    with pytest.raises(AbNetError, match=r"manifest\.json is not a manifest"):
        scene.prepare()


def test_no_training_pair_left(scene: Scene) -> None:
    scene.write("train", [("", "a"), ("ein", "")])
    with pytest.raises(AbNetError, match=r"No pair of the train split is left of 2 .*'empty': 2"):
        scene.prepare()


def test_unequal_files(scene: Scene) -> None:
    (scene.root / "train.de").write_text("eins\n")
    with pytest.raises(AbNetError, match=r"train\.de ends after 1 and .*train\.en goes on"):
        scene.prepare()


def test_missing_bert(scene: Scene) -> None:
    with pytest.raises(AbNetError, match="/nowhere is no folder"):
        scene.prepare(target_bert="/nowhere")
