"""fairseq's generator of iterative refinement, on a GPU too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from fairseq.iterative_refinement_generator import IterativeRefinementGenerator


class Refinement(IterativeRefinementGenerator):
    """The same, with the scores of the lengths on the host.

    fairseq has NumPy choose among the lengths, which cannot read the scores on a GPU and ends in an
    error (its issue 4063). A reranker would come before that, and is the only way in between.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.reranking = self.beam_size > 1

    def generate(self, models: Sequence[Any], sample: Any, *args: Any, **options: Any) -> Any:
        """See fairseq; the last model stands where a reranker would."""
        reranker = models[:1] if self.reranking else []
        return super().generate([*models, *reranker], sample, *args, **options)

    def rerank(self, reranker: Any, finalized: list[Any], source: Any, beam_size: int) -> list[Any]:
        """All hypotheses as they are, but for the scores."""
        scores = torch.stack([hypotheses[0]["score"] for hypotheses in finalized]).tolist()
        for hypotheses, score in zip(finalized, scores, strict=True):
            hypotheses[0]["score"] = score
        return finalized
