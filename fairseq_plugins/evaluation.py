"""BLEU of a validation set, from counts that add up over batches and workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from fairseq.logging import metrics
from sacrebleu.metrics import BLEU

ORDER = 4
COUNTS = (
    *(f"_bleu_counts_{n}" for n in range(ORDER)),
    *(f"_bleu_totals_{n}" for n in range(ORDER)),
    "_bleu_sys_len",
    "_bleu_ref_len",
)


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
