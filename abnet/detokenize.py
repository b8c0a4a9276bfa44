"""WordPieces back to raw text.

BERT's tokenizer cuts a text at white space and around every punctuation mark, and forgets which of
the two it was: "T-Shirt", "don't" and "3.50" come out as three words each. The rules below put the
spaces back. They decide, for every word, whether it clings to its left and to its right neighbour;
a space stands where neither of two neighbours clings to the other. They need no language to be
named: where languages differ (quotation marks, elisions), they go by the words beside the mark.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple


class Cling(NamedTuple):
    """Whether a word is written without a space towards its left and its right neighbour."""

    left: bool
    right: bool


SPACED = Cling(False, False)
LEFT = Cling(True, False)
RIGHT = Cling(False, True)
BOTH = Cling(True, True)

# Marks that always cling the same way. What is in no table stands between spaces.
_FIXED = (
    dict.fromkeys(";!?)]}%‰…′″、。，！？：；）」』】〉》؟،؛।", LEFT)
    | dict.fromkeys("([{¿¡#（「『【〈《", RIGHT)
    | dict.fromkeys("/\\_·־״", BOTH)
)
_APOSTROPHES = frozenset("'’‘`")
# Families of quotation marks. A mark closes an open one of its own family, and opens otherwise:
# languages disagree on which of them opens ("x", “x”, „x“, ”x”; «x», »x«).
_QUOTES = {mark: family for family in ('"“”„', "«»", "‹›", "‚'’‘`") for mark in family}
_HYPHENS = frozenset("-‐‑")
_SENTENCE_ENDS = frozenset(".!?…")

# After or before these a hyphen stands for the rest of a word: "Zwei- und Dreiräder".
_CONJUNCTIONS_AFTER = frozenset("und oder bzw sowie als bis and or".split())
_CONJUNCTIONS_BEFORE = frozenset("und oder bzw sowie".split())
# Behind a hyphen that is no part of a longer chain ("state-of-the-art") these begin a new clause.
_CLAUSE_STARTS = frozenset(
    "the this that these we he she it its they there his her which what where but since with "
    "our are was would does as even among currently "
    "der die das den dem ein eine einen dies diese dieser wir er sie es ich was wer wenn mit "
    "einer einem eines unser unsere auf im vor von wie sind hatte ist um ohne hier noch bereits "
    "darin dahinter neben wird würde würden derzeit nicht trotz alle beide jeder erstmals etwa "
    "la le les un une ce cette il elle ils elles nous mais avec".split()
)
# What follows an apostrophe within a word: "it's", "don't", "Rock'n'Roll".
_ENCLITICS = frozenset("s t re ve ll d m n".split())
# What follows an apostrophe that begins a word: "got 'em"; decades ("'80s") are known by form.
_APHAERESES = frozenset("em til cause tis twas ne nen".split())
# What stands before an apostrophe within a word in French, Italian and Irish names: "l'homme".
_PROCLITICS = frozenset("l d j m n s t c o qu un aujourd presqu quest sant anch senz mezz".split())
_PROCLITIC_ENDINGS = ("qu", "ll")  # "jusqu'à", "dell'arte"
_TITLES = frozenset("Dr Prof Dipl St Ing".split())
# What is written behind a number without a space.
_UNITS = frozenset("m km cm mm kg g mg l ml t k bn mn am pm fach fache fachen".split())
_DOMAINS = frozenset("com org net edu gov co uk eu".split())


def join_wordpieces(pieces: Sequence[str], prefix: str = "##") -> str:
    """Joins WordPieces to a line of text.

    Args:
        pieces: WordPieces, without special symbols.
        prefix: what marks a piece that continues a word.
    """
    words: list[str] = []
    for piece in pieces:
        continues = piece.startswith(prefix) and len(piece) > len(prefix)
        stem = piece[len(prefix) :] if continues else piece
        if continues and words:
            words[-1] += stem
        else:
            words.append(stem)
    return join_words(words)


def join_words(words: Sequence[str]) -> str:
    """Joins words that were cut at white space and around punctuation marks."""
    text = ""
    previous = BOTH
    for word, cling in zip(words, _clings(words), strict=True):
        if not (previous.right or cling.left or (is_cjk(text[-1:]) and is_cjk(word[:1]))):
            text += " "
        text += word
        previous = cling
    return text


def _clings(words: Sequence[str]) -> list[Cling]:
    clings: list[Cling] = []
    open_quotes: set[str] = set()
    for at, word in enumerate(words):
        within = _apostrophe(words, at, open_quotes) if word in _APOSTROPHES else None
        if within is not None:
            clings.append(within)
        elif word in _QUOTES:
            clings.append(_quote(words, at, open_quotes))
            open_quotes ^= {_QUOTES[word]}
        elif word in _IN_CONTEXT:
            clings.append(_IN_CONTEXT[word](words, at))
        else:
            clings.append(_FIXED.get(word, SPACED))
    return clings


def _quote(words: Sequence[str], at: int, open_quotes: set[str]) -> Cling:
    """A quotation mark: the family toggles between open and closed."""
    family = _QUOTES[words[at]]
    if words[at] == "„":
        open_quotes.discard(family)  # the only one that never closes
        return RIGHT
    if family in open_quotes:
        return LEFT
    before, after = _neighbours(words, at)
    unpaired = sum(_QUOTES.get(word) == family for word in words[at:]) % 2 == 1
    if unpaired and (before in _SENTENCE_ENDS or after in ("", ".", ",")):
        open_quotes.add(family)  # it was opened in an earlier line; the caller closes it
        return LEFT
    return RIGHT


def _apostrophe(words: Sequence[str], at: int, open_quotes: set[str]) -> Cling | None:
    """How an apostrophe clings, or None if it is a quotation mark."""
    before, after = (word.lower() for word in _neighbours(words, at))
    begins_word = _begins_with_apostrophe(after)
    if not before[-1:].isalnum():
        if after in _ENCLITICS and _is_abbreviated(words, at):
            return BOTH  # "the U.K.'s"
        return RIGHT if begins_word else None
    if after in _ENCLITICS:
        return BOTH
    if at >= 2 and words[at - 2] in _APOSTROPHES:
        if before == "n" and after:
            return BOTH  # "Rock'n'Roll"
    elif before in _PROCLITICS or before.endswith(_PROCLITIC_ENDINGS):
        return BOTH
    if _QUOTES[words[at]] in open_quotes:
        return None
    if begins_word:
        return RIGHT
    after_s = before[-1] in "sxz"
    rest = range(at + 1, len(words))
    if words[at] == "‘" and any(_closes(words, later, "’", False) for later in rest):
        return None
    closers = sum(_closes(words, later, words[at], after_s) for later in rest)
    if words[at] != "’" and (closers % 2 == 1 if after_s else closers):
        return None
    return BOTH if after[:1].isalnum() and not after_s else LEFT


def _begins_with_apostrophe(word: str) -> bool:
    return word in _APHAERESES or (word[:1].isdigit() and word.endswith("0s"))


def _closes(words: Sequence[str], at: int, mark: str, after_s: bool) -> bool:
    """Whether a word is the apostrophe that ends a quotation, whose first mark is behind an s."""
    before, after = (word.lower() for word in _neighbours(words, at))
    if words[at] != mark or after in _ENCLITICS or _begins_with_apostrophe(after):
        return False
    return not (after_s and before[-1:] in ("s", "x", "z") and after[:1].isalnum())


def _hyphen(words: Sequence[str], at: int) -> Cling:
    before, after = _neighbours(words, at)
    if before in _HYPHENS or after in _HYPHENS:
        return Cling(before in _HYPHENS, after in _HYPHENS)  # "--"
    if (
        not before
        or (before in ".,;:!?" and not _is_abbreviated(words, at))
        or (at >= 2 and before in _QUOTES and words[at - 2] in ".,!?")
    ):
        return SPACED
    in_chain = (at >= 2 and words[at - 2] in _HYPHENS) or (
        at + 2 < len(words) and words[at + 2] in _HYPHENS
    )
    if in_chain:
        return BOTH
    if before in _CONJUNCTIONS_BEFORE:
        return RIGHT  # "Helm und -handschuhe"
    if after in _CONJUNCTIONS_AFTER:
        return LEFT  # "Zwei- und Dreiräder"
    return SPACED if after.lower() in _CLAUSE_STARTS else BOTH


def _is_abbreviated(words: Sequence[str], at: int) -> bool:
    """Whether the word before is the period of an abbreviation: "U.S.-led", "Dr.-Ing."."""
    if at < 2 or words[at - 1] != ".":
        return False
    is_initial = len(words[at - 2]) == 1 and words[at - 2].isupper() and at >= 3
    return (is_initial and words[at - 3] == ".") or words[at - 2] in _TITLES


def _is_measured(word: str, digits: int) -> bool:
    """Whether it is at most so many digits and a unit: "5kg", but not "3rd" or "70s"."""
    unit = word.lstrip("0123456789")
    return 1 <= len(word) - len(unit) <= digits and unit in _UNITS


def _period(words: Sequence[str], at: int) -> Cling:
    before, after = _neighbours(words, at)
    if before.lstrip("£€¥").isdigit() and (after.isdigit() or _is_measured(after, 2)):
        return BOTH  # "3.50", "£3.50", "2.5kg"
    is_initial = len(before) == len(after) == 1 and before.isalpha() and after.isalpha()
    if is_initial and at + 2 < len(words) and words[at + 2] in (".", *_APOSTROPHES):
        return BOTH  # "U.S."
    return BOTH if "www" in words[max(0, at - 4) : at] or after in _DOMAINS else LEFT


def _comma(words: Sequence[str], at: int) -> Cling:
    before, after = _neighbours(words, at)
    whole = before.lstrip("£€¥")
    is_number = whole.isdigit() and after.isdigit() and len(whole) <= 3 and len(after) <= 3
    return BOTH if is_number or (whole.isdigit() and _is_measured(after, 3)) else LEFT


def _colon(words: Sequence[str], at: int) -> Cling:
    before, after = _neighbours(words, at)
    minutes = after.removesuffix("am").removesuffix("pm")  # "10:30am"
    is_time = before.isdigit() and minutes.isdigit()
    return BOTH if is_time or after == "/" else LEFT


def _ampersand(words: Sequence[str], at: int) -> Cling:
    before, after = _neighbours(words, at)
    return BOTH if len(before) == len(after) == 1 else SPACED  # "Q&A", "Tom & Jerry"


def _dash(words: Sequence[str], at: int) -> Cling:
    before, after = _neighbours(words, at)
    return BOTH if before.isdigit() and after.isdigit() else SPACED


def _dollar(words: Sequence[str], at: int) -> Cling:
    before, after = _neighbours(words, at)
    is_prefix = after[:1].isdigit()
    return Cling(before == "US" or (before.isdigit() and not is_prefix), is_prefix)


def _at_sign(words: Sequence[str], at: int) -> Cling:
    is_address = at + 2 < len(words) and words[at + 2] == "."
    return BOTH if is_address else RIGHT


_IN_CONTEXT: dict[str, Callable[[Sequence[str], int], Cling]] = {
    **dict.fromkeys(_HYPHENS, _hyphen),
    **dict.fromkeys("–—", _dash),
    ".": _period,
    ",": _comma,
    ":": _colon,
    "&": _ampersand,
    "$": _dollar,
    "@": _at_sign,
}


def _neighbours(words: Sequence[str], at: int) -> tuple[str, str]:
    """The words before and after; empty at the ends."""
    return (words[at - 1] if at else ""), (words[at + 1] if at + 1 < len(words) else "")


# Scripts that are written without spaces between words.
_CJK = (
    ("\u2e80", "\u30ff"),  # radicals, punctuation, kana
    ("\u3400", "\u9fff"),
    ("\uf900", "\ufaff"),
    ("\uff00", "\uffef"),  # full-width forms
    ("\U00020000", "\U0003ffff"),
)


def is_cjk(character: str) -> bool:
    """Whether a sign is of Chinese or Japanese script, or full-width."""
    return any(first <= character <= last for first, last in _CJK)
