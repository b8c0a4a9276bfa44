"""What a new model begins with, through fairseq's commands: `--warm-start` and `--lexicon`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from abnet.backbone import load_backbone
from abnet.checkpoint import read_checkpoint
from abnet.errors import AbNetError
from abnet.lexicon import Lexicon, read_lexicon, write_lexicon
from abnet.tokenizer import Tokenizer
from tests.conftest import TinyBerts
from tests.fairseq_plugins.commands import lines, run, train
from tests.fairseq_plugins.conftest import Corpus

SMALL = (
    *("--transformer-dim", "16", "--transformer-ffn-dim", "32", "--transformer-heads", "4"),
    *("--transformer-encoder-layers", "2", "--transformer-decoder-layers", "2"),
    *("--criterion", "autoregressive_lm", "--max-update", "1"),
)


@pytest.mark.parametrize("precision", [(), ("--bf16",)], ids=["fp32", "bf16"])
def test_a_run_starts_from_a_transformer_goes_on_and_translates_without_it(
    corpus: Corpus, tiny_berts: TinyBerts, tmp_path: Path, precision: tuple[str, ...]
) -> None:
    plain, fused = tmp_path / "plain", tmp_path / "fused"
    train(corpus.data_bin, plain, tiny_berts, "--arch", "transformer_base", *SMALL)
    start = plain / "checkpoint_last.pt"
    system = ("--arch", "bert_fused", *SMALL, *precision)
    system = (*system, "--warm-start", start, "--drop-net", "0.5")
    output = train(corpus.data_bin, fused, tiny_berts, *system, "--lr", "0")
    assert f"warm start from {start}: " in output
    ours = read_checkpoint(fused / "checkpoint_last.pt")
    assert ours.config.warm_start == str(start)
    assert ours.config.drop_net == 0.5
    theirs = read_checkpoint(start).weights
    assert all(ours.weights[name].equal(weight) for name, weight in theirs.items())
    assert not any(name.startswith("encoder.bert.") for name in ours.weights)

    start.unlink()
    arguments = ("--path", fused / "checkpoint_last.pt", "--cpu", "--num-workers", 0)
    assert len(lines(run("generate", corpus.data_bin, *arguments, "--beam", 2), "H")) == 13
    output = train(corpus.data_bin, fused, tiny_berts, *system, "--max-update", 2)
    assert "`--warm-start` is ignored: training goes on from" in output
    assert "warm start from" not in output

    with pytest.raises(AbNetError, match=f"There is no checkpoint '{start}'"):
        train(corpus.data_bin, tmp_path / "new", tiny_berts, *system)


def test_a_run_begins_with_a_lexicon_goes_on_and_translates_without_it(
    corpus: Corpus, tiny_berts: TinyBerts, tmp_path: Path
) -> None:
    lexicon, run_folder = tmp_path / "lexicon.safetensors", tmp_path / "run"
    german = Tokenizer.from_pretrained(tiny_berts.german)
    size = len(german.vocabulary)
    english = load_backbone(tiny_berts.english, with_head=True, dropout=0.0)
    axes = torch.randn(size, english.hidden_size)
    write_lexicon(lexicon, Lexicon(torch.eye(size), axes), german, {})
    system = ("--arch", "abnet", "--lexical-adapter-dim", "8", "--decoder-adapter-ffn-dim", "8")
    system = (*system, "--gloss-source")
    system = (*system, "--encoder-adapter-dim", "8", "--lexicon", lexicon, "--max-update", "1")
    train(corpus.data_bin, run_folder, tiny_berts, *system, "--lr", "0")
    found = read_checkpoint(run_folder / "checkpoint_last.pt").weights
    begun = read_lexicon(lexicon, german, 8)
    assert found["encoder.lexical.table.weight"].equal(begun.vectors)
    assert found["decoder.spread.gloss.weight"].equal(begun.axes.T)

    lexicon.unlink()
    arguments = ("--path", run_folder / "checkpoint_last.pt", "--cpu", "--num-workers", 0)
    assert len(lines(run("generate", corpus.data_bin, *arguments), "H")) == 13
    output = train(corpus.data_bin, run_folder, tiny_berts, *system, "--max-update", 2)
    assert "`--lexicon` is ignored: training goes on from" in output
    with pytest.raises(AbNetError, match="`lexicon` must be a file of `abnet lexicon`, but there"):
        train(corpus.data_bin, tmp_path / "new", tiny_berts, *system)
