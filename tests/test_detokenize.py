"""Sentences of our own, one or more for every rule; each must survive BERT's cutting."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.pre_tokenizers import BertPreTokenizer

from abnet.detokenize import join_wordpieces, join_words

ENGLISH = [
    "The T-shirt isn't cheap: it's $3.50, or 20% off with the card.",
    "They'll meet at 10:30, won't they?",
    'She said "no", then "maybe"; he heard "yes!"',
    "“Wait,” she said, “that’s the dogs’ bowl.”",
    "The players' coach (a former goalkeeper) wasn't there...",
    "Rock'n'roll from the '80s was Jill O'Brien's first love.",
    "Write to info@example.com or visit www.example.com/help today!",
    "The U.S. team beat A&M, Tom & Jerry watched.",
    "A state-of-the-art, black-and-white photo of two- and three-wheelers.",
    "In May 5, 2013, about 1,500,000 people saw it [live] and/or on tape.",
    "He walked away - the others stayed -- and nobody spoke.",
    "Is number #7 the 1939–1945 one – or not?",
    "It costs 5 € in the {small} shop_window.",
    "What would you do?”",
    "The girls' high school and the boys' gym say 'hello' to the ladies' choir.",
    "I'd've told 'em, she's 5'8 tall.",
    'A sign that reads "Open Late" hangs over the cafe\'s door.',
    "He calls it a 'small miracle'.",
    "He said ‘yes’ and ‘I don’t know’ to the boss ‘Bill’.",
    "The girls’ school says ‘hello’, and ’twas late.",
    "A $3.5m flat, 5,000m away, opens at 10:30am and weighs 2.5kg.",
    "It was £5.50, ¥9,500 or €5 in the U.K.'s U.S.-led shop - currently closed.",
    "She said 'no.' So did he. - Why?",
    "In Room 12, 3rd floor, she is 25, 6ft tall; on May 5, 19th century, in 82, 70s style.",
    "G20: 3 countries, Top 5: 3D printers, Part 3: Exam, MP3, 4 GB, on place 3. 100m runners.",
]
GERMAN = [
    "Das U-Boot kostet 2,50 Euro, nicht 1.200.000 Euro.",
    "„Komm her“, sagte sie, „und bring den Ball mit!“",
    "Die »alte« Tür, die ›neue‹ Tür und die ‚dritte‘ Tür.",
    "Zwei- und Dreiräder sowie Auf- und Abgänge mit Schutzhelm und -handschuhen.",
    "Um 18:45 Uhr fährt Jans' Bus; Hans' Auto steht z.B. am Kopf-an-Kopf-Platz.",
    "Ein Mann im „New York“-Hemd steht – wie immer – vor dem Haus (links).",
    "Der Pilot/die Pilotin fliegt 3,5 Stunden: ohne Pause.",
    "Ein Kind lacht - das kleinste von allen.",
    "Die Zeit läuft ab”.",
    "Die 1,5fache Menge - auf Wunsch für 5 € das Kilo - ist Dr.-Ing. Adam aus St.-Martin zu viel.",
    "Ja. - Nein. Napoleon I. - Kaiser. Er lebt in der EU. - Brüssel zahlt 100 £ und 1,5 €.",
    "Die U17, 12 Spieler, und Q3, 25 Prozent, wurden 3. 100m-Läufer.",
]
OTHERS = [
    "L'homme qu'il aime n'est pas là-bas aujourd'hui.",
    "C'est «le» dernier jour de l'été, jusqu'à midi.",
    "Dell'acqua e un'altra bottiglia sull'erba.",
    "¿Dónde está? ¡Aquí!",
    "他说：「你好！」我很高兴。",
    "هل أنت هنا؟ نعم، أنا هنا.",
    "Är det ”stort” eller ”litet”?",
]


def cut(text: str) -> list[str]:
    """The words that BERT's tokenizer makes before it looks for pieces."""
    spaced = "".join(f" {c} " if "\u4e00" <= c <= "\u9fff" else c for c in text)
    return [word for word, _ in BertPreTokenizer().pre_tokenize_str(spaced)]


@pytest.mark.parametrize("text", ENGLISH + GERMAN + OTHERS)
def test_spaces_come_back(text: str) -> None:
    assert join_words(cut(text)) == text


def test_pieces_become_words() -> None:
    pieces = ["Ein", "T", "-", "Sh", "##ir", "##t", "für", "3", ".", "50", "Euro", "!"]
    assert join_wordpieces(pieces) == "Ein T-Shirt für 3.50 Euro!"


def test_a_continuation_without_a_beginning_is_a_word() -> None:
    assert join_wordpieces(["##ing", "##s", "now"]) == "ings now"
    assert join_wordpieces(["##"]) == "##"


def test_another_prefix() -> None:
    assert join_wordpieces(["hel", "@@lo", "##x"], prefix="@@") == "hello ##x"


def test_nothing_gives_nothing() -> None:
    assert join_wordpieces([]) == ""


@given(st.lists(st.text(alphabet="aB1'\"“„«-–.,:;!?()$&@#/%…中", min_size=1)))
def test_no_character_is_lost_or_added(words: list[str]) -> None:
    assert join_words(words).replace(" ", "") == "".join(words)
