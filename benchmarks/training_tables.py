"""The tables of training in docs/speed.md: measures beside the baseline, and data parallelism."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from abnet.bench.scaling import sent_bytes, step_seconds
from benchmarks.markdown import NOT_MEASURED, markdown_table

Row = dict[str, Any]
NAMES = {"abnet": "AB-Net", "abnet_fb": "AB-Net FB, all trained"}
BASELINE, FINE_TUNING, OURS = "abnet-baseline", "abnet_fb-baseline", "abnet-all"
PROCESSES = (1, 2, 4, 8)
LINK = 1.25e9  # bytes a second of 10 Gbit Ethernet


def training_table(records: Sequence[Row], dataset: str) -> str:
    """Each way to train beside the released code's, and beside full fine-tuning.

    Fine-tuning is as the released code would do it, and with the row's own measures where that was
    measured, too. Steps are compared with those on the same batches only. Absolute times are those
    of GPUs only.
    """
    rows = [row for row in _of(records, dataset) if row["processes"] == 1]
    if not rows:
        return f"No training speed on {dataset} yet.\n"
    rows.sort(key=lambda row: (*_order(row), -row["target_tokens_per_s"]))
    columns: dict[str, Callable[[Row], str]] = {
        "device": lambda row: str(row["device"]),
        "size": lambda row: str(row["size"]),
        "threads": _threads,
        "system": lambda row: NAMES.get(row["system"], row["system"]),
        "measures": _measures,
        "target tokens/s, times the baseline's": lambda row: _ratio(
            row, _beside(rows, row, BASELINE), "target_tokens_per_s", 1, ".2f"
        ),
        "step, % of full fine-tuning's with no measure": lambda row: _ratio(
            row, _on_the_same(row, _beside(rows, row, FINE_TUNING)), "step_s", 100, ".0f"
        ),
        "step, % of fine-tuning with the same measures": lambda row: _ratio(
            row, _on_the_same(row, _fine_tuned_alike(rows, row)), "step_s", 100, ".0f"
        ),
        "peak memory, % of full fine-tuning's with no measure": lambda row: _ratio(
            row, _beside(rows, row, FINE_TUNING), "peak_memory_bytes", 100, ".0f"
        ),
        "peak memory, % of fine-tuning with the same measures": lambda row: _ratio(
            row, _fine_tuned_alike(rows, row), "peak_memory_bytes", 100, ".0f"
        ),
        "peak memory, MB": lambda row: _megabytes(row, "peak_memory_bytes"),
        "checkpoint, MB": lambda row: _megabytes(row, "checkpoint_bytes"),
        "trained / all parameters": lambda row: (
            f"{row['trained_parameters'] / 1e6:.1f}M / {row['total_parameters'] / 1e6:.1f}M"
        ),
        "Adam": lambda row: str(row["kernels"]["adam"]),
        "target tokens a batch": lambda row: f"{row['batch_tokens']:.0f}",
    }
    if any("waiting_share" in row for row in rows):
        columns["waiting for batches, %"] = lambda row: _share(row, "waiting_share")
        columns["target padding, %"] = lambda row: _share(row, "padding_share")
    if any(row["device_kind"] == "cuda" for row in rows):
        columns["step, ms"] = lambda row: _on_gpu(row, "step_s", 1000, ".1f")
        columns["target tokens/s"] = lambda row: _on_gpu(row, "target_tokens_per_s", 1, ".0f")
        columns["GPU idle, %"] = lambda row: _on_gpu(row, "device_idle_share", 100, ".0f")
    return markdown_table(columns, rows)


def scaling_table(records: Sequence[Row], dataset: str) -> str:
    """What processes send a step, and how long a step is: measured where it was, and computed."""
    of_data = _of(records, dataset)
    alone = [
        row
        for row in of_data
        if row["processes"] == 1 and row["row"] in (OURS, BASELINE, FINE_TUNING, "abnet_fb-all")
    ]
    if not alone:
        return f"No training speed on {dataset} yet.\n"
    alone.sort(key=lambda row: (*_order(row), row["row"]))
    rows = [{**row, "of": processes} for row in alone for processes in PROCESSES]
    several = [row for row in of_data if row["processes"] > 1]
    columns: dict[str, Callable[[Row], str]] = {
        "device": lambda row: str(row["device"]),
        "size": lambda row: str(row["size"]),
        "threads": _threads,
        "row": lambda row: str(row["row"]),
        "processes": lambda row: str(row["of"]),
        "gradient, MB": lambda row: f"{row['gradient_bytes'] / 1e6:.1f}",
        "sent by each a step, MB (computed)": lambda row: (
            f"{sent_bytes(row['gradient_bytes'], row['of']) / 1e6:.1f}"
        ),
        "step, times that of one process, at 10 Gbit/s (computed)": _computed,
        "the same (measured here)": lambda row: _measured(several, row),
    }
    if any("reduced_bytes" in row for row in several):
        columns["passed to all-reduce a step, MB (measured here)"] = lambda row: _reduced(
            _together(several, row)
        )
    return markdown_table(columns, rows)


def _measures(row: Row) -> str:
    """Those that are on, and what else is left out of what every row has."""
    named = ", ".join(row["measures"]) or "none, as released"
    without = ", ".join(row.get("without", []))
    return f"{named}; without {without}" if without else named


def _of(records: Sequence[Row], dataset: str) -> list[Row]:
    return [row for row in records if row["kind"] == "training" and row["input"] == dataset]


def _order(row: Row) -> tuple[Any, ...]:
    return row["device"], row["size"], row["run"], row["threads"]


def _beside(rows: Sequence[Row], row: Row, name: str) -> Row | None:
    """The row of a name that was measured beside another."""
    return next((r for r in rows if r["row"] == name and _order(r) == _order(row)), None)


def _fine_tuned_alike(rows: Sequence[Row], row: Row) -> Row | None:
    """Full fine-tuning with the measures and the Adam of another row, measured beside it."""

    def alike(other: Row) -> bool:
        same = other["measures"] == row["measures"]
        return same and other["kernels"]["adam"] == row["kernels"]["adam"]

    tuned = (r for r in rows if r["system"] == "abnet_fb" and _order(r) == _order(row))
    return next(filter(alike, tuned), None)


def _on_the_same(row: Row, peer: Row | None) -> Row | None:
    """The peer, if it had the batches of the row."""
    if peer is None or peer["batch_tokens"] != row["batch_tokens"]:
        return None
    return peer


def _computed(row: Row) -> str:
    seconds = step_seconds(row["step_s"], row["gradient_bytes"], row["of"], LINK)
    return f"{seconds / row['step_s']:.2f}"


def _measured(rows: Sequence[Row], row: Row) -> str:
    if row["of"] == 1:
        return "1.00"
    return _ratio(_together(rows, row), row, "step_s", 1, ".2f")


def _together(rows: Sequence[Row], row: Row) -> Row | None:
    """The same row in as many processes as are asked for, measured beside it."""
    return _beside([r for r in rows if r["processes"] == row["of"]], row, row["row"])


def _reduced(row: Row | None) -> str:
    if row is None or "reduced_bytes" not in row:
        return NOT_MEASURED
    return f"{row['reduced_bytes'] / 1e6:.1f}"


def _ratio(row: Row | None, peer: Row | None, name: str, factor: float, form: str) -> str:
    if row is None or peer is None or name not in row or name not in peer:
        return NOT_MEASURED
    return format(factor * row[name] / peer[name], form)


def _megabytes(row: Row, name: str) -> str:
    return f"{row[name] / 1e6:.0f}" if name in row else NOT_MEASURED


def _share(row: Row, name: str) -> str:
    return f"{100 * row[name]:.1f}" if name in row else NOT_MEASURED


def _threads(row: Row) -> str:
    return str(row["threads"]) if row["device_kind"] == "cpu" else NOT_MEASURED


def _on_gpu(row: Row, name: str, factor: float, form: str) -> str:
    if row["device_kind"] != "cuda" or name not in row:
        return NOT_MEASURED
    return format(factor * row[name], form)
