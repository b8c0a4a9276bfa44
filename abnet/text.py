"""Lines of raw text: reading them strictly, and making each of them one clean line."""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from abnet.errors import AbNetError

UNKNOWN_SHARE_TO_WARN = 0.01  # of the pieces of a text that its BERT may lack, with nothing said
_UTF8_BOM = b"\xef\xbb\xbf"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_GZIP = b"\x1f\x8b"

# str.translate table: every control character becomes a space, a lone surrogate (which no
# encoder of UTF-8 accepts) the replacement character. Format characters, such as the
# marks of right-to-left text and the joiners of Persian or of emoji, stay.
_REPLACEMENTS = {code: " " for code in range(0xA0) if unicodedata.category(chr(code)) == "Cc"}
_REPLACEMENTS |= dict.fromkeys(range(0xD800, 0xE000), "\N{REPLACEMENT CHARACTER}")


def clean_line(text: str) -> str:
    """Makes `text` a single clean line.

    Control characters, NUL and tabs among them, and every kind of white space and line
    separator become a space; runs of spaces become one, and there is none at the ends.
    """
    return " ".join(text.translate(_REPLACEMENTS).split())


def comparable(text: str) -> str:
    """A line without what does not matter when lines are compared.

    That is case, spacing, and whether an accent is a sign of its own.
    """
    folded = unicodedata.normalize("NFC", clean_line(text)).casefold()
    return unicodedata.normalize("NFC", " ".join(folded.split()))


def decode_lines(lines: Iterable[bytes], name: str) -> Iterator[str]:
    r"""Lines of UTF-8, as a binary file yields them, to text without the line ends.

    A line ends in ``\n`` or ``\r\n`` and nowhere else. A byte order mark at the start is dropped.

    Args:
        lines: the raw lines.
        name: what an error calls their source.

    Raises:
        AbNetError: a line is not UTF-8; the message has the line's number.
    """
    for number, line in enumerate(lines, start=1):
        content = line.removesuffix(b"\n").removesuffix(b"\r")
        if number == 1:
            content = content.removeprefix(_UTF8_BOM)
        try:
            yield content.decode("utf-8")
        except UnicodeDecodeError as error:
            if number == 1 and line.startswith(_GZIP):
                raise AbNetError(
                    f"{name} must be text, but is compressed: give what `zcat` makes of it."
                ) from None
            if number == 1 and line.startswith(_UTF16):
                raise AbNetError(
                    f"{name} must be UTF-8, but is UTF-16: convert it first, for example with "
                    "`iconv -f UTF-16 -t UTF-8`."
                ) from None
            raise AbNetError(
                f"{name}, line {number}: the text must be UTF-8, but byte "
                f"{error.start + 1} of the line is 0x{content[error.start]:02x}. Convert the "
                "text first, for example with `iconv -f LATIN1 -t UTF-8`."
            ) from None


def open_bytes(path: str | Path) -> BinaryIO:
    """Opens a file for reading bytes.

    Raises:
        AbNetError: the file cannot be opened.
    """
    try:
        return open(path, "rb")
    except OSError as error:
        raise AbNetError(f"Cannot read {path}: {error.strerror}.") from None


def read_lines(path: str | Path) -> list[str]:
    """All lines of a UTF-8 file, not yet cleaned.

    Raises:
        AbNetError: the file cannot be opened or a line is not UTF-8.
    """
    with open_bytes(path) as stream:
        return list(decode_lines(stream, str(path)))


def read_pair(source_path: str | Path, target_path: str | Path) -> tuple[list[str], list[str]]:
    """The lines of two files that belong together line by line.

    Raises:
        AbNetError: one cannot be read, or the files differ in their number of lines.
    """
    source, target = read_lines(source_path), read_lines(target_path)
    if len(source) != len(target):
        raise AbNetError(
            f"{source_path} and {target_path} must have the same number of lines, but have "
            f"{len(source)} and {len(target)}: line n of one must be the translation of line n "
            "of the other."
        )
    return source, target
