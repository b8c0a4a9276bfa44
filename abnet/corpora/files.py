"""Finds the text files of a corpus: in a folder, in archives there, or by downloading these."""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import IO

from abnet.corpora.corpus import Archive, Corpus, Part, TextFile
from abnet.corpora.download import Say, Verified, fetch, file_digests, verify
from abnet.errors import AbNetError
from abnet.processes import taking_turns

DAMAGE = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, EOFError, zlib.error)
UNPACKED = "unpacked"


class Files:
    """The files of one corpus on this machine.

    Args:
        downloads: the folder that downloads and what is unpacked from archives go to.
        given: a folder with what was downloaded before; then nothing is downloaded.
        say: takes lines about the progress.

    Attributes:
        used: every archive, and every loose file of `given`, that was needed, by name.
    """

    def __init__(self, downloads: Path, given: Path | None, say: Say) -> None:
        if given is not None and not given.is_dir():
            raise AbNetError(f"`--from` must be an existing folder, but is {given} instead.")
        self.downloads = downloads
        self.given = given
        self.say = say
        self.used: dict[str, Verified] = {}

    def locate(self, corpus: Corpus) -> list[tuple[Part, Path, Path]]:
        """The source and the target file of every part that there is.

        Raises:
            AbNetError: one that the corpus needs is missing or damaged.
        """
        located = []
        for part in corpus.parts:
            try:
                paths = (self.path(part.source), self.path(part.target))
            except MissingFileError as error:
                if not part.optional:
                    raise
                self.say(f"without an optional part: {error}")
            else:
                located.append((part, *paths))
        return located

    def path(self, wanted: TextFile) -> Path:
        """One text file, unpacked if need be.

        Raises:
            AbNetError: it is missing or damaged.
        """
        loose = self._loose(wanted.names)
        if loose is not None:
            checksums = wanted.archive.checksums if loose.name == wanted.archive.file else ()
            return self._note(loose, checksums).path
        try:
            archive = self._archive(wanted.archive)
        except MissingFileError:
            if self.given is None:
                raise
            raise MissingFileError(self._missing(wanted)) from None
        if not wanted.member:
            return archive.path
        return self._unpacked(archive, wanted.member)

    def content(self, path: Path) -> str:
        """What tells the content of a located file from other ones: a hash, or what it is of.

        Args:
            path: as `locate` gave it.
        """
        for used in self.used.values():
            if used.path == path:
                return used.sha256[:12]
        return path.relative_to(self.downloads / UNPACKED).as_posix()

    def _loose(self, names: tuple[str, ...]) -> Path | None:
        """The first of some names that the given folder has."""
        if self.given is None:
            return None
        return next((self.given / name for name in names if (self.given / name).is_file()), None)

    def _note(self, path: Path, checksums: tuple[str, ...]) -> Verified:
        """A file of the given folder with its hash."""
        name = str(path)
        if name not in self.used:
            if checksums:
                self.used[name] = verify(path, checksums)
            else:
                self.used[name] = Verified(path, file_digests(path)["sha256"], "given")
        return self.used[name]

    def _archive(self, archive: Archive) -> Verified:
        """The archive itself: in the folder, inside another one, or downloaded."""
        loose = self._loose((archive.file, archive.inside_as or archive.file))
        if loose is not None:
            return self._note(loose, archive.checksums)
        if archive.inside is not None and (self.given is not None or not archive.urls):
            outer = self._archive(archive.inside)
            inner = self._unpacked(outer, archive.inside_as)
            return Verified(inner, file_digests(inner)["sha256"], outer.trust)
        if self.given is not None:
            raise MissingFileError(archive.file)
        if archive.file not in self.used:
            with taking_turns(self.downloads, self.say):
                self.used[archive.file] = fetch(archive, self.downloads, self.say)
        return self.used[archive.file]

    def _missing(self, wanted: TextFile) -> str:
        archive = wanted.archive
        outer = f" or {archive.inside.file}" if archive.inside else ""
        urls = archive.urls or (archive.inside.urls if archive.inside else ())
        source = f" It comes from {urls[0]}." if urls else ""
        names = " or ".join(wanted.names)
        unpacked = f", or unpacked {names}" if wanted.member else f" ({names})"
        return f"{self.given} must hold {archive.file}{outer}{unpacked}, but does not.{source}"

    def _unpacked(self, archive: Verified, member: str) -> Path:
        """The member of an archive as a file; unpacked once for each content of the archive."""
        path = self.downloads / UNPACKED / archive.sha256[:12] / member
        with taking_turns(self.downloads, self.say):
            if not path.exists():
                self._unpack(archive, member, path)
        return path

    def _unpack(self, archive: Verified, member: str, path: Path) -> None:
        self.say(f"unpacking {member} of {archive.path.name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        try:
            if zipfile.is_zipfile(archive.path):
                _unpack_zip(archive.path, member, part)
            else:
                _unpack_tar(archive.path, member, part)
        except DAMAGE as error:
            raise AbNetError(
                f"{archive.path} cannot be unpacked: it is not whole or damaged ({error}). "
                "Delete it and download it again."
            ) from error
        except KeyError:
            raise MissingFileError(f"{archive.path} has no {member}.") from None
        os.replace(part, path)


class MissingFileError(AbNetError):
    """A file of a corpus is not there."""


def _unpack_zip(archive: Path, member: str, target: Path) -> None:
    with zipfile.ZipFile(archive) as stream:
        for name in stream.namelist():
            if _is(name, member):
                return _copy(stream.open(name), target)
    raise KeyError(member)


def _unpack_tar(archive: Path, member: str, target: Path) -> None:
    """Copies one member's content; no path of the archive is ever written to."""
    with tarfile.open(archive) as stream:
        for entry in stream:  # in order: a compressed archive is then read only as far as needed
            if entry.isfile() and _is(entry.name, member):
                source = stream.extractfile(entry)
                if source is not None:
                    return _copy(source, target)
    raise KeyError(member)


def _is(name: str, member: str) -> bool:
    """Whether a path in an archive is the wanted one, perhaps below one more folder."""
    return name == member or name.endswith(f"/{member}")


def _copy(source: IO[bytes], target: Path) -> None:
    with source, open(target, "wb") as stream:
        shutil.copyfileobj(source, stream, 1 << 20)
