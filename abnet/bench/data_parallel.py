"""Steps of several processes on a CPU that sum their gradients, as in data-parallel training."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from abnet.bench.engine import Materials
from abnet.bench.learner import Learner, Way, make_model
from abnet.bench.sizes import Size
from abnet.bench.training_batches import collate
from abnet.tokenizer import Tokenizer


class _Task(NamedTuple):
    """What a process is told."""

    processes: int
    threads: int
    size: Size
    berts: tuple[str, str]
    way: Way
    encoded: tuple[Sequence[list[int]], Sequence[list[int]]]
    chosen: list[list[int]]
    repeats: int
    folder: str


def measure_processes(
    processes: int,
    materials: Materials,
    way: Way,
    encoded: tuple[Sequence[list[int]], Sequence[list[int]]],
    chosen: list[list[int]],
    repeats: int,
) -> list[list[float]]:
    """Seconds of every step in every round, where each process has a batch of its own size.

    Args:
        processes: how many, each with the threads of the materials.
        materials: of the systems.
        way: to train.
        encoded: ids of the two sides.
        chosen: lines of each batch, see `choose_lines`.
        repeats: rounds that are timed, after one that is not.
    """
    source, target = (tokenizer.name for tokenizer in materials.tokenizers)
    with tempfile.TemporaryDirectory(prefix="abnet-processes-") as folder:
        task = _Task(
            processes, materials.threads, materials.size, (source, target), way, encoded, chosen,
            repeats, folder,
        )  # fmt: skip
        start: Any = spawn
        start(_work, args=(task,), nprocs=processes)
        found: list[list[float]] = json.loads((Path(folder) / "seconds.json").read_text())
    return found


def _work(rank: int, task: _Task) -> None:
    """One process; the first one notes its times."""
    torch.set_num_threads(task.threads)
    torch.manual_seed(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{task.folder}/meeting", rank=rank, world_size=task.processes
    )
    try:
        tokenizers = tuple(Tokenizer.from_pretrained(name) for name in task.berts)
        device = torch.device("cpu")
        materials = Materials(task.size, tokenizers, device, task.folder, task.threads)  # type: ignore[arg-type]
        model = make_model(materials, task.way.system, bf16="bf16" in task.way.measures)
        learner = Learner(model, task.way, sum_gradients)
        batches = [
            collate(lines, task.encoded, materials.tokenizers, device) for lines in task.chosen
        ]
        seconds: list[list[float]] = []
        for number in range(task.repeats + 1):
            seconds.append([])
            for at, batch in enumerate(batches):
                dist.barrier()
                start = time.perf_counter()
                learner.step(batch, seed=at * task.processes + rank)
                dist.barrier()
                seconds[number].append(time.perf_counter() - start)
        if rank == 0:
            (Path(task.folder) / "seconds.json").write_text(json.dumps(seconds[1:]))
    finally:
        dist.destroy_process_group()


def sum_gradients(gradients: Sequence[Tensor]) -> None:
    """Each gradient becomes the mean of all processes', by one all-reduce of all values."""
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    at = 0
    for gradient in gradients:
        gradient.copy_(flat[at : at + gradient.numel()].view_as(gradient))
        at += gradient.numel()
