"""The mean of the last checkpoints of one of fairseq's own models.

`abnet average` is for AB-Net's checkpoints; the fairseq package brings no such tool.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from abnet.averaging import last_checkpoints
from benchmarks.quality import read_fairseq_checkpoint


def average(paths: Sequence[Path]) -> dict[str, Any]:
    """The first checkpoint without its optimizer, its weights replaced by the mean of all."""
    first = read_fairseq_checkpoint(paths[0])
    states = [first["model"], *(read_fairseq_checkpoint(path)["model"] for path in paths[1:])]
    first["model"] = {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(tensor.dtype)
        for name, tensor in first["model"].items()
    }
    first["last_optimizer_state"] = None
    return first


def main(argv: Sequence[str] | None = None) -> int:
    """Averages the last checkpoints of a folder into a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--last", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args(argv)
    torch.save(average(last_checkpoints(args.folder, args.last)), args.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
