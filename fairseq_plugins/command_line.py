"""What the commands that only decode or validate are given: looked at before they act on it."""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from fairseq import utils

from abnet.checkpoint import is_whole
from abnet.errors import AbNetError
from abnet.text import decode_lines, open_bytes

logger = logging.getLogger(__name__)

DECODING = ("generate", "interactive", "validate")
DIVIDING = {  # how sentences are shared among processes
    "generate": "`--distributed-world-size N --distributed-rank I` is what divides them",
    "interactive": "give each a part of the text",
    "validate": "one run validates all",
}
SCORED_BY_DEFAULT = "bleu"


def check_command_line(program: str, arguments: Sequence[str]) -> None:
    """Looks at the files that a command line names with `--path` and `--input`.

    Args:
        program: of any kind, by its path; others than fairseq's mean something else by these.
        arguments: all of its.

    Raises:
        AbNetError: a command that needs a checkpoint is given none or what it would ignore, or see
            `check_checkpoint` and `check_text`.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--path")
    parser.add_argument("--input", default="-")
    parser.add_argument("--scoring", default=SCORED_BY_DEFAULT)
    parser.add_argument("--num-shards", type=int, default=1)
    parser.add_argument("--distributed-world-size", type=int, default=1)
    parser.add_argument("--results-path")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--checkpoint-suffix", default="")
    parser.add_argument("--tokenizer")
    given, _ = parser.parse_known_args(arguments)
    command = command_of(Path(program))
    if given.help or command is None:
        return
    if not given.path and command in DECODING:
        raise AbNetError("`--path` must be the checkpoint to decode with, but is missing.")
    if given.num_shards > 1 and command in DECODING:
        raise AbNetError(
            "`--num-shards` must be left out, since fairseq ignores it and each shard would have "
            f"all sentences: {DIVIDING[command]}."
        )
    if given.results_path and given.distributed_world_size > 1 and command == "generate":
        raise AbNetError(
            "`--results-path` must be left out with `--distributed-world-size`, since all parts "
            "would write one file, and only the last one's would stay: send what each part prints "
            "to a file of its own, and give all of them to `abnet evaluate --generate-output`."
        )
    if given.bf16 and command in DECODING:
        raise AbNetError(
            "`--bf16` must be left out, since fairseq ignores it unless it trains: "
            "`--iter-decode-dtype bfloat16` is what decodes in it."
        )
    if given.tokenizer and command in DECODING:
        raise AbNetError(
            f"`--tokenizer` must be left out, but is {given.tokenizer}: the BERTs' own tokenizers "
            "take raw text, and what is translated comes out as such."
        )
    for path in utils.split_paths(given.path) if given.path else []:
        check_checkpoint(Path(path.replace(".pt", f"{given.checkpoint_suffix}.pt")))  # as fairseq
    if given.input != "-":
        check_text(Path(given.input))
    if command == "generate" and given.scoring == SCORED_BY_DEFAULT:
        logger.warning(
            "if there are references, the BLEU4 at the end will be of pieces, not of words: for "
            "that of words add `--scoring sacrebleu`, or give the output to `abnet evaluate`"
        )


def command_of(program: Path) -> str | None:
    """Which of fairseq's commands a program is, "train" or another; `None` for what is none."""
    if program.suffix == ".py":  # python -m fairseq_cli.train
        return program.stem if program.parent.name == "fairseq_cli" else None
    return program.name.removeprefix("fairseq-") if program.name.startswith("fairseq-") else None


def check_part(batches: int, parts: int, part: int) -> None:
    """Sees to it that there is something to translate or to validate.

    Args:
        batches: of all parts.
        parts: how many there are, each of which takes every so manyth batch.
        part: this one, from 0.

    Raises:
        AbNetError: there is no batch for it.
    """
    if not batches:
        raise AbNetError("There must be a sentence to translate, but none is left.")
    if part >= batches:
        raise AbNetError(
            f"Part {part} of {parts} has no sentence, since there are only {batches} batches: "
            "take fewer parts, or smaller batches (`--batch-size`, `--max-tokens`)."
        )


def refuse_hydra(program: str) -> None:
    """Refuses `fairseq-hydra-train`, which asks no architecture for its choices.

    Raises:
        AbNetError: the program is that.
    """
    if command_of(Path(program)) in ("hydra-train", "hydra_train"):
        raise AbNetError(
            "`fairseq-hydra-train` must not be used: it would train a model without what its "
            "architecture sets, and check nothing beforehand. `fairseq-train` has the same options."
        )


def check_checkpoint(path: Path) -> None:
    """Refuses a checkpoint that is not there, and what `check_whole` refuses.

    Raises:
        AbNetError: naming those beside it.
    """
    if not path.is_file():
        beside = ", ".join(other.name for other in sorted(path.parent.glob("*.pt")))
        hint = f"There are {beside} beside it" if beside else f"{path.parent} has none"
        raise AbNetError(f"`--path` must be a checkpoint, but there is no {path}. {hint}.")
    check_whole(path)


def check_whole(path: Path) -> None:
    """Refuses a checkpoint that was cut off or damaged, or that would run code; reads it once.

    Raises:
        AbNetError: naming the intact ones beside it.
    """
    if path.suffix == ".safetensors":
        raise AbNetError(
            f"The checkpoint must be one of fairseq (.pt), but {path} is of the library: "
            "`abnet translate` decodes with it, and `--warm-start` begins a training with it."
        )
    if not is_whole(path):
        beside = [other for other in sorted(path.parent.glob("checkpoint*.pt")) if other != path]
        whole = ", ".join(other.name for other in beside if is_whole(other))
        hint = "None beside it is whole. Move the file away."
        if whole:
            hint = f"Whole ones beside it: {whole}. Take one of them, or move the file away."
        raise AbNetError(
            f"The checkpoint {path} cannot be read: it is truncated, damaged or not written by "
            f"fairseq. {hint}"
        )
    try:
        torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError as error:
        raise AbNetError(
            f"The checkpoint {path} must hold tensors and options alone, but holds objects that "
            "would need code to be executed. It was not written by this plugin: do not use it."
        ) from error


def check_text(path: Path) -> None:
    """Refuses a file in which `fairseq-interactive` would stumble, or count lines differently.

    Raises:
        AbNetError: it cannot be opened, is not UTF-8, or has carriage returns within lines.
    """
    if path.exists() and not path.is_file():
        return  # a pipe can be read only once
    with open_bytes(path) as stream:
        for number, line in enumerate(decode_lines(stream, str(path)), start=1):
            if "\r" in line:
                raise AbNetError(
                    f"{path}, line {number}: fairseq-interactive takes the carriage return within "
                    "this line for its end, and the translations would no longer belong to the "
                    "lines. Take it out first, for example with `tr '\\r' ' '`, or give the text "
                    "by `--input -` from standard input."
                )


def read_standard_input_as_files() -> None:
    """Standard input as UTF-8 lines that end in line feeds; bad bytes come out as surrogates."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        with contextlib.suppress(io.UnsupportedOperation):  # a program has read from it before
            sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape", newline="\n")
