"""Our results beside the paper's, as tables in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from abnet.systems import SYSTEMS
from benchmarks.markdown import NOT_MEASURED, markdown_table
from scripts.reproduce.paper_rows import Row

POINTS = 10  # of a learning curve


def paper_table(rows: Sequence[Row], results: Sequence[dict[str, Any]]) -> str:
    """Each row with the paper's figures, where it has any, before ours.

    The paper's BLEU is tokenized, on IWSLT14 lower-cased; so is the first of ours. The second is
    sacreBLEU's on untouched references and not to be compared with the paper's.
    """
    cells = [{"row": row, **result} for row, result in zip(rows, results, strict=True)]
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "system": lambda c: c["row"].label or c["system"],
        "task": lambda c: f"{c['row'].corpus} {c['row'].pair}",
        "paper, tokenized BLEU": lambda c: _number(c["row"].bleu),
        "tokenized BLEU": lambda c: _number(c["tokenized_bleu"]),
        "sacreBLEU": lambda c: _number(c["bleu"]),
        "chrF": lambda c: _number(c["chrf"]),
        "paper, trained": lambda c: _millions(_papers_count(c["row"])),
        "trained": lambda c: f"{c['trained_parameters'] / 1e6:.2f}M",
        "data": _data,
    }
    if any(row.latency_ms is not None for row in rows):
        columns["paper, a sentence alone"] = lambda c: _milliseconds(c["row"].latency_ms)
        columns["a sentence alone"] = lambda c: _milliseconds(
            1000 * c["seconds_a_sentence"] if "seconds_a_sentence" in c else None
        )
        columns["device"] = lambda c: str(c["device"])
    return markdown_table(columns, cells)


def curves_table(rows: Sequence[Row], results: Sequence[dict[str, Any]]) -> str:
    """The nll of the validation set, in bits a word, as training goes on: a column a row.

    The results have the whole curves; these are some points of the longest.
    """
    curves = {
        row.label or row.system: dict(result.get("curve", []))
        for row, result in zip(rows, results, strict=True)
    }
    updates = list(max(curves.values(), key=len))
    step = max(1, -(-len(updates) // POINTS))
    names = {f"{at:,.0f}": at for at in updates[step - 1 :: step]}
    cells = [
        {"updates": name, **{system: _number(curve.get(at)) for system, curve in curves.items()}}
        for name, at in names.items()
    ]
    return markdown_table({name: itemgetter(name) for name in ("updates", *curves)}, cells)


def _papers_count(row: Row) -> int | None:
    """The paper's trained parameters, in millions, which are those of its WMT14 En-De systems."""
    is_counted = (row.corpus, row.pair) == ("wmt14", "en-de")
    return SYSTEMS[row.system].trained_millions if is_counted else None


def _data(cells: dict[str, Any]) -> str:
    kinds = [f"distilled by {cells['teacher']}"] if cells["distilled"] else ["raw"]
    return ", ".join([*kinds, *(["back-translated"] if cells["back_translated"] else [])])


def _number(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.2f}"


def _millions(value: int | None) -> str:
    return NOT_MEASURED if value is None else f"{value}M"


def _milliseconds(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.0f} ms"
