"""How long the trained systems of the Multi30k comparison take for one sentence, in turn."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from fairseq import checkpoint_utils, options, tasks, utils
from fairseq.dataclass.utils import convert_namespace_to_omegaconf

from abnet.bench.timing import turns
from abnet.text import read_lines
from benchmarks import records, table
from scripts.reproduce.recipes import AVERAGED, DIRECTIONS, ROOT, SYSTEMS, Multi30k
from scripts.reproduce.sizes import SIZES
from scripts.reproduce.steps import say

SCRIPT = "scripts/reproduce/latency.sh"
SPLIT = "test"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=SCRIPT,
        description="Decode sentences of test2016 one by one with all systems that "
        "scripts/reproduce/multi30k.sh has trained, in turn, write "
        "benchmarks/results/latency-*.json and renew the table in README.md.",
    )
    parser.add_argument("--size", choices=SIZES, default="cpu", help="default: %(default)s")
    parser.add_argument("--direction", choices=DIRECTIONS, default="de-en")
    parser.add_argument("--seed", type=int, default=1, help="of the training; default 1")
    parser.add_argument(
        "--compared-with", choices=SYSTEMS, default="transformer", help="default: %(default)s"
    )
    parser.add_argument("--sentences", type=int, default=40, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="of a CPU; default: %(default)s")
    parser.add_argument("--out", type=Path, help="default: checkpoints/multi30k-SIZE")
    parser.add_argument("--results", type=Path, help="default: benchmarks/results")
    parser.add_argument("--document", type=Path, help="where the table is (default: README.md)")
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
        if (work.run(system, args.direction, args.seed) / AVERAGED).exists()
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
        found = {
            "kind": "latency",
            "system": system,
            "dataset": "multi30k",
            "direction": args.direction,
            "split": "test2016",
            "size": args.size,
            "seeds": [args.seed],
            "compared_with": other,
            "ratio": round(ratio(seconds[system], seconds[other]), 4),
            "systems": systems,
            "batch": 1,
            "sentences": len(chosen),
            "rounds": args.rounds,
            "threads": args.threads,
            "device": records.device_name() if size.on_gpu else records.processor_name(),
            "command": f"{SCRIPT} --size {args.size} --direction {args.direction} "
            f"--sentences {args.sentences} --rounds {args.rounds} --threads {args.threads}",
            **records.stamps(),
        }
        if size.on_gpu:
            found["seconds"] = statistics.median(seconds[system]) / len(chosen)
        records.write(found, results / f"latency-{args.size}-{args.direction}-{system}.json")
        say(f"{args.direction} {system}: {found['ratio']} of the time of {other}")
    document = args.document or table.README
    return table.main(["--document", str(document), "--results", str(results)])


def spread(source: Path, count: int) -> list[int]:
    """Places of lines whose lengths are quantiles of those of the file."""
    lines = read_lines(source)
    order = sorted(range(len(lines)), key=lambda place: (len(lines[place]), place))
    count = min(count, len(order))
    return [order[(2 * number + 1) * len(order) // (2 * count)] for number in range(count)]


def measure(timed: dict[str, Timed], rounds: int) -> dict[str, list[float]]:
    """Seconds of every round, by system; a round before them does not count."""
    found: dict[str, list[float]] = {system: [] for system in timed}
    for one in timed.values():
        one.decode()
    for system in turns(list(timed), rounds):
        begun = time.perf_counter()
        timed[system].decode()
        found[system].append(time.perf_counter() - begun)
    return found


def ratio(ours: Sequence[float], others: Sequence[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(mine / other for mine, other in zip(ours, others, strict=True))


class Timed:
    """A system as `fairseq-generate` sets it up.

    Args:
        arguments: of `fairseq-generate`.
        chosen: places of the sentences in the split.
    """

    def __init__(self, arguments: Sequence[str], chosen: Sequence[int]) -> None:
        parser = options.get_generation_parser()
        config = convert_namespace_to_omegaconf(
            options.parse_args_and_arch(parser, input_args=list(arguments))
        )
        utils.import_user_module(config.common)
        self.task: Any = tasks.setup_task(config.task)
        self.models, saved = checkpoint_utils.load_model_ensemble(
            [config.common_eval.path], task=self.task
        )
        on_gpu = torch.cuda.is_available() and not config.common.cpu
        for model in self.models:
            if config.common.fp16:
                model.half()
            if on_gpu:
                model.cuda()
            model.prepare_for_inference_(config)
        self.task.load_dataset(SPLIT, task_cfg=saved.task)
        data = self.task.dataset(SPLIT)
        samples = [data.collater([data[place]]) for place in chosen]
        self.samples = [utils.move_to_cuda(sample) if on_gpu else sample for sample in samples]
        self.generator = self.task.build_generator(self.models, config.generation)

    def decode(self) -> list[Any]:
        """Translates the sentences one by one; the tokens of each, on the host."""
        return [
            self.task.inference_step(self.generator, self.models, sample)[0][0]["tokens"].cpu()
            for sample in self.samples
        ]


if __name__ == "__main__":
    sys.exit(main())
