"""What training waits for its batches, when a worker makes them while the steps go on."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset

from abnet.bench.training_batches import TrainingBatch, collate
from abnet.tokenizer import Tokenizer
from abnet.training.objective import Pairs

Encoded = tuple[Sequence[list[int]], Sequence[list[int]]]


class Waiting(NamedTuple):
    """How long batches are waited for.

    Attributes:
        share: of the time of all steps, the waiting counted.
        step_s: seconds of a step with its waiting, the median.
    """

    share: float
    step_s: float


class _HostBatches(Dataset[Pairs]):
    """The batches of all rounds, each padded anew when it is asked for."""

    def __init__(
        self, chosen: list[list[int]], encoded: Encoded, tokenizers: tuple[Tokenizer, Tokenizer],
        rounds: int,
    ) -> None:  # fmt: skip
        self.chosen = chosen
        self.encoded = encoded
        self.tokenizers = tokenizers
        self.rounds = rounds

    def __len__(self) -> int:
        return self.rounds * len(self.chosen)

    def __getitem__(self, at: int) -> Pairs:
        lines = self.chosen[at % len(self.chosen)]
        return collate(lines, self.encoded, self.tokenizers, torch.device("cpu")).pairs


def measure_waiting(
    step: Callable[[TrainingBatch], object],
    batches: list[TrainingBatch],
    chosen: list[list[int]],
    encoded: Encoded,
    tokenizers: tuple[Tokenizer, Tokenizer],
    rounds: int,
) -> Waiting:
    """Trains on batches that come from one worker process, two ahead at most, as in training.

    Waiting is all from the end of a step until the next batch is on the device. The device is
    waited for after each, so that nothing hides behind work: on a GPU the share is the most that
    it can be.

    Args:
        step: one update.
        batches: ready, on the device: those with masks keep them.
        chosen: lines of each batch.
        encoded: ids of the two sides.
        tokenizers: of the two sides.
        rounds: over all batches that are timed, after one that is not.
    """
    device = batches[0].pairs.target.device
    on_gpu = device.type == "cuda"
    source = _HostBatches(chosen, encoded, tokenizers, rounds + 1)
    loader = DataLoader(source, batch_size=None, num_workers=1, pin_memory=on_gpu)
    waited, whole = [], []
    start = _now(device)
    for at, pairs in enumerate(loader):
        moved = pairs._replace(
            source=pairs.source.to(device, non_blocking=True),
            target=pairs.target.to(device, non_blocking=True),
        )
        ready = _now(device)
        step(replace(batches[at % len(batches)], pairs=moved))
        end = _now(device)
        if at >= len(batches):
            waited.append(ready - start)
            whole.append(end - start)
        start = end
    return Waiting(sum(waited) / sum(whole), statistics.median(whole))


def _now(device: torch.device) -> float:
    """The time when the device has done all it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def shuffle_lines(encoded: Encoded, tokens: int, count: int) -> list[list[int]]:
    """The pairs of `count` batches of any length, each filled in an order of its own.

    Either side of a batch has at most `tokens` positions, padding and ends counted, as in
    `choose_lines`; pairs that alone have more are left out.

    Args:
        encoded: ids of the two sides, without ends.
        tokens: as fairseq's `--max-tokens`.
        count: of batches.
    """
    sizes = [max(len(a), len(b)) + 1 for a, b in zip(*encoded, strict=True)]
    fit = [at for at, size in enumerate(sizes) if size <= tokens]
    batches = []
    for number in range(count):
        batch: list[int] = []
        longest = 0
        for at in random.Random(number).sample(fit, len(fit)):
            longest = max(longest, sizes[at])
            if longest * (len(batch) + 1) > tokens:
                break
            batch.append(at)
        batches.append(batch)
    return batches
