"""AB-Net: translate with two frozen BERTs and small adapters (Guo et al., NeurIPS 2020)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from abnet.checkpoint import load_checkpoint, save_checkpoint
    from abnet.config import AbNetConfig
    from abnet.decoding.beam_search import BeamOptions, beam_search
    from abnet.decoding.ensemble import Ensemble
    from abnet.decoding.mask_predict import DecodingOptions, mask_predict
    from abnet.decoding.reranking import Reranker
    from abnet.errors import AbNetError
    from abnet.model import AbNet
    from abnet.one_pass.ctc import CtcOptions
    from abnet.one_pass.dag import DagOptions
    from abnet.translator import Translator

__version__ = "0.1.0"
__all__ = [
    "AbNet",
    "AbNetConfig",
    "AbNetError",
    "BeamOptions",
    "CtcOptions",
    "DagOptions",
    "DecodingOptions",
    "Ensemble",
    "Reranker",
    "Translator",
    "beam_search",
    "load_checkpoint",
    "mask_predict",
    "save_checkpoint",
]

_HOMES = {
    "AbNet": "abnet.model",
    "AbNetConfig": "abnet.config",
    "AbNetError": "abnet.errors",
    "BeamOptions": "abnet.decoding.beam_search",
    "CtcOptions": "abnet.one_pass.ctc",
    "DagOptions": "abnet.one_pass.dag",
    "DecodingOptions": "abnet.decoding.mask_predict",
    "Ensemble": "abnet.decoding.ensemble",
    "Reranker": "abnet.decoding.reranking",
    "Translator": "abnet.translator",
    "beam_search": "abnet.decoding.beam_search",
    "load_checkpoint": "abnet.checkpoint",
    "mask_predict": "abnet.decoding.mask_predict",
    "save_checkpoint": "abnet.checkpoint",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used, so that the command line starts fast."""
    if name not in _HOMES:
        raise AttributeError(f"module 'abnet' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
