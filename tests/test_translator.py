from __future__ import annotations

import math
import unicodedata
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import abnet
from abnet.checkpoint import load_checkpoint, save_checkpoint
from abnet.config import AbNetConfig
from abnet.decoding.decode import decode, options_for
from abnet.decoding.ensemble import Ensemble
from abnet.decoding.mask_predict import DecodingOptions, mask_predict
from abnet.errors import AbNetError
from abnet.model import AbNet
from abnet.one_pass.dag import DagOptions
from abnet.translator import EMPTY, InputReport, Translator, _batches
from tests.batches import batch
from tests.conftest import TinyBerts
from tests.systems import Toys, lively_model
from tests.tiny import ENGLISH, GERMAN, make_bert, random_model, vocabulary


@pytest.fixture
def translator(tiny_model: AbNet) -> Translator:
    return Translator(tiny_model, "cpu")


def test_a_line_is_what_mask_predict_gives_for_it(translator: Translator) -> None:
    options = DecodingOptions(iterations=4, length_beam=3, n_best=2)
    model = translator.model
    assert model.source_tokenizer is not None
    expected = [mask_predict(model, batch(model.source_tokenizer, [s]), options)[0] for s in GERMAN]
    found = translator.translate_n_best(GERMAN, options)
    for hypotheses, translations in zip(expected, found, strict=True):
        for hypothesis, translation in zip(hypotheses, translations, strict=True):
            ids = [id for id in hypothesis.tokens.tolist() if id != model.target_symbols.sep]
            assert translation.text == translator.target_tokenizer.decode(ids)
            assert translation.pieces == [translator.target_tokenizer.vocabulary[i] for i in ids]
            assert translation.passes == hypothesis.passes
            assert translation.score == pytest.approx(hypothesis.score, abs=1e-4)
            assert len(translation.piece_scores) == len(ids)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 64])
def test_order_and_batches_change_nothing(translator: Translator, batch_size: int) -> None:
    lines = [GERMAN[3], "", *GERMAN, " \t\x00", GERMAN[0][:7]]
    one_by_one = [translator.translate([line])[0] for line in lines]
    assert translator.translate(lines, batch_size=batch_size) == one_by_one
    backwards = translator.translate(lines[::-1], batch_size=batch_size)
    assert backwards == one_by_one[::-1]
    assert len(set(one_by_one)) > 3


def test_options_reach_the_decoder(translator: Translator) -> None:
    one = translator.translate_n_best(GERMAN[:1], DecodingOptions(iterations=1))[0][0]
    assert one.passes == 1
    best = translator.translate(GERMAN, iterations=1, length_beam=1, length_penalty=0.5)
    options = DecodingOptions(iterations=1, length_beam=1, length_penalty=0.5)
    assert best == [found[0].text for found in translator.translate_n_best(GERMAN, options)]
    assert best != translator.translate(GERMAN, iterations=4, length_beam=4)
    forced = translator.translate_n_best(GERMAN, DecodingOptions(force_max_iterations=True))
    assert {found[0].passes for found in forced} == {10}
    assert (
        min(found[0].passes for found in translator.translate_n_best(GERMAN, DecodingOptions()))
        < 10
    )
    banned = DecodingOptions(iterations=3, force_max_iterations=True, ban_repeats=True)
    expected = [found[0].text for found in translator.translate_n_best(GERMAN, banned)]
    given = {"iterations": 3, "force_max_iterations": True, "ban_repeats": True}
    assert translator.translate(GERMAN, **given) == expected
    for one in ({"n_best": 2}, {"keep_history": True}):
        with pytest.raises(AbNetError, match="must be left out: a line gets its best translation"):
            translator.translate(GERMAN, **one)
    with pytest.raises(AbNetError, match=r"`ban_repeat` must be left out: .* knows ban_repeats"):
        translator.translate(GERMAN, ban_repeat=True)


def test_options_of_one_pass_are_told_by_name(toys: Toys) -> None:
    for name, given, options in (
        (
            "abnet_dag",
            {"beam": 4, "lm_weight": 2.0, "word_reward": 0.5},
            DagOptions(0.5, beam=4, lm_weight=2.0),
        ),
        ("abnet_ctc", {"blank_penalty": -5.0}, abnet.CtcOptions(blank_penalty=-5.0)),
    ):
        one_pass = Translator(lively_model(name, toys), "cpu")
        found = one_pass.translate(GERMAN, **given)
        assert found == [one[0].text for one in one_pass.translate_n_best(GERMAN, options)]
        assert found != one_pass.translate(GERMAN)


@pytest.mark.parametrize("name", ["abnet", "abnet_causal", "abnet_ctc", "abnet_dag"])
def test_spare_rows_of_an_embedding_table_are_no_pieces(
    name: str, toys: Toys, tmp_path: Path
) -> None:
    """Many BERTs have some, so that the table's size is a multiple of eight."""
    folder = make_bert(tmp_path / "bert", ENGLISH, seed=2)
    pieces = len(vocabulary(ENGLISH))
    random_model("bert", pieces + 7).save_pretrained(folder)
    model = lively_model(name, toys._replace(english=str(folder)))
    model.decoder.lm_head.get_parameter("bias").data[pieces:] = 100.0
    found = Translator(model, "cpu").translate_n_best(GERMAN, options_for(model.config, {}))
    scores = [score for [one] in found for score in one.piece_scores]
    assert min(scores, default=0.0) > -50.0  # the rows have no share of the probability either


def test_empty_lines_come_out_empty(translator: Translator) -> None:
    options = DecodingOptions(n_best=2)
    assert translator.translate_n_best(["", "\u2028 \x07"], options) == [[EMPTY, EMPTY]] * 2
    assert translator.translate([]) == []


def test_a_text_is_one_line_whatever_it_holds(translator: Translator) -> None:
    lines = ["שלום \u200f עולם", "a\nb", "[SEP] [MASK]", "der\u2028Hund", "\ud800"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = translator.translate(lines)
    assert len(found) == len(lines)
    assert all(len(text.splitlines()) <= 1 for text in found)
    assert found[3] == translator.translate(["der Hund"])[0]


def test_long_lines_are_cut_with_one_warning(translator: Translator) -> None:
    pieces = translator.source_tokenizer.pieces("der kleine Hund")
    word_count = translator.max_pieces // len(pieces) + 1
    long = " ".join(["der kleine Hund"] * word_count)
    with pytest.warns(UserWarning, match=r"2 lines \(the first is line 2\) are longer") as caught:
        found = translator.translate(["der Hund", long, long + " läuft"])
    assert len(caught) == 1
    assert "split long lines into sentences" in str(caught[0].message)
    assert found[1] == found[2]
    fitting = translator.source_tokenizer.encode(long)[: translator.max_pieces]
    source = torch.tensor([[*fitting, translator.model.source_symbols.sep]])
    assert source.size(1) == translator.model.max_source_positions
    expected = mask_predict(translator.model, source, DecodingOptions())[0][0]
    assert found[1] == translator.target_tokenizer.decode(expected.tokens.tolist())


def test_unknown_words_give_a_warning_and_a_line(translator: Translator) -> None:
    with pytest.warns(UserWarning, match="Line 2 is made of unknown words for the most part"):
        found = translator.translate(["der Hund", "привет мир .", "", "Hund 😀"])
    assert len(found) == 4


def test_many_unknown_words_among_others_are_told_of(translator: Translator) -> None:
    few, many = ["der Hund läuft 😀"] * 10, ["der Hund läuft 😀"] * 11
    name = translator.source_tokenizer.name
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        translator.translate(few)
    pieces = sum(map(len, translator.source_tokenizer.encode_batch(many)))
    with pytest.warns(UserWarning, match=rf"11 of {pieces} pieces are unknown: .* of {name}\?$"):
        translator.translate(many)
    decomposed = [unicodedata.normalize("NFD", "der kleine Hund läuft")] * 11
    with pytest.warns(UserWarning, match=r"are unknown: .*\(NFD\): compose them first \(NFC\)"):
        translator.translate(decomposed)


def test_a_report_collects_over_calls(translator: Translator) -> None:
    report = InputReport()
    options = DecodingOptions(iterations=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        translator.translate_n_best(["привет", "der Hund"], options, report=report)
        translator.translate_n_best(["der " * 100, "мир"], options, report=report)
    assert (report.lines, report.truncated, report.unknown) == (4, [3], [1, 4])
    assert len(report.messages(translator)) == 2


def test_long_lines_come_in_smaller_batches() -> None:
    assert list(_batches([10, 0, 256, 64, 128, 65], 4)) == [[2], [4, 5], [3, 0]]
    assert list(_batches([1000, 1000], 2)) == [[0], [1]]


def test_from_a_checkpoint_whose_berts_have_moved(
    tiny_model: AbNet, tiny_config: AbNetConfig, tiny_berts: TinyBerts, tmp_path: Path
) -> None:
    expected = Translator(tiny_model, "cpu").translate(GERMAN)
    moved = tmp_path / "moved-de"
    moved.symlink_to(tiny_berts.german)
    tiny_model.config = replace(tiny_config, source_bert=str(tmp_path / "gone"))
    save_checkpoint(tmp_path / "model.safetensors", tiny_model)
    with pytest.raises(AbNetError, match=r"gone is no folder\. .* was trained with source_bert = "):
        abnet.Translator.from_checkpoint(tmp_path / "model.safetensors")
    found = abnet.Translator.from_checkpoint(
        tmp_path / "model.safetensors", device="cpu", source_bert=str(moved)
    )
    assert found.translate(GERMAN) == expected


def test_lines_may_come_from_anything(translator: Translator) -> None:
    expected = translator.translate(GERMAN)
    assert translator.translate(line for line in GERMAN) == expected
    assert translator.translate(dict.fromkeys(GERMAN)) == expected


def test_a_model_that_trains_does_not_translate(tiny_model: AbNet) -> None:
    """Dropout would decide what it says."""
    translator = Translator(tiny_model, "cpu")
    expected = translator.translate(GERMAN)
    tiny_model.train()
    with pytest.raises(AbNetError, match="must be in evaluation mode to translate"):
        translator.translate(GERMAN)
    with pytest.raises(AbNetError, match="must be in evaluation mode to translate"):
        decode(Ensemble([tiny_model]), translator.collate([[5]]), DecodingOptions())
    tiny_model.eval()
    assert translator.translate(GERMAN) == expected


def test_lowered_weights_are_not_taken_for_whole_ones(tiny_model: AbNet) -> None:
    Translator(tiny_model, "cpu", dtype="bfloat16")
    Translator(tiny_model, "cpu", dtype="bfloat16")
    for other in ("float32", "int8"):
        with pytest.raises(
            AbNetError, match=f"`dtype` must be bfloat16, .* but is {other} instead"
        ):
            Translator(tiny_model, "cpu", dtype=other)


def test_several_threads_load_at_once(tiny_model: AbNet, tmp_path: Path) -> None:
    """Transformers alone forgets to tie weights, then and ever after."""
    save_checkpoint(tmp_path / "model.safetensors", tiny_model)
    with ThreadPoolExecutor(4) as pool:
        loaded = list(pool.map(load_checkpoint, [tmp_path / "model.safetensors"] * 8))
    loaded.append(load_checkpoint(tmp_path / "model.safetensors"))
    expected = Translator(tiny_model, "cpu").translate(GERMAN)
    for one in (loaded[0], loaded[-1]):
        assert Translator(one, "cpu").translate(GERMAN) == expected


def test_arguments_that_cannot_be(translator: Translator, tiny_model: AbNet) -> None:
    for lines in ("der Hund", None):
        with pytest.raises(AbNetError, match="must be a sequence of strings, but is of type"):
            translator.translate(lines)  # type: ignore[arg-type]
    with pytest.raises(AbNetError, match=r"`options` must be DecodingOptions .* but are dict"):
        translator.translate_n_best(["der Hund"], {"n_best": 2})  # type: ignore[arg-type]
    with pytest.raises(AbNetError, match="`rerank_weight` must go with a `reranker`"):
        Translator.from_checkpoint("some.pt", rerank_weight=0.5)
    with pytest.raises(AbNetError, match="`path` must name a checkpoint, or several, but is None"):
        Translator.from_checkpoint(None)  # type: ignore[arg-type]
    with pytest.raises(AbNetError, match="of strings, but has something else in it"):
        translator.translate(["der Hund", None])  # type: ignore[list-item]
    for value in (math.nan, math.inf):
        with pytest.raises(AbNetError, match="`length_penalty` must be a finite number, but is"):
            translator.translate(["der Hund"], length_penalty=value)
    for size in (0, 1.5, None, "4"):
        with pytest.raises(AbNetError, match=r"`batch_size` must be (a whole number|at least 1)"):
            translator.translate(["der Hund"], batch_size=size)  # type: ignore[arg-type]
    with pytest.raises(AbNetError, match="`length_beam` must be between 1 and the"):
        translator.translate(["der Hund"], length_beam=500)
    for device in ("nowhere", 1.5):
        with pytest.raises(AbNetError, match="`device` must be one that this torch can use"):
            Translator(tiny_model, device)  # type: ignore[arg-type]
    tiny_model.source_tokenizer = None
    with pytest.raises(AbNetError, match="`model` must have tokenizers"):
        Translator(tiny_model)
