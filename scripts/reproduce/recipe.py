"""The search for AB-Net's recipe on Multi30k: one thing changed at a time, scored on valid."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks import quality, records
from scripts.reproduce.common import (
    add_common_options,
    common_runner,
    joiner,
    missing_text,
    run_and_show,
)
from scripts.reproduce.compared import is_ours
from scripts.reproduce.factors import GRAPH, GROUPS, Trial, baselines, factors
from scripts.reproduce.recipes import DIRECTIONS, ROOT, Multi30k
from scripts.reproduce.sizes import SIZES
from scripts.reproduce.steps import say

SCRIPT = "scripts/reproduce/recipe.sh"
SPLIT = "valid"
ON_CPU = ["adapters", "symbols", "objective", "tuning", "together"]


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=SCRIPT,
        description="Train on Multi30k with one thing changed at a time, score on the validation "
        "set, write benchmarks/results/recipe-*.json and renew the tables. The same command "
        "goes on where it was stopped.",
    )
    add_common_options(parser)
    parser.add_argument("--direction", choices=DIRECTIONS, default="de-en")
    parser.add_argument(
        "--groups",
        default=None,
        metavar="LIST",
        help=f"of {','.join(GROUPS)}, or all (default: all on a GPU, else {','.join(ON_CPU)})",
    )
    parser.add_argument(
        "--only", metavar="LIST", help="of these groups, factors or FACTOR-VALUEs; default: all"
    )
    parser.add_argument(
        "--systems", metavar="LIST", help="of these groups, what is of these systems; default: all"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    lacking = missing_text(args.data)
    if lacking:
        parser.error(f"{args.data} lacks {', '.join(lacking)}.")
    size = SIZES[args.size]
    default = list(GROUPS) if size.on_gpu else ON_CPU
    groups = list(GROUPS) if args.groups == "all" else (args.groups or ",".join(default)).split(",")
    unknown = sorted(set(groups) - set(GROUPS))
    if unknown:
        parser.error(f"argument --groups: must be of {', '.join(GROUPS)}, not {unknown[0]!r}")
    out = args.out or ROOT / "checkpoints" / f"multi30k-{args.size}"
    work = Multi30k.at(args.data, out, size)
    chosen = [trial for trial in factors(size) if trial.group in groups]
    if args.systems:
        known = list(dict.fromkeys(trial.system for trial in chosen))
        wanted = set(args.systems.split(","))
        if not wanted <= set(known):
            parser.error(f"argument --systems: must be of {', '.join(known)}, not {args.systems!r}")
        chosen = [trial for trial in chosen if trial.system in wanted]
    if args.only:
        known = list(dict.fromkeys(name for t in chosen for name in (t.factor, t.name)))
        wanted = set(args.only.split(","))
        if not wanted <= set(known):
            parser.error(f"argument --only: must be of {', '.join(known)}, not {args.only!r}")
        chosen = [trial for trial in chosen if wanted & {trial.factor, trial.name}]
    systems = {trial.system for trial in chosen}
    trials = [trial for trial in baselines() if trial.system in systems] + chosen
    results = args.results or records.RESULTS
    action = partial(search, work, trials, args, results)
    return run_and_show(SCRIPT, work, action, args.document, results)


def search(
    work: Multi30k, trials: Sequence[Trial], args: argparse.Namespace, results: Path
) -> None:
    """Runs what is not done yet; writes each result as soon as it is there."""
    runner = common_runner(args.jobs or work.size.jobs, work.size)
    places = {place.out: place for place in (trial.work(work) for trial in trials)}
    for place in places.values():
        runner.run([[place.pretrain(language)] for language in ("de", "en")])
        direction = args.direction
        runner.run([[place.prepare(direction), place.prepare_for_rivals(direction)]])
    if GRAPH in {trial.system for trial in trials}:
        runner.run([[work.count_lexicon(args.direction)]])
    runner.run([_chain(work, trial, args, results) for trial in trials])


def _chain(work: Multi30k, trial: Trial, args: argparse.Namespace, results: Path) -> list[Any]:
    place = trial.work(work)
    steps: list[Any] = []
    for seed in args.seeds:
        variant = trial.variant(work, args.direction, seed)
        common = (trial.system, args.direction, seed, variant)
        steps += [
            place.train(*common),
            place.generate(*common, split=SPLIT, checkpoint="checkpoint_last.pt"),
        ]

    def record() -> None:
        found = result(place, trial, args.direction, args.seeds)
        found |= {"size": args.size, "command": _command(args, trial)}
        name = f"recipe-{args.size}-{args.direction}-{trial.system}-{trial.name}.json"
        records.write(found, results / name)
        say(f"{trial.system} {trial.name}: BLEU {found['bleu']}")

    return [*steps, record]


def result(work: Multi30k, trial: Trial, direction: str, seeds: Sequence[int]) -> dict[str, Any]:
    """The JSON object of one trial."""
    runs = [
        work.run(trial.system, direction, seed, trial.variant(work, direction, seed))
        for seed in seeds
    ]
    trainings = [quality.read_training(run, run / "train.log") for run in runs]
    validations = [quality.read_validations(run / "train.log")[-1] for run in runs]
    join = str if is_ours(trial.system) else joiner(work.bert(direction.split("-")[1]))
    scores = quality.score_runs(runs, work.references(direction, SPLIT), join, SPLIT)
    means = {
        f"valid_{name}": round(fmean(v[name] for v in validations), 3)
        for name in ("nll_loss", "length_accuracy")
        if all(name in v for v in validations)
    }
    berts = [work.bert(language) for language in direction.split("-")]
    return {
        "kind": "recipe",
        "system": trial.system,
        "dataset": "multi30k",
        "direction": direction,
        "split": SPLIT,
        "group": trial.group,
        "factor": trial.factor,
        "value": trial.value,
        "options": " ".join([*trial.options, *trial.bert, *(f"no {o}" for o in trial.without)]),
        "seeds": list(seeds),
        **scores,
        **means,
        **(quality.describe_pretraining(berts) if is_ours(trial.system) else {}),
        "trained_parameters": trainings[0].trained_parameters,
        "updates": trainings[0].updates,
        "precision": trainings[0].precision,
        "train_seconds": round(fmean(training.seconds for training in trainings)),
        "device": records.device_name() if work.size.on_gpu else records.processor_name(),
        **records.stamps(),
    }


def _command(args: argparse.Namespace, trial: Trial) -> str:
    words = [SCRIPT, "DIR", "--size", args.size, "--direction", args.direction]
    if trial.group in GROUPS:
        words += ["--groups", trial.group]
    return shlex.join([*words, "--seeds", ",".join(map(str, args.seeds))])


if __name__ == "__main__":
    sys.exit(main())
