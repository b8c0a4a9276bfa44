"""Any pair of text files: line n of `PREFIX.de` is the translation of line n of `PREFIX.en`."""

from __future__ import annotations

from pathlib import Path

from abnet.corpora.corpus import Archive, Corpus, Part, TextFile
from abnet.corpora.formats import read_text_pairs
from abnet.errors import AbNetError


def build(source: str, target: str, train: str, valid: str, test: str | None) -> Corpus:
    """One's own text; nothing is dropped but empty lines and what is too long for the BERTs.

    Args:
        train: the training files without their ".de" and ".en".
        valid: the same for the validation split.
        test: the same for the test split, if there is one.

    Raises:
        AbNetError: a file is not there.
    """
    prefixes = {"train": train, "valid": valid, "test": test}
    parts = tuple(
        Part(split, _file(split, prefix, source), _file(split, prefix, target), read_text_pairs)
        for split, prefix in prefixes.items()
        if prefix is not None
    )
    return Corpus(name="text", source=source, target=target, parts=parts)


def _file(split: str, prefix: str, language: str) -> TextFile:
    for name in (f"{prefix}.{language}", f"{prefix}.{language}.gz"):
        if Path(name).is_file():
            return TextFile(Archive(str(Path(name).resolve())))
    raise AbNetError(
        f"`--{split}` must be what two files {prefix}.LANGUAGE have in common, but there is no "
        f"{prefix}.{language} (nor {prefix}.{language}.gz)."
    )
