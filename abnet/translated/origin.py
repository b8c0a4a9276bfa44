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
WRITTEN = {"distilled": 1, "back_translated": 0}  # the side of its pair that a model wrote


def origin_of(files: Sequence[Path], pair: str) -> Origin:
    """What the manifests beside training files say of them; empty for raw ones.

    Known are the files that `abnet distill` and `abnet backtranslate` wrote, and the `raw/` of a
    prepared folder. A side that a model wrote is distilled where it is the target of the training,
    and back-translated where it is the source.

    Args:
        files: of the training part.
        pair: the languages in the direction of training, such as "de-en".

    Raises:
        AbNetError: a file is no longer what its manifest says, or not finished.
    """
    origin: Origin = {}
    for file in files:
        real = file.resolve()
        data = _manifest_of(real)
        if data is None:
            continue
        is_source = _language(file) == pair.split("-", 1)[0]
        for kind, about in told_origin(data).items():
            if _language(real) == data["made_from"]["pair"].split("-", 1)[WRITTEN[kind]]:
                origin["back_translated" if is_source else "distilled"] = about
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


def _language(file: Path) -> str:
    """The side that a training file is of, by its name."""
    return file.name.removesuffix(".gz").rpartition(".")[2]


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
