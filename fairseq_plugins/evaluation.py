"""BLEU of a validation set, from counts that add up over batches and workers."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from fairseq.logging import metrics
from sacrebleu.metrics import BLEU

from abnet.errors import AbNetError
from abnet.scoring import evaluate
from abnet.scoring.languages import measured_code

ORDER = 4
COUNTS = (
    *(f"_bleu_counts_{n}" for n in range(ORDER)),
    *(f"_bleu_totals_{n}" for n in range(ORDER)),
    "_bleu_sys_len",
    "_bleu_ref_len",
)


def bleu_in(side: str) -> BLEU:
    """BLEU of raw lines of the target side, whose name need not be a language's.

    Raises:
        AbNetError: a package that cuts the language is not installed.
    """
    return evaluate.bleu_in(measured_code(side) or "", lowercase=False, force=True)


def decoding_arguments(text: str | None) -> Namespace:
    """What `--eval-bleu-args` says of how the validation set is translated.

    Raises:
        AbNetError: it is no JSON object.
    """
    try:
        return Namespace(**json.loads(text or "{}"))
    except (ValueError, TypeError) as error:
        raise AbNetError(
            "`--eval-bleu-args` must be a JSON object, such as "
            f"'{{\"iter_decode_with_beam\": 4}}', but is {text!r} instead."
        ) from error


def bleu_counts(
    metric: BLEU, hypotheses: Sequence[str], references: Sequence[str]
) -> dict[str, int]:
    """The counts of a batch of raw lines, cut into words as the metric does it."""
    score = metric.corpus_score(list(hypotheses), [list(references)])
    values = (*score.counts, *score.totals, score.sys_len, score.ref_len)
    return dict(zip(COUNTS, values, strict=True))


def log_bleu(logging_outputs: Sequence[Mapping[str, Any]]) -> None:
    """Adds the counts to fairseq's meters and a `bleu` made from them; 0 where nothing matches."""
    for name in COUNTS:
        total = sum(output.get(name, 0) for output in logging_outputs)
        metrics.log_scalar(name, total.item() if torch.is_tensor(total) else total)
    metrics.log_derived("bleu", _bleu)


def _bleu(meters: Mapping[str, Any]) -> float:
    sums = {name: int(meters[name].sum) for name in COUNTS}
    if not sums["_bleu_totals_0"]:
        return 0.0
    score = BLEU.compute_bleu(
        correct=[sums[f"_bleu_counts_{n}"] for n in range(ORDER)],
        total=[sums[f"_bleu_totals_{n}"] for n in range(ORDER)],
        sys_len=sums["_bleu_sys_len"],
        ref_len=sums["_bleu_ref_len"],
        smooth_method="exp",
    )
    return round(score.score, 2)
