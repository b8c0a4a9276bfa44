"""The record beside what a model wrote: by whom, from what, what was dropped, what came out."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import abnet
from abnet.corpora.manifest import FILE, differences, keep_inputs
from abnet.errors import AbNetError
from abnet.translated import shards
from abnet.translated.files import sha256_of, write_json

PREFIX = "train"
PACKAGES = ("torch", "transformers", "tokenizers")
KINDS = ("distilled", "back_translated")  # what `abnet prepare` hands on


class Manifest:
    """`manifest.json` of a folder of `abnet distill` or `abnet backtranslate`.

    It is written when the folder is made and when the result is, so that several calls may
    translate at the same time; how far they are is told by the records of the shards.

    Attributes:
        folder: that holds it.
        data: `made_from` (everything that decides the translations), `teacher`, `inputs`,
            `versions`; with the result `shards` (a record each), `filter`, `result` (counts, and
            the hash of each file), and one of `KINDS` or both.
    """

    def __init__(self, folder: Path, data: dict[str, Any]) -> None:
        self.folder = folder
        self.data = data

    @classmethod
    def open(
        cls,
        folder: Path,
        made_from: Mapping[str, Any],
        about: Mapping[str, Any],
        overwrite: bool,
        inputs: Iterable[Path],
        rehearse: Callable[[], object] = bool,
    ) -> Manifest:
        """The manifest to continue, or a new one, which is written.

        Args:
            made_from: what must be equal for finished shards to be of use; `kind` and `pair` are.
            about: what is recorded beside it.
            overwrite: whether what was made from something else may go.
            inputs: the files that are read, which may not go.
            rehearse: called before anything is made or goes; raises an error if what is to come
                cannot be done.

        Raises:
            AbNetError: the folder holds what was made from something else, or by someone else,
                or what would go is read.
        """
        path = folder / FILE
        files = result_files(folder, made_from["pair"])
        keep_inputs(inputs, (folder / shards.FOLDER, *files))
        versions = {name: version(name) for name in PACKAGES}
        fresh = cls(
            folder,
            {
                "made_from": dict(made_from),
                **about,
                "result": None,
                "versions": {
                    "abnet": abnet.__version__,
                    "python": platform.python_version(),
                    **versions,
                },
            },
        )
        if path.exists():
            before = read_manifest(path)
            if before is None or "kind" not in before["made_from"]:
                raise AbNetError(
                    f"`--output` must be a new folder or one of the same command, but the {FILE} "
                    f"in {folder} is another command's."
                )
            if before["made_from"] == made_from:
                return cls(folder, before)
            if not overwrite:
                told = differences(before["made_from"], made_from)
                raise AbNetError(
                    f"{folder} holds what was made from something else: {told}. Give another "
                    "`--output`, or `--overwrite`."
                )
            former = result_files(folder, before["made_from"]["pair"])
            keep_inputs(inputs, former)
            rehearse()
            shutil.rmtree(folder / shards.FOLDER, ignore_errors=True)
            for file in former:
                file.unlink(missing_ok=True)
        else:
            foreign = [file.name for file in (*files, folder / shards.FOLDER) if file.exists()]
            if foreign:
                raise AbNetError(
                    f"`--output` must be a new folder or one of the same command, but {folder} has "
                    f"{' and '.join(foreign)} and no {FILE}."
                )
            rehearse()
            folder.mkdir(parents=True, exist_ok=True)
        fresh.save()
        return fresh

    def finish(self, result: Mapping[str, Any], **about: Any) -> None:
        """Records a result whose files are there.

        Args:
            result: its counts.
            about: what else is recorded.
        """
        files = result_files(self.folder, self.data["made_from"]["pair"])
        hashes = {file.name: sha256_of(file) for file in files}
        for former in KINDS:  # of other true pairs, whose shards were the same
            self.data.pop(former, None)
        self.data |= {**about, "result": {**result, "files": hashes}}
        self.save()

    def save(self) -> None:
        """Writes the file, whole or not at all."""
        write_json(self.folder / FILE, self.data)


def result_files(folder: Path, pair: str) -> list[Path]:
    """The files that a result consists of, source first.

    Args:
        pair: the languages, such as "de-en".
    """
    return [folder / f"{PREFIX}.{language}" for language in pair.split("-", 1)]


def read_manifest(path: Path) -> dict[str, Any] | None:
    """A manifest of one of abnet's commands, or `None` where the file is something else's."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) and "made_from" in data else None
