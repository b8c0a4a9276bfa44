"""One run of the benchmark: all systems in turn, one result a cell, written as it goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from abnet.bench.engine import Engine, Materials, Row
from abnet.bench.inputs import Batch, Text
from abnet.bench.machine import Growth, device_name
from abnet.bench.rates import Rates
from abnet.bench.timing import Times, turns
from abnet.bench.work import multiply_adds
from abnet.errors import AbNetError

LARGEST = "largest"
MOST = 4096  # lines of the largest batch that is tried
LARGE_BATCHES = 2  # of the largest size; there is nothing to gain from more


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        batches: lines a batch; "largest" for the largest that fits a GPU, for each system its own.
        threads: of a CPU.
        repeats: rounds that are timed, after one that is not.
        count: batches a cell.
        minutes: for all; what does not fit is left out. `None` for no limit.

    Raises:
        AbNetError: a value is not allowed.
    """

    batches: tuple[int | str, ...] = (1, 8, 32)
    threads: tuple[int, ...] = (1, 2)
    repeats: int = 5
    count: int = 6
    minutes: float | None = None

    def __post_init__(self) -> None:
        for name in ("batches", "threads"):
            for value in getattr(self, name):
                if value != LARGEST and (not isinstance(value, int) or value < 1):
                    raise AbNetError(f"`{name}` must be at least 1, but is {value} instead.")
            if not getattr(self, name):
                raise AbNetError(f"`{name}` must name at least one, but is empty.")
        for name in ("repeats", "count"):
            if getattr(self, name) < 1:
                raise AbNetError(
                    f"`{name}` must be at least 1, but is {getattr(self, name)} instead."
                )
        if self.minutes is not None and self.minutes <= 0:
            raise AbNetError(f"`minutes` must be positive, but is {self.minutes} instead.")


@dataclass
class _Cell:
    """A row while its group is measured."""

    row: Row
    engine: Engine
    batches: list[Batch]
    seconds: float  # of a round
    peak: int | None
    times: Times = field(default_factory=Times)


class Bench:
    """Measures rows side by side.

    Args:
        rows: in the order in which they are to be kept if time is short.
        materials: of the systems.
        text: to translate.
        plan: what to measure.
        stamps: fields of every result, `run` and `size` among them.
        write: takes the name and the fields of each result.
        say: takes what a reader should know.
        begun: when the minutes of the plan began, as `time.monotonic` has it; by default now.

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
        self.forced = materials.checkpoint is None
        self.device = materials.device
        self.missing: set[str] = set()
        self.rates: dict[int, Rates] = {}  # by number of threads
        self.grown: dict[str, int] = {}  # by engines with an allocator of their own
        self.written = 0

    def run(self) -> int:
        """Measures all cells and returns how many results were written."""
        threads = self.plan.threads if self.device.type == "cpu" else self.plan.threads[:1]
        groups = [(count, batch) for count in threads for batch in self.plan.batches]
        before = torch.get_num_threads()
        try:
            for number, (count, batch) in enumerate(groups):
                torch.set_num_threads(count)
                self.materials.threads = count
                until = None
                if self.plan.minutes is not None:
                    left = self.begun + 60 * self.plan.minutes - time.monotonic()
                    until = time.monotonic() + left / (len(groups) - number)
                self._measure_group(batch, until)
        finally:
            torch.set_num_threads(before)
        return self.written

    def _measure_group(self, size: int | str, until: float | None) -> None:
        """All rows at one batch size and number of threads, in turn.

        Args:
            size: lines a batch.
            until: time at which to be done, as `time.monotonic` has it.
        """
        cells: list[_Cell] = []
        promised = 0.0
        for row in self.rows:
            if row.name in self.missing:
                continue
            name = f"{row.name}, batch {size}, {self._threads()}"
            if until is not None and time.monotonic() + promised >= until:
                self.say(f"skipped: {name}: no time left of its share of --minutes")
                continue
            try:
                cell = self._warm_up(row, size)
            except (AbNetError, ImportError) as error:
                self.missing.add(row.name)
                self.say(f"skipped: {row.name}: {error}")
                continue
            except RuntimeError as error:
                if "out of memory" not in str(error):
                    raise
                self.say(f"skipped: {name}: out of memory")
                continue
            needed = self.plan.repeats * cell.seconds * (1 if isinstance(size, int) else 2)
            if until is not None and time.monotonic() + promised + needed > until:
                self.say(
                    f"skipped: {name}: needs about {needed:.0f} s, more than its share of --minutes"
                )
                continue
            promised += needed
            cells.append(cell)
        for cell in turns(cells, self.plan.repeats):
            if size == LARGEST:  # what others left behind would be part of its time
                cell.engine.release()
                for batch in cell.batches:
                    self._translate(cell.engine, batch)
            cell.times.add_round(cell.engine, cell.batches, self.forced)
            if size == LARGEST:
                cell.engine.release()
        rates = self.rates.setdefault(self.materials.threads, Rates(self.device))
        for cell in cells:
            self._write(cell, size, rates)

    def _warm_up(self, row: Row, size: int | str) -> _Cell:
        """Builds the engine and translates each batch once."""
        engine = row.build(self.materials)
        if isinstance(size, int):
            batches = self.text.batches(size, self.plan.count)
        else:
            engine.release()
            batches = self.text.batches(self._largest(engine), LARGE_BATCHES)
        self._translate(engine, batches[-1])  # the longest
        with Growth(self.device, engine.in_torch) as growth:
            start = time.perf_counter()
            for batch in batches:
                self._translate(engine, batch)
            seconds = time.perf_counter() - start
        if size == LARGEST:
            engine.release()
        return _Cell(row, engine, batches, seconds, self._peak(row, engine, growth.most))

    def _peak(self, row: Row, engine: Engine, grown: int | None) -> int | None:
        """Weights and what decoding needs besides."""
        if grown is None:
            return None
        if self.device.type == "cuda" and not engine.in_torch:  # keeps what it once had
            self.grown[row.name] = grown = grown + self.grown.get(row.name, 0)
        return engine.weight_bytes + grown

    def _translate(self, engine: Engine, batch: Batch) -> None:
        encoded = engine.encode(batch.lines)
        engine.join(engine.decode(encoded, batch.length if self.forced else None))

    def _largest(self, engine: Engine) -> int:
        """The largest power of two of lines that fits, at most `MOST`.

        Raises:
            RuntimeError: not even one line fits.
        """
        return largest(
            lambda size: self._translate(engine, self.text.batches(size, LARGE_BATCHES)[-1]),
            engine.release,
        )

    def _write(self, cell: _Cell, size: int | str, rates: Rates) -> None:
        """Adds the floor and writes the result."""
        row, kind = cell.row, self.device.type
        fields: dict[str, Any] = {
            "kind": "speed",
            "row": row.name,
            "system": row.system,
            "peer": row.peer,
            "engine": row.engine,
            "decoding": row.decoding,
            "precision": row.precision,
            "device": device_name(self.device),
            "device_kind": kind,
            "threads": self.materials.threads,
            "batch": len(cell.batches[0].lines),
            "largest": size == LARGEST,
            "input": self.text.name,
            **cell.times.summary(cell.batches, self.forced),
        }
        if cell.peak is not None:
            fields["peak_memory_bytes"] = cell.peak
        fields.update(self._floor(cell, rates))
        name = f"speed-{kind}-{self.stamps['size']}-{self.text.name}-{row.name}-b{size}"
        self.write(name + (f"-t{self.materials.threads}" if kind == "cpu" else ""), {
            **fields, **self.stamps
        })  # fmt: skip
        self.written += 1
        self.say(
            f"{row.name}, batch {fields['batch']}, {self._threads()}: "
            f"{1000 * fields['median_s']:.1f} ms, {fields['sentences_per_s']:.1f} sentences/s, "
            f"{100 * fields.get('floor_share', 0):.0f} % of the floor's speed"
        )

    def _floor(self, cell: _Cell, rates: Rates) -> dict[str, Any]:
        """The least seconds of a batch, as a median over the batches, and how near they came."""
        floors, counts = [], []
        for batch in cell.batches:
            encoded = cell.engine.encode(batch.lines)
            products = cell.engine.work(encoded, batch.length if self.forced else None)
            if products is None:
                return {}
            floors.append(rates.floor(products, cell.row.dtype, cell.engine.weight_bytes))
            counts.append(multiply_adds(products))
        return {
            "multiply_adds": sum(counts) // len(counts),
            "floor_s": sorted(floors)[len(floors) // 2],
            "floor_share": sum(floors) / cell.times.seconds_a_round(),
        }

    def _threads(self) -> str:
        count = self.materials.threads
        return f"{count} thread{'s' if count > 1 else ''}"


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
