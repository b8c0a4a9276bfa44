"""The largest batch that fits, and a GPU that only pretends."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from abnet.bench.deadline import Deadline, OutOfTimeError
from abnet.bench.engine import Materials
from abnet.bench.largest import Found, largest
from abnet.bench.machine import Growth
from abnet.bench.plan import Plan
from abnet.bench.run import Bench
from tests.bench.pretending import TEXT, Clock, Pretender, Written, bench, row


class Memory:
    """Has room for some lines."""

    def __init__(self, room: int, error: str = "CUDA out of memory") -> None:
        self.room, self.error = room, error
        self.tried: list[int] = []

    def attempt(self, size: int) -> None:
        self.tried.append(size)
        if size > self.room:
            raise RuntimeError(self.error)


@pytest.mark.parametrize(
    ("room", "found", "between"),
    [(20, 20, [24, 20]), (30, 28, [24, 28]), (16, 16, [24, 20])],
)
def test_the_largest_batch_is_searched_by_doubling_and_halving(
    room: int, found: int, between: list[int]
) -> None:
    memory, released = Memory(room), itertools.count()
    assert largest(memory.attempt, lambda: next(released), most=64) == Found(found)
    assert memory.tried == [1, 2, 4, 8, 16, 32, *between]
    assert next(released) == 8


def test_few_lines_that_fit_have_nothing_between() -> None:
    memory = Memory(1)
    assert largest(memory.attempt, lambda: None) == Found(1)
    assert memory.tried == [1, 2]
    with pytest.raises(RuntimeError, match="CUDA out of memory"):
        largest(Memory(0).attempt, lambda: None)


def test_a_search_that_memory_does_not_end_is_capped() -> None:
    assert largest(lambda size: None, lambda: None) == Found(65536, capped=True)
    kernel = Memory(20, "invalid configuration argument")
    found = largest(kernel.attempt, lambda: None)
    assert found == Found(16, capped=True, trouble="invalid configuration argument")
    assert kernel.tried[-1] == 32


def test_the_search_for_the_largest_batch_ends_with_the_minutes(
    materials: Materials, clock: Clock
) -> None:
    log: list[str] = []
    searching = Bench([], materials, TEXT, Plan((1,), (1,)), {}, Written().put)
    late = "no time left of its share of --minutes"
    with pytest.raises(OutOfTimeError, match=late):
        searching._warm_up(
            row("b", log, partial(clock.spend, 25.0)), "b", "largest", Deadline(0.0, 1.0)
        )
    assert log == ["release", "b", "release", "b", "release", "b", "release", "release", "release"]


@pytest.fixture
def on_gpu(materials: Materials, monkeypatch: pytest.MonkeyPatch) -> Materials:
    """Of a GPU that only pretends, and that has no memory to look at."""
    monkeypatch.setattr("abnet.bench.run.device_name", lambda device: "H100")
    monkeypatch.setattr("abnet.bench.run.Growth", Known)
    return replace(materials, device=torch.device("cuda"))


class Known(Growth):
    """Memory on a GPU grows by 30 bytes, where torch holds it."""

    def __enter__(self) -> Growth:
        return super().__enter__() if not self.in_torch else self

    def __exit__(self, *error: object) -> None:
        self.most = 30 if self.in_torch else None


def test_the_largest_batch_is_written_after_its_search_and_after_two_rounds(
    on_gpu: Materials,
) -> None:
    log: list[str] = []
    repeats: list[tuple[str, int]] = []

    def write(name: str, result: dict[str, Any]) -> None:
        log.append("written")
        repeats.append((name, result["repeats"]))
        assert (result["batch"], result["batches"], result["largest"]) == (8, 1, True)
        assert "capped" not in result

    plan = Plan(batches=("largest",), threads=(1,), repeats=5, count=6)
    rows = [row("b", log), row("d", log)]
    assert Bench(rows, on_gpu, TEXT, plan, {"size": "tiny"}, write).run() == 2
    names = [f"speed-cuda-tiny-x-{name}-blargest" for name in "bd"]
    assert repeats == [(names[0], 1), (names[1], 1), (names[1], 2), (names[0], 2)]
    calls = [entry for entry in log if entry != "release"]
    searched = 4 + 1  # 1, 2, 4, 8 lines, and once for its memory
    assert calls == [
        *searched * "b", *2 * "b", "written", *searched * "d", *2 * "d", "written",
        *2 * "d", "written", *2 * "b", "written",
    ]  # fmt: skip


def test_a_search_that_was_capped_shows_in_the_row(
    on_gpu: Materials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("abnet.bench.run.largest", partial(largest, most=4))
    plan = Plan(batches=("largest",), threads=(1,), repeats=1)
    results, _ = bench([row("b", [])], on_gpu, plan)
    result = results["speed-cuda-tiny-x-b-blargest"]
    assert (result["batch"], result["capped"], result["repeats"]) == (4, True, 1)


def test_memory_on_a_gpu_is_known_where_torch_holds_it(on_gpu: Materials) -> None:
    """The pool of another engine keeps what it once had."""

    class Pool(Pretender):
        in_torch = False

    other = replace(row("other", []), build=lambda _: Pool("other", [], lambda: None))
    plan = Plan(batches=(1,), threads=(1,), repeats=1, count=1)
    results, _ = bench([row("b", []), other], on_gpu, plan)
    assert results["speed-cuda-tiny-x-b-b1"]["peak_memory_bytes"] == 130
    assert "peak_memory_bytes" not in results["speed-cuda-tiny-x-other-b1"]
    with Growth(torch.device("cuda"), in_torch=False) as growth:
        pass
    assert growth.most is None
