from __future__ import annotations

import pytest
import torch

from abnet.decoding.compiling import compile_decoder, power_of_two
from abnet.decoding.mask_predict import DecodingOptions, mask_predict
from abnet.errors import AbNetError
from abnet.model import AbNet
from abnet.translator import Translator
from tests.batches import batch
from tests.systems import Toys, lively_model
from tests.tiny import GERMAN


def test_powers_of_two() -> None:
    assert [power_of_two(number) for number in (1, 2, 3, 4, 5, 8, 9)] == [1, 2, 4, 4, 8, 8, 16]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["abnet", "bert_fused_nat"])
def test_torch_compiles_the_decoder(name: str, toys: Toys) -> None:
    """With the backend that runs what torch has traced, in 64 bits: tokens stay the same."""
    torch.compiler.reset()
    model = lively_model(name, toys).double()
    assert model.source_tokenizer is not None
    options = DecodingOptions(iterations=4, n_best=4, patience=1, rescore_weight=1.0)
    for lines in (GERMAN[:3], GERMAN[:1]):
        model.decoder.fast = None
        source = batch(model.source_tokenizer, lines)
        expected = mask_predict(model, source, options)
        compile_decoder(model, backend="eager")
        found = mask_predict(model, source, options)
        for ours, theirs in zip(found, expected, strict=True):
            assert [one.tokens.tolist() for one in ours] == [one.tokens.tolist() for one in theirs]


def test_the_translator_compiles(tiny_model: AbNet, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def compile(function: object, **options: object) -> object:
        calls.append(options)
        return function

    expected = Translator(tiny_model, "cpu").translate(GERMAN)
    monkeypatch.setattr(torch, "compile", compile)
    assert Translator(tiny_model, "cpu", compile=True).translate(GERMAN) == expected
    assert calls == [{"backend": "inductor", "mode": "reduce-overhead", "dynamic": True}]


def test_a_compiler_that_is_missing(tiny_model: AbNet, monkeypatch: pytest.MonkeyPatch) -> None:
    def backend(*_: object) -> None:
        raise FileNotFoundError("no g++")

    torch.compiler.reset()
    compile_decoder(tiny_model, backend=backend)  # type: ignore[arg-type]
    translator = Translator(tiny_model, "cpu")
    with pytest.raises(AbNetError, match="`compile` must be left out where torch cannot compile: "):
        translator.translate(GERMAN[:1])


def test_autoregressive_systems_are_refused(toys: Toys) -> None:
    with pytest.raises(AbNetError, match="`compile` must be left out: this system is autoregres"):
        Translator(lively_model("abnet_causal", toys), "cpu", compile=True)
