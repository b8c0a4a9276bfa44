"""Puts tables made from `benchmarks/results/*.json` between markers in documents.

    python -m benchmarks.table                              # renew the tables of all documents
    python -m benchmarks.table --document docs/recipe.md    # or of one
    python -m benchmarks.table --check                      # exit 1 if one is out of date

A table stands between `<!-- KIND: DATASET -->` and `<!-- end of KIND -->`; the kinds are those of
`TABLES`. Of `alone` it is a kind of device.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.quality_tables import history_table, quality_table, summary_table, words_table
from benchmarks.recipe_tables import decoding_table, recipe_table
from benchmarks.records import RESULTS, read_all
from benchmarks.speed_tables import alone_table, speed_table, tradeoff_table
from benchmarks.training_tables import scaling_table, training_table

ROOT = Path(__file__).parents[1]
DOCUMENTS = tuple(
    ROOT / name for name in ("README.md", "docs/results.md", "docs/recipe.md", "docs/speed.md")
)
_BLOCK = re.compile(
    r"(?P<start><!-- (?P<kind>\w+): (?P<dataset>\S+) -->\n).*?(?P<end><!-- end of (?P=kind) -->)",
    re.S,
)


TABLES: dict[str, Callable[[Sequence[dict[str, Any]], str], str]] = {
    "summary": summary_table,
    "results": quality_table,
    "history": history_table,
    "words": words_table,
    "recipe": recipe_table,
    "decoding": decoding_table,
    "speed": speed_table,
    "alone": alone_table,
    "tradeoff": tradeoff_table,
    "training": training_table,
    "scaling": scaling_table,
}


def renew(document: str, records: Sequence[dict[str, Any]]) -> str:
    """The document with each of its tables made anew.

    Raises:
        ValueError: the document has no markers, or one of no known kind.
    """

    def block(match: re.Match[str]) -> str:
        if match["kind"] not in TABLES:
            raise ValueError(
                f"the kind of a table must be one of {sorted(TABLES)}, but is "
                f"{match['kind']!r} instead."
            )
        table = TABLES[match["kind"]](records, match["dataset"])
        return f"{match['start']}\n{table}\n{match['end']}"

    renewed, count = _BLOCK.subn(block, document)
    if not count:
        raise ValueError("the document must have a line `<!-- KIND: DATASET -->`, but has none.")
    return renewed


def renew_documents(document: Path | None, results: Path | None, check: bool = False) -> int:
    """Makes the tables of one document anew, or else of all; an exit status.

    Args:
        document: which one; all of `DOCUMENTS` if None.
        results: the folder of the JSON files; the project's if None.
        check: changes nothing, and 1 is the status where a table is out of date.
    """
    records = read_all(results or RESULTS)
    status = 0
    for path in (document,) if document else DOCUMENTS:
        old = path.read_text(encoding="utf-8")
        new = renew(old, records)
        if new == old:
            continue
        if check:
            print(f"{path} is out of date: run python -m benchmarks.table", file=sys.stderr)
            status = 1
        else:
            path.write_text(new, encoding="utf-8")
    return status


def main(argv: Sequence[str] | None = None) -> int:
    """Renews or checks the tables of documents."""
    parser = argparse.ArgumentParser(description="Renew the tables of results in documents.")
    parser.add_argument("--document", type=Path, help="default: README.md and those of docs/")
    parser.add_argument("--results", type=Path, help="folder of JSON files")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if outdated")
    args = parser.parse_args(argv)
    return renew_documents(args.document, args.results, args.check)


if __name__ == "__main__":
    sys.exit(main())
