"""The file formats of parallel corpora: plain text, WIT3's, newstest's SGML, TMX."""

from __future__ import annotations

import gzip
import html
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple, cast
from xml.etree import ElementTree

from abnet.corpora.corpus import Pair
from abnet.errors import AbNetError
from abnet.text import decode_lines, open_bytes

# Lines of WIT3's training files that hold no sentence. Titles and descriptions do.
_WIT3_METADATA = re.compile(r"\s*</?(url|talkid|keywords|speaker|reviewer|translator|doc)\b", re.I)
_WIT3_TAGS = re.compile(r"</?(title|description)\b[^>]*>", re.I)
_SEGMENT = re.compile(r"<seg\b([^>]*)>(.*?)</seg\s*>", re.I | re.S)
_SEGMENT_START = re.compile(r"<seg\b", re.I)
_ID = re.compile(r"""\bid\s*=\s*["']?([^"'\s>]+)""", re.I)
_XML_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"


class Segment(NamedTuple):
    """A line of a test set: its number in its document, and its raw text."""

    number: str
    text: str


def read_text(path: Path) -> Iterator[str]:
    r"""Lines of a UTF-8 file, which may be compressed (`.gz`); lines end in ``\n`` only.

    Raises:
        AbNetError: it cannot be read, is cut off, or a line is not UTF-8.
    """
    try:
        with _open_unpacked(path) as stream:
            yield from decode_lines(stream, str(path))
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise AbNetError(
            f"{path} cannot be unpacked: it is not whole or damaged ({error}). Delete it and "
            "download it again."
        ) from error


def read_text_pairs(source: Path, target: Path) -> Iterator[Pair]:
    """Line n of one file with line n of the other.

    Raises:
        AbNetError: see `read_text`, or one file has more lines.
    """
    return _aligned(read_text(source), read_text(target), source, target)


def read_wit3_training(path: Path) -> Iterator[str]:
    """Sentences of a `train.tags.*` file of WIT3, a talk's title and description among them."""
    for line in read_text(path):
        if not _WIT3_METADATA.match(line):
            yield _WIT3_TAGS.sub("", line)


def read_wit3_training_pairs(source: Path, target: Path) -> Iterator[Pair]:
    """Sentence n of one `train.tags.*` file with sentence n of the other.

    Raises:
        AbNetError: see `read_text`, or one file has more sentences.
    """
    return _aligned(read_wit3_training(source), read_wit3_training(target), source, target)


def read_segments(path: Path) -> list[Segment]:
    """The `<seg>` elements of a test set, in WIT3's XML or newstest's SGML.

    Neither is always well-formed (a bare "&", "<" or ">" in the text), so no XML parser is used.
    Entities such as "&amp;" become the characters that they stand for.

    Raises:
        AbNetError: it cannot be read or is cut off.
    """
    content = "\n".join(read_text(path))
    segments = []
    for attributes, text in _SEGMENT.findall(content):
        number = _ID.search(attributes)
        segments.append(Segment(number.group(1) if number else "", html.unescape(text).strip()))
    starts = len(_SEGMENT_START.findall(content))
    if not segments or starts != len(segments):
        raise AbNetError(
            f"{path} must be a test set with <seg> elements, but {starts} start and "
            f"{len(segments)} end in it: it is damaged or another kind of file."
        )
    return segments


def read_segment_pairs(source: Path, target: Path) -> Iterator[Pair]:
    """Segment n of one test set with segment n of the other.

    Raises:
        AbNetError: see `read_segments`, or the two do not belong together.
    """
    sources, targets = read_segments(source), read_segments(target)
    if [segment.number for segment in sources] != [segment.number for segment in targets]:
        raise AbNetError(
            f"{source} and {target} must have the same segments, but have {len(sources)} and "
            f"{len(targets)}, or other numbers: they do not belong together."
        )
    for one, other in zip(sources, targets, strict=True):
        yield one.text, other.text


def read_tmx_pairs(path: Path, source: str, target: str) -> Iterator[Pair]:
    """Translation units of a TMX file (`.gz` or not) that have both languages.

    Raises:
        AbNetError: the file is damaged.
    """
    try:
        with _open_unpacked(path) as stream:
            for _, element in ElementTree.iterparse(stream):
                if element.tag == "tu":
                    texts = _tmx_texts(element)
                    if source in texts and target in texts:
                        yield texts[source], texts[target]
                    element.clear()
    except (ElementTree.ParseError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise AbNetError(
            f"{path} cannot be read: it is not whole or damaged ({error}). Delete it and download "
            "it again."
        ) from error


def _open_unpacked(path: Path) -> IO[bytes]:
    """The bytes of a file, unpacked if its name ends in `.gz`."""
    if path.suffix != ".gz":
        return open_bytes(path)
    open_bytes(path).close()  # which says what is wrong with the path
    return cast(IO[bytes], gzip.open(path))


def _tmx_texts(unit: ElementTree.Element) -> dict[str, str]:
    """Text by language code, "en-GB" as "en"."""
    texts = {}
    for variant in unit.iter("tuv"):
        language = variant.get(_XML_LANGUAGE) or variant.get("lang") or ""
        segment = variant.find("seg")
        if segment is not None:
            texts[language.lower().split("-")[0]] = "".join(segment.itertext())
    return texts


def _aligned(
    sources: Iterator[str], targets: Iterator[str], source: Path, target: Path
) -> Iterator[Pair]:
    """Pairs of two sequences that must be of one length; lazily, so it may come out late."""
    end = None
    number = 0
    while True:
        one, other = next(sources, end), next(targets, end)
        if one is None or other is None:
            break
        number += 1
        yield one, other
    if one is not None or other is not None:
        longer, shorter = (source, target) if other is None else (target, source)
        raise AbNetError(
            f"{source} and {target} must have the same number of lines, but {shorter} ends after "
            f"{number} and {longer} goes on: line n of one must be the translation of line n of "
            "the other."
        )
