"""`abnet bench --training`: every way has the same gradients, and each row says what it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from abnet.bench import data_parallel
from abnet.bench.engine import Materials
from abnet.bench.learner import Learner, Way, make_model, ways
from abnet.bench.scaling import gradient_bytes, sent_bytes, step_seconds
from abnet.bench.training import TrainingBench, TrainingPlan
from abnet.bench.training_batches import TrainingBatch, choose_lines, collate
from abnet.cli import main
from abnet.errors import AbNetError
from benchmarks import records
from tests.tiny import ENGLISH, GERMAN

WAYS = {way.name: way for way in ways(torch.device("cuda")) if not way.apex}


def encoded(materials: Materials) -> tuple[list[list[int]], list[list[int]]]:
    source, target = materials.tokenizers
    return source.encode_batch(GERMAN), target.encode_batch(ENGLISH)


@pytest.fixture
def batch(materials: Materials, cpu: torch.device) -> TrainingBatch:
    return collate(range(8), encoded(materials), materials.tokenizers, cpu)


def learner(materials: Materials, way: Way) -> Learner:
    torch.manual_seed(5)
    return Learner(make_model(materials, way.system, "bf16" in way.measures, dropout=0.0), way)


def gradients(
    materials: Materials, way: Way, batch: TrainingBatch
) -> tuple[float, dict[str, torch.Tensor]]:
    one = learner(materials, way)
    parts = one.gradients(batch, seed=3)
    named = one.model.named_parameters()
    found = {name: p.grad.float() for name, p in named if p.grad is not None}
    return float(parts.loss.detach()), found


@pytest.mark.parametrize("system", ["abnet", "abnet_fb"])
def test_gradients_with_every_measure_are_those_without(
    system: str, materials: Materials, batch: TrainingBatch
) -> None:
    """Within 1e-5 of the largest gradient; with bfloat16, within 5 % of the norm of all."""
    plain, expected = gradients(materials, WAYS[f"{system}-baseline"], batch)
    assert expected
    others = [way for way in WAYS.values() if way.system == system and way.measures]
    for way in {way.measures: way for way in others}.values():
        loss, found = gradients(materials, way, batch)
        assert found.keys() == expected.keys(), way.name
        if "bf16" in way.measures:
            assert loss == pytest.approx(plain, rel=0.01), way.name
            ours, theirs = (torch.cat([g.flatten() for g in one.values()])
                            for one in ({n: found[n] for n in expected}, expected))  # fmt: skip
            assert (ours - theirs).norm() < 0.05 * theirs.norm(), way.name
            continue
        assert loss == pytest.approx(plain, rel=1e-5), way.name
        largest = max(float(gradient.abs().max()) for gradient in expected.values())
        for name, gradient in expected.items():
            torch.testing.assert_close(
                found[name], gradient, rtol=0, atol=1e-5 * largest, msg=f"{way.name}: {name}"
            )


def test_only_adapters_and_lengths_train_but_with_full_fine_tuning(materials: Materials) -> None:
    ours, full = (make_model(materials, system, False) for system in ("abnet", "abnet_fb"))
    frozen = {name.split(".")[1] for name, p in ours.named_parameters() if not p.requires_grad}
    trained = {name.split(".")[1] for name, p in ours.named_parameters() if p.requires_grad}
    assert (frozen, trained) == ({"backbone"}, {"adapters", "length"})
    assert all(parameter.requires_grad for parameter in full.parameters())


@pytest.mark.parametrize("name", ["abnet-baseline", "abnet-all"])
def test_steps_train_and_both_optimizers_start_alike(
    name: str, materials: Materials, batch: TrainingBatch
) -> None:
    """In bfloat16 the weights are those in 32 bits, rounded."""
    one = learner(materials, WAYS[name])
    losses = [float(one.step(batch, seed=1).loss.detach()) for _ in range(30)]
    assert losses[-1] < losses[0]
    assert all(p.grad is None for p in one.trained)
    for master, parameter in zip(one.masters, one.trained, strict=True):
        assert parameter.equal(master.to(parameter.dtype))
    trained = sum(p.numel() for p in one.trained)
    every = sum(p.numel() for p in one.model.parameters())
    if name == "abnet-baseline":
        assert one.checkpoint_bytes() == 4 * (every + 2 * trained)
        assert one.resident_bytes() >= 4 * (every + 2 * trained)
    else:
        assert one.checkpoint_bytes() == 12 * trained
        assert one.resident_bytes() >= 2 * every + 12 * trained


def test_kernels_say_what_ran(materials: Materials, monkeypatch: pytest.MonkeyPatch) -> None:
    assert learner(materials, WAYS["abnet-baseline"]).kernels() == {
        "adam": "torch, one tensor at a time", "layer norm": "torch",
        "attention": "torch, unfused", "apex": "not there",
    }  # fmt: skip
    monkeypatch.setattr("abnet.bench.learner.apex_kernels", lambda: ["Adam", "layer norm"])
    kernels = learner(materials, WAYS["abnet-without-bf16"]).kernels()
    assert kernels == {
        "adam": "torch, fused", "layer norm": "torch",
        "attention": "torch, fused", "apex": "Adam, layer norm",
    }  # fmt: skip
    kernels = learner(materials, WAYS["abnet-all"]).kernels()
    assert kernels["attention"] == "torch, unfused"  # in bfloat16 on a CPU
    (apex,) = (way for way in ways(torch.device("cuda")) if way.apex)
    with pytest.raises(AbNetError, match="apex is not there to train with: No module named 'apex"):
        learner(materials, apex)


@pytest.mark.parametrize("is_fast", [True, False])
def test_bfloat16_is_a_measure_on_a_cpu_that_multiplies_in_it(
    is_fast: bool, cpu: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("abnet.bench.learner.computes_in_bfloat16", lambda: is_fast)
    assert any("bf16" in way.measures for way in ways(cpu)) == is_fast


def test_batches_are_full_and_of_like_length() -> None:
    source = [[1] * length for length in (2, 9, 3, 4, 3, 8)]
    target = [[1] * length for length in (3, 8, 2, 3, 3, 9)]
    assert choose_lines((source, target), tokens=20, count=2) == [[0, 4, 3], [1, 5]]
    assert choose_lines((source, target), tokens=1000, count=1) == [[2, 0, 4, 3, 1, 5]]
    with pytest.raises(AbNetError, match="`--tokens` must be at least 10, the longest"):
        choose_lines((source, target), tokens=9, count=2)


def test_a_batch_has_ends_and_padding(materials: Materials, cpu: torch.device) -> None:
    given = encoded(materials)
    made = collate([0, 4], given, materials.tokenizers, cpu)
    sep = materials.tokenizers[1].symbols.sep
    longer = max((given[1][0], given[1][4]), key=len)
    row = made.pairs.target[[given[1][0], given[1][4]].index(longer)]
    assert row.tolist() == [*longer, sep]
    assert made.tokens == len(given[1][0]) + len(given[1][4]) + 2
    assert made.sentences == 2
    assert int(made.pairs.target.ne(materials.tokenizers[1].symbols.pad).sum()) == made.tokens


def test_what_processes_send() -> None:
    assert gradient_bytes(1000) == 4000
    assert [sent_bytes(4000, n) for n in (1, 2, 4, 8)] == [0, 4000, 6000, 7000]
    assert step_seconds(0.5, 4000, 4, 1000.0) == pytest.approx(6.5)


def test_gradients_become_the_mean_of_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def add_another(flat: torch.Tensor) -> None:
        flat += torch.arange(5.0)

    monkeypatch.setattr(data_parallel.dist, "all_reduce", add_another)
    monkeypatch.setattr(data_parallel.dist, "get_world_size", lambda: 2)
    gradients = [torch.tensor([2.0]), torch.tensor([[1.0, 2.0], [3.0, 4.0]])]
    data_parallel.sum_gradients(gradients)
    assert gradients[0].tolist() == [1.0]
    assert gradients[1].tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    for name, lines in (("test.de", GERMAN), ("test.en", ENGLISH)):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    sides = ["--source", str(tmp_path / "test.de"), "--target", str(tmp_path / "test.en")]
    quick = ["--size", "tiny", "--device", "cpu", "--repeats", "1", "--count", "1"]
    quick += ["--threads", "1", "--tokens", "200", "--results", str(tmp_path / "results")]
    return ["bench", "--training", *sides, *quick]


def test_rows_are_written_for_one_process_and_for_two(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("abnet.bench.learner.computes_in_bfloat16", lambda: False)
    assert main([*command, "--rows", "abnet-baseline,abnet-all", "--processes", "1,2"]) == 0
    rows = records.read_all(tmp_path / "results")
    found = {(row["row"], row["processes"]): row for row in rows}
    assert found.keys() == {("abnet-baseline", 1), ("abnet-all", 1), ("abnet-all", 2)}
    assert found["abnet-baseline", 1]["measures"] == []
    assert found["abnet-all", 1]["measures"] == ["adam", "chunks", "masked", "sdpa"]
    assert len({row["run"] for row in rows}) == 1
    for row in rows:
        assert row["gradient_bytes"] == 4 * row["trained_parameters"]
        assert row["trained_parameters"] < row["total_parameters"]
        per_step = row["processes"] * row["batch_tokens"] / row["step_s"]
        assert row["target_tokens_per_s"] == pytest.approx(per_step)  # of one batch, once
        if row["processes"] == 1:
            assert row["peak_memory_bytes"] >= 4 * row["total_parameters"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--checkpoint", "x.pt"], "`--checkpoint` must be left out with `--training`"),
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


def test_what_cannot_be_measured_is_refused(materials: Materials) -> None:
    def bench(materials: Materials, lines: list[str], processes: int) -> TrainingBench:
        plan = TrainingPlan(200, processes=(1, processes))
        return TrainingBench([], materials, "x", lines, lines, plan, {}, lambda name, row: None)

    on_gpu = replace(materials, device=torch.device("cuda"))
    with pytest.raises(AbNetError, match="`--processes` must be 1 on a GPU: train with scripts"):
        bench(on_gpu, GERMAN, 2)
    with pytest.raises(AbNetError, match="must have pairs of 1 to 56 pieces a side, but none of"):
        bench(materials, [""], 1)
