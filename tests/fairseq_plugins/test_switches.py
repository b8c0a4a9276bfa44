"""fairseq's own switches: each keeps its meaning, or says that it has none here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from abnet.errors import AbNetError
from fairseq_plugins.models.abnet_model import AbNetModel
from tests.conftest import TinyBerts
from tests.fairseq_plugins.commands import logged, run, train
from tests.fairseq_plugins.conftest import Corpus, Trained
from tests.fairseq_plugins.test_training import BEST_BLEU, QUICK, SAME_SHAPE


def test_fp16_without_a_gpu(corpus: Corpus, tiny_berts: TinyBerts, tmp_path: Path) -> None:
    """The loss scale does not grow, since fairseq cannot go on after an overflow there."""
    flags = ("--no-save", "--fp16", "--fp16-scale-window", 1)
    output = train(corpus.data_bin, tmp_path, tiny_berts, *QUICK, *flags)
    assert logged(output, "train_inner", "loss_scale") == [128, 128, 128]
    assert "the loss scale of `--fp16` stays 128" in output


@pytest.mark.parametrize(
    ("flags", "own", "kept"),
    [(["--bf16"], None, "4096"), (["--bf16"], "77", "77"), ([], None, None)],
)
def test_bf16_without_a_gpu_keeps_more_kernels(
    corpus: Corpus,
    tiny_berts: TinyBerts,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flags: list[str],
    own: str | None,
    kept: str | None,
) -> None:
    """What oneDNN reads before its first product, unless one has chosen by oneself."""
    name = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
    monkeypatch.setenv(name, own or "")
    if own is None:
        monkeypatch.delenv(name)
    train(corpus.data_bin, tmp_path, tiny_berts, *QUICK, "--no-save", "--max-update", 1, *flags)
    assert os.environ.get(name) == kept


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("optimizer", (0, 0, 3)),  # and with it everything else
        ("lr-scheduler", (9, 9, 3)),
        ("dataloader", (9, 9, 1)),
        ("meters", (9, 9, 3)),
    ],
)
def test_each_reset(
    corpus: Corpus,
    trained: Trained,
    tiny_berts: TinyBerts,
    tmp_path: Path,
    what: str,
    expected: tuple[int, int, int],
) -> None:
    """Updates as loaded, updates that the optimizer has done, and the epoch that follows."""
    updates, steps, epoch = expected
    output = train(
        corpus.data_bin, tmp_path, tiny_berts, *SAME_SHAPE, *QUICK, *BEST_BLEU,
        "--restore-file", trained.checkpoint, f"--reset-{what}", "--max-update", updates + 1,
    )  # fmt: skip
    assert f"@ {updates} updates)" in output
    assert f"begin training epoch {epoch}" in output
    state = torch.load(tmp_path / "checkpoint_last.pt", weights_only=True)
    (step,) = {int(one["step"]) for one in state["last_optimizer_state"]["state"].values()}
    assert step == steps + 1


def test_checkpoint_best_is_the_one_of_highest_bleu(
    corpus: Corpus, tiny_berts: TinyBerts, tmp_path: Path
) -> None:
    output = train(
        corpus.data_bin, tmp_path, tiny_berts, *BEST_BLEU, "--eval-bleu-print-samples",
        "--lr", 0.05, "--max-update", 12, "--save-interval-updates", 1,
    )  # fmt: skip
    scores = logged(output, "valid", "bleu")
    assert len(set(scores)) > 1
    best = torch.load(tmp_path / "checkpoint_best.pt", weights_only=True)["extra_state"]
    assert best["val_loss"] == max(scores)  # fairseq's name for the metric, whichever it is
    assert "example hypothesis: " in output


def test_an_architecture_without_a_preset_is_refused(
    corpus: Corpus, tiny_berts: TinyBerts, tmp_path: Path
) -> None:
    """The model's own name is one to fairseq, for which it calls nothing that would check it."""
    with pytest.raises(AbNetError, match=r"\(see `abnet systems`\), but is 'abnet_model' instead"):
        train(corpus.data_bin, tmp_path, tiny_berts, *QUICK, "--arch", "abnet_model")
    assert not list(tmp_path.iterdir())


def test_the_hub_interface_is_refused() -> None:
    with pytest.raises(
        AbNetError, match=r"`abnet\.Translator\.from_checkpoint\(path\)` translates"
    ):
        AbNetModel.from_pretrained("checkpoints", "checkpoint_best.pt", "data-bin")


def test_best_by_loss_with_bleu_is_said(
    corpus: Corpus, tiny_berts: TinyBerts, tmp_path: Path
) -> None:
    output = train(
        corpus.data_bin, tmp_path, tiny_berts, *QUICK, "--no-save", "--eval-bleu",
        "--max-update", 1,
    )  # fmt: skip
    assert "checkpoint_best.pt will be the one of lowest loss; for the one of highest" in output


def test_finetune_from_model_once(
    corpus: Corpus, trained: Trained, tiny_berts: TinyBerts, tmp_path: Path
) -> None:
    """The same command goes on when it is given again, and says so."""
    start = (*SAME_SHAPE, *QUICK, "--finetune-from-model", trained.checkpoint)
    train(corpus.data_bin, tmp_path, tiny_berts, *start, "--max-update", 1)
    output = train(corpus.data_bin, tmp_path, tiny_berts, *start, "--max-update", 2)
    assert "is ignored: training goes on from" in output
    assert "checkpoint_last.pt (epoch 1 @ 1 updates)" in output
    gone = ("--finetune-from-model", tmp_path / "gone.pt")
    with pytest.raises(AbNetError, match="`--finetune-from-model` must be an existing checkpoint"):
        train(corpus.data_bin, tmp_path, tiny_berts, *SAME_SHAPE, *gone)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (BEST_BLEU[:3], "`--best-checkpoint-metric bleu` must go with `--eval-bleu`"),
        (("--best-checkpoint-metric", "chrf"), "`--best-checkpoint-metric` must be one of"),
        (("--maximize-best-checkpoint-metric",), "must be left out .* would be the worst"),
        (
            ("--eval-bleu", *BEST_BLEU[:2]),
            "`--maximize-best-checkpoint-metric` must be given with .* bleu`",
        ),
        (("--eval-bleu", "--eval-bleu-args", "{beam"), "`--eval-bleu-args` must be a JSON object"),
        (
            ("--eval-bleu", "--eval-bleu-args", '{"iter_decode_with_beam": 60}'),
            "`--iter-decode-with-beam` must be between 1 and the 47 lengths .* is 60",
        ),
        (
            ("--eval-bleu", "--eval-bleu-args", '{"iter_decode_with_beam": "4"}'),
            "`--iter-decode-with-beam` must be a whole number, but is '4' instead",
        ),
        (
            ("--eval-bleu", "--eval-bleu-args", '{"lenpen": [1]}'),
            r"`--lenpen` must be a number, but is \[1\] instead",
        ),
        (
            ("--eval-bleu", "--eval-bleu-args", '{"iter_decode_force_max_iter": 1}'),
            "`--iter-decode-force-max-iter` must be true or false, but is 1 instead",
        ),
        (("--eval-bleu-detok-args", '{"lang": "en"}'), "`--eval-bleu-detok-args` must be left out"),
        (("--sentence-avg",), "`--sentence-avg` must be left out: `--loss-normalization` says"),
        (("--best-checkpoint-metric", "accuracy"), "length_accuracy for the objective cond"),
        (
            ("--optimizer", "fused_adamw", "--fp16-adam-stats"),
            "`--fp16-adam-stats` must be left out with `--optimizer fused_adamw`",
        ),
        (
            ("--optimizer", "fused_adamw", "--use-old-adam"),
            "`--use-old-adam` must be left out with `--optimizer fused_adamw`",
        ),
        (("--source-lang", "fr"), "must be given both or be those of .* goes from de to en"),
        (("--criterion", "cross_entropy"), "`--criterion` must be conditional_masked_lm"),
        (("--task", "translation"), "`--task` must be translation_abnet"),
        (("--encoder-adapter-layers", 4), "`encoder_adapter_layers` must be at most .* 3 layers"),
        (("--decoder-adapter-layers", 9), "`decoder_adapter_layers` must be at most .* 3 layers"),
        (("--target-bert", "./nowhere"), "nowhere is no folder"),
        (("--adapter-init", "zero"), "`adapter_init` must be one of"),
        (("--store-ema",), "`--store-ema` must be left out"),
        (("--ddp-backend", "fully_sharded"), "`--ddp-backend` must not be fully_sharded"),
        (("--distributed-world-size", 2), "fairseq starts processes on GPUs only"),
        (("--eval-bleu-detok", "moses"), "`--eval-bleu-detok` must be left out"),
        (("--eval-bleu-remove-bpe",), "`--eval-bleu-remove-bpe` must be left out: the pieces"),
        (("--eval-tokenized-bleu",), "`--eval-tokenized-bleu` must be left out: `abnet evaluate`"),
        (("--left-pad-target",), "`--left-pad-target` must be left out: a BERT reads"),
        (("--load-alignments",), "`--load-alignments` must be left out: nothing here uses"),
        (("--num-batch-buckets", 3), "`--num-batch-buckets` must be left out: it is for TPUs"),
        (("--truncate-source",), "`--truncate-source` must be left out: all but training"),
        (("--eval-bleu", "--eval-bleu-args", '{"beams": 2}'), "no generation option 'beams'"),
    ],
)
def test_refused_before_training(
    corpus: Corpus,
    tiny_berts: TinyBerts,
    tmp_path: Path,
    flags: tuple[object, ...],
    message: str,
) -> None:
    with pytest.raises(AbNetError, match=message):
        train(corpus.data_bin, tmp_path / "checkpoints", tiny_berts, *flags)
    assert not list(tmp_path.glob("checkpoints/*.pt"))


@pytest.mark.parametrize("command", ["generate", "interactive", "validate"])
def test_truncated_checkpoint_to_decode_with(
    corpus: Corpus, trained: Trained, tmp_path: Path, command: str
) -> None:
    path = tmp_path / "checkpoint7.pt"
    path.write_bytes(trained.checkpoint.read_bytes()[:9000])
    with pytest.raises(AbNetError, match="truncated, damaged or not written by fairseq"):
        run(command, corpus.data_bin, "--path", path, "--cpu", "--max-tokens", 100)


def test_objectives_beyond_the_papers(
    corpus: Corpus, tiny_berts: TinyBerts, tmp_path: Path
) -> None:
    """They train, and a checkpoint with a trained head decodes as it validated."""
    output = train(
        corpus.data_bin, tmp_path, tiny_berts, "--train-head", "transform", "--r-drop", 1,
        "--correction", 0.3, "--mask-count", "cosine", "--lr", 0.05, "--eval-bleu",
    )  # fmt: skip
    logs = logged(output, "train_inner", "loss")
    assert len(set(logs)) == len(logs) == 3
    checkpoint = tmp_path / "checkpoint_last.pt"
    weights = torch.load(checkpoint, weights_only=True)["model"]
    assert sum("decoder.backbone." in name for name in weights) == 5
    validated = run(
        "validate", corpus.data_bin, "--path", checkpoint, "--cpu", "--num-workers", 0,
        "--max-tokens", 200,
    )  # fmt: skip
    for name in ("loss", "bleu"):
        assert logged(validated, "valid", name)[0] == logged(output, "valid", name)[-1]
