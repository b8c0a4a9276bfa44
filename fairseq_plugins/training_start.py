"""Where `fairseq-train` starts from: checked before it overwrites anything."""

from __future__ import annotations

import logging
import os
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import fields
from math import inf
from pathlib import Path
from typing import Any

import torch
from fairseq import utils

from abnet.averaging import counted, is_best, is_of_training
from abnet.checkpoint import FAIRSEQ_IDENTITY
from abnet.config import FOR_A_NEW_MODEL, AbNetConfig
from abnet.errors import AbNetError
from fairseq_plugins.command_line import check_whole

logger = logging.getLogger(__name__)

DEFAULT_RESTORE_FILE = "checkpoint_last.pt"
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


def check_start(args: Namespace) -> None:
    """Refuses a start that would silently be a new one, or that cannot be read.

    What has a start of its own needs no `--warm-start`, which is taken away.

    Raises:
        AbNetError: the checkpoint to start from is missing or damaged, or see `check_function`,
            `check_goes_on`, `check_same_batches`, `check_is_left`, `check_same_best` and
            `check_none_is_beyond`.
    """
    ending = f"{args.checkpoint_suffix}.pt"  # of these two, and of all that is written
    last = Path(args.save_dir) / DEFAULT_RESTORE_FILE.replace(".pt", ending)
    restored = None
    if args.restore_file != DEFAULT_RESTORE_FILE:
        restored = args.restore_file.replace(".pt", ending)
        if last.is_file() and Path(restored).resolve() == last.resolve():
            restored = None  # by its whole name, what is gone on from anyway
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
    if not starts or starts[0][0] == "--finetune-from-model":
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
        check_is_ours(start, state)
        check_function(start, state, args)
        if flag or args.reset_optimizer or args.reset_dataloader:
            check_none_is_beyond(last.parent, ending, state, args)
        if flag != "--finetune-from-model" and not args.reset_optimizer:
            check_goes_on(start, state)
            warn_of_other_data(start, state, args)
            check_same_batches(start, state, args)
            check_is_left(start, state, args, is_own=not flag)
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


def check_none_is_beyond(
    folder: Path, ending: str, state: Mapping[str, Any], args: Namespace
) -> None:
    """Refuses to count anew, or from an earlier place, beside checkpoints of higher numbers.

    An average of the last ones would take these rather than what it writes, and so do fairseq's
    options that keep some.

    Args:
        folder: that it writes to.
        ending: see `check_is_new`.
        state: of the checkpoint that it starts from.

    Raises:
        AbNetError: there are such.
    """
    epoch, updates = 1, 0
    if not args.reset_dataloader:
        epoch = state.get("extra_state", {}).get("train_iterator", {}).get("epoch", epoch)
    if not args.reset_optimizer and state.get("optimizer_history"):
        updates = state["optimizer_history"][-1]["num_updates"]
    for path in sorted(folder.glob(f"checkpoint*{ending}")):
        place = counted(path.name.removesuffix(ending) + ".pt")
        if place is None:
            continue
        is_kept = args.keep_interval_updates > 0 and updates < place[1] < inf
        if is_kept or place > (epoch, updates):  # as an average orders them
            raise AbNetError(
                f"`--save-dir` must be a folder without checkpoints beyond the {updates} updates "
                f"and epoch {epoch} that this training begins with, but {folder} has {path.name}, "
                "which `abnet average --last` would take for a later one, and fairseq's "
                "`--keep-...` for one to keep. Give another folder, or move such files away."
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
            "weights give it as `--finetune-from-model` with a new `--save-dir`."
        )


def warn_of_other_data(path: Path, state: Mapping[str, Any], args: Namespace) -> None:
    """Says where a training goes on with other data than it has seen so far, not with more."""
    before = state["cfg"].get("task", {}).get("data") or ""
    then, now = (list(map(Path, utils.split_paths(data))) for data in (before, args.data))
    if len(now) < len(then) or not all(map(_is_same, then, now)):
        logger.warning(
            "training goes on from %s, which was trained with %s, on %s: for a new training give "
            "another `--save-dir`", path, before, args.data
        )  # fmt: skip


def check_same_batches(path: Path, state: Mapping[str, Any], args: Namespace) -> None:
    """Refuses to go on within an epoch with other batches than it has begun with.

    fairseq counts the batches that each process has had, and would skip as many others.

    Raises:
        AbNetError: the processes or the size of batches are others.
    """
    place = state.get("extra_state", {}).get("train_iterator", {})
    if args.reset_dataloader or not place.get("iterations_in_epoch"):
        return
    saved = state["cfg"]
    for flag, group, now in (
        ("--distributed-world-size", "distributed_training", _processes(args)),
        ("--max-tokens", "dataset", args.max_tokens),
        ("--batch-size", "dataset", args.batch_size),
    ):
        then = saved.get(group, {}).get(flag[2:].replace("-", "_"), now)
        if then != now:
            raise AbNetError(
                f"`{flag}` must be {then} as in {path}, which stands within an epoch, but is {now} "
                "instead: some sentences would be skipped, others be seen twice. Go on from a "
                "checkpoint of an epoch's end, or begin the epoch anew: give this one as "
                "`--restore-file` with `--reset-dataloader` and a new `--save-dir`."
            )


def _processes(args: Namespace) -> int:
    """That train together: as the option or, with more than one, torchrun says to fairseq."""
    given: int = args.distributed_world_size
    is_launched = all(map(os.environ.get, ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "RANK")))
    if given == 1 or args.distributed_init_method is not None or not is_launched:
        return given
    return int(os.environ["WORLD_SIZE"])


def _is_same(then: Path, now: Path) -> bool:
    """Whether a folder is another one's, which may have moved."""
    return then.resolve() == now.resolve() or (not then.exists() and then.name == now.name)


def check_is_left(path: Path, state: Mapping[str, Any], args: Namespace, is_own: bool) -> None:
    """Ends the program where there is nothing to do: fairseq would make one more update.

    Args:
        is_own: whether the training is the one that has been going on in `--save-dir`.

    Raises:
        SystemExit: with the status 0; it has all updates that are asked for.
        AbNetError: the training that another one is to begin with has.
    """
    done = state["optimizer_history"][-1]["num_updates"]
    if not 0 < args.max_update <= done:
        return
    if not is_own:
        raise AbNetError(
            f"`--max-update` must be more than the {done} updates of {path}, but is "
            f"{args.max_update} instead. Or count anew with `--reset-optimizer` and a new "
            "`--save-dir`."
        )
    logger.info(
        "nothing is left to do: %s has %d updates, and `--max-update` is %d",
        path, done, args.max_update,
    )  # fmt: skip
    raise SystemExit(0)


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


def check_is_ours(path: Path, state: Any) -> None:
    """Refuses what is no checkpoint of this plugin, of which the other checks could not tell.

    Raises:
        AbNetError: it is none.
    """
    weights = state.get("model") if isinstance(state, Mapping) else None
    if not isinstance(weights, Mapping) or FAIRSEQ_IDENTITY not in weights:
        raise AbNetError(
            f"A training must start from a checkpoint of AB-Net, but {path} records no BERTs: it "
            "is of another model."
        )


def check_function(path: Path, state: Mapping[str, Any], args: Namespace) -> None:
    """Refuses a start whose weights would fit in shape but compute something else here.

    Raises:
        AbNetError: a choice differs that no shape shows.
    """
    saved = state["cfg"].get("model", {})
    for name in SHAPELESS:
        ours = vars(args).get(name, DEFAULTS[name])
        if name in saved and saved[name] != ours:
            flag = "--" + name.replace("_", "-")
            raise AbNetError(
                f"`{flag}` must be {saved[name]!r} as in the checkpoint {path}, but is {ours!r} "
                "instead."
            )
