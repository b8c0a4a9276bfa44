"""One run of the benchmark: all systems in turn, one result a cell, written as it goes."""

from __future__ import annotations

import contextlib
import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from abnet.bench.attempts import Attempts
from abnet.bench.deadline import Deadline
from abnet.bench.engine import RECORDINGS, Engine, Materials, Row
from abnet.bench.inputs import Batch, Text
from abnet.bench.largest import Found, largest
from abnet.bench.machine import Growth, device_name
from abnet.bench.plan import LARGEST, Plan
from abnet.bench.rates import Rates
from abnet.bench.timing import Times, turns
from abnet.bench.work import Product, multiply_adds
from abnet.errors import AbNetError

LARGE_BATCHES, LARGE_ROUNDS = 1, 2  # of the largest size; there is nothing to gain from more


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
        capped: whether a larger batch may fit than the largest that was found.
        times: of the rounds until now.
        failed: whether a round has failed.
        result: its fields, once they are written.
        work: products of each batch, once their rates are measured.
    """

    row: Row
    called: str
    engine: Engine
    batches: list[Batch]
    size: int | str
    threads: int
    seconds: float
    peak: int | None
    capped: bool
    times: Times = field(default_factory=Times)
    failed: bool = False
    result: dict[str, Any] = field(default_factory=dict)
    work: list[list[Product]] = field(default_factory=list)


class Bench:
    """Measures rows side by side.

    Rows of one batch size take turns, with each number of threads: where a machine is faster at
    some times than at others, all of them have their share of both.

    A cell is written as soon as its rounds are done, and again when its floor is known; one of the
    largest batch also after the first round, which comes right after the search. One that fails is
    said, with its traceback on the standard error, and the others go on.

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
        attempt: tries each cell and floor, and knows what failed.

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
        self.attempt = Attempts(say)
        self.written: list[_Cell] = []
        self.all_threads = torch.get_num_threads()

    def run(self) -> int:
        """Measures all cells, then their floors, and returns how many results were written."""
        batches = self.plan.batches
        try:
            for number, batch in enumerate(batches):
                self._measure_group(batch, self._share(len(batches) - number + 1))
            self._find_floors(self._share(1))
        finally:
            torch.set_num_threads(self.all_threads)
        return len(self.written)

    def _share(self, parts: int) -> Deadline:
        """The first of equal parts of the minutes that are left; the floors take one, too."""
        return Deadline(self.begun, self.plan.minutes, parts)

    def _set_threads(self, count: int) -> None:
        torch.set_num_threads(count)
        self.materials.threads = count

    def _measure_group(self, size: int | str, deadline: Deadline) -> None:
        """All rows at one batch size, with each number of threads, in turn."""
        threads = self.plan.threads if self.device.type == "cpu" else self.plan.threads[:1]
        cells: list[_Cell] = []
        for count, row in itertools.product(threads, self.rows):
            if row.name in self.attempt.missing:
                continue
            self._set_threads(count)
            called = f"{row.name}, batch {size}, {self._threads()}"
            if row.compiled and size == LARGEST:
                self.say(f"skipped: {called}: every size of the search would be compiled")
                continue
            warm_up = partial(self._warm_up, row, called, size, deadline)
            cell = self.attempt(row.name, called, warm_up)
            if cell is None:
                continue
            cells.append(cell)
            if size == LARGEST:
                with deadline.aside():  # the time is kept already
                    self._measure_round(cell)
        done = len(cells) if size == LARGEST else 0
        for cell in itertools.islice(turns(cells, self._rounds(size)), done, None):
            self._measure_round(cell)

    def _rounds(self, size: int | str) -> int:
        return min(self.plan.repeats, LARGE_ROUNDS) if size == LARGEST else self.plan.repeats

    def _measure_round(self, cell: _Cell) -> None:
        """Of a cell that has not failed, which is written when it is time."""
        if cell.failed:
            return
        self._set_threads(cell.threads)
        rounds = self.attempt(cell.row.name, cell.called, partial(self._add_round, cell))
        cell.failed = rounds is None
        if rounds and (rounds == self._rounds(cell.size) or cell.size == LARGEST):
            self._write(cell)

    def _build(self, row: Row, deadline: Deadline) -> Engine:
        """With all threads, and not in the time of the group."""
        deadline.check()
        torch.set_num_threads(self.all_threads)
        try:
            with deadline.aside():
                return row.build(self.materials)
        finally:
            torch.set_num_threads(self.materials.threads)

    def _warm_up(self, row: Row, called: str, size: int | str, deadline: Deadline) -> _Cell:
        """Builds the engine and translates each batch once; calls that compile are building, too.

        Raises:
            OutOfTimeError: this, or all rounds of it, would end too late.
        """
        engine = self._build(row, deadline)
        found, first = Found(0), list[Batch]()
        try:
            if isinstance(size, int):
                batches = self.text.batches(size, self.plan.count)
                first = [batches[-1], *(RECORDINGS * batches if row.compiled else ())]  # longest
            else:
                engine.release()
                found = self._largest(engine, deadline.check)
                batches = self.text.batches(found.size, LARGE_BATCHES)
                if found.trouble:
                    self.say(f"{called}: the search ended at {found.size}: {found.trouble}")
            for batch in first:
                deadline.check()
                with deadline.aside() if row.compiled else contextlib.nullcontext():
                    self._translate(engine, batch)
            with Growth(self.device, engine.in_torch) as growth:
                seconds = 0.0
                for batch in batches:
                    deadline.check()
                    start = time.perf_counter()
                    self._translate(engine, batch)
                    seconds += time.perf_counter() - start
        finally:
            if size == LARGEST:
                engine.release()
        peak = self._peak(row, engine, growth.most)
        threads = self.materials.threads
        cell = _Cell(row, called, engine, batches, size, threads, seconds, peak, found.capped)
        deadline.keep(self._needed(cell))
        return cell

    def _needed(self, cell: _Cell) -> float:
        """Seconds that all its rounds will take."""
        return self._rounds(cell.size) * cell.seconds * (2 if cell.size == LARGEST else 1)

    def _peak(self, row: Row, engine: Engine, grown: int | None) -> int | None:
        """Weights and what decoding needs besides."""
        if grown is None or row.compiled:  # CUDA graphs hold memory of their own
            return None
        return engine.weight_bytes + grown

    def _translate(self, engine: Engine, batch: Batch) -> None:
        encoded = engine.encode(batch.lines)
        engine.join(engine.decode(encoded, batch.length if self.forced else None))

    def _largest(self, engine: Engine, check: Callable[[], None]) -> Found:
        """The largest batch that fits; see `largest`.

        Raises:
            RuntimeError: not even one line fits.
            OutOfTimeError: `check` found so before all were tried.
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
        if not cell.result:
            self.written.append(cell)
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
            **({"capped": True} if cell.capped else {}),
            "input": self.text.name,
            "left_out": self.text.dropped,
            **cell.times.summary(cell.batches, self.forced),
            **({} if cell.peak is None else {"peak_memory_bytes": cell.peak}),
            **self.stamps,
        }
        self.write(self._file(cell), cell.result)
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

    def _find_floors(self, deadline: Deadline) -> None:
        """Writes each result again with its floor, as long as there is time.

        Rates are measured in passes over all of them, so that a busy moment of the machine slows no
        rate in all. The floors of the first pass are written, too, in case that it was the last.
        """
        for cell in self.written:
            self._set_threads(cell.threads)
            measure = partial(self._measure_rates, cell, deadline.check)
            self.attempt(cell.row.name, f"{cell.called}, its floor", measure)
            if cell.size == LARGEST:
                cell.engine.release()
            self._write_floor(cell)
        for count, rates in self.rates.items():
            self._set_threads(count)
            called = f"all passes over the rates of products, {self._threads()}"
            self.attempt("rates", called, partial(rates.measure_again, deadline.check))
        for cell in self.written:
            share = self._write_floor(cell)
            if share is not None:
                self.say(f"{cell.called}: {100 * share:.0f} % of the floor's speed")

    def _measure_rates(self, cell: _Cell, check: Callable[[], None]) -> None:
        """Counts the products of each batch, if they are to be known, and measures their rates.

        Raises:
            OutOfTimeError: `check` found so before all were measured.
        """
        rates = self.rates.setdefault(cell.threads, Rates(self.device))
        work = []
        for batch in cell.batches:
            check()
            encoded = cell.engine.encode(batch.lines)
            products = cell.engine.work(encoded, batch.length if self.forced else None)
            if products is None:
                return
            rates.floor(products, cell.row.dtype, cell.engine.weight_bytes, check)
            work.append(products)
        cell.work = work

    def _write_floor(self, cell: _Cell) -> float | None:
        """The least seconds of a batch, as a median over the batches, and how near they came.

        Returns:
            the latter; `None` if the work is not known or a rate could not be measured.
        """
        if not cell.work:
            return None
        rates, kind = self.rates[cell.threads], cell.row.dtype
        floors = [rates.floor(work, kind, cell.engine.weight_bytes) for work in cell.work]
        share = sum(floors) / cell.times.seconds_a_round()
        floor = {
            "multiply_adds": sum(map(multiply_adds, cell.work)) // len(cell.work),
            "floor_s": statistics.median(floors),
            "floor_share": share,
        }
        self.write(self._file(cell), {**cell.result, **floor})
        return share

    def _threads(self) -> str:
        count = self.materials.threads
        return f"{count} thread{'s' if count > 1 else ''}"
