"""Sequence-level distillation (Kim and Rush 2016): a teacher's translations as training targets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from abnet.corpora.download import Say
from abnet.corpora.text import find_file
from abnet.errors import AbNetError
from abnet.translated.files import Lines, describe_files, write_pairs
from abnet.translated.filtering import (
    USUAL,
    Candidate,
    PairFilter,
    describe_drops,
    describe_rules,
    keep_good,
)
from abnet.translated.manifest import Manifest, result_files
from abnet.translated.origin import origin_of
from abnet.translated.translating import FORMAT, Running, Teacher, Translating

KIND = "distilled"


@dataclass(frozen=True)
class Distillation:
    """What is distilled, and where to.

    Attributes:
        pair: source and target language.
        train: prefixes of the training files; only the source side is read.
        output: the folder to make.
        rules: what is dropped; `None` keeps every line.
        overwrite: whether what was made from something else may go.
    """

    pair: tuple[str, str]
    train: Sequence[str]
    output: Path
    rules: PairFilter | None = USUAL
    overwrite: bool = False

    @property
    def sources(self) -> tuple[Path, ...]:
        """The source files.

        Raises:
            AbNetError: one is not there.
        """
        return tuple(find_file("--train", prefix, self.pair[0]) for prefix in self.train)


def distill(
    task: Distillation, teacher: Teacher, running: Running, say: Say
) -> dict[str, Any] | None:
    """Writes the source lines and a teacher's translations of them as `train.SRC` and `train.TGT`.

    Shards that are there are not translated again; another filter needs no new translation.

    Args:
        task: what is distilled, and where to.
        teacher: the model.
        running: how the work is divided.
        say: takes lines about the progress, and warnings.

    Returns:
        The manifest's `result`, or `None` while shards of other parts are missing.

    Raises:
        AbNetError: text, checkpoint or folder cannot be used, or a shard cannot be translated.
    """
    teacher.check_direction(*task.pair, say)
    made_from, about, origin = _describe(task)
    lines, folder, overwrite = Lines(task.sources), task.output, task.overwrite
    work = Translating(
        lines, teacher, running, folder, made_from, about, overwrite, task.sources, say
    )
    if not work.run():
        return None
    result = _write(task, work.candidates(), say)
    work.finish(result, filter=describe_rules(task.rules), **origin, distilled=work.credit())
    return result


def adopt(
    task: Distillation, translations: Sequence[str], files: Sequence[Path], teacher: str, say: Say
) -> dict[str, Any]:
    """The same with translations that another program made.

    Args:
        task: what is distilled, and where to.
        translations: one a source line.
        files: where they come from, for the manifest.
        teacher: the name of the model that made them.
        say: takes lines about the progress.

    Raises:
        AbNetError: the text or the folder cannot be used, or the numbers of lines differ.
    """
    lines = Lines(task.sources)
    count = lines.count()
    if count != len(translations):
        raise AbNetError(
            f"There must be one translation a line, but {', '.join(map(str, files))} has "
            f"{len(translations)} and {', '.join(map(str, task.sources))} {count}."
        )
    made_from, about, origin = _describe(task)
    described = describe_files(files)
    made_from |= {"format": FORMAT, "translations": [one["sha256"] for one in described]}
    about["teacher"] = {"name": teacher, "translations": described}
    manifest = Manifest.open(task.output, made_from, about, task.overwrite, (*task.sources, *files))
    for part in task.output.glob("*.part"):  # of a call that was killed
        part.unlink(missing_ok=True)
    candidates = (Candidate(*pair) for pair in zip(lines, translations, strict=True))
    result = _write(task, candidates, say)
    manifest.finish(
        result,
        teacher=about["teacher"],
        filter=describe_rules(task.rules),
        **origin,
        distilled={"teacher": teacher},
    )
    return result


def _describe(task: Distillation) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """`made_from`, what is recorded beside it, and what a model wrote of the source side."""
    pair = "-".join(task.pair)
    inputs = describe_files(task.sources)
    made_from = {"kind": KIND, "pair": pair, "inputs": [one["sha256"] for one in inputs]}
    origin = origin_of(task.sources, pair)
    origin.pop(KIND, None)  # of targets that are not read
    return made_from, {"inputs": inputs}, origin


def _write(task: Distillation, candidates: Iterable[Candidate], say: Say) -> dict[str, Any]:
    """Writes the files; the counts."""
    dropped: Counter[str] = Counter()
    files = result_files(task.output, "-".join(task.pair))
    pairs = write_pairs(files, keep_good(candidates, task.rules, dropped))
    read = pairs + dropped.total()
    say(f"{task.output}: {pairs} pairs of {read}; dropped: {describe_drops(dropped)}")
    return {"read": read, "pairs": pairs, "dropped": dict(dropped)}
