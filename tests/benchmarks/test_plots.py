"""The plots of docs/recipe.md: what is drawn is what was measured."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from benchmarks import plots, records
from tests.benchmarks.test_recipe_tables import STAMPS, trial


def decoded(factor: str, value: str, bleu: float) -> dict[str, object]:
    measured = {"length_right": 25.0, "length_ratio": 0.98, "repeats": 1.5, "mean_passes": 6.2}
    return records.check(
        {**STAMPS, "kind": "decoding", "factor": factor, "value": value, "options": "",
         "place": 0, "bleu": bleu, **measured}
    )  # fmt: skip


def drawn(figure: Figure, panel: int = 0) -> dict[str, list[tuple[float, float]]]:
    lines = figure.axes[panel].get_lines()
    return {
        str(line.get_label()): [(float(x), float(y)) for x, y in line.get_xydata()]
        for line in lines
    }


def test_pretraining_by_updates() -> None:
    masks = {"pretrain_mask_share": [0.4, 0.4]}
    rows = [
        trial("recipe", "abnet", 13.0, group="recipe", pretrain_updates=[4000, 4000]),
        trial("recipe", "cmlm", 2.0, group="recipe", system="cmlm"),
        trial(
            "recipe",
            "abnet_dag",
            32.0,
            group="recipe",
            system="abnet_dag",
            **masks,
            pretrain_updates=[32000, 32000],
        ),
        trial("pre-training", "none", 4.0, pretrain_updates=[1, 1]),
        trial("pre-training", "quarter", 9.0, pretrain_updates=[1000, 1000]),
        trial("lr", "double", 15.0, pretrain_updates=[4000, 4000]),
        trial("mask-share", "0.4", 16.0, pretrain_updates=[4000, 4000], **masks),
        trial("pre-training", "as compared", 19.0, pretrain_updates=[8000, 8000], **masks),
        trial("recipe", "abnet", 1.0, group="recipe", size="tiny", pretrain_updates=[5, 5]),
    ]
    expected = {
        "cpu de-en, 15 % of words masked": [(0.0, 4.0), (1000.0, 9.0), (4000.0, 13.0)],
        "cpu de-en, 40 % of words masked": [(0.0, 4.0), (4000.0, 16.0), (8000.0, 19.0)],
    }
    assert drawn(plots.plot_pretraining(rows)) == expected


def test_decoding_by_passes_and_candidates() -> None:
    rows = [
        decoded("recipe", "abnet", 23.0),
        decoded("passes", "4", 22.0),
        decoded("length-beam", "9", 21.0),
        decoded("length-weight, beam 9", "0.2", 24.0),
        decoded("gold length", "yes", 20.0),
    ]
    figure = plots.plot_decoding(rows)
    assert drawn(figure, 0) == {"cpu de-en": [(4.0, 22.0), (10.0, 23.0)]}
    assert drawn(figure, 1) == {
        "cpu de-en": [(4.0, 23.0), (9.0, 21.0)],
        "cpu de-en, length weight 0.2": [(9.0, 24.0)],
    }


def test_convergence_beside_fine_tuning_and_without_decoder_adapters() -> None:
    curves = {
        "abnet": [[100, 6.0], [200, 5.0]],
        "abnet_fb": [[100, 6.5]],
        "abnet_no_decoder_adapters": [[100, 7.0]],
        "abnet_enc_ar": [[100, 3.0]],  # of another task
    }
    quality = {**STAMPS, "kind": "quality", "distilled": False, "chrf": 40.0}
    rows = [{**quality, "system": name, "curve": curve} for name, curve in curves.items()]
    figure = plots.plot_convergence(rows)
    assert drawn(figure, 0) == {
        "cpu de-en, AB-Net": [(100.0, 6.0), (200.0, 5.0)],
        "cpu de-en, AB-Net FB, all trained": [(100.0, 6.5)],
    }
    assert set(drawn(figure, 1)) == {
        "cpu de-en, AB-Net", "cpu de-en, AB-Net without decoder adapters",
    }  # fmt: skip
    left, _ = plots.plot_convergence([rows[0], {**rows[1], "pretrain_updates": [9, 9]}]).axes
    assert not left.get_lines()  # they have other BERTs
    longer = {**rows[0], "pretrain_updates": [9, 9], "curve": [[100, 4.0]]}
    random = {**rows[1], "system": "abnet_sc", "curve": [[100, 8.0]]}  # without BERTs
    left, _ = plots.plot_convergence([longer, *rows, random]).axes
    assert [line.get_label() for line in left.get_lines()] == [
        "cpu de-en, AB-Net", "cpu de-en, AB-Net FB, all trained",
        "cpu de-en, AB-Net SC, from random weights",
    ]  # fmt: skip
    left, _ = plots.plot_convergence([longer, {**rows[0], "pretrain_updates": [5, 5]}, random]).axes
    assert left.get_lines()[0].get_ydata().tolist() == [4.0]
    earlier = {**rows[0], "earlier_recipe": "no lexicon", "curve": [[100, 9.0]]}
    for alike in ([earlier, *rows], [*rows, earlier]):
        left, _ = plots.plot_convergence(alike).axes
        assert left.get_lines()[0].get_ydata().tolist() == [6.0, 5.0]
    alone = [{**row, "direction": "en-de"} for row in rows[:1]]
    left, right = plots.plot_convergence(rows[:2] + alone).axes
    assert len(left.get_lines()) == 2
    assert not right.get_visible()


def test_bleu_by_speed() -> None:
    shared = {**STAMPS, "kind": "tradeoff", "bleu": 30.0}
    rows = [
        {**shared, "system": "transformer", "label": "beam 5", "ratio": 1.0},
        {**shared, "system": "abnet", "label": "10 passes", "ratio": 0.5},
        {**shared, "system": "abnet", "label": "4 passes", "ratio": 0.25, "bleu": 29.0},
    ]
    figure = plots.plot_tradeoff(rows)
    assert drawn(figure) == {
        "cpu de-en, AB-Net": [(2.0, 30.0), (4.0, 29.0)],
        "cpu de-en, Transformer (fairseq)": [(1.0, 30.0)],
    }
    assert [text.get_text() for text in figure.axes[0].texts] == ["10 passes", "4 passes", "beam 5"]


def test_decoding_without_an_early_stop() -> None:
    rows = [
        decoded("recipe", "abnet", 23.0),
        decoded("stop on repeat", "no", 26.0),
        decoded("all passes", "5", 25.0),
        decoded("all passes", "ban repeats", 26.5),
    ]
    assert drawn(plots.plot_decoding(rows), 0) == {
        "cpu de-en": [(10.0, 23.0)],
        "cpu de-en, no early stop": [(5.0, 25.0), (10.0, 26.0)],
    }


def test_the_files_are_the_same_for_the_same_results(tmp_path: Path) -> None:
    records.write(decoded("passes", "4", 22.0), tmp_path / "results" / "one.json")
    arguments = ["--folder", str(tmp_path), "--results", str(tmp_path / "results")]
    assert plots.main(arguments) == 0
    first = {path.name: path.read_bytes() for path in tmp_path.glob("*.svg")}
    expected = {"pre-training.svg", "decoding.svg", "convergence.svg", "tradeoff.svg"}
    assert set(first) == expected
    assert plots.main(arguments) == 0
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.svg")} == first
