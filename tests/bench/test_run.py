"""A run over all cells, with systems that only pretend."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
import torch

from abnet.bench.engine import Materials, Output, Row
from abnet.bench.inputs import Line, Text
from abnet.bench.run import Bench, Plan, largest
from abnet.bench.work import Product
from abnet.errors import AbNetError

TEXT = Text("x", [Line("eins zwei", 2, length) for length in (3, 5, 8)], 0)


class Pretender:
    """Notes what it is asked for."""

    in_torch = True
    weight_bytes = 100

    def __init__(self, name: str, log: list[str], spend: Callable[[], None]) -> None:
        self.name, self.log, self.spend = name, log, spend

    def encode(self, lines: Sequence[str]) -> Any:
        return lines

    def decode(self, encoded: Any, length: int | None) -> Output:
        if len(encoded) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.log.append(self.name)
        self.spend()
        return Output(list(encoded), [length or 1] * len(encoded), 10)

    def join(self, output: Output) -> list[str]:
        return output.sentences

    def work(self, encoded: Any, length: int | None) -> list[Product] | None:
        return [Product(8, 16, 16)] if self.name == "a" else None

    def release(self) -> None:
        self.log.append("release")


class Clock:
    """In place of the module `time`: only pretenders let it go on."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    perf_counter = monotonic

    def spend(self, seconds: float) -> None:
        self.now += seconds


def row(name: str, log: list[str], spend: Callable[[], None] = lambda: None) -> Row:
    return Row(
        name, "abnet", False, "abnet", "1 pass", "float32", lambda _: Pretender(name, log, spend)
    )


def bench(rows: list[Row], materials: Materials, plan: Plan, **more: Any) -> tuple[Any, list[str]]:
    """Results by name, and what was said."""
    written: dict[str, dict[str, Any]] = {}
    said: list[str] = []
    found = Bench(
        rows, materials, TEXT, plan, {"size": "tiny", "run": "r"}, written.__setitem__, said.append,
        **more,
    )  # fmt: skip
    assert found.run() == len(written)
    return written, said


def test_systems_take_turns_and_every_cell_is_written(
    materials: Materials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("abnet.bench.rates.ENOUGH", 1e-5)
    log: list[str] = []
    plan = Plan(batches=(2,), threads=(1, 2), repeats=3, count=2)
    before = torch.get_num_threads()
    results, _ = bench([row("a", log), row("b", log)], materials, plan)
    assert torch.get_num_threads() == before
    half = log[: len(log) // 2]
    warm = list("aaabbb")  # the longest one first, then all
    turns = list("aabbbbaaaabb")
    assert half == warm + turns
    assert sorted(results) == [
        f"speed-cpu-tiny-x-{name}-b2-t{threads}" for name in "ab" for threads in (1, 2)
    ]
    result = results["speed-cpu-tiny-x-a-b2-t2"]
    assert (result["threads"], result["batch"], result["passes"]) == (2, 2, 10)
    assert result["multiply_adds"] == 8 * 16 * 16
    assert result["floor_share"] == pytest.approx(
        2 * result["floor_s"] * result["sentences_per_s"] / 4
    )
    assert result["peak_memory_bytes"] >= 100
    assert "floor_s" not in results["speed-cpu-tiny-x-b-b2-t2"]


def test_what_does_not_fit_the_minutes_is_said(
    materials: Materials, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, log = Clock(), list[str]()
    monkeypatch.setattr("abnet.bench.run.time", clock)
    rows = [row(name, log, partial(clock.spend, 1.0)) for name in ("b", "d")]
    rows.insert(1, row("slow", log, partial(clock.spend, 10.0)))
    plan = Plan(batches=(1, 2), threads=(1,), repeats=5, count=1, minutes=1.5)
    results, said = bench(rows, materials, plan)
    # 45 s for batch 1: b takes 2 + 5 and slow 20, so that its 50 are too many, d has 2 + 5; then
    # 56 s are left, too few again.
    assert [name[-7:] for name in results] == ["b-b1-t1", "d-b1-t1", "b-b2-t1", "d-b2-t1"]
    assert [line for line in said if line.startswith("skipped")] == [
        f"skipped: slow, batch {size}, 1 thread: needs about 50 s, more than its share of --minutes"
        for size in (1, 2)
    ]
    results, said = bench(rows, materials, plan, begun=clock.now - 90)
    assert not results
    assert said[0] == "skipped: b, batch 1, 1 thread: no time left of its share of --minutes"


def test_what_cannot_run_is_said_once(materials: Materials) -> None:
    def missing(_: Materials) -> Any:
        raise AbNetError("it is not installed")

    log: list[str] = []
    absent = Row("gone", "x", True, "x", "x", "float32", missing)
    plan = Plan(batches=(1, 16), threads=(1,), repeats=1, count=1)
    results, said = bench([absent, row("b", log)], materials, plan)
    assert list(results) == ["speed-cpu-tiny-x-b-b1-t1"]
    assert [line for line in said if line.startswith("skipped")] == [
        "skipped: gone: it is not installed",
        "skipped: b, batch 16, 1 thread: out of memory",
    ]


def test_other_errors_are_not_hidden(materials: Materials) -> None:
    def broken(_: Materials) -> Any:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        bench([Row("x", "x", True, "x", "x", "float32", broken)], materials, Plan((1,), (1,)))


def test_the_largest_batch_is_searched_by_doubling() -> None:
    tried: list[int] = []
    released = itertools.count()

    def attempt(size: int) -> None:
        tried.append(size)
        if size > 20:
            raise torch.OutOfMemoryError("out of memory")

    assert largest(attempt, lambda: next(released), most=64) == 16
    assert tried == [1, 2, 4, 8, 16, 32]
    assert next(released) == 6
    assert largest(lambda size: None, lambda: None, most=64) == 64
    with pytest.raises(torch.OutOfMemoryError):
        largest(lambda size: attempt(size + 20), lambda: None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batches": (0,)}, "`batches` must be at least 1, but is 0 instead"),
        ({"threads": ()}, "`threads` must name at least one, but is empty"),
        ({"repeats": 0}, "`repeats` must be at least 1, but is 0 instead"),
        ({"count": 0}, "`count` must be at least 1, but is 0 instead"),
        ({"minutes": 0.0}, r"`minutes` must be positive, but is 0\.0 instead"),
    ],
)
def test_improper_plans_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(AbNetError, match=message):
        Plan(**given)


def test_the_largest_batch_needs_a_gpu(materials: Materials) -> None:
    with pytest.raises(AbNetError, match="must be numbers on a CPU: the largest is found on a GPU"):
        bench([], materials, Plan(batches=("largest",)))
