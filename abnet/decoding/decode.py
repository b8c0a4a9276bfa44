"""A system's own way of decoding: Mask-Predict, beam search, or one pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from torch import Tensor

from abnet.config import AbNetConfig
from abnet.decoding.beam_search import BeamOptions, beam_search
from abnet.decoding.checks import check_evaluates
from abnet.decoding.ensemble import Ensemble
from abnet.decoding.hypothesis import Hypothesis
from abnet.decoding.mask_predict import DecodingOptions, mask_predict
from abnet.decoding.reranking import Reranker, mask_predict_and_rerank
from abnet.errors import AbNetError
from abnet.model import AbNet
from abnet.one_pass.ctc import CtcOptions, ctc_decode
from abnet.one_pass.dag import DagOptions, dag_decode

Options = DecodingOptions | BeamOptions | CtcOptions | DagOptions
KINDS: dict[str, tuple[type[Options], str]] = {  # by objective: its options, what it is called
    "conditional_masked_lm": (DecodingOptions, "parallel (Mask-Predict)"),
    "autoregressive": (BeamOptions, "autoregressive"),
    "ctc": (CtcOptions, "decoded in one pass (CTC)"),
    "dag": (DagOptions, "decoded in one pass (a graph)"),
}


def options_for(config: AbNetConfig, given: Mapping[str, Any]) -> Options:
    """The options of the system's way of decoding.

    Args:
        config: of the system.
        given: fields of its options; `None` stands for "not given".

    Raises:
        AbNetError: a field has no meaning for the system, or a value is not allowed.
    """
    kind, manner = KINDS[config.objective]
    known = {field.name for field in fields(kind)}
    values = {name: value for name, value in given.items() if value is not None}
    for name in values:
        if name not in known:
            raise AbNetError(
                f"`{name}` must be left out: this system is {manner}, and decoding it "
                f"knows {', '.join(sorted(known))}."
            )
    return kind(**values)


def check_options(model: AbNet | Ensemble, options: Options) -> None:
    """Whether options are of a system's own way of decoding.

    Raises:
        AbNetError: they are of another.
    """
    kind, manner = KINDS[model.config.objective]
    if not isinstance(options, kind):
        raise AbNetError(
            f"`options` must be {kind.__name__} for a system that is {manner}, "
            f"but are {type(options).__name__} instead."
        )


def decode(
    model: AbNet | Ensemble, source: Tensor, options: Options, reranker: Reranker | None = None
) -> list[list[Hypothesis]]:
    """Translates a batch in the system's own way, and with what a reranker makes of it.

    Raises:
        AbNetError: the options are of another way of decoding than the system's, the reranker
            does not suit them, or the model is in training mode.
    """
    check_options(model, options)
    check_evaluates(model)
    if reranker is not None:
        check_evaluates(reranker.model)
        reranker.check(model, options if isinstance(options, DecodingOptions) else None)
    if isinstance(options, BeamOptions):
        return beam_search(model, source, options)
    if isinstance(options, CtcOptions):
        return ctc_decode(model, source, options)
    if isinstance(options, DagOptions):
        return dag_decode(model, source, options)
    if reranker is not None:
        return mask_predict_and_rerank(model, reranker, source, options)
    return mask_predict(model, source, options)
