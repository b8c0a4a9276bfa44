"""WMT 2016 Romanian-English: 0.6M pairs, and as an option the back-translated news (2M more).

Training: Europarl v8 and SETIMES2. Validation: newsdev2016. Test: newstest2016. Pairs with more
than 250 pieces on a side, or a ratio above 1.5, are dropped (see `wmt14`). The back-translations
are Sennrich et al.'s (2016): real text on the target side, machine translation on the source side.

Choices that are open: SETIMES2 is taken from OPUS as TMX, of which a checksum is published, rather
than as text, so repeated pairs are there once. Both directions validate on the files named "roen",
which hold the same sentences as those named "enro". Romanian is left as it is written, with
cedillas or commas below and with all diacritics; some set-ups make these one or strip them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from abnet.corpora.corpus import Archive, Corpus, Pair, Part, Rules, TextFile, check_direction
from abnet.corpora.formats import read_segment_pairs, read_text_pairs, read_tmx_pairs

FOREIGN = ("ro",)

# Checksums: the sha256 are TensorFlow Datasets' (url_checksums), the md5 sacreBLEU's. None is
# published for the back-translations.
EUROPARL = Archive(
    "training-parallel-ep-v8.tgz",
    ("https://data.statmt.org/wmt16/translation-task/training-parallel-ep-v8.tgz",),
    ("sha256:8917bd3bef3bc894c8519ca1f8a4c7c330aad08a1263655a9d99ee13d532e3c7",),
)
SETIMES = Archive(
    "en-ro.tmx.gz",
    (
        "https://object.pouta.csc.fi/OPUS-SETIMES/v2/tmx/en-ro.tmx.gz",
        "https://opus.nlpl.eu/download.php?f=SETIMES/v2/tmx/en-ro.tmx.gz",
    ),
    ("sha256:56bfaa2a8c8bdfccb7b50cc926067e2291347d807004e81faab8762ddbf26302",),
)
DEVELOPMENT = Archive(
    "dev.tgz",
    ("https://data.statmt.org/wmt19/translation-task/dev.tgz",),
    (
        "sha256:7a7deccf82ebb05ba508dba5eb21356492224e8f630ec4f992132b029b4b25e7",  # WMT 2019's
        "md5:4a3dc2760bb077f4308cce96b06e6af6",  # WMT 2016's
    ),
)
TEST = Archive(
    "test.tgz",
    ("https://data.statmt.org/wmt16/translation-task/test.tgz",),
    ("md5:3d809cd0c2c86adb2c67034d15c4e446",),
)
BACK_TRANSLATED_URL = "https://data.statmt.org/rsennrich/wmt16_backtranslations"
BACK_TRANSLATOR = "Sennrich et al. (2016)"


def build(source: str, target: str, back_translated: bool = False) -> Corpus:
    """WMT16 Romanian-English in one direction.

    Args:
        back_translated: whether the back-translated news is part of the training data.

    Raises:
        AbNetError: no such pair.
    """
    check_direction("wmt16_ro_en", source, target, FOREIGN)
    direction = f"{source}{target}"

    def read_setimes(path: Path, _: Path) -> Iterator[Pair]:
        return read_tmx_pairs(path, source, target)

    parts = [
        Part(
            "train",
            TextFile(EUROPARL, f"training-parallel-ep-v8/europarl-v8.ro-en.{source}"),
            TextFile(EUROPARL, f"training-parallel-ep-v8/europarl-v8.ro-en.{target}"),
            read_text_pairs,
        ),
        Part("train", TextFile(SETIMES), TextFile(SETIMES), read_setimes),
    ]
    if back_translated:
        parts.append(
            Part(
                "train",
                TextFile(_back_translated(source, target, source)),
                TextFile(_back_translated(source, target, target)),
                read_text_pairs,
            )
        )
    kinds = {"ro": "src", "en": "ref"}
    parts.append(
        Part(
            "valid",
            TextFile(DEVELOPMENT, f"dev/newsdev2016-roen-{kinds[source]}.{source}.sgm"),
            TextFile(DEVELOPMENT, f"dev/newsdev2016-roen-{kinds[target]}.{target}.sgm"),
            read_segment_pairs,
        )
    )
    parts.append(
        Part(
            "test",
            TextFile(TEST, f"test/newstest2016-{direction}-src.{source}.sgm"),
            TextFile(TEST, f"test/newstest2016-{direction}-ref.{target}.sgm"),
            read_segment_pairs,
        )
    )
    return Corpus(
        name="wmt16_ro_en",
        source=source,
        target=target,
        parts=tuple(parts),
        rules=Rules(max_length=250, max_ratio=1.5, unit="pieces"),
        expected={"valid": 1_999, "test": 1_999},
        choices=(
            f"{'with' if back_translated else 'without'} back-translations",
            "SETIMES2 from OPUS's TMX, where repeated pairs are there once",
            "Romanian letters left as written",
        ),
        origin={"back_translated": {"teacher": BACK_TRANSLATOR}} if back_translated else {},
    )


def _back_translated(source: str, target: str, language: str) -> Archive:
    pair = f"{source}-{target}"
    file = f"corpus.bt.{pair}.{language}.gz"
    return Archive(file, (f"{BACK_TRANSLATED_URL}/{pair}/{file}",))
