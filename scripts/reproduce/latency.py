"""How long the trained systems of the Multi30k comparison take for one sentence, in turn."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks import quality, records, table
from scripts.reproduce.compared import SYSTEMS, is_ours
from scripts.reproduce.recipes import ROOT, Multi30k
from scripts.reproduce.sizes import SIZES
from scripts.reproduce.steps import say
from scripts.reproduce.timing import Timed, add_options, command_of, measure, spread, timing

SCRIPT = "scripts/reproduce/latency.sh"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=SCRIPT,
        description="Decode sentences of test2016 one by one with all systems that "
        "scripts/reproduce/multi30k.sh has trained, in turn, write "
        "benchmarks/results/latency-*.json and renew the tables.",
    )
    add_options(parser)
    parser.add_argument(
        "--compared-with", choices=SYSTEMS, default="transformer", help="default: %(default)s"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    size = SIZES[args.size]
    out = args.out or ROOT / "checkpoints" / f"multi30k-{args.size}"
    work = Multi30k.at(Path(), out, size)
    systems = [
        system
        for system in SYSTEMS
        if all(path.exists() for path in work.checkpoints(system, args.direction, args.seed))
    ]
    other = args.compared_with
    if other not in systems:
        parser.error(f"{out} has no averaged {other} of {args.direction}: multi30k.sh trains it")
    torch.set_num_threads(args.threads)
    chosen = spread(work.source(args.direction), args.sentences)
    timed = {}
    for system in systems:
        command = work.generate(system, args.direction, args.seed).command
        timed[system] = Timed(command[1:], chosen)
        say(f"{args.direction} {system}: loaded")
    seconds = measure(timed, args.rounds)
    results = args.results or records.RESULTS
    for system in systems:
        berts = work.pretrained_berts(system, args.direction) if is_ours(system) else []
        found = {
            "kind": "latency",
            "system": system,
            "dataset": "multi30k",
            "direction": args.direction,
            "split": "test2016",
            "size": args.size,
            "seeds": [args.seed],
            "compared_with": other,
            "systems": systems,
            **quality.describe_pretraining(berts),
            **timing(args, len(chosen), seconds[system], seconds[other]),
            "command": f"{command_of(SCRIPT, args)} --compared-with {other}",
            **records.stamps(),
        }
        records.write(found, results / f"latency-{args.size}-{args.direction}-{system}.json")
        say(f"{args.direction} {system}: {found['ratio']} of the time of {other}")
    return table.renew_documents(args.document, results)


if __name__ == "__main__":
    sys.exit(main())
