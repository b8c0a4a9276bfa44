"""Steps that take no time: what a comparison makes of its commands' results, without them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch

from scripts.reproduce.steps import Runner

VALIDATION = (
    "2026 | INFO | valid | epoch 001 | valid on 'valid' subset | loss 3 | nll_loss {} "
    "| num_updates 16\n"
)
PARAMETERS = "num. shared model params: 1,000 (num. trained: 300)\n"


class StandIn(Runner):
    """Leaves what the commands would; the run of seed n translates n sentences rightly."""

    def _spawn(self, command: Sequence[str], output: int) -> tuple[int, int]:
        words = list(command)
        after = dict(pairwise(words))
        if words[0] == "abnet" and words[1] == "pretrain":
            report = {"seconds": 2, "updates": int(after["--updates"]), "masked_accuracy": 50.0}
            report["settings"] = {"mask_share": 0.15}
            _write(Path(after["--output"]) / "pretraining.json", json.dumps(report))
        elif words[0] == "abnet" and words[1] == "prepare":
            for file in Path(after["--from"]).glob("*.??"):
                name = file.name.replace("test2016", "test")
                _write(Path(after["--dest"]) / "raw" / name, file.read_text("utf-8").rstrip())
        elif words[0] == "fairseq-train":
            updates = int(after["--max-update"])
            state = {
                "optimizer_history": [{"num_updates": updates}],
                "extra_state": {"previous_training_time": 10.0 * int(after["--seed"])},
                "cfg": {"common": {"fp16": False, "bf16": False}},
            }
            torch.save(state, Path(after["--save-dir"]) / "checkpoint_last.pt")
            os.write(output, f"{PARAMETERS}{VALIDATION.format(4 + len(words) / 100)}".encode())
        elif words[0] == "fairseq-generate":
            folder, split = Path(after["--results-path"]), after["--gen-subset"]
            (target,) = (Path(words[-1]) / "raw").glob(f"{split}.en")
            references = target.read_text("utf-8").splitlines()
            right = int(folder.name)
            lines = [
                f"D-{at}\t-0.1\t{line if at < right else 'no'}"
                for at, line in enumerate(references)
            ]
            _write(folder / f"generate-{split}.txt", "\n".join(lines))
        return 0, 1 << 20


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n", encoding="utf-8")
