"""Training and decoding leave no tensor behind on the host, seen without a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from abnet.decoding.reranking import Reranker
from abnet.model import AbNet
from abnet.training.loss import LossParts
from abnet.training.masking import batch_generator
from abnet.training.objective import training_loss
from abnet.translator import Translator
from tests.parity.elsewhere import OnGpu, elsewhere
from tests.systems import Toys, lively_model, small_model, small_pairs
from tests.tiny import GERMAN


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    with elsewhere(monkeypatch) as device:
        yield device


@pytest.mark.parametrize(
    "call",
    [
        lambda t: t + torch.ones(3),
        lambda t: torch.cat([t, torch.ones(1)]),
        lambda t: t.index_select(0, torch.tensor([1])),
        lambda t: t.masked_fill(torch.tensor([True, False, True]), 0.0),
        lambda t: torch.nn.Linear(3, 2)(t),
        lambda t: t.numpy(),
        lambda t: torch.rand(3, device=t.device, generator=torch.Generator()),
    ],
)
def test_what_a_gpu_refuses_is_refused(call: Callable[[Tensor], Any], gpu: torch.device) -> None:
    there = torch.tensor([1.0, 2.0, 3.0], device=gpu)
    assert (2 * there[torch.tensor([2, 0])] + torch.tensor(1.0)).cpu().tolist() == [7.0, 3.0]
    with pytest.raises((RuntimeError, TypeError)):
        call(there)


def step(model: AbNet, device: torch.device) -> LossParts:
    pairs = small_pairs(model)
    pairs = pairs._replace(source=pairs.source.to(device), target=pairs.target.to(device))
    generator = batch_generator(pairs.target.device, 1)
    torch.manual_seed(1)
    parts = training_loss(model.train().to(device), model, pairs, generator, True)
    (parts.loss / parts.sample_size).backward()
    return parts


@pytest.mark.parametrize(
    ("system", "changes"),
    [
        ("abnet", {"r_drop": 1.0, "target_noise": "bert", "source_noise": 0.2}),
        ("abnet_released_iwslt_de_en", {"correction": 0.3}),
        ("abnet_enc_ar", {}),
        ("abnet_ctc", {"reveal_frames": 1.0}),
        ("abnet_dag", {"reveal_frames": 1.0, "gloss_source": True}),
        ("abnet_dag_fuzzy", {}),
        ("bert_fused_nat", {"drop_net": 1.0}),
        ("bert_distilled", {}),
        ("ct_nmt", {"distillation_weight": 0.1}),
    ],
)
def test_a_step_is_done_on_one_device(
    system: str, changes: dict[str, Any], toys: Toys, gpu: torch.device
) -> None:
    model = small_model(system, toys, **changes)
    here = step(model, torch.device("cpu"))
    model.zero_grad()
    there = step(model, gpu)
    assert isinstance(there.loss, OnGpu)
    assert there.loss.item() == here.loss.item()
    assert all(isinstance(p.grad, OnGpu) for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("system", "changes", "decoding"),
    [
        ("abnet", {}, {"prune_after": 2, "prune_keep": 2, "confidence": 0.1, "ban_repeats": True}),
        ("abnet_enc", {}, {"iterations": 4, "patience": 1, "rescore_weight": 1.0}),
        ("abnet_enc_ar", {}, {"beam": 3, "max_length_factor": 1.0, "max_length_offset": 1}),
        ("abnet_ctc", {"reveal_frames": 0.5}, {"iterations": 3, "beam": 4}),
        ("abnet_dag", {}, {"beam": 4, "lm_weight": 0.3}),
        ("abnet_dag_fuzzy", {}, {}),
    ],
)
def test_a_batch_is_decoded_on_one_device(
    system: str, changes: dict[str, Any], decoding: dict[str, Any], toys: Toys, gpu: torch.device
) -> None:
    chooser = Reranker(lively_model("abnet_enc_ar", toys)) if system == "abnet" else None
    model = lively_model(system, toys, **changes)
    here, there = (
        Translator(model, device, chooser).translate(GERMAN, batch_size=3, **decoding)
        for device in ("cpu", gpu)
    )
    assert there == here
