"""The options of the task `translation_abnet`."""
# No `from __future__ import annotations` here: fairseq makes options from the types themselves.

import dataclasses
import sys
from typing import Optional

from fairseq.tasks.translation import TranslationConfig
from omegaconf import II, DictConfig

from abnet.decoding.mask_predict import DecodingOptions
from abnet.errors import AbNetError
from abnet.one_pass.ctc import CtcOptions
from abnet.one_pass.dag import DagOptions
from fairseq_plugins.command_line import refuse_hydra

OWN_OPTIONS = (  # `iter_decode_*` of the task that are fields of `DecodingOptions`
    "length_weight",
    "lm_weight",
    "rescore_weight",
    "ban_repeats",
    "repredict",
    "patience",
    "prune_after",
    "prune_keep",
    "prune_margin",
    "confidence",
)


@dataclasses.dataclass
class TranslationAbNetConfig(TranslationConfig):
    """fairseq's options of a translation task, and what this one must know of other groups."""

    left_pad_source: bool = dataclasses.field(default=False, metadata={"help": "not supported"})
    iter_decode_length_weight: float = dataclasses.field(
        default=DecodingOptions.length_weight,
        metadata={"help": "weight of the length's log-probability in a candidate's score"},
    )
    iter_decode_lm_weight: float = dataclasses.field(
        default=DecodingOptions.lm_weight,
        metadata={
            "help": "weight of how well a translation reads to the target BERT alone, in the "
            "choice among the lengths"
        },
    )
    iter_decode_rescore_weight: float = dataclasses.field(
        default=DecodingOptions.rescore_weight,
        metadata={
            "help": "weight of the log-probability that a translation has, every fourth token "
            "shown, in the choice among the lengths; one more pass, of four copies"
        },
    )
    iter_decode_ban_repeats: bool = dataclasses.field(
        default=DecodingOptions.ban_repeats,
        metadata={"help": "of two equal neighbours the less probable becomes its second choice"},
    )
    iter_decode_repredict: bool = dataclasses.field(
        default=DecodingOptions.repredict,
        metadata={"help": "predict all positions in every pass, not the masked ones alone"},
    )
    iter_decode_patience: int = dataclasses.field(
        default=DecodingOptions.patience,
        metadata={"help": "stop when the prediction has repeated so many times in a row"},
    )
    iter_decode_prune_after: Optional[int] = dataclasses.field(  # noqa: UP045
        default=None,
        metadata={
            "help": "give up some length candidates after so many passes; may change the output"
        },
    )
    iter_decode_prune_keep: Optional[int] = dataclasses.field(  # noqa: UP045
        default=None, metadata={"help": "how many of the best candidates to keep then"}
    )
    iter_decode_prune_margin: Optional[float] = dataclasses.field(  # noqa: UP045
        default=None,
        metadata={"help": "keep candidates whose score is at most so much below the best then"},
    )
    iter_decode_confidence: Optional[float] = dataclasses.field(  # noqa: UP045
        default=None,
        metadata={
            "help": "stop when each token has at least this probability; may change the output"
        },
    )
    iter_decode_dtype: str = dataclasses.field(
        default="float32",
        metadata={
            "help": "precision of the weights while generating: float32, bfloat16, float16 "
            "(on a GPU) or int8 (on the CPU); may change the output"
        },
    )
    iter_decode_compile: bool = dataclasses.field(
        default=False, metadata={"help": "compile the decoder while generating"}
    )
    iter_decode_rerank_weight: Optional[float] = dataclasses.field(  # noqa: UP045
        default=None,
        metadata={
            "help": "the share that --iter-decode-with-external-reranker has of a candidate's "
            "score, the rest is the model's own (default: 1)"
        },
    )
    ctc_beam: int = dataclasses.field(
        default=CtcOptions.beam,
        metadata={"help": "one-pass systems: prefixes kept in the search; 1 takes the best path"},
    )
    ctc_blank_penalty: float = dataclasses.field(
        default=CtcOptions.blank_penalty,
        metadata={"help": "one-pass systems: what the blank's logit loses; more makes longer"},
    )
    ctc_iterations: int = dataclasses.field(
        default=CtcOptions.iterations,
        metadata={
            "help": "one-pass systems trained with --reveal-frames: passes; 1 does not refine"
        },
    )
    dag_word_reward: float = dataclasses.field(
        default=DagOptions.word_reward,
        metadata={
            "help": "systems of a graph of words: what a word adds to a path; more makes longer"
        },
    )
    dag_beam: int = dataclasses.field(
        default=DagOptions.beam,
        metadata={
            "help": "systems of a graph of words: translations kept in the search; 1 takes the "
            "best path"
        },
    )
    dag_lm_weight: float = dataclasses.field(
        default=DagOptions.lm_weight,
        metadata={
            "help": "systems of a graph of words: weight of how well a translation reads to the "
            "target BERT alone, in the choice among those of --dag-beam"
        },
    )
    seed: int = II("common.seed")
    post_process: Optional[str] = II("common_eval.post_process")  # noqa: UP045


def check_options(cfg: DictConfig) -> None:
    """Refuses fairseq's options that this task would have to ignore, and `fairseq-hydra-train`."""
    refuse_hydra(sys.argv[0])
    if cfg.eval_bleu and (cfg.iter_decode_dtype != "float32" or cfg.iter_decode_compile):
        raise AbNetError(
            "`--iter-decode-dtype` and `--iter-decode-compile` must be left out with "
            "`--eval-bleu`, which decodes with the model that trains."
        )
    joined = "the pieces are joined by the target BERT's own tokenizer"
    for name, unset, reason in (
        ("left_pad_source", (False,), "a BERT reads right-padded sentences"),
        ("left_pad_target", (False,), "a BERT reads right-padded sentences"),
        ("load_alignments", (False,), "nothing here uses alignments"),
        ("num_batch_buckets", (0,), "it is for TPUs"),
        ("truncate_source", (False,), "all but training truncates, and says so"),
        ("post_process", (None,), joined),
        ("eval_bleu_detok", ("space", None), joined),
        ("eval_bleu_detok_args", ("{}", None), joined),
        ("eval_bleu_remove_bpe", (None,), joined),
        ("eval_tokenized_bleu", (False,), "`abnet evaluate` gives BLEU on tokens"),
    ):
        if cfg[name] not in unset:
            flag = "--" + name.replace("_", "-")
            raise AbNetError(f"`{flag}` must be left out: {reason}.")
