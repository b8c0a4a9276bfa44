"""What must be right before `fairseq-train` acts: checked while it reads its arguments."""

from __future__ import annotations

import logging
import os
import sys
from argparse import Namespace
from collections.abc import Mapping

import torch
from fairseq import utils
from fairseq.data import data_utils

from abnet.config import AbNetConfig
from abnet.config_use import without_effect
from abnet.errors import AbNetError
from abnet.processes import keep_kernels
from abnet.systems import CRITERIA, PRESETS
from fairseq_plugins.training_start import DEFAULTS, check_start

logger = logging.getLogger(__name__)

# Metrics of a validation: of all objectives, and of each.
SMALLER_IS_BETTER = ("loss", "nll_loss", "ppl")
SMALLER_BY_OBJECTIVE = {
    "conditional_masked_lm": ("length_loss",),
    "autoregressive": (),
    "ctc": ("impossible",),
    "dag": ("impossible",),
}
LARGER_IS_BETTER = ("bleu",)
LARGER_BY_OBJECTIVE = {
    "conditional_masked_lm": ("masked_accuracy", "length_accuracy"),
    "autoregressive": ("accuracy",),
    "ctc": ("length_accuracy",),
    "dag": (),
}


def prepare_training(args: Namespace) -> None:
    """Checks, and mends `--bf16` and, without a GPU, `--fp16`.

    Args:
        args: all arguments of `fairseq-train`, parsed.

    Raises:
        AbNetError: see `name_idle_options`, `check_launch`, `check_options`, `check_best` and
            `check_start`.
    """
    if "path" in args:  # fairseq-generate or -interactive with a needless --arch
        return
    if args.bf16:
        args.tpu = False  # fairseq takes --bf16 for a wish for a TPU
    if args.bf16 and on_cpu(args):
        keep_kernels(4096)  # batches of many lengths have many shapes
    if args.fp16 and on_cpu(args):
        args.fp16_no_flatten_grads = True  # fairseq would flatten them on a GPU
        args.fp16_scale_window = sys.maxsize  # it grows until gradients overflow
        logger.warning(
            "the loss scale of `--fp16` stays %s (`--fp16-init-scale`): without a GPU fairseq ends "
            "with an error where gradients overflow; `--bf16` needs no scale",
            args.fp16_init_scale,
        )
    if on_cpu(args) and args.amp:
        logger.warning("`--amp` does nothing without a GPU: `--bf16` trains in half precision")
    if vars(args).get("bert_rate_end") is not None:
        args.fp16_no_flatten_grads = True  # flat weights could not be told apart
    name_languages(args)
    if vars(args).get("source_bert") and vars(args).get("target_bert"):  # else an error is to come
        name_idle_options(args)
    check_options(args)
    check_launch(args, os.environ)
    check_start(args)


def name_idle_options(args: Namespace) -> None:
    """Warns of options that the architecture has no use for, but for those that it sets itself.

    Raises:
        AbNetError: see `AbNetConfig`.
    """
    config = AbNetConfig.from_dict(vars(args))
    usual = DEFAULTS | PRESETS[args.arch]
    idle = [name for name in without_effect(config) if getattr(config, name) != usual[name]]
    if idle:
        flags = ", ".join(f"`--{name.replace('_', '-')}`" for name in idle)
        logger.warning("%s: nothing in `--arch %s` makes use of this", flags, args.arch)


def name_languages(args: Namespace) -> None:
    """Has the checkpoints tell the languages, as they do where the command line names them.

    The task infers them from the data's names, but in a copy of the options that is not saved.
    """
    folders = [folder for folder in utils.split_paths(args.data or "") if os.path.isdir(folder)]
    if folders and args.source_lang is None and args.target_lang is None:
        args.source_lang, args.target_lang = data_utils.infer_language_pair(folders[0])


def check_options(args: Namespace) -> None:
    """Refuses what would not do what it says.

    Raises:
        AbNetError: such an option is set.
    """
    objective = vars(args).get("objective", DEFAULTS["objective"])
    for name, needed in (("task", "translation_abnet"), ("criterion", CRITERIA[objective])):
        if vars(args)[name] != needed:
            raise AbNetError(
                f"`--{name}` must be {needed} for this model, but is {vars(args)[name]} instead."
            )
    share = vars(args).get("soft_label_weight", DEFAULTS["soft_label_weight"])
    if share and vars(args).get("soft_teacher") is None:
        raise AbNetError(
            "`--soft-teacher` must be the checkpoint of a conditional masked LM (`abnet_fb`, ...) "
            f"for a `--soft-label-weight` of {share}, but is missing."
        )
    if args.store_ema:
        raise AbNetError("`--store-ema` must be left out: `abnet average` averages checkpoints.")
    if args.sentence_avg:
        raise AbNetError(
            "`--sentence-avg` must be left out: `--loss-normalization` says what the loss is "
            "divided by."
        )
    if args.ddp_backend == "fully_sharded":
        raise AbNetError(
            "`--ddp-backend` must not be fully_sharded: frozen and trained weights share layers. "
            "The default, pytorch_ddp, reduces the trained ones only."
        )
    by_loss = args.keep_best_checkpoints > 0 and args.best_checkpoint_metric == "loss"
    if by_loss and vars(args).get("fuzzy_ngrams"):
        raise AbNetError(
            "`--best-checkpoint-metric` must be nll_loss or bleu for `--keep-best-checkpoints` "
            "with `--fuzzy-ngrams`: the loss may be negative, and fairseq does not recognize the "
            "names of such checkpoints."
        )
    check_best(args)


def check_best(args: Namespace) -> None:
    """Refuses a choice of `checkpoint_best.pt` that would end in an error or take the worst.

    Raises:
        AbNetError: there is no such metric, or its best is at the other end.
    """
    metric = args.best_checkpoint_metric
    objective = vars(args).get("objective", DEFAULTS["objective"])
    smaller = (*SMALLER_IS_BETTER, *SMALLER_BY_OBJECTIVE[objective])
    larger = (*LARGER_IS_BETTER, *LARGER_BY_OBJECTIVE[objective])
    if metric == "bleu" and not args.eval_bleu:
        raise AbNetError("`--best-checkpoint-metric bleu` must go with `--eval-bleu`.")
    if metric not in (*smaller, *larger):
        raise AbNetError(
            f"`--best-checkpoint-metric` must be one of {', '.join((*smaller, *larger))} for the "
            f"objective {objective}, but is {metric!r} instead."
        )
    if args.maximize_best_checkpoint_metric != (metric in larger):
        how = "given" if metric in larger else "left out"
        raise AbNetError(
            f"`--maximize-best-checkpoint-metric` must be {how} with `--best-checkpoint-metric "
            f"{metric}`, or checkpoint_best.pt would be the worst."
        )
    if args.eval_bleu and metric == "loss":
        logger.warning(
            "checkpoint_best.pt will be the one of lowest loss; for the one of highest BLEU add "
            "`--best-checkpoint-metric bleu --maximize-best-checkpoint-metric`"
        )


def check_launch(args: Namespace, environ: Mapping[str, str]) -> None:
    """Refuses launches in which every process would train a model of its own, or none at all.

    Raises:
        AbNetError: with the command that was meant.
    """
    world = args.distributed_world_size
    processes = int(environ.get("WORLD_SIZE") or environ.get("SLURM_STEP_NUM_TASKS") or 1)
    flags = "--distributed-world-size $WORLD_SIZE"
    if on_cpu(args):
        flags += (
            " --distributed-rank $RANK --distributed-init-method env:// --distributed-no-spawn "
            "--distributed-backend gloo --ddp-backend legacy_ddp"
        )
    if processes > 1 and world == 1:
        raise AbNetError(
            f"{processes} processes were started, but `--distributed-world-size` is 1: each would "
            f"train a model of its own and overwrite the others' checkpoints. Add {flags} "
            "(`scripts/train/distributed.sh` does)."
        )
    joined = args.distributed_no_spawn and args.distributed_init_method is not None
    if on_cpu(args) and world > 1 and not joined:
        raise AbNetError(
            f"`--distributed-world-size` is {world}, but fairseq starts processes on GPUs only, "
            f"and none is in use. For one process add `--distributed-world-size 1`; several "
            f"are started with torchrun and {flags} (`scripts/train/distributed.sh` does it)."
        )


def on_cpu(args: Namespace) -> bool:
    """Whether the run uses no GPU."""
    return args.cpu or not torch.cuda.is_available()
