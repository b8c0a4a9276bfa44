"""The files `benchmarks/results/*.json`: one object a result.

A field that was not measured is absent. README and documents show tables that
`benchmarks/table.py` makes from these files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from abnet.bench.machine import commit, device_name, processor_name, versions, write_result

RESULTS = Path(__file__).parent / "results"

REQUIRED = {
    "quality": {
        "system", "dataset", "direction", "split", "distilled", "seeds", "bleu", "bleu_by_seed",
        "chrf", "signature", "device", "command", "versions", "commit",
    },
    "tokenized": {
        "system", "dataset", "direction", "split", "size", "seeds", "bleu", "bleu_by_seed",
        "signature", "trained_parameters", "updates", "device", "command", "versions", "commit",
    },
    "latency": {
        "system", "dataset", "direction", "split", "seeds", "compared_with", "ratio", "systems",
        "batch", "sentences", "rounds", "threads", "device", "command", "versions", "commit",
    },
    "tradeoff": {
        "system", "dataset", "direction", "split", "seeds", "place", "label", "options", "bleu",
        "signature", "compared_with", "ratio", "batch", "sentences", "rounds", "threads", "device",
        "command", "versions", "commit",
    },
    "recipe": {
        "system", "dataset", "direction", "split", "group", "factor", "value", "options", "seeds",
        "bleu", "bleu_by_seed", "signature", "updates", "device", "command", "versions", "commit",
    },
    "decoding": {
        "system", "dataset", "direction", "split", "factor", "value", "options", "place", "bleu",
        "signature", "length_right", "length_ratio", "repeats", "mean_passes", "device", "command",
        "versions", "commit",
    },
    "speed": {
        "row", "system", "peer", "engine", "decoding", "precision", "device", "device_kind",
        "threads", "batch", "largest", "size", "input", "passes", "repeats", "median_s", "p95_s",
        "with_tokenization_s", "sentences_per_s", "tokens_per_s", "run", "command", "versions",
        "commit",
    },
    "training": {
        "row", "system", "engine", "measures", "kernels", "device", "device_kind", "threads",
        "processes", "size", "input", "repeats", "batches", "batch_tokens", "batch_sentences",
        "step_s", "target_tokens_per_s", "trained_parameters", "total_parameters",
        "gradient_bytes", "checkpoint_bytes", "run", "command", "versions", "commit",
    },
}  # fmt: skip
"""The fields that each kind of result always has."""

PACKAGES = {
    "abnet": "ab-net",
    "torch": "torch",
    "transformers": "transformers",
    "fairseq": "ve-fairseq",
    "sacrebleu": "sacrebleu",
    "ctranslate2": "ctranslate2",
}
"""What a result names the version of, where it is installed: names and distributions."""

__all__ = ["PACKAGES", "REQUIRED", "RESULTS", "check", "device_name", "processor_name"]
__all__ += ["read_all", "stamps", "write"]


def check(record: dict[str, Any]) -> dict[str, Any]:
    """Returns `record` as it is.

    Raises:
        ValueError: it is of no known kind, lacks a field, or has one without a value; or it is of
            distilled data and names no teacher.
    """
    kind = record.get("kind")
    if kind not in REQUIRED:
        raise ValueError(f"`kind` must be one of {sorted(REQUIRED)}, but is {kind!r} instead.")
    missing = sorted(REQUIRED[kind] - record.keys())
    if missing:
        raise ValueError(f"A {kind} result must have {', '.join(missing)}, but has not.")
    empty = sorted(name for name, value in record.items() if value is None)
    if empty:
        raise ValueError(f"What was not measured must be absent, but {', '.join(empty)} is null.")
    _check_teacher(record)
    return record


def _check_teacher(record: dict[str, Any]) -> None:
    """`distilled` is true or false, and `teacher` names the model where it is true."""
    distilled, teacher = record.get("distilled", False), record.get("teacher", "")
    if not isinstance(distilled, bool):
        raise ValueError(f"`distilled` must be true or false, but is {distilled!r} instead.")
    if not isinstance(teacher, str) or bool(teacher.strip()) != distilled:
        raise ValueError(
            "`teacher` must name the model where `distilled` is true, and be absent where it is "
            f"not, but is {teacher!r} with {distilled}."
        )


def read_all(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """All results of a folder, in the order of their file names.

    Raises:
        ValueError: a file holds no proper result; the message names it.
    """
    records = []
    for path in sorted(folder.glob("*.json")):
        try:
            records.append(check(json.loads(path.read_text(encoding="utf-8"))))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    return records


def write(record: dict[str, Any], path: Path) -> None:
    """Checks a result and writes it, replacing an older file as a whole."""
    write_result(check(record), path)


def stamps() -> dict[str, Any]:
    """What every result says of where it was made: versions and commit."""
    return {"versions": versions(PACKAGES), "commit": commit(Path(__file__).parent)}
