"""ROUGE, the measure of summaries (Lin 2004), as google-research's rouge-score computes it."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from importlib.metadata import version
from statistics import fmean

from abnet.detokenize import is_cjk
from abnet.errors import AbNetError
from abnet.scoring.evaluate import Score, check_lines

LABELS = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L"}


def rouge(
    hypotheses: Sequence[str], *references: Sequence[str], language: str = "en"
) -> list[Score]:
    """F-measures of ROUGE-1, ROUGE-2 and ROUGE-L, means over the lines; case never counts.

    English is cut into words and stemmed (Porter) as ROUGE-1.5.5 does with `-m`. That knows the
    letters a to z only, so text of other languages is cut by `words`, without a stemmer. ROUGE-Lsum
    is not there: it wants to know where the sentences of a line end, and is ROUGE-L otherwise.

    Args:
        hypotheses: detokenized texts, one a reference.
        references: raw texts; of several sets, the best one counts for each line and measure.
        language: code of the texts' language.

    Raises:
        AbNetError: the numbers of lines differ, or rouge-score is not installed.
    """
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError:
        raise AbNetError(
            "ROUGE needs rouge-score: install it with `pip install rouge-score`."
        ) from None
    check_lines(hypotheses, *references)
    if language == "en":
        scorer = RougeScorer(list(LABELS), use_stemmer=True)
        cut, stemmer = "rouge-score", f"porter|nltk:{version('nltk')}"
    else:
        scorer = RougeScorer(list(LABELS), tokenizer=_Words())
        cut, stemmer = "words", "none"
    found = [
        scorer.score_multi(list(expected), hypothesis)
        for hypothesis, *expected in zip(hypotheses, *references, strict=True)
    ]
    signature = (
        f"nrefs:{len(references)}|case:lc|tok:{cut}|stem:{stemmer}|"
        f"rouge-score:{version('rouge-score')}"
    )
    return [
        Score(name, label, 100 * fmean(line[name].fmeasure for line in found), signature)
        for name, label in LABELS.items()
    ]


def words(text: str) -> list[str]:
    """Lower-cased runs of letters, marks and digits of any script; each Chinese sign is a word."""
    spaced = (
        " " if unicodedata.category(sign)[0] not in "LMN" else f" {sign} " if is_cjk(sign) else sign
        for sign in text.lower()
    )
    return "".join(spaced).split()


class _Words:
    """`words` as rouge-score wants it."""

    def tokenize(self, text: str) -> list[str]:
        return words(text)
