"""AB-Net, a Transformer and a CMLM on Multi30k, from raw text to a table of scores."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from abnet.text import read_lines
from benchmarks import quality, records
from benchmarks.words import found_by_frequency
from scripts.reproduce.common import (
    add_common_options,
    common_runner,
    joiner,
    missing_text,
    run_and_show,
)
from scripts.reproduce.compared import (
    RERANKERS,
    SYSTEMS,
    TRAINED_AS,
    WITH_LEXICON,
    is_ours,
    kept_decoding,
    objective_of,
    starts_of,
)
from scripts.reproduce.recipes import BEAM, DIRECTIONS, LENGTH_BEAM, PASSES, ROOT, Multi30k
from scripts.reproduce.sizes import SIZES
from scripts.reproduce.steps import Runner, Step, StepError, say

SCRIPT = "scripts/reproduce/multi30k.sh"
WRITING = threading.Lock()
IN_PASSES = {"passes": PASSES, "length_beam": LENGTH_BEAM}
COMPARED = ("abnet", "transformer", "cmlm")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=SCRIPT,
        description="Pre-train BERTs, train AB-Net and its rivals on Multi30k, decode test2016, "
        "write benchmarks/results/*.json and renew the tables. The same command goes on where "
        "it was stopped.",
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
    parser.add_argument(
        "--add",
        action="store_true",
        help="join the seeds with those of the result files, which were trained elsewhere, rather "
        "than replace them",
    )
    return parser


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
    for system in args.systems if args.add else ():
        for direction in args.directions:
            before = _before(results, args.size, system, direction)
            ours = _precision(work.train(system, direction, args.seeds[0]).command)
            if before is not None and before.get("precision", ours) != ours:
                print(
                    f"{SCRIPT}: error: {system} {direction} has been trained in "
                    f"{before['precision']} and would be in {ours} on this machine: seeds of both "
                    "cannot be one result.",
                    file=sys.stderr,
                )
                return 2
    return run_and_show(
        SCRIPT, work, partial(run_all, runner, work, args, results), args.document, results
    )


def _precision(command: Sequence[str]) -> str:
    """What `fairseq-train` computes in, as `quality.read_training` reads it from a log."""
    names = {"--fp16": "float16", "--bf16": "bfloat16"}
    return next((name for option, name in names.items() if option in command), "float32")


def run_all(runner: Runner, work: Multi30k, args: argparse.Namespace, results: Path) -> None:
    """Runs all steps that are not done yet; both directions of a system side by side."""
    runner.run([[work.pretrain(language)] for language in ("de", "en")])
    runner.run([[work.prepare(d), work.prepare_for_rivals(d)] for d in args.directions])
    if set(WITH_LEXICON) & {name for own in args.systems for name in (own, *starts_of(own))}:
        runner.run([[work.count_lexicon(d)] for d in args.directions])
    if "abnet_minilm" in args.systems:
        runner.run([[work.pretrain_minilm_head()]])
        runner.run([[work.prepare(d, "abnet_minilm")] for d in args.directions])
    runner.run(
        [
            trained(work, RERANKERS[system], direction, seed)
            for system in args.systems
            if system in RERANKERS
            for seed in args.seeds
            for direction in args.directions
        ]
    )
    runner.run(
        [
            [
                *trained(work, system, direction, seed),
                work.generate(system, direction, seed),
                partial(record, work, system, direction, args, results),
            ]
            for system in sorted(args.systems, key=lambda name: len(starts_of(name)))
            for seed in args.seeds
            for direction in args.directions
        ]
    )


def trained(work: Multi30k, system: str, direction: str, seed: int) -> list[Step]:
    """The training of a system, after those of the systems whose weights it takes over."""
    return [
        step(name, direction, seed)
        for name in (*starts_of(system), system)
        for step in (work.train, work.average)
    ]


def record(
    work: Multi30k, system: str, direction: str, args: argparse.Namespace, results: Path
) -> None:
    """Writes the result of the seeds that are done; called in threads.

    Raises:
        StepError: with `--add`, the result that is there is of another recipe; or another seed's
            translation is of another command.
    """
    path = _path(results, args.size, system, direction)
    with WRITING:
        before = _before(results, args.size, system, direction) if args.add else None
        done = [s for s in args.seeds if work.generate(system, direction, s).is_done()]
        new = [s for s in done if before is None or s not in before["seeds"]]
        if not new:
            return
        found = {**result(work, system, direction, new), "size": args.size}
        if before is not None:
            try:
                found = quality.joined(before, found)
            except ValueError as error:
                raise StepError(f"{path} cannot be added to: {error}") from error
        found["command"] = _command(args.size, system, direction, found["seeds"])
        records.write(found, path)
    say(f"{direction} {system}: BLEU {found['bleu']}, chrF {found['chrf']}, seeds {found['seeds']}")


def result(work: Multi30k, system: str, direction: str, seeds: Sequence[int]) -> dict[str, Any]:
    """The JSON object of one system in one direction."""
    runs = [work.run(system, direction, seed) for seed in seeds]
    trained = [work.trained_run(system, direction, seed) for seed in seeds]
    trainings = [quality.read_training(run, run / "train.log") for run in trained]
    stamps = [json.loads((run / "train.done").read_text("utf-8")) for run in trained]
    join = str if is_ours(system) else joiner(work.berts(system, direction)[1])
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
        "found_by_frequency": found_by_frequency(
            read_lines(runs[0] / "test.txt"),
            read_lines(work.references(direction)),
            read_lines(work.references(direction, "train")),
        ),
        "trained_parameters": trainings[0].trained_parameters,
        "total_parameters": trainings[0].total_parameters,
        "updates": trainings[0].updates,
        "precision": trainings[0].precision,
        "train_seconds": round(fmean(training.seconds for training in trainings)),
        "train_seconds_by_seed": [round(training.seconds) for training in trainings],
        "curve": quality.read_curve(trained[0] / "train.log"),
        "device": records.device_name() if work.size.on_gpu else records.processor_name(),
        **records.stamps(),
    }
    before = starts_of(TRAINED_AS.get(system, system))
    if before:
        found["starts"] = [_training(work, start, direction, seeds) for start in before]
    if system in RERANKERS:
        reranker = found["reranker"] = _training(work, RERANKERS[system], direction, seeds)
        for parameters in ("trained_parameters", "total_parameters"):  # its BERT is shared
            found[parameters] += reranker["trained_parameters"]
    if not work.size.on_gpu:
        found["peak_memory_bytes"] = max(stamp["peak_memory_bytes"] for stamp in stamps)
    if not is_ours(system):
        own = {"beam": BEAM} if system == "transformer" else IN_PASSES
        return {**found, **own}
    found |= quality.describe_pretraining(work.pretrained_berts(system, direction))
    objective = objective_of(system)
    if kept_decoding(system, direction):
        found["decoding_options"] = " ".join(kept_decoding(system, direction))
    by_objective = {
        "autoregressive": {"beam": BEAM},
        "conditional_masked_lm": IN_PASSES,
        "ctc": {"passes": PASSES if system == "abnet_ctc_refined" else 1},
        "dag": {"passes": 1},
    }
    return {**found, **by_objective[objective]}


def _path(results: Path, size: str, system: str, direction: str) -> Path:
    return results / f"multi30k-{size}-{direction}-{system}.json"


def _before(results: Path, size: str, system: str, direction: str) -> dict[str, Any] | None:
    """The result that is there, if there is one."""
    path = _path(results, size, system, direction)
    found: dict[str, Any] | None = json.loads(path.read_text("utf-8")) if path.exists() else None
    return found


def _training(work: Multi30k, system: str, direction: str, seeds: Sequence[int]) -> dict[str, Any]:
    """What the training cost of a system that another starts from, or chooses by."""
    runs = [work.run(system, direction, seed) for seed in seeds]
    trainings = [quality.read_training(run, run / "train.log") for run in runs]
    return {
        "system": system,
        "updates": trainings[0].updates,
        "trained_parameters": trainings[0].trained_parameters,
        "train_seconds": round(fmean(training.seconds for training in trainings)),
    }


def _command(size: str, system: str, direction: str, seeds: Sequence[int]) -> str:
    """The command that makes one result, with DIR for the folder of the data."""
    words = [SCRIPT, "DIR", "--size", size, "--directions", direction, "--systems", system]
    return shlex.join([*words, "--seeds", ",".join(map(str, seeds))])


def _list_of(allowed: Sequence[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        items = text.split(",")
        for item in items:
            if item not in allowed:
                raise argparse.ArgumentTypeError(f"must be of {', '.join(allowed)}, not {item!r}")
        return items

    return parse


if __name__ == "__main__":
    sys.exit(main())
