"""One system on one corpus, or a table of the paper: prepared, trained, decoded and scored."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from abnet.systems import SYSTEMS
from benchmarks import quality, records
from benchmarks.markdown import NOT_MEASURED, markdown_table
from scripts.reproduce.common import common_environment
from scripts.reproduce.paper_rows import TABLES, Row, of_system
from scripts.reproduce.recipes import ROOT
from scripts.reproduce.steps import Runner, Step, StepError, say, sole_user
from scripts.reproduce.toy import Toy

BACK_TRANSLATED = "_bt"  # behind the name of a corpus that has back-translations added
AVERAGE = "checkpoint_average.pt"
TEACHER = "transformer_big"  # of the distilled WMT14
WMT_BERTS = {"en": "bert-base-cased", "de": "bert-base-german-cased"}


DECODING = {  # of scripts/generate, by objective
    "conditional_masked_lm": {"passes": 10, "length_beam": 4},
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

    def is_distilled(self, row: Row) -> bool:
        """Parallel systems learn WMT14 from an autoregressive teacher, as in the paper."""
        return row.corpus == "wmt14" and SYSTEMS[row.system].objective != "autoregressive"

    def teacher(self, row: Row) -> Row:
        """The row that makes a distilled row's training data."""
        return of_system(TEACHER, row.corpus, row.pair)

    def data(self, row: Row) -> Path:
        """The prepared folder of a row; systems with other models on a side have their own."""
        system = SYSTEMS[row.system]
        kind = "-shared" if system.both_berts else "-gpt" if system.target_bert else ""
        kind += "-distilled" if self.is_distilled(row) else ""
        return self.out / "data" / f"{row.corpus}.{row.pair}{kind}"

    def run(self, row: Row) -> Path:
        """The folder of a row's checkpoints."""
        return self.out / row.name

    def start(self, row: Row) -> Row | None:
        """The row whose trained weights a row's system takes over."""
        name = SYSTEMS[row.system].starts_from
        return None if name is None else of_system(name, row.corpus, row.pair)

    def before(self, row: Row) -> list[Step]:
        """All that a row's training needs: its data, and the systems that it learns from."""
        start = self.start(row)
        first = (
            [] if start is None else [*self.before(start), self.train(start), self.average(start)]
        )
        return [*first, *self.prepare(row), *self._teach(row)]

    def prepare(self, row: Row) -> list[Step]:
        """Clean text, pieces and binary files, with the teacher's training before them."""
        data, system = self.data(row), SYSTEMS[row.system]
        berts: tuple[str, ...] = ()
        for flag, bert in (
            ("--source-bert", system.both_berts),
            ("--target-bert", system.both_berts or system.target_bert),
        ):
            berts += () if bert is None else (flag, bert)
        if self.toy is not None:
            berts = self.toy.berts(row)
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
        source, target = (WMT_BERTS[language] for language in row.pair.split("-"))
        berts = berts or ("--source-bert", source, "--target-bert", target)
        prepare = self._prepare_text(row, output / "train", raw, berts)
        return [
            Step(f"distill-{self.data(row).name}", self.out, command),
            Step(name, self.out, prepare),
        ]

    def _teach(self, row: Row) -> list[Step]:
        """The training of a row's teacher of soft labels, on the row's own data."""
        teacher, folder = SYSTEMS[row.system].soft_teacher, self.run(row) / "teacher"
        if teacher is None:
            return []
        command = self._training(Row(teacher, row.corpus, row.pair), self.data(row), folder)
        return [Step("train", folder, command), self._average(folder)]

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
        if SYSTEMS[row.system].soft_teacher is not None:
            more += ("--soft-teacher", str(self.run(row) / "teacher" / AVERAGE))
        start = self.start(row)
        if start is not None:
            more += ("--warm-start", str(self.run(start) / AVERAGE))
        return Step(
            "train", self.run(row), self._training(row, self.data(row), self.run(row), *more)
        )

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
        return self._average(self.run(row))

    def _average(self, folder: Path) -> Step:
        last = "10" if self.toy is None else "2"
        output = str(folder / AVERAGE)
        command = ("abnet", "average", str(folder), "--last", last, "--output", output)
        return Step("average", folder, command)

    def generate(self, row: Row) -> Step:
        """The test set, decoded and scored."""
        command = ("env", f"DATA={self.data(row)}", f"RUN={self.run(row)}")
        command += ("LAST=10" if self.toy is None else "LAST=2",)
        command += (_script("generate", row.corpus.removesuffix(BACK_TRANSLATED)), row.pair)
        return Step("generate", self.run(row), command)

    def result(self, row: Row) -> dict[str, Any]:
        """The JSON object of a row."""
        run, target = self.run(row), row.pair.partition("-")[2]
        training = quality.read_training(run, run / "train.log")
        found = quality.score_runs([run], self.data(row) / "raw" / f"test.{target}", str)
        return {
            "kind": "quality",
            "system": row.system,
            "dataset": row.corpus if self.toy is None else "toy",
            "direction": row.pair,
            "split": "test",
            "options": shlex.join((*row.options, *self.options)),
            "distilled": self.is_distilled(row),
            **({"teacher": TEACHER} if self.is_distilled(row) else {}),
            "seeds": [1],
            **found,
            **DECODING[SYSTEMS[row.system].objective],
            "trained_parameters": training.trained_parameters,
            "total_parameters": training.total_parameters,
            "updates": training.updates,
            "train_seconds": round(training.seconds),
            "device": records.device_name(),
            **records.stamps(),
        }


def _script(kind: str, corpus: str) -> str:
    return str(ROOT / "scripts" / kind / f"{corpus}.sh")


def run_rows(paper: Paper, rows: Sequence[Row], runner: Runner, save: Callable[..., None]) -> None:
    """Whatever is not done yet; preparations one after another, since rows share them."""
    if paper.toy is not None:
        runner.run([paper.toy.steps(rows)])
    for row in rows:
        runner.run([paper.before(row)])
    runner.run(
        [
            [paper.train(row), paper.average(row), paper.generate(row), partial(save, row)]
            for row in rows
        ]
    )


def show(paper: Paper, rows: Sequence[Row]) -> str:
    """The paper's figures beside ours, as a table in Markdown."""
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "system": lambda cells: cells["label"] or cells["system"],
        "task": lambda cells: f"{cells['corpus']} {cells['pair']}",
        "paper (tokenized BLEU)": lambda cells: _figure(cells["paper"]),
        "BLEU": lambda cells: _figure(cells["bleu"]),
        "chrF": lambda cells: _figure(cells["chrf"]),
        "trained": lambda cells: f"{cells['trained_parameters'] / 1e6:.2f}M",
        "data": lambda cells: "distilled" if cells["distilled"] else "raw",
    }
    cells = [{**asdict(row), "paper": row.bleu, **paper.result(row)} for row in rows]
    return markdown_table(columns, cells)


def _figure(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.2f}"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/reproduce/WHAT.sh",
        description="Prepare, train, decode and score with the paper's settings; print its figures "
        "beside ours. The same command goes on where it was stopped.",
    )
    parser.add_argument(
        "what", choices=["system", *TABLES], help="a table or figure of the paper, or one system"
    )
    parser.add_argument("system", nargs="?", help="with `system`: its name (`abnet systems`)")
    parser.add_argument("corpus", nargs="?", default="iwslt14", help="default: %(default)s")
    parser.add_argument("pair", nargs="?", default="de-en", help="default: %(default)s")
    parser.add_argument("--toy", action="store_true", help="try it on a tiny corpus, in minutes")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time (default: 1)")
    parser.add_argument("--out", type=Path, help="default: checkpoints/paper, or paper-toy")
    parser.add_argument("--results", type=Path, help="default: benchmarks/results, with --toy none")
    parser.add_argument(
        "--options",
        type=shlex.split,
        default=[],
        metavar="TEXT",
        help="for fairseq-train, behind all others, for example '--bf16 --max-update 1000'",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.what != "system":
        rows: Sequence[Row] = TABLES[args.what]
    elif args.system not in SYSTEMS:
        parser.error(f"must name one of the systems {', '.join(SYSTEMS)}, not {args.system!r}")
    else:
        rows = [of_system(args.system, args.corpus, args.pair)]
    out = (args.out or ROOT / "checkpoints" / ("paper-toy" if args.toy else "paper")).resolve()
    paper = Paper(out, Toy(out / "toy") if args.toy else None, tuple(args.options))
    results = args.results or (None if args.toy else records.RESULTS)

    def save(row: Row) -> None:
        found = paper.result(row)
        if results is not None:
            name = row.name.replace("/", "-").replace(" ", "")
            records.write({**found, "command": _command(args)}, results / f"paper-{name}.json")
        say(f"{row.name}: BLEU {found['bleu']}")

    runner = Runner(args.jobs, common_environment(args.jobs, on_gpu=not args.toy))
    try:
        with sole_user(out):
            run_rows(paper, rows, runner, save)
    except StepError as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 1
    print(show(paper, rows))
    return 0


def _command(args: argparse.Namespace) -> str:
    words = [f"scripts/reproduce/{args.what}.sh"]
    if args.what == "system":
        words += [args.system, args.corpus, args.pair]
    words += ["--options", shlex.join(args.options)] if args.options else []
    return shlex.join(words)


if __name__ == "__main__":
    sys.exit(main())
