"""A system's own way of decoding: Mask-Predict, or beam search for autoregressive ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from torch import Tensor

from abnet.beam_search import BeamOptions, beam_search
from abnet.config import AbNetConfig
from abnet.ensemble import Ensemble
from abnet.errors import AbNetError
from abnet.hypothesis import Hypothesis
from abnet.mask_predict import DecodingOptions, mask_predict
from abnet.model import AbNet
from abnet.reranking import Reranker, mask_predict_and_rerank

Options = DecodingOptions | BeamOptions


def options_for(config: AbNetConfig, given: Mapping[str, Any]) -> Options:
    """The options of the system's way of decoding.

    Args:
        config: of the system.
        given: fields of `DecodingOptions` or `BeamOptions`; `None` stands for "not given".

    Raises:
        AbNetError: a field has no meaning for the system, or a value is not allowed.
    """
    kind: type[Options] = _kind(config)
    known = {field.name for field in fields(kind)}
    values = {name: value for name, value in given.items() if value is not None}
    for name in values:
        if name not in known:
            raise AbNetError(
                f"`{name}` must be left out: this system is {_manner(config)}, and decoding it "
                f"knows {', '.join(sorted(known))}."
            )
    return kind(**values)


def decode(
    model: AbNet | Ensemble, source: Tensor, options: Options, reranker: Reranker | None = None
) -> list[list[Hypothesis]]:
    """Translates a batch; see `mask_predict`, `beam_search` and `Reranker`.

    Raises:
        AbNetError: the options are of another way of decoding than the system's, or the reranker
            does not suit them.
    """
    if not isinstance(options, _kind(model.config)):
        raise AbNetError(
            f"`options` must be {_kind(model.config).__name__} for a system that is "
            f"{_manner(model.config)}, but are {type(options).__name__} instead."
        )
    if reranker is not None:
        reranker.check(model, options if isinstance(options, DecodingOptions) else None)
    if isinstance(options, BeamOptions):
        return beam_search(model, source, options)
    if reranker is not None:
        return mask_predict_and_rerank(model, reranker, source, options)
    return mask_predict(model, source, options)


def _kind(config: AbNetConfig) -> type[Options]:
    return BeamOptions if config.objective == "autoregressive" else DecodingOptions


def _manner(config: AbNetConfig) -> str:
    return "autoregressive" if config.objective == "autoregressive" else "parallel (Mask-Predict)"
