"""What speed costs in BLEU: the ways to decode with trained systems, scored and timed in turn."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from abnet.bench.engine import RECORDINGS
from abnet.doctor import computes_in_bfloat16
from benchmarks import quality, records
from scripts.reproduce.common import common_runner, joiner, run_and_show
from scripts.reproduce.compared import is_ours
from scripts.reproduce.ctranslate import Converted, conversion, read_pieces
from scripts.reproduce.recipes import BEAM, ROOT, Multi30k, Variant
from scripts.reproduce.sizes import SIZES, words
from scripts.reproduce.steps import Step, StepError, say
from scripts.reproduce.timing import (
    Decoder,
    Timed,
    add_options,
    command_of,
    measure,
    spread,
    timing,
)

SCRIPT = "scripts/reproduce/tradeoff.sh"
SPLIT = "valid"
ALL_PASSES = "--iter-decode-force-max-iter"
INT8 = "--iter-decode-dtype int8"
BFLOAT16 = "--iter-decode-dtype bfloat16"  # in place of the 16-bit floats of the GPU's size
COMPILED = "--iter-decode-compile"


class Point(NamedTuple):
    """A system and how it decodes.

    Attributes:
        system: of the comparison.
        label: what tells it from the system's other points.
        options: of `fairseq-generate`.
        on_gpu: whether it is for GPUs or for CPUs only; `None` for both.
        converted: the precision of its weights in CTranslate2; `None` in fairseq.
    """

    system: str
    label: str
    options: str
    on_gpu: bool | None = None
    converted: str | None = None

    @property
    def beam(self) -> int:
        """Hypotheses a sentence, of the Transformer."""
        return int(words(self.options)[1])


COMPARED_WITH = Point("transformer", f"beam {BEAM}", f"--beam {BEAM}")
POINTS = [
    COMPARED_WITH,
    Point("transformer", "beam 1", "--beam 1"),
    *(
        Point(
            "transformer",
            f"beam {beam}, CTranslate2, {precision}",
            f"--beam {beam}",
            on_gpu,
            precision,
        )
        for precision, on_gpu in (("float32", None), ("int8", False), ("float16", True))
        for beam in (BEAM, 1)
    ),
    Point("abnet", "10 passes", ALL_PASSES),
    *(
        Point("abnet", f"{n} pass{'es' * (n > 1)}", f"{ALL_PASSES} --iter-decode-max-iter {n}")
        for n in (1, 2, 4, 6)
    ),
    Point("abnet", "length beam 1", f"{ALL_PASSES} --iter-decode-with-beam 1"),
    Point("abnet", "patience 2", "--iter-decode-patience 2"),
    *(
        Point("abnet", f"confidence {p}", f"{ALL_PASSES} --iter-decode-confidence {p}")
        for p in (0.1, 0.2, 0.3, 0.5)
    ),
    *(
        Point(
            "abnet",
            f"1 candidate after {after}",
            f"{ALL_PASSES} --iter-decode-prune-after {after} --iter-decode-prune-keep 1",
        )
        for after in (1, 2, 4)
    ),
    Point(
        "abnet",
        "margin 0.2 after 2",
        f"{ALL_PASSES} --iter-decode-prune-after 2 --iter-decode-prune-margin 0.2",
    ),
    Point(
        "abnet",
        "4 passes, 1 candidate after 1",
        f"{ALL_PASSES} --iter-decode-max-iter 4 --iter-decode-prune-after 1 "
        "--iter-decode-prune-keep 1",
    ),
    Point("abnet", "int8", f"{ALL_PASSES} {INT8}", on_gpu=False),
    Point(
        "abnet",
        "6 passes, 1 candidate after 2, int8",
        f"{ALL_PASSES} --iter-decode-max-iter 6 --iter-decode-prune-after 2 "
        f"--iter-decode-prune-keep 1 {INT8}",
        on_gpu=False,
    ),
    Point("abnet", "bfloat16", f"{ALL_PASSES} {BFLOAT16}"),
    Point("abnet", "compiled", f"{ALL_PASSES} {COMPILED}", on_gpu=True),
    *(
        Point("abnet_ctc", f"blank penalty {penalty}", f"--ctc-blank-penalty {penalty}")
        for penalty in (0, 0.5, 1, 1.5, 2)
    ),
    *(
        Point("abnet_ctc", f"{n} passes, penalty 2", f"--ctc-blank-penalty 2 --ctc-iterations {n}")
        for n in (2, 4, 10)
    ),
    Point("abnet_ctc", "beam 8, penalty 1", "--ctc-blank-penalty 1 --ctc-beam 8"),
    Point("abnet_ctc", "int8, penalty 1", f"--ctc-blank-penalty 1 {INT8}", on_gpu=False),
    Point("abnet_ctc", "compiled, penalty 1", f"--ctc-blank-penalty 1 {COMPILED}", on_gpu=True),
    *(
        Point(graph, f"word reward {reward}", f"--dag-word-reward {reward}")
        for graph in ("abnet_dag", "abnet_dag_fuzzy")
        for reward in (0, 0.5, 1, 1.5)
    ),
    *(
        Point(graph, f"best of {beam} by the target BERT", f"--dag-beam {beam} --dag-lm-weight 0.3")
        for graph in ("abnet_dag", "abnet_dag_fuzzy")
        for beam in (4, 8, 16)
    ),
    Point("abnet_dag", "beam 8", "--dag-beam 8"),
    Point("abnet_dag", "int8", INT8, on_gpu=False),
    Point("abnet_dag", "compiled, word reward 1", f"--dag-word-reward 1 {COMPILED}", on_gpu=True),
]


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=SCRIPT,
        description="Decode the validation set in ways that trade BLEU for speed, time them for "
        "one sentence at a time, in turn, write benchmarks/results/tradeoff-*.json and renew "
        "the tables. Systems that scripts/reproduce/multi30k.sh has not trained are left out.",
    )
    add_options(parser)
    parser.add_argument("--jobs", type=int, help="decodings at a time (default: the size's)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    size = SIZES[args.size]
    work = Multi30k.at(Path(), args.out or ROOT / "checkpoints" / f"multi30k-{args.size}", size)
    results = args.results or records.RESULTS
    action = partial(run_all, work, args, results)
    return run_and_show(SCRIPT, work, action, args.document, results)


def run_all(work: Multi30k, args: argparse.Namespace, results: Path) -> None:
    """Scores what is not scored yet, times everything and writes it down."""
    points = [
        point
        for point in points_on(work.size.on_gpu)
        if work.checkpoint(point.system, args.direction, args.seed).exists()
    ]
    if COMPARED_WITH not in points:
        raise StepError(
            f"{work.out} has no averaged {COMPARED_WITH.system}: multi30k.sh trains it."
        )
    steps = {point: decoding(work, point, args.direction, args.seed) for point in points}
    common_runner(args.jobs or work.size.jobs, work.size).run([[step] for step in steps.values()])
    torch.set_num_threads(args.threads)
    chosen = spread(work.source(args.direction, SPLIT), args.sentences)
    timed: dict[str, Decoder] = {}
    for point, step in steps.items():
        if point.converted is None:
            timed[name(point)] = Timed(step.command[1:], chosen)
        else:
            timed[name(point)] = _converted(work, args, point, step, chosen)
    for point in points:
        if COMPILED in point.options:
            for _ in range(RECORDINGS):
                timed[name(point)].decode()
    seconds = measure(timed, args.rounds)
    for place, point in enumerate(points):
        own, other = seconds[name(point)], seconds[name(COMPARED_WITH)]
        join = str if is_ours(point.system) else joiner(work.bert(args.direction.split("-")[1]))
        outputs = work.run(point.system, args.direction, args.seed) / "tradeoff" / name(point)
        scores = quality.score_runs([outputs], work.references(args.direction, SPLIT), join, SPLIT)
        found = {
            "kind": "tradeoff",
            "system": point.system,
            "dataset": "multi30k",
            "direction": args.direction,
            "split": SPLIT,
            "size": args.size,
            "seeds": [args.seed],
            "place": place,
            "label": point.label,
            "options": point.options,
            **scores,
            "compared_with": f"{COMPARED_WITH.system} {COMPARED_WITH.label}",
            **timing(args, len(chosen), own, other),
            "command": command_of(SCRIPT, args),
            **records.stamps(),
        }
        file = f"tradeoff-{args.size}-{args.direction}-{name(point)}.json"
        records.write(found, results / file)
        say(f"{point.system} {point.label}: BLEU {found['bleu']}, time {found['ratio']}")


def points_on(on_gpu: bool) -> list[Point]:
    """Those that a GPU, or this CPU, can do; bfloat16 where it is fast."""
    has_bfloat16 = on_gpu or computes_in_bfloat16()
    points = [point for point in POINTS if point.on_gpu in (None, on_gpu)]
    return [point for point in points if has_bfloat16 or BFLOAT16 not in point.options]


def _converted(
    work: Multi30k, args: argparse.Namespace, point: Point, step: Step, chosen: Sequence[int]
) -> Converted:
    """What CTranslate2 makes of the chosen sentences, once the whole split is written down."""
    lines = read_pieces(work, args.direction, SPLIT)
    how = (str(point.converted), lines, point.beam, args.threads, work.size.on_gpu)
    made = Converted(step.folder / step.name, *how)
    made.write(step.folder / "tradeoff" / name(point) / f"generate-{SPLIT}.txt")
    made.lines = [lines[place] for place in chosen]
    return made


def decoding(work: Multi30k, point: Point, direction: str, seed: int) -> Step:
    """The split decoded as a point says, into a folder of its own; for CTranslate2 a conversion."""
    if point.converted is not None:
        return conversion(work, direction, seed, point.converted)
    step = work.generate(point.system, direction, seed, Variant(), SPLIT)
    folder = step.folder / "tradeoff" / name(point)
    command = list(step.command)
    command[command.index("--results-path") + 1] = str(folder)
    return replace(step, folder=folder, command=(*command, *words(point.options)))


def name(point: Point) -> str:
    """In file names."""
    return f"{point.system} {point.label}".replace(",", "").replace(" ", "-")


if __name__ == "__main__":
    sys.exit(main())
