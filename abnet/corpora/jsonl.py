"""Any pair of texts in a JSONL file: one JSON object a line, with a key for either side."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from abnet.corpora.corpus import Archive, Corpus, Pair, Part, TextFile
from abnet.corpora.formats import read_text
from abnet.errors import AbNetError

# What JSON calls the values that Python's `json` makes.
KINDS = {dict: "an object", list: "a list", str: "a text", bool: "a boolean", type(None): "null"}


def build(
    source: str,
    target: str,
    train: str,
    valid: str,
    test: str | None,
    source_key: str | None = None,
    target_key: str | None = None,
) -> Corpus:
    """One's own pairs; nothing is dropped but empty texts and what is too long for the BERTs.

    Args:
        source, target: what the two sides are called.
        train: the training file, compressed if its name ends in ".gz".
        valid: the same for the validation split.
        test: the same for the test split, if there is one.
        source_key, target_key: the keys of the two texts, if they are not `source` and `target`.

    Raises:
        AbNetError: a file is not there, or the keys are one.
    """
    keys = (source_key or source, target_key or target)
    if keys[0] == keys[1]:
        raise AbNetError(
            f"`--source-key` and `--target-key` must be different keys, but both are {keys[0]}."
        )

    def read(path: Path, _: Path) -> Iterator[Pair]:
        return read_json_pairs(path, *keys)

    files = {"train": train, "valid": valid, "test": test}
    parts = []
    for split, name in files.items():
        if name is not None:
            file = TextFile(Archive(str(_existing(split, name))))
            parts.append(Part(split, file, file, read))
    return Corpus(
        name="jsonl",
        source=source,
        target=target,
        parts=tuple(parts),
        choices=(f"source is {keys[0]}, target is {keys[1]}",),
    )


def read_json_pairs(path: Path, source_key: str, target_key: str) -> Iterator[Pair]:
    """The two texts of every line, as they stand there: line ends within them and all.

    Blank lines may stand at the end of the file only, so that pair n is that of line n.

    Raises:
        AbNetError: the file cannot be read, or a line is no JSON object with both texts; the
            message has the file and the line.
    """
    blank = None
    for number, line in enumerate(read_text(path), start=1):
        if not line.strip():
            blank = blank or number
            continue
        if blank is not None:
            raise AbNetError(
                f"{path}, line {blank}: a line must be a JSON object, but this one is blank. "
                "Delete it."
            )
        texts = _object(line, f"{path}, line {number}")
        yield (
            _text(texts, source_key, "source", f"{path}, line {number}"),
            _text(texts, target_key, "target", f"{path}, line {number}"),
        )


def _existing(split: str, name: str) -> Path:
    path = Path(name).absolute()
    if not path.is_file():
        raise AbNetError(f"`--{split}` must be an existing JSONL file, but is {name} instead.")
    return path


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise AbNetError(
            f"{where}: a line must be a JSON object, but this one cannot be read: {error}."
        ) from None
    if not isinstance(value, dict):
        raise AbNetError(
            f"{where}: a line must be a JSON object such as "
            f'{{"document": "...", "summary": "..."}}, but is {_kind(value)} instead.'
        )
    return value


def _text(texts: dict[str, Any], key: str, side: str, where: str) -> str:
    if key not in texts:
        present = ", ".join(map(str, texts)) or "none"
        raise AbNetError(
            f"{where}: the object must have the key {key}, but its keys are: {present}. Name "
            f"another one with `--{side}-key`."
        )
    text = texts[key]
    if not isinstance(text, str):
        raise AbNetError(f"{where}: {key} must be a text, but is {_kind(text)} instead.")
    return text


def _kind(value: Any) -> str:
    return KINDS.get(type(value), "a number")
