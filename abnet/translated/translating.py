"""Text translated into a folder, shard by shard, as many calls as it takes."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from abnet.checkpoint import read_checkpoint
from abnet.corpora.cleaning import in_chunks
from abnet.corpora.download import Say
from abnet.decoding.decode import Options
from abnet.errors import AbNetError
from abnet.translated.files import Lines, sha256_of
from abnet.translated.filtering import Candidate
from abnet.translated.manifest import Manifest, result_files
from abnet.translated.shards import ALL, FOLDER, Part, Shards
from abnet.translated.workers import Work, translate_shards
from abnet.translator import InputReport, Translator

# A change of what the same model and text give makes the shards of other versions "something else".
FORMAT = 1


@dataclass(frozen=True)
class Teacher:
    """The model that translates.

    Attributes:
        checkpoints: that `Translator.from_checkpoint` loads, several for an ensemble.
        options: how it decodes.
        name: what scores call it; the checkpoints' paths if not given.
        source_bert: where its source BERT is now, if it has moved.
        target_bert: the same for the target BERT.
        batch_size: lines decoded at once.
    """

    checkpoints: tuple[Path, ...]
    options: Options
    name: str | None = None
    source_bert: str | None = None
    target_bert: str | None = None
    batch_size: int = 32

    def check_direction(self, source: str, target: str, say: Say) -> None:
        """Refuses a model of the other direction, where its checkpoint says what it is of.

        Args:
            source, target: the languages of what it is to read and to write.
            say: is told of a model of other languages, which may be these by other names.

        Raises:
            AbNetError: it reads the one that it is to write, or it cannot be read.
        """
        for checkpoint in self.checkpoints:
            task = read_checkpoint(checkpoint).envelope.get("cfg", {}).get("task", {})
            found = task.get("source_lang"), task.get("target_lang")
            if source != target and found == (target, source):
                raise AbNetError(
                    f"The model must translate from {source} into {target}, but {checkpoint} was "
                    f"trained from {found[0]} into {found[1]}: give one of the other direction, or "
                    "change `--pair`."
                )
            if None not in found and found != (source, target):
                say(
                    f"warning: the model is to translate from {source} into {target}, but "
                    f"{checkpoint} was trained from {found[0]} into {found[1]}"
                )

    def describe(self) -> dict[str, Any]:
        """What a manifest says of it; the BERTs are those of the first checkpoint.

        Raises:
            AbNetError: a checkpoint cannot be read.
        """
        identities = read_checkpoint(self.checkpoints[0]).identities
        paths = os.pathsep.join(map(str, self.checkpoints))
        return {
            "name": self.name or paths,
            "checkpoint": paths,
            "sha256": os.pathsep.join(map(sha256_of, self.checkpoints)),
            "berts": {side: identity._asdict() for side, identity in identities.items()},
            "decoding": asdict(self.options),
        }


@dataclass(frozen=True)
class Running:
    """How the work is divided.

    Attributes:
        shard_lines: lines of a shard.
        devices: torch devices, taken in turn by the processes; `None` is the GPU if there is one.
        workers: processes; one a device if not given. A single one is this process itself.
        part: which shards this call translates.

    Raises:
        AbNetError: there are fewer processes than devices.
    """

    shard_lines: int = 5_000
    devices: Sequence[str | None] = (None,)
    workers: int | None = None
    part: Part = ALL

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < len(self.devices):
            raise AbNetError(
                f"`--workers` must be at least {len(self.devices)}, one a device, but is "
                f"{self.workers} instead."
            )


class Translating:
    """Lines that a teacher translates into a folder.

    Args:
        lines: to translate.
        teacher: that does it.
        running: how the work is divided.
        folder: what is made.
        made_from: of the manifest, beside what teacher and shards bring.
        about: what else the manifest records.
        overwrite: whether what was made from something else may go.
        inputs: the files that are read, which may not go.
        say: takes lines about the progress, and warnings.

    Raises:
        AbNetError: the text, the checkpoint or the folder cannot be used.
    """

    def __init__(
        self,
        lines: Lines,
        teacher: Teacher,
        running: Running,
        folder: Path,
        made_from: dict[str, Any],
        about: dict[str, Any],
        overwrite: bool,
        inputs: Sequence[Path],
        say: Say,
    ) -> None:
        self.lines = lines
        self.teacher = teacher
        self.running = running
        self.say = say
        self.shards = Shards(folder / FOLDER, lines.count(), running.shard_lines)
        described = teacher.describe()
        made_from = {
            "format": FORMAT,
            **made_from,
            "teacher": described["sha256"],
            "decoding": self._decoding(),
            "lines": self.shards.lines,
            "shard_lines": running.shard_lines,
        }
        about = {"teacher": described, **about}
        self.manifest = Manifest.open(
            folder, made_from, about, overwrite, inputs, self._translate_first
        )
        if teacher.name is not None:
            self.manifest.data["teacher"]["name"] = teacher.name

    def _translate_first(self) -> None:
        """Shows that the teacher can be loaded and decode so, on one line."""
        teacher = self.teacher
        translator = Translator.from_checkpoint(
            teacher.checkpoints, self.running.devices[0], teacher.source_bert, teacher.target_bert
        )
        first = itertools.islice(self.lines, 1)
        translator.translate_n_best(
            first, teacher.options, batch_size=teacher.batch_size, report=InputReport()
        )
        del translator
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # for the processes that share the device

    def run(self) -> bool:
        """Translates the missing shards of this call's part; whether all of all parts are there.

        Raises:
            AbNetError: a shard cannot be translated. Finished ones stay.
        """
        from tqdm import tqdm

        part, running, shards = self.running.part, self.running, self.shards
        missing = shards.missing(part)
        of_part = f" of part {part.number}/{part.of}" if part.of > 1 else ""
        if missing:
            self.say(f"translating {len(missing)} shards{of_part} of {len(shards.numbers)} in all")
            work = Work(
                self.teacher.checkpoints,
                self.teacher.source_bert,
                self.teacher.target_bert,
                self.teacher.options,
                self.teacher.batch_size,
                self.lines,
                shards,
            )
            workers = running.workers or len(running.devices)
            total = sum(shards.lines_of(number) for number in missing)
            with tqdm(desc="translate", total=total, unit=" lines", disable=None) as bar:
                translate_shards(work, missing, running.devices, workers, bar.update)
        left = shards.missing()
        if left:
            files = " and ".join(file.name for file in self.files)
            self.say(
                f"all shards{of_part} are done; {len(left)} of other parts are missing. The call "
                f"that finds none missing writes {files}."
            )
        return not left

    def _decoding(self) -> dict[str, Any]:
        """The options that are not the usual ones: a new one then makes no old shard useless."""
        usual = asdict(type(self.teacher.options)())
        given = asdict(self.teacher.options)
        return {name: value for name, value in given.items() if value != usual[name]}

    @property
    def files(self) -> list[Path]:
        """What the result consists of, source first."""
        return result_files(self.manifest.folder, self.manifest.data["made_from"]["pair"])

    def candidates(self) -> Iterator[Candidate]:
        """Every line with its translation, once all shards are there."""
        chunks = in_chunks(self.lines, self.shards.size)
        for number, lines in zip(self.shards.numbers, chunks, strict=True):
            record = self.shards.record(number)
            trouble = dict.fromkeys(record.unknown, "unknown") | dict.fromkeys(record.cut, "cut")
            texts = self.shards.read(number)
            places = itertools.count(self.shards.first_line(number))
            for place, line, text in zip(places, lines, texts, strict=False):
                yield Candidate(line, text, trouble.get(place))

    def credit(self) -> dict[str, Any]:
        """What training data say of the teacher."""
        told = self.manifest.data["teacher"]
        return {"teacher": told["name"], "sha256": told["sha256"], "decoding": told["decoding"]}

    def finish(self, result: dict[str, Any], **about: Any) -> None:
        """Records the result, with the shards that it is made of, and clears their folder.

        Args:
            result: its counts.
            about: what else is recorded.
        """
        records = [self.shards.record(number) for number in self.shards.numbers]
        told = [
            {**record._asdict(), "cut": len(record.cut), "unknown": len(record.unknown)}
            for record in records
        ]
        self.manifest.finish(result, shards=told, **about)
        for part in self.shards.folder.glob("*.part"):  # of calls that were killed
            part.unlink(missing_ok=True)
        for name, what in (
            ("cut", "longer than what the teacher takes, and were cut there"),
            ("unknown", "made of words unknown to the teacher's source BERT for the most part"),
        ):
            count = sum(shard[name] for shard in told)
            if count:
                self.say(f"warning: {count} of {self.shards.lines} lines are {what}")
