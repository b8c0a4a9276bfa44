"""Times of one system, and the order in which systems take turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from abnet.bench.engine import Engine, Output
from abnet.bench.inputs import Batch

Item = TypeVar("Item")


@dataclass
class Times:
    """Seconds of every batch in every round: `decoding[round][batch]`.

    Attributes:
        decoding: ids to ids.
        whole: raw text to raw text.
        outputs: of the last round.
    """

    decoding: list[list[float]] = field(default_factory=list)
    whole: list[list[float]] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)

    def add_round(self, engine: Engine, batches: Sequence[Batch], forced: bool) -> None:
        """Translates all batches once, each on its own."""
        self.decoding.append([])
        self.whole.append([])
        self.outputs = []
        for batch in batches:
            start = time.perf_counter()
            encoded = engine.encode(batch.lines)
            ready = time.perf_counter()
            output = engine.decode(encoded, batch.length if forced else None)
            done = time.perf_counter()
            engine.join(output)
            end = time.perf_counter()
            self.decoding[-1].append(done - ready)
            self.whole[-1].append(end - start)
            self.outputs.append(output)

    def seconds_a_round(self) -> float:
        """Of decoding all batches: the median of the rounds."""
        return statistics.median(map(sum, self.decoding))

    def summary(self, batches: Sequence[Batch], forced: bool) -> dict[str, Any]:
        """The fields of a result that come from the times.

        Target tokens are those of the references where lengths are forced, for all systems alike,
        and else those written.
        """
        seconds = self.seconds_a_round()
        sentences = sum(len(batch.lines) for batch in batches)
        tokens = sum(batch.length * len(batch.lines) for batch in batches)
        if not forced:
            tokens = sum(sum(output.lengths) for output in self.outputs)
        each = [time for times in self.decoding for time in times]
        return {
            "repeats": len(self.decoding),
            "batches": len(batches),
            "passes": round(statistics.mean(output.passes for output in self.outputs), 2),
            "median_s": statistics.median(each),
            "p95_s": percentile(each, 95),
            "with_tokenization_s": statistics.median(t for times in self.whole for t in times),
            "sentences_per_s": sentences / seconds,
            "tokens_per_s": tokens / seconds,
        }


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` % of the values are, between the two nearest linearly."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * share / 100
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def turns(items: Sequence[Item], rounds: int) -> Iterator[Item]:
    """Every item once a round; each round begins with the next one, so that none is favoured."""
    for number in range(rounds):
        start = number % len(items) if items else 0
        yield from items[start:]
        yield from items[:start]
