"""Where training data come from: people alone, or a model that wrote a side of them.

A manifest has `distilled` where a model wrote the target side, and `back_translated` where one
wrote the source side of a part of the pairs. Each names the `teacher`; where neither is there, the
data are raw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from abnet.corpora.manifest import FILE
from abnet.errors import AbNetError
from abnet.translated.files import sha256_of
from abnet.translated.manifest import KINDS, read_manifest, result_files

Origin = dict[str, Any]


def origin_of(files: Sequence[Path], pair: str) -> Origin:
    """What the manifests beside training files say of them; empty for raw ones.

    Known are the files that `abnet distill` and `abnet backtranslate` wrote, and the `raw/` of a
    prepared folder. In the other direction the sides change places: distilled pairs become
    back-translated ones.

    Args:
        files: of the training part.
        pair: the languages in the direction of training, such as "de-en".

    Raises:
        AbNetError: a file is no longer what its manifest says, or not finished.
    """
    origin: Origin = {}
    for file in files:
        data = _manifest_of(file.resolve())
        if data is not None:
            found = told_origin(data)
            if data["made_from"].get("pair") != pair:
                found = {KINDS[1 - KINDS.index(kind)]: about for kind, about in found.items()}
            origin |= found
    return origin


def told_origin(data: Mapping[str, Any]) -> Origin:
    """What a manifest says of its training data; empty for raw ones."""
    return {kind: data[kind] for kind in KINDS if kind in data}


def describe_origin(origin: Mapping[str, Any]) -> str:
    """In words: "raw", "distilled by TEACHER", "raw, with back-translations by TEACHER"."""
    text = f"distilled by {origin['distilled']['teacher']}" if "distilled" in origin else "raw"
    if "back_translated" in origin:
        text += f", with back-translations by {origin['back_translated']['teacher']}"
    return text


def _manifest_of(file: Path) -> dict[str, Any] | None:
    """The manifest that knows a training file."""
    data = read_manifest(file.parent / FILE)
    if data is None and file.parent.name == "raw":
        return read_manifest(file.parent.parent / FILE)
    if data is None or "result" not in data:
        return None
    names = [one.name for one in result_files(file.parent, data["made_from"]["pair"])]
    if file.name.removesuffix(".gz") not in names:
        return None
    if data["result"] is None:
        raise AbNetError(
            f"{file} must be finished, but the {FILE} beside it says that it is not: run the "
            "command that makes it again."
        )
    if file.name in names and sha256_of(file) != data["result"]["files"][file.name]:
        raise AbNetError(
            f"{file} must be as it was written, but differs from what the {FILE} beside it says: "
            "make it again, or put changed text into another folder."
        )
    return data
