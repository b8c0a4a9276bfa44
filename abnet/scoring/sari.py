"""SARI: how well an output adds to, keeps and deletes from its source (Xu et al., TACL 2016).

The n-grams (n = 1 to 4) that the output adds, keeps and deletes are compared with those that the
references do: section 4 of the paper. An n-gram that `k` of `r` references have is kept by `k / r`
of them; of added ones it matters only whether they are there. Two ways to make one figure of them
are in use, some points apart, so both are here:

- SARI, the paper's: a figure a sentence, the mean of F1 of what is added, F1 of what is kept and
  the precision of what is deleted; then the mean over the sentences. Where there is nothing to do
  and nothing was done (0/0), that is 1, as in the programs of tensor2tensor and Hugging Face's
  `evaluate`, by which papers on sentence fusion and splitting mostly report. They differ a little
  where an n-gram repeats itself within a sentence: the paper counts it every time, tensor2tensor
  once.
- corpus SARI, EASSE's: the n-grams of all sentences are counted together, what is deleted has an
  F1 too, and 0/0 is 0. Papers on simplification report it.

Both take lower-cased raw text that sacreBLEU's BLEU tokenizer has cut. They are written here, and
tested against the values that those programs publish, since EASSE is not on PyPI, and `evaluate`
brings `datasets` along and downloads the measure's code when it runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from abnet.errors import AbNetError
from abnet.scoring.evaluate import Score, bleu_in, check_lines

ORDERS = (1, 2, 3, 4)

Words = Sequence[str]


class Matches(NamedTuple):
    """How many n-grams one operation concerns.

    Attributes:
        both: treated so by the output and by the references.
        output: by the output.
        references: by the references.
    """

    both: int
    output: int
    references: int

    def precision(self, undefined: float) -> float:
        """The share of the output's that is right; `undefined` if there are none."""
        return self.both / self.output if self.output else undefined

    def f1(self, undefined: float) -> float:
        """The harmonic mean of precision and recall."""
        precision = self.precision(undefined)
        recall = self.both / self.references if self.references else undefined
        return 2 * precision * recall / (precision + recall) if precision and recall else 0.0


class Operations(NamedTuple):
    """The three operations on the n-grams of one order."""

    added: Matches
    kept: Matches
    deleted: Matches


def sari(
    hypotheses: Sequence[str],
    *references: Sequence[str],
    sources: Sequence[str],
    language: str = "",
) -> list[Score]:
    """SARI and corpus SARI, in percent.

    Args:
        hypotheses: detokenized texts, one a source.
        references: one or more sets of raw texts, one a source.
        sources: raw texts.
        language: code of the texts' language; sacreBLEU cuts Chinese, Japanese and Korean its way.

    Raises:
        AbNetError: the numbers of lines differ, or there are none.
    """
    import sacrebleu

    check_lines(hypotheses, *references)
    if len(sources) != len(hypotheses):
        raise AbNetError(
            "There must be one source a hypothesis, but there are "
            f"{len(sources)} sources and {len(hypotheses)} hypotheses."
        )
    tokenizer = bleu_in(language, lowercase=True).tokenizer
    sentences = []
    for texts in zip(sources, hypotheses, *references, strict=True):
        source, output, *expected = [tokenizer(text.lower()).split() for text in texts]
        sentences.append([count(source, output, expected, order) for order in ORDERS])
    by_sentence = fmean(_of_sentence(sentence) for sentence in sentences)
    in_corpus = _of_corpus([_sum(same_order) for same_order in zip(*sentences, strict=True)])
    common = f"nrefs:{len(references)}|case:lc|tok:{tokenizer.signature()}"
    version = f"version:{sacrebleu.__version__}"
    return [
        Score("sari", "SARI", 100 * by_sentence, f"{common}|mean|del:precision|0/0:1|{version}"),
        Score("corpus_sari", "corpus SARI", 100 * in_corpus, f"{common}|del:f1|0/0:0|{version}"),
    ]


def count(source: Words, output: Words, references: Sequence[Words], order: int) -> Operations:
    """What was added, kept and deleted in one sentence; all but what was added times the
    number of references, so that shares of them are whole numbers.
    """
    expected: Counter[Words] = Counter()
    for reference in references:
        expected.update(_ngrams(reference, order))
    before = Counter(_ngrams(source, order) * len(references))
    after = Counter(_ngrams(output, order) * len(references))
    added, to_add = after.keys() - before.keys(), expected.keys() - before.keys()
    kept, to_keep = before & after, before & expected
    deleted, to_delete = before - after, before - expected
    return Operations(
        Matches(len(added & to_add), len(added), len(to_add)),
        Matches((kept & to_keep).total(), kept.total(), to_keep.total()),
        Matches((deleted & to_delete).total(), deleted.total(), to_delete.total()),
    )


def _ngrams(words: Words, order: int) -> list[Words]:
    return [tuple(words[at : at + order]) for at in range(len(words) - order + 1)]


def _of_sentence(orders: Sequence[Operations]) -> float:
    return fmean(
        score
        for added, kept, deleted in orders
        for score in (added.f1(1.0), kept.f1(1.0), deleted.precision(1.0))
    )


def _of_corpus(orders: Sequence[Operations]) -> float:
    return fmean(matches.f1(0.0) for operations in orders for matches in operations)


def _sum(sentences: Sequence[Operations]) -> Operations:
    """The operations of many sentences together."""
    return Operations(
        *(Matches(*map(sum, zip(*same, strict=True))) for same in zip(*sentences, strict=True))
    )
