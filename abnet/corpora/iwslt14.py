"""IWSLT 2014: TED talks in German, Italian, Spanish and Dutch, to and from English (WIT3).

The set-up is that of fairseq's `prepare-iwslt14.sh`, which the paper's IWSLT figures rest on:
metadata lines are dropped while a talk's title and description stay as sentences; pairs of more
than 175 words, or with a ratio above 1.5, are dropped; every 23rd pair that is left is for
validation; the test set is dev2010, dev2012 (TEDx), tst2010, tst2011 and tst2012 one after the
other, with "’" made "'".

Where it departs: the text stays raw and cased, since the BERTs bring their own tokenizers, so
words are counted by a simple rule in place of the Moses tokenizer. The numbers of pairs can
therefore differ a little from fairseq's (de-en: 160,239 / 7,283 / 6,750). Entities of the XML
files become the characters they stand for.

WIT3's own site now has one archive for all languages, on Google Drive; the archive for one pair
that its old addresses had survives, for German, where fairseq keeps it. No checksum of either is
published, so the first download's is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from abnet.corpora.corpus import Archive, Corpus, Pair, Part, Rules, TextFile, check_direction
from abnet.corpora.formats import read_segment_pairs, read_wit3_training_pairs

FOREIGN = ("de", "it", "es", "nl")
TEST_SETS = ("TED.dev2010", "TEDX.dev2012", "TED.tst2010", "TED.tst2011", "TED.tst2012")
DRIVE_ID = "1GnBarJIbNgEIIDvUyKDtLmv35Qcxg6Ed"
WIT3 = Archive(
    "2014-01.tgz",
    (f"https://drive.usercontent.google.com/download?id={DRIVE_ID}&export=download&confirm=t",),
)
ONE_PAIR_URLS = {"de": ("https://dl.fbaipublicfiles.com/fairseq/data/iwslt14/de-en.tgz",)}


def build(source: str, target: str) -> Corpus:
    """IWSLT14 from or to English.

    Raises:
        AbNetError: no such pair.
    """
    foreign = check_direction("iwslt14", source, target, FOREIGN)
    pair = f"{foreign}-en"
    archive = Archive(
        f"{pair}.tgz",
        ONE_PAIR_URLS.get(foreign, ()),
        inside=WIT3,
        inside_as=f"texts/{foreign}/en/{pair}.tgz",
    )

    def member(name: str) -> TextFile:
        return TextFile(archive, f"{pair}/{name}")

    train = Part(
        "train",
        member(f"train.tags.{pair}.{source}"),
        member(f"train.tags.{pair}.{target}"),
        read_wit3_training_pairs,
    )
    tests = (
        Part(
            "test",
            member(f"IWSLT14.{name}.{pair}.{source}.xml"),
            member(f"IWSLT14.{name}.{pair}.{target}.xml"),
            read_test_pairs,
            optional=name == "TEDX.dev2012",  # not there for every language
        )
        for name in TEST_SETS
    )
    return Corpus(
        name="iwslt14",
        source=source,
        target=target,
        parts=(*tests, train),
        rules=Rules(max_length=175, max_ratio=1.5, unit="words"),
        valid_every=23,
        expected={"test": 6_750} if foreign == "de" else {},
        choices=(
            f"both directions come from the {pair} archive",
            "raw, cased text; words counted without the Moses tokenizer",
            "entities of the XML files resolved",
        ),
    )


def read_test_pairs(source: Path, target: Path) -> Iterator[Pair]:
    """Segments of two of WIT3's XML files, with the apostrophes of fairseq's set-up."""
    for one, other in read_segment_pairs(source, target):
        yield one.replace("’", "'"), other.replace("’", "'")
