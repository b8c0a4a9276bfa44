"""`abnet bench --training` over rows: what is written, what is left out and what fails."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from abnet.bench.engine import Materials
from abnet.bench.learner import Learner
from abnet.bench.loading import Waiting
from abnet.bench.training import TrainingBench, TrainingPlan
from abnet.cli import main
from abnet.errors import AbNetError
from benchmarks import records
from tests.bench.pretending import Clock
from tests.bench.test_training import WAYS
from tests.tiny import ENGLISH, GERMAN


class Pretence:
    """Steps of learners that only pretend, each a second long; some fail.

    Attributes:
        log: names of rows that did a step, and of those written.
        fails: what a row raises at its nth step.
        seconds: of a step of a row, where it is not one.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.log: list[str] = []
        self.fails: dict[tuple[str, int], Exception] = {}
        self.seconds: dict[str, float] = {}
        self.results: dict[str, dict[str, Any]] = {}
        self.said: list[str] = []

    def step(self, name: str) -> None:
        self.log.append(name)
        self.clock.spend(self.seconds.get(name, 1.0))
        error = self.fails.get((name, self.log.count(name)))
        if error is not None:
            raise error

    def write(self, name: str, result: dict[str, Any]) -> None:
        self.log.append(f"{result['row']} written")
        self.results[result["row"]] = result

    def bench(self, names: str, materials: Materials, **plan: Any) -> TrainingBench:
        """One batch a round, two rounds."""
        chosen = [WAYS[name] for name in names.split()]
        made = TrainingPlan(200, repeats=2, count=1, **plan)
        sides = GERMAN, ENGLISH
        return TrainingBench(
            chosen, materials, "x", *sides, made, {"size": "tiny"}, self.write, self.said.append
        )


@pytest.fixture
def pretence(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Pretence:
    made = Pretence(clock)
    monkeypatch.setattr(Learner, "step", lambda self, batch, seed: made.step(self.way.name))
    waiting = Waiting(0.1, 1.0)
    monkeypatch.setattr("abnet.bench.training.measure_waiting", lambda *given: waiting)
    return made


def test_a_row_is_written_when_its_last_round_is_done(
    materials: Materials, pretence: Pretence
) -> None:
    assert pretence.bench("abnet-baseline abnet-only-adam", materials).run() == 2
    one, two = "abnet-baseline", "abnet-only-adam"
    warm, first = [one, one, two, two], [one, two]
    last = [two, two, f"{two} written", one, one, f"{one} written"]  # one more to see its kernels
    assert pretence.log == [*warm, *first, *last]
    assert [result["step_s"] for result in pretence.results.values()] == [1, 1]
    assert all(result["repeats"] == 2 for result in pretence.results.values())


def test_a_row_that_fails_stops_no_other(
    materials: Materials, pretence: Pretence, capsys: pytest.CaptureFixture[str]
) -> None:
    pretence.fails = {
        ("abnet-baseline", 4): RuntimeError("a bug"),  # in the last round
        ("abnet_fb-baseline", 1): torch.OutOfMemoryError("CUDA out of memory"),
        ("abnet-only-masked", 5): ValueError("no profiler"),
    }
    names = "abnet-baseline abnet_fb-baseline abnet-only-masked abnet-only-adam"
    bench = pretence.bench(names, materials)
    assert bench.run() == 1
    assert list(pretence.results) == ["abnet-only-adam"]
    assert bench.attempt.failed == [
        f"abnet-{name}, 1 threads, 1 processes" for name in ("only-masked", "baseline")
    ]
    called = "1 threads, 1 processes"
    assert [line for line in pretence.said if not line.startswith("abnet-only-adam")] == [
        f"skipped: abnet_fb-baseline, {called}: out of memory",
        f"failed: abnet-only-masked, {called}: ValueError: no profiler",
        f"failed: abnet-baseline, {called}: RuntimeError: a bug",
    ]
    assert "failed: abnet-baseline, 1 threads, 1 processes\nTraceback" in capsys.readouterr().err


def test_what_does_not_fit_the_minutes_is_said(materials: Materials, pretence: Pretence) -> None:
    pretence.seconds["abnet-only-adam"] = 10.0
    names = "abnet-baseline abnet-only-adam abnet-only-masked"
    assert pretence.bench(names, materials, minutes=1).run() == 2
    # 60 s: the first keeps 6, for two rounds, two that wait and two to see; 60 are too many
    assert set(pretence.results) == {"abnet-baseline", "abnet-only-masked"}
    skipped = [line for line in pretence.said if line.startswith("skipped")]
    assert skipped == [
        "skipped: abnet-only-adam, 1 threads, 1 processes: needs about 60 s, more than its share "
        "of --minutes"
    ]
    pretence.seconds["abnet-baseline"] = 30.0
    bench = pretence.bench("abnet-baseline abnet-all", materials, minutes=0.5, processes=(1, 2))
    assert bench.run() == 0
    late = "no time left of its share of --minutes"
    assert [line for line in pretence.said if line.startswith("skipped")][1:] == [
        f"skipped: abnet-baseline, 1 threads, 1 processes: {late}",
        f"skipped: abnet-all, 1 threads, 1 processes: {late}",
        f"skipped: abnet-all, 1 threads, 2 processes: {late}",
    ]


def test_rows_with_more_than_a_machine_has_are_left_out(
    materials: Materials, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compiler that fails, too, and apex; neither is a fault."""

    def fail(*given: object, **options: object) -> None:
        raise RuntimeError("no compiler\nfor this")

    monkeypatch.setitem(sys.modules, "liger_kernel", None)
    monkeypatch.setattr("abnet.bench.learner.compile_layers", fail)
    chosen = [WAYS[f"abnet-with-{name}"] for name in ("compile", "liger")]
    chosen.append(replace(WAYS["abnet-baseline"], name="abnet-all-apex", apex=True))
    apex = ModuleType("apex.optimizers")
    apex.FusedAdam = fail  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "apex", ModuleType("apex"))
    monkeypatch.setitem(sys.modules, "apex.optimizers", apex)
    said: list[str] = []
    plan = TrainingPlan(200, repeats=1, count=1)
    bench = TrainingBench(
        chosen, materials, "x", GERMAN, ENGLISH, plan, {}, lambda name, row: None, said.append
    )
    assert bench.run() == 0
    called = "1 threads, 1 processes"
    assert said[0] == f"skipped: abnet-with-compile, {called}: RuntimeError: no compiler"
    assert said[1].startswith("skipped: abnet-with-liger: liger-kernel is not there")
    assert said[2] == f"skipped: abnet-all-apex, {called}: RuntimeError: no compiler"
    assert not bench.attempt.failed


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    for name, lines in (("test.de", GERMAN), ("test.en", ENGLISH)):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    sides = ["--source", str(tmp_path / "test.de"), "--target", str(tmp_path / "test.en")]
    quick = ["--size", "tiny", "--device", "cpu", "--repeats", "1", "--count", "1"]
    quick += ["--threads", "1", "--tokens", "200", "--results", str(tmp_path / "results")]
    return ["bench", "--training", *sides, *quick]


def test_rows_are_written_for_one_process_and_for_two(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An all-reduce carries the trained weights' gradients and nothing else."""
    monkeypatch.setattr("abnet.bench.ways.computes_in_bfloat16", lambda: False)
    assert main([*command, "--rows", "abnet-baseline,abnet-all", "--processes", "1,2"]) == 0
    rows = records.read_all(tmp_path / "results")
    found = {(row["row"], row["processes"]): row for row in rows}
    assert found.keys() == {("abnet-baseline", 1), ("abnet-all", 1), ("abnet-all", 2)}
    assert found["abnet-baseline", 1]["measures"] == []
    assert found["abnet-all", 1]["measures"] == ["adam", "chunks", "masked", "sdpa"]
    assert len({row["run"] for row in rows}) == 1
    together = found["abnet-all", 2]
    assert together["reduced_bytes"] == 4 * together["trained_parameters"]
    assert together["kernels"]["adam"] == "torch, fused"
    assert found["abnet-baseline", 1]["kernels"]["attention"] == "math"
    said = capsys.readouterr().out
    assert "(attention math; layer norm torch; adam torch, one tensor at a time; apex not" in said
    for row in rows:
        assert row["gradient_bytes"] == 4 * row["trained_parameters"]
        assert row["trained_parameters"] < row["total_parameters"]
        per_step = row["processes"] * row["batch_tokens"] / row["step_s"]
        assert row["target_tokens_per_s"] == pytest.approx(per_step)  # of one batch, once
        if row["processes"] == 1:
            assert row["peak_memory_bytes"] >= 4 * row["total_parameters"]
            assert 0 < row["waiting_share"] < 1
            assert row["loaded_step_s"] > 0


def test_the_status_says_that_a_row_failed(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*given: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("abnet.bench.learner.released_loss", fail)
    assert main([*command, "--rows", "abnet-baseline,abnet-only-masked"]) == 1
    assert [row["row"] for row in records.read_all(tmp_path / "results")] == ["abnet-only-masked"]
    failed = "abnet-baseline, 1 threads, 1 processes"
    assert capsys.readouterr().err.endswith(f"bench: 1 failed: {failed}\n")


def test_the_minutes_begin_with_the_command(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--rows", "abnet-baseline", "--minutes", "0.00001"]) == 1
    assert not (tmp_path / "results").exists()
    assert capsys.readouterr().out.startswith(
        "skipped: abnet-baseline, 1 threads, 1 processes: no time left of its share of --minutes\n"
    )


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--checkpoint", "x.pt"], "`--checkpoint` must be left out with `--training`"),
        (["--batches", "4"], "`--batches` must be left out with `--training`"),
        (["--tokens", "0"], "`tokens` must be at least 1, but is 0 instead"),
        (["--tokens", "5"], "`--tokens` must be at least "),
        (["--processes", "0"], "`processes` must be at least 1, but is 0 instead"),
        (["--processes", "two"], "`--processes` must be numbers with commas between them"),
        (["--rows", "nothing"], "`--rows` must name one of abnet-baseline, abnet-all, "),
    ],
)
def test_errors_say_what_to_do(
    command: list[str], more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, *more]) == 2
    assert message in capsys.readouterr().err


def test_what_cannot_be_measured_is_refused(
    materials: Materials, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bench(materials: Materials, lines: list[str], processes: int) -> TrainingBench:
        plan = TrainingPlan(200, processes=(1, processes))
        return TrainingBench([], materials, "x", lines, lines, plan, {}, lambda name, row: None)

    on_gpu = replace(materials, device=torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(
        AbNetError, match="`--processes` must be at most 2, the GPUs there are, but"
    ):
        bench(on_gpu, GERMAN, 4)
    assert bench(on_gpu, GERMAN, 2).plan.processes == (1, 2)
    with pytest.raises(AbNetError, match="must have pairs of 1 to 56 pieces a side, but none of"):
        bench(materials, [""], 1)
