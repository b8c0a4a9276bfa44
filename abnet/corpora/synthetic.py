"""German-English dates, times, numbers and quantities, written out in words.

    python -m abnet.corpora.synthetic FOLDER [--hard] [--train N] [--valid N] [--test N] [--seed N]

writes `train.de`, `train.en`, `valid.*` and `test.*`. Every pair is exact, as Babel and num2words
know both languages, and no translation can be copied word by word: "dreiundzwanzig" is
"twenty-three", "um halb acht" is "at half past seven", "Weizenmehl" is "wheat flour", and German
tells the time before the thing.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from functools import cache
from pathlib import Path

from abnet.errors import AbNetError

Pair = tuple[str, str]
"""A German text and its English translation."""

GOODS: dict[str, tuple[Pair, ...]] = {
    "mass-kilogram": (
        ("Weizenmehl", "wheat flour"),
        ("Rohrzucker", "cane sugar"),
        ("Reis", "rice"),
        ("Ziegenkäse", "goat cheese"),
        ("Kartoffeln", "potatoes"),
        ("Haselnüsse", "hazelnuts"),
    ),
    "volume-liter": (
        ("Vollmilch", "whole milk"),
        ("Apfelsaft", "apple juice"),
        ("Olivenöl", "olive oil"),
        ("Rotwein", "red wine"),
        ("Regenwasser", "rain water"),
    ),
    "length-meter": (
        ("Stoff", "fabric"),
        ("Kupferdraht", "copper wire"),
        ("Gartenschlauch", "garden hose"),
    ),
}
CURRENCIES = ("EUR", "USD", "CHF")
FIRST_DAY = date(2000, 1, 1)
DAYS = 20_000


@cache
def number(value: int, language: str) -> str:
    """A whole number in words."""
    from num2words import num2words

    words = str(num2words(value, lang=language))
    return words.replace("einstausend", "eintausend")  # which num2words has in 101,000


def count_of(value: int, language: str) -> str:
    """A number of two or more in words before what it counts: "einhundertein Liter"."""
    words = number(value, language)
    return words.removesuffix("s") if language == "de" and words.endswith("eins") else words


@cache
def ordinal(value: int, language: str) -> str:
    """A day of the month in words, German in the dative."""
    from num2words import num2words

    words = str(num2words(value, lang=language, to="ordinal"))
    return words + "n" if language == "de" else words


@cache
def year(value: int, language: str) -> str:
    """A year in words."""
    from num2words import num2words

    return str(num2words(value, lang=language, to="year"))


@cache
def day_names(day: date, language: str) -> tuple[str, str]:
    """The weekday and the month of a day."""
    from babel.dates import format_date

    return format_date(day, "EEEE", locale=language), format_date(day, "MMMM", locale=language)


@cache
def unit(name: str, language: str) -> str:
    """A unit of measurement as it is called after two or more."""
    from babel.units import format_unit

    return str(format_unit(2, name, length="long", locale=language)).removeprefix("2 ")


@cache
def currency(code: str, language: str) -> str:
    """A currency as it is called after two or more."""
    from babel.numbers import get_currency_name

    return get_currency_name(code, count=2, locale=language)


class Grammar:
    """Draws pairs. A meaning has one German and one English form.

    Args:
        seed: what is drawn.
        hard: numbers to 999,999, years, every minute, cents, and two things at a time, instead
            of numbers to 99 and every fifth minute.
    """

    def __init__(self, seed: int, hard: bool = False) -> None:
        self.draw = random.Random(seed)
        self.hard = hard

    def sentence(self) -> Pair:
        """One sentence."""
        kinds: list[Callable[[], Pair]] = [
            self._moment,
            self._numbers,
            self._thing_then,
            self._thing_then,
            self._purchase,
        ]
        if self.hard:
            kinds += [self._two_things, self._distance]
        return self.draw.choice(kinds)()

    def _count(self) -> int:
        """2 to 99; hard: to 999,999, each number of digits equally often."""
        if not self.hard:
            return self.draw.randint(2, 99)
        digits = self.draw.randint(1, 6)
        return self.draw.randint(max(2, 10 ** (digits - 1)), 10**digits - 1)

    def _number(self) -> Pair:
        value = self._count()
        return number(value, "de"), number(value, "en")

    def _amount(self) -> Pair:
        value = self._count()
        return count_of(value, "de"), count_of(value, "en")

    def _day(self) -> Pair:
        """Such as "on Monday, May third"."""
        day = FIRST_DAY + timedelta(days=self.draw.randrange(DAYS))
        (weekday_de, month_de), (weekday_en, month_en) = day_names(day, "de"), day_names(day, "en")
        german = f"am {weekday_de}, dem {ordinal(day.day, 'de')} {month_de}"
        english = f"on {weekday_en}, {month_en} {ordinal(day.day, 'en')}"
        if self.hard and self.draw.random() < 0.5:
            return f"{german} {year(day.year, 'de')}", f"{english}, {year(day.year, 'en')}"
        return german, english

    def _time(self) -> Pair:
        """Such as "at half past seven"."""
        hour, minute = self.draw.randint(1, 12), self.draw.randrange(0, 60, 5)
        if self.hard and self.draw.random() < 0.5:
            hour, minute = self.draw.randint(1, 23), self.draw.randint(1, 59)
            # "Neun Uhr fünf" is "nine oh five" in English.
            oh = "oh " if minute < 10 else ""
            return (
                f"um {number(hour, 'de')[: None if hour > 1 else 3]} Uhr {number(minute, 'de')}",
                f"at {number(hour, 'en')} {oh}{number(minute, 'en')}",
            )
        this = {"de": number(hour, "de"), "en": number(hour, "en")}
        following = hour % 12 + 1
        then = {"de": number(following, "de"), "en": number(following, "en")}
        if minute == 0:
            return f"um {'ein' if hour == 1 else this['de']} Uhr", f"at {this['en']} o'clock"
        if minute == 30:
            return f"um halb {then['de']}", f"at half past {this['en']}"
        past = minute < 30
        distance = minute if past else 60 - minute
        german = "Viertel" if distance == 15 else number(distance, "de")
        english = "a quarter" if distance == 15 else number(distance, "en")
        hours = this if past else then
        return (
            f"um {german} {'nach' if past else 'vor'} {hours['de']}",
            f"at {english} {'past' if past else 'to'} {hours['en']}",
        )

    def _moment(self) -> Pair:
        """Such as "at half past seven on Monday, May third"."""
        (day_de, day_en), (time_de, time_en) = self._day(), self._time()
        return f"{day_de}, {time_de}", f"{time_en} {day_en}"

    def _numbers(self) -> Pair:
        """Such as "the numbers three, ninety-one and twelve"."""
        first, second, third = self._number(), self._number(), self._number()
        return (
            f"die Zahlen {first[0]}, {second[0]} und {third[0]}",
            f"the numbers {first[1]}, {second[1]} and {third[1]}",
        )

    def _thing(self) -> Pair:
        """Such as "three liters of apple juice"."""
        name = self.draw.choice(sorted(GOODS))
        good_de, good_en = self.draw.choice(GOODS[name])
        count_de, count_en = self._amount()
        return (
            f"{count_de} {unit(name, 'de')} {good_de}",
            f"{count_en} {unit(name, 'en')} of {good_en}",
        )

    def _price(self) -> Pair:
        """Such as "twelve euros"."""
        code = self.draw.choice(CURRENCIES)
        count_de, count_en = self._amount()
        german, english = f"{count_de} {currency(code, 'de')}", f"{count_en} {currency(code, 'en')}"
        if self.hard and code == "EUR":
            cents = self.draw.randint(2, 99)
            return f"{german} {number(cents, 'de')}", f"{english} {number(cents, 'en')}"
        return german, english

    def _thing_then(self) -> Pair:
        """Such as "three liters of apple juice on Monday, May third"."""
        then_de, then_en = self.draw.choice((self._day, self._time))()
        thing_de, thing_en = self._thing()
        return f"{then_de}, {thing_de}", f"{thing_en} {then_en}"

    def _purchase(self) -> Pair:
        """Such as "three liters of apple juice for twelve euros"."""
        (thing_de, thing_en), (price_de, price_en) = self._thing(), self._price()
        return f"{thing_de} für {price_de}", f"{thing_en} for {price_en}"

    def _two_things(self) -> Pair:
        """Such as "three liters of red wine and two meters of fabric at ten past one on Friday"."""
        (then_de, then_en), first, second = self._moment(), self._thing(), self._thing()
        return (
            f"{then_de}, {first[0]} und {second[0]}",
            f"{first[1]} and {second[1]} {then_en}",
        )

    def _distance(self) -> Pair:
        """Such as "forty kilometers in three hours at twelve degrees Celsius"."""
        far_de, far_en = self._amount()
        long, warm = self.draw.randint(2, 99), self.draw.randint(2, 40)
        kilometer, hour, celsius = "length-kilometer", "duration-hour", "temperature-celsius"
        return (
            f"bei {number(warm, 'de')} {unit(celsius, 'de')} in {number(long, 'de')} "
            f"{unit(hour, 'de')} {far_de} {unit(kilometer, 'de')}",
            f"{far_en} {unit(kilometer, 'en')} in {number(long, 'en')} {unit(hour, 'en')} "
            f"at {number(warm, 'en')} {unit(celsius, 'en')}",
        )


def distinct_pairs(grammar: Grammar) -> Iterator[Pair]:
    """Endless pairs of which neither side was ever seen before, in either language."""
    seen: tuple[set[str], set[str]] = set(), set()
    while True:
        german, english = grammar.sentence()
        if german not in seen[0] and english not in seen[1]:
            seen[0].add(german)
            seen[1].add(english)
            yield german, english


def write_corpus(
    folder: Path, train: int, valid: int, test: int, seed: int = 1, hard: bool = False
) -> None:
    """Writes the three splits, one sentence a line; no sentence stands in two of them.

    Args:
        folder: where to; made if missing.
        train, valid, test: pairs of each split.
        seed: what is drawn. Seeds share sentences: compare within one seed.
        hard: see `Grammar`.

    Raises:
        AbNetError: a split is to have no pairs.
    """
    # The held-out splits come first, so that the size of the training part does not change them.
    counts = {"test": test, "valid": valid, "train": train}
    for split, count in counts.items():
        if count < 1:
            raise AbNetError(f"`{split}` must be at least 1, but is {count} instead.")
    pairs = distinct_pairs(Grammar(seed, hard))
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in counts.items():
        drawn = [next(pairs) for _ in range(count)]
        for column, language in enumerate(("de", "en")):
            text = "".join(pair[column] + "\n" for pair in drawn)
            (folder / f"{split}.{language}").write_text(text, encoding="utf-8", newline="\n")


def main() -> None:
    """The shell's way in."""
    parser = argparse.ArgumentParser(
        prog="python -m abnet.corpora.synthetic",
        description="Write German-English dates, times, numbers and quantities in words.",
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, default=60_000, help="pairs; default %(default)s")
    parser.add_argument("--valid", type=int, default=500, help="pairs; default %(default)s")
    parser.add_argument("--test", type=int, default=500, help="pairs; default %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="default %(default)s")
    parser.add_argument(
        "--hard", action="store_true", help="long numbers, years, minutes, cents, several things"
    )
    args = parser.parse_args()
    try:
        write_corpus(args.folder, args.train, args.valid, args.test, args.seed, args.hard)
    except AbNetError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
