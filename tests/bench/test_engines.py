"""Our engines and transformers': lengths, passes and text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from abnet.bench import ctranslate, huggingface, ours
from abnet.bench.engine import Materials, forced_lengths
from abnet.bench.materials import make_tokenizers
from abnet.bench.sizes import SIZES
from abnet.decoding.linear import SMALLEST, PackedLinear
from abnet.errors import AbNetError
from abnet.model import AbNet
from tests.bench.making import LINES
from tests.tiny import ENGLISH, GERMAN


def test_the_candidates_are_around_the_reference() -> None:
    assert forced_lengths(10, 4) == [8, 9, 10, 11]
    assert forced_lengths(10, 1) == [10]
    assert forced_lengths(1, 4) == [1, 1, 1, 2]


PASSES = {
    "abnet-1": 1,
    "abnet-4": 4,
    "abnet-10": 10,
    "abnet-4-pruned": 4,
    "abnet-10-pruned": 10,
    "abnet_enc-10": 10,
    "abnet_ctc-1": 1,
    "abnet_dag-1": 1,
}
"""Our rows, without their precisions."""


@pytest.mark.parametrize("has_bfloat16", [True, False])
def test_precisions_on_a_cpu(
    has_bfloat16: bool, cpu: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ours, "computes_in_bfloat16", lambda: has_bfloat16)
    precisions = ["float32", "int8", *(["bfloat16"] if has_bfloat16 else [])]
    expected = [f"{name}-{precision}" for precision in precisions for name in PASSES]
    assert [row.name for row in ours.rows(cpu)] == expected


def test_a_gpu_has_compiled_rows_behind_the_others(
    materials: Materials, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = ours.rows(torch.device("cuda"))
    compiled = [row for row in rows if row.compiled]
    assert compiled == rows[-4:]
    assert [row.name for row in compiled] == [
        f"{name}-bfloat16-compiled" for name in ("abnet-1", "abnet-4", "abnet-10", "abnet_ctc-1")
    ]
    assert compiled[2].decoding == "10 passes, length beam 4, compiled"
    calls = []

    def compile(function: Callable[..., object], **options: object) -> Callable[..., object]:
        def run(*args: object) -> object:
            calls.append(options["mode"])
            return function(*args)

        return run

    monkeypatch.setattr(torch, "compile", compile)
    engine = compiled[2].build(materials)
    assert engine.decode(engine.encode(LINES), 9).passes == 10
    assert calls == 10 * ["reduce-overhead"]
    plain = next(row for row in rows if row.name == "abnet-10-bfloat16").build(materials)
    plain.decode(plain.encode(LINES), 9)
    assert len(calls) == 10  # its model is another


def test_all_logits_at_once_give_the_same_tokens(
    materials: Materials, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {row.name: row for row in ours.rows(torch.device("cuda"))}
    few, every = (rows[f"abnet-10-bfloat16{more}"] for more in ("", "-every-logit"))
    assert every.decoding == "10 passes, length beam 4, all logits at once"
    engines: list[Any] = [row.build(materials) for row in (few, every)]
    shared, made = engines[0].model, []
    assert engines[1].model is shared

    def logits(states: torch.Tensor, part: slice) -> torch.Tensor:
        logits = AbNet.logits(shared, states, part)
        made.append(len(logits))
        return logits

    monkeypatch.setattr(shared, "logits", logits)
    found, sizes = [], []
    for engine in engines:
        made.clear()
        output = engine.decode(engine.encode(LINES), 9)
        found.append([sentence.tolist() for sentence in output.sentences])
        sizes.append(sum(made))
    assert found[0] == found[1]
    assert sizes[1] > 1.3 * sizes[0]


def test_our_rows_share_a_model_and_do_all_their_passes(
    materials: Materials, cpu: torch.device
) -> None:
    rows = ours.rows(cpu)
    engines = [row.build(materials) for row in rows[: len(PASSES)]]
    assert engines[0].model is engines[2].model  # type: ignore[attr-defined]
    for engine, (name, passes) in zip(engines, PASSES.items(), strict=True):
        output = engine.decode(engine.encode(LINES), 9)
        assert output.passes == passes
        assert set(output.lengths) <= {7, 8, 9, 10} or name in ("abnet_ctc-1", "abnet_dag-1")
        texts = engine.join(output)
        assert len(texts) == len(LINES)
        words = " ".join(texts).replace("[UNK]", "").replace("[unused", "")  # may be predicted
        assert "[" not in words


def test_int8_rows_do_the_same_work_with_smaller_weights(tmp_path: Path, cpu: torch.device) -> None:
    bert = replace(SIZES["tiny"].bert, hidden=SMALLEST, ffn=2 * SMALLEST)
    wide = replace(SIZES["tiny"], bert=bert, adapter_dim=SMALLEST)
    tokenizers = make_tokenizers(wide, GERMAN, ENGLISH, tmp_path)
    engines = {
        row.name: row.build(Materials(wide, tokenizers, cpu, str(tmp_path)))
        for row in ours.rows(cpu)
        if row.name in ("abnet-4-float32", "abnet-4-int8")
    }
    exact, rounded = engines["abnet-4-float32"], engines["abnet-4-int8"]
    encoded = exact.encode(LINES)
    assert rounded.work(encoded, 9) == exact.work(encoded, 9)

    linear = [m for m in exact.model.modules() if isinstance(m, PackedLinear)]  # type: ignore[attr-defined]
    assert len(linear) > 10
    assert not any(isinstance(m, nn.Linear) for m in exact.model.modules())  # type: ignore[attr-defined]
    saved = sum(3 * m.in_features * m.out_features for m in linear)  # of 4 bytes
    scales = sum(12 * m.out_features for m in linear)  # and zeros
    assert rounded.weight_bytes == exact.weight_bytes - saved + scales


def test_the_given_lengths_are_those_decoded(materials: Materials, cpu: torch.device) -> None:
    engine = ours.rows(cpu)[0].build(materials)
    watched = ours.Watched(engine.model, 9)  # type: ignore[attr-defined]
    encoded = watched.encode(torch.tensor([[7, 8, 3], [9, 3, 0]]))
    assert watched.predict_length(encoded, 4).lengths.tolist() == [[7, 8, 9, 10]] * 2
    free = ours.Watched(engine.model, None)  # type: ignore[attr-defined]
    expected = engine.model.predict_length(encoded, 4).lengths  # type: ignore[attr-defined]
    assert free.predict_length(encoded, 4).lengths.tolist() == expected.tolist()


def test_gpus_get_half_precision(materials: Materials) -> None:
    on_gpu = ours.rows(torch.device("cuda"))
    rows = [row for row in on_gpu if not row.compiled and "every-logit" not in row.name]
    assert [row.dtype for row in rows] == [torch.bfloat16] * len(PASSES) + [torch.float32] * len(
        PASSES
    )
    engine = rows[1].build(materials)  # bfloat16 works on a CPU as well
    assert set(engine.decode(engine.encode(LINES), 9).lengths) <= {7, 8, 9, 10}


@pytest.mark.parametrize("at", [0, 1])
def test_generate_writes_the_length(at: int, materials: Materials, cpu: torch.device) -> None:
    engine = huggingface.rows(cpu)[at].build(materials)
    output = engine.decode(engine.encode(GERMAN[:2]), 7)
    assert (output.lengths, output.passes) == ([7, 7], 7)
    assert len(engine.join(output)) == 2
    free = engine.decode(engine.encode(GERMAN[:2]), None)
    assert free.passes >= max(free.lengths)


def test_a_folder_must_be_of_ctranslate2(tmp_path: object, cpu: torch.device) -> None:
    with pytest.raises(AbNetError, match=r"with a model\.bin, but .* has none"):
        ctranslate.folder_rows(tmp_path, cpu)  # type: ignore[arg-type]
