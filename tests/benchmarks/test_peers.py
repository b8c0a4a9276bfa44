"""fairseq's systems and CTranslate2's: the lengths they write, their work, and their agreement."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq.iterative_refinement_generator import IterativeRefinementGenerator

from abnet.bench.engine import Materials
from abnet.bench.work import multiply_adds
from abnet.cli import main
from abnet.errors import AbNetError
from benchmarks import peers, records
from benchmarks.peers.models import SHALLOW, first_model, parts_of
from tests.bench.making import LINES, counted_by_torch, materials_in
from tests.tiny import ENGLISH, GERMAN

CPU = torch.device("cpu")
ROWS = {row.name: row for row in peers.rows(CPU)}


@pytest.fixture(scope="module")
def materials(tmp_path_factory: pytest.TempPathFactory) -> Materials:
    """Of the tiny size; weights are large enough that a source shows in its translation."""
    made = materials_in(tmp_path_factory.mktemp("peers"))
    for system in ("transformer", SHALLOW):
        for parameter in first_model(made, system).parameters():
            parameter.data *= 2
    return made


def engine(name: str, materials: Materials) -> Any:
    return ROWS[name].build(materials)


def test_rows_of_both_devices() -> None:
    names = [row.name for row in peers.rows(CPU)]
    assert names[0] == "transformer-fairseq-beam5-float32"
    assert names[2] == "transformer-ctranslate2-beam5-float32"  # both before any other system
    assert len(names) == 4 + 8 + 1
    assert f"{SHALLOW}-ctranslate2-beam1-int8" in names
    on_gpu = peers.rows(torch.device("cuda"))
    assert {row.precision for row in on_gpu} == {"float16", "int8_float16"}
    assert all(row.peer for row in on_gpu)


@pytest.mark.parametrize("name", [name for name in ROWS if "cmlm" not in name])
def test_the_length_is_that_asked_for(name: str, materials: Materials) -> None:
    peer = engine(name, materials)
    output = peer.decode(peer.encode(LINES), 7)
    assert (output.lengths, output.passes) == ([7] * len(LINES), 7)
    assert len(peer.join(output)) == len(LINES)


def test_the_cmlm_does_ten_passes_around_the_length(materials: Materials) -> None:
    peer = engine("cmlm-fairseq-10-float32", materials)
    calls = []
    hook = peer.model.decoder.layers[0].register_forward_hook(
        lambda module, inputs, output: calls.append(inputs[0].shape)
    )
    output = peer.decode(peer.encode(LINES), 9)
    hook.remove()
    assert output.passes == len(calls) == 10
    assert set(output.lengths) <= {7, 8, 9, 10}
    assert calls[0] == (11, 4 * len(LINES), 16)  # the longest candidate has 10 and its begin
    assert len(peer.join(output)) == len(LINES)
    assert peer.decode(peer.encode(LINES), None).passes == 10
    assert peer.work(peer.encode(LINES), None) is None


def test_the_cmlm_chooses_among_lengths_that_numpy_cannot_read(
    materials: Materials, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of a GPU."""
    peer = engine("cmlm-fairseq-10-float32", materials)
    encoded = peer.encode(LINES)
    peer.generator = IterativeRefinementGenerator(
        peer.task.target_dictionary, max_iter=9, beam_size=4, adaptive=False
    )
    expected = peer.decode(encoded, None).sentences

    def cannot(*_: object, **__: object) -> None:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    monkeypatch.setattr(torch.Tensor, "__array__", cannot)
    with pytest.raises(TypeError, match="can't convert cuda:0"):
        peer.decode(encoded, None)
    found = engine("cmlm-fairseq-10-float32", materials).decode(encoded, None).sentences
    assert [one.tolist() for one in found] == [one.tolist() for one in expected]


@pytest.mark.parametrize("name", ["transformer-fairseq-beam5-float32", "cmlm-fairseq-10-float32"])
def test_fairseqs_layers_are_prepared_as_fairseq_generate_does(
    name: str, materials: Materials
) -> None:
    peer = engine(name, materials)
    first, last = peer.model.decoder.layers
    weights = []
    hooks = [
        layer.register_forward_hook(lambda module, inputs, output: weights.append(output[1]))
        for layer in (first, last)
    ]
    peer.decode(peer.encode(LINES), 7)
    for hook in hooks:
        hook.remove()
    assert all(weight is None for weight in weights[::2])  # of the first: nobody looks at them
    assert len(weights) >= 2 * 7
    with pytest.raises(RuntimeError, match="cannot train after make_generation_fast"):
        peer.model.train()


@pytest.mark.parametrize("system", ["transformer", SHALLOW])
@pytest.mark.parametrize("beam", [5, 1])
def test_ctranslate2_finds_what_fairseq_finds(system: str, beam: int, materials: Materials) -> None:
    """The same hypotheses, and the same probabilities of each word and of the end.

    Which one of the beam is best is not compared: where a length limit ends them, fairseq counts
    the end's probability and CTranslate2 does not; and while the end is forbidden, CTranslate2
    shares its probability out among the words.
    """
    theirs = engine(f"{system}-fairseq-beam{beam}-float32", materials)
    converted = engine(f"{system}-ctranslate2-beam{beam}-float32", materials)
    theirs.decode(theirs.encode(GERMAN[:1]), 12)  # sets the length
    expected = theirs.generator.generate([theirs.model], theirs.sample(theirs.encode(GERMAN)))
    encoded = converted.encode(GERMAN)
    found = converted.translator.translate_batch(
        encoded,
        beam_size=beam,
        num_hypotheses=beam,
        min_decoding_length=11,
        max_decoding_length=11,
    )
    words = theirs.task.target_dictionary
    pieces = [[[words[id] for id in one["tokens"][:-1]] for one in many] for many in expected]
    for ours, known in zip(found, pieces, strict=True):
        assert sorted(ours.hypotheses) == sorted(known)
    scores = converted.translator.score_batch(encoded, [known[0] for known in pieces])
    for score, hypotheses in zip(scores, expected, strict=True):
        assert score.log_probs == pytest.approx(
            hypotheses[0]["positional_scores"].tolist(), abs=1e-4
        )
    assert len({tuple(known[0]) for known in pieces}) > 1  # the source matters


@pytest.mark.parametrize("beam", [5, 1])
def test_fairseq_projects_the_source_for_each_hypothesis(beam: int, materials: Materials) -> None:
    peer = engine(f"transformer-fairseq-beam{beam}-float32", materials)
    encoded = peer.encode(LINES)
    once = parts_of(peer.model).project_source(len(LINES), max(map(len, encoded)))
    products = peer.work(encoded, 6)
    expected = multiply_adds(products) + (beam - 1) * multiply_adds(once)
    assert expected == counted_by_torch(peer, 6)
    same = engine(f"transformer-ctranslate2-beam{beam}-int8", materials)
    assert multiply_adds(same.work(same.encode(LINES), 6)) == multiply_adds(products)


def test_a_folder_of_ones_own_is_timed_beside_ours(
    materials: Materials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("abnet.bench.rates.ENOUGH", 1e-5)
    folder, _ = peers.convert(materials, "float32", "transformer")
    for language, lines in (("de", GERMAN), ("en", ENGLISH)):
        (tmp_path / f"test.{language}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = ["bench", "--source", f"{tmp_path}/test.de", "--target", f"{tmp_path}/test.en"]
    command += ["--size", "tiny", "--device", "cpu", "--batches", "1", "--threads", "1"]
    command += ["--repeats", "1", "--count", "1", "--results", str(tmp_path / "results")]
    command += ["--ctranslate2", str(folder), "--rows", "transformer-float32,abnet-1-float32"]
    assert main(command) == 0
    results = {result["row"]: result for result in records.read_all(tmp_path / "results")}
    ours = results.pop("abnet-1-float32")
    assert {(row["engine"], row["precision"], row["decoding"]) for row in results.values()} == {
        ("ctranslate2", kind, f"beam {beam}") for kind in ("float32", "int8") for beam in (5, 1)
    }
    for row in results.values():
        assert row["run"] == ours["run"]
        assert "floor_s" not in row  # its parts are not known
        written = row["tokens_per_s"] / row["sentences_per_s"]
        assert written == pytest.approx(row["passes"])  # it wrote, and as long as it was told


def test_without_ctranslate2_it_is_said_how_to_get_it(
    materials: Materials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ctranslate2.converters", None)
    with pytest.raises(AbNetError, match=r"is not installed: `pip install ab-net\[bench\]`"):
        engine("transformer-ctranslate2-beam5-int8", materials)


def test_a_ctranslate2_that_lacks_libraries_is_left_out(
    materials: Materials, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so when it translates: a wheel for another CUDA than there is."""

    class Lacking:
        def __init__(self, *args: object, **options: object) -> None:
            pass

        def translate_batch(self, *args: object, **options: object) -> None:
            raise RuntimeError("Library libcublas.so.12 is not found or cannot be loaded")

    monkeypatch.setattr("ctranslate2.Translator", Lacking)
    nothing_loaded = replace(materials)
    with pytest.raises(AbNetError, match=r"CTranslate2 cannot use .*: Library libcublas.so.12 is"):
        engine("transformer-ctranslate2-beam5-int8", nothing_loaded)
