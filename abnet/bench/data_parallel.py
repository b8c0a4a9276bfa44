"""Steps of several processes that sum their gradients, as in data-parallel training."""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from abnet.bench.engine import Materials
from abnet.bench.learner import Learner, make_model
from abnet.bench.sizes import Size
from abnet.bench.training_batches import collate
from abnet.bench.ways import Way
from abnet.tokenizer import Tokenizer


class Together(NamedTuple):
    """What was measured of several processes, in the first of them.

    Attributes:
        seconds: of every step in every round.
        reduced_bytes: what a step passed to `torch.distributed.all_reduce`.
        kernels: see `Learner.kernels`.
    """

    seconds: list[list[float]]
    reduced_bytes: int
    kernels: dict[str, str]


class _Task(NamedTuple):
    """What a process is told."""

    processes: int
    device_kind: str
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
) -> Together:
    """Trains in processes that each draw masks of their own for the same batches.

    Args:
        processes: how many, each with the threads of the materials or, through NCCL, a GPU.
        materials: of the systems.
        way: to train.
        encoded: ids of the two sides.
        chosen: lines of each batch, see `choose_lines`.
        repeats: rounds that are timed, after one that is not.
    """
    source, target = (tokenizer.name for tokenizer in materials.tokenizers)
    with tempfile.TemporaryDirectory(prefix="abnet-processes-") as folder:
        task = _Task(
            processes, materials.device.type, materials.threads, materials.size, (source, target),
            way, encoded, chosen, repeats, folder,
        )  # fmt: skip
        start: Any = spawn
        start(_work, args=(task,), nprocs=processes)
        return Together(**json.loads((Path(folder) / "found.json").read_text()))


def _work(rank: int, task: _Task) -> None:
    """One process; the first one notes what it finds."""
    torch.set_num_threads(task.threads)
    torch.manual_seed(1)
    device = torch.device("cpu")
    if task.device_kind == "cuda":
        device = torch.device("cuda", rank)
        torch.cuda.set_device(device)
    dist.init_process_group(
        "gloo" if device.type == "cpu" else "nccl",
        init_method=f"file://{task.folder}/meeting", rank=rank, world_size=task.processes,
        device_id=None if device.type == "cpu" else device,
    )  # fmt: skip
    try:
        tokenizers = tuple(Tokenizer.from_pretrained(name) for name in task.berts)
        materials = Materials(task.size, tokenizers, device, task.folder, task.threads)  # type: ignore[arg-type]
        learner = Learner(make_model(materials, task.way), task.way, sum_gradients)
        batches = [
            collate(lines, task.encoded, materials.tokenizers, device) for lines in task.chosen
        ]
        seconds: list[list[float]] = []
        for number in range(task.repeats + 1):
            seconds.append([])
            for at, batch in enumerate(batches):
                start = _meet(device)
                learner.step(batch, seed=at * task.processes + rank)
                seconds[number].append(_meet(device) - start)
        with counted_bytes() as counted:
            kernels = learner.kernels(batches[0], seed=rank)
        if rank == 0:
            found = Together(seconds[1:], sum(counted), kernels)
            (Path(task.folder) / "found.json").write_text(json.dumps(found._asdict()))
    finally:
        dist.destroy_process_group()


def _meet(device: torch.device) -> float:
    """The time when all processes and their devices have done what they were told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    dist.barrier()
    if device.type == "cuda":
        torch.cuda.synchronize(device)  # the barrier itself is work of the device
    return time.perf_counter()


@contextlib.contextmanager
def counted_bytes() -> Iterator[list[int]]:
    """The bytes of each tensor that is passed to `torch.distributed.all_reduce` inside a `with`."""
    counted: list[int] = []
    reduce = dist.all_reduce

    def count(tensor: Tensor, *args: Any, **options: Any) -> Any:
        counted.append(tensor.nbytes)
        return reduce(tensor, *args, **options)

    dist.all_reduce = count
    try:
        yield counted
    finally:
        dist.all_reduce = reduce


def sum_gradients(gradients: Sequence[Tensor]) -> None:
    """Each gradient becomes the mean of all processes', by one all-reduce of all values."""
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    at = 0
    for gradient in gradients:
        gradient.copy_(flat[at : at + gradient.numel()].view_as(gradient))
        at += gradient.numel()
