"""`abnet prepare` and the scripts around it, to the binary files that fairseq reads."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from abnet.cli import main
from abnet.corpora import binarize, download, iwslt14, wmt14, wmt16_ro_en
from abnet.errors import AbNetError
from abnet.tokenizer import Tokenizer
from tests.conftest import TinyBerts
from tests.corpora.making import lines, make_tar, wit3_test, wit3_training
from tests.corpora.serving import serve
from tests.tiny import ENGLISH, GERMAN

SCRIPTS = Path(__file__).parents[2] / "scripts" / "prepare"
NAMES = ("iwslt14", "wmt14", "wmt16_ro_en", "multi30k", "text", "jsonl")


def write_texts(folder: Path, names: dict[str, str]) -> None:
    """All of the tiny sentences for training, some of them for the other splits."""
    folder.mkdir(exist_ok=True)
    for language, texts in (("de", GERMAN), ("en", ENGLISH)):
        (folder / f"{names['train']}.{language}").write_text(lines(texts))
        (folder / f"{names['valid']}.{language}").write_text(lines(texts[:3]))
        (folder / f"{names['test']}.{language}").write_text(lines([*texts[:2], ""]))


def check_binarized(dest: Path, berts: TinyBerts) -> None:
    """Every sentence is there, in the BERTs' own ids with [SEP] behind."""
    from fairseq.data.indexed_dataset import MMapIndexedDataset

    numbers = {"train": 8, "valid": 3, "test": 3}
    for language, bert in (("de", berts.german), ("en", berts.english)):
        tokenizer = Tokenizer.from_pretrained(bert)
        for split, number in numbers.items():
            data = MMapIndexedDataset(str(dest / f"{split}.de-en.{language}"))
            assert len(data) == number
            texts = (dest / "raw" / f"{split}.{language}").read_text().split("\n")
            for ids, text in zip(data, texts, strict=False):
                assert ids.tolist() == [*tokenizer.encode(text), tokenizer.symbols.sep]
        assert (dest / f"dict.{language}.txt").exists()
    assert not (dest / "binarizing").exists()


@pytest.mark.slow
def test_multi30k_to_binary(
    tmp_path: Path, tiny_berts: TinyBerts, capsys: pytest.CaptureFixture[str]
) -> None:
    write_texts(tmp_path / "in", {"train": "train", "valid": "valid", "test": "test2016"})
    dest = tmp_path / "out"
    command = ["prepare", "multi30k", "--pair", "de-en", "--from", str(tmp_path / "in")]
    command += ["--source-bert", tiny_berts.german, "--target-bert", tiny_berts.english]
    command += ["--dest", str(dest), "--workers", "1"]
    assert main(command) == 0
    check_binarized(dest, tiny_berts)
    said = capsys.readouterr().err
    assert "abnet: train: 8 pairs; dropped of 8: 0" in said
    assert "train has 8 pairs, but the published set-up has 29000" in said
    before = (dest / "train.de-en.de.bin").stat().st_mtime_ns
    assert main(command) == 0
    assert (dest / "train.de-en.de.bin").stat().st_mtime_ns == before


@pytest.mark.slow
def test_text_script_to_binary(tmp_path: Path, tiny_berts: TinyBerts) -> None:
    write_texts(tmp_path / "in", {"train": "a", "valid": "b", "test": "c"})
    command = [str(SCRIPTS / "text.sh"), "de-en", "--dest", "out", "--workers", "1"]
    command += ["--train", "in/a", "--valid", "in/b", "--test", "in/c"]
    command += ["--source-bert", tiny_berts.german, "--target-bert", tiny_berts.english]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    check_binarized(tmp_path / "out", tiny_berts)


@pytest.mark.parametrize("name", [*NAMES, "common"])
def test_script_is_well_formed(name: str) -> None:
    subprocess.run(["bash", "-n", str(SCRIPTS / f"{name}.sh")], check=True)


@pytest.mark.parametrize("name", NAMES)
def test_script_help(name: str) -> None:
    result = subprocess.run(
        [str(SCRIPTS / f"{name}.sh"), "--help"], capture_output=True, text=True, check=True
    )
    assert f"scripts/prepare/{name}.sh" in result.stdout
    assert f"`abnet prepare {name}`" in result.stdout


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("iwslt14", [], "iwslt14 de-en bert-base-german-cased bert-base-uncased"),
        ("iwslt14", ["en-it"], "iwslt14 en-it bert-base-uncased bert-base-multilingual-cased"),
        ("wmt14", [], "wmt14 en-de bert-base-cased bert-base-german-cased"),
        ("wmt14", ["--workers", "3"], "wmt14 en-de bert-base-cased bert-base-german-cased"),
        ("wmt14", ["fr-en"], "wmt14 fr-en bert-base-multilingual-cased bert-base-cased"),
        ("wmt16_ro_en", [], "wmt16_ro_en ro-en bert-base-multilingual-cased bert-base-cased"),
        ("multi30k", [], "multi30k de-en bert-base-german-cased bert-base-uncased"),
        ("text", ["de-nl"], "text de-nl bert-base-german-cased bert-base-multilingual-cased"),
        ("jsonl", ["long-en"], "jsonl long-en bert-base-multilingual-cased bert-base-cased"),
    ],
)
def test_script_defaults(tmp_path: Path, name: str, arguments: list[str], expected: str) -> None:
    """The scripts with an `abnet` that prints what it is asked."""
    scripts = tmp_path / "scripts" / "prepare"
    scripts.mkdir(parents=True)
    for script in ("common", name):
        (scripts / f"{script}.sh").write_text((SCRIPTS / f"{script}.sh").read_text())
    fake = tmp_path / ".venv" / "bin" / "abnet"
    fake.parent.mkdir(parents=True)
    fake.write_text('#!/bin/sh\necho "$@"\n')
    fake.chmod(0o755)
    result = subprocess.run(
        ["bash", str(scripts / f"{name}.sh"), *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    corpus, pair, source, target = expected.split()
    options = [one for one in arguments if one != pair]
    assert result.stdout.split() == [
        "prepare", corpus, "--pair", pair, "--source-bert", source, "--target-bert", target,
        "--dest", f"{tmp_path}/data-bin/{corpus}.{pair}", *options,
    ]  # fmt: skip


@pytest.mark.parametrize("usage", ["text.sh PAIR --train PREFIX", "jsonl.sh PAIR --train FILE"])
def test_script_without_a_pair(usage: str) -> None:
    script = SCRIPTS / usage.split()[0]
    result = subprocess.run([script], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    assert usage in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["multi30k", "--pair", "de"], "`--pair` must be two languages such as de-en, but is de"),
        (["multi30k", "--pair", "de-de"], "`--pair` must be two languages"),
        (["multi30k", "--pair", "cs-en"], "`--pair` of multi30k must be one of de-en, en-de"),
        (["iwslt14", "--pair", "de-en", "--workers", "0"], "`--workers` must be at least 1"),
        (["wmt14", "--pair", "en-de", "--from", "/nowhere"], "`--from` must be an existing"),
        (
            ["text", "--pair", "de-en", "--train", "a", "--valid", "b"],
            "`--train` must be what two files a.LANGUAGE have in common",
        ),
        (
            ["text", "--pair", "en-en", "--train", "a", "--valid", "b"],
            "`--pair` must be two different names, but is en-en instead: the files of both sides "
            "would have one name. For a task within one language, say what the sides are, for "
            "example document-summary, and rename your files accordingly: PREFIX.en to",
        ),
        (
            ["jsonl", "--pair", "en-en", "--train", "a", "--valid", "b"],
            "for example document-summary, and name the keys with `--source-key` and",
        ),
        (
            ["jsonl", "--pair", "a.b-c", "--train", "a", "--valid", "b"],
            "`--pair` must be two names such as de-en or document-summary, but is a.b-c instead",
        ),
        (
            ["text", "--pair", "en-zh-Hant", "--train", "a", "--valid", "b"],
            "but is en-zh-Hant instead. A name begins with a letter or a digit and has no white "
            "space, dot, slash or further hyphen: write pt_BR for pt-BR, and name the files so.",
        ),
        (["text", "--pair", "de-", "--train", "a", "--valid", "b"], "but is de- instead. A name"),
        (
            ["jsonl", "--pair", "a-b", "--train", "a", "--valid", "b"],
            "`--train` must be an existing JSONL file, but is a instead",
        ),
    ],
)
def test_bad_arguments(
    tmp_path: Path,
    tiny_berts: TinyBerts,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    berts = ["--source-bert", tiny_berts.german, "--target-bert", tiny_berts.english]
    assert main(["prepare", *arguments, *berts, "--dest", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_full_disk_is_said(
    tmp_path: Path,
    tiny_berts: TinyBerts,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_texts(tmp_path / "in", {"train": "train", "valid": "valid", "test": "test2016"})

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("abnet.corpora.writing.os.fsync", full)
    command = ["prepare", "multi30k", "--pair", "de-en", "--from", str(tmp_path / "in")]
    command += ["--source-bert", tiny_berts.german, "--target-bert", tiny_berts.english]
    assert main([*command, "--dest", str(tmp_path / "out")]) == 2
    assert "No space left on device. What is done is kept" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_said(
    tmp_path: Path, tiny_berts: TinyBerts, capsys: pytest.CaptureFixture[str]
) -> None:
    write_texts(tmp_path / "in", {"train": "train", "valid": "valid", "test": "test2016"})
    (tmp_path / "file").write_text("mine")
    command = ["prepare", "multi30k", "--pair", "de-en", "--from", str(tmp_path / "in")]
    command += ["--source-bert", tiny_berts.german, "--target-bert", tiny_berts.english]
    assert main([*command, "--dest", str(tmp_path / "file" / "out")]) == 2
    said = capsys.readouterr().err
    assert "Not a directory. What is done is kept: name another file or folder." in said


def test_compressed_text_may_be_a_link(
    tmp_path: Path, tiny_berts: TinyBerts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To a file of another name, as stores of large files have it."""
    blobs = tmp_path / "blobs"
    write_texts(blobs, {"train": "a", "valid": "b", "test": "c"})
    command = ["prepare", "text", "--pair", "de-en", "--text-only", "--dest", str(tmp_path / "out")]
    command += ["--source-bert", tiny_berts.german, "--target-bert", tiny_berts.english]
    for number, blob in enumerate(sorted(blobs.iterdir())):
        hidden = blob.with_name(f"{number:064}")
        hidden.write_bytes(gzip.compress(blob.read_bytes()))
        (tmp_path / f"{blob.name}.gz").symlink_to(hidden)
        blob.unlink()
    monkeypatch.chdir(tmp_path)
    assert main([*command, "--train", "a", "--valid", "b"]) == 0
    assert (tmp_path / "out/raw/train.de").read_text() == lines(GERMAN)


def run_binarize(folder: Path) -> None:
    folder.mkdir()
    binarize.binarize(folder, ("de", "en"), ["train"], ("a", "b"), 1, lambda line: None)


def test_failure_of_fairseq_preprocess(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "import sys; print('what went wrong'); sys.exit(3)"
    monkeypatch.setattr(binarize, "_command", lambda *_: [sys.executable, "-c", script])
    with pytest.raises(AbNetError, match=r"failed \(status 3\); .*\.log ends with:\nwhat went wr"):
        run_binarize(tmp_path / "out")


@pytest.mark.parametrize(
    ("absent", "message"),
    [("fairseq_cli", "fairseq is not installed"), ("fairseq_plugins", "package fairseq_plugins")],
)
def test_fairseq_or_plugin_is_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absent: str, message: str
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == absent else find(name)
    )
    with pytest.raises(AbNetError, match=message):
        run_binarize(tmp_path / "out")


@pytest.mark.parametrize(
    ("corpus", "pair", "flags", "expected"),
    [
        (wmt14, "en-de", [], ("en", "de", 9)),
        (wmt14, "en-de", ["--news-commentary", "12"], ("en", "de", 12)),
        (wmt16_ro_en, "ro-en", [], ("ro", "en", False)),
        (wmt16_ro_en, "ro-en", ["--back-translated"], ("ro", "en", True)),
    ],
)
def test_the_choices_of_a_corpus_reach_it(
    corpus: ModuleType,
    pair: str,
    flags: list[str],
    expected: tuple[object, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[object, ...]] = []

    def build(*given: object) -> None:
        asked.append(given)
        raise AbNetError("enough")

    monkeypatch.setattr(corpus, "build", build)
    command = [
        "prepare",
        corpus.__name__.rpartition(".")[2],
        "--pair",
        pair,
        "--dest",
        str(tmp_path),
    ]
    assert main([*command, "--source-bert", "a", "--target-bert", "b", *flags]) == 2
    assert asked == [expected]


def test_iwslt14_downloaded_with_an_interruption(
    tmp_path: Path, tiny_berts: TinyBerts, monkeypatch: pytest.MonkeyPatch
) -> None:
    german = [f"{GERMAN[n % 8]} {GERMAN[n // 8]}" for n in range(60)]
    english = [f"{ENGLISH[n % 8]} {ENGLISH[n // 8]}" for n in range(60)]
    members: dict[str, str] = {
        "de-en/train.tags.de-en.de": wit3_training({"der Hund": german}),
        "de-en/train.tags.de-en.en": wit3_training({"the dog": english}),
    }
    for name in iwslt14.TEST_SETS:
        for language in ("de", "en"):
            path = f"de-en/IWSLT14.{name}.de-en.{language}.xml"
            members[path] = wit3_test([f"{name} & {language}"])
    content = make_tar(tmp_path / "made.tgz", members).read_bytes()
    monkeypatch.setattr(download, "PAUSE_SECONDS", 0.0)
    command = ["prepare", "iwslt14", "--pair", "de-en", "--text-only", "--workers", "1"]
    command += ["--source-bert", tiny_berts.german, "--target-bert", tiny_berts.english]
    command += ["--dest", str(tmp_path / "data-bin" / "iwslt14.de-en")]
    command += ["--downloads", str(tmp_path / "archives")]
    with serve(content) as site:
        monkeypatch.setitem(iwslt14.ONE_PAIR_URLS, "de", (f"{site.url}/de-en.tgz",))
        site.break_after = [len(content) // 2, 0, 0]
        assert main(command) == 2
        assert main(command) == 0
        assert site.asked[-1] == f"bytes={len(content) // 2}-"
    assert (tmp_path / "archives" / "de-en.tgz").read_bytes() == content
    raw = tmp_path / "data-bin" / "iwslt14.de-en" / "raw"
    # a title and a description come before the 60 sentences
    assert (raw / "valid.de").read_text() == lines([german[20], german[43]])
    assert (raw / "valid.en").read_text() == lines([english[20], english[43]])
    assert len((raw / "train.de").read_text().splitlines()) == 60
    tests = [f"{name} & en" for name in iwslt14.TEST_SETS]
    assert (raw / "test.en").read_text() == lines(tests)
    manifest = json.loads((raw.parent / "manifest.json").read_text())
    assert manifest["sources"]["de-en.tgz"] == {
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "trust": "first use",
    }
    assert manifest["made_from"]["rules"]["max_length"] == 175
