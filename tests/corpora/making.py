"""Small files in the formats of real corpora."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path


def make_tar(path: Path, members: Mapping[str, str | bytes]) -> Path:
    """A tar archive, compressed if its name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as archive:
        for name, content in members.items():
            data = content.encode() if isinstance(content, str) else content
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def lines(texts: Sequence[str]) -> str:
    return "".join(f"{text}\n" for text in texts)


def gz(texts: Sequence[str]) -> bytes:
    return gzip.compress(lines(texts).encode())


def wit3_training(talks: Mapping[str, Sequence[str]]) -> str:
    """A `train.tags` file: title, then sentences, with WIT3's metadata lines."""
    rows = []
    for number, (title, sentences) in enumerate(talks.items(), start=1):
        rows += [
            f"<url>http://www.ted.com/talks/{number}</url>",
            "<keywords>one, two</keywords>",
            "<speaker>Somebody</speaker>",
            f"<talkid>{number}</talkid>",
            f"<title>{title}</title>",
            f"<description>About {title}</description>",
            *(f" {sentence} " for sentence in sentences),
        ]
    return lines(rows)


def wit3_test(sentences: Sequence[str]) -> str:
    """A test file as WIT3 writes it; the texts come in with their entities."""
    segments = [f'<seg id="{i}"> {text} </seg>' for i, text in enumerate(sentences, start=1)]
    head = ['<?xml version="1.0" encoding="UTF-8"?>', "<mteval>", '<refset setid="x">']
    talk = ['<doc docid="69" genre="lectures">', "<title>Ein <b> Titel</title>"]
    return lines([*head, *talk, *segments, "</doc>", "</refset>", "</mteval>"])


def newstest(sentences: Sequence[str], kind: str = "refset") -> str:
    """A newstest file in SGML."""
    segments = [f'<seg id="{i}">{text}</seg>' for i, text in enumerate(sentences, start=1)]
    head = [f'<{kind} setid="newstest2014" srclang="any" trglang="de">', '<doc docid="x">', "<p>"]
    return lines([*head, *segments, "</p>", "</doc>", f"</{kind}>"])


def tmx(units: Sequence[Mapping[str, str]]) -> bytes:
    """A compressed TMX file; each unit is text by language."""
    body = "".join(
        "<tu>"
        + "".join(
            f'<tuv xml:lang="{language}"><seg>{text}</seg></tuv>' for language, text in unit.items()
        )
        + "</tu>"
        for unit in units
    )
    header = '<?xml version="1.0" encoding="UTF-8"?><tmx version="1.4"><header srclang="en"/>'
    return gzip.compress(f"{header}<body>{body}</body></tmx>".encode())
