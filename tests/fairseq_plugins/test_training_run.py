"""Checks before training, from arguments and environment alone."""

from __future__ import annotations

import re
from argparse import Namespace

import pytest
import torch
from fairseq.criterions import CRITERION_REGISTRY
from fairseq.logging import metrics

from abnet.errors import AbNetError
from abnet.systems import CRITERIA
from fairseq_plugins.training_run import check_best, check_launch
from tests.commands import ROOT, parse

ON_CPU = {"cpu": True, "distributed_no_spawn": False, "distributed_init_method": None}
JOINED = {**ON_CPU, "distributed_no_spawn": True, "distributed_init_method": "env://"}


@pytest.mark.parametrize(
    "environ", [{"WORLD_SIZE": "2", "RANK": "1"}, {"SLURM_STEP_NUM_TASKS": "2"}]
)
def test_separate_copies_are_refused(environ: dict[str, str]) -> None:
    message = r"2 processes were started, but .* is 1.* Add --distributed-world-size \$WORLD_SIZE "
    with pytest.raises(AbNetError, match=message + r"--distributed-rank .* gloo .*legacy_ddp"):
        check_launch(Namespace(**ON_CPU, distributed_world_size=1), environ)
    check_launch(Namespace(**JOINED, distributed_world_size=2), environ)


def test_gpus_need_no_more_than_the_world_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    on_gpu = {**ON_CPU, "cpu": False}
    with pytest.raises(AbNetError, match=r"Add --distributed-world-size \$WORLD_SIZE \("):
        check_launch(Namespace(**on_gpu, distributed_world_size=1), {"WORLD_SIZE": "2"})
    check_launch(Namespace(**on_gpu, distributed_world_size=2), {"WORLD_SIZE": "2"})
    check_launch(Namespace(**on_gpu, distributed_world_size=8), {})  # fairseq's own spawn


def test_spawning_on_the_cpu_is_refused() -> None:
    with pytest.raises(AbNetError, match="starts processes on GPUs only, and none is in use"):
        check_launch(Namespace(**ON_CPU, distributed_world_size=2), {})


def test_one_process_is_fine() -> None:
    check_launch(Namespace(**ON_CPU, distributed_world_size=1), {})
    check_launch(Namespace(**ON_CPU, distributed_world_size=1), {"WORLD_SIZE": "1"})
    # sbatch and salloc set SLURM_NTASKS for commands that srun has not multiplied
    check_launch(Namespace(**ON_CPU, distributed_world_size=1), {"SLURM_NTASKS": "4"})


@pytest.mark.parametrize("objective", CRITERIA)
def test_a_best_checkpoint_is_chosen_by_what_is_logged(objective: str) -> None:
    """Which metrics there are is what the criterion of an objective logs, and BLEU."""
    with metrics.aggregate(new_root=True) as logged:
        CRITERION_REGISTRY[CRITERIA[objective]].reduce_metrics([{"sample_size": 1, "masked": 1}])
    args = {"objective": objective, "eval_bleu": True, "best_checkpoint_metric": "chrf"}
    with pytest.raises(AbNetError, match=r"must be one of (.*) for the objective") as caught:
        check_best(Namespace(**args))
    named = re.findall(r"must be one of (.*) for the objective", str(caught.value))[0].split(", ")
    assert {*named} == {*logged.get_smoothed_values(), "bleu"}
    for metric in named:
        better = metric in ("bleu", "accuracy", "masked_accuracy", "length_accuracy")
        chosen = {**args, "best_checkpoint_metric": metric}
        check_best(Namespace(**chosen, maximize_best_checkpoint_metric=better))
        with pytest.raises(AbNetError, match="would be the worst"):
            check_best(Namespace(**chosen, maximize_best_checkpoint_metric=not better))


@pytest.mark.parametrize(
    ("flags", "expected"), [((), True), (("--no-spread-source",), False), (("--keep-cls",), True)]
)
def test_a_switch_of_a_preset_can_be_turned_off(
    flags: tuple[str, ...], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["fairseq-train", "data", "--user-dir", str(ROOT / "fairseq_plugins")]
    command += ["--task", "translation_abnet", "--criterion", "conditional_masked_lm"]
    command += ["--arch", "abnet"]
    args = parse([*command, *flags], monkeypatch)
    assert args.spread_source is expected
    assert ("keep_cls" in args and args.keep_cls) is ("--keep-cls" in flags)
