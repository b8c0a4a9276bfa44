"""Systems that only pretend, and what a run over them writes and says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from abnet.bench.engine import Materials, Output, Row
from abnet.bench.inputs import Line, Text
from abnet.bench.plan import Plan
from abnet.bench.run import Bench
from abnet.bench.work import Product

TEXT = Text("x", [Line("eins zwei", 2, length) for length in (3, 5, 8)], 0)


class Pretender:
    """Notes what it is asked for; "a" knows its work."""

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
    """In place of the module `time`: only those who pretend let it go on."""

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


class Written(dict[str, dict[str, Any]]):
    """Results by name: the last ones, and how many fields each time."""

    def __init__(self) -> None:
        self.fields: list[tuple[str, bool]] = []  # names, and whether with a floor

    def put(self, name: str, result: dict[str, Any]) -> None:
        self.fields.append((name, "floor_s" in result))
        self[name] = result


def bench(
    rows: list[Row], materials: Materials, plan: Plan, failed: Sequence[str] = (), **more: Any
) -> tuple[Written, list[str]]:
    """Results, and what was said."""
    written, said = Written(), list[str]()
    found = Bench(
        rows, materials, TEXT, plan, {"size": "tiny", "run": "r"}, written.put, said.append, **more
    )
    assert found.run() == len(written)
    assert found.attempt.failed == list(failed)
    return written, said
