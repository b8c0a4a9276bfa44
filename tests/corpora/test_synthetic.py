"""The corpus of dates, times and quantities beside a translator written from the rules by hand."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from itertools import islice
from pathlib import Path

import pytest

from abnet.corpora.synthetic import (
    Grammar,
    Pair,
    count_of,
    distinct_pairs,
    main,
    number,
    ordinal,
    write_corpus,
)
from abnet.errors import AbNetError

GERMAN_SMALL = (
    "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn "
    "fünfzehn sechzehn siebzehn achtzehn neunzehn".split()
)
ENGLISH_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen".split()
)
GERMAN_TENS = "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig".split()
ENGLISH_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
ENGLISH_ORDINALS = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth "
    "fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth twenty-first "
    "twenty-second twenty-third twenty-fourth twenty-fifth twenty-sixth twenty-seventh "
    "twenty-eighth twenty-ninth thirtieth thirty-first".split()
)
WEEKDAYS = {
    "Montag": "Monday",
    "Dienstag": "Tuesday",
    "Mittwoch": "Wednesday",
    "Donnerstag": "Thursday",
    "Freitag": "Friday",
    "Samstag": "Saturday",
    "Sonntag": "Sunday",
}
MONTHS = {
    "Januar": "January",
    "Februar": "February",
    "März": "March",
    "April": "April",
    "Mai": "May",
    "Juni": "June",
    "Juli": "July",
    "August": "August",
    "September": "September",
    "Oktober": "October",
    "November": "November",
    "Dezember": "December",
}
GOODS = {
    "Kilogramm Weizenmehl": "kilograms of wheat flour",
    "Kilogramm Rohrzucker": "kilograms of cane sugar",
    "Kilogramm Reis": "kilograms of rice",
    "Kilogramm Ziegenkäse": "kilograms of goat cheese",
    "Kilogramm Kartoffeln": "kilograms of potatoes",
    "Kilogramm Haselnüsse": "kilograms of hazelnuts",
    "Liter Vollmilch": "liters of whole milk",
    "Liter Apfelsaft": "liters of apple juice",
    "Liter Olivenöl": "liters of olive oil",
    "Liter Rotwein": "liters of red wine",
    "Liter Regenwasser": "liters of rain water",
    "Meter Stoff": "meters of fabric",
    "Meter Kupferdraht": "meters of copper wire",
    "Meter Gartenschlauch": "meters of garden hose",
}
MONEY = {"Euro": "euros", "US-Dollar": "US dollars", "Schweizer Franken": "Swiss francs"}

GOLDEN = {  # written by hand
    "die Zahlen drei, einundneunzig und zwölf": "the numbers three, ninety-one and twelve",
    "am Montag, dem dritten Mai, um halb acht": "at half past seven on Monday, May third",
    "um halb eins, zwei Liter Vollmilch": "two liters of whole milk at half past twelve",
    "um ein Uhr, elf Meter Stoff": "eleven meters of fabric at one o'clock",
    "am Samstag, dem siebten Juni, um Viertel vor eins": (
        "at a quarter to one on Saturday, June seventh"
    ),
    "sechzehn Meter Kupferdraht für siebenundsiebzig US-Dollar": (
        "sixteen meters of copper wire for seventy-seven US dollars"
    ),
    "um ein Uhr fünf, einhundertein Liter Rotwein": (
        "one hundred and one liters of red wine at one oh five"
    ),
    "drei Kilogramm Reis für eintausendein Euro fünfzig": (
        "three kilograms of rice for one thousand and one euros fifty"
    ),
    "am Donnerstag, dem dreißigsten April zweitausendneun, um zwanzig Uhr zehn": (
        "at twenty ten on Thursday, April thirtieth, two thousand and nine"
    ),
    "am Freitag, dem ersten März zweitausendvierundzwanzig, um fünf nach zwölf, zwei Kilogramm "
    "Reis und einhundertzweitausendeinhundertein Meter Gartenschlauch": (
        "two kilograms of rice and one hundred and two thousand, one hundred and one meters of "
        "garden hose at five past twelve on Friday, March first, twenty twenty-four"
    ),
    "bei zwei Grad Celsius in neunzig Stunden einhunderteintausend Kilometer": (
        "one hundred and one thousand kilometers in ninety hours at two degrees Celsius"
    ),
    "die Zahlen einhunderteins, eintausendzweihundert und zweitausendeins": (
        "the numbers one hundred and one, one thousand, two hundred and two thousand and one"
    ),
}


def german_number(value: int, one: str = "eins") -> str:
    """`one` is what a last 1 is called: "ein" before a noun."""
    for size, name in ((1000, "tausend"), (100, "hundert")):
        if value >= size:
            many, rest = divmod(value, size)
            return german_number(many, "ein") + name + (german_number(rest, one) if rest else "")
    if value == 1:
        return one
    if value < 20:
        return GERMAN_SMALL[value]
    tens, ones = divmod(value, 10)
    return (german_number(ones, "ein") + "und" if ones else "") + GERMAN_TENS[tens - 2]


def english_number(value: int) -> str:
    for size, name in ((1000, "thousand"), (100, "hundred")):
        if value >= size:
            many, rest = divmod(value, size)
            link = " and " if rest < 100 else ", "
            tail = link + english_number(rest) if rest else ""
            return f"{english_number(many)} {name}{tail}"
    if value < 20:
        return ENGLISH_SMALL[value]
    tens, ones = divmod(value, 10)
    return ENGLISH_TENS[tens - 2] + (f"-{ENGLISH_SMALL[ones]}" if ones else "")


def value_of(words: str) -> int:
    """The number that German words spell."""
    for size, name in ((1000, "tausend"), (100, "hundert")):
        if name in words:
            many, rest = words.split(name)
            return size * value_of(many) + (value_of(rest) if rest else 0)
    if words in ("ein", "eins"):
        return 1
    if words in GERMAN_SMALL:
        return GERMAN_SMALL.index(words)
    ones, _, tens = words.rpartition("und")
    return 10 * (GERMAN_TENS.index(tens) + 2) + (value_of(ones) if ones else 0)


def translate(german: str) -> str:
    """German to English by rules, for the sentences of the corpus only."""
    if match := re.fullmatch(r"die Zahlen (\w+), (\w+) und (\w+)", german):
        return "the numbers {}, {} and {}".format(*(spell(word) for word in match.groups()))
    distance = r"bei (\w+) Grad Celsius in (\w+) Stunden (\w+) Kilometer"
    if match := re.fullmatch(distance, german):
        warm, long, far = match.groups()
        return (
            f"{spell(far, 'ein')} kilometers in {spell(long)} hours at {spell(warm)} degrees "
            "Celsius"
        )
    if " für " in german:
        thing, price = german.split(" für ")
        return f"{translate_thing(thing)} for {translate_price(price)}"
    match = re.fullmatch(
        r"((?P<day>am \w+, dem \w+ \w+( \w+)?)(, |$))?((?P<time>um [^,]+)(, |$))?(?P<things>.*)",
        german,
    )
    assert match
    parts = []
    if match["things"]:
        parts.append(" and ".join(map(translate_thing, match["things"].split(" und "))))
    if match["time"]:
        parts.append(translate_time(match["time"].removeprefix("um ")))
    if match["day"]:
        parts.append(translate_day(match["day"]))
    return " ".join(parts)


def spell(words: str, one: str = "eins") -> str:
    assert german_number(value_of(words), one) == words
    return english_number(value_of(words))


def translate_thing(german: str) -> str:
    count, thing = german.split(" ", 1)
    return f"{spell(count, 'ein')} {GOODS[thing]}"


def translate_price(german: str) -> str:
    match = re.fullmatch(r"(\w+) (Euro|US-Dollar|Schweizer Franken)( \w+)?", german)
    assert match
    cents = f" {spell(match[3].strip())}" if match[3] else ""
    return f"{spell(match[1], 'ein')} {MONEY[match[2]]}{cents}"


def translate_time(german: str) -> str:
    words = german.split()
    if words[0] == "halb":
        return f"at half past {english_number(value_of(words[1]) - 1 or 12)}"
    if words[1] == "Uhr":
        hour = spell(words[0], "ein")
        if len(words) == 2:
            return f"at {hour} o'clock"
        return f"at {hour} {'oh ' if value_of(words[2]) < 10 else ''}{spell(words[2])}"
    distance = "a quarter" if words[0] == "Viertel" else spell(words[0])
    side = {"nach": "past", "vor": "to"}[words[1]]
    return f"at {distance} {side} {spell(words[2])}"


def translate_day(german: str) -> str:
    match = re.fullmatch(r"am (\w+), dem (\w+) (\w+)(?: (\w+))?", german)
    assert match
    weekday, day, month, year = match.groups()
    ordinal = ENGLISH_ORDINALS[ORDINALS[day] - 1]
    english = f"on {WEEKDAYS[weekday]}, {MONTHS[month]} {ordinal}"
    if year is None:
        return english
    value = value_of(year)
    assert date(value, [*MONTHS].index(month) + 1, ORDINALS[day]).weekday() == (
        [*WEEKDAYS].index(weekday)
    )
    if value < 2010:
        return f"{english}, {english_number(value)}"
    return f"{english}, twenty {english_number(value - 2000)}"


def german_ordinal(value: int) -> str:
    irregular = {1: "ersten", 3: "dritten", 7: "siebten", 8: "achten"}
    return irregular.get(value, german_number(value) + ("ten" if value < 20 else "sten"))


ORDINALS = {german_ordinal(value): value for value in range(1, 32)}


def sample(seed: int, hard: bool, count: int = 4000) -> list[Pair]:
    return list(islice(distinct_pairs(Grammar(seed, hard)), count))


@pytest.mark.parametrize("german", GOLDEN)
def test_the_rules_know_the_golden_pairs(german: str) -> None:
    assert translate(german) == GOLDEN[german]


@pytest.mark.parametrize("hard", [False, True])
def test_every_pair_follows_the_rules(hard: bool) -> None:
    for german, english in sample(11, hard, count=2500):
        assert translate(german) == english


def test_first_lines_of_a_seed() -> None:
    """What the code gave when this was written: a corpus of one name stays the same."""
    assert [german for german, _ in sample(1, hard=False, count=3)] == [
        "die Zahlen vierundsiebzig, neunundneunzig und zehn",
        "am Sonntag, dem zwölften Juni, fünfundachtzig Kilogramm Ziegenkäse",
        "am Montag, dem zweiten Juni, einundfünfzig Kilogramm Weizenmehl",
    ]
    assert [german for german, _ in sample(1, hard=True, count=3)] == [
        "die Zahlen achtzehntausendzweihunderteinundsiebzig, zweihundertzwanzig und "
        "achttausenddreihundertvierundsechzig",
        "um dreizehn Uhr achtundzwanzig, fünfhundertsiebenundsechzigtausendzweiundzwanzig "
        "Liter Vollmilch",
        "am Sonntag, dem zwölften Januar, zwei Kilogramm Weizenmehl",
    ]


def test_numbers() -> None:
    """Among them 101,000, which is no "einhunderteinstausend"."""
    for value in [*range(1, 1300), *range(1300, 1_000_000, 997), *range(101_000, 999_999, 100_000)]:
        assert number(value, "de") == german_number(value)
        assert count_of(value, "de") == german_number(value, "ein")
        assert number(value, "en") == count_of(value, "en") == english_number(value)


def test_days_of_the_month() -> None:
    for value in range(1, 32):
        assert ordinal(value, "de") == german_ordinal(value)
        assert ordinal(value, "en") == ENGLISH_ORDINALS[value - 1]


def values(german: str) -> Iterator[int]:
    """Values of the words that are numbers."""
    pieces = "|".join([*GERMAN_SMALL, *GERMAN_TENS, "ein", "und", "hundert", "tausend"])
    for word in re.findall(r"\w+", german):
        if word != "und" and re.fullmatch(f"({pieces})+", word):
            yield value_of(word)


def test_easy_covers() -> None:
    germans = [german for german, _ in sample(2, hard=False)]
    assert {value for german in germans for value in values(german)} == set(range(1, 100))
    starts = ("die Zahlen", "um halb", "um Viertel vor", "um Viertel nach", "am Montag")
    assert all(any(german.startswith(start) for german in germans) for start in starts)
    endings = {*(good.split()[-1] for good in GOODS), "Euro", "US-Dollar", "Franken"}
    assert {german.split()[-1] for german in germans} >= endings
    assert not [german for german in germans if "zweitausend" in german or "Celsius" in german]


def test_hard_covers() -> None:
    """Long numbers, years, every minute of 23 hours, cents, two things at a time, distances."""
    germans = [german for german, _ in sample(3, hard=True)]
    lengths = {len(str(value)) for german in germans for value in values(german)}
    assert lengths == {1, 2, 3, 4, 5, 6}
    joined = "\n".join(germans)
    minutes = re.findall(r"um (\w+) Uhr (\w+)", joined)
    assert {value_of(hour) for hour, _ in minutes} == set(range(1, 24))
    assert {value_of(minute) for _, minute in minutes} == set(range(1, 60))
    years = {value_of(year) for year in re.findall(r", dem \w+ \w+ (zweitausend\w*)", joined)}
    assert years == set(range(2000, 2055))
    cents = {value_of(cents) for cents in re.findall(r"Euro (\w+)", joined)}
    assert cents <= set(range(2, 100))
    assert len(cents) > 60
    assert not re.findall(r"Euro$", joined, re.MULTILINE)
    kinds = (" und .* (Liter|Kilogramm|Meter) ", "Grad Celsius in .* Stunden", "für .* Franken$")
    for kind in (*kinds, "^am .*, dem .*, um .*", "um halb", "^die Zahlen"):
        assert len(re.findall(kind, joined, re.MULTILINE)) > 40, kind


@pytest.mark.parametrize("hard", [False, True])
def test_one_meaning_has_one_form(hard: bool) -> None:
    """Repetitions included, no German has two translations."""
    grammar = Grammar(4, hard)
    english_of: dict[str, str] = {}
    for _ in range(3000):
        german, english = grammar.sentence()
        assert english_of.setdefault(german, english) == english


def read(folder: Path) -> dict[str, list[str]]:
    return {
        path.name: path.read_text(encoding="utf-8").split("\n")[:-1] for path in folder.iterdir()
    }


@pytest.mark.parametrize("hard", [False, True])
def test_splits_share_nothing(tmp_path: Path, hard: bool) -> None:
    write_corpus(tmp_path / "new" / "folder", train=1500, valid=60, test=70, hard=hard)
    files = read(tmp_path / "new" / "folder")
    sizes = {"train": 1500, "valid": 60, "test": 70}
    assert {name: len(lines) for name, lines in files.items()} == {
        f"{split}.{language}": size for split, size in sizes.items() for language in ("de", "en")
    }
    for language in ("de", "en"):
        lines = [line for name in files if name.endswith(language) for line in files[name]]
        assert len(set(lines)) == len(lines) == 1630
    for split in sizes:
        for german, english in zip(files[f"{split}.de"], files[f"{split}.en"], strict=True):
            assert translate(german) == english


def test_size_of_training_part_changes_nothing_else(tmp_path: Path) -> None:
    write_corpus(tmp_path / "small", train=10, valid=20, test=30, seed=7)
    write_corpus(tmp_path / "large", train=50, valid=20, test=30, seed=7)
    small, large = read(tmp_path / "small"), read(tmp_path / "large")
    for name in small:
        assert small[name] == large[name][: len(small[name])]
        assert name.startswith("train") or small[name] == large[name]


def test_seed_decides(tmp_path: Path) -> None:
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_corpus(tmp_path / folder, train=20, valid=5, test=5, seed=seed)
    assert read(tmp_path / "a") == read(tmp_path / "b") != read(tmp_path / "c")


@pytest.mark.parametrize("split", ["train", "valid", "test"])
@pytest.mark.parametrize("count", [0, -1])
def test_split_without_pairs(tmp_path: Path, split: str, count: int) -> None:
    sizes = {"train": 2, "valid": 2, "test": 2, split: count}
    with pytest.raises(AbNetError, match=f"`{split}` must be at least 1, but is {count} instead"):
        write_corpus(tmp_path / "new", **sizes)
    assert not (tmp_path / "new").exists()


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = ["--train", "9", "--valid", "3", "--test", "4", "--seed", "5"]
    subprocess.run(
        [sys.executable, "-m", "abnet.corpora.synthetic", tmp_path / "shell", "--hard", *sizes],
        check=True,
    )
    monkeypatch.setattr(sys, "argv", ["synthetic", str(tmp_path / "here"), "--hard", *sizes])
    main()
    write_corpus(tmp_path / "library", train=9, valid=3, test=4, seed=5, hard=True)
    assert read(tmp_path / "shell") == read(tmp_path / "here") == read(tmp_path / "library")
