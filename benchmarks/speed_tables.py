"""The tables of docs/speed.md: how fast each system is beside named peers of the same run."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from benchmarks.markdown import NOT_MEASURED, markdown_table

Row = dict[str, Any]
NAMES = {
    "abnet": "AB-Net",
    "abnet_enc": "AB-Net-Enc",
    "abnet_ctc": "AB-Net with CTC",
    "abnet_dag": "AB-Net with a graph of words",
    "abnet_dag_fuzzy": "AB-Net with a graph of words, trained on for n-grams",
    "transformer": "Transformer",
    "transformer_deep_shallow": "Transformer, deep encoder, shallow decoder",
    "cmlm": "CMLM",
    "bert2bert": "BERT2BERT",
}


def speed_table(records: Sequence[Row], dataset: str) -> str:
    """Ratios to fairseq's Transformer with beam 5, and to the same in CTranslate2, fastest first.

    Latencies are compared where systems have the same batch, sentences a second where each has the
    largest that fits. fairseq has as many threads as the row, CTranslate2 the number that suits it
    best. Absolute times are those of GPUs only.
    """
    rows = _last_runs([r for r in records if r["kind"] == "speed" and r["input"] == dataset])
    if not rows:
        return f"No speed on {dataset} yet.\n"
    sides: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        for side in (_side(row), _any_threads(row)):
            sides[side].append(row)
    rows.sort(key=lambda row: (*_order(row), -row["sentences_per_s"]))
    columns: dict[str, Callable[[Row], str]] = {
        "device": lambda row: str(row["device"]),
        "size": lambda row: str(row["size"]),
        "threads": lambda row: str(row["threads"]) if row["device_kind"] == "cpu" else NOT_MEASURED,
        "batch": lambda row: f"{row['batch']}{_largest(row)}",
        "system": lambda row: f"{NAMES.get(row['system'], row['system'])} ({row['engine']})",
        "decoding": lambda row: str(row["decoding"]),
        "weights": lambda row: str(row["precision"]),
        "times fairseq's Transformer, beam 5": lambda row: _ratio(
            row, _peer(sides[_side(row)], "fairseq")
        ),
        "times CTranslate2's, beam 5": lambda row: _ratio(
            row, _peer(sides[_any_threads(row)], "ctranslate2")
        ),
        "share of the floor's speed, %": lambda row: (
            ">100 %"  # so that its floor is none
            if row.get("floor_share", 0) > 1
            else _number(row, "floor_share", 100, ".0f")
        ),
        "passes": lambda row: f"{row['passes']:.1f}",
        "peak memory, MB": lambda row: _number(row, "peak_memory_bytes", 1e-6, ".0f"),
        "text to text / ids to ids": lambda row: (
            f"{row['with_tokenization_s'] / row['median_s']:.2f}"
        ),
    }
    if any(row["device_kind"] == "cuda" for row in rows):
        columns["median, ms"] = lambda row: _on_gpu(row, 1000 * row["median_s"])
        columns["95 %, ms"] = lambda row: _on_gpu(row, 1000 * row["p95_s"])
        columns["sentences/s"] = lambda row: _on_gpu(row, row["sentences_per_s"])
    return markdown_table(columns, rows)


def alone_table(records: Sequence[Row], device_kind: str) -> str:
    """Our times of a sentence alone in that of CTranslate2's Transformer with beam 5, least first.

    Either side has the weights and the number of threads that suit it best, ours on each input.
    """
    rows = _last_runs(
        [
            row
            for row in records
            if row["kind"] == "speed" and row["device_kind"] == device_kind
            if row["batch"] == 1 and not row["largest"]
        ]
    )
    sides: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        sides[_any_threads(row)].append(row)
    inputs = sorted({row["input"] for row in rows}, reverse=True)
    best: dict[tuple[str, ...], Row] = {}
    for row in rows:
        peer = _peer(sides[_any_threads(row)], "ctranslate2")
        if row["engine"] != "abnet" or peer is None:
            continue
        key = (row["device"], row["size"], row["system"], row["decoding"])
        ways = best.setdefault(key, {**row, "alone": {}})["alone"]
        way = (row["median_s"] / peer["median_s"], row["precision"], row["threads"])
        ways[row["input"]] = min(way, ways.get(row["input"], way))
    if not best:
        return f"No sentence translated alone on {device_kind} beside CTranslate2 yet.\n"
    columns: dict[str, Callable[[Row], str]] = {
        "device": lambda row: str(row["device"]),
        "size": lambda row: str(row["size"]),
        "system": lambda row: NAMES.get(row["system"], row["system"]),
        "decoding": lambda row: str(row["decoding"]),
        **{name: partial(_alone, name=name) for name in inputs},
    }
    return markdown_table(columns, sorted(best.values(), key=_order_alone))


def tradeoff_table(records: Sequence[Row], dataset: str) -> str:
    """BLEU and speed of the ways to decode, each batch a sentence alone."""
    rows = [r for r in records if r["kind"] == "tradeoff" and r["dataset"] == dataset]
    if not rows:
        return f"No decoding timed on {dataset} yet.\n"
    rows.sort(key=lambda row: (row["device"], row["size"], row["direction"], row["place"]))
    columns: dict[str, Callable[[Row], str]] = {
        "device": lambda row: str(row["device"]),
        "size": lambda row: str(row["size"]),
        "threads": lambda row: str(row["threads"]),
        "direction": lambda row: str(row["direction"]),
        "system": lambda row: NAMES.get(row["system"], row["system"]),
        "decoding": lambda row: f"{row['label']} (`{row['options']}`)",
        "BLEU": lambda row: f"{row['bleu']:.2f}",
        "times the Transformer, beam 5": lambda row: f"{1 / row['ratio']:.2f}",
    }
    if any("seconds" in row for row in rows):
        columns["ms"] = lambda row: _number(row, "seconds", 1000, ".1f")
    return markdown_table(columns, rows)


def _last_runs(rows: Sequence[Row]) -> list[Row]:
    """The rows of the last run of each batch on each input.

    What a run that measured less has left of the one before it has lost its peers.
    """
    last: dict[tuple[Any, ...], str] = {}
    for row in rows:
        side = (row["input"], *_any_threads(row)[1:])
        last[side] = max(last.get(side, ""), row["run"])
    return [row for row in rows if row["run"] == last[row["input"], *_any_threads(row)[1:]]]


def _largest(row: Row) -> str:
    if not row["largest"]:
        return ""
    return " (largest tried)" if row.get("capped") else " (largest)"


def _side(row: Row) -> tuple[Any, ...]:
    """What rows must share to be compared."""
    return (*_any_threads(row), row["threads"])


def _any_threads(row: Row) -> tuple[Any, ...]:
    """The same, whatever the threads."""
    batch = "largest" if row["largest"] else row["batch"]
    return row["run"], row["device"], row["size"], batch


def _order(row: Row) -> tuple[Any, ...]:
    place = (row["largest"], row["batch"] if not row["largest"] else 0)
    return row["device"], row["size"], row["run"], row["threads"], *place


def _order_alone(row: Row) -> tuple[Any, ...]:
    ratios = (ratio for ratio, _, _ in row["alone"].values())
    return row["device"], row["size"], statistics.mean(ratios)


def _alone(row: Row, name: str) -> str:
    """The ratio on an input, and with what it is reached."""
    if name not in row["alone"]:
        return NOT_MEASURED
    ratio, precision, threads = row["alone"][name]
    on_cpu = row["device_kind"] == "cpu"
    return f"{ratio:.2f} ({precision}{f', {threads} threads' * (on_cpu and threads > 1)})"


def _peer(side: Sequence[Row], engine: str) -> Row | None:
    """The fastest Transformer of an engine with beam 5, as `_ratio` compares them."""
    peers = [
        row
        for row in side
        if (row["system"], row["engine"], row["decoding"]) == ("transformer", engine, "beam 5")
    ]

    def slowness(row: Row) -> float:
        return -row["sentences_per_s"] if row["largest"] else row["median_s"]

    return min(peers, key=slowness, default=None)


def _ratio(row: Row, peer: Row | None) -> str:
    """How many times as fast."""
    if peer is None:
        return NOT_MEASURED
    if row["largest"]:
        ratio = row["sentences_per_s"] / peer["sentences_per_s"]
    else:
        ratio = peer["median_s"] / row["median_s"]
    return f"{ratio:.2f}"


def _number(row: Row, name: str, factor: float, form: str) -> str:
    return format(factor * row[name], form) if name in row else NOT_MEASURED


def _on_gpu(row: Row, value: float) -> str:
    return f"{value:.1f}" if row["device_kind"] == "cuda" else NOT_MEASURED
