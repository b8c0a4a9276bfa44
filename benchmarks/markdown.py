"""Markdown tables out of records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

NOT_MEASURED = "-"


def markdown_table(
    columns: Mapping[str, Callable[[dict[str, Any]], str]], rows: Iterable[dict[str, Any]]
) -> str:
    """One line a record; `columns` makes a cell of it under each heading."""
    lines = [
        "| " + " | ".join(columns) + " |",
        "|" + "---|" * len(columns),
        *("| " + " | ".join(cell(row) for cell in columns.values()) + " |" for row in rows),
    ]
    return "\n".join(lines) + "\n"
