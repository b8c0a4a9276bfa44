"""The tables of docs/recipe.md."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import records, table
from benchmarks.recipe_tables import decoding_table, recipe_table

STAMPS = {
    "dataset": "multi30k", "direction": "de-en", "split": "valid", "size": "cpu",
    "system": "abnet", "seeds": [1], "signature": "s", "device": "cpu", "command": "c",
    "versions": {}, "commit": "0",
}  # fmt: skip


def trial(factor: str, value: str, bleu: float, **fields: Any) -> dict[str, Any]:
    options = "" if factor == "recipe" else f"--{factor} {value}"
    return records.check(
        {
            **STAMPS, "kind": "recipe", "group": "objective", "factor": factor, "value": value,
            "options": options, "bleu": bleu, "bleu_by_seed": [bleu], "updates": 700, **fields,
        }
    )  # fmt: skip


def test_each_system_is_held_against_its_own_recipe() -> None:
    rows = [
        trial("lr", "1", 12.0, system="cmlm"),
        trial("recipe", "cmlm", 10.5, system="cmlm", group="recipe"),
        trial("noise", "bert", 11.0, valid_nll_loss=4.75, valid_length_accuracy=20.04),
        trial("smoothing", "0", 14.25),
        trial("recipe", "abnet", 13.0, group="recipe"),
        trial("recipe", "abnet", 9.0, group="recipe", earlier_recipe="no gloss"),
        trial("noise", "bert", 9.5, earlier_recipe="no gloss"),
    ]
    lines = recipe_table(rows, "multi30k").splitlines()[2:]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert [(row[2], row[4], row[6]) for row in cells] == [
        ("abnet", "the recipe as it is", "-"),
        ("abnet", "smoothing: 0 (`--smoothing 0`)", "+1.25"),
        ("abnet", "noise: bert (`--noise bert`)", "-2.00"),
        ("abnet, no gloss", "the recipe as it was", "-"),
        ("abnet, no gloss", "noise: bert (`--noise bert`)", "+0.50"),
        ("cmlm", "the recipe as it is", "-"),
        ("cmlm", "lr: 1 (`--lr 1`)", "+1.50"),
    ]
    assert cells[2][5:] == ["11.00", "-2.00", "4.750", "20.0", "700", "1"]
    assert cells[1][7:9] == ["-", "-"]  # not measured


def test_decodings_keep_their_order() -> None:
    measured = {"length_right": 25.0, "length_ratio": 0.98, "repeats": 1.5, "mean_passes": 6.21}
    rows = [
        records.check(
            {**STAMPS, "kind": "decoding", "factor": factor, "value": "1", "options": "--x 1",
             "place": place, "bleu": bleu, **measured}
        )
        for place, factor, bleu in ((2, "passes", 20.0), (0, "recipe", 23.5), (1, "beam", 22.0))
    ]  # fmt: skip
    lines = decoding_table(rows, "multi30k").splitlines()[2:]
    assert (
        lines[0] == "| cpu | de-en | the recipe as it is | 23.50 | - | 25.0 | 0.980 | 1.50 | 6.2 |"
    )
    assert [line.split("|")[5].strip() for line in lines[1:]] == ["-1.50", "-3.50"]


def test_without_results_and_of_no_known_kind() -> None:
    document = (
        "<!-- recipe: x -->\n<!-- end of recipe -->\n<!-- decoding: x -->\n<!-- end of decoding -->"
    )
    text = table.renew(document, [])
    assert "No search on x yet." in text
    assert "No decoding on x yet." in text
    with pytest.raises(
        ValueError,
        match=r"one of \['alone', 'decoding', .*, 'training', 'words'\], but is 'y' instead",
    ):
        table.renew("<!-- y: x -->\n<!-- end of y -->", [])
