"""A quality result out of the training runs of one system: scores, sizes and times."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from sacrebleu.metrics import BLEU

from abnet.checkpoint import SAFE_GLOBALS
from abnet.errors import AbNetError
from abnet.scoring.evaluate import Score, evaluate, read_generate_output, tokenized_bleu
from abnet.text import read_lines

LAST = "checkpoint_last.pt"
SAME = (
    "system", "dataset", "direction", "split", "distilled", "size", "signature", "updates",
    "precision", "trained_parameters", "total_parameters", "pretrain_updates", "decoding_options",
    "beam", "passes", "length_beam",
)  # fmt: skip
"""What the seeds of one result have in common, as far as it says so."""
MEANS = ("bleu_lowercase", "tokenized_bleu", "chrf")
OF_FIRST_SEED = ("found_by_frequency", "curve")
"""Scores of a result that are means over its seeds, beside `bleu`."""
_PARAMETERS = re.compile(r"num\. shared model params: ([\d,]+) \(num\. trained: ([\d,]+)\)")


class Training(NamedTuple):
    """What a run's checkpoint and log tell.

    Attributes:
        updates: optimizer steps.
        seconds: time spent training, over all resumed runs.
        total_parameters: weights of the model, frozen ones included.
        trained_parameters: weights that training changes.
        precision: of the computation, "float32", "float16" or "bfloat16".
    """

    updates: int
    seconds: float
    total_parameters: int
    trained_parameters: int
    precision: str


def read_fairseq_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint of any fairseq model, on the CPU, read without executing code."""
    import torch

    torch.serialization.add_safe_globals(SAFE_GLOBALS)
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def read_training(run: Path, log: Path) -> Training:
    """Reads the last checkpoint and the log of a fairseq training run.

    Raises:
        AbNetError: the log does not tell the number of parameters.
    """
    state = read_fairseq_checkpoint(run / LAST)
    told = _PARAMETERS.findall(log.read_text(encoding="utf-8", errors="replace"))
    if not told:
        raise AbNetError(f"{log} must tell the number of parameters, but does not.")
    total, trained = (int(number.replace(",", "")) for number in told[-1])
    return Training(
        updates=state["optimizer_history"][-1]["num_updates"],
        seconds=state["extra_state"]["previous_training_time"],
        total_parameters=total,
        trained_parameters=trained,
        precision=_precision(state["cfg"]["common"]),
    )


def _precision(options: Mapping[str, Any]) -> str:
    """Of fairseq's common options."""
    flags = {"fp16": "float16", "bf16": "bfloat16"}
    return next((name for flag, name in flags.items() if options[flag]), "float32")


def read_validations(log: Path) -> list[dict[str, float]]:
    """The numbers of a training log's lines on the validation set, by fairseq's names.

    Raises:
        AbNetError: the log has no such line.
    """
    found = _validations(log)
    if not found:
        raise AbNetError(f"{log} must tell of a validation, but does not.")
    return found


def _validations(log: Path) -> list[dict[str, float]]:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return [
        {name: float(value) for name, value in (field.split(" ") for field in fields)}
        for fields in (line.split(" | ")[5:] for line in lines if " | valid on " in line)
    ]


def read_curve(log: Path) -> list[list[float]]:
    """[updates, nll in bits on the validation set], as far as a resumed training kept them."""
    curve: list[list[float]] = []
    for row in _validations(log):
        while curve and curve[-1][0] >= row["num_updates"]:  # done again
            curve.pop()
        curve.append([row["num_updates"], row["nll_loss"]])
    return curve


def score_runs(
    runs: Sequence[Path], references: Path, join: Callable[[str], str], split: str = "test"
) -> dict[str, Any]:
    """BLEU, chrF and signature of the runs' outputs, which become `SPLIT.txt` in their folders.

    `tokenized_bleu` is over lower-cased Moses tokens, for figures of others that are told so.

    Args:
        runs: folders with a `generate-SPLIT.txt`, one a seed.
        references: raw text, in a file whose name ends in the code of its language.
        join: makes raw text of what `fairseq-generate` wrote.
        split: that was decoded.

    Raises:
        AbNetError: a sentence is missing in an output.
    """
    expected = read_lines(references)
    scores: list[dict[str, Score]] = []
    uncased, tokenized = [], []
    language = references.suffix.removeprefix(".") or "en"
    for run in runs:
        hypotheses = [join(line) for line in read_generate_output(run / f"generate-{split}.txt")]
        (run / f"{split}.txt").write_text("".join(f"{h}\n" for h in hypotheses), encoding="utf-8")
        scores.append({score.name: score for score in evaluate(hypotheses, expected)})
        uncased.append(BLEU(lowercase=True).corpus_score(hypotheses, [expected]).score)
        in_tokens = tokenized_bleu(hypotheses, expected, language=language, lowercase=True)
        tokenized.append(in_tokens.value)
    bleu = [round(score["bleu"].value, 2) for score in scores]
    return {
        "bleu": round(fmean(bleu), 2),
        "bleu_by_seed": bleu,
        "bleu_lowercase": round(fmean(uncased), 2),
        "tokenized_bleu": round(fmean(tokenized), 2),
        "chrf": round(fmean(score["chrf"].value for score in scores), 2),
        "signature": scores[0]["bleu"].signature,
    }


def describe_pretraining(berts: Sequence[Path]) -> dict[str, Any]:
    """What a result says of its BERTs, source first: time in all, updates, masks, masked accuracy.

    Of BERTs that were not pre-trained here it says nothing.
    """
    files = [bert / "pretraining.json" for bert in berts]
    reports = [json.loads(file.read_text("utf-8")) for file in files if file.exists()]
    if not reports:
        return {}
    return {
        "pretrain_seconds": round(sum(report["seconds"] for report in reports)),
        "pretrain_updates": [report["updates"] for report in reports],
        "pretrain_mask_share": [report["settings"]["mask_share"] for report in reports],
        "masked_accuracy": [report["masked_accuracy"] for report in reports],
    }


def joined(before: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """One result of the seeds of two, which may have been trained on two machines.

    Scores and times are means over all seeds (machines may differ, so that each seed's time is
    kept too), peak memory is the largest. What is told of one seed alone (curve, words found) is
    that of the first, and where it was made that of `before`.

    Raises:
        ValueError: they are of different recipes, or have a seed in common.
    """
    differing = [name for name in SAME if before.get(name) != more.get(name)]
    if differing:
        told = "; ".join(f"{name}: {before.get(name)}, {more.get(name)}" for name in differing)
        raise ValueError(f"results that are joined must be of one recipe, but differ in {told}.")
    bleu = dict(zip(before["seeds"], before["bleu_by_seed"], strict=True))
    shared = bleu.keys() & set(more["seeds"])
    if shared:
        raise ValueError(f"results that are joined must not share seeds, but do: {sorted(shared)}.")
    bleu |= zip(more["seeds"], more["bleu_by_seed"], strict=True)
    seeds = sorted(bleu)
    share = len(more["seeds"]) / len(seeds)
    means = {
        name: round((1 - share) * before[name] + share * more[name], 2)
        for name in MEANS
        if name in before and name in more
    }
    kept = {name: value for name, value in before.items() if name not in MEANS}
    first = before if seeds[0] in before["seeds"] else more
    kept |= {name: first[name] for name in OF_FIRST_SEED if name in first}
    seconds = {seed: time for one in (before, more) for seed, time in _seconds(one).items()}
    peaks = [one["peak_memory_bytes"] for one in (before, more) if "peak_memory_bytes" in one]
    return {
        **kept,
        **means,
        "seeds": seeds,
        "bleu": round(fmean(bleu.values()), 2),
        "bleu_by_seed": [bleu[seed] for seed in seeds],
        "train_seconds": round(fmean(seconds.values())),
        "train_seconds_by_seed": [seconds[seed] for seed in seeds],
        **({"peak_memory_bytes": max(peaks)} if peaks else {}),
    }


def _seconds(record: Mapping[str, Any]) -> dict[int, int]:
    """How long each seed took to train; where it was not kept, the mean."""
    mean = [record["train_seconds"]] * len(record["seeds"])
    return dict(zip(record["seeds"], record.get("train_seconds_by_seed", mean), strict=True))
