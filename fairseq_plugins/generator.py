"""Mask-Predict and beam search behind fairseq's generator interface."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, NamedTuple, get_type_hints

import torch
import torch.nn.functional as F
from fairseq.dataclass.configs import GenerationConfig
from torch import Tensor, nn

from abnet.decoding.beam_search import BeamOptions
from abnet.decoding.decode import Options, decode
from abnet.decoding.ensemble import Ensemble
from abnet.decoding.hypothesis import Hypothesis
from abnet.decoding.mask_predict import DecodingOptions
from abnet.decoding.reranking import Reranker
from abnet.errors import AbNetError
from abnet.field_types import check_type
from abnet.length import check_beam
from abnet.model import AbNet
from abnet.one_pass.ctc import CtcOptions
from abnet.one_pass.dag import DagOptions
from abnet.tokenizer import SymbolIds
from fairseq_plugins.task_options import OWN_OPTIONS

logger = logging.getLogger(__name__)

COMMON_OPTIONS = frozenset(
    {
        "lenpen",
        "nbest",
        "no_seed_provided",  # nothing is drawn at random
    }
)
PARALLEL_OPTIONS = COMMON_OPTIONS | {
    "iter_decode_force_max_iter",
    "iter_decode_max_iter",
    "iter_decode_with_beam",
    "iter_decode_with_external_reranker",
    "print_step",
    "retain_iter_history",
}
ONE_PASS_OPTIONS = frozenset({"lenpen", "no_seed_provided"})
BEAM_OPTIONS = COMMON_OPTIONS | {"beam", "max_len_a", "max_len_b", "unnormalized"}
ADVICE = {  # why an option has no meaning, or what has it
    "iter_decode_eos_penalty": "it is for models that insert and delete words",
    "iter_decode_with_external_reranker": "a reranker chooses among the lengths of Mask-Predict",
    "print_alignment": "it has no attention that would be an alignment",
    "replace_unk": "it has no attention that would be an alignment",
    "sacrebleu": "`--scoring sacrebleu` is what scores words",
    "unnormalized": "--lenpen 0 is the plain sum of log-probabilities",
}
PARALLEL_ADVICE = {
    **ADVICE,
    "beam": "--iter-decode-with-beam is the number of lengths to try",
    "max_len_a": "the model predicts the length",
    "max_len_b": "the model predicts the length",
}
BEAM_ADVICE = {
    **ADVICE,
    "iter_decode_max_iter": "it predicts one word a step",
    "iter_decode_with_beam": "--beam is the number of hypotheses",
}
ONE_PASS_ADVICE = {
    **ADVICE,
    "iter_decode_with_beam": "it predicts no length",
    "max_len_a": "the source gives it its frames",
    "max_len_b": "the source gives it its frames",
}
CTC_ADVICE = {
    **ONE_PASS_ADVICE,
    "beam": "--ctc-beam is the number of beginnings to keep",
    "iter_decode_max_iter": "--ctc-iterations is the number of passes",
    "nbest": "it has one translation a sentence",
}
DAG_ADVICE = {
    **ONE_PASS_ADVICE,
    "beam": "--dag-beam is the number of translations to keep",
    "iter_decode_max_iter": "it decodes in one pass",
}
FLAGS = {"n_best": "--nbest", "length_penalty": "--lenpen"}  # of fields
PARALLEL_FLAGS = {
    "iterations": "--iter-decode-max-iter",
    "length_beam": "--iter-decode-with-beam",
}
BEAM_FLAGS = {
    "beam": "--beam",
    "max_length_factor": "--max-len-a",
    "max_length_offset": "--max-len-b",
}


def decoding_options(
    given: Mapping[str, Any], length_classes: int, longest: int, **own: Any
) -> DecodingOptions:
    """Fairseq's generation options and the task's `own` as those of Mask-Predict.

    Args:
        given: names (as in `GenerationConfig`) and values; what is missing has fairseq's default.
        length_classes: of the model.
        longest: target that the model can make.
        own: options of the task.

    Raises:
        AbNetError: an option that Mask-Predict has no meaning for is set, or a value is no good.
    """
    values = _supported(given, PARALLEL_OPTIONS, "Mask-Predict decodes", PARALLEL_ADVICE)
    if values["nbest"] > values["iter_decode_with_beam"]:
        raise AbNetError(
            f"`--nbest` must be at most `--iter-decode-with-beam` = "
            f"{values['iter_decode_with_beam']}, but is {values['nbest']} instead."
        )
    with naming_flags("iter-decode", own, PARALLEL_FLAGS):
        check_beam(values["iter_decode_with_beam"], length_classes, longest)
        return DecodingOptions(
            iterations=values["iter_decode_max_iter"],
            length_beam=values["iter_decode_with_beam"],
            length_penalty=float(values["lenpen"]),
            force_max_iterations=values["iter_decode_force_max_iter"],
            n_best=values["nbest"],
            keep_history=values["retain_iter_history"],
            **own,
        )


def beam_options(given: Mapping[str, Any]) -> BeamOptions:
    """Fairseq's generation options as those of our beam search; see `decoding_options`."""
    values = _supported(given, BEAM_OPTIONS, "an autoregressive system decodes", BEAM_ADVICE)
    with naming_flags("", (), BEAM_FLAGS):
        return BeamOptions(
            beam=values["beam"],
            length_penalty=0.0 if values["unnormalized"] else float(values["lenpen"]),
            max_length_factor=float(values["max_len_a"]),
            max_length_offset=values["max_len_b"],
            n_best=values["nbest"],
        )


def ctc_options(given: Mapping[str, Any], **own: Any) -> CtcOptions:
    """Fairseq's generation options and the task's `own` as those of CTC; see `decoding_options`."""
    values = _supported(given, ONE_PASS_OPTIONS, "a one-pass system decodes", CTC_ADVICE)
    with naming_flags("ctc", own):
        return CtcOptions(length_penalty=float(values["lenpen"]), **own)


def dag_options(given: Mapping[str, Any], **own: Any) -> DagOptions:
    """Fairseq's generation options and the task's `own` as a graph's; see `decoding_options`."""
    values = _supported(given, COMMON_OPTIONS, "a graph of words decodes", DAG_ADVICE)
    with naming_flags("dag", own):
        return DagOptions(length_penalty=float(values["lenpen"]), n_best=values["nbest"], **own)


@contextmanager
def naming_flags(
    kind: str, own: Iterable[str], others: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Makes an error about fields one about the flags that set them.

    Args:
        kind: the beginning of the flags `--KIND-FIELD` of `own`.
        own: fields that options of the task set.
        others: other flags by field.
    """
    flags = {**FLAGS, **(others or {})}
    flags |= {name: f"--{kind}-{name.replace('_', '-')}" for name in own}
    try:
        yield
    except AbNetError as error:
        text = re.sub(r"`(\w+)`", lambda match: f"`{flags.get(match[1], match[1])}`", str(error))
        raise AbNetError(text) from error


def _supported(
    given: Mapping[str, Any], supported: frozenset[str], who: str, reasons: Mapping[str, str]
) -> dict[str, Any]:
    """All generation options with their values.

    Raises:
        AbNetError: one that is not supported differs from fairseq's default, or is unknown, or the
            value of one is of another type.
    """
    defaults = {f.name: f.default for f in fields(GenerationConfig) if f.name != "_name"}
    for name, value in given.items():
        if name == "_name":
            continue
        if name in supported:
            _check_type(name, value)
            continue
        if name not in defaults:
            own = name.removeprefix("iter_decode_") in OWN_OPTIONS
            if own or name.startswith(("ctc_", "dag_")):
                flag = "--" + name.replace("_", "-")
                raise AbNetError(f"`{flag}` must be an option of its own, not one of generation.")
            raise AbNetError(f"There is no generation option {name!r}.")
        if value != defaults[name]:
            flag = "--" + name.replace("_", "-")
            advice = f": {reasons[name]}" if name in reasons else ""
            raise AbNetError(f"`{flag}` must be left out, {who} without it{advice}.")
    return {**defaults, **given}


def _check_type(name: str, value: Any) -> None:
    """Refuses what `--eval-bleu-args` may have in place of a number or a switch."""
    flag = name.replace("_", "-")
    check_type(f"`--{flag}`", value, get_type_hints(GenerationConfig)[name])


class Systems(NamedTuple):
    """The models that fairseq loads with `--path`, by what they do."""

    model: AbNet | Ensemble
    reranker: Reranker | None

    @classmethod
    def of(cls, models: Sequence[nn.Module], rerank_weight: float | None) -> Systems:
        """One model or an ensemble of several, the last one apart if it is the reranker.

        Args:
            models: each with an attribute `abnet`.
            rerank_weight: of the reranker; `None` if there is none.

        Raises:
            AbNetError: there is none besides the reranker, or see `Ensemble` and `Reranker`.
        """
        abnets: list[AbNet] = [model.abnet for model in models]
        reranker = None
        if rerank_weight is not None:
            if len(abnets) < 2:
                raise AbNetError(
                    "`--path` must be at least two checkpoints, MODEL.pt:RERANKER.pt, with "
                    "`--iter-decode-with-external-reranker`, but is one instead."
                )
            reranker = Reranker(abnets.pop(), rerank_weight)
        return cls(abnets[0] if len(abnets) == 1 else Ensemble(abnets), reranker)


class Generator:
    """What `fairseq-generate` calls a generator.

    Args:
        options: how to decode.
        rerank_weight: of the reranker, the last model; `None` if there is none.
        source, target: special ids of the two sides.
    """

    def __init__(
        self,
        options: Options,
        rerank_weight: float | None,
        source: SymbolIds,
        target: SymbolIds,
    ) -> None:
        self.options = options
        self.rerank_weight = rerank_weight
        self.source = source
        self.target = target
        self.eos = target.sep
        self.warned = False
        self.symbols_to_strip_from_output = {target.pad, target.cls, target.sep, target.mask}

    def generate(
        self,
        models: Sequence[nn.Module],
        sample: Mapping[str, Any],
        prefix_tokens: Tensor | None = None,
        constraints: Tensor | None = None,
    ) -> list[list[dict[str, Any]]]:
        """The hypotheses of each sentence, best first; an empty source has one, empty.

        Args:
            models: in evaluation mode; see `Systems`.
            sample: a batch with `net_input.src_tokens` (B, S).
            prefix_tokens, constraints: refused.

        Raises:
            AbNetError: a prefix or constraints are given.
        """
        if prefix_tokens is not None or constraints is not None:
            raise AbNetError("AB-Net decodes without target prefixes and constraints.")
        model, reranker = Systems.of(models, self.rerank_weight)
        source: Tensor = sample["net_input"]["src_tokens"]
        pieces = source.ne(self.source.pad) & source.ne(self.source.sep)
        filled = pieces.any(dim=1)
        if not self.warned:
            unknown = (pieces & source.eq(self.source.unk)).sum(dim=1)
            self._warn(int((filled & (2 * unknown >= pieces.sum(dim=1))).sum()))
        decoded = []
        if filled.any():
            decoded = decode(model, source[filled], self.options, reranker)
        remaining = iter(decoded)
        return [
            [_as_fairseq(self._ended(h)) for h in next(remaining)] if has_words else [self._empty()]
            for has_words in filled.tolist()
        ]

    def _warn(self, unknown: int) -> None:
        """Says once that there are sentences of unknown words, `unknown` in this batch."""
        if unknown:
            self.warned = True
            logger.warning(
                "%d source sentences, and maybe more to come, are made of unknown words for the "
                "most part: is the text in the language and script of the source BERT?",
                unknown,
            )

    def _empty(self) -> dict[str, Any]:
        """The translation of an empty line: [SEP] alone, certain, without a pass."""
        end = torch.tensor([self.target.sep])
        return _as_fairseq(Hypothesis(end, torch.zeros(1), 0.0, 0.0, 0, []))

    def _ended(self, hypothesis: Hypothesis) -> Hypothesis:
        """With a final [SEP] for one pass, which predicts none: fairseq dies of empty tensors."""
        if not isinstance(self.options, CtcOptions | DagOptions):
            return hypothesis
        return hypothesis._replace(
            tokens=F.pad(hypothesis.tokens, (0, 1), value=self.target.sep),
            token_scores=F.pad(hypothesis.token_scores, (0, 1)),
        )


def _as_fairseq(hypothesis: Hypothesis) -> dict[str, Any]:
    return {
        "tokens": hypothesis.tokens,
        "score": hypothesis.score,
        "positional_scores": hypothesis.token_scores.clone(),  # fairseq rescales them in place
        "alignment": None,
        "attention": None,
        "steps": hypothesis.passes,
        "history": [{"tokens": tokens} for tokens in hypothesis.history],
    }
