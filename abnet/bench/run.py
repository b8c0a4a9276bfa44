"""One run of the benchmark: all systems in turn, one result a cell, written as it goes."""

from __future__ import annotations

import itertools
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from abnet.bench.engine import RECORDINGS, Engine, Made, Materials, Row
from abnet.bench.inputs import Batch, Text
from abnet.bench.machine import Growth, device_name
from abnet.bench.plan import LARGEST, Plan
from abnet.bench.rates import Rates
from abnet.bench.timing import Times, turns
from abnet.bench.work import multiply_adds
from abnet.errors import AbNetError

MOST = 4096  # lines of the largest batch that is tried
LARGE_BATCHES = 2  # of the largest size; there is nothing to gain from more


class _OutOfTimeError(Exception):
    """The plan's minutes do not suffice."""


@dataclass
class _Cell:
    """A row at one batch size and number of threads.

    Attributes:
        row: that is measured.
        called: what a reader calls the cell.
        engine: that translates.
        batches: what it translates.
        size: lines a batch, or "largest".
        threads: of a CPU.
        seconds: of a round.
        peak: bytes of memory; `None` if not to be known.
        times: of the rounds until now.
        failed: whether a round has failed.
        result: its fields, once they are written.
    """

    row: Row
    called: str
    engine: Engine
    batches: list[Batch]
    size: int | str
    threads: int
    seconds: float
    peak: int | None
    times: Times = field(default_factory=Times)
    failed: bool = False
    result: dict[str, Any] = field(default_factory=dict)


class Bench:
    """Measures rows side by side.

    Rows of one batch size take turns, with each number of threads: where a machine is faster at
    some times than at others, all of them have their share of both.

    A cell is written as soon as its rounds are done, and again when its floor is known. One that
    fails is said, with its traceback on the standard error, and the others go on.

    Args:
        rows: in the order in which they are to be kept if time is short.
        materials: of the systems.
        text: to translate.
        plan: what to measure.
        stamps: fields of every result, `run` and `size` among them.
        write: takes the name and the fields of each result.
        say: takes what a reader should know.
        begun: when the minutes of the plan began, as `time.monotonic` has it; by default now.
        rates: of products, by number of threads, which are added to; those of another text's run
            need not be measured again.

    Attributes:
        failed: the cells, and floors, that could not be measured for a fault.

    Raises:
        AbNetError: the largest batch is asked for on a CPU.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        materials: Materials,
        text: Text,
        plan: Plan,
        stamps: dict[str, Any],
        write: Callable[[str, dict[str, Any]], None],
        say: Callable[[str], None] = print,
        begun: float | None = None,
        rates: dict[int, Rates] | None = None,
    ) -> None:
        if LARGEST in plan.batches and materials.device.type != "cuda":
            raise AbNetError("`batches` must be numbers on a CPU: the largest is found on a GPU.")
        self.rows = list(rows)
        self.materials = materials
        self.text = text
        self.plan = plan
        self.stamps = stamps
        self.write = write
        self.say = say
        self.begun = time.monotonic() if begun is None else begun
        self.rates = {} if rates is None else rates
        self.forced = materials.checkpoint is None
        self.device = materials.device
        self.missing: set[str] = set()
        self.failed: list[str] = []
        self.grown: dict[str, int] = {}  # by engines with an allocator of their own
        self.written: list[_Cell] = []

    def run(self) -> int:
        """Measures all cells, then their floors, and returns how many results were written."""
        batches = self.plan.batches
        before = torch.get_num_threads()
        try:
            for number, batch in enumerate(batches):
                self._measure_group(batch, self._share(len(batches) - number + 1))
            self._find_floors(self._share(1))
        finally:
            torch.set_num_threads(before)
        return len(self.written)

    def _share(self, parts: int) -> float | None:
        """When the first of equal parts of the minutes that are left is over.

        The floors of all groups take a part like a group's.
        """
        if self.plan.minutes is None:
            return None
        now = time.monotonic()
        return now + (self.begun + 60 * self.plan.minutes - now) / parts

    def _set_threads(self, count: int) -> None:
        torch.set_num_threads(count)
        self.materials.threads = count

    def _measure_group(self, size: int | str, until: float | None) -> None:
        """All rows at one batch size, with each number of threads, in turn.

        Args:
            size: lines a batch.
            until: time at which to be done, as `time.monotonic` has it.
        """
        threads = self.plan.threads if self.device.type == "cpu" else self.plan.threads[:1]
        cells: list[_Cell] = []
        for count, row in itertools.product(threads, self.rows):
            if row.name in self.missing:
                continue
            self._set_threads(count)
            called = f"{row.name}, batch {size}, {self._threads()}"
            if row.compiled and size == LARGEST:
                self.say(f"skipped: {called}: every size of the search would be compiled")
                continue
            cell = self._attempt(row, called, partial(self._warm_up, row, called, size, until))
            if cell is not None:
                cells.append(cell)
                if until is not None:
                    until -= self._needed(cell)
        for cell in turns(cells, self.plan.repeats):
            if cell.failed:
                continue
            self._set_threads(cell.threads)
            rounds = self._attempt(cell.row, cell.called, partial(self._add_round, cell))
            cell.failed = rounds is None
            if rounds == self.plan.repeats:
                self._write(cell)

    def _attempt(self, row: Row, called: str, action: Callable[[], Made]) -> Made | None:
        """What an action returns, or `None` if it fails, which is said.

        Args:
            row: that is not tried again if it cannot run at all.
            called: what a reader calls what is tried.
            action: to do.
        """
        try:
            return action()
        except (AbNetError, ImportError) as error:
            self.missing.add(row.name)
            self.say(f"skipped: {row.name}: {error}")
        except _OutOfTimeError as error:
            self.say(f"skipped: {called}: {error}")
        except Exception as error:  # whatever is wrong with one system, the others are measured
            if "out of memory" in str(error):
                self.say(f"skipped: {called}: out of memory")
            else:
                self.failed.append(called)
                sys.stderr.write(f"failed: {called}\n{traceback.format_exc()}")
                self.say(f"failed: {called}: {type(error).__name__}: {error}")
        return None

    def _warm_up(self, row: Row, called: str, size: int | str, until: float | None) -> _Cell:
        """Builds the engine and translates each batch once.

        Raises:
            _OutOfTimeError: this, or all rounds of it, would end too late.
        """
        check = partial(_check_time, until)
        check()
        engine = row.build(self.materials)
        try:
            if isinstance(size, int):
                batches = self.text.batches(size, self.plan.count)
            else:
                engine.release()
                batches = self.text.batches(self._largest(engine, check), LARGE_BATCHES)
            first = [batches[-1], *(RECORDINGS * batches if row.compiled else ())]  # the longest
            for batch in first:
                check()
                self._translate(engine, batch)
            with Growth(self.device, engine.in_torch) as growth:
                seconds = 0.0
                for batch in batches:
                    check()
                    start = time.perf_counter()
                    self._translate(engine, batch)
                    seconds += time.perf_counter() - start
        finally:
            if size == LARGEST:
                engine.release()
        peak = self._peak(row, engine, growth.most)
        cell = _Cell(row, called, engine, batches, size, self.materials.threads, seconds, peak)
        needed = self._needed(cell)
        if until is not None and time.monotonic() + needed > until:
            raise _OutOfTimeError(f"needs about {needed:.0f} s, more than its share of --minutes")
        return cell

    def _needed(self, cell: _Cell) -> float:
        """Seconds that all its rounds will take."""
        return self.plan.repeats * cell.seconds * (2 if cell.size == LARGEST else 1)

    def _peak(self, row: Row, engine: Engine, grown: int | None) -> int | None:
        """Weights and what decoding needs besides."""
        if grown is None or row.compiled:  # CUDA graphs hold memory of their own
            return None
        if self.device.type == "cuda" and not engine.in_torch:  # keeps what it once had
            self.grown[row.name] = grown = grown + self.grown.get(row.name, 0)
        return engine.weight_bytes + grown

    def _translate(self, engine: Engine, batch: Batch) -> None:
        encoded = engine.encode(batch.lines)
        engine.join(engine.decode(encoded, batch.length if self.forced else None))

    def _largest(self, engine: Engine, check: Callable[[], None]) -> int:
        """The largest power of two of lines that fits, at most `MOST`.

        Raises:
            RuntimeError: not even one line fits.
            _OutOfTimeError: `check` found so before all were tried.
        """

        def attempt(size: int) -> None:
            check()
            self._translate(engine, self.text.batches(size, LARGE_BATCHES)[-1])

        return largest(attempt, engine.release)

    def _add_round(self, cell: _Cell) -> int:
        """Times a round, and tells how many there are."""
        if cell.size == LARGEST:  # what others left behind would be part of its time
            cell.engine.release()
            for batch in cell.batches:
                self._translate(cell.engine, batch)
        cell.times.add_round(cell.engine, cell.batches, self.forced)
        if cell.size == LARGEST:
            cell.engine.release()
        return len(cell.times.decoding)

    def _write(self, cell: _Cell) -> None:
        """Writes the result, for now without a floor."""
        row = cell.row
        cell.result = {
            "kind": "speed",
            "row": row.name,
            "system": row.system,
            "peer": row.peer,
            "engine": row.engine,
            "decoding": row.decoding,
            "precision": row.precision,
            "device": device_name(self.device),
            "device_kind": self.device.type,
            "threads": cell.threads,
            "batch": len(cell.batches[0].lines),
            "largest": cell.size == LARGEST,
            "input": self.text.name,
            **cell.times.summary(cell.batches, self.forced),
            **({} if cell.peak is None else {"peak_memory_bytes": cell.peak}),
            **self.stamps,
        }
        self.write(self._file(cell), cell.result)
        self.written.append(cell)
        self.say(
            f"{row.name}, batch {cell.result['batch']}, {self._threads()}: "
            f"{1000 * cell.result['median_s']:.1f} ms, "
            f"{cell.result['sentences_per_s']:.1f} sentences/s"
        )

    def _file(self, cell: _Cell) -> str:
        """The name of its result."""
        kind = self.device.type
        name = f"speed-{kind}-{self.stamps['size']}-{self.text.name}-{cell.row.name}-b{cell.size}"
        return name + (f"-t{cell.threads}" if kind == "cpu" else "")

    def _find_floors(self, until: float | None) -> None:
        """Writes each result again with its floor, as long as there is time."""
        for cell in self.written:
            self._set_threads(cell.threads)
            called = f"{cell.called}, its floor"
            floor = self._attempt(cell.row, called, partial(self._floor, cell, until))
            if cell.size == LARGEST:
                cell.engine.release()
            if floor:
                self.write(self._file(cell), {**cell.result, **floor})
                self.say(f"{cell.called}: {100 * floor['floor_share']:.0f} % of the floor's speed")

    def _floor(self, cell: _Cell, until: float | None) -> dict[str, Any]:
        """The least seconds of a batch, as a median over the batches, and how near they came.

        Raises:
            _OutOfTimeError: it took too long.
        """
        rates = self.rates.setdefault(cell.threads, Rates(self.device))
        floors, counts = [], []
        for batch in cell.batches:
            _check_time(until)
            encoded = cell.engine.encode(batch.lines)
            products = cell.engine.work(encoded, batch.length if self.forced else None)
            if products is None:
                return {}
            check = partial(_check_time, until)
            floors.append(rates.floor(products, cell.row.dtype, cell.engine.weight_bytes, check))
            counts.append(multiply_adds(products))
        return {
            "multiply_adds": sum(counts) // len(counts),
            "floor_s": sorted(floors)[len(floors) // 2],
            "floor_share": sum(floors) / cell.times.seconds_a_round(),
        }

    def _threads(self) -> str:
        count = self.materials.threads
        return f"{count} thread{'s' if count > 1 else ''}"


def _check_time(until: float | None) -> None:
    """Raises an error if it is later."""
    if until is not None and time.monotonic() >= until:
        raise _OutOfTimeError("no time left of its share of --minutes")


def largest(attempt: Callable[[int], None], release: Callable[[], None], most: int = MOST) -> int:
    """The largest power of two that can be attempted without running out of memory.

    Args:
        attempt: tries so many lines.
        release: called after each.
        most: the last one tried.

    Raises:
        RuntimeError: not even 1 can.
    """
    fits = 0
    size = 1
    while size <= most:
        try:
            attempt(size)
        except RuntimeError as error:
            if "out of memory" not in str(error) or not fits:
                raise
            break
        finally:
            release()
        fits = size
        size *= 2
    return fits
