"""`abnet bench --training`: every way has the same gradients, and each row says what it was."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from abnet.bench import compiled_layers, data_parallel
from abnet.bench.engine import Materials
from abnet.bench.learner import Learner, make_model
from abnet.bench.loading import measure_waiting, shuffle_lines
from abnet.bench.scaling import gradient_bytes, sent_bytes, step_seconds
from abnet.bench.training_batches import TrainingBatch, choose_lines, collate
from abnet.bench.ways import ALWAYS, EXTRAS, Way, ways
from abnet.errors import AbNetError
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
    return Learner(make_model(materials, way, dropout=0.0), way)


def gradients(
    materials: Materials, way: Way, batch: TrainingBatch
) -> tuple[float, dict[str, torch.Tensor]]:
    one = learner(materials, way)
    parts = one.gradients(batch, seed=3)
    named = one.model.named_parameters()
    found = {name: p.grad.float() for name, p in named if p.grad is not None}
    return float(parts.loss.detach()), found


@pytest.fixture
def liger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands for liger-kernel, which needs a GPU: what its loss is documented to compute."""

    class LigerFusedLinearCrossEntropyLoss(nn.CrossEntropyLoss):
        def forward(self, *given: Any) -> Tensor:
            weight, states, gold, bias = given
            return super().forward(F.linear(states, weight, bias).float(), gold)

    package, module = ModuleType("liger_kernel"), ModuleType("liger_kernel.transformers")
    module.LigerFusedLinearCrossEntropyLoss = LigerFusedLinearCrossEntropyLoss  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "liger_kernel", package)
    monkeypatch.setitem(sys.modules, "liger_kernel.transformers", module)


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of torch's compiler but the making of kernels."""
    torch.compiler.reset()
    monkeypatch.setattr(compiled_layers, "BACKEND", "aot_eager")


def ways_of(system: str) -> list[Way]:
    """All that differ in their gradients' making; what is more than measures in 32 bits, too.

    torch's compiler, which is slow itself, in 32 bits only.
    """
    found = [way for way in WAYS.values() if way.system == system]
    found = [way for way in found if (way.measures or way.without) and way.without != {"buckets"}]
    more = [way for way in found if way.without or way.measures & EXTRAS.keys()]
    found += [replace(way, measures=way.measures - {"bf16"}) for way in more]
    found = [way for way in found if not {"compile", "bf16"} <= way.measures]
    return list({(way.measures, way.without): way for way in found}.values())


@pytest.mark.slow
@pytest.mark.usefixtures("liger", "compiler")
@pytest.mark.parametrize("system", ["abnet", "abnet_fb"])
def test_gradients_with_every_measure_are_those_without(
    system: str, materials: Materials, batch: TrainingBatch
) -> None:
    """Within 1e-5 of the largest gradient; with rounded weights or products 5 % of all's norm."""
    plain, expected = gradients(materials, WAYS[f"{system}-baseline"], batch)
    assert expected
    for way in ways_of(system):
        loss, found = gradients(materials, way, batch)
        assert found.keys() == expected.keys(), way.name
        if way.measures & {"bf16", "half", "tf32"}:
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
    ours, full = (
        make_model(materials, WAYS[f"{system}-baseline"]) for system in ("abnet", "abnet_fb")
    )
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


@pytest.mark.parametrize(
    ("name", "has_gradient", "is_followed"),
    [("abnet-all", False, False), ("abnet-without-cut", False, True),
     ("abnet-without-frozen", True, True)],
)  # fmt: skip
def test_what_every_way_has_can_be_left_out(
    name: str, has_gradient: bool, is_followed: bool, materials: Materials, batch: TrainingBatch
) -> None:
    """In the decoder, whose first adapter stands behind the first layer."""
    one = learner(materials, WAYS[name])
    [lowest, *_] = one.model.decoder.backbone.layers
    weight = next(lowest.parameters())
    seen = []

    def look(module: nn.Module, inputs: Any, output: Tensor) -> None:
        seen.append((weight.requires_grad, output.requires_grad))

    lowest.register_forward_hook(look)
    one.gradients(batch, seed=3)
    assert seen == [(has_gradient, is_followed)]
    assert not any(p.requires_grad for p in one.frozen)
    assert all(p.grad is None for p in one.frozen)
    assert not one.model.decoder.backbone.embeddings._forward_hooks


def test_frozen_weights_take_half_the_memory(materials: Materials) -> None:
    half, whole = (learner(materials, WAYS[f"abnet-{name}"]) for name in ("with-half", "baseline"))
    assert {p.dtype for p in half.trained} == {torch.float32}
    halved = sum(p.numel() for p in half.frozen if p.dtype == torch.bfloat16)
    assert halved > 0.9 * sum(p.numel() for p in half.frozen)
    assert whole.resident_bytes() - half.resident_bytes() == 2 * halved


def test_kernels_are_those_that_a_step_ran(
    materials: Materials, batch: TrainingBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert learner(materials, WAYS["abnet-baseline"]).kernels(batch, seed=1) == {
        "attention": "math", "layer norm": "torch", "adam": "torch, one tensor at a time",
        "apex": "not there",
    }  # fmt: skip
    monkeypatch.setattr("abnet.bench.learner.apex_kernels", lambda: ["Adam", "layer norm"])
    assert learner(materials, WAYS["abnet-without-bf16"]).kernels(batch, seed=1) == {
        "attention": "flash for CPUs", "layer norm": "torch", "adam": "torch, fused",
        "apex": "Adam, layer norm",
    }  # fmt: skip
    kernels = learner(materials, WAYS["abnet-all"]).kernels(batch, seed=1)
    assert kernels["attention"] == "math"  # in bfloat16 on a CPU


def test_what_is_not_there_is_said(materials: Materials, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("abnet.bench.ways.has_apex_adam", lambda: True)
    (apex,) = (way for way in ways(torch.device("cuda")) if way.apex)
    with pytest.raises(AbNetError, match="apex is not there to train with: No module named 'apex"):
        learner(materials, apex)
    monkeypatch.setitem(sys.modules, "liger_kernel", None)
    with pytest.raises(AbNetError, match="liger-kernel is not there to train with: "):
        learner(materials, WAYS["abnet-with-liger"])


@pytest.mark.parametrize(
    ("kernels", "compiled", "expected"),
    [(["Adam"], {"amp_C"}, True), (["Adam"], {"fused_adam_cuda"}, False),
     (["layer norm"], {"amp_C"}, False), ([], set(), False)],
)  # fmt: skip
def test_apex_has_a_row_where_its_adam_has_its_kernels(
    kernels: list[str], compiled: set[str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("abnet.bench.ways.apex_kernels", lambda: kernels)
    monkeypatch.setattr(
        "abnet.bench.ways.find_spec", lambda name: name if name in compiled else None
    )
    assert any(way.apex for way in ways(torch.device("cuda"))) == expected


def test_the_baseline_with_tf32_is_the_baseline_but_for_its_products(
    materials: Materials, batch: TrainingBatch, cpu: torch.device
) -> None:
    """Forward and backward; nothing is left of it for others."""
    plain, allowed = (WAYS[name] for name in ("abnet-baseline", "abnet-baseline-tf32"))
    assert allowed == replace(plain, name=allowed.name, measures=frozenset({"tf32"}))
    assert not any("tf32" in way.measures for way in ways(cpu))
    one, seen = learner(materials, allowed), []

    def look(*given: object) -> None:
        seen.append(torch.get_float32_matmul_precision())

    one.model.decoder.backbone.layers[-1].register_forward_hook(look)
    one.trained[0].register_hook(look)
    one.step(batch, seed=1)
    assert seen == ["high", "high"]
    assert torch.get_float32_matmul_precision() == "highest"
    assert one.checkpoint_bytes() == learner(materials, plain).checkpoint_bytes()
    assert one.kernels(batch, seed=1) == learner(materials, plain).kernels(batch, seed=1)


@pytest.mark.parametrize("is_fast", [True, False])
def test_bfloat16_is_a_measure_on_a_cpu_that_multiplies_in_it(
    is_fast: bool, cpu: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("abnet.bench.ways.computes_in_bfloat16", lambda: is_fast)
    found = ways(cpu)
    assert any("bf16" in way.measures for way in found) == is_fast
    assert not any(way.measures & EXTRAS.keys() for way in found)
    assert [way.without for way in found if way.without] == [{name} for name in ALWAYS]


def test_batches_are_full_and_of_like_length() -> None:
    source = [[1] * length for length in (2, 9, 3, 4, 3, 8)]
    target = [[1] * length for length in (3, 8, 2, 3, 3, 9)]
    assert choose_lines((source, target), tokens=20, count=2) == [[0, 4, 3], [1, 5]]
    assert choose_lines((source, target), tokens=1000, count=1) == [[2, 0, 4, 3, 1, 5]]
    with pytest.raises(AbNetError, match="`--tokens` must be at least 10, the longest"):
        choose_lines((source, target), tokens=9, count=2)


def test_shuffled_batches_are_as_full_and_of_any_length() -> None:
    source = [[1] * length for length in (2, 9, 3, 4, 3, 8)]
    target = [[1] * length for length in (3, 8, 2, 3, 3, 30)]
    batches = shuffle_lines((source, target), tokens=20, count=50)
    sizes = [10 if 1 in batch else max(4, *(len(source[at]) + 1 for at in batch))
             for batch in batches]  # fmt: skip
    assert all(size * len(batch) <= 20 for size, batch in zip(sizes, batches, strict=True))
    assert {at for batch in batches for at in batch} == {0, 1, 2, 3, 4}
    assert any(1 in batch and len(batch) == 2 for batch in batches)  # beside a short one
    assert batches == shuffle_lines((source, target), tokens=20, count=50)
    assert len({tuple(batch) for batch in batches}) > 10


def test_waiting_is_what_a_step_lacks_of_its_time(
    materials: Materials, batch: TrainingBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker makes the same batches; a step takes 3 s here, and a batch 1 s to come."""
    clock = iter(range(1000))
    monkeypatch.setattr("abnet.bench.loading._now", lambda device: float(next(clock)))
    trained: list[TrainingBatch] = []

    def step(made: TrainingBatch) -> None:
        trained.append(made)
        next(clock), next(clock)

    lines = [list(range(8)), [2, 3]]
    given = encoded(materials)
    batches = [batch, collate(lines[1], given, materials.tokenizers, torch.device("cpu"))]
    batches[0]._masked[5] = None  # type: ignore[assignment]
    waiting = measure_waiting(step, batches, lines, given, materials.tokenizers, rounds=2)
    assert waiting == (0.25, 4.0)
    assert len(trained) == 6
    for at, made in enumerate(trained):
        ready = batches[at % 2]
        assert made.pairs.source.equal(ready.pairs.source)
        assert made.pairs.target.equal(ready.pairs.target)
        assert (made.tokens, made._masked) == (ready.tokens, ready._masked)


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
