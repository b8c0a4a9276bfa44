"""Checks before training, from arguments and environment alone."""

from __future__ import annotations

import re
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from fairseq.criterions import CRITERION_REGISTRY
from fairseq.logging import metrics

from abnet.errors import AbNetError
from abnet.systems import CRITERIA
from fairseq_plugins.command_line import check_command_line, command_of
from fairseq_plugins.task_options import TranslationAbNetConfig
from fairseq_plugins.tasks.translation_abnet import TranslationAbNetTask
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


def test_best_by_a_loss_that_may_be_negative_is_not_kept_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = ["fairseq-train", "data", "--user-dir", str(ROOT / "fairseq_plugins")]
    command += ["--task", "translation_abnet", "--criterion", "dag_lm", "--arch", "abnet_dag_fuzzy"]
    command += ["--keep-best-checkpoints", "2"]
    with pytest.raises(AbNetError, match="must be nll_loss or bleu for `--keep-best-checkpoints`"):
        parse(command, monkeypatch)
    args = parse([*command, "--best-checkpoint-metric", "nll_loss"], monkeypatch)
    assert args.fuzzy_ngrams == 2


def test_options_that_do_nothing_are_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    berts = ["--source-bert", "a", "--target-bert", "b"]
    common = ["fairseq-train", "data", "--user-dir", str(ROOT / "fairseq_plugins"), *berts]
    common += ["--task", "translation_abnet"]
    transformer = ["--arch", "transformer_base", "--criterion", "autoregressive_lm"]
    parse([*common, *transformer, "--transformer-dropout", "0.3"], monkeypatch)
    assert not caplog.records  # what the architecture sets itself is nobody's choice
    ours = ["--arch", "abnet", "--criterion", "conditional_masked_lm", "--transformer-dropout"]
    parse([*common, *ours, "0.3", "--bert-dropout", "0.2"], monkeypatch)
    assert "`--transformer-dropout`: nothing in `--arch abnet` makes use of this" in caplog.text
    assert "bert-dropout" not in caplog.text


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("/bin/fairseq-generate", "generate"),
        ("/lib/fairseq_cli/train.py", "train"),
        ("mine/generate.py", None),
        ("generate_report", None),
    ],
)
def test_other_programs_mean_something_else_by_the_same_options(
    program: str, expected: str | None
) -> None:
    assert command_of(Path(program)) == expected
    if expected is None:
        check_command_line(program, ["--path", "no.pt", "--input", "none", "--num-shards", "2"])


@pytest.mark.parametrize(
    ("program", "advice"),
    [
        ("fairseq-generate", "`--distributed-world-size N --distributed-rank I` is what divides"),
        ("fairseq_cli/interactive.py", "give each a part of the text"),
        ("fairseq-validate", "one run validates all"),
    ],
)
def test_what_decoding_would_ignore_is_refused(program: str, advice: str) -> None:
    for flags, message in (
        (["--num-shards", "2", "--shard-id", "0"], f"all sentences: {advice}"),
        (["--bf16"], "`--iter-decode-dtype bfloat16` is what decodes in it"),
        (["--tokenizer", "moses"], "but is moses: the BERTs' own tokenizers take raw text"),
    ):
        with pytest.raises(AbNetError, match=message):
            check_command_line(program, ["--path", "no.pt", *flags])


def test_a_suffix_is_put_into_the_names_as_fairseq_does(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "checkpoint_last_b.pt")
    command = ["--path", str(tmp_path / "checkpoint_last.pt"), "--checkpoint-suffix"]
    check_command_line("fairseq-generate", [*command, "_b"])
    with pytest.raises(AbNetError, match=r"no .*checkpoint_last_c\.pt\. There are checkpoint"):
        check_command_line("fairseq-generate", [*command, "_c"])


def test_parts_of_a_decoding_have_files_of_their_own(tmp_path: Path) -> None:
    parts = ["--path", "no.pt", "--results-path", str(tmp_path), "--distributed-world-size", "2"]
    with pytest.raises(AbNetError, match="`--results-path` must be left out with `--distrib"):
        check_command_line("fairseq-generate", parts)


@pytest.mark.parametrize("program", ["/bin/fairseq-hydra-train", "fairseq_cli/hydra_train.py"])
def test_hydra_is_refused(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would train the plain `AbNetConfig`, whatever architecture it is given."""
    monkeypatch.setattr("sys.argv", [program])
    with pytest.raises(AbNetError, match="`fairseq-train` has the same options"):
        TranslationAbNetTask.setup_task(TranslationAbNetConfig())


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
