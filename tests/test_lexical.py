from __future__ import annotations

from pathlib import Path

import pytest
import torch

from abnet.checkpoint import load_checkpoint, save_checkpoint
from abnet.decoding.mask_predict import DecodingOptions, mask_predict
from abnet.errors import AbNetError
from abnet.training.objective import training_loss
from tests.systems import Toys, lively_model, small_config, small_model, small_pairs


@pytest.mark.parametrize("keep_cls", [False, True])
def test_each_piece_adds_its_own_vector_to_the_memory(toys: Toys, keep_cls: bool) -> None:
    model = small_model("abnet", toys, keep_cls=keep_cls).eval()
    plain = small_model("abnet", toys, keep_cls=keep_cls, lexical_adapter_dim=0).eval()
    model.load_state_dict(plain.state_dict(), strict=False)
    source = small_pairs(model).source
    before, same = plain.encode(source), model.encode(source)
    assert same.memory.equal(before.memory)  # nothing changes at first
    lexical = model.encoder.lexical
    assert lexical is not None
    torch.nn.init.normal_(lexical.projection.weight)
    after = model.encode(source)
    assert after.length_logits is not None
    assert after.length_logits.equal(same.length_logits)  # [LENGTH] is no piece
    table = lexical.table.weight @ lexical.projection.weight.T
    for row, ids in enumerate(source.tolist()):
        ids = [model.source_symbols.cls, *ids] if keep_cls else ids
        for position, piece in enumerate(ids):
            expected = before.memory[row, position] + table[piece]
            torch.testing.assert_close(after.memory[row, position], expected)


def test_only_the_pieces_of_a_batch_learn_from_it(toys: Toys) -> None:
    model = small_model("abnet", toys)
    lexical = model.encoder.lexical
    assert lexical is not None
    torch.nn.init.normal_(lexical.projection.weight)
    torch.nn.init.normal_(model.decoder.adapters["0"].attention.out_proj.weight)
    pairs = small_pairs(model)
    training_loss(model, model, pairs, torch.Generator(), training=True).loss.backward()
    gradient = lexical.table.weight.grad
    assert gradient is not None
    learned = set(gradient.abs().sum(dim=1).nonzero().flatten().tolist())
    assert learned == set(pairs.source.unique().tolist()) - {model.source_symbols.pad}


def test_dropout_of_adapters_is_on_the_vectors_too(toys: Toys) -> None:
    lexical = small_model("abnet", toys, adapter_dropout=0.25).encoder.lexical
    assert lexical is not None
    torch.nn.init.ones_(lexical.table.weight)
    torch.nn.init.eye_(lexical.projection.weight)
    ids = torch.zeros(500, dtype=torch.long)
    dim = lexical.table.embedding_dim
    assert lexical.eval()(lexical.vectors(ids))[:, :dim].eq(1).all()
    lexical.train()
    values = lexical(lexical.vectors(ids))[:, :dim]
    dropped = values.eq(0)
    torch.testing.assert_close(values[~dropped], torch.tensor(4 / 3).expand(int((~dropped).sum())))
    assert dropped.float().mean().item() == pytest.approx(0.25, abs=0.05)


def test_padding_changes_nothing(toys: Toys) -> None:
    model = lively_model("abnet", toys)
    assert model.encoder.lexical is not None
    torch.nn.init.normal_(model.encoder.lexical.projection.weight)
    source = small_pairs(model).source
    options = DecodingOptions(length_beam=3, iterations=4)
    for row, [hypothesis] in zip(source, mask_predict(model, source, options), strict=True):
        alone = row[: int(row.ne(model.source_symbols.pad).sum())][None]
        [[single]] = mask_predict(model, alone, options)
        assert single.tokens.equal(hypothesis.tokens)
        assert single.score == pytest.approx(hypothesis.score, rel=1e-4)


def test_a_checkpoint_holds_it(toys: Toys, tmp_path: Path) -> None:
    model = lively_model("abnet", toys)
    save_checkpoint(tmp_path / "model.safetensors", model)
    again = load_checkpoint(tmp_path / "model.safetensors")
    one, other = (loaded.encoder.lexical for loaded in (model, again))
    assert one is not None
    assert other is not None
    assert one.table.weight.equal(other.table.weight)


def test_a_transformer_has_no_need_of_it(toys: Toys) -> None:
    with pytest.raises(AbNetError, match="`lexical_adapter_dim` must be 0 where the encoder is"):
        small_config("mask_predict", toys, lexical_adapter_dim=3)
