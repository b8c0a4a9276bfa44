"""What must be right before `fairseq-train` acts: checked while it reads its arguments."""

from __future__ import annotations

import logging
import os
import sys
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from fairseq import utils
from fairseq.data import data_utils

from abnet.averaging import is_best, is_of_training
from abnet.config import FOR_A_NEW_MODEL, AbNetConfig
from abnet.config_use import without_effect
from abnet.errors import AbNetError
from abnet.systems import CRITERIA, PRESETS
from fairseq_plugins.command_line import check_whole

logger = logging.getLogger(__name__)

DEFAULT_RESTORE_FILE = "checkpoint_last.pt"
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
SHAPELESS = (
    "cross_attention",
    "decoder_adapter_heads",
    "decoder_adapter_norm",
    "frames_per_piece",
    "keep_cls",
    "objective",
    "transformer_heads",
    "transformer_norm",
)
LOSS_OPTIONS = (  # of validation
    "distillation_weight",
    "fuzzy_likelihood_weight",
    "fuzzy_ngrams",
    "label_smoothing",
    "length_loss_weight",
    "loss_normalization",
    "mask_count",
    "target_noise",
)
DEFAULTS = {field.name: field.default for field in fields(AbNetConfig)}


def prepare_training(args: Namespace) -> None:
    """Checks, and mends `--bf16` and, without a GPU, `--fp16`.

    Args:
        args: all arguments of `fairseq-train`, parsed.

    Raises:
        AbNetError: see `check_launch`, `check_options`, `check_best` and `check_start`.
    """
    if "path" in args:  # fairseq-generate or -interactive with a needless --arch
        return
    if args.bf16:
        args.tpu = False  # fairseq takes --bf16 for a wish for a TPU
    if args.fp16 and on_cpu(args):
        args.fp16_no_flatten_grads = True  # fairseq would flatten them on a GPU
        args.fp16_scale_window = sys.maxsize  # it grows until gradients overflow
        logger.warning(
            "the loss scale of `--fp16` stays %s (`--fp16-init-scale`): without a GPU fairseq ends "
            "with an error where gradients overflow; `--bf16` needs no scale",
            args.fp16_init_scale,
        )
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


def check_start(args: Namespace) -> None:
    """Refuses a start that would silently be a new one, or that cannot be read.

    What has a start of its own needs no `--warm-start`, which is taken away.

    Raises:
        AbNetError: the checkpoint to start from is missing or damaged, or see `check_function`,
            `check_goes_on` and `check_same_best`.
    """
    ending = f"{args.checkpoint_suffix}.pt"  # of these two, and of all that is written
    last = Path(args.save_dir) / DEFAULT_RESTORE_FILE.replace(".pt", ending)
    restored = None
    if args.restore_file != DEFAULT_RESTORE_FILE:
        restored = args.restore_file.replace(".pt", ending)
    named = {
        "--restore-file": restored,
        "--continue-once": args.continue_once,
        "--finetune-from-model": args.finetune_from_model,
    }
    starts = [(flag, Path(name)) for flag, name in named.items() if name is not None]
    for flag, start in starts:
        if start.is_file():
            continue
        beside = Path(args.save_dir) / start.name
        hint = f" There is a {beside}." if beside.is_file() else ""
        raise AbNetError(
            f"`{flag}` must be an existing checkpoint, but {start} is none (paths are relative to "
            f"{Path.cwd()}); without it, training would start from scratch.{hint}"
        )
    if restored is None and last.is_file():
        for flag, start in starts:
            logger.warning("`%s %s` is ignored: training goes on from %s", flag, start, last)
        starts = [("", last)]
    elif restored is not None and last.is_file():
        logger.warning(
            "training starts from %s, as each time that it is given, and will overwrite %s; to go "
            "on from that, leave `--restore-file` out", restored, last
        )  # fmt: skip
    if not starts:
        check_is_new(last, ending)
    for name in FOR_A_NEW_MODEL if starts else ():
        if vars(args).get(name) is not None:
            option = "--" + name.replace("_", "-")
            logger.warning("`%s` is ignored: training goes on from %s", option, starts[0][1])
            setattr(args, name, None)
    if not starts and vars(args).get("fuzzy_ngrams") and vars(args).get("warm_start") is None:
        logger.warning(
            "an untrained graph is expected to say hardly any n-gram, and so learns hardly "
            "anything from `--fuzzy-ngrams`: give a trained one with `--warm-start` (`--arch "
            "abnet_dag` trains it)"
        )
    for flag, start in starts[:1]:  # as fairseq ranks them
        check_whole(start)
        state = torch.load(start, map_location="cpu", mmap=True, weights_only=True)
        check_function(start, state, args)
        if flag != "--finetune-from-model" and not args.reset_optimizer:
            check_goes_on(start, state)
            if not args.reset_meters:
                check_same_best(start, state, args)


def check_is_new(last: Path, ending: str) -> None:
    """Refuses a new training where the checkpoints of another one would be overwritten.

    Args:
        last: the checkpoint that it would go on from, in the folder that it writes to.
        ending: of the names of what it writes, `--checkpoint-suffix` included.

    Raises:
        AbNetError: there are such.
    """
    folder = last.parent
    names = sorted(path.name for path in folder.glob(f"checkpoint*{ending}"))
    there = [
        name
        for name in names
        if is_of_training(plain := name.removesuffix(ending) + ".pt") or is_best(plain)
    ]
    if there:
        raise AbNetError(
            f"`--save-dir` must be a new folder for a new training, but {folder} has "
            f"{there[-1]} and no {last.name} to go on from. Go on from one with "
            "`--restore-file`, or give another folder."
        )


def check_goes_on(path: Path, state: Mapping[str, Any]) -> None:
    """Refuses a checkpoint from which a training would begin anew without a word.

    Raises:
        AbNetError: it has no state of the optimizer, and so no updates either.
    """
    if state.get("last_optimizer_state") is None:
        raise AbNetError(
            f"A training cannot go on from {path}, which has no state of the optimizer: it is an "
            "average, or was written with `--no-save-optimizer-state`. To begin a new one with its "
            "weights add `--reset-optimizer`, or give it as `--finetune-from-model` with a new "
            "`--save-dir`."
        )


def check_same_best(path: Path, state: Mapping[str, Any], args: Namespace) -> None:
    """Refuses to measure what comes in another way than the best one so far.

    Raises:
        AbNetError: the checkpoint has a best value of another metric, or of a loss that is another
            sum.
    """
    if "best" not in state.get("extra_state", {}):
        return
    metric = state["cfg"]["checkpoint"]["best_checkpoint_metric"]
    if args.best_checkpoint_metric != metric:
        raise AbNetError(
            f"`--best-checkpoint-metric` must be {metric} as in the checkpoint {path}, but is "
            f"{args.best_checkpoint_metric} instead: its best value is one of {metric}. Add "
            "`--reset-meters` to forget that."
        )
    if metric != "loss":
        return
    saved = state["cfg"]["model"]
    for name in LOSS_OPTIONS:
        then, now = saved.get(name, DEFAULTS[name]), vars(args).get(name, DEFAULTS[name])
        if then != now:
            raise AbNetError(
                f"`--{name.replace('_', '-')}` must be {then!r} as in the checkpoint {path}, but "
                f"is {now!r} instead: its best loss is a sum of other parts. Add `--reset-meters` "
                "to forget that."
            )


def check_function(path: Path, state: Mapping[str, Any], args: Namespace) -> None:
    """Refuses a start whose weights would fit in shape but compute something else here.

    Raises:
        AbNetError: a choice differs that no shape shows.
    """
    saved = state.get("cfg", {}).get("model")
    if not isinstance(saved, Mapping):
        return  # not one of ours, as loading it will say
    for name in SHAPELESS:
        ours = vars(args).get(name, DEFAULTS[name])
        if name in saved and saved[name] != ours:
            flag = "--" + name.replace("_", "-")
            raise AbNetError(
                f"`{flag}` must be {saved[name]!r} as in the checkpoint {path}, but is {ours!r} "
                "instead."
            )
