"""Every corpus, read from small archives with the layout of the real ones."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from abnet.corpora import iwslt14, multi30k, text, wmt14, wmt16_ro_en
from abnet.corpora.corpus import Archive, Corpus, Pair, Rules
from abnet.corpora.download import file_digests
from abnet.corpora.files import Files
from abnet.errors import AbNetError
from tests.corpora.making import gz, lines, make_tar, newstest, tmx, wit3_test, wit3_training


def read(corpus: Corpus, given: Path, tmp_path: Path) -> dict[str, list[Pair]]:
    """The pairs of every split, without spaces at the ends."""
    splits: dict[str, list[Pair]] = {}
    for part, source, target in Files(tmp_path / "work", given, lambda line: None).locate(corpus):
        pairs = [(one.strip(), other.strip()) for one, other in part.read(source, target)]
        splits[part.split] = splits.get(part.split, []) + pairs
    return splits


def pinned(archive: Archive, path: Path) -> Archive:
    """The archive, as if the small one that a test made were the published one."""
    return dataclasses.replace(archive, checksums=(f"sha256:{file_digests(path)['sha256']}",))


def iwslt_members(foreign: str, tests: tuple[str, ...]) -> dict[str, str]:
    pair = f"{foreign}-en"
    members = {
        f"{pair}/train.tags.{pair}.{foreign}": wit3_training({"Titel": ["Eins."]}),
        f"{pair}/train.tags.{pair}.en": wit3_training({"Title": ["One."]}),
        f"{pair}/README": "x",
    }
    for name in tests:
        for language in (foreign, "en"):
            member = f"{pair}/IWSLT14.{name}.{pair}.{language}.xml"
            members[member] = wit3_test([f"{name} {language}’s &amp; more"])
    return members


IWSLT_TRAIN = [("Titel", "Title"), ("About Titel", "About Title"), ("Eins.", "One.")]


def test_iwslt14_german(tmp_path: Path) -> None:
    make_tar(tmp_path / "in/de-en.tgz", iwslt_members("de", iwslt14.TEST_SETS))
    splits = read(iwslt14.build("de", "en"), tmp_path / "in", tmp_path)
    assert splits["train"] == IWSLT_TRAIN
    assert splits["test"] == [
        (f"{name} de's & more", f"{name} en's & more")
        for name in ("TED.dev2010", "TEDX.dev2012", "TED.tst2010", "TED.tst2011", "TED.tst2012")
    ]


def test_iwslt14_from_english_uses_the_same_archive(tmp_path: Path) -> None:
    make_tar(tmp_path / "in/de-en.tgz", iwslt_members("de", iwslt14.TEST_SETS))
    splits = read(iwslt14.build("en", "de"), tmp_path / "in", tmp_path)
    assert splits["train"] == [(target, source) for source, target in IWSLT_TRAIN]


def test_iwslt14_spanish_from_the_archive_of_all_languages(tmp_path: Path) -> None:
    tests = tuple(name for name in iwslt14.TEST_SETS if name != "TEDX.dev2012")
    inner = make_tar(tmp_path / "es-en.tgz", iwslt_members("es", tests)).read_bytes()
    make_tar(tmp_path / "in/2014-01.tgz", {"2014-01/texts/es/en/es-en.tgz": inner})
    splits = read(iwslt14.build("es", "en"), tmp_path / "in", tmp_path)
    assert splits["train"] == IWSLT_TRAIN
    assert len(splits["test"]) == 4


def test_iwslt14_unpacked(tmp_path: Path) -> None:
    for name, content in iwslt_members("nl", iwslt14.TEST_SETS).items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    assert len(read(iwslt14.build("nl", "en"), tmp_path / "in", tmp_path)["test"]) == 5
    folder = tmp_path / "in" / "nl-en"
    assert len(read(iwslt14.build("nl", "en"), folder, tmp_path)["test"]) == 5


def test_iwslt14_recipe() -> None:
    corpus = iwslt14.build("de", "en")
    assert corpus.valid_every == 23
    assert corpus.rules == Rules(max_length=175, max_ratio=1.5, unit="words")
    assert corpus.splits == ("test", "valid", "train")
    with pytest.raises(AbNetError, match=r"`--pair` of iwslt14 must be one of de-en.* is fr-en"):
        iwslt14.build("fr", "en")


def wmt14_archives(folder: Path, foreign: str, edition: int) -> dict[str, Path]:
    pair = f"{foreign}-en"

    def texts(stem: str, name: str) -> Mapping[str, str]:
        return {f"{stem}.{one}": lines([f"{name} {one}"]) for one in (foreign, "en")}

    nc = f"training/news-commentary-v{edition}.{pair}"
    tests = {
        f"test-full/newstest2014-{foreign}en-{kind}.{one}.sgm": newstest([f"{kind} {one} &amp;"])
        for kind in ("src", "ref")
        for one in (foreign, "en")
    }
    return {
        "EUROPARL": make_tar(
            folder / "training-parallel-europarl-v7.tgz",
            texts(f"training/europarl-v7.{pair}", "europarl"),
        ),
        "COMMON_CRAWL": make_tar(
            folder / "training-parallel-commoncrawl.tgz", texts(f"commoncrawl.{pair}", "crawl")
        ),
        "NEWS_COMMENTARY": make_tar(
            folder / f"training-parallel-nc-v{edition}.tgz", texts(nc, f"v{edition}")
        ),
        "UN": make_tar(folder / "training-parallel-un.tgz", texts(f"un/undoc.2000.{pair}", "un")),
        "GIGA_FRENCH": make_tar(
            folder / "training-giga-fren.tar",
            {f"giga-fren.release2.fixed.{one}.gz": gz([f"giga {one}"]) for one in ("fr", "en")},
        ),
        "DEVELOPMENT": make_tar(folder / "dev.tgz", texts("dev/newstest2013", "dev")),
        "TEST": make_tar(folder / "test-full.tgz", tests),
    }


def pin_wmt14(monkeypatch: pytest.MonkeyPatch, paths: Mapping[str, Path], edition: int) -> None:
    for name, path in paths.items():
        if name == "NEWS_COMMENTARY":
            archive = pinned(wmt14.NEWS_COMMENTARY[edition], path)
            monkeypatch.setitem(wmt14.NEWS_COMMENTARY, edition, archive)
        else:
            monkeypatch.setattr(wmt14, name, pinned(getattr(wmt14, name), path))


@pytest.mark.parametrize("edition", [9, 12])
def test_wmt14_german(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edition: int) -> None:
    pin_wmt14(monkeypatch, wmt14_archives(tmp_path / "in", "de", edition), edition)
    splits = read(wmt14.build("en", "de", edition), tmp_path / "in", tmp_path)
    assert splits["train"] == [
        ("europarl en", "europarl de"),
        ("crawl en", "crawl de"),
        (f"v{edition} en", f"v{edition} de"),
    ]
    assert splits["valid"] == [("dev en", "dev de")]
    assert splits["test"] == [("src en &", "ref de &")]


def test_wmt14_french(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pin_wmt14(monkeypatch, wmt14_archives(tmp_path / "in", "fr", 9), 9)
    splits = read(wmt14.build("fr", "en"), tmp_path / "in", tmp_path)
    assert [source for source, _ in splits["train"]] == [
        "europarl fr", "crawl fr", "un fr", "v9 fr", "giga fr",
    ]  # fmt: skip
    assert splits["test"] == [("src fr &", "ref en &")]


def test_wmt14_archive_of_the_right_name_only(tmp_path: Path) -> None:
    wmt14_archives(tmp_path / "in", "de", 9)
    with pytest.raises(AbNetError, match=r"europarl-v7\.tgz must have the checksum sha256:0224c7"):
        read(wmt14.build("en", "de"), tmp_path / "in", tmp_path)


def test_wmt14_editions() -> None:
    with pytest.raises(AbNetError, match=r"`--news-commentary` of en-fr must be one of \(9,\)"):
        wmt14.build("en", "fr", 12)


def ro_en_archives(folder: Path) -> dict[str, Path]:
    europarl = {
        f"training-parallel-ep-v8/europarl-v8.ro-en.{one}": lines([f"europarl {one}"])
        for one in ("ro", "en")
    }
    dev = {
        "dev/newsdev2016-roen-src.ro.sgm": newstest(["dev ro"], "srcset"),
        "dev/newsdev2016-roen-ref.en.sgm": newstest(["dev en"]),
    }
    test = {
        f"test/newstest2016-{pair}-{kind}.{pair[start : start + 2]}.sgm": newstest(
            [f"{kind} {pair}"]
        )
        for pair in ("roen", "enro")
        for kind, start in (("src", 0), ("ref", 2))
    }
    paths = {
        "EUROPARL": make_tar(folder / "training-parallel-ep-v8.tgz", europarl),
        "DEVELOPMENT": make_tar(folder / "dev.tgz", dev),
        "TEST": make_tar(folder / "test.tgz", test),
        "SETIMES": folder / "en-ro.tmx.gz",
    }
    paths["SETIMES"].write_bytes(tmx([{"en": "times en", "ro": "times ro"}]))
    for pair in ("ro-en", "en-ro"):
        for one in ("ro", "en"):
            (folder / f"corpus.bt.{pair}.{one}.gz").write_bytes(gz([f"bt {pair} {one}"]))
    return paths


@pytest.mark.parametrize("pair", ["ro-en", "en-ro"])
@pytest.mark.parametrize("back_translated", [False, True])
def test_wmt16_ro_en(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pair: str, back_translated: bool
) -> None:
    for name, path in ro_en_archives(tmp_path / "in").items():
        monkeypatch.setattr(wmt16_ro_en, name, pinned(getattr(wmt16_ro_en, name), path))
    source, target = pair.split("-")
    corpus = wmt16_ro_en.build(source, target, back_translated)
    splits = read(corpus, tmp_path / "in", tmp_path)
    expected = [
        (f"europarl {source}", f"europarl {target}"),
        (f"times {source}", f"times {target}"),
    ]
    if back_translated:
        expected.append((f"bt {pair} {source}", f"bt {pair} {target}"))
    assert splits["train"] == expected
    assert splits["valid"] == [(f"dev {source}", f"dev {target}")]
    assert splits["test"] == [(f"src {source}{target}", f"ref {source}{target}")]


@pytest.mark.parametrize(
    "names",
    [
        {"train": "train.{}", "valid": "valid.{}", "test": "test2016.{}"},
        {"train": "train.{}", "valid": "val.{}", "test": "test_2016_flickr.{}"},
    ],
)
def test_multi30k(tmp_path: Path, names: dict[str, str]) -> None:
    (tmp_path / "in").mkdir()
    for split, name in names.items():
        for language in ("en", "fr"):
            path = tmp_path / "in" / name.format(language)
            path.write_text(f"{split} {language}\n")
    splits = read(multi30k.build("fr", "en"), tmp_path / "in", tmp_path)
    assert splits == {split: [(f"{split} fr", f"{split} en")] for split in names}


def test_text(tmp_path: Path) -> None:
    (tmp_path / "a.de").write_text("eins\n")
    (tmp_path / "a.en").write_text("one\n")
    (tmp_path / "b.de.gz").write_bytes(gz(["zwei"]))
    (tmp_path / "b.en").write_text("two\n")
    corpus = text.build("de", "en", str(tmp_path / "a"), str(tmp_path / "b"), None)
    assert read(corpus, tmp_path, tmp_path) == {
        "train": [("eins", "one")],
        "valid": [("zwei", "two")],
    }
    (tmp_path / "a.document").write_text("long\n")
    (tmp_path / "a.summary").write_text("short\n")
    corpus = text.build("document", "summary", *[str(tmp_path / "a")] * 2, None)
    assert read(corpus, tmp_path, tmp_path)["valid"] == [("long", "short")]
    with pytest.raises(AbNetError, match=r"`--test` must be .* there is no .*nothing\.de"):
        text.build("de", "en", str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "nothing"))


def test_published_checksums_are_well_formed() -> None:
    corpora = [
        iwslt14.build("de", "en"),
        wmt14.build("en", "de", 12),
        wmt14.build("en", "fr"),
        wmt16_ro_en.build("ro", "en", True),
        multi30k.build("de", "en"),
        multi30k.build("fr", "en"),
    ]
    archives = {file.archive for one in corpora for part in one.parts for file in part[1:3]}
    assert len(archives) == 24
    for archive in archives:
        assert all(url.startswith("https://") for url in archive.urls)
        for checksum in archive.checksums:
            assert re.fullmatch("sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", checksum)
