"""The record beside prepared data: what it was made from, what was dropped, how far it got."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from abnet.corpora.writing import to_json, write_atomically
from abnet.errors import AbNetError

FILE = "manifest.json"
FILES_OF = "files of "  # a split, in `made_from`
NOT_IN_OLDER = {"pieces"}  # what older versions have not written of `made_from`


class Manifest:
    """`manifest.json` of a prepared folder.

    Attributes:
        data: `made_from` (everything that decides what comes out: corpus, direction, rules, BERTs'
            vocabularies and how they cut text, hashes of the files), `sources`, `steps` (one a
            split read: pairs read, dropped by reason, and what was written), `binarized`,
            `choices`, `versions`; and `distilled` or `back_translated` where a model wrote training
            data (see `abnet.translated.origin`).
    """

    def __init__(self, folder: Path, data: dict[str, Any]) -> None:
        self.folder = folder
        self.data = data

    @classmethod
    def open(
        cls,
        folder: Path,
        made_from: dict[str, Any],
        overwrite: bool,
        inputs: Iterable[Path],
        rehearse: Callable[[], object],
    ) -> Manifest:
        """The manifest to continue, or a new one.

        Args:
            overwrite: whether data made from something else may go.
            inputs: the files that are read, which may not go.
            rehearse: called before anything goes; raises an error if what is to come cannot be
                done.

        Raises:
            AbNetError: the folder holds data made from something else, or by someone else, or
                what would go is read.
        """
        path = folder / FILE
        fresh = cls(folder, {"made_from": made_from, "steps": {}, "binarized": None})
        if not path.exists():
            patterns = ("raw", "pieces", "dict.*.txt", "*.bin", "*.idx")
            foreign = sorted(path.name for name in patterns for path in folder.glob(name))
            if foreign:
                raise AbNetError(
                    f"`--dest` must be a new folder or one that `abnet prepare` made, but {folder} "
                    f"has {' and '.join(foreign[:2])} and no {FILE}."
                )
            return fresh
        data = _read(path)
        before = data["made_from"]
        unrecorded = {name: made_from[name] for name in NOT_IN_OLDER & made_from.keys()}
        if unrecorded | before == made_from:
            return cls(folder, data)
        begun = any(step["read"] for step in data["steps"].values())
        if begun and not overwrite:
            is_whole = all(
                data["steps"].get(name.removeprefix(FILES_OF), {}).get("done")
                for name, files in before.items()
                if name.startswith(FILES_OF) and files
            )
            raise AbNetError(
                f"{folder} holds data that was prepared from something else: "
                f"{differences(unrecorded | before, made_from)}. Give another `--dest`, or "
                + ("`--overwrite`." if is_whole else "`--overwrite` what was never finished.")
            )
        texts = [folder / name for name in ("raw", "pieces")]
        binary = [folder / name for name in (data["binarized"] or {"files": []})["files"]]
        keep_inputs(inputs, (*texts, *binary))
        rehearse()
        for text in texts:
            shutil.rmtree(text, ignore_errors=True)
        for file in binary:
            file.unlink(missing_ok=True)
        return fresh

    def save(self) -> None:
        """Writes the file, whole or not at all."""
        write_atomically(self.folder / FILE, to_json(self.data))


def keep_inputs(inputs: Iterable[Path], doomed: Iterable[Path]) -> None:
    """Sees to it that nothing is deleted or written over that is to be read.

    Args:
        inputs: files that are read, or links to them.
        doomed: files and folders that will go, or be made anew.

    Raises:
        AbNetError: an input, or what it links to, is among them.
    """
    ends = [path.parent.resolve() / path.name for path in doomed]
    for path in inputs:
        for place in (path.parent.resolve() / path.name, path.resolve()):
            if any(place.is_relative_to(end) for end in ends):
                raise AbNetError(
                    f"{path} is to be read, but would be deleted or written over: copy it "
                    "elsewhere and name the copy, or write to another folder."
                )


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The names whose values differ, each with both values."""
    return "; ".join(
        f"{name} ({_short(before.get(name))}, now {_short(now.get(name))})"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise AbNetError(f"{path} is not a manifest of `abnet prepare`: {error}.") from error
    if not isinstance(data, dict) or not {"made_from", "steps", "binarized"} <= data.keys():
        raise AbNetError(
            f"{path} is not a manifest of `abnet prepare`, but another command's: give another "
            "`--dest`."
        )
    return data


def _short(value: Any) -> str:
    if value is None:
        return "the default"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
