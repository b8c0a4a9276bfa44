"""Text pairs to a prepared folder: what is kept, what is dropped, and what is said of it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from abnet.corpora.corpus import Rules
from abnet.corpora.preparing import longest_pieces
from abnet.errors import AbNetError
from abnet.tokenizer import Tokenizer
from tests.conftest import TinyBerts
from tests.corpora.conftest import Scene, spelled


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
    pairs = [(f"der Hund {spelled(n)}", f"the dog {spelled(n)}") for n in range(1, 47)]
    pairs.insert(3, ("", "empty"))  # dropped before counting
    scene.write("train", pairs)
    scene.prepare(scene.corpus(("train", "test"), valid_every=23))
    assert scene.lines("raw/valid.de") == [f"der Hund {spelled(23)}", f"der Hund {spelled(46)}"]
    kept = scene.lines("raw/train.en")
    assert len(kept) == 44
    assert f"the dog {spelled(23)}" not in kept


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
    assert scene.lines("raw/train.de") == ["der Hund", long, "ein Ball"]
    assert scene.lines("pieces/valid.de")[1] == cut
    assert scene.lines("pieces/test.de") == [cut, cut]
    assert scene.lines("raw/test.de") == [long, long]  # whole, to be scored with
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
    german, english = map(Tokenizer.from_pretrained, tiny_berts)
    assert longest_pieces(german, english) == (46, 46)
    german.vocabulary.append("<num>")  # as if added to the tokenizer, but not to the model
    with pytest.raises(AbNetError, match=r"must fit its BERT's \d+ embeddings, but has \d+ pieces"):
        longest_pieces(german, english)


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


def test_folders_of_berts_are_named_from_the_root(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    german = Path(scene.options.source_bert)
    monkeypatch.chdir(german.parent)
    manifest = scene.prepare(source_bert=german.name)
    assert manifest["berts"] == [str(german), scene.options.target_bert]


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
