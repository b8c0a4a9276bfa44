"""The plots in docs/, drawn from `benchmarks/results/*.json`.

python -m benchmarks.plots    # pre-training.svg, decoding.svg, convergence.svg, tradeoff.svg
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.quality_tables import SYSTEMS
from benchmarks.recipe_tables import BASELINE
from benchmarks.records import RESULTS, read_all

DOCS = Path(__file__).parents[1] / "docs"
PRE_TRAINING = "pre-training"
MASK_SHARE = "mask-share"
BERTS_MASK_SHARE = 0.15  # of records that do not tell it
NO_BERTS: tuple[tuple[float, ...], ...] = ((), ())
LENGTH_WEIGHT = "length-weight, beam "
CONVERGENCE = (("abnet", "abnet_fb", "abnet_sc"), ("abnet", "abnet_no_decoder_adapters"))


def plot_pretraining(records: Iterable[dict[str, Any]]) -> Figure:
    """AB-Net's BLEU by the updates that its target BERT was pre-trained with, and by its masks.

    One of the updates is none: it has a learning rate of zero, and no masks that matter.
    """
    series: dict[tuple[str, float], dict[int, float]] = defaultdict(dict)
    none: dict[str, float] = {}
    for row in records:
        if row["kind"] != "recipe" or row["system"] != "abnet":
            continue
        if row["factor"] in (BASELINE, PRE_TRAINING, MASK_SHARE):
            updates = row["pretrain_updates"][-1]
            if updates == 1:
                none[_name(row)] = row["bleu"]
            else:
                share = row.get("pretrain_mask_share", [BERTS_MASK_SHARE])[-1]
                series[_name(row), share][updates] = row["bleu"]
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axes = figure.subplots()
    for (name, share), points in sorted(series.items()):
        if name in none:
            points[0] = none[name]
        if len(points) > 1:
            label = f"{name}, {100 * share:.0f} % of words masked"
            axes.plot(*zip(*sorted(points.items()), strict=True), marker="o", label=label)
    _label(axes, "updates of each BERT's pre-training", "BLEU on valid")
    return figure


def plot_decoding(records: Iterable[dict[str, Any]]) -> Figure:
    """BLEU by passes, and by length candidates with and without the length's probability."""
    passes: dict[str, dict[int, float]] = defaultdict(dict)
    beams: dict[str, dict[int, float]] = defaultdict(dict)
    for row in records:
        if row["kind"] != "decoding":
            continue
        name, value, bleu = _name(row), row["value"], row["bleu"]
        if row["factor"] == BASELINE:
            passes[name][10] = beams[name][4] = bleu
        elif row["factor"] == "passes":
            passes[name][int(value)] = bleu
        elif row["factor"] == "all passes" and value.isdigit():
            passes[f"{name}, no early stop"][int(value)] = bleu
        elif row["factor"] == "stop on repeat":
            passes[f"{name}, no early stop"][10] = bleu
        elif row["factor"] == "length-beam":
            beams[name][int(value)] = bleu
        elif row["factor"].startswith(LENGTH_WEIGHT):
            beam = int(row["factor"].removeprefix(LENGTH_WEIGHT))
            beams[f"{name}, length weight {value}"][beam] = bleu
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, series, what in ((left, passes, "passes"), (right, beams, "length candidates")):
        for name, points in sorted(series.items()):
            axes.plot(*zip(*sorted(points.items()), strict=True), marker="o", label=name)
        _label(axes, what, "BLEU on valid" if axes is left else "")
    return figure


def plot_convergence(records: Iterable[dict[str, Any]]) -> Figure:
    """The nll of masked words by updates: AB-Net beside FB and SC, and without decoder adapters.

    It is drawn of the systems with AB-Net's objective alone, since others' nll is of another task,
    only where AB-Net has something beside it, and only of those that have no BERTs or AB-Net's.
    """
    curves = [row for row in records if row["kind"] == "quality" and "curve" in row]
    groups = {(_name(row), _berts(row)) for row in curves if row["system"] == "abnet"}
    names = sorted({name for name, _ in groups})
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    for axes, systems in zip(figure.subplots(1, 2, sharey=True), CONVERGENCE, strict=True):
        for name in names:
            drawn: dict[str, Any] = {}  # on the BERTs that most of the systems have, or the longest
            for berts in sorted(berts for own, berts in groups if own == name):
                alike = [r for r in curves if _name(r) == name and _berts(r) in (NO_BERTS, berts)]
                alike.sort(key=lambda row: "earlier_recipe" not in row)  # the last one holds
                by_system = {row["system"]: row["curve"] for row in alike}
                found = {system: by_system[system] for system in systems if system in by_system}
                drawn = max(found, drawn, key=len)
            for system, curve in drawn.items() if len(drawn) > 1 else ():
                axes.plot(*zip(*curve, strict=True), label=f"{name}, {SYSTEMS[system]}")
        _label(axes, "updates", "nll on valid, bits" if systems is CONVERGENCE[0] else "")
        axes.set_visible(bool(axes.get_lines()))
    return figure


def plot_tradeoff(records: Iterable[dict[str, Any]]) -> Figure:
    """BLEU by speed at one sentence a batch: each system as it is decoded in different ways."""
    series: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
    for row in records:
        if row["kind"] == "tradeoff":
            name = f"{_name(row)}, {SYSTEMS[row['system']]}"
            series[name].append((1 / row["ratio"], row["bleu"], row["label"]))
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    for name, points in sorted(series.items()):
        speeds, scores, labels = zip(*points, strict=True)
        axes.plot(speeds, scores, marker="o", linestyle="none", label=name)
        for speed, score, label in zip(speeds, scores, labels, strict=True):
            axes.annotate(label, (speed, score), fontsize="xx-small", rotation=20)
    _label(axes, "times as fast as the Transformer with beam 5", "BLEU on valid")
    if series:
        axes.set_xscale("log")
    return figure


def _berts(row: dict[str, Any]) -> tuple[tuple[float, ...], ...]:
    """What BERTs with other weights differ in; `NO_BERTS` for a system without any."""
    updates = row.get("pretrain_updates", [])
    shares = row.get("pretrain_mask_share", [BERTS_MASK_SHARE] * len(updates))
    return tuple(updates), tuple(shares)


def _name(row: dict[str, Any]) -> str:
    return f"{row['size']} {row['direction']}"


def _label(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)
    if axes.get_lines():
        axes.legend(fontsize="small")


def save(figure: Figure, path: Path) -> None:
    """As an SVG that is the same whenever the figure is."""
    with matplotlib.rc_context({"svg.hashsalt": path.name}):
        figure.savefig(path, metadata={"Date": None})


def main(argv: Sequence[str] | None = None) -> int:
    """Draws all plots."""
    parser = argparse.ArgumentParser(description="Draw the plots in docs/.")
    parser.add_argument("--folder", type=Path, default=DOCS, help="where to (default: docs)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of JSON files")
    args = parser.parse_args(argv)
    records = read_all(args.results)
    save(plot_pretraining(records), args.folder / "pre-training.svg")
    save(plot_decoding(records), args.folder / "decoding.svg")
    save(plot_convergence(records), args.folder / "convergence.svg")
    save(plot_tradeoff(records), args.folder / "tradeoff.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
