"""WMT 2014 English-German (4.5M pairs) and English-French (40M pairs).

Training: Europarl v7, Common Crawl, News Commentary v9, and for French also the UN corpus and the
10^9 corpus. Validation: newstest2013. Test: newstest2014, the full one of 3,003 sentences.
Pairs with more than 250 pieces on a side, or a ratio above 1.5, are dropped, as in fairseq's
scripts, which count the pieces of their own BPE; here the pieces of the BERTs count.

Choices that are open: fairseq's scripts take News Commentary v12 (WMT 2017) for German unless told
otherwise, and validate on a part of the training data; v9 is what WMT 2014 handed out, and v12 is
an option here. Punctuation is not normalised and entities are resolved, so that the text is what
people write, and what the BERTs were trained on; "’" stays as it is.
"""

from __future__ import annotations

from abnet.corpora.corpus import Archive, Corpus, Part, Rules, TextFile, check_direction
from abnet.corpora.formats import read_segment_pairs, read_text_pairs
from abnet.errors import AbNetError

FOREIGN = ("de", "fr")

# Checksums: TensorFlow Datasets (url_checksums) has all sha256 but that of the second dev.tgz,
# which StageDML has; the md5 is sacreBLEU's.
EUROPARL = Archive(
    "training-parallel-europarl-v7.tgz",
    ("https://www.statmt.org/wmt13/training-parallel-europarl-v7.tgz",),
    ("sha256:0224c7c710c8a063dfd893b0cc0830202d61f4c75c17eb8e31836103d27d96e7",),
)
COMMON_CRAWL = Archive(
    "training-parallel-commoncrawl.tgz",
    ("https://www.statmt.org/wmt13/training-parallel-commoncrawl.tgz",),
    ("sha256:c7a74e2ea01ac6c920123108627e35278d4ccb5701e15428ffa34de86fa3a9e5",),
)
NEWS_COMMENTARY = {
    9: Archive(
        "training-parallel-nc-v9.tgz",
        ("https://www.statmt.org/wmt14/training-parallel-nc-v9.tgz",),
        ("sha256:cb8953f292298e6877ae433c98912b927cb0766b303f4540512ddd286c748485",),
    ),
    12: Archive(
        "training-parallel-nc-v12.tgz",
        ("https://data.statmt.org/wmt17/translation-task/training-parallel-nc-v12.tgz",),
        ("sha256:2b45f30ef1d550d302fd17dd3a5cbe19134ccc4c2cf50c2dae534aee600101a2",),
    ),
}
UN = Archive(
    "training-parallel-un.tgz",
    ("https://www.statmt.org/wmt13/training-parallel-un.tgz",),
    ("sha256:29141b5c1eba149a94f7a59d3b1a834b2e47fe0f8758d68dcd77a3d3f497ee47",),
)
GIGA_FRENCH = Archive(
    "training-giga-fren.tar",
    ("https://www.statmt.org/wmt10/training-giga-fren.tar",),
    ("sha256:3ff8319f6919393520559bfbc7ad6a747ec81b3abc7be9993b338d4b017b4d9a",),
)
DEVELOPMENT = Archive(
    "dev.tgz",
    ("https://data.statmt.org/wmt19/translation-task/dev.tgz",),
    (
        "sha256:7a7deccf82ebb05ba508dba5eb21356492224e8f630ec4f992132b029b4b25e7",  # WMT 2019's
        "sha256:9d5ff04a28496b7796904ea65e50e3837bab14dbdca88b1e063105f17513dca9",  # WMT 2017's
    ),
)
TEST = Archive(
    "test-full.tgz",
    ("https://www.statmt.org/wmt14/test-full.tgz",),
    ("md5:a8cd784e006feb32ac6f3d9ec7eb389a",),
)


def build(source: str, target: str, news_commentary: int = 9) -> Corpus:
    """WMT14 from or to English.

    Args:
        news_commentary: the edition of News Commentary, 9 or 12 (German only).

    Raises:
        AbNetError: no such pair or edition.
    """
    foreign = check_direction("wmt14", source, target, FOREIGN)
    editions = (9, 12) if foreign == "de" else (9,)
    if news_commentary not in editions:
        raise AbNetError(
            f"`--news-commentary` of {source}-{target} must be one of {editions}, but is "
            f"{news_commentary} instead."
        )
    pair = f"{foreign}-en"
    training = [
        (EUROPARL, f"training/europarl-v7.{pair}.{{}}"),
        (COMMON_CRAWL, f"commoncrawl.{pair}.{{}}"),
        (
            NEWS_COMMENTARY[news_commentary],
            f"training/news-commentary-v{news_commentary}.{pair}.{{}}",
        ),
    ]
    if foreign == "fr":
        training.insert(2, (UN, f"un/undoc.2000.{pair}.{{}}"))
        training.append((GIGA_FRENCH, "giga-fren.release2.fixed.{}.gz"))
    texts = [("train", *text) for text in training]
    texts.append(("valid", DEVELOPMENT, "dev/newstest2013.{}"))
    parts = [
        Part(
            split,
            TextFile(archive, name.format(source), _without_gz(name.format(source))),
            TextFile(archive, name.format(target), _without_gz(name.format(target))),
            read_text_pairs,
        )
        for split, archive, name in texts
    ]
    test = f"test-full/newstest2014-{foreign}en-{{}}.{{}}.sgm"
    parts.append(
        Part(
            "test",
            TextFile(TEST, test.format("src", source)),
            TextFile(TEST, test.format("ref", target)),
            read_segment_pairs,
        )
    )
    return Corpus(
        name="wmt14",
        source=source,
        target=target,
        parts=tuple(parts),
        rules=Rules(max_length=250, max_ratio=1.5, unit="pieces"),
        expected={"valid": 3_000, "test": 3_003},
        choices=(
            f"News Commentary v{news_commentary}",
            "validation on newstest2013, test on the full newstest2014",
            "punctuation not normalised; entities of the SGML files resolved",
        ),
    )


def _without_gz(name: str) -> tuple[str, ...]:
    """Another name for a compressed member that someone has unpacked."""
    return (name.removesuffix(".gz"),) if name.endswith(".gz") else ()
