"""Downloading with resume and checksums."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from email.message import Message
from pathlib import Path
from typing import NamedTuple

from abnet.corpora.corpus import Archive
from abnet.errors import AbNetError

ATTEMPTS = 3
PAUSE_SECONDS = 2.0
TIMEOUT_SECONDS = 60.0
BLOCK_BYTES = 1 << 20

Say = Callable[[str], None]


class _NotTheFileError(OSError):
    """What the server has to say is no start of the file; asking again will not help."""


class Verified(NamedTuple):
    """A file whose content is known.

    Attributes:
        path: where it is.
        sha256: of its content, hexadecimal.
        trust: "published" (equals a checksum that others publish), "first use" (equals what was
            downloaded first) or "given" (the user's own).
    """

    path: Path
    sha256: str
    trust: str


def fetch(archive: Archive, folder: Path, say: Say) -> Verified:
    """Downloads an archive into a folder, or finds it there.

    What an interrupted download has brought stays in `FILE.part` and is continued by the next
    call, where the server can (and from the start where it cannot or the file has changed).
    Where no checksum is published, `FILE.sha256` keeps that of the first download, and the file
    must equal it ever after.

    Raises:
        AbNetError: no address works, the download broke off, or a checksum differs.
    """
    path = folder / archive.file
    if path.exists():
        return verify(path, archive.checksums, lock=_lock(path))
    if not archive.urls:
        raise AbNetError(f"{archive.file} has no address to download it from: use `--from`.")
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    failures = []
    for url in archive.urls:
        say(f"downloading {url}")
        try:
            _download(url, part, say)
            break
        except (OSError, http.client.HTTPException) as error:
            failures.append(f"{url}: {error}")
    else:
        resumes = " What has arrived is kept: run the command again." if part.exists() else ""
        raise AbNetError(
            f"{archive.file} could not be downloaded: {'; '.join(failures)}.{resumes} Or download "
            "it by other means and give its folder with `--from`."
        )
    try:
        verified = verify(part, archive.checksums, lock=_lock(path))
    except AbNetError:
        _discard(part)
        raise
    os.replace(part, path)
    _discard(part)
    if not archive.checksums and not _lock(path).exists():
        _lock(path).write_text(f"{verified.sha256}  {path.name}\n", encoding="utf-8")
        say(f"no checksum of {path.name} is published; {_lock(path).name} keeps this one")
    return verified._replace(path=path)


def verify(path: Path, checksums: tuple[str, ...], lock: Path | None = None) -> Verified:
    """Compares a file with the published checksums, or with the one kept at its first download.

    Raises:
        AbNetError: it equals none of them.
    """
    digests = file_digests(path)
    if checksums:
        if not any(f"{kind}:{value}" in checksums for kind, value in digests.items()):
            raise AbNetError(
                f"{path} must have the checksum {' or '.join(checksums)}, but has "
                f"sha256:{digests['sha256']} (md5:{digests['md5']}) instead: it is damaged, not "
                "whole, or another edition. Delete it and run the command again."
            )
        return Verified(path, digests["sha256"], "published")
    if lock is not None and lock.exists():
        kept = lock.read_text(encoding="utf-8").split()[0]
        if kept != digests["sha256"]:
            raise AbNetError(
                f"{path} must have the sha256 {kept} of its first download ({lock}), but has "
                f"{digests['sha256']} instead: it is damaged, or its source has changed. Delete "
                "it to download it again, and its .sha256 too to accept the new one."
            )
    return Verified(path, digests["sha256"], "first use")


def file_digests(path: Path) -> Mapping[str, str]:
    """The sha256 and md5 of a file, hexadecimal."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            sha256.update(block)
            md5.update(block)
    return {"sha256": sha256.hexdigest(), "md5": md5.hexdigest()}


def _lock(path: Path) -> Path:
    """Where the checksum of a first download is kept, in the format of `sha256sum -c`."""
    return path.with_name(path.name + ".sha256")


def _state(part: Path) -> Path:
    """Beside a `.part`: which version of which address it is the start of."""
    return part.with_name(part.name + ".json")


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _state(part).unlink(missing_ok=True)


def _download(url: str, part: Path, say: Say) -> None:
    """Brings `part` to its end, trying again where a connection breaks off."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _continue(url, part, say)
        except (OSError, http.client.HTTPException) as error:
            final = isinstance(error, _NotTheFileError) or (
                isinstance(error, urllib.error.HTTPError) and error.code < 500
            )
            if final or attempt == ATTEMPTS:
                raise
            say(f"the connection broke off ({error}); trying again")
            time.sleep(PAUSE_SECONDS * attempt)
    return None


def _continue(url: str, part: Path, say: Say) -> None:
    """One request: the rest of `part`, or all of it."""
    from tqdm import tqdm

    request = _request(url, part)
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        asked_beyond_end = error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        if asked_beyond_end and error.headers["Content-Range"] == f"bytes */{part.stat().st_size}":
            return  # all of it had arrived before
        raise
    with response:
        if response.headers.get_content_type() == "text/html":
            raise _NotTheFileError("the server answered with a web page in place of the file")
        resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
        have = part.stat().st_size if resumed else 0
        if resumed:
            say(f"continuing {part.stem} at byte {have}")
        elif part.exists():
            say(f"starting {part.stem} over: the file has changed, or its server cannot resume")
        _state(part).write_text(json.dumps({"url": url, "validator": _validator(response.headers)}))
        length = response.headers["Content-Length"]
        total = None if length is None else have + int(length)
        with (
            open(part, "ab" if resumed else "wb") as stream,
            tqdm(
                desc=part.stem, initial=have, total=total, unit="B", unit_scale=True, disable=None
            ) as bar,
        ):
            while block := response.read(BLOCK_BYTES):
                stream.write(block)
                bar.update(len(block))
            stream.flush()
            os.fsync(stream.fileno())
    size = part.stat().st_size
    if total is not None and size != total:
        raise ConnectionError(f"{size} of {total} bytes arrived")


def _validator(headers: Message) -> str | None:
    """What tells one version of a file from the next: a strong entity tag, or a date."""
    tag: str | None = headers["ETag"]
    if tag is not None and not tag.startswith("W/"):
        return tag
    date: str | None = headers["Last-Modified"]
    return date


def _request(url: str, part: Path) -> urllib.request.Request:
    """Asks for what is missing, or for all if the file has changed since."""
    request = urllib.request.Request(url, headers={"User-Agent": "abnet"})
    if part.exists() and _state(part).exists():
        state = json.loads(_state(part).read_text())
        if state["url"] == url and state["validator"] is not None:
            request.add_header("Range", f"bytes={part.stat().st_size}-")
            request.add_header("If-Range", state["validator"])
    return request
