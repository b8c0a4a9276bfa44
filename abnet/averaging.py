"""The mean of several checkpoints of one training run."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import torch

from abnet.checkpoint import CheckpointContents, read_checkpoint
from abnet.errors import AbNetError
from abnet.identity import check_identities
from abnet.warm_start import computed_by

_PERIODIC = re.compile(r"checkpoint(?:(\d+)|_(\d+)_(\d+))\.pt")  # epoch's end, or within it
_LAST = "checkpoint_last.pt"
_BEST = re.compile(r"checkpoint\.best_(?P<metric>.+)_(?P<value>-?\d+(?:\.\d+)?)\.pt")


def average_checkpoints(paths: Sequence[str | Path]) -> CheckpointContents:
    """Averages the trained weights; the rest is the first checkpoint's, less its optimizer state.

    The means of weights in 16 bits have 32, which such an average makes use of.

    Raises:
        AbNetError: no checkpoints, or they are not of one model and one pair of BERTs.
    """
    if not paths:
        raise AbNetError("`paths` must name at least one checkpoint, but is empty instead.")
    first = read_checkpoint(paths[0])
    sums = {name: tensor.double() for name, tensor in first.weights.items()}
    for path in paths[1:]:
        other = read_checkpoint(path)
        check_identities(first.identities, other.identities)
        if {n: t.shape for n, t in other.weights.items()} != {n: t.shape for n, t in sums.items()}:
            raise AbNetError(
                f"All checkpoints must be of one model, but {str(path)!r} has other weights than "
                f"{str(paths[0])!r}."
            )
        for name in computed_by(first.config):
            values = getattr(first.config, name), getattr(other.config, name)
            if values[0] != values[1]:
                raise AbNetError(
                    f"All checkpoints must be of one model, but {str(path)!r} has the {name} "
                    f"{values[1]!r} and {str(paths[0])!r} {values[0]!r}."
                )
        for name, tensor in other.weights.items():
            sums[name] += tensor.double()
    means = {
        name: (total / len(paths)).to(torch.promote_types(first.weights[name].dtype, torch.float32))
        for name, total in sums.items()
    }
    envelope = {k: v for k, v in first.envelope.items() if k != "last_optimizer_state"}
    return first._replace(weights=means, envelope=envelope)


def check_output(output: str | Path, paths: Sequence[str | Path]) -> None:
    """Sees to it that an average overwrites nothing that a training needs to go on.

    Args:
        output: the file to write.
        paths: what is averaged.

    Raises:
        AbNetError: it is one of these, or a checkpoint that training goes on from.
    """
    output = Path(output)
    if output.resolve() in [Path(path).resolve() for path in paths]:
        raise AbNetError(f"`--output` must be a new file, but {output} is among those averaged.")
    if output.is_file() and (
        is_of_training(output.name) or "last_optimizer_state" in read_checkpoint(output).envelope
    ):
        raise AbNetError(
            f"`--output` must be a new file, but {output} is a checkpoint that training goes on "
            "from."
        )


def is_of_training(name: str) -> bool:
    """Whether fairseq gives this name to what it saves while training and goes on from."""
    return name == _LAST or counted(name) is not None


def counted(name: str) -> tuple[int, float] | None:
    """The epoch that fairseq wrote a checkpoint in and the updates, without end at the epoch's end.

    `None` for names of other kinds.
    """
    match = _PERIODIC.fullmatch(name)
    if match is None:
        return None
    epoch, within, updates = match.groups()
    return (int(epoch), math.inf) if epoch else (int(within), float(updates))


def is_best(name: str) -> bool:
    """Whether fairseq gives this name to the best one, or with its value to one of the best."""
    return name == "checkpoint_best.pt" or _BEST.fullmatch(name) is not None


def last_checkpoints(folder: str | Path, count: int, or_fewer: bool = False) -> list[Path]:
    """The last `count` checkpoints that fairseq wrote at epochs' ends or every so many updates.

    Args:
        folder: of a training run.
        count: how many.
        or_fewer: take what there is, where fewer are there; where none are, the very last state of
            the training.

    Raises:
        AbNetError: fewer are there, or nothing at all, or it is no folder.
    """
    placed = [(counted(path.name), path) for path in Path(folder).glob("checkpoint*.pt")]
    found = [(place, path) for place, path in placed if place is not None]
    last = Path(folder) / _LAST
    if or_fewer and not found and last.is_file():
        return [last]
    if or_fewer:
        count = min(count, max(len(found), 1))
    return _first(sorted(found, reverse=True), folder, count, "checkpointN.pt")


def best_checkpoints(folder: str | Path, count: int) -> list[Path]:
    """The best `count` of the checkpoints kept by fairseq's --keep-best-checkpoints.

    Raises:
        AbNetError: fewer are there, or some by one metric and some by another, or it is no folder.
    """
    found, metrics = [], set()
    for path in Path(folder).glob("checkpoint.best_*.pt"):
        match = _BEST.fullmatch(path.name)
        if match:
            found.append((float(match["value"]), path))
            metrics.add(match["metric"])
    if len(metrics) > 1:
        raise AbNetError(
            f"The best checkpoints of {folder} must be so by one metric, but are by "
            f"{' and '.join(sorted(metrics))}: name the files themselves."
        )
    if found:
        options = read_checkpoint(found[0][1]).envelope["cfg"]["checkpoint"]
        found.sort(reverse=bool(options["maximize_best_checkpoint_metric"]))
    return _first(found, folder, count, "checkpoint.best_METRIC_VALUE.pt")


def _first(
    found: Sequence[tuple[object, Path]], folder: str | Path, count: int, name: str
) -> list[Path]:
    if not Path(folder).is_dir():
        state = "is a file" if Path(folder).exists() else "does not exist"
        raise AbNetError(f"`folder` must be that of a training run, but {str(folder)!r} {state}.")
    if count < 1:
        raise AbNetError(f"`count` (--last, --best) must be at least 1, but is {count} instead.")
    if len(found) < count:
        raise AbNetError(
            f"The folder {str(folder)!r} must have {count} or more checkpoints {name}, but has "
            f"{len(found)} instead."
        )
    return [path for _, path in found[:count]]
