"""A run over all cells, with systems that only pretend."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from abnet.bench.deadline import Deadline, OutOfTimeError
from abnet.bench.engine import Materials, Row
from abnet.bench.plan import Plan
from abnet.bench.rates import PASSES, Rates
from abnet.bench.run import Bench
from abnet.bench.work import Product
from abnet.errors import AbNetError
from tests.bench.pretending import TEXT, Clock, Pretender, Written, bench, row


def test_systems_take_turns_and_every_cell_is_written(
    materials: Materials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("abnet.bench.rates.ENOUGH", 1e-5)
    log: list[str] = []
    threads: list[int] = []

    def note() -> None:
        threads.append(torch.get_num_threads())

    plan = Plan(batches=(2,), threads=(1, 2), repeats=3, count=2)
    before = torch.get_num_threads()
    results, _ = bench([row("a", log, note), row("b", log, note)], materials, plan)
    assert torch.get_num_threads() == before
    warm = ["a1"] * 3 + ["b1"] * 3 + ["a2"] * 3 + ["b2"] * 3  # the longest one first, then all
    turns = "a1 b1 a2 b2 b1 a2 b2 a1 a2 b2 a1 b1".split()
    twice = [one for one in turns for _ in range(2)]
    assert [f"{name}{count}" for name, count in zip(log, threads, strict=True)] == warm + twice
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


def test_a_cell_is_written_when_its_rounds_are_done_and_again_with_its_floor(
    materials: Materials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("abnet.bench.rates.ENOUGH", 1e-5)
    log: list[str] = []
    written = Written()

    def write(name: str, result: dict[str, Any]) -> None:
        written.put(name, result)
        log.append("written")

    plan = Plan(batches=(1,), threads=(1,), repeats=1, count=1)
    Bench([row("a", log), row("b", log)], materials, TEXT, plan, {"size": "tiny"}, write).run()
    assert log == ["a", "a", "b", "b", "a", "written", "b", "written", "written", "written"]
    first, second = (f"speed-cpu-tiny-x-{name}-b1-t1" for name in "ab")
    assert written.fields == [(first, False), (second, False), (first, True), (first, True)]


def test_what_is_compiled_has_more_calls_before_those_that_count(materials: Materials) -> None:
    log: list[str] = []
    compiled = replace(row("b", log), compiled=True)
    plan = Plan(batches=(1,), threads=(1,), repeats=1, count=2)
    results, _ = bench([compiled], materials, plan)
    assert len(log) == 1 + 3 * 2 + 2 + 2  # the longest, recordings, warm-up, the round
    assert "peak_memory_bytes" not in results["speed-cpu-tiny-x-b-b1-t1"]
    searching = Bench([compiled], materials, TEXT, plan, {}, Written().put, log.append)
    searching._measure_group("largest", Deadline(0.0, None))
    assert log[-1] == (
        "skipped: b, batch largest, 1 thread: every size of the search would be compiled"
    )


def test_a_rate_is_measured_once_for_all_texts(
    materials: Materials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("abnet.bench.rates.ENOUGH", 1e-5)
    measured: list[int] = []
    measure = Rates._measure

    def count(self: Rates, work: Callable[[], object]) -> float:
        measured.append(torch.get_num_threads())
        return measure(self, work)

    monkeypatch.setattr(Rates, "_measure", count)
    rates: dict[int, Rates] = {}
    plan = Plan(batches=(1, 2), threads=(1, 2), repeats=1, count=1)
    for _ in range(2):
        results, _ = bench([row("a", [])], materials, plan, rates=rates)
        assert all("floor_s" in result for result in results.values())
    assert set(rates) == {1, 2}
    each = [1] * 3, [2] * 3  # two ways to multiply, and the bandwidth
    assert measured == [*each[0], *each[1], *(PASSES - 1) * each[0], *(PASSES - 1) * each[1]]


def test_what_does_not_fit_the_minutes_is_said(materials: Materials, clock: Clock) -> None:
    log: list[str] = []
    rows = [row(name, log, partial(clock.spend, 1.0)) for name in ("b", "d")]
    rows.insert(1, row("slow", log, partial(clock.spend, 10.0)))
    plan = Plan(batches=(1, 2), threads=(1,), repeats=5, count=1, minutes=2)
    results, said = bench(rows, materials, plan)
    # 40 s for batch 1: b takes 2 + 5 and slow 20, so that its 50 are too many, d has 2 + 5; then
    # 43 s are left for batch 2, too few again.
    assert [name[-7:] for name in results] == ["b-b1-t1", "d-b1-t1", "b-b2-t1", "d-b2-t1"]
    assert [line for line in said if line.startswith("skipped")] == [
        f"skipped: slow, batch {size}, 1 thread: needs about 50 s, more than its share of --minutes"
        for size in (1, 2)
    ]
    results, said = bench(rows, materials, plan, begun=clock.now - 120)
    assert not results
    assert said[0] == "skipped: b, batch 1, 1 thread: no time left of its share of --minutes"


def test_the_clock_is_looked_at_in_warm_up_and_floors(
    materials: Materials, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: list[str] = []
    plan = Plan(batches=(1,), threads=(1,), repeats=1, count=4, minutes=1)
    late = "no time left of its share of --minutes"
    _, said = bench([row("slow", log, partial(clock.spend, 14.0))], materials, plan)
    assert log == 3 * ["slow"]  # of five: its share is half a minute
    assert said == [f"skipped: slow, batch 1, 1 thread: {late}"]

    def spend_all(self: Rates, product: Product, dtype: torch.dtype) -> float:
        clock.spend(40.0)
        return 1e-9

    monkeypatch.setattr(Rates, "seconds", spend_all)
    plan = Plan(batches=(1, 2), threads=(1,), repeats=1, count=4, minutes=1)
    results, said = bench([row("a", log)], materials, plan, begun=clock.now)
    assert ["floor_s" in result for result in results.values()] == [False, False]
    assert said[2:] == [
        f"skipped: a, batch 1, 1 thread, its floor: {late}",
        f"skipped: a, batch 2, 1 thread, its floor: {late}",
        f"skipped: all passes over the rates of products, 1 thread: {late}",
    ]


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


def test_a_row_that_fails_stops_no_other(
    materials: Materials, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("abnet.bench.rates.ENOUGH", 1e-5)
    log: list[str] = []

    def fail_at(name: str, call: int) -> Callable[[], None]:
        def spend() -> None:
            if log.count(name) == call:
                raise RuntimeError(f"{name} has a bug")

        return spend

    rows = [row(name, log, fail_at(name, call)) for name, call in (("early", 1), ("late", 4))]
    plan = Plan((1,), (1,), repeats=4, count=1)
    failed = [f"{name}, batch 1, 1 thread" for name in ("early", "late")]
    results, said = bench([*rows, row("a", log)], materials, plan, failed)
    assert list(results) == ["speed-cpu-tiny-x-a-b1-t1"]
    assert results["speed-cpu-tiny-x-a-b1-t1"]["floor_s"] > 0
    assert (log.count("early"), log.count("late"), log.count("a")) == (1, 4, 2 + 4)
    assert said[:2] == [
        f"failed: {name}, batch 1, 1 thread: RuntimeError: {name} has a bug"
        for name in ("early", "late")
    ]
    errors = capsys.readouterr().err
    for name in ("early", "late"):
        assert f"failed: {name}, batch 1, 1 thread\nTraceback" in errors


def test_a_floor_that_fails_leaves_the_row(
    materials: Materials, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Rates, product: Product, dtype: torch.dtype) -> float:
        raise RuntimeError("self.size(1) needs to be a multiple of 8")

    monkeypatch.setattr(Rates, "seconds", refuse)
    failed = ["a, batch 1, 1 thread, its floor"]
    plan = Plan((1,), (1,), repeats=1, count=1)
    results, _ = bench([row("a", []), row("b", [])], materials, plan, failed)
    assert [("floor_s" in result, result["median_s"] > 0) for result in results.values()] == [
        (False, True),
        (False, True),
    ]


def test_models_are_built_with_all_threads_and_in_no_groups_time(
    materials: Materials, clock: Clock
) -> None:
    log: list[str] = []
    threads: list[int] = []
    before = torch.get_num_threads()
    torch.set_num_threads(2)

    def build(_: Materials) -> Pretender:
        threads.append(torch.get_num_threads())
        clock.spend(50.0)
        return Pretender("b", log, partial(clock.spend, 1.0))

    rows = [replace(row(name, log), build=build) for name in "bcd"]
    plan = Plan(batches=(1,), threads=(1,), repeats=5, count=1, minutes=3)
    try:
        results, said = bench(rows, materials, plan)
    finally:
        torch.set_num_threads(before)
    # each takes 50 + 2 + 5 s: the group's 90 s are of the latter
    assert sorted(name[-7:] for name in results) == ["b-b1-t1", "c-b1-t1", "d-b1-t1"]
    assert threads == [2, 2, 2]
    assert not [line for line in said if line.startswith("skipped")]


def test_what_is_done_aside_still_takes_the_minutes(clock: Clock) -> None:
    deadline = Deadline(0.0, minutes=2, parts=4)
    with deadline.aside():
        clock.spend(50.0)
    assert deadline.until == 80
    deadline.keep(20.0)
    assert deadline.until == 60
    with pytest.raises(OutOfTimeError, match="needs about 11 s, more than its share of --minutes"):
        deadline.keep(11.0)
    with deadline.aside():
        clock.spend(49.0)
    assert deadline.until == 100  # 20 of 120 are kept
    with deadline.aside():
        clock.spend(9.0)
    with pytest.raises(OutOfTimeError, match="no time left of its share of --minutes"):
        deadline.check()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batches": (0,)}, "`batches` must be at least 1, but is 0 instead"),
        ({"threads": ()}, "`threads` must name at least one, but is empty"),
        ({"repeats": 0}, "`repeats` must be at least 1, but is 0 instead"),
        ({"count": 0}, "`count` must be at least 1, but is 0 instead"),
        ({"minutes": 0.0}, r"`minutes` must be positive, but is 0\.0 instead"),
        ({"minutes": math.nan}, "`minutes` must be positive, but is nan instead"),
    ],
)
def test_improper_plans_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(AbNetError, match=message):
        Plan(**given)


def test_the_largest_batch_needs_a_gpu(materials: Materials) -> None:
    with pytest.raises(AbNetError, match="must be numbers on a CPU: the largest is found on a GPU"):
        bench([], materials, Plan(batches=("largest",)))
