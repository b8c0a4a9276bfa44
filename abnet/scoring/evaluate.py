"""Scores of translations: sacreBLEU's BLEU, chrF and TER, and the paper's tokenized BLEU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from abnet.errors import AbNetError
from abnet.text import read_lines

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU


class Score(NamedTuple):
    """One figure.

    Attributes:
        name: "bleu", "chrf", "ter", "tokenized_bleu", "rouge1", "sari", ...
        label: how a table calls it.
        value: in percent; the smaller the better for TER, the larger for the others.
        signature: everything that must be equal for two values to be comparable.
    """

    name: str
    label: str
    value: float
    signature: str


def evaluate(
    hypotheses: Sequence[str],
    *references: Sequence[str],
    language: str = "",
    lowercase: bool = False,
) -> list[Score]:
    """BLEU, chrF and TER as sacreBLEU computes them by default.

    Args:
        hypotheses: detokenized translations, one a reference.
        references: raw text; there may be several sets of it.
        language: code of the target language; sacreBLEU cuts Chinese, Japanese and Korean its way.
        lowercase: whether BLEU and chrF ignore case; TER always does.

    Raises:
        AbNetError: the numbers of lines differ, or there are none, or a package that cuts the
            language is not installed.
    """
    from sacrebleu.metrics.chrf import CHRF
    from sacrebleu.metrics.ter import TER

    check_lines(hypotheses, *references)
    metrics = {
        "bleu": ("BLEU", bleu_in(language, lowercase)),
        "chrf": ("chrF2", CHRF(lowercase=lowercase)),
        "ter": ("TER", TER()),
    }
    return [
        Score(
            name,
            label,
            metric.corpus_score(hypotheses, references).score,
            str(metric.get_signature()),
        )
        for name, (label, metric) in metrics.items()
    ]


def bleu_in(language: str, lowercase: bool, force: bool = False) -> BLEU:
    """BLEU of sacreBLEU, which cuts words as the language wants it.

    Args:
        language: its code.
        lowercase: whether case is ignored.
        force: whether nothing is said of lines that look tokenized.

    Raises:
        AbNetError: a package that cuts the language is not installed.
    """
    from sacrebleu.metrics.bleu import BLEU

    try:
        return BLEU(lowercase=lowercase, trg_lang=language, force=force)
    except RuntimeError as error:
        raise AbNetError(
            f"BLEU in {language} needs a package for its words: install it with "
            f"`pip install 'sacrebleu[{language}]'`."
        ) from error


def tokenized_bleu(
    hypotheses: Sequence[str],
    *references: Sequence[str],
    language: str,
    lowercase: bool = False,
) -> Score:
    """BLEU over Moses tokens without smoothing: what `multi-bleu.perl` prints.

    The paper reports this measure (lower-cased for IWSLT14). It depends on the tokenizer and is up
    to some points from sacreBLEU's on the same output; never compare the two.

    Args:
        hypotheses: detokenized translations, one a reference.
        references: raw text; there may be several sets of it.
        language: code of the target language, for Moses' rules.
        lowercase: whether case is ignored.

    Raises:
        AbNetError: the numbers of lines differ, or sacremoses is not installed.
    """
    from sacrebleu.metrics.bleu import BLEU

    try:
        import sacremoses
    except ImportError:
        raise AbNetError(
            "Tokenized BLEU needs sacremoses: install it with `pip install sacremoses`."
        ) from None
    check_lines(hypotheses, *references)
    tokenizer = sacremoses.MosesTokenizer(language)

    def tokens(lines: Sequence[str]) -> list[str]:
        return [tokenizer.tokenize(line, escape=False, return_str=True) for line in lines]

    metric = BLEU(lowercase=lowercase, tokenize="none", smooth_method="none", force=True)
    value = metric.corpus_score(tokens(hypotheses), [tokens(lines) for lines in references]).score
    signature = str(metric.get_signature()).replace("tok:none", f"tok:moses-{language}")
    return Score(
        "tokenized_bleu",
        "tokenized BLEU",
        value,
        f"{signature}|sacremoses:{sacremoses.__version__}",
    )


def read_generate_output(*paths: str | Path) -> list[str]:
    """The best hypothesis of each sentence in logs of `fairseq-generate`, in the data's order.

    Args:
        paths: one log, or those of several `--distributed-rank`s of the same data.

    Raises:
        AbNetError: there is none, a sentence is missing, or two logs or two runs in one have it.
    """
    best: dict[int, str] = {}
    log_of: dict[int, str | Path] = {}
    for path in paths:
        last = None
        for line in read_lines(path):
            key, _, rest = line.partition("\t")
            number = key.removeprefix("D-")
            if key.startswith("D-") and number.isdecimal() and "\t" in rest:
                if log_of.setdefault(int(number), path) != path:
                    raise AbNetError(
                        f"Each sentence must be in one log, but {log_of[int(number)]} and {path} "
                        f"both have number {number}: are they of different parts of the data?"
                    )
                if int(number) in best and int(number) != last:
                    raise AbNetError(
                        f"Each sentence must be in a log once, but {path} comes back to number "
                        f"{number}: does it hold two runs? Leave one of them."
                    )
                best.setdefault(int(number), rest.partition("\t")[2])  # the best comes first
                last = int(number)
    names = ", ".join(map(str, paths))
    if not best:
        raise AbNetError(
            f"{names} must have lines such as `D-0<tab>score<tab>text`, as `fairseq-generate` "
            "prints them, but has none."
        )
    missing = sorted(set(range(max(best) + 1)) - best.keys())
    if missing:
        raise AbNetError(
            f"{names} must have every sentence up to number {max(best)}, but lacks {len(missing)}: "
            f"{', '.join(map(str, missing[:5]))}{', ...' if len(missing) > 5 else ''}. Was the "
            "decoding ended early?"
        )
    return [best[number] for number in range(len(best))]


def check_lines(hypotheses: Sequence[str], *references: Sequence[str]) -> None:
    """Checks that every set of references has a line a hypothesis.

    Raises:
        AbNetError: one has not, or there is nothing to score.
    """
    for lines in references:
        if len(hypotheses) != len(lines):
            raise AbNetError(
                "There must be one hypothesis a reference, but there are "
                f"{len(hypotheses)} hypotheses and {len(lines)} references."
            )
    if not references or not hypotheses:
        raise AbNetError("There must be at least one line to score, but there is none.")
