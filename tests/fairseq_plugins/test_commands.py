"""The five commands on one small corpus."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from abnet.checkpoint import load_checkpoint
from abnet.config import CONFIG_FIELDS
from abnet.decoding.mask_predict import DecodingOptions, mask_predict
from abnet.errors import AbNetError
from abnet.systems import PRESETS
from abnet.tokenizer import Tokenizer
from abnet.translator import InputReport, Translator
from tests.conftest import TinyBerts
from tests.fairseq_plugins.commands import lines, logged, run, train
from tests.fairseq_plugins.conftest import (
    EMPTY,
    OVERLONG,
    UNKNOWN,
    Corpus,
    Trained,
    preprocess,
)


@pytest.fixture(scope="session")
def generated(corpus: Corpus, trained: Trained) -> str:
    return generate(corpus, trained, "--batch-size", 5)


def generate(corpus: Corpus, trained: Trained, *arguments: object) -> str:
    return run(
        "generate",
        *(corpus.data_bin, "--path", trained.checkpoint, "--cpu", "--num-workers", 0),
        *("--iter-decode-with-beam", 3),
        *arguments,
    )


def test_training_logs_what_it_learns(trained: Trained) -> None:
    assert len(logged(trained.output, "train_inner", "loss")) == 9
    for name in ("nll_loss", "ppl", "length_loss", "length_accuracy", "masked_accuracy"):
        assert logged(trained.output, "valid", name), name
    assert (
        max(logged(trained.output, "valid", "bleu"))
        == logged(trained.output, "valid", "best_bleu")[-1]
    )
    (events,) = (trained.folder / "tensorboard" / "valid").glob("events.out.*")
    assert all(name in events.read_bytes() for name in (b"bleu", b"length_loss"))


def test_checkpoints_kept(trained: Trained) -> None:
    names = {path.name for path in trained.folder.glob("*.pt")}
    # An epoch has four updates. The first epoch's file was removed by --keep-last-epochs 1.
    of_epochs, of_updates = {"2"}, {"_1_3", "_2_6", "_3_9"}
    kept = of_epochs | of_updates | {"_best", "_last"}
    assert names == {f"checkpoint{name}.pt" for name in kept}


def test_checkpoint_holds_trained_weights_and_identity_alone(
    trained: Trained, tiny_berts: TinyBerts
) -> None:
    state = torch.load(trained.checkpoint, weights_only=True)
    model = load_checkpoint(trained.checkpoint)
    expected = {"abnet." + name for name in model.trained_state_dict()}
    assert state["model"].keys() == expected | {"abnet.bert_identity"}
    task = state["cfg"]["task"]
    assert (task["source_lang"], task["target_lang"]) == ("de", "en")  # as its data have it
    trained_bytes = sum(p.numel() * 4 for p in model.parameters() if p.requires_grad)
    stored = sum(t.untyped_storage().nbytes() for t in state["model"].values())
    assert trained_bytes < stored <= 1.02 * trained_bytes
    adam = list(state["last_optimizer_state"]["state"].values())
    for moment in ("exp_avg", "exp_avg_sq"):
        assert sum(one[moment].numel() * 4 for one in adam) == trained_bytes
    assert set(CONFIG_FIELDS) <= state["cfg"]["model"].keys()


def test_preset_and_command_line_survive_the_checkpoint(trained: Trained) -> None:
    config = load_checkpoint(trained.checkpoint).config
    preset = dict(PRESETS["abnet_released_iwslt_de_en"])
    for name, value in {
        "decoder_adapter_ffn_dim": 24,
        "encoder_adapter_dim": 16,
        "length_classes": 48,
    }.items():
        assert preset.pop(name) != value
        assert getattr(config, name) == value
    assert {name: getattr(config, name) for name in preset} == preset


def test_every_sentence_comes_out_once(generated: str, corpus: Corpus) -> None:
    for kind in "STHDP":
        found = lines(generated, kind)
        assert sorted(found) == list(range(13)), kind
        assert all(len(texts) == 1 for texts in found.values()), kind
    assert "Translated 13 sentences" in generated
    raw = (corpus.raw / "test.en").read_text(encoding="utf-8").splitlines()
    assert [re.sub(r" ([.,])", r"\1", line) for line in raw] == [
        lines(generated, "T")[line][0] for line in range(13)
    ]


def test_translations_differ_from_line_to_line(generated: str) -> None:
    assert len({text for (text,) in lines(generated, "D").values()}) > 6


def test_unusual_lines(generated: str) -> None:
    assert lines(generated, "D")[EMPTY] == [""]
    assert lines(generated, "S")[UNKNOWN] == ["[UNK] [UNK] [UNK]"]
    assert lines(generated, "D")[UNKNOWN] != [""]
    assert generated.count("1 of 13 source sentences are longer than the 48 tokens") == 1
    assert len(lines(generated, "S")[OVERLONG][0].split()) < 48


@pytest.mark.parametrize("flags", [(), ("--max-tokens", 10), ("--required-batch-size-multiple", 8)])
def test_batching_changes_nothing(
    generated: str, corpus: Corpus, trained: Trained, flags: tuple[object, ...]
) -> None:
    other = generate(corpus, trained, *flags)
    for kind in "SHDT":
        assert lines(other, kind) == lines(generated, kind)


@pytest.mark.parametrize("buffer_size", [1, 6])
def test_interactive_equals_generate(
    generated: str, corpus: Corpus, trained: Trained, buffer_size: int
) -> None:
    interactive = run(
        "interactive",
        *(corpus.data_bin, "--path", trained.checkpoint, "--cpu", "--iter-decode-with-beam", 3),
        *("--input", corpus.raw / "test.de"),
        *("--buffer-size", buffer_size, "--batch-size", min(buffer_size, 4)),
    )
    for kind in "HD":
        assert lines(interactive, kind) == lines(generated, kind)
    expected, found = lines(generated, "P"), lines(interactive, "P")
    for line, (scores,) in expected.items():
        assert list(map(float, found[line][0].split())) == pytest.approx(
            list(map(float, scores.split())), abs=2e-4
        )


def test_generate_equals_the_library(
    generated: str, corpus: Corpus, trained: Trained, tiny_berts: TinyBerts
) -> None:
    model = load_checkpoint(trained.checkpoint)
    source = Tokenizer.from_pretrained(tiny_berts.german)
    for line, text in enumerate((corpus.raw / "test.de").read_text(encoding="utf-8").splitlines()):
        if line in (EMPTY, OVERLONG):
            continue
        ids = torch.tensor([[*source.encode(text), source.symbols.sep]])
        ((best,),) = mask_predict(model, ids, DecodingOptions(length_beam=3))
        assert model.target_tokenizer.decode(best.tokens.tolist()) == lines(generated, "D")[line][0]


@pytest.mark.parametrize(
    ("flags", "options"),
    [
        (("--iter-decode-length-weight", 5), {"length_weight": 5.0}),
        (("--iter-decode-lm-weight", 2), {"lm_weight": 2.0}),
        (("--iter-decode-ban-repeats",), {"ban_repeats": True}),
        (("--iter-decode-repredict",), {"repredict": True}),
        (("--iter-decode-rescore-weight", 2), {"rescore_weight": 2.0}),
    ],
)
def test_decoding_flags_of_the_task(
    generated: str,
    corpus: Corpus,
    trained: Trained,
    tiny_berts: TinyBerts,
    flags: tuple[object, ...],
    options: dict[str, Any],
) -> None:
    output = generate(corpus, trained, *flags)
    assert lines(output, "H") != lines(generated, "H")
    model = load_checkpoint(trained.checkpoint)
    source = Tokenizer.from_pretrained(tiny_berts.german)
    text = (corpus.raw / "test.de").read_text(encoding="utf-8").splitlines()
    for line in set(range(13)) - {EMPTY, OVERLONG}:
        ids = torch.tensor([[*source.encode(text[line]), source.symbols.sep]])
        ((best,),) = mask_predict(model, ids, DecodingOptions(length_beam=3, **options))
        assert model.target_tokenizer.decode(best.tokens.tolist()) == lines(output, "D")[line][0]


def test_n_best_history_and_steps(generated: str, corpus: Corpus, trained: Trained) -> None:
    output = generate(
        corpus, trained, "--nbest", 2, "--retain-iter-history", "--print-step",
        "--iter-decode-max-iter", 3, "--iter-decode-force-max-iter", "--iter-decode-patience", 1,
    )  # fmt: skip
    assert {len(texts) for line, texts in lines(output, "H").items() if line != EMPTY} == {2}
    assert len(lines(output, "H")[EMPTY]) == 1
    steps = {line: set(texts) for line, texts in lines(output, "I").items() if line != EMPTY}
    assert set().union(*steps.values()) == {"3"}
    history = re.findall(r"^E-0_(\d)\t(.*)$", output, re.MULTILINE)
    assert [number for number, _ in history] == ["0", "1", "2"] * 2
    assert "[MASK]" not in "".join(text for _, text in history)
    # the last pass is the hypothesis
    assert [text for number, text in history if number == "2"] == lines(output, "H")[0]


def test_all_passes_are_made_only_where_they_are_asked_for(
    corpus: Corpus, trained: Trained
) -> None:
    def steps(*flags: object) -> set[str]:
        output = generate(corpus, trained, "--print-step", "--iter-decode-patience", 1, *flags)
        found = lines(output, "I").items()
        return set().union(*(texts for line, texts in found if line != EMPTY))

    assert steps("--iter-decode-force-max-iter") == {"10"}
    assert len(steps()) > 1


def test_length_penalty_reorders(corpus: Corpus, trained: Trained) -> None:
    def mean_length(penalty: float) -> float:
        output = generate(corpus, trained, "--lenpen", penalty)
        return sum(len(texts[0].split()) for texts in lines(output, "P").values()) / 13

    assert mean_length(0.0) < mean_length(3.0)


def test_validate_equals_the_last_validation(corpus: Corpus, trained: Trained) -> None:
    output = run(
        "validate",
        *(corpus.data_bin, "--path", trained.checkpoint, "--cpu", "--num-workers", 0),
        *("--max-tokens", 200, "--valid-subset", "valid,test"),
    )
    for name in ("loss", "nll_loss", "length_loss", "bleu"):
        assert logged(output, "valid", name)[0] == logged(trained.output, "valid", name)[-1]
    assert logged(output, "test", "bsz") == [13]


def test_bleu_is_of_raw_text(corpus: Corpus, trained: Trained) -> None:
    """`--eval-bleu` on the last checkpoint equals sacreBLEU on what `fairseq-generate` prints."""
    from sacrebleu.metrics import BLEU

    output = generate(corpus, trained, "--gen-subset", "valid", "--iter-decode-with-beam", 2)
    hypotheses, references = ([t[0] for _, t in sorted(lines(output, k).items())] for k in "DT")
    score = round(BLEU().corpus_score(hypotheses, [references]).score, 2)
    assert logged(trained.output, "valid", "bleu")[-1] == score


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--print-alignment",), "`--print-alignment` must be left out, .* has no attention"),
        (("--sampling", "--nbest", 5), "`--sampling` must be left out"),
        (("--beam", 4), "--iter-decode-with-beam is the number of lengths"),
        (("--iter-decode-eos-penalty", 1), "eos-penalty` .* models that insert and delete words"),
        (("--iter-decode-with-external-reranker",), "`--path` must be at least two checkpoints"),
        (("--iter-decode-rerank-weight", 1), "rerank-weight` must go with `--iter-decode-with-ext"),
        (("--iter-decode-max-iter", 0), "`--iter-decode-max-iter` must be at least 1, but is 0"),
        (("--iter-decode-patience", 0), "`--iter-decode-patience` must be at least 1, but is 0"),
        (("--sacrebleu",), "`--sacrebleu` must be left out, .*: `--scoring sacrebleu` is what"),
        (("--prefix-size", 2), "`--prefix-size` must be left out"),
        (("--constraints",), "`--constraints` must be left out"),
        (("--nbest", 4), "`--nbest` must be at most `--iter-decode-with-beam` = 3, but is 4"),
        (("--iter-decode-with-beam", 48), "with-beam` must be between 1 and the 47 lengths"),
        (("--post-process", "wordpiece"), "`--post-process` must be left out"),
        (("--bpe", "bert"), "`--bpe` must be left out, but is 'bert'"),
        (("--dataset-impl", "raw"), "`--dataset-impl` must be a binary one"),
        (("--left-pad-source",), "`--left-pad-source` must be left out"),
    ],
)
def test_refuses_what_has_no_meaning(
    corpus: Corpus, trained: Trained, flags: tuple[object, ...], message: str
) -> None:
    with pytest.raises(AbNetError, match=message):
        generate(corpus, trained, *flags)


@pytest.mark.parametrize("command", ["generate", "interactive", "validate"])
def test_a_checkpoint_must_be_named(corpus: Corpus, trained: Trained, command: str) -> None:
    with pytest.raises(AbNetError, match=r"`--path` must be the checkpoint .*, but is missing"):
        run(command, corpus.data_bin, "--cpu")
    with pytest.raises(AbNetError, match=r"`--path` must be the checkpoint .*, but is missing"):
        run(command, corpus.data_bin, "--cpu", "--path", "")
    gone = trained.folder / "checkpoint77.pt"
    with pytest.raises(AbNetError, match=r"there is no .*77\.pt\. There are .*checkpoint_last\.pt"):
        run(command, corpus.data_bin, "--cpu", "--path", gone)


def test_what_data_must_be(
    corpus: Corpus, trained: Trained, tiny_berts: TinyBerts, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    with pytest.raises(AbNetError, match=f"DATA must be a folder .*, but there is no {gone}"):
        train(gone, tmp_path, tiny_berts)
    with pytest.raises(AbNetError, match=f"DATA must be a folder .*, but there is no {gone}"):
        train(f"{corpus.data_bin}:{gone}", tmp_path, tiny_berts)
    for command in ("generate", "interactive", "validate"):
        with pytest.raises(AbNetError, match=f"DATA must be a folder .* there is no {gone}"):
            run(command, gone, "--path", trained.checkpoint, "--cpu", "--batch-size", 1)
    with pytest.raises(AbNetError, match=r"must be given: .* holds no pair of binarized files"):
        run("generate", tmp_path, "--path", trained.checkpoint, "--cpu", "-s", "de")
    with pytest.raises(AbNetError, match=r"must be given both or be those of .* from de to en"):
        run("generate", corpus.data_bin, "--path", trained.checkpoint, "--cpu", "-s", "fr")


def test_our_own_bpe_by_name(generated: str, corpus: Corpus, trained: Trained) -> None:
    output = generate(corpus, trained, "--bpe", "abnet", "--batch-size", 5)
    assert lines(output, "D") == lines(generated, "D")


def test_scores_of_pieces_and_of_words(generated: str, corpus: Corpus, trained: Trained) -> None:
    from sacrebleu.metrics import BLEU

    warning = "the BLEU4 at the end will be of pieces"
    assert generated.count(warning) == 1
    output = generate(corpus, trained, "--scoring", "sacrebleu")
    assert warning not in output
    hypotheses, references = ([t[0] for _, t in sorted(lines(output, k).items())] for k in "DT")
    score = BLEU().corpus_score(hypotheses, [references]).score
    assert f"BLEU = {score:.2f} " in output


def test_overlong_sources_can_be_skipped(corpus: Corpus, trained: Trained) -> None:
    output = generate(corpus, trained, "--skip-invalid-size-inputs-valid-test")
    assert sorted(lines(output, "H")) == sorted(set(range(13)) - {OVERLONG})
    assert "1 samples have invalid sizes and will be skipped" in output
    assert "are cut there" not in output


def test_two_checkpoints_are_an_ensemble(
    generated: str, corpus: Corpus, trained: Trained, tiny_berts: TinyBerts, tmp_path: Path
) -> None:
    shape = ("--arch", "abnet_iwslt_de_en", "--length-classes", 40, "--lr", 0.05)
    train(corpus.data_bin, tmp_path, tiny_berts, *shape, "--seed", 2)
    paths = [trained.checkpoint, tmp_path / "checkpoint_last.pt"]
    output = generate(corpus, trained, "--path", ":".join(map(str, paths)))
    translator = Translator.from_checkpoint(paths, "cpu")
    sources = (corpus.raw / "test.de").read_text(encoding="utf-8").splitlines()
    options = DecodingOptions(length_beam=3)
    expected = translator.translate_n_best(sources, options, report=InputReport())
    found = lines(output, "H")
    for row, (best,) in enumerate(expected):
        if row not in (EMPTY, OVERLONG, UNKNOWN):
            assert found[row] == [" ".join(best.pieces)]
    assert lines(generated, "H") != found


def test_source_alone_can_be_decoded(
    generated: str, corpus: Corpus, trained: Trained, tiny_berts: TinyBerts, tmp_path: Path
) -> None:
    folder = tmp_path / "source-only"
    preprocess(folder, tiny_berts, "--only-source", "--testpref", corpus.pieces / "test")
    (folder / "dict.en.txt").write_bytes((corpus.data_bin / "dict.en.txt").read_bytes())
    output = run(
        "generate",
        *(folder, "--path", trained.checkpoint, "--cpu", "-s", "de", "-t", "en"),
        *("--num-workers", 0, "--iter-decode-with-beam", 3),
    )
    assert lines(output, "T") == {}
    assert lines(output, "D") == lines(generated, "D")
