"""WordPieces to raw text."""

from __future__ import annotations

from collections.abc import Sequence


def join_wordpieces(pieces: Sequence[str], prefix: str = "##") -> str:
    """Joins WordPieces to a line of text."""
    words: list[str] = []
    for piece in pieces:
        if piece.startswith(prefix) and len(piece) > len(prefix) and words:
            words[-1] += piece[len(prefix) :]
        else:
            words.append(piece)
    return " ".join(words)
