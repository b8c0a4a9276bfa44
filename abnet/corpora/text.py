"""Any pair of text files: line n of `PREFIX.de` is the translation of line n of `PREFIX.en`."""

from __future__ import annotations

from pathlib import Path

from abnet.corpora.corpus import Archive, Corpus, Part, TextFile
from abnet.corpora.formats import read_text_pairs
from abnet.errors import AbNetError


def build(
    source: str,
    target: str,
    train: str,
    valid: str,
    test: str | None,
    teacher: str | None = None,
) -> Corpus:
    """One's own text; nothing is dropped but empty lines and what is too long for the BERTs.

    Args:
        train: the training files without their ".de" and ".en".
        valid: the same for the validation split.
        test: the same for the test split, if there is one.
        teacher: the model whose translations the training targets are, if they are; what
            `abnet distill` wrote needs no telling.

    Raises:
        AbNetError: a file is not there.
    """
    prefixes = {"train": train, "valid": valid, "test": test}
    parts = tuple(
        Part(split, _file(split, prefix, source), _file(split, prefix, target), read_text_pairs)
        for split, prefix in prefixes.items()
        if prefix is not None
    )
    origin = {} if teacher is None else {"distilled": {"teacher": teacher}}
    return Corpus(name="text", source=source, target=target, parts=parts, origin=origin)


def find_file(option: str, prefix: str, language: str) -> Path:
    """The file `PREFIX.LANGUAGE`, or that with .gz.

    Args:
        option: the option that gave the prefix, for the error.

    Raises:
        AbNetError: neither is there.
    """
    for name in (f"{prefix}.{language}", f"{prefix}.{language}.gz"):
        if Path(name).is_file():
            return Path(name)
    raise AbNetError(
        f"`{option}` must be what two files {prefix}.LANGUAGE have in common, but there is no "
        f"{prefix}.{language} (nor {prefix}.{language}.gz)."
    )


def _file(split: str, prefix: str, language: str) -> TextFile:
    return TextFile(Archive(str(find_file(f"--{split}", prefix, language).absolute())))
