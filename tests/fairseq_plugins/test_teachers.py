"""BERT as a teacher through fairseq's commands: what a step moves, and what a teacher must be."""

from __future__ import annotations

import shutil
from argparse import Namespace
from pathlib import Path

import pytest
import torch

from abnet.checkpoint import read_checkpoint
from abnet.errors import AbNetError
from abnet.model import AbNet
from fairseq_plugins import training_run
from fairseq_plugins.models.abnet_model import AbNetModel
from tests.conftest import TinyBerts
from tests.fairseq_plugins.commands import lines, run, train
from tests.fairseq_plugins.conftest import Corpus
from tests.systems import Toys, small_config, small_model

SMALL = (
    *("--transformer-dim", "16", "--transformer-ffn-dim", "32", "--transformer-heads", "4"),
    *("--transformer-encoder-layers", "1", "--transformer-decoder-layers", "1"),
    *("--criterion", "autoregressive_lm"),
)
RATE = ("--arch", "ct_nmt", "--bert-rate-rise", "2", "--bert-rate-end", "4", *SMALL)


def weights(folder: Path, update: int) -> dict[str, torch.Tensor]:
    (path,) = folder.glob(f"checkpoint_*_{update}.pt")
    return read_checkpoint(path).weights


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> dict[str, bool]:
    """Whether the BERT's weights and the others differ."""
    found = {"bert": False, "rest": False}
    for name, weight in after.items():
        kind = "bert" if name.startswith("encoder.bert.") else "rest"
        found[kind] |= not weight.equal(before[name])
    return found


@pytest.mark.parametrize("flags", [(), ("--bf16",)], ids=["fp32", "bf16"])
def test_the_bert_learns_by_its_schedule(
    corpus: Corpus, tiny_berts: TinyBerts, toys: Toys, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    options = (*RATE, *flags, "--save-interval-updates", 1, "--max-tokens", 100)
    train(corpus.data_bin, tmp_path / "all", tiny_berts, *options, "--max-update", 6)
    at = {update: weights(tmp_path / "all", update) for update in range(1, 7)}
    bert = AbNet.from_pretrained(small_config("ct_nmt", toys)).encoder.bert_backbone
    own = {f"encoder.bert.backbone.{name}": weight for name, weight in bert.named_parameters()}
    assert own.keys() <= at[1].keys()
    for name, weight in own.items():
        assert at[1][name].equal(weight)
    for update, expected in ((1, True), (2, True), (3, True), (4, False), (5, False)):
        assert moved(at[update], at[update + 1]) == {"bert": expected, "rest": True}, update
    if not flags:
        again = tmp_path / "again"
        again.mkdir()
        (start,) = (tmp_path / "all").glob("checkpoint_*_2.pt")
        shutil.copy(start, again / "checkpoint_last.pt")
        train(corpus.data_bin, again, tiny_berts, *options, "--max-update", 4)
        for name, weight in weights(again, 4).items():
            torch.testing.assert_close(weight, at[4][name])


def test_a_student_needs_its_teacher_while_it_trains_alone(
    corpus: Corpus, tiny_berts: TinyBerts, toys: Toys, tmp_path: Path
) -> None:
    teacher = tmp_path / "teacher.safetensors"
    shutil.copy(toys.teacher, teacher)
    options = ("--arch", "bert_distilled", *SMALL, "--max-update", 1)
    with pytest.raises(AbNetError, match=r"`--soft-teacher` must be .* of 0\.5, but is missing"):
        train(corpus.data_bin, tmp_path / "run", tiny_berts, *options)
    output = train(
        corpus.data_bin, tmp_path / "run", tiny_berts, *options, "--soft-teacher", teacher
    )
    assert f"soft labels from {teacher}" in output
    checkpoint = tmp_path / "run" / "checkpoint_last.pt"
    assert not any("teacher" in name for name in read_checkpoint(checkpoint).weights)
    teacher.unlink()
    arguments = ("--path", checkpoint, "--cpu", "--num-workers", 0, "--max-len-b", 20)
    assert len(lines(run("generate", corpus.data_bin, *arguments), "H")) == 13


def test_sentences_must_fit_the_teacher_too(toys: Toys) -> None:
    model = AbNetModel(small_model("bert_distilled", toys))
    own = model.abnet.max_source_positions, model.abnet.max_target_positions
    teacher = model.abnet.soft_teacher
    assert teacher is not None
    assert model.max_positions() == (
        min(own[0], teacher.model.max_source_positions),
        min(own[1], teacher.model.max_target_positions),
    )
    for side, longest in ((teacher.model.encoder, 11), (teacher.model.decoder, 12)):
        side.backbone.max_positions = longest + int(side.keep_cls)
    assert model.max_positions() == (11, 12)
    model.abnet.soft_teacher = None
    assert model.max_positions() == own


@pytest.mark.parametrize(("end", "expected"), [(None, False), (4, True)])
def test_weights_that_must_be_told_apart_are_not_flattened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: int | None, expected: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    args = Namespace(
        bf16=False, fp16=True, fp16_no_flatten_grads=False, cpu=False, bert_rate_end=end,
        objective="autoregressive", criterion="autoregressive_lm", task="translation_abnet",
        store_ema=False, ddp_backend="pytorch_ddp", best_checkpoint_metric="loss", eval_bleu=False,
        maximize_best_checkpoint_metric=False, distributed_world_size=1, save_dir=tmp_path,
        sentence_avg=False, keep_best_checkpoints=-1, data=None,
        restore_file="checkpoint_last.pt", continue_once=None, finetune_from_model=None,
        distributed_no_spawn=False, distributed_init_method=None, checkpoint_suffix="",
    )  # fmt: skip
    training_run.prepare_training(args)
    assert args.fp16_no_flatten_grads is expected
