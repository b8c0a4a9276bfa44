"""Codes of languages, as measures know them."""

from __future__ import annotations

import re

KNOWN_AS = {
    "asm": "as", "ben": "bn", "cat": "ca", "ces": "cs", "chi": "zh", "cmn": "zh", "cze": "cs",
    "deu": "de", "dut": "nl", "ell": "el", "eng": "en", "est": "et", "fin": "fi", "fra": "fr",
    "fre": "fr", "ger": "de", "gle": "ga", "gre": "el", "guj": "gu", "hin": "hi", "hun": "hu",
    "ice": "is", "isl": "is", "ita": "it", "jpn": "ja", "kan": "kn", "kor": "ko", "lav": "lv",
    "lit": "lt", "mal": "ml", "mar": "mr", "nld": "nl", "ori": "or", "ory": "or", "pan": "pa",
    "pol": "pl", "por": "pt", "ron": "ro", "rum": "ro", "rus": "ru", "slk": "sk", "slo": "sk",
    "slv": "sl", "spa": "es", "swe": "sv", "tam": "ta", "tel": "te", "yue": "zh", "zho": "zh",
}  # fmt: skip
"""By ISO 639-2 or 639-3: the languages that sacreBLEU, Moses or ROUGE cut in a way of their own."""

_CODE = re.compile(r"([A-Za-z]{2,3})([-_]\w+)*")


def measured_code(language: str) -> str | None:
    """ "zh" of zh-CN and of zho_Hans, "sum" of sum; `None` of what is no code of a language."""
    code = _CODE.fullmatch(language)
    return None if code is None else KNOWN_AS.get(code[1].lower(), code[1].lower())
