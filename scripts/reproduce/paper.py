"""One system on one corpus, or a table of the paper: prepared, trained, decoded and scored."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from abnet.errors import AbNetError
from abnet.systems import SYSTEMS
from benchmarks import records
from scripts.reproduce.common import at_least_1, common_environment
from scripts.reproduce.paper_rows import IWSLT, TABLES, Row, of_system
from scripts.reproduce.paper_steps import CORPORA, Paper
from scripts.reproduce.paper_tables import curves_table, paper_table
from scripts.reproduce.recipes import ROOT
from scripts.reproduce.steps import Runner, StepError, say, working_in
from scripts.reproduce.toy import Toy


def run_rows(paper: Paper, rows: Sequence[Row], runner: Runner, save: Callable[..., None]) -> None:
    """Whatever is not done yet; preparations one after another, since rows share them."""
    if paper.toy is not None:
        runner.run([paper.toy.steps(rows)])
    for row in rows:
        runner.run([paper.before(row)])
    runner.run(
        [
            [
                paper.train(row),
                paper.average(row),
                paper.generate(row),
                *paper.one_by_one(row),
                partial(save, row),
            ]
            for row in rows
        ]
    )


def show(paper: Paper, what: str, rows: Sequence[Row]) -> str:
    """The paper's figures beside ours, and of a figure of learning curves these."""
    results = [paper.result(row) for row in rows]
    text = paper_table(rows, results)
    if what in ("figure3a", "figure3b"):
        text += "\n" + curves_table(rows, results)
    return text


def build_parser(what: str) -> argparse.ArgumentParser:
    """Of a table or figure, or of "system"."""
    parser = argparse.ArgumentParser(
        prog=f"scripts/reproduce/{what}.sh",
        description="Prepare, train, decode and score with the paper's settings; print its figures "
        "beside ours. The same command goes on where it was stopped.",
    )
    if what == "system":
        parser.add_argument("system", choices=SYSTEMS, metavar="SYSTEM", help="see `abnet systems`")
        parser.add_argument(
            "corpus", nargs="?", choices=CORPORA, default=IWSLT, metavar="CORPUS",
            help=f"of {', '.join(CORPORA)} (default: {IWSLT})",
        )  # fmt: skip
        parser.add_argument(
            "pair", nargs="?", type=_pair, default="de-en", metavar="PAIR", help="default: de-en"
        )
        for side in ("source", "target"):
            parser.add_argument(
                f"--{side}-bert",
                metavar="MODEL",
                help=f"for the {side} side, for example roberta-base (default: the system's, or "
                "the language's)",
            )
    parser.add_argument("--toy", action="store_true", help="try it on a tiny corpus, in minutes")
    parser.add_argument(
        "--jobs", type=at_least_1, default=1, help="trainings at a time (default: 1)"
    )
    parser.add_argument("--out", type=Path, help="default: checkpoints/paper, or paper-toy")
    parser.add_argument("--results", type=Path, help="default: benchmarks/results, with --toy none")
    parser.add_argument(
        "--options",
        type=shlex.split,
        default=[],
        metavar="TEXT",
        help="for fairseq-train, behind all others: --options='--bf16 --max-update 1000'",
    )
    return parser


def _pair(text: str) -> str:
    if not re.fullmatch(r"[a-z]+-[a-z]+", text):
        raise argparse.ArgumentTypeError(f"must be as de-en is, not {text!r}")
    return text


def main(argv: Sequence[str] | None = None) -> int:
    what, *rest = sys.argv[1:] if argv is None else argv
    args = build_parser(what).parse_intermixed_args(rest)
    if what == "system":
        berts = args.source_bert, args.target_bert
        rows: Sequence[Row] = [of_system(args.system, args.corpus, args.pair, *berts)]
    else:
        rows = TABLES[what]
    out = (args.out or ROOT / "checkpoints" / ("paper-toy" if args.toy else "paper")).resolve()
    paper = Paper(out, Toy(out / "toy") if args.toy else None, tuple(args.options))
    results = args.results or (None if args.toy else records.RESULTS)

    def save(row: Row) -> None:
        found = paper.result(row)
        if results is not None:
            name = row.name.replace("/", "-").replace(" ", "")
            command = _command(what, args)
            path = results / f"paper-{name}{paper.name}.json"
            records.write({**found, "command": command}, path)
        say(f"{row.name}: BLEU {found['bleu']}")

    runner = Runner(args.jobs, common_environment(args.jobs, on_gpu=not args.toy))
    try:
        with working_in(out):
            run_rows(paper, rows, runner, save)
    except (AbNetError, StepError) as error:
        print(f"scripts/reproduce/{what}.sh: error: {error}", file=sys.stderr)
        return 1
    print(show(paper, what, rows))
    return 0


def _command(what: str, args: argparse.Namespace) -> str:
    words = [f"scripts/reproduce/{what}.sh"]
    if what == "system":
        words += [args.system, args.corpus, args.pair]
        for side in ("source", "target"):
            bert = vars(args)[f"{side}_bert"]
            words += [] if bert is None else [f"--{side}-bert", bert]
    words += [f"--options={shlex.join(args.options)}"] if args.options else []
    return shlex.join(words)


if __name__ == "__main__":
    sys.exit(main())
