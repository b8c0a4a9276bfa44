"""The tables of docs/recipe.md: what each part of the recipe is worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.markdown import NOT_MEASURED, markdown_table

BASELINE = "recipe"


def of_recipe(name: str, record: dict[str, Any]) -> str:
    """The name of a system, with the recipe where it is not the one of today."""
    return f"{name}, {record['earlier_recipe']}" if "earlier_recipe" in record else name


def recipe_table(records: Sequence[dict[str, Any]], dataset: str) -> str:
    """Trainings with one thing changed: scores, and how far from the recipe's own."""
    rows = [r for r in records if r["kind"] == "recipe" and r["dataset"] == dataset]
    if not rows:
        return f"No search on {dataset} yet.\n"
    base = {_series(row): row for row in rows if row["factor"] == BASELINE}
    rows.sort(key=lambda row: (_series(row), row["group"] != BASELINE, row["group"], -row["bleu"]))
    return markdown_table(
        {
            "size": lambda row: str(row["size"]),
            "direction": lambda row: str(row["direction"]),
            "system": lambda row: of_recipe(row["system"], row),
            "group": lambda row: str(row["group"]),
            "change": lambda row: _change(row),
            "BLEU": lambda row: f"{row['bleu']:.2f}",
            "against the recipe": lambda row: _difference(row, base.get(_series(row))),
            "nll, bits": lambda row: _number(row, "valid_nll_loss", ".3f"),
            "length right, %": lambda row: _number(row, "valid_length_accuracy", ".1f"),
            "updates": lambda row: str(row["updates"]),
            "seeds": lambda row: str(len(row["seeds"])),
        },
        rows,
    )


def decoding_table(records: Sequence[dict[str, Any]], dataset: str) -> str:
    """One checkpoint decoded in different ways."""
    rows = [r for r in records if r["kind"] == "decoding" and r["dataset"] == dataset]
    if not rows:
        return f"No decoding on {dataset} yet.\n"
    base = {_series(row): row for row in rows if row["factor"] == BASELINE}
    rows.sort(key=lambda row: (_series(row), row["place"]))
    return markdown_table(
        {
            "size": lambda row: str(row["size"]),
            "direction": lambda row: str(row["direction"]),
            "decoding": lambda row: _change(row),
            "BLEU": lambda row: f"{row['bleu']:.2f}",
            "against the recipe": lambda row: _difference(row, base.get(_series(row))),
            "length right, %": lambda row: f"{row['length_right']:.1f}",
            "length / reference": lambda row: f"{row['length_ratio']:.3f}",
            "repeats a 100 tokens": lambda row: f"{row['repeats']:.2f}",
            "passes": lambda row: f"{row['mean_passes']:.1f}",
        },
        rows,
    )


def _series(row: dict[str, Any]) -> tuple[str, ...]:
    """What rows must share to be compared; of one checkpoint if that is told."""
    of_checkpoint = row.get("checkpoint", "")
    return row["size"], row["direction"], of_recipe(row["system"], row), of_checkpoint


def _change(row: dict[str, Any]) -> str:
    if row["factor"] == BASELINE:
        return "the recipe as it " + ("was" if "earlier_recipe" in row else "is")
    return f"{row['factor']}: {row['value']} (`{row['options']}`)"


def _difference(row: dict[str, Any], base: dict[str, Any] | None) -> str:
    if base is None or row is base:
        return NOT_MEASURED
    return f"{row['bleu'] - base['bleu']:+.2f}"


def _number(row: dict[str, Any], name: str, form: str) -> str:
    return format(row[name], form) if name in row else NOT_MEASURED
