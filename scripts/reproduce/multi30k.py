"""AB-Net, a Transformer and a CMLM on Multi30k, from raw text to a table of scores."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from abnet.tokenizer import Tokenizer
from benchmarks import quality, records, table
from scripts.reproduce.recipes import (
    BEAM,
    DIRECTIONS,
    LENGTH_BEAM,
    PASSES,
    ROOT,
    SYSTEMS,
    Multi30k,
    is_abnet,
)
from scripts.reproduce.sizes import SIZES, Size
from scripts.reproduce.steps import Runner, StepError, say, sole_user

SCRIPT = "scripts/reproduce/multi30k.sh"
WRITING = threading.Lock()
COMPARED = ("abnet", "transformer", "cmlm")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=SCRIPT,
        description="Pre-train BERTs, train AB-Net and its rivals on Multi30k, decode test2016, "
        "write benchmarks/results/*.json and renew the table in README.md. The same command goes "
        "on where it was stopped.",
    )
    add_common_options(parser)
    for option, allowed, default in (
        ("--directions", DIRECTIONS, DIRECTIONS),
        ("--systems", SYSTEMS, COMPARED),
    ):
        parser.add_argument(
            option,
            type=_list_of(allowed),
            default=list(default),
            metavar="LIST",
            help=f"of {','.join(allowed)} (default: {','.join(default)})",
        )
    parser.add_argument("--document", type=Path, help="where the table is (default: README.md)")
    return parser


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """What all scripts on Multi30k take."""
    parser.add_argument("data", type=Path, metavar="DIR", help="train, valid, test2016, mono/")
    parser.add_argument(
        "--size",
        choices=SIZES,
        default="cpu",
        help="cpu: for 2 cores; gpu: for one H100; tiny: only a try of the script "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--seeds", type=_numbers, default=[1], metavar="LIST", help="for example 1,2,3 (default: 1)"
    )
    parser.add_argument("--jobs", type=int, help="trainings at a time (default: the size's)")
    parser.add_argument("--out", type=Path, help="default: checkpoints/multi30k-SIZE")
    parser.add_argument("--results", type=Path, help="default: benchmarks/results")


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    missing = missing_text(args.data)
    if missing:
        print(f"{SCRIPT}: error: {args.data} lacks {', '.join(missing)}.", file=sys.stderr)
        return 2
    size = SIZES[args.size]
    out = args.out or ROOT / "checkpoints" / f"multi30k-{args.size}"
    work = Multi30k.at(args.data, out, size)
    runner = common_runner(args.jobs or size.jobs, size)
    results = args.results or records.RESULTS
    try:
        with sole_user(work.out):
            run_all(runner, work, args, results)
    except StepError as error:
        print(f"{SCRIPT}: error: {error}", file=sys.stderr)
        return 1
    document = args.document or table.README
    return table.main(["--document", str(document), "--results", str(results)])


def run_all(runner: Runner, work: Multi30k, args: argparse.Namespace, results: Path) -> None:
    """Runs all steps that are not done yet; both directions of a system side by side."""
    runner.run([[work.pretrain(language)] for language in ("de", "en")])
    runner.run([[work.prepare(d), work.prepare_for_rivals(d)] for d in args.directions])
    if "abnet_minilm" in args.systems:
        runner.run([[work.pretrain_minilm_head()]])
        runner.run([[work.prepare(d, "abnet_minilm")] for d in args.directions])
    runner.run(
        [
            [
                work.train(system, direction, seed),
                work.average(system, direction, seed),
                work.generate(system, direction, seed),
                partial(record, work, system, direction, args, results),
            ]
            for system in args.systems
            for seed in args.seeds
            for direction in args.directions
        ]
    )


def record(
    work: Multi30k, system: str, direction: str, args: argparse.Namespace, results: Path
) -> None:
    """Writes the result of the seeds that are done; called in threads."""
    with WRITING:
        done = [s for s in args.seeds if work.generate(system, direction, s).stamp.exists()]
        found = result(work, system, direction, done)
        found |= {"size": args.size, "command": _command(args.size, system, direction, done)}
        records.write(found, results / f"multi30k-{args.size}-{direction}-{system}.json")
    say(f"{direction} {system}: BLEU {found['bleu']}, chrF {found['chrf']}, seeds {done}")


def result(work: Multi30k, system: str, direction: str, seeds: Sequence[int]) -> dict[str, Any]:
    """The JSON object of one system in one direction."""
    runs = [work.run(system, direction, seed) for seed in seeds]
    trainings = [quality.read_training(run, run / "train.log") for run in runs]
    stamps = [json.loads((run / "train.done").read_text("utf-8")) for run in runs]
    join = str if is_abnet(system) else joiner(work.berts(system, direction)[1])
    scores = quality.score_runs(runs, work.references(direction), join)
    found = {
        "kind": "quality",
        "system": system,
        "dataset": "multi30k",
        "direction": direction,
        "split": "test2016",
        "distilled": False,
        "seeds": list(seeds),
        **scores,
        "trained_parameters": trainings[0].trained_parameters,
        "total_parameters": trainings[0].total_parameters,
        "updates": trainings[0].updates,
        "train_seconds": round(fmean(training.seconds for training in trainings)),
        "device": records.device_name() if work.size.on_gpu else records.processor_name(),
        **records.stamps(),
    }
    if not work.size.on_gpu:
        found["peak_memory_bytes"] = max(stamp["peak_memory_bytes"] for stamp in stamps)
    if system == "transformer":
        return {**found, "beam": BEAM}
    found |= {"passes": PASSES, "length_beam": LENGTH_BEAM}
    if is_abnet(system):
        found |= quality.describe_pretraining(work.berts(system, direction))
    return found


def joiner(bert: Path) -> Callable[[str], str]:
    """Makes raw text of a BERT's pieces."""
    tokenizer = Tokenizer.from_pretrained(str(bert))
    return lambda line: tokenizer.join(line.split(" ") if line else [])


def common_runner(jobs: int, size: Size) -> Runner:
    """Runs so many commands of the size at a time."""
    return Runner(jobs, _environment(jobs, size.on_gpu))


def _environment(jobs: int, on_gpu: bool) -> dict[str, str]:
    """One thread a process where several run, since small models gain little from more."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // jobs)),
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    if not on_gpu:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    return environment


def _command(size: str, system: str, direction: str, seeds: Sequence[int]) -> str:
    """The command that makes one result, with DIR for the folder of the data."""
    words = [SCRIPT, "DIR", "--size", size, "--directions", direction, "--systems", system]
    return shlex.join([*words, "--seeds", ",".join(map(str, seeds))])


def missing_text(data: Path) -> list[str]:
    """Names of the files that a comparison needs and `data` lacks."""
    splits = ("train", "valid", "test2016")
    names = [f"{split}.{code}" for split in splits for code in ("de", "en")]
    return [name for name in names if not (data / name).is_file()]


def _list_of(allowed: Sequence[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        items = text.split(",")
        for item in items:
            if item not in allowed:
                raise argparse.ArgumentTypeError(f"must be of {', '.join(allowed)}, not {item!r}")
        return items

    return parse


def _numbers(text: str) -> list[int]:
    return [int(item) for item in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
