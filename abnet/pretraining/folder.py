"""The folder of a pre-training run: what it was begun with, and whether one may go on there."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abnet.corpora.writing import to_json, write_atomically
from abnet.errors import AbNetError
from abnet.pretraining.corpus import Corpus
from abnet.pretraining.options import PretrainingOptions
from abnet.translated.files import sha256_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

WORK_NAME = "training"
SETTINGS_NAME = "settings.json"
TOKENIZER_NAME = "tokenizer.json"
DECIDING = ("config.json", "vocab.txt", TOKENIZER_NAME)  # of a BERT, beside its weights


def settings_of(corpus: Corpus, options: PretrainingOptions) -> dict[str, Any]:
    """Everything that decides what comes out, as it is recorded."""
    chosen = dataclasses.asdict(options)
    del chosen["resume"], chosen["save_minutes"]
    found = {"texts": corpus.hashes, "excluded": corpus.excluded}
    if options.start is not None and Path(options.start).is_dir():
        found["start_files"] = _hashes(Path(options.start))
    return {**found, "dropped_lines": corpus.dropped, **chosen}


def _hashes(start: Path) -> dict[str, str]:
    """ "sha256:<hex>" of the files of a BERT that decide what is begun with."""
    return {
        path.name: f"sha256:{sha256_of(path)}"
        for path in sorted(start.iterdir())
        if path.suffix in (".safetensors", ".bin") or path.name in DECIDING
    }


def check_same(old: dict[str, Any], new: dict[str, Any], output: Path) -> None:
    """Refuses to go on with a run of other settings; older ones may lack some.

    Raises:
        AbNetError: a setting differs.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(PretrainingOptions)}
    compared = [name for name in new if name != "dropped_lines"]  # which follows from the hashes
    changed = [n for n in compared if old.get(n, defaults.get(n, new[n])) != new[n]]
    if changed:
        raise AbNetError(
            f"{output} was begun with other settings ({', '.join(changed)}); "
            "give the same ones, or another folder."
        )


def check_folder(output: Path, settings: dict[str, Any], resume: bool) -> None:
    """The folder is new, or what is in it is the run to resume, however far that came.

    Raises:
        AbNetError: it is neither.
    """
    record = output / WORK_NAME / SETTINGS_NAME
    if resume and _has_not_begun(output):
        return
    if resume and record.exists():
        check_same(read_json(record), settings, output)
        return
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        advice = (
            "it holds no run to resume either."
            if resume
            else "to go on with an interrupted run there, add --resume."
        )
        raise AbNetError(f"`output` must be a new or empty folder, but {output} is not; {advice}")


def _has_not_begun(output: Path) -> bool:
    """Whether it has no more than a run leaves that was stopped while it wrote its settings."""
    left = {output / WORK_NAME, output / WORK_NAME / f"{SETTINGS_NAME}.part"}
    return (output / WORK_NAME).is_dir() and left.issuperset(output.rglob("*"))


def make_folder(output: Path) -> None:
    """Makes it, if it is not there.

    Raises:
        AbNetError: it cannot be made.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_be_made(output, error) from error


def begin(output: Path, settings: dict[str, Any], tokenizer: PreTrainedTokenizerBase) -> None:
    """Puts into the folder what a resumed run must find again.

    Raises:
        AbNetError: it cannot be written.
    """
    record = output / WORK_NAME / SETTINGS_NAME
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        if not record.exists():
            write_json(record, settings)
        if not (output / TOKENIZER_NAME).exists():
            _write_tokenizer(output, settings, tokenizer)
    except Exception as error:  # tokenizers has no kind of its own for a full disk
        raise _cannot_be_made(output, error) from error


def _cannot_be_made(output: Path, error: Exception) -> AbNetError:
    return AbNetError(
        f"`output` must be a folder that can be made, but {output} cannot ({error}): name "
        "another one, or make room."
    )


def _write_tokenizer(
    output: Path, settings: dict[str, Any], tokenizer: PreTrainedTokenizerBase
) -> None:
    """Writes its files so that all of them are whole where there is a `tokenizer.json`."""
    unfinished = output / WORK_NAME / "tokenizer"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    if settings["start"] is None:
        tokenizer.backend_tokenizer.model.save(str(unfinished))  # vocab.txt, for people
    tokenizer.save_pretrained(unfinished)
    for path in sorted(unfinished.iterdir(), key=lambda path: path.name == TOKENIZER_NAME):
        path.replace(output / path.name)
    unfinished.rmdir()


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Whole or not at all."""
    write_atomically(path, to_json(content))


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote.

    Raises:
        AbNetError: it is damaged.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise AbNetError(f"{path} must be as it was written, but is damaged ({error}).") from error
    return content
