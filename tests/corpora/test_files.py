from __future__ import annotations

import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import pytest

import abnet.corpora.files
from abnet.corpora.corpus import Archive, Corpus, Part, TextFile
from abnet.corpora.download import file_digests
from abnet.corpora.files import Files, MissingFileError
from abnet.corpora.formats import read_text_pairs
from abnet.errors import AbNetError
from tests.corpora.making import make_tar

ARCHIVE = Archive("a.tgz", ("http://127.0.0.1:9/a.tgz",))
WANTED = TextFile(ARCHIVE, "folder/text.de")


def files(tmp_path: Path, given: Path | None) -> Files:
    return Files(tmp_path / "downloads", given, lambda line: None)


def test_archive_in_the_folder(tmp_path: Path) -> None:
    make_tar(tmp_path / "in/a.tgz", {"folder/other": "x", "folder/text.de": "eins\n"})
    found = files(tmp_path, tmp_path / "in")
    path = found.path(WANTED)
    assert path.read_text() == "eins\n"
    assert path.is_relative_to(tmp_path / "downloads")
    assert [one.trust for one in found.used.values()] == ["given"]
    before = path.stat().st_mtime_ns
    assert files(tmp_path, tmp_path / "in").path(WANTED).stat().st_mtime_ns == before


def test_what_one_unpacks_another_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tar(tmp_path / "downloads/a.tgz", {"folder/text.de": "eins\n"})
    begun, released, waiting = threading.Event(), threading.Event(), threading.Event()
    copied: list[Path] = []

    def copy(source: IO[bytes], target: Path) -> None:
        target.write_bytes(b"")
        begun.set()
        assert released.wait(10)
        copied.append(target)
        target.write_bytes(source.read())

    def say(line: str) -> None:
        if line.startswith("waiting for another process"):
            waiting.set()

    monkeypatch.setattr(abnet.corpora.files, "_copy", copy)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(files(tmp_path, None).path, WANTED)
        assert begun.wait(10)
        second = pool.submit(Files(tmp_path / "downloads", None, say).path, WANTED)
        assert waiting.wait(10)
        released.set()
        assert first.result() == second.result()
    assert len(copied) == 1
    assert first.result().read_text() == "eins\n"


def test_another_archive_of_the_name_is_unpacked_anew(tmp_path: Path) -> None:
    for content in ("eins\n", "zwei\n"):
        make_tar(tmp_path / "in/a.tgz", {"folder/text.de": content})
        assert files(tmp_path, tmp_path / "in").path(WANTED).read_text() == content


def test_downloaded_archive(tmp_path: Path) -> None:
    make_tar(tmp_path / "downloads/a.tgz", {"./folder/text.de": "eins\n"})
    assert files(tmp_path, None).path(WANTED).read_text() == "eins\n"


@pytest.mark.parametrize("name", ["folder/text.de", "text.de", "plain.de"])
def test_unpacked_file_in_the_folder(tmp_path: Path, name: str) -> None:
    path = tmp_path / "in" / name
    path.parent.mkdir(parents=True)
    path.write_text("eins\n")
    found = files(tmp_path, tmp_path / "in")
    assert found.path(WANTED._replace(also=("plain.de",))) == path
    assert found.used[str(path)].sha256 == file_digests(path)["sha256"]


def test_archive_in_an_archive(tmp_path: Path) -> None:
    inner = make_tar(tmp_path / "a.tgz", {"folder/text.de": "eins\n"}).read_bytes()
    make_tar(tmp_path / "in/all.tgz", {"2014/texts/a.tgz": inner})
    nested = Archive("a.tgz", inside=Archive("all.tgz"), inside_as="texts/a.tgz")
    found = files(tmp_path, tmp_path / "in")
    assert found.path(TextFile(nested, "folder/text.de")).read_text() == "eins\n"
    assert list(found.used) == [str(tmp_path / "in/all.tgz")]


def test_zip(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with zipfile.ZipFile(tmp_path / "in/a.zip", "w") as archive:
        archive.writestr("text.de", "eins\n")
    wanted = TextFile(Archive("a.zip"), "text.de")
    assert files(tmp_path, tmp_path / "in").path(wanted).read_text() == "eins\n"


def test_nothing_is_written_outside(tmp_path: Path) -> None:
    make_tar(tmp_path / "in/a.tgz", {"../../evil": "x", "folder/text.de": "eins\n"})
    files(tmp_path, tmp_path / "in").path(WANTED)
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.9])
def test_truncated_archive_is_named(tmp_path: Path, keep: float) -> None:
    text = "".join(f"Satz {number * number}\n" for number in range(20_000))
    path = make_tar(tmp_path / "in/a.tgz", {"folder/text.de": text})
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(AbNetError, match=r"in/a\.tgz cannot be unpacked: it is not whole"):
        files(tmp_path, tmp_path / "in").path(WANTED)
    assert not list((tmp_path / "downloads").rglob("text.de"))


def test_archive_that_differs_from_the_published_one(tmp_path: Path) -> None:
    make_tar(tmp_path / "in/a.tgz", {"folder/text.de": "eins\n"})
    wanted = TextFile(Archive("a.tgz", (), ("sha256:00",)), "folder/text.de")
    with pytest.raises(AbNetError, match=r"in/a\.tgz must have the checksum sha256:00"):
        files(tmp_path, tmp_path / "in").path(wanted)


def test_missing_file_says_what_and_from_where(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(
        MissingFileError,
        match=r"in must hold a\.tgz, or unpacked folder/text\.de or text\.de.*127\.0\.0\.1:9/a",
    ):
        files(tmp_path, tmp_path / "in").path(WANTED)


def test_archive_without_the_member(tmp_path: Path) -> None:
    make_tar(tmp_path / "downloads/a.tgz", {"folder/text.en": "one\n"})
    with pytest.raises(MissingFileError, match=r"a\.tgz has no folder/text\.de"):
        files(tmp_path, None).path(WANTED)


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(AbNetError, match="`--from` must be an existing folder"):
        files(tmp_path, tmp_path / "nowhere")


def test_optional_part(tmp_path: Path) -> None:
    make_tar(tmp_path / "in/a.tgz", {"folder/text.de": "eins\n"})
    there = Part("train", WANTED, WANTED, read_text_pairs)
    absent = TextFile(ARCHIVE, "folder/more.de")
    corpus = Corpus("c", "de", "en", (there, Part("test", absent, absent, read_text_pairs, True)))
    assert [part.split for part, _, _ in files(tmp_path, tmp_path / "in").locate(corpus)] == [
        "train"
    ]
    corpus = Corpus("c", "de", "en", (there, Part("test", absent, absent, read_text_pairs)))
    with pytest.raises(MissingFileError, match=r"more\.de"):
        files(tmp_path, tmp_path / "in").locate(corpus)
