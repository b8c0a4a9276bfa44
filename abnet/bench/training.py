"""One run of the benchmark of training: all ways in turn on the same batches."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from abnet.bench.attempts import Attempts
from abnet.bench.data_parallel import measure_processes
from abnet.bench.deadline import Deadline
from abnet.bench.engine import Made, Materials
from abnet.bench.learner import OF_MODELS, Learner, make_model
from abnet.bench.loading import measure_waiting, shuffle_lines
from abnet.bench.machine import Growth, device_name
from abnet.bench.scaling import gradient_bytes
from abnet.bench.timing import turns
from abnet.bench.training_batches import TrainingBatch, choose_lines, collate
from abnet.bench.ways import EXTRAS, Way
from abnet.errors import AbNetError
from abnet.model import AbNet

PROCESSES_OF = ("abnet-all", "abnet_fb-all")
"""The rows that are measured in several processes, too."""


@dataclass(frozen=True)
class TrainingPlan:
    """What to measure.

    Attributes:
        tokens: positions of either side of a batch, as fairseq's `--max-tokens`.
        threads: of a CPU.
        processes: data-parallel ones, on GPUs each with one.
        repeats: rounds that are timed, after one that is not.
        count: batches a round.
        minutes: for all; what does not fit is left out. `None` for no limit.

    Raises:
        AbNetError: a value is not allowed.
    """

    tokens: int
    threads: tuple[int, ...] = (1,)
    processes: tuple[int, ...] = (1,)
    repeats: int = 5
    count: int = 6
    minutes: float | None = None

    def __post_init__(self) -> None:
        for name in ("tokens", "repeats", "count"):
            value = getattr(self, name)
            if value < 1:
                raise AbNetError(f"`{name}` must be at least 1, but is {value} instead.")
        for name in ("threads", "processes"):
            for value in getattr(self, name):
                if value < 1:
                    raise AbNetError(f"`{name}` must be at least 1, but is {value} instead.")


@dataclass
class _Cell:
    """A way while it is measured."""

    way: Way
    called: str
    learner: Learner
    batches: list[TrainingBatch]
    peak: int | None
    seconds: list[list[float]] = field(default_factory=list)  # [round][batch]
    failed: bool = False


class TrainingBench:
    """Trains ways side by side.

    A row is written as soon as its last round is done. One that fails is said, with its traceback
    on the standard error, and the others go on; where it has what a machine may lack, that is no
    fault.

    Args:
        ways: in the order in which they are to be kept if time is short.
        materials: of the systems.
        name: of the text.
        source, target: raw text.
        plan: what to measure.
        stamps: fields of every result, `run` and `size` among them.
        write: takes the name and the fields of each result.
        say: takes what a reader should know.
        begun: when the minutes of the plan began, as `time.monotonic` has it; by default now.

    Attributes:
        attempt: tries each row, and knows what failed.

    Raises:
        AbNetError: more processes are asked for than there are GPUs, or `tokens` are too few.
    """

    def __init__(
        self,
        ways: Sequence[Way],
        materials: Materials,
        name: str,
        source: Sequence[str],
        target: Sequence[str],
        plan: TrainingPlan,
        stamps: dict[str, Any],
        write: Callable[[str, dict[str, Any]], None],
        say: Callable[[str], None] = print,
        begun: float | None = None,
    ) -> None:
        most = max(plan.processes)
        if materials.device.type == "cuda" and most > max(torch.cuda.device_count(), 1):
            raise AbNetError(
                f"`--processes` must be at most {torch.cuda.device_count()}, the GPUs there are, "
                f"but is {most} instead."
            )
        self.ways = list(ways)
        self.materials = materials
        self.device = materials.device
        self.input = name
        self.plan = plan
        self.stamps = stamps
        self.write = write
        self.say = say
        self.attempt = Attempts(say)
        self.begun = time.monotonic() if begun is None else begun
        longest = materials.size.bert.max_positions - 8
        sides = [
            tokenizer.encode_batch(lines)
            for tokenizer, lines in zip(materials.tokenizers, (source, target), strict=True)
        ]
        fit = [pair for pair in zip(*sides, strict=True) if min(map(len, pair)) >= 1]
        fit = [pair for pair in fit if max(map(len, pair)) <= longest]
        if not fit:
            raise AbNetError(
                f"the text must have pairs of 1 to {longest} pieces a side, but none of its "
                f"{len(source)} pairs is one."
            )
        self.encoded = ([pair[0] for pair in fit], [pair[1] for pair in fit])
        self.chosen = choose_lines(self.encoded, plan.tokens, plan.count)
        self.shuffled = shuffle_lines(self.encoded, plan.tokens, plan.count)
        self.written = 0

    def run(self) -> int:
        """Measures all ways and returns how many results were written."""
        threads = self.plan.threads if self.device.type == "cpu" else self.plan.threads[:1]
        before = torch.get_num_threads()
        try:
            for number, count in enumerate(threads):
                torch.set_num_threads(count)
                self.materials.threads = count
                self._measure(len(threads) - number)
        finally:
            torch.set_num_threads(before)
        return self.written

    def _measure(self, parts: int) -> None:
        """All ways at one number of threads, in turn, in the first of equal parts of the time."""
        deadline = Deadline(self.begun, self.plan.minutes, parts)
        loading = time.perf_counter()
        batches = [self._collate(lines) for lines in self.chosen]
        self._wait()
        loading = (time.perf_counter() - loading) / len(batches)
        if 1 in self.plan.processes:
            shuffled = [self._collate(lines) for lines in self.shuffled]
            cells = []
            for way in self.ways:
                own = batches if self._lines(way) is self.chosen else shuffled
                called = self._called(way, 1)
                cell = self._attempt(way, called, self._warm_up, way, called, own, deadline)
                if cell is not None:
                    cells.append(cell)
            for cell in turns(cells, self.plan.repeats):
                if not cell.failed:
                    done = self._attempt(cell.way, cell.called, self._add_round, cell, loading)
                    cell.failed = done is None
        deadline = Deadline(self.begun, self.plan.minutes, parts)
        for processes in self.plan.processes:
            for way in self.ways:
                if processes > 1 and way.name in PROCESSES_OF:
                    called = self._called(way, processes)
                    self._attempt(
                        way, called, self._measure_processes, way, batches, processes, deadline
                    )

    def _attempt(
        self, way: Way, called: str, action: Callable[..., Made], *given: Any
    ) -> Made | None:
        """What an action returns, or `None` if it fails; with what a machine may lack it may."""
        optional = way.apex or bool(way.measures & EXTRAS.keys())
        return self.attempt(way.name, called, partial(action, *given), optional)

    def _called(self, way: Way, processes: int) -> str:
        return f"{way.name}, {self.materials.threads} threads, {processes} processes"

    def _add_round(self, cell: _Cell, loading: float) -> int:
        """Times a round, and writes the row after the last; tells how many there are."""
        cell.seconds.append([self._time(cell.learner, batch) for batch in cell.batches])
        if len(cell.seconds) == self.plan.repeats:
            self._write({**self._fields_of(cell), "loading_s": loading})
        return len(cell.seconds)

    def _fields_of(self, cell: _Cell) -> dict[str, Any]:
        """What a result of one process says."""
        way, learner, batches = cell.way, cell.learner, cell.batches
        kernels = learner.kernels(batches[0], seed=0)
        fields = self._fields(way, learner, batches, cell.seconds, kernels)
        if cell.peak is not None:
            fields["peak_memory_bytes"] = cell.peak
        if self.device.type == "cuda":
            fields["device_idle_share"] = self._idle_share(cell)
        waiting = measure_waiting(
            lambda batch: learner.step(batch, seed=0), batches, self._lines(way), self.encoded,
            self.materials.tokenizers, self.plan.repeats,
        )  # fmt: skip
        return {**fields, "waiting_share": waiting.share, "loaded_step_s": waiting.step_s}

    def _measure_processes(
        self, way: Way, batches: list[TrainingBatch], processes: int, deadline: Deadline
    ) -> None:
        """A row of several processes, which go on to their end once they are begun.

        Raises:
            OutOfTimeError: there is no time to begin.
        """
        deadline.check()
        found = measure_processes(
            processes, self.materials, way, self.encoded, self.chosen, self.plan.repeats
        )
        learner = Learner(self._model(way), way)
        fields = self._fields(way, learner, batches, found.seconds, found.kernels, processes)
        self._write({**fields, "reduced_bytes": found.reduced_bytes})

    def _lines(self, way: Way) -> list[list[int]]:
        """Of each of its batches."""
        return self.shuffled if "buckets" in way.without else self.chosen

    def _collate(self, lines: list[int]) -> TrainingBatch:
        return collate(lines, self.encoded, self.materials.tokenizers, self.device)

    def _model(self, way: Way) -> AbNet:
        """Ways that need the same weights share a model; it trains on, whoever's turn it is."""
        name = f"training {way.system} {sorted(way.measures & OF_MODELS)}"
        return self.materials.shared(name, lambda: make_model(self.materials, way))

    def _warm_up(
        self, way: Way, called: str, batches: list[TrainingBatch], deadline: Deadline
    ) -> _Cell:
        """A round that does not count, and what memory it takes.

        Raises:
            OutOfTimeError: this, or all rounds of it, would end too late.
        """
        deadline.check()
        learner = Learner(self._model(way), way)
        learner.step(batches[-1], seed=len(batches) - 1)  # makes the optimizer's state
        self._wait()
        start = time.perf_counter()
        with Growth(self.device, in_torch=True) as growth:
            for number, batch in enumerate(batches):
                deadline.check()
                learner.step(batch, seed=number)
        self._wait()
        rounds = 2 * self.plan.repeats + 2  # those that wait for batches; kernels, idle time
        deadline.keep(rounds * (time.perf_counter() - start))
        grown = growth.most
        peak = None if grown is None else learner.resident_bytes() + grown
        return _Cell(way, called, learner, batches, peak)

    def _time(self, learner: Learner, batch: TrainingBatch) -> float:
        """Seconds of a step."""
        self._wait()
        start = time.perf_counter()
        learner.step(batch, seed=0)
        self._wait()
        return time.perf_counter() - start

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _idle_share(self, cell: _Cell) -> float:
        """The share of a round's time in which the GPU has nothing to do."""
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            for batch in cell.batches:
                cell.learner.step(batch, seed=0)
            self._wait()
        busy = float(sum(event.self_device_time_total for event in profile.key_averages())) / 1e6
        return max(0.0, 1 - busy / statistics.median(map(sum, cell.seconds)))

    def _fields(
        self,
        way: Way,
        learner: Learner,
        batches: list[TrainingBatch],
        seconds: list[list[float]],
        kernels: dict[str, str],
        processes: int = 1,
    ) -> dict[str, Any]:
        """What a result says, but for memory."""
        trained = sum(p.numel() for p in learner.trained)
        tokens = sum(batch.tokens for batch in batches)
        positions = sum(batch.pairs.target.numel() for batch in batches)
        return {
            "kind": "training",
            "row": way.name,
            "system": way.system,
            "engine": "abnet",
            "measures": sorted(way.measures),
            "without": sorted(way.without),
            "kernels": kernels,
            "device": device_name(self.device),
            "device_kind": self.device.type,
            "threads": self.materials.threads,
            "processes": processes,
            "input": self.input,
            "repeats": len(seconds),
            "batches": len(batches),
            "batch_tokens": statistics.mean(batch.tokens for batch in batches),
            "padding_share": 1 - tokens / positions,
            "batch_sentences": statistics.mean(batch.sentences for batch in batches),
            "step_s": statistics.median(time for times in seconds for time in times),
            "target_tokens_per_s": processes * tokens / statistics.median(map(sum, seconds)),
            "trained_parameters": trained,
            "total_parameters": sum(p.numel() for p in learner.model.parameters()),
            "gradient_bytes": gradient_bytes(trained, learner.trained[0].element_size()),
            "checkpoint_bytes": learner.checkpoint_bytes(),
        }

    def _write(self, fields: dict[str, Any]) -> None:
        name = (
            f"training-{fields['device_kind']}-{self.stamps['size']}-{self.input}-{fields['row']}"
        )
        if fields["device_kind"] == "cpu":
            name += f"-t{fields['threads']}"
        if fields["device_kind"] == "cpu" or fields["processes"] > 1:
            name += f"-p{fields['processes']}"
        self.write(name, {**fields, **self.stamps})
        self.written += 1
        ran = "; ".join(f"{topic} {called}" for topic, called in fields["kernels"].items())
        self.say(
            f"{fields['row']}, {fields['threads']} threads, {fields['processes']} processes: "
            f"{1000 * fields['step_s']:.1f} ms a step, "
            f"{fields['target_tokens_per_s']:.0f} target tokens/s ({ran})"
        )
