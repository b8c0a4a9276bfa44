from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from abnet.backbone.families import TiedHead
from abnet.checkpoint import save_checkpoint
from abnet.decoding import linear
from abnet.decoding.ensemble import Ensemble
from abnet.decoding.layout import pack_weights
from abnet.decoding.linear import PackedLinear, packs
from abnet.decoding.precision import set_precision
from abnet.errors import AbNetError
from abnet.translator import Translator
from tests.systems import Toys, small_model
from tests.tiny import GERMAN

PACKED = [dtype for dtype in (torch.float32, torch.bfloat16) if packs(dtype)]  # not all here


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", PACKED)
def test_a_packed_layer_computes_the_same(bias: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(96, 64, bias=bias).to(dtype)
    states = torch.randn(2, 5, 96).to(dtype)
    with torch.inference_mode():
        packed = PackedLinear(layer.weight, layer.bias)
        torch.testing.assert_close(packed(states), layer(states))
        columns = layer.weight.t().contiguous().t()
        assert PackedLinear(columns, layer.bias)(states).equal(packed(states))
    assert (packed.in_features, packed.out_features) == (96, 64)
    assert packed.weight_bytes == (96 + bias) * 64 * dtype.itemsize


@pytest.mark.parametrize("dtype", [str(dtype).removeprefix("torch.") for dtype in PACKED])
@pytest.mark.parametrize("name", ["abnet", "mask_predict"])
def test_all_matrices_are_packed_and_logits_stay(
    name: str, dtype: str, toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "SMALLEST", 8)
    model = small_model(name, toys).eval()
    set_precision(model, dtype)
    source, target = torch.tensor([[5, 6, 7, 3]]), torch.tensor([[4, 9, 4, 3]])
    predict = torch.ones_like(target, dtype=torch.bool)
    with torch.inference_mode():
        before = model(source, target, predict).word_logits
        pack_weights(Ensemble([model]))
        found = model(source, target, predict).word_logits
    near = {"atol": 0.05, "rtol": 0.05} if dtype == "bfloat16" else {}
    torch.testing.assert_close(found, before, **near)
    assert not any(isinstance(part, nn.Linear | TiedHead) for part in model.modules())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_processor_that_cannot_pack_decodes_as_it_is(
    dtype: str, toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "SMALLEST", 8)
    monkeypatch.setattr("abnet.decoding.layout.packs", lambda dtype: False)
    model = small_model("abnet", toys).eval()
    set_precision(model, dtype)
    before = dict(model.named_modules())
    pack_weights(model)
    assert dict(model.named_modules()) == before


def test_what_packs_can_be_packed() -> None:
    assert packs(torch.float32)
    assert not packs(torch.float16)
    weight = torch.zeros(8, 8, dtype=torch.bfloat16)
    if packs(torch.bfloat16):
        PackedLinear(weight, None)
    else:
        with pytest.raises(RuntimeError, match="bf16"):
            PackedLinear(weight, None)


def test_small_layers_and_other_devices_are_left_alone(toys: Toys) -> None:
    for model in (small_model("abnet", toys), small_model("abnet", toys).to("meta")):
        pack_weights(model)
        assert not any(isinstance(part, PackedLinear) for part in model.modules())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_what_only_decodes_is_neither_saved_nor_trained(
    dtype: str, toys: Toys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trained weights are no parameters any more, or are rounded."""
    monkeypatch.setattr(linear, "SMALLEST", 8)
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, small_model("abnet", toys))
    before = path.read_bytes()
    translator = Translator.from_checkpoint(path, "cpu", dtype=dtype)
    expected = translator.translate(GERMAN)
    for refused in (lambda: save_checkpoint(path, translator.model), translator.model.train):
        with pytest.raises(AbNetError, match=r"can neither train nor be saved: take one of `load"):
            refused()
    assert path.read_bytes() == before
    assert translator.translate(GERMAN) == expected
    if dtype != "bfloat16" or packs(torch.bfloat16):
        for refused in (copy.deepcopy, pickle.dumps):
            with pytest.raises(AbNetError, match=r"cannot be copied or pickled: load it where"):
                refused(translator)
