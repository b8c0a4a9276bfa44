"""Trained systems of the Multi30k comparison timed one sentence at a time, in turn."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from fairseq import checkpoint_utils, options, tasks, utils
from fairseq.dataclass.utils import convert_namespace_to_omegaconf

from abnet.bench.timing import turns
from abnet.processes import keep_kernels
from abnet.text import read_lines
from benchmarks import records
from scripts.reproduce.common import add_places
from scripts.reproduce.recipes import DIRECTIONS
from scripts.reproduce.sizes import SIZES


def add_options(parser: argparse.ArgumentParser) -> None:
    """What is timed, and how."""
    parser.add_argument("--size", choices=SIZES, default="cpu", help="default: %(default)s")
    parser.add_argument("--direction", choices=DIRECTIONS, default="de-en")
    parser.add_argument("--seed", type=int, default=1, help="of the training; default 1")
    parser.add_argument("--sentences", type=int, default=40, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="of a CPU; default: %(default)s")
    add_places(parser)


def command_of(script: str, args: argparse.Namespace) -> str:
    """The command that times the same again."""
    return (
        f"{script} --size {args.size} --direction {args.direction} --seed {args.seed} "
        f"--sentences {args.sentences} --rounds {args.rounds} --threads {args.threads}"
    )


def timing(
    args: argparse.Namespace, sentences: int, own: Sequence[float], other: Sequence[float]
) -> dict[str, Any]:
    """The fields of a result that tell the time: of a GPU in seconds, too.

    Args:
        args: of `add_options`.
        sentences: a round; fewer than asked for where the text has no more.
        own, other: seconds of every round, and those of the system that it is compared with.
    """
    on_gpu = SIZES[args.size].on_gpu
    found = {
        "ratio": round(ratio(own, other), 4),
        "batch": 1,
        "sentences": sentences,
        "rounds": args.rounds,
        "threads": args.threads,
        "device": records.device_name() if on_gpu else records.processor_name(),
    }
    if on_gpu:
        found["seconds"] = statistics.median(own) / sentences
    return found


def spread(source: Path, count: int) -> list[int]:
    """Places of lines whose lengths are quantiles of those of the file."""
    lines = read_lines(source)
    order = sorted(range(len(lines)), key=lambda place: (len(lines[place]), place))
    count = min(count, len(order))
    return [order[(2 * number + 1) * len(order) // (2 * count)] for number in range(count)]


class Decoder(Protocol):
    """What translates some sentences one by one."""

    def decode(self) -> list[Any]:
        """The translations, on the host."""


def measure(timed: Mapping[str, Decoder], rounds: int) -> dict[str, list[float]]:
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
        arguments: of `fairseq-generate`, the split among them.
        chosen: places of the sentences in the split.
    """

    def __init__(self, arguments: Sequence[str], chosen: Sequence[int]) -> None:
        keep_kernels(16_384)  # as `abnet bench` does
        parser = options.get_generation_parser()
        config = convert_namespace_to_omegaconf(
            options.parse_args_and_arch(parser, input_args=list(arguments))
        )
        utils.import_user_module(config.common)
        self.task: Any = tasks.setup_task(config.task)
        self.models, saved = checkpoint_utils.load_model_ensemble(
            utils.split_paths(config.common_eval.path), task=self.task
        )
        on_gpu = torch.cuda.is_available() and not config.common.cpu
        for model in self.models:
            if config.common.fp16:
                model.half()
            if on_gpu:
                model.cuda()
            model.prepare_for_inference_(config)
        split = config.dataset.gen_subset
        self.task.load_dataset(split, task_cfg=saved.task)
        data = self.task.dataset(split)
        samples = [data.collater([data[place]]) for place in chosen]
        self.samples = [utils.move_to_cuda(sample) if on_gpu else sample for sample in samples]
        self.generator = self.task.build_generator(self.models, config.generation)

    def decode(self) -> list[Any]:
        """Translates the sentences one by one; the tokens of each, on the host."""
        return [
            self.task.inference_step(self.generator, self.models, sample)[0][0]["tokens"].cpu()
            for sample in self.samples
        ]
