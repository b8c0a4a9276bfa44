from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from abnet.corpora import download
from abnet.corpora.corpus import Archive
from abnet.corpora.download import fetch
from abnet.errors import AbNetError
from tests.corpora.serving import Site, serve

CONTENT = random.Random(1).randbytes(300_000)
SHA256 = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
MD5 = "md5:" + hashlib.md5(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PAUSE_SECONDS", 0.0)


@pytest.fixture
def site() -> Iterator[Site]:
    with serve(CONTENT) as site:
        yield site


def archive(site: Site, *checksums: str) -> Archive:
    return Archive("text.tgz", (f"{site.url}/text.tgz",), checksums)


def quiet(line: str) -> None:
    pass


@pytest.mark.parametrize("checksum", [SHA256, MD5])
def test_whole_file(site: Site, tmp_path: Path, checksum: str) -> None:
    found = fetch(archive(site, checksum), tmp_path / "new", quiet)
    assert found.path.read_bytes() == CONTENT
    assert found.trust == "published"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["text.tgz"]
    fetch(archive(site, checksum), tmp_path / "new", quiet)
    assert len(site.asked) == 1  # the second time it was there


def test_broken_connection_is_continued_at_once(site: Site, tmp_path: Path) -> None:
    site.break_after = [100_000, 50_000]
    found = fetch(archive(site, SHA256), tmp_path, quiet)
    assert found.path.read_bytes() == CONTENT
    assert site.asked == [None, "bytes=100000-", "bytes=150000-"]


def test_interrupted_download_is_continued_by_the_next_call(site: Site, tmp_path: Path) -> None:
    site.break_after = [70_000, 0, 0]
    with pytest.raises(AbNetError, match=r"70000 of 300000 bytes.*kept: run the command again"):
        fetch(archive(site, SHA256), tmp_path, quiet)
    assert (tmp_path / "text.tgz.part").read_bytes() == CONTENT[:70_000]
    assert not (tmp_path / "text.tgz").exists()
    found = fetch(archive(site, SHA256), tmp_path, quiet)
    assert found.path.read_bytes() == CONTENT
    assert site.asked[-1] == "bytes=70000-"


def test_part_that_is_whole_already(site: Site, tmp_path: Path) -> None:
    site.break_after = [len(CONTENT) - 1, 0, 0]
    with pytest.raises(AbNetError):
        fetch(archive(site, SHA256), tmp_path, quiet)
    (tmp_path / "text.tgz.part").write_bytes(CONTENT)
    assert fetch(archive(site, SHA256), tmp_path, quiet).path.read_bytes() == CONTENT


def test_server_without_ranges_starts_over(site: Site, tmp_path: Path) -> None:
    site.ranges = False
    site.break_after = [100_000]
    said: list[str] = []
    found = fetch(archive(site, SHA256), tmp_path, said.append)
    assert found.path.read_bytes() == CONTENT
    assert any("starting text.tgz over" in line for line in said)


def test_changed_file_is_not_glued_to_its_old_start(site: Site, tmp_path: Path) -> None:
    site.break_after = [100_000, 0, 0]
    with pytest.raises(AbNetError):
        fetch(archive(site), tmp_path, quiet)
    site.content, site.tag = CONTENT[::-1], '"two"'
    assert fetch(archive(site), tmp_path, quiet).path.read_bytes() == CONTENT[::-1]


def test_server_without_versions_starts_over(site: Site, tmp_path: Path) -> None:
    site.tag = None
    site.break_after = [100_000]
    assert fetch(archive(site), tmp_path, quiet).path.read_bytes() == CONTENT
    assert site.asked == [None, None]


def test_wrong_checksum(site: Site, tmp_path: Path) -> None:
    with pytest.raises(AbNetError, match=r"text\.tgz.* must have the checksum sha256:00"):
        fetch(archive(site, "sha256:00"), tmp_path, quiet)
    assert list(tmp_path.iterdir()) == []  # so that the next call starts anew


def test_one_of_several_editions(site: Site, tmp_path: Path) -> None:
    assert fetch(archive(site, "sha256:00", SHA256), tmp_path, quiet).trust == "published"


def test_damaged_afterwards(site: Site, tmp_path: Path) -> None:
    path = fetch(archive(site, SHA256), tmp_path, quiet).path
    path.write_bytes(CONTENT[:1000])
    with pytest.raises(AbNetError, match="damaged, not whole, or another edition"):
        fetch(archive(site, SHA256), tmp_path, quiet)


def test_first_download_without_a_published_checksum_is_kept(site: Site, tmp_path: Path) -> None:
    found = fetch(archive(site), tmp_path, quiet)
    assert found.trust == "first use"
    lock = tmp_path / "text.tgz.sha256"
    assert lock.read_text() == f"{SHA256.removeprefix('sha256:')}  text.tgz\n"
    found.path.unlink()
    site.content = CONTENT[::-1]
    with pytest.raises(AbNetError, match="of its first download"):
        fetch(archive(site), tmp_path, quiet)
    lock.unlink()
    assert fetch(archive(site), tmp_path, quiet).path.read_bytes() == CONTENT[::-1]


def test_web_page_in_place_of_the_file(site: Site, tmp_path: Path) -> None:
    site.content_type = "text/html; charset=utf-8"
    with pytest.raises(AbNetError, match=r"a web page in place of the file.*`--from`"):
        fetch(archive(site), tmp_path, quiet)
    assert len(site.asked) == 1


def test_second_address_when_the_first_has_nothing(site: Site, tmp_path: Path) -> None:
    with serve(b"") as gone:
        gone.status = 404
        both = Archive("text.tgz", (f"{gone.url}/text.tgz", f"{site.url}/text.tgz"), (SHA256,))
        assert fetch(both, tmp_path, quiet).path.read_bytes() == CONTENT
        assert len(gone.asked) == 1


def test_busy_server_is_asked_again(site: Site, tmp_path: Path) -> None:
    site.status = 503
    with pytest.raises(AbNetError, match="HTTP Error 503"):
        fetch(archive(site), tmp_path, quiet)
    assert len(site.asked) == download.ATTEMPTS


def test_no_address(tmp_path: Path) -> None:
    with pytest.raises(AbNetError, match="has no address"):
        fetch(Archive("text.tgz"), tmp_path, quiet)
