"""`fairseq-train`: starting, resuming, precision, small data, and what must not go on silently."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForMaskedLM

from abnet.errors import AbNetError
from tests.conftest import TinyBerts
from tests.fairseq_plugins.commands import failing_train, logged, run, train
from tests.fairseq_plugins.conftest import Corpus, Trained, preprocess, sentence_pairs, write_corpus
from tests.tiny import ENGLISH, GERMAN, make_bert

NO_DROPOUT = ("--bert-dropout", "0", "--adapter-dropout", "0")
QUICK = ("--disable-validation", "--no-epoch-checkpoints")
BEST_BLEU = (
    *("--best-checkpoint-metric", "bleu", "--maximize-best-checkpoint-metric"),
    "--eval-bleu",
)


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(checkpoint, weights_only=True)["model"]
    return state


def assert_same_weights(one: Path, other: Path, tolerance: float = 0.0) -> None:
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=tolerance, msg=name)


def with_other_weights(bert: str, folder: Path) -> Path:
    """A BERT of the same shape and vocabulary."""
    shutil.copytree(bert, folder)
    model = AutoModelForMaskedLM.from_pretrained(bert)
    with torch.no_grad():
        model.base_model.embeddings.word_embeddings.weight[7, 0] += 0.01
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("precision", ["", "--bf16", "--fp16"])
def test_resuming_equals_going_on(
    corpus: Corpus, tiny_berts: TinyBerts, tmp_path: Path, precision: str
) -> None:
    once, twice = tmp_path / "once", tmp_path / "twice"
    options = (*NO_DROPOUT, *QUICK, "--source-noise", "0.1", *precision.split())
    train(corpus.data_bin, once, tiny_berts, *options, "--max-update", 8)
    train(corpus.data_bin, twice, tiny_berts, *options, "--max-update", 2)
    for epoch, updates, until in ((1, 2, 6), (2, 6, 8)):
        output = train(corpus.data_bin, twice, tiny_berts, *options, "--max-update", until)
        assert f"checkpoint_last.pt (epoch {epoch} @ {updates} updates)" in output
    assert_same_weights(once / "checkpoint_last.pt", twice / "checkpoint_last.pt")
    trained = weights(twice / "checkpoint_last.pt")
    del trained["abnet.bert_identity"]
    assert {tensor.dtype for tensor in trained.values()} == {torch.float32}


def test_a_step_changes_trained_weights_only_and_all_of_them(
    corpus: Corpus, tiny_berts: TinyBerts, tmp_path: Path
) -> None:
    for updates in (1, 2):
        train(corpus.data_bin, tmp_path / str(updates), tiny_berts, *QUICK, "--max-update", updates)
    before, after = (weights(tmp_path / n / "checkpoint_last.pt") for n in "12")
    same = [name for name, tensor in before.items() if torch.equal(tensor, after[name])]
    assert same == ["abnet.bert_identity"]  # of the very same BERTs


def test_validation_is_fixed(corpus: Corpus, tiny_berts: TinyBerts, tmp_path: Path) -> None:
    """Two validations of one model agree, whatever was drawn in between."""
    output = train(
        corpus.data_bin, tmp_path, tiny_berts,
        "--lr", "1e-30", "--max-update", 3, "--validate-interval-updates", 1,
        "--source-noise", "0.5", "--target-noise", "bert", "--no-save",
    )  # fmt: skip
    losses = logged(output, "valid", "loss")
    assert len(losses) == 3
    assert len(set(losses)) == 1
    assert len(set(logged(output, "train_inner", "loss"))) == 3


@pytest.mark.parametrize(
    "flags", [("--bf16",), ("--amp",), ("--fp16", "--fp16-no-flatten-grads")], ids=" ".join
)
def test_mixed_precision(
    corpus: Corpus, tiny_berts: TinyBerts, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    options = (*NO_DROPOUT, "--max-update", 4, "--no-epoch-checkpoints", "--eval-bleu")
    exact = train(corpus.data_bin, tmp_path / "fp32", tiny_berts, *options, "--no-save")
    output = train(corpus.data_bin, tmp_path / "mixed", tiny_berts, *options, *flags)
    assert ("`--amp` does nothing without a GPU" in output) == ("--amp" in flags)
    for tag in ("train_inner", "valid"):
        losses = logged(output, tag, "loss")
        assert losses == pytest.approx(logged(exact, tag, "loss"), rel=0.02)
    last = tmp_path / "mixed" / "checkpoint_last.pt"
    resumed = train(
        corpus.data_bin, tmp_path / "mixed", tiny_berts, *options, *flags, "--max-update", 5
    )
    assert len(logged(resumed, "train_inner", "loss")) == 1
    half = ("--fp16",) if "--fp16" in flags else ()
    decoded = run("generate", corpus.data_bin, "--path", last, "--cpu", "--num-workers", 0, *half)
    assert "Translated 13 sentences" in decoded


@pytest.mark.parametrize("sentences", [1, 3])
def test_tiny_data(tiny_berts: TinyBerts, tmp_path: Path, sentences: int) -> None:
    splits = {s: sentence_pairs(sentences, n) for n, s in enumerate(("train", "valid", "test"))}
    corpus = write_corpus(tmp_path, tiny_berts, splits)
    folder = tmp_path / "checkpoints"
    output = train(corpus.data_bin, folder, tiny_berts, "--update-freq", 2, "--eval-bleu")
    assert logged(output, "valid", "bsz")[-1] == sentences
    last = folder / "checkpoint_last.pt"
    output = run("generate", corpus.data_bin, "--path", last, "--cpu", "--num-workers", 0)
    assert f"Translated {sentences} sentences" in output


def test_best_bleu_of_nothing_is_zero(tiny_berts: TinyBerts, tmp_path: Path) -> None:
    """Empty sources alone have empty translations: no word to count, and training goes on."""
    splits = {"train": sentence_pairs(8, 1), "valid": [("", "the little dog"), ("", "a man")]}
    corpus = write_corpus(tmp_path, tiny_berts, splits)
    output = train(
        corpus.data_bin, tmp_path / "checkpoints", tiny_berts, "--eval-bleu",
        "--best-checkpoint-metric", "bleu", "--maximize-best-checkpoint-metric",
    )  # fmt: skip
    assert set(logged(output, "valid", "bleu")) == {0.0}


def test_long_and_empty_lines_in_training(tiny_berts: TinyBerts, tmp_path: Path) -> None:
    long = (" ".join(GERMAN * 2), " ".join(ENGLISH * 2))
    splits = {
        "train": [*sentence_pairs(8, 1), long, ("", "a man"), ("ein Mann", "")],
        "valid": [*sentence_pairs(2, 2), long, ("", "a man"), ("ein Mann", "")],
    }
    corpus = write_corpus(tmp_path, tiny_berts, splits)
    output = train(corpus.data_bin, tmp_path / "checkpoints", tiny_berts, "--eval-bleu")
    assert "1 samples have invalid sizes and will be skipped" in output
    assert output.count("1 of 5 source sentences are longer than the 48 tokens that fit") == 1
    assert logged(output, "valid", "bsz")[-1] == 2.5  # five sentences in two batches
    assert logged(output, "train", "bsz")[-1] == 10


def test_patience_and_plain_optimizers(
    corpus: Corpus, tiny_berts: TinyBerts, tmp_path: Path
) -> None:
    """An optimizer whose options fairseq keeps as a Namespace; it is resumed too."""
    options = ("--optimizer", "adadelta", "--lr", "1e-30", "--patience", 2)
    output = train(corpus.data_bin, tmp_path, tiny_berts, *options, "--max-update", 100)
    assert "early stop since valid performance hasn't improved for last 2 runs" in output
    assert len(logged(output, "valid", "loss")) == 3
    output = train(corpus.data_bin, tmp_path, tiny_berts, *options, "--max-update", 13)
    assert "Loaded checkpoint" in output


@pytest.mark.parametrize("format", ["cached", "lazy"])
def test_data_bin_of_older_formats(
    corpus: Corpus, tiny_berts: TinyBerts, tmp_path: Path, format: str
) -> None:
    prefixes = [a for s in ("train", "valid") for a in (f"--{s}pref", corpus.pieces / s)]
    preprocess(tmp_path / "data", tiny_berts, *prefixes, "--dataset-impl", format)
    found, expected = (
        train(data, tmp_path / "run", tiny_berts, "--no-save", "--max-update", 2)
        for data in (tmp_path / "data", corpus.data_bin)
    )
    assert logged(found, "valid", "loss") == logged(expected, "valid", "loss")
    with pytest.raises(AssertionError, match="Make sure that --dataset-impl is configured prop"):
        train(corpus.data_bin, tmp_path / "run", tiny_berts, "--dataset-impl", format)


# What must be an error


def test_missing_restore_file(
    corpus: Corpus, trained: Trained, tiny_berts: TinyBerts, tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoints"
    with pytest.raises(AbNetError, match="`--restore-file` must be an existing checkpoint"):
        train(corpus.data_bin, folder, tiny_berts, "--restore-file", "old/checkpoint7.pt")
    assert not folder.exists()
    with pytest.raises(AbNetError, match=r"There is a .*checkpoint2\.pt\."):
        train(corpus.data_bin, trained.folder, tiny_berts, "--restore-file", "checkpoint2.pt")


def test_missing_finetune_from_model(corpus: Corpus, tiny_berts: TinyBerts, tmp_path: Path) -> None:
    with pytest.raises(AbNetError, match="`--finetune-from-model` must be an existing checkpoint"):
        train(corpus.data_bin, tmp_path, tiny_berts, "--finetune-from-model", "nowhere.pt")


SAME_SHAPE = ("--arch", "abnet_released_iwslt_de_en", "--decoder-adapter-ffn-dim", "24")


def test_finetune_and_reset_take_the_weights_over(
    corpus: Corpus, trained: Trained, tiny_berts: TinyBerts, tmp_path: Path
) -> None:
    frozen = (*SAME_SHAPE, "--lr", "1e-30", "--max-update", 1, *QUICK)
    start = ("--finetune-from-model", trained.checkpoint)
    output = train(corpus.data_bin, tmp_path / "a", tiny_berts, *frozen, *start)
    assert "optimizer, lr scheduler, meters, dataloader will be reset" in output
    assert_same_weights(tmp_path / "a" / "checkpoint_last.pt", trained.checkpoint)
    resets = [f"--reset-{what}" for what in ("optimizer", "lr-scheduler", "dataloader", "meters")]
    start = ("--restore-file", trained.checkpoint, *resets)
    train(corpus.data_bin, tmp_path / "b", tiny_berts, *frozen, *start)
    assert_same_weights(tmp_path / "b" / "checkpoint_last.pt", trained.checkpoint)
    state = torch.load(tmp_path / "b" / "checkpoint_last.pt")
    assert state["optimizer_history"][-1]["num_updates"] == 1


def test_resume_of_another_shape(
    corpus: Corpus, trained: Trained, tiny_berts: TinyBerts, tmp_path: Path
) -> None:
    start = ("--restore-file", trained.checkpoint, *BEST_BLEU, "--max-update", 99)
    other = (*SAME_SHAPE, "--encoder-adapter-dim", 8)
    message = r"must have the shape \(8, .*, but has \(16, .* in the checkpoint"
    output = failing_train(corpus.data_bin, tmp_path, tiny_berts, *other, *start)
    assert_matches(message, output)
    with pytest.raises(AbNetError, match="`--decoder-adapter-norm` must be 'post' as in the check"):
        train(
            corpus.data_bin, tmp_path, tiny_berts,
            *SAME_SHAPE, "--decoder-adapter-norm", "pre", *start,
        )  # fmt: skip


def test_resume_with_another_bert(
    corpus: Corpus, trained: Trained, tiny_berts: TinyBerts, tmp_path: Path
) -> None:
    other = with_other_weights(tiny_berts.english, tmp_path / "bert")
    output = failing_train(
        corpus.data_bin, tmp_path / "run", TinyBerts(tiny_berts.german, str(other)),
        *SAME_SHAPE, "--finetune-from-model", trained.checkpoint,
    )  # fmt: skip
    assert_matches(
        "ERROR .* The weights of the target BERT must be what the checkpoint was trained on",
        output,
    )


def test_moved_and_changed_berts_in_generation(
    corpus: Corpus, trained: Trained, tiny_berts: TinyBerts, tmp_path: Path
) -> None:
    def generate(**berts: str) -> str:
        return run(
            "generate", corpus.data_bin, "--path", trained.checkpoint, "--cpu",
            "--num-workers", 0, "--model-overrides", str(berts),
        )  # fmt: skip

    moved = shutil.copytree(tiny_berts.german, tmp_path / "moved")
    assert "Translated 13 sentences" in generate(source_bert=str(moved))
    with pytest.raises(AbNetError, match=r"no folder.*one has moved, add `--model-overrides"):
        generate(source_bert=str(tmp_path / "gone"))
    other = with_other_weights(tiny_berts.german, tmp_path / "other")
    with pytest.raises(AbNetError, match="The weights of the source BERT must be what"):
        generate(source_bert=str(other))


def test_truncated_checkpoint(
    corpus: Corpus, trained: Trained, tiny_berts: TinyBerts, tmp_path: Path
) -> None:
    whole = trained.checkpoint.read_bytes()
    damaged = tmp_path / "checkpoint_last.pt"
    shutil.copy(trained.checkpoint, tmp_path / "checkpoint3.pt")
    for content in (whole[: len(whole) // 2], b"", whole[:20000] + b"x" * 99 + whole[20099:]):
        damaged.write_bytes(content)
        message = r"truncated, damaged .* Whole ones beside it: checkpoint3\.pt\."
        with pytest.raises(AbNetError, match=message):
            train(corpus.data_bin, tmp_path, tiny_berts, *SAME_SHAPE)
        with pytest.raises(AbNetError, match=message):
            run("generate", corpus.data_bin, "--path", damaged, "--cpu")
    assert damaged.stat().st_size == len(whole)  # nothing was written over it


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("executed",)


def test_checkpoint_with_code_is_not_executed(
    corpus: Corpus, trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = torch.load(trained.checkpoint)
    torch.save({**state, "extra_state": Malicious()}, tmp_path / "checkpoint.pt")
    for command in ("generate", "validate"):
        with pytest.raises(AbNetError, match="objects that would need code to be executed"):
            run(command, corpus.data_bin, "--path", tmp_path / "checkpoint.pt", "--cpu")
    assert "executed" not in capsys.readouterr().out


def test_checkpoint_of_another_model(corpus: Corpus, trained: Trained, tmp_path: Path) -> None:
    state = torch.load(trained.checkpoint)
    state["cfg"]["model"]["_name"] = "transformer"
    torch.save(state, tmp_path / "checkpoint.pt")
    with pytest.raises(AbNetError, match=r"must be one of AB-Net .* but is 'transformer' instead"):
        run("generate", corpus.data_bin, "--path", tmp_path / "checkpoint.pt", "--cpu")
    state["cfg"]["model"]["_name"] = "abnet"
    del state["model"]["abnet.bert_identity"]
    torch.save(state, tmp_path / "checkpoint.pt")
    with pytest.raises(AbNetError, match="must be one of AB-Net, but records no BERTs"):
        run("generate", corpus.data_bin, "--path", tmp_path / "checkpoint.pt", "--cpu")


def test_data_bin_of_another_task(corpus: Corpus, tiny_berts: TinyBerts, tmp_path: Path) -> None:
    run(
        "preprocess", "--task", "translation", "-s", "de", "-t", "en", "--workers", 1,
        "--trainpref", corpus.pieces / "train", "--validpref", corpus.pieces / "valid",
        "--destdir", tmp_path / "data",
    )  # fmt: skip
    with pytest.raises(AbNetError, match=r"dict\.de\.txt must be the vocabulary of a BERT"):
        train(tmp_path / "data", tmp_path / "run", tiny_berts)
    for language in ("de", "en"):  # as if only the dictionaries had been put right
        shutil.copy(corpus.data_bin / f"dict.{language}.txt", tmp_path / "data")
    with pytest.raises(AbNetError, match="made for another task or another BERT"):
        train(tmp_path / "data", tmp_path / "run", tiny_berts)


def test_data_bin_of_another_bert(corpus: Corpus, tiny_berts: TinyBerts, tmp_path: Path) -> None:
    other = make_bert(tmp_path / "bert", [*ENGLISH, "zebra"], seed=2, hidden=24)
    with pytest.raises(
        AbNetError, match=r"target dictionary of the data-bin .* differ from id \d+"
    ):
        train(corpus.data_bin, tmp_path / "run", (tiny_berts.german, str(other)))


def test_sides_of_different_length(corpus: Corpus, tiny_berts: TinyBerts, tmp_path: Path) -> None:
    for language, split in (("de", "train"), ("en", "valid")):
        shutil.copy(corpus.pieces / f"{split}.{language}", tmp_path / f"train.{language}")
        shutil.copy(corpus.pieces / f"valid.{language}", tmp_path / f"valid.{language}")
    prefixes = ("--trainpref", tmp_path / "train", "--validpref", tmp_path / "valid")
    preprocess(tmp_path / "data", tiny_berts, *prefixes)
    with pytest.raises(AbNetError, match=r"two sides of train in .* must have the same number"):
        train(tmp_path / "data", tmp_path / "run", tiny_berts)


def test_text_that_is_not_in_pieces(corpus: Corpus, tiny_berts: TinyBerts, tmp_path: Path) -> None:
    """Raw words are mostly unknown: a warning in validation, an error in training."""
    prefixes = ("--trainpref", corpus.pieces / "train", "--validpref", corpus.raw / "valid")
    preprocess(tmp_path / "valid", tiny_berts, *prefixes)
    output = train(tmp_path / "valid", tmp_path / "run", tiny_berts, "--no-save")
    assert_matches(r"WARNING .* [\d.]+% of the pieces on the de side of valid .* \[UNK\]", output)
    for language in ("de", "en"):
        text = (corpus.raw / f"train.{language}").read_text(encoding="utf-8")
        (tmp_path / f"capitals.{language}").write_text(text.upper(), encoding="utf-8")
    prefixes = ("--trainpref", tmp_path / "capitals", "--validpref", corpus.pieces / "valid")
    preprocess(tmp_path / "train", tiny_berts, *prefixes)
    with pytest.raises(AbNetError, match=r"% of the pieces on the de side of train .* \[UNK\]"):
        train(tmp_path / "train", tmp_path / "run", tiny_berts)


def test_vocabulary_is_not_learned(corpus: Corpus, tiny_berts: TinyBerts, tmp_path: Path) -> None:
    with pytest.raises(AbNetError, match="`--srcdict` and `--tgtdict` must be the BERTs"):
        run(
            "preprocess", "-s", "de", "-t", "en", "--destdir", tmp_path,
            "--trainpref", corpus.pieces / "train",
        )  # fmt: skip


def test_another_architecture_in_this_task(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(AbNetError, match=r"must be one of AB-Net .* but is 'transformer' instead"):
        run(
            "train", corpus.data_bin, "--save-dir", tmp_path, "--arch", "transformer", "--cpu",
            "--optimizer", "adam", "--max-tokens", 100,
        )  # fmt: skip


def test_bert_must_be_given(corpus: Corpus, tiny_berts: TinyBerts, tmp_path: Path) -> None:
    with pytest.raises(AbNetError, match="`source_bert` must be a Hugging Face name"):
        train(corpus.data_bin, tmp_path, ("", tiny_berts.english))


def assert_matches(pattern: str, output: str) -> None:
    assert re.search(pattern, output), output[-3000:]
