from __future__ import annotations

import pytest
import torch
from torch import nn

from abnet.backbone.families import TiedHead
from abnet.decoding import linear
from abnet.decoding.ensemble import Ensemble
from abnet.decoding.linear import (
    FusedInt8Linear,
    Int8Linear,
    VnniInt8Linear,
    fuses,
    has_vnni,
    int8_linear,
)
from abnet.decoding.mask_predict import DecodingOptions
from abnet.decoding.precision import set_precision
from abnet.errors import AbNetError
from abnet.model import AbNet
from abnet.translator import Translator
from tests.systems import Toys, small_model
from tests.tiny import GERMAN

OF_7_BITS = [Int8Linear, *([FusedInt8Linear] if fuses() else [])]
KERNELS = [*OF_7_BITS, *([VnniInt8Linear] if has_vnni() else [])]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("bias", [True, False])
def test_a_rounded_layer_is_close(bias: bool, kernel: type[Int8Linear]) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(96, 64, bias=bias)
    states = 3 * torch.randn(2, 5, 96) + 1
    with torch.no_grad():
        ours, exact = kernel(layer.weight, layer.bias)(states), layer(states)
        assert ours.shape == exact.shape
        # 7 bits of inputs, 8 of weights: a percent or two, and never an overflow
        most = 0.015 if kernel is VnniInt8Linear else 0.03
        assert most / 3 < float((ours - exact).abs().mean() / exact.abs().mean()) < most
        largest = kernel(torch.ones(8, 96), None)(torch.full((1, 96), 5.0))
        torch.testing.assert_close(largest, torch.full((1, 8), 480.0), rtol=1e-3, atol=0)


def test_both_kernels_round_alike() -> None:
    """Weights and inputs become the same integers, but for one or another just between two."""
    torch.manual_seed(0)
    weight, bias, states = torch.randn(64, 96), torch.randn(64), torch.randn(2, 5, 96)
    for one in OF_7_BITS:
        found = one(weight, bias)(states)
        torch.testing.assert_close(found, Int8Linear(weight, bias)(states), atol=0.1, rtol=0)


@pytest.mark.parametrize("kernel", KERNELS)
def test_weights_may_lie_by_columns(kernel: type[Int8Linear]) -> None:
    weight, states = torch.randn(64, 96), torch.randn(5, 96)
    columns = weight.t().contiguous().t()
    assert kernel(columns, None)(states).equal(kernel(weight, None)(states))


def test_inputs_take_seven_bits_when_the_zero_is_half_way(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = Int8Linear(torch.ones(4, 40), None)
    multiply, seen = layer.multiply, []

    def watched(rounded: torch.Tensor, step: float, zero: int) -> torch.Tensor:
        seen.append((int(rounded.min()), int(rounded.max())))
        return multiply(rounded, step, zero)

    monkeypatch.setattr(layer, "multiply", watched)
    layer(torch.tensor([-1.0, 1.0]).repeat(3, 20))
    assert seen == [(0, 127)]


@pytest.mark.parametrize("kernel", KERNELS)
def test_zeros_stay_zero(kernel: type[Int8Linear]) -> None:
    layer = nn.Linear(16, 8)
    rounded = kernel(layer.weight, layer.bias)
    found = rounded(torch.zeros(3, 16))
    torch.testing.assert_close(found, layer.bias.detach().expand(3, -1))
    assert kernel(torch.zeros(8, 16), None)(torch.randn(3, 16)).tolist() == [[0.0] * 8] * 3


def kinds(model: nn.Module) -> dict[type, int]:
    found: dict[type, int] = {}
    for module in model.modules():
        found[type(module)] = found.get(type(module), 0) + 1
    return found


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", ["abnet", "mask_predict", "bert_fused_nat"])
def test_int8_replaces_all_linear_layers(
    name: str, kernel: type[Int8Linear], toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "fuses", lambda: kernel is not Int8Linear)
    monkeypatch.setattr(linear, "has_vnni", lambda: kernel is VnniInt8Linear)
    monkeypatch.setattr(linear, "LARGE", 0)
    monkeypatch.setattr(linear, "SMALLEST", 8)
    model = small_model(name, toys).eval()
    before = kinds(model)
    exact = Translator(model, "cpu").translate_n_best(GERMAN, DecodingOptions(iterations=1))
    set_precision(model, "int8")
    after = kinds(model)
    assert after.get(nn.Linear, 0) == after.get(TiedHead, 0) == 0
    assert after[kernel] == before[nn.Linear] + before.get(TiedHead, 0)
    translator = Translator(model, "cpu", dtype="int8")
    rounded = translator.translate_n_best(GERMAN, DecodingOptions(iterations=1))
    for (ours,), (theirs,) in zip(rounded, exact, strict=True):
        assert ours.score == pytest.approx(theirs.score, abs=0.5)


@pytest.mark.skipif(not has_vnni(), reason="this processor has no VNNI")
def test_large_layers_use_vnni() -> None:
    """And packing leaves torch's own choice of kernels as it was."""
    before = torch.backends.quantized.engine
    kinds = [type(int8_linear(torch.ones(512, inner), None)) for inner in (512, 511)]
    assert kinds == [VnniInt8Linear, FusedInt8Linear]
    assert torch.backends.quantized.engine == before


def test_without_vnni_every_layer_is_of_the_old_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    assert type(int8_linear(torch.ones(512, 512), None)) is KERNELS[fuses()]


def test_small_layers_are_left_alone(tiny_model: AbNet) -> None:
    set_precision(tiny_model, "int8")
    assert not {Int8Linear, FusedInt8Linear} & kinds(tiny_model).keys()


def test_bfloat16_reaches_every_weight_and_scores_stay_in_32_bits(
    tiny_model: AbNet, toys: Toys
) -> None:
    other = small_model("mask_predict", toys).eval()
    exact = Translator(tiny_model, "cpu").translate_n_best(GERMAN, DecodingOptions(iterations=1))
    translator = Translator(Ensemble([tiny_model, other]), "cpu", dtype="bfloat16")
    for model in (tiny_model, other):
        assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    assert len(translator.translate(GERMAN)) == len(GERMAN)
    translator = Translator(tiny_model, "cpu", dtype="bfloat16")
    rounded = translator.translate_n_best(GERMAN, DecodingOptions(iterations=1))
    scores = torch.tensor([best.score for (best,) in rounded])
    torch.testing.assert_close(
        scores, torch.tensor([best.score for (best,) in exact]), atol=0.2, rtol=0
    )
    assert not scores.equal(scores.bfloat16().float())


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_what_shares_its_berts_is_lowered_with_them(
    dtype: str, toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says so, rather than translate with half of its weights in another precision."""
    monkeypatch.setattr(linear, "SMALLEST", 8)
    models = [small_model("abnet", toys).eval() for _ in range(3)]
    one, other, third = models
    Ensemble([third, one, other])
    del third
    models.clear()
    Translator(one, "cpu", dtype=dtype)
    with pytest.raises(AbNetError, match=rf"`dtype` must be {dtype}, .* but is float32 instead"):
        Translator(other, "cpu")
    with pytest.raises(AbNetError, match="it can neither train nor be saved"):
        other.train()
    assert len(Translator(other, "cpu", dtype=dtype).translate(GERMAN)) == len(GERMAN)
    apart = small_model("abnet", toys).eval()
    assert (apart.precision, apart.decodes_only) == ("float32", False)


def test_what_cannot_be(tiny_model: AbNet, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        AbNetError, match=r"`dtype` must be one of float32, .*, but is int4 instead"
    ):
        Translator(tiny_model, "cpu", dtype="int4")
    with pytest.raises(AbNetError, match="must be bfloat16 or int8 on the CPU, but is float16"):
        set_precision(tiny_model, "float16")
    with pytest.raises(AbNetError, match="float16 on the device meta, but is int8, which is for"):
        set_precision(tiny_model.to("meta"), "int8")
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    monkeypatch.setattr("abnet.decoding.precision.fuses", lambda: False)
    with pytest.raises(AbNetError, match="must not be int8: this torch was built without oneDNN"):
        set_precision(tiny_model.to_empty(device="cpu"), "int8")
