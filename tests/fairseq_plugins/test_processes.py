"""What needs processes of its own: two that train together, and a disk that is full."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import TinyBerts
from tests.fairseq_plugins.commands import PLUGIN, ROOT, train, train_arguments
from tests.fairseq_plugins.conftest import Corpus
from tests.fairseq_plugins.test_training import NO_DROPOUT, QUICK, assert_same_weights

SCRIPT = ROOT / "scripts" / "train" / "distributed.sh"
BIN = Path(sys.executable).parent


def environment(**more: str) -> dict[str, str]:
    """Ours, without what a launcher would have set."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "WORLD", "RANK"))}
    return {**kept, "PATH": f"{BIN}:{kept['PATH']}", "OMP_NUM_THREADS": "1", **more}


@pytest.mark.slow
def test_two_processes_equal_one_with_twice_the_batches(
    corpus: Corpus, tiny_berts: TinyBerts, tmp_path: Path
) -> None:
    """Fresh runs, and both resumed: the first process sends the checkpoint to the other.

    There are eight batches an epoch: of an odd number one would be cut in two for two processes.

    Gradients are summed in another order. Adam would make large steps of their rounding wherever
    they are near zero (a key's bias has none otherwise), and not the same on each processor.
    """
    options = [*NO_DROPOUT, "--source-noise", "0.2", "--max-tokens", "100", "--clip-norm", "1"]
    options += ["--optimizer", "sgd", "--momentum", "0.9", "--lr", "0.1"]
    for updates in (4, 6):
        arguments = [*options, "--max-update", str(updates), "--no-epoch-checkpoints"]
        subprocess.run(
            [SCRIPT, *train_arguments(corpus.data_bin, tmp_path / "two", tiny_berts), *arguments],
            check=True,
            env=environment(PROCESSES="2", CUDA_VISIBLE_DEVICES=""),
            stdout=subprocess.DEVNULL,
        )
        train(corpus.data_bin, tmp_path / "one", tiny_berts, *arguments, "--update-freq", "2")
        last = [tmp_path / name / "checkpoint_last.pt" for name in ("one", "two")]
        assert_same_weights(*last, tolerance=1e-6)
        one, two = (torch.load(path)["extra_state"]["val_loss"] for path in last)
        assert one == pytest.approx(two, abs=1e-3)


@pytest.mark.slow
def test_full_disk_while_saving(corpus: Corpus, tiny_berts: TinyBerts, tmp_path: Path) -> None:
    arguments = [*train_arguments(corpus.data_bin, tmp_path, tiny_berts), *QUICK]
    train(corpus.data_bin, tmp_path, tiny_berts, *QUICK, "--max-update", "1")
    last = tmp_path / "checkpoint_last.pt"
    before = last.read_bytes()

    def limit_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, len(before) // 2))

    failed = subprocess.run(
        [BIN / "fairseq-train", *PLUGIN, *arguments],
        env=environment(),
        preexec_fn=limit_files,
        capture_output=True,
        text=True,
        check=False,
    )
    assert failed.returncode != 0
    assert "OSError: [Errno 27] File too large" in failed.stdout + failed.stderr
    assert last.read_bytes() == before
    output = train(corpus.data_bin, tmp_path, tiny_berts, *QUICK, "--max-update", "2")
    assert "checkpoint_last.pt (epoch 1 @ 1 updates)" in output


FAKE_TORCHRUN = '#!/bin/bash\nprintf "%s\\n" "$@"\n'
FAKE_SCONTROL = (
    '#!/bin/bash\n[[ "$*" == "show hostnames node[3-4]" ]] && echo node3 && echo node4\n'
)


@pytest.fixture
def launch(tmp_path: Path) -> list[str]:
    """The script in a folder of its own, beside a torchrun that says how it was called."""
    script = tmp_path / "scripts" / "train" / SCRIPT.name
    script.parent.mkdir(parents=True)
    shutil.copy(SCRIPT, script)
    commands = tmp_path / ".venv" / "bin"
    commands.mkdir(parents=True)
    python = '#!/bin/bash\necho "${FAKE_GPUS:-0}"\n'
    for name, text in (
        ("torchrun", FAKE_TORCHRUN),
        ("scontrol", FAKE_SCONTROL),
        ("python", python),
    ):
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    return [str(script), "data-bin/x", "--arch", "abnet"]


def test_script_on_one_machine(launch: list[str]) -> None:
    called = subprocess.check_output(launch, env=environment(FAKE_GPUS="8"), text=True)
    assert called.startswith("--nnodes\n1\n--nproc-per-node\n8\n--standalone\n--no-python\n")
    assert "--distributed-world-size\n8\ndata-bin/x\n--arch\nabnet\n" in called
    assert "gloo" not in called


def test_script_on_several_machines(launch: list[str]) -> None:
    machine = environment(FAKE_GPUS="4", NODES="2", NODE_RANK="1", MASTER_ADDR="first")
    called = subprocess.check_output(launch, env=machine, text=True)
    assert "--nnodes\n2\n--nproc-per-node\n4\n--node-rank\n1\n" in called
    assert "--master-addr\nfirst\n--master-port\n29500\n" in called
    assert "--distributed-world-size\n8\n" in called


def test_script_under_slurm(launch: list[str]) -> None:
    step = environment(
        FAKE_GPUS="8", SLURM_STEP_ID="0", SLURM_NNODES="2", SLURM_NODEID="1",
        SLURM_JOB_NODELIST="node[3-4]",
    )  # fmt: skip
    called = subprocess.check_output(launch, env=step, text=True)
    assert "--nnodes\n2\n--nproc-per-node\n8\n--node-rank\n1\n--master-addr\nnode3\n" in called
    assert "--distributed-world-size\n16\n" in called


def test_script_says_what_it_lacks(launch: list[str]) -> None:
    for arguments, machine, message in (
        (launch, {}, "no GPU was found; set PROCESSES"),
        (launch, {"FAKE_GPUS": "1", "NODES": "2"}, "NODE_RANK: must be this machine's number"),
        (launch[:1], {}, "One training run on several GPUs"),
    ):
        failed = subprocess.run(
            arguments, env=environment(**machine), capture_output=True, text=True, check=False
        )
        assert failed.returncode != 0
        assert message in failed.stdout + failed.stderr
