"""The command that counts translations, and the files that it makes."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer

from abnet.checkpoint import load_checkpoint, save_checkpoint
from abnet.cli import main
from abnet.errors import AbNetError
from abnet.lexicon import (
    piece_vectors,
    read_lexicon,
    translation_table,
    word_inputs,
    write_lexicon,
)
from abnet.model import AbNet
from abnet.tokenizer import Tokenizer
from tests.corpora.making import lines
from tests.systems import Toys, small_config
from tests.tiny import ENGLISH, GERMAN, forget_case


@pytest.fixture
def german(toys: Toys) -> Tokenizer:
    return Tokenizer.from_pretrained(toys.german)


@pytest.fixture
def train(tmp_path: Path) -> str:
    (tmp_path / "train.de").write_text(lines(GERMAN), encoding="utf-8")
    with gzip.open(tmp_path / "train.en.gz", "wt", encoding="utf-8") as file:
        file.write(lines(ENGLISH))
    return str(tmp_path / "train")


@pytest.fixture
def command(toys: Toys, train: str, tmp_path: Path) -> list[str]:
    return [
        "lexicon", "--train", train, "--pair", "de-en", "--source-bert", toys.german,
        "--target-bert", toys.english, "--output", str(tmp_path / "new" / "de-en.safetensors"),
    ]  # fmt: skip


def test_the_command(
    command: list[str],
    toys: Toys,
    german: Tokenizer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(command) == 0
    pieces = {piece for line in GERMAN for piece in german.encode(line)}
    said = capsys.readouterr().out
    assert f": {len(pieces)} of {len(german.vocabulary)} source pieces" in said
    english = Tokenizer.from_pretrained(toys.english)
    pairs = zip(german.encode_batch(GERMAN), english.encode_batch(ENGLISH), strict=True)
    model = AbNet.from_pretrained(small_config("abnet", toys))
    bert = model.decoder.backbone.eval()
    words = word_inputs(bert, english.symbols, len(english.vocabulary))
    assert words.shape == (len(english.vocabulary), 24)
    expected = piece_vectors(translation_table(pairs), words, len(german.vocabulary))
    for dim in (24, 5):
        found = read_lexicon(command[-1], german, dim)
        part = expected.vectors[:, :dim]
        assert found.vectors.norm(dim=1)[sorted(pieces)].mean().item() == pytest.approx(1)
        torch.testing.assert_close(found.vectors @ found.axes, part @ expected.axes[:dim])


def test_a_gpt_on_the_target_side(command: list[str], toys: Toys, german: Tokenizer) -> None:
    assert main([*command, "--target-bert", toys.gpt]) == 0
    assert read_lexicon(command[-1], german, 24).vectors.any()


def test_a_part_of_the_pairs(
    command: list[str], german: Tokenizer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--max-pairs", "3", "--seed", "5"]) == 0
    assert "counting in 3 pairs" in capsys.readouterr().err
    some = read_lexicon(command[-1], german, 8).vectors.any(dim=1)
    assert main([*command, "--max-pairs", "3", "--seed", "6"]) == 0
    assert not some.equal(read_lexicon(command[-1], german, 8).vectors.any(dim=1))
    assert main(command) == 0
    everything = read_lexicon(command[-1], german, 8).vectors.any(dim=1)
    assert 0 < some.sum() < everything.sum()


def test_arguments_that_cannot_be(
    command: list[str],
    train: str,
    toys: Toys,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*command, "--max-pairs", "0"]) == 2
    assert "`--max-pairs` must be at least 1" in capsys.readouterr().err
    Path(f"{train}.de").write_text(lines(GERMAN[:-1]), encoding="utf-8")
    assert main(command) == 2
    assert "must have the same number of lines" in capsys.readouterr().err
    assert main([*command, "--train", f"{train}s"]) == 2
    assert "there is no " in capsys.readouterr().err
    added = shutil.copytree(toys.english, tmp_path / "added")
    tokenizer = AutoTokenizer.from_pretrained(added)
    tokenizer.add_tokens(["<num>"])
    tokenizer.save_pretrained(added)
    assert main([*command, "--target-bert", str(added)]) == 2
    told = capsys.readouterr().err
    assert "embeddings, but has" in told
    assert "counting" not in told
    assert not Path(command[-1]).exists()


def test_what_is_counted_in_is_not_overwritten(
    command: list[str], train: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Path(f"{train}.de").read_bytes()
    assert main([*command, "--output", f"{train}.de"]) == 2
    assert f"must be a new file, but {train}.de is counted in" in capsys.readouterr().err
    assert Path(f"{train}.de").read_bytes() == before


def test_a_place_that_cannot_be_written_is_told_of_before_the_counting(
    command: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Tokenizer, "from_pretrained", lambda name: pytest.fail("it goes on"))
    assert main([*command, "--output", str(tmp_path)]) == 2
    assert f"to a file, but {tmp_path} is a folder" in capsys.readouterr().err
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / "x.safetensors", Path("/proc/abnet/x.safetensors")):
        assert main([*command, "--output", str(place)]) == 2
        error = capsys.readouterr().err
        assert f"The lexicon '{place}' cannot be written" in error
        assert "name another file" in error
        assert "What is done is kept" not in error


def test_pairs_that_cannot_be_read(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error", "train.de")

    monkeypatch.setattr("abnet.corpora.formats.open_bytes", broken)
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "The training pairs cannot be read ([Errno 5] Input/output error: 'train.de')" in error


def test_text_of_another_language_is_told_of(
    command: list[str], train: str, toys: Toys, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 0
    assert "warning" not in capsys.readouterr().err
    Path(f"{train}.de").write_text(lines(["мир дом"] * len(GERMAN)), encoding="utf-8")
    assert main(command) == 0
    error = capsys.readouterr().err
    assert f"of the source side, de, are unknown to {toys.german}: is it a BERT" in error
    assert "warning: 16 of 16 pieces (100.0%)" in error
    assert "target side" not in error
    Path(f"{train}.en").write_text(lines(["дом", *ENGLISH[1:]]), encoding="utf-8")
    assert main(command) == 0
    assert f"of the target side, en, are unknown to {toys.english}" in capsys.readouterr().err


def test_a_new_adapter_begins_with_them(command: list[str], toys: Toys, tmp_path: Path) -> None:
    assert main(command) == 0
    shape = {"lexical_adapter_dim": 8, "gloss_source": True}
    config = small_config("abnet_dag", toys, lexicon=command[-1], **shape)
    model = AbNet.from_pretrained(config)
    assert model.encoder.lexical is not None
    assert model.source_tokenizer is not None
    table = model.encoder.lexical.table.weight
    vectors, axes = read_lexicon(command[-1], model.source_tokenizer, 8)
    assert table[: len(vectors)].equal(vectors)
    assert model.decoder.spread is not None
    assert model.decoder.spread.gloss is not None
    assert model.decoder.spread.gloss.weight.equal(axes.T)
    assert not table[len(vectors) :].any()
    assert table.requires_grad
    with torch.no_grad():
        table.add_(1.0)  # trained
    save_checkpoint(tmp_path / "model.safetensors", model)
    Path(command[-1]).unlink()
    again = load_checkpoint(tmp_path / "model.safetensors")
    assert again.encoder.lexical is not None
    assert again.encoder.lexical.table.weight.equal(table)
    with pytest.raises(AbNetError, match="`lexicon` must be a file of `abnet lexicon`, but there"):
        AbNet.from_pretrained(config)


def test_files_that_do_not_fit(
    command: list[str], toys: Toys, german: Tokenizer, tmp_path: Path
) -> None:
    assert main(command) == 0
    with pytest.raises(AbNetError, match="`lexical_adapter_dim` must be at most 24 with the lex"):
        read_lexicon(command[-1], german, 25)
    english = Tokenizer.from_pretrained(toys.english)
    with_target = read_lexicon(command[-1], german, 8, english)
    assert with_target.vectors.equal(read_lexicon(command[-1], german, 8).vectors)
    for tokenizers, side in (((english, 8), "source"), ((german, 8, german), "target")):
        with pytest.raises(AbNetError, match=f"must be of the {side} vocabulary of .*, but .*bert"):
            read_lexicon(command[-1], *tokenizers)
    lower = forget_case(shutil.copytree(toys.german, tmp_path / "lower"))
    with pytest.raises(AbNetError, match=r"must be of text cut into pieces as .*lower' cuts it"):
        read_lexicon(command[-1], Tokenizer.from_pretrained(str(lower)), 8)
    any_target = tmp_path / "any.safetensors"
    write_lexicon(any_target, read_lexicon(command[-1], german, 24), german, {})
    assert read_lexicon(any_target, german, 8, german).vectors.any()
    older = tmp_path / "older.safetensors"
    save_file({"vectors": torch.eye(9)}, older, {"format": "abnet lexicon 1"})
    with pytest.raises(AbNetError, match="is an older one: make it anew"):
        read_lexicon(older, german, 8)
    with pytest.raises(AbNetError, match="is another safetensors file"):
        read_lexicon(toys.teacher, german, 8)
    half = tmp_path / "half.safetensors"
    save_file({"vectors": torch.eye(9)}, half, {"format": "abnet lexicon 2"})
    with pytest.raises(AbNetError, match="is none or damaged"):
        read_lexicon(half, german, 8)
    foreign = tmp_path / "foreign.safetensors"
    for metadata in (None, {"format": "abnet lexicon 3"}):
        save_file({"vectors": torch.eye(9)}, foreign, metadata)
        with pytest.raises(AbNetError, match=r"but .*foreign.safetensors is another safetensors"):
            read_lexicon(foreign, german, 8)
    garbage = tmp_path / "garbage.safetensors"
    garbage.write_bytes(b"nothing")
    with pytest.raises(AbNetError, match="is none or damaged"):
        read_lexicon(garbage, german, 8)
    with pytest.raises(AbNetError, match="`lexical_adapter_dim` must be more than 0 with a `lexi"):
        small_config("abnet", toys, lexical_adapter_dim=0, lexicon="x")
