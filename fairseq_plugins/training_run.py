"""What must be right before `fairseq-train` acts: checked while it reads its arguments."""

from __future__ import annotations

import os
import zipfile
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import torch

from abnet.config import AbNetConfig
from abnet.errors import AbNetError

DEFAULT_RESTORE_FILE = "checkpoint_last.pt"
SHAPELESS = ("decoder_adapter_heads", "decoder_adapter_norm", "keep_cls")
DEFAULTS = {field.name: field.default for field in fields(AbNetConfig)}


def prepare_training(args: Namespace) -> None:
    """Checks, and mends `--bf16`.

    Args:
        args: all arguments of `fairseq-train`, parsed.

    Raises:
        AbNetError: see `check_launch`, `check_options` and `check_start`.
    """
    if "path" in args:  # fairseq-generate or -interactive with a needless --arch
        return
    if args.bf16:
        args.tpu = False  # fairseq takes --bf16 for a wish for a TPU
    check_options(args)
    check_launch(args, os.environ)
    check_start(args)


def check_options(args: Namespace) -> None:
    """Refuses what would not do what it says.

    Raises:
        AbNetError: such an option is set.
    """
    for name, needed in (("task", "translation_abnet"), ("criterion", "conditional_masked_lm")):
        if vars(args)[name] != needed:
            raise AbNetError(
                f"`--{name}` must be {needed} for this model, but is {vars(args)[name]} instead."
            )
    if args.store_ema:
        raise AbNetError("`--store-ema` must be left out: `abnet average` averages checkpoints.")
    if args.ddp_backend == "fully_sharded":
        raise AbNetError(
            "`--ddp-backend` must not be fully_sharded: frozen and trained weights share layers. "
            "The default, pytorch_ddp, reduces the trained ones only."
        )


def check_launch(args: Namespace, environ: Mapping[str, str]) -> None:
    """Refuses launches in which every process would train a model of its own, or none at all.

    Raises:
        AbNetError: with the command that was meant.
    """
    world = args.distributed_world_size
    processes = int(environ.get("WORLD_SIZE") or environ.get("SLURM_STEP_NUM_TASKS") or 1)
    on_cpu = args.cpu or not torch.cuda.is_available()
    flags = "--distributed-world-size $WORLD_SIZE"
    if on_cpu:
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
    if on_cpu and world > 1 and not joined:
        raise AbNetError(
            f"`--distributed-world-size` is {world}, but fairseq starts processes on GPUs only, "
            f"and none is in use. Start them with torchrun and add {flags} "
            "(`scripts/train/distributed.sh` does)."
        )


def check_start(args: Namespace) -> None:
    """Refuses a start that would silently be a new one, or that cannot be read.

    Raises:
        AbNetError: the checkpoint to start from is missing or damaged.
    """
    last = Path(args.save_dir) / DEFAULT_RESTORE_FILE
    if args.restore_file != DEFAULT_RESTORE_FILE:
        start, flag = Path(args.restore_file), "--restore-file"
    elif last.is_file():
        start, flag = last, None
    elif args.continue_once is not None:
        start, flag = Path(args.continue_once), "--continue-once"
    elif args.finetune_from_model is not None:
        start, flag = Path(args.finetune_from_model), "--finetune-from-model"
    else:
        return
    if not start.is_file():
        beside = Path(args.save_dir) / start.name
        hint = f" There is a {beside}." if beside.is_file() else ""
        raise AbNetError(
            f"`{flag}` must be an existing checkpoint, but {start} is none (paths are relative to "
            f"{Path.cwd()}); training would start from scratch.{hint}"
        )
    check_whole(start)
    check_function(start, args)


def check_whole(path: Path) -> None:
    """Refuses a checkpoint that was cut off or damaged; reads all of it once.

    Raises:
        AbNetError: naming the intact ones beside it.
    """
    if is_whole(path):
        return
    beside = [other for other in sorted(path.parent.glob("checkpoint*.pt")) if other != path]
    whole = ", ".join(other.name for other in beside if is_whole(other))
    hint = f"Whole ones beside it: {whole}." if whole else "None beside it is whole."
    raise AbNetError(
        f"The checkpoint {path} cannot be read: it is truncated, damaged or not written by "
        f"fairseq. {hint} Take one of them, or move the file away."
    )


def check_function(path: Path, args: Namespace) -> None:
    """Refuses a start whose weights would fit in shape but compute something else here.

    Raises:
        AbNetError: a choice differs that no shape shows.
    """
    saved = torch.load(path, map_location="cpu", mmap=True).get("cfg", {}).get("model")
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


def is_whole(path: Path) -> bool:
    """Whether the file is a complete torch archive whose checksums are right."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, EOFError, OSError):
        return False
