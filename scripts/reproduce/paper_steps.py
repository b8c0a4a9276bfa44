"""The steps of the paper's rows: data, what a system learns from, training, decoding, result."""

from __future__ import annotations

import argparse
import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from abnet.scoring.evaluate import tokenized_bleu
from abnet.systems import SYSTEMS
from abnet.text import read_lines
from benchmarks import quality, records
from scripts.reproduce.paper_rows import IWSLT, Row, of_system
from scripts.reproduce.recipes import ROOT
from scripts.reproduce.steps import Step, StepError
from scripts.reproduce.toy import Toy

BACK_TRANSLATED = "_bt"  # behind the name of a corpus that has back-translations added
AVERAGE = "checkpoint_average.pt"
TEACHER = "transformer_big"  # of the distilled WMT14
CORPORA = (IWSLT, "multi30k", "wmt14", "wmt16_ro_en", f"wmt16_ro_en{BACK_TRANSLATED}")
CASED_BERTS = {"en": "bert-base-cased", "de": "bert-base-german-cased"}  # of scripts/prepare
OTHER_BERT = "bert-base-multilingual-cased"
ENGLISH_ONLY = ("gpt2",)
_TRANSLATED = re.compile(r"Translated ([\d,]+) sentences .* in ([\d.]+)s")

DECODING = {  # of scripts/generate, by objective
    "conditional_masked_lm": {"passes": 10, "length_beam": 4, "patience": 1},
    "autoregressive": {"beam": 5},
    "ctc": {"passes": 1},
    "dag": {"passes": 1},
}


@dataclass(frozen=True)
class Paper:
    """The steps of any row.

    Attributes:
        out: folder to work in.
        toy: what stands for corpora and BERTs in a try of the scripts; `None` for the real ones.
        options: of `fairseq-train`, behind all others.
    """

    out: Path
    toy: Toy | None
    options: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Of what the options change; empty without any."""
        return re.sub(r"[^\w.+-]+", "_", "".join(self.options)).replace("--", ".")

    @property
    def seed(self) -> int:
        """That of the trainings."""
        parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        parser.add_argument("--seed", type=int, default=1)
        return int(parser.parse_known_args(self.options)[0].seed)

    def is_distilled(self, row: Row) -> bool:
        """Parallel systems learn WMT14 from an autoregressive teacher, as in the paper."""
        return row.corpus == "wmt14" and SYSTEMS[row.system].objective != "autoregressive"

    def teacher(self, row: Row) -> Row:
        """The row that makes a distilled row's training data."""
        return of_system(TEACHER, row.corpus, row.pair)

    def berts(self, row: Row) -> tuple[str | None, str | None]:
        """What stands for the languages' BERTs, source and target; `None` where nothing does."""
        own = SYSTEMS[row.system]
        return (
            row.source_bert or own.both_berts or own.source_bert,
            row.target_bert or own.both_berts or own.target_bert,
        )

    def data(self, row: Row) -> Path:
        """The prepared folder of a row; systems with other models on a side have their own."""
        kind = ""
        for side, bert in zip(("from", "to"), self.berts(row), strict=True):
            kind += "" if bert is None else f"-{side}-{bert.replace('/', '-')}"
        kind += "-distilled" if self.is_distilled(row) else ""
        return self.out / "data" / f"{row.corpus}.{row.pair}{kind}"

    def run(self, row: Row) -> Path:
        """The folder of a row's checkpoints."""
        return self.out / row.name

    def start(self, row: Row) -> Row | None:
        """The row whose trained weights a row's system takes over: of the same shape and models."""
        name = SYSTEMS[row.system].starts_from
        return None if name is None else replace(row, system=name, label="", bleu=None)

    def before(self, row: Row) -> list[Step]:
        """All that a row's training needs: its data, and the systems that it learns from."""
        start = self.start(row)
        first = (
            [] if start is None else [*self.before(start), self.train(start), self.average(start)]
        )
        return [*first, *self.prepare(row), *self._teach(row)]

    def prepare(self, row: Row) -> list[Step]:
        """Clean text, pieces and binary files, with the teacher's training before them.

        Raises:
            StepError: the target's model does not know its language.
        """
        data, berts = self.data(row), ()
        language = row.pair.partition("-")[2]
        for flag, bert in zip(("--source-bert", "--target-bert"), self.berts(row), strict=True):
            berts += () if bert is None else (flag, bert)
        if self.toy is not None:
            berts = self.toy.berts(row)
        elif self.berts(row)[1] in ENGLISH_ONLY and language != "en":
            raise StepError(
                f"{row.system} writes {language} with {self.berts(row)[1]}, which knows English "
                "only: name another model with --target-bert."
            )
        name = f"prepare-{data.name}"
        if self.is_distilled(row):
            return [
                *self.prepare(self.teacher(row)),
                self.train(self.teacher(row)),
                self.average(self.teacher(row)),
                *self._distill(row, name, berts),
            ]
        if self.toy is not None:
            command = self._prepare_text(row, self.toy.text / "train", self.toy.text, berts)
            return [Step(name, self.out, command)]
        corpus = row.corpus.removesuffix(BACK_TRANSLATED)
        more = ("--back-translated",) if row.corpus.endswith(BACK_TRANSLATED) else ()
        script = _script("prepare", corpus)
        return [Step(name, self.out, (script, row.pair, "--dest", str(data), *berts, *more))]

    def _distill(self, row: Row, name: str, berts: tuple[str, ...]) -> list[Step]:
        raw = self.data(self.teacher(row)) / "raw"
        output = self.out / "distilled" / f"{row.corpus}.{row.pair}"
        checkpoint = self.run(self.teacher(row)) / AVERAGE
        command = ("abnet", "distill", str(checkpoint), "--train", str(raw / "train"))
        command += ("--pair", row.pair, "--output", str(output), "--teacher-name", TEACHER)
        if self.toy is not None:
            command += ("--no-filter",)  # the teacher has learned nothing
        elif torch.cuda.device_count() > 1:
            gpus = range(torch.cuda.device_count())
            command += ("--devices", ",".join(f"cuda:{number}" for number in gpus))
        usual = (CASED_BERTS.get(language, OTHER_BERT) for language in row.pair.split("-"))
        for flag, bert in zip(("--source-bert", "--target-bert"), usual, strict=True):
            berts += () if flag in berts else (flag, bert)
        prepare = self._prepare_text(row, output / "train", raw, berts)
        needs = (self.average(self.teacher(row)).stamp,)
        distilled = Step(f"distill-{self.data(row).name}", self.out, command, needs)
        return [distilled, Step(name, self.out, prepare, (distilled.stamp,))]

    def _teach(self, row: Row) -> list[Step]:
        """The training of a row's teacher of soft labels, on the row's own data."""
        teacher, folder = SYSTEMS[row.system].soft_teacher, self.run(row) / "teacher"
        if teacher is None:
            return []
        own = of_system(teacher, row.corpus, row.pair)
        command = self._training(own, self.data(row), folder)
        needs = (self.prepare(row)[-1].stamp,)
        train = Step("train", folder, command, needs)
        return [train, self._average(train)]

    def _prepare_text(
        self, row: Row, train: Path, held_out: Path, berts: tuple[str, ...]
    ) -> tuple[str, ...]:
        command = ("abnet", "prepare", "text", "--pair", row.pair, "--train", str(train))
        for split in ("valid", "test"):
            command += (f"--{split}", str(held_out / split))
        return (*command, "--dest", str(self.data(row)), *berts)

    def train(self, row: Row) -> Step:
        """One training; it goes on from the last checkpoint by itself."""
        more: tuple[str, ...] = ()
        needs = [*self.prepare(row)[-1:], *self._teach(row)[-1:]]
        if SYSTEMS[row.system].soft_teacher is not None:
            more += ("--soft-teacher", str(self.run(row) / "teacher" / AVERAGE))
        start = self.start(row)
        if start is not None:
            more += ("--warm-start", str(self.run(start) / AVERAGE))
            needs.append(self.average(start))
        command = self._training(row, self.data(row), self.run(row), *more)
        return Step("train", self.run(row), command, tuple(step.stamp for step in needs))

    def _training(self, row: Row, data: Path, folder: Path, *more: str) -> tuple[str, ...]:
        command = ("env", f"DATA={data}", f"SAVE={folder}")
        command += (_script("train", row.corpus.removesuffix(BACK_TRANSLATED)), row.pair)
        command += ("--arch", row.system, "--criterion", SYSTEMS[row.system].criterion)
        command += (*more, *row.options)
        if self.toy is not None:
            command += self.toy.options(row)
        return (*command, *self.options)

    def average(self, row: Row) -> Step:
        """The mean of the last checkpoints."""
        return self._average(self.train(row))

    def _average(self, train: Step) -> Step:
        folder = train.folder
        command = ("abnet", "average", str(folder), "--last", "10", "--or-fewer")
        command += ("--output", str(folder / AVERAGE))
        return Step("average", folder, command, (train.stamp,))

    def generate(self, row: Row) -> Step:
        """The test set, decoded and scored."""
        needs = (self.average(row).stamp,)
        return Step("generate", self.run(row), self._generation(row), needs)

    def one_by_one(self, row: Row) -> list[Step]:
        """The test set decoded a sentence at a time, for the rows that the paper has a time of."""
        alone = ("--batch-size", "1", "--results-path", str(self.run(row) / "one-by-one"))
        command, needs = (*self._generation(row), *alone), (self.average(row).stamp,)
        return [] if row.latency_ms is None else [Step("one-by-one", self.run(row), command, needs)]

    def _generation(self, row: Row) -> tuple[str, ...]:
        command = ("env", f"DATA={self.data(row)}", f"RUN={self.run(row)}")
        script = _script("generate", row.corpus.removesuffix(BACK_TRANSLATED))
        return (*command, script, row.pair)

    def result(self, row: Row) -> dict[str, Any]:
        """The JSON object of a row."""
        run, target = self.run(row), row.pair.partition("-")[2]
        training = quality.read_training(run, run / "train.log")
        curve = quality.read_curve(run / "train.log")
        references = self.data(row) / "raw" / f"test.{target}"
        found = quality.score_runs([run], references, str)
        tokenized = tokenized_bleu(
            read_lines(run / "test.txt"),
            read_lines(references),
            language=target,
            lowercase=row.corpus == IWSLT,
        )
        found |= {
            "tokenized_bleu": round(tokenized.value, 2),
            "tokenized_signature": tokenized.signature,
        }
        if row.latency_ms is not None:
            found["seconds_a_sentence"] = _seconds_a_sentence(run / "one-by-one.log")
        return {
            "kind": "quality",
            "system": row.system,
            "dataset": row.corpus if self.toy is None else "toy",
            "direction": row.pair,
            "split": "test",
            "options": shlex.join((*row.options, *self.options)),
            "back_translated": row.corpus.endswith(BACK_TRANSLATED),
            "distilled": self.is_distilled(row),
            **({"teacher": TEACHER} if self.is_distilled(row) else {}),
            "seeds": [self.seed],
            **found,
            **DECODING[SYSTEMS[row.system].objective],
            "trained_parameters": training.trained_parameters,
            "total_parameters": training.total_parameters,
            "updates": training.updates,
            "train_seconds": round(training.seconds),
            **({"curve": curve} if curve else {}),
            "device": records.device_name(),
            **records.stamps(),
        }


def _script(kind: str, corpus: str) -> str:
    return str(ROOT / "scripts" / kind / f"{corpus}.sh")


def _seconds_a_sentence(log: Path) -> float:
    """What `fairseq-generate` says of the time, when it last ran.

    Raises:
        StepError: it says nothing.
    """
    told = _TRANSLATED.findall(log.read_text("utf-8"))
    if not told:
        raise StepError(f"{log} must tell how long the translation took, but does not.")
    sentences, seconds = told[-1]
    return float(seconds) / int(sentences.replace(",", ""))
