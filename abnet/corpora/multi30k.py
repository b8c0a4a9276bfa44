"""Multi30k, task 1: 29,000 image captions in English, German and French (Elliott et al. 2016)."""

from __future__ import annotations

from abnet.corpora.corpus import Archive, Corpus, Part, TextFile, check_direction
from abnet.corpora.formats import read_text_pairs

FOREIGN = ("de", "fr")
# The authors' repository at a fixed commit; the checksums are those of its files.
URL = (
    "https://raw.githubusercontent.com/multi30k/dataset/"
    "a3d2e0d26b56f3846f66a952536ffed4e401d05a/data/task1/raw/"
)
OFFICIAL = {"train": "train", "valid": "val", "test": "test_2016_flickr"}
SHORT = {"train": "train", "valid": "valid", "test": "test2016"}
SHA256 = {
    "train.en": "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f",
    "train.de": "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6",
    "train.fr": "622e75069e9f4c577425c4f277116ce66e63a2401c0a2312d90073cb12379a3c",
    "val.en": "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28",
    "val.de": "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a",
    "val.fr": "ca3106f1a72390591d25f6c45cb4cd39dec4cd3f123e099748a3ce5256c160e9",
    "test_2016_flickr.en": "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9",
    "test_2016_flickr.de": "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8",
    "test_2016_flickr.fr": "6d326e188d259fb1d04ac19eae3af956559b3a0b93d7635e56c90987c40c8b90",
}


def build(source: str, target: str) -> Corpus:
    """Multi30k from or to English.

    Raises:
        AbNetError: no such pair.
    """
    check_direction("multi30k", source, target, FOREIGN)
    return Corpus(
        name="multi30k",
        source=source,
        target=target,
        parts=tuple(
            Part(split, _file(split, source), _file(split, target), read_text_pairs)
            for split in OFFICIAL
        ),
        expected={"train": 29_000, "valid": 1_014, "test": 1_000},
        choices=("test is test_2016_flickr",),
    )


def _file(split: str, language: str) -> TextFile:
    """One side of a split; a folder may have it unpacked, and under the short name."""
    name = f"{OFFICIAL[split]}.{language}"
    archive = Archive(f"{name}.gz", (f"{URL}{name}.gz",), (f"sha256:{SHA256[name]}",))
    short = f"{SHORT[split]}.{language}"
    return TextFile(archive, also=(name, short, f"{short}.gz"))
