"""The comparison's Transformer on lower-cased tokens: is it as good as others have it?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean

from sacrebleu.metrics import BLEU

from abnet.scoring.evaluate import read_generate_output
from abnet.text import read_lines
from benchmarks import quality, records
from scripts.reproduce.common import (
    add_common_options,
    common_runner,
    missing_text,
    run_and_show,
)
from scripts.reproduce.moses_pieces import join
from scripts.reproduce.recipes import BEAM, DIRECTIONS, ROOT, SPLITS, Multi30k
from scripts.reproduce.sizes import SIZES
from scripts.reproduce.steps import Runner, Step, say

SCRIPT = "scripts/reproduce/tokenized.sh"
SYSTEM = "transformer"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=SCRIPT,
        description="Train the comparison's Transformer on lower-cased Moses tokens in joint BPE "
        "pieces, decode test2016, and write benchmarks/results/tokenized-*.json with its BLEU "
        "over these tokens, which is the measure of most papers on Multi30k.",
    )
    add_common_options(parser)
    parser.add_argument("--direction", choices=DIRECTIONS, default="en-de", help="(%(default)s)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    missing = missing_text(args.data, SPLITS.values())
    if missing:
        print(f"{SCRIPT}: error: {args.data} lacks {', '.join(missing)}.", file=sys.stderr)
        return 2
    size = SIZES[args.size]
    out = args.out or ROOT / "checkpoints" / f"multi30k-{args.size}"
    work = Multi30k.at(args.data, out / "tokenized", size)
    runner = common_runner(args.jobs or size.jobs, size)
    results = args.results or records.RESULTS
    action = partial(run_all, runner, work, args, results)
    return run_and_show(SCRIPT, work, action, args.document, results)


def run_all(runner: Runner, work: Multi30k, args: argparse.Namespace, results: Path) -> None:
    """Runs what is not done yet, and writes the result of all seeds."""
    direction = args.direction
    runner.run([[prepare(work, direction), work.prepare_for_rivals(direction)]])
    runner.run([_steps(work, direction, seed) for seed in args.seeds])
    runs = [work.run(SYSTEM, direction, seed) for seed in args.seeds]
    training = quality.read_training(runs[0], runs[0] / "train.log")
    tokens = read_lines(work.references(direction))
    metric = BLEU(tokenize="none", smooth_method="none", force=True)
    outputs = [read_generate_output(run / "generate-test.txt") for run in runs]
    bleu = [round(metric.corpus_score(list(map(join, o)), [tokens]).score, 2) for o in outputs]
    seeds = ",".join(map(str, args.seeds))
    found = {
        "kind": "tokenized",
        "system": SYSTEM,
        "dataset": "multi30k",
        "direction": direction,
        "split": "test2016",
        "size": args.size,
        "seeds": args.seeds,
        "bleu": round(fmean(bleu), 2),
        "bleu_by_seed": bleu,
        "signature": str(metric.get_signature()),
        "beam": BEAM,
        "trained_parameters": training.trained_parameters,
        "updates": training.updates,
        "device": records.device_name() if work.size.on_gpu else records.processor_name(),
        "command": f"{SCRIPT} DIR --size {args.size} --direction {direction} --seeds {seeds}",
        **records.stamps(),
    }
    records.write(found, results / f"tokenized-{args.size}-{direction}-{SYSTEM}.json")
    say(f"{direction} {SYSTEM}: BLEU over tokens {found['bleu']}, seeds {args.seeds}")


def prepare(work: Multi30k, direction: str) -> Step:
    """Tokens and pieces, where `work` has the pieces of its BERTs."""
    command = ["python", "-m", "scripts.reproduce.moses_pieces", str(work.data)]
    command += ["--pair", direction, "--dest", str(work.prepared(direction))]
    return replace(work.prepare(direction), command=tuple(command), needs=())


def _steps(work: Multi30k, direction: str, seed: int) -> list[Step]:
    of_one = (SYSTEM, direction, seed)
    return [work.train(*of_one), work.average(*of_one), work.generate(*of_one)]


if __name__ == "__main__":
    sys.exit(main())
