"""Batched Mask-Predict equals the obvious loop, token for token."""

from __future__ import annotations

import pytest
import torch

from abnet.mask_predict import DecodingOptions, Hypothesis, mask_predict
from abnet.model import AbNet
from tests.batches import batch
from tests.parity import reference_mask_predict as reference
from tests.tiny import GERMAN

LINES = [*GERMAN, "Hund", "", "ein Hund und ein Mann , und das Mädchen am Strand heute Abend ."]


@pytest.fixture
def lively_model(tiny_model: AbNet) -> AbNet:
    """Predictions that differ from place to place and change from pass to pass.

    In 64 bits, so that no near-tie is decided by the shape of a batch.
    """
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, weight in tiny_model.decoder.named_parameters():
            if "position_embeddings" in name or "word_embeddings" in name:
                weight.normal_(std=1.0, generator=generator)
            if "self.query" in name or "self.key" in name:
                weight.mul_(4.0)  # sharp self-attention: a token looks at few others
            if "attention.out_proj.weight" in name:
                weight.mul_(0.5)  # or all positions see the same source
    return tiny_model.double()


def check(ours: Hypothesis, theirs: reference.Reference) -> None:
    assert ours.tokens.tolist() == theirs.tokens
    torch.testing.assert_close(ours.token_scores.tolist(), theirs.token_scores, atol=1e-4, rtol=0)
    assert ours.score == pytest.approx(theirs.score, abs=1e-4)
    assert ours.passes == theirs.passes
    assert [tokens.tolist() for tokens in ours.history] == theirs.history


@pytest.mark.parametrize(
    ("iterations", "length_beam", "length_penalty", "force"),
    [
        (1, 1, 1.0, False),
        (4, 3, 1.0, False),
        (10, 4, 1.0, False),
        (10, 4, 0.0, True),
        (7, 2, 2, True),
    ],
)
def test_equals_the_reference_loop(
    lively_model: AbNet, iterations: int, length_beam: int, length_penalty: float, force: bool
) -> None:
    assert lively_model.source_tokenizer is not None
    source = batch(lively_model.source_tokenizer, LINES)
    options = DecodingOptions(
        iterations=iterations,
        length_beam=length_beam,
        length_penalty=length_penalty,
        force_max_iterations=force,
        n_best=length_beam,
        keep_history=True,
    )
    results = mask_predict(lively_model, source, options)
    assert len(results) == len(LINES)
    changes = 0
    for row, ours in zip(source, results, strict=True):
        alone = row[row.ne(lively_model.source_symbols.pad)]
        theirs = reference.translate(
            lively_model, alone, iterations, length_beam, length_penalty, force
        )
        assert len(ours) == length_beam
        for hypothesis, expected in zip(ours, theirs, strict=True):
            check(hypothesis, expected)
            changes += sum(
                a != b for a, b in zip(expected.history, expected.history[1:], strict=False)
            )
    if iterations > 1:
        assert changes > 5  # the passes after the first do something in this test


def test_sentences_stop_early_and_at_different_passes(lively_model: AbNet) -> None:
    assert lively_model.source_tokenizer is not None
    source = batch(lively_model.source_tokenizer, LINES)
    results = mask_predict(lively_model, source, DecodingOptions(length_beam=1))
    passes = {hypotheses[0].passes for hypotheses in results}
    assert min(passes) < 10
    assert len(passes) > 1


def test_a_permuted_batch_gives_permuted_output(lively_model: AbNet) -> None:
    assert lively_model.source_tokenizer is not None
    source = batch(lively_model.source_tokenizer, LINES)
    order = torch.randperm(len(LINES), generator=torch.Generator().manual_seed(5))
    straight = mask_predict(lively_model, source, DecodingOptions())
    permuted = mask_predict(lively_model, source[order], DecodingOptions())
    for place, row in enumerate(order.tolist()):
        assert permuted[place][0].tokens.tolist() == straight[row][0].tokens.tolist()


def test_banned_symbols_never_appear(lively_model: AbNet) -> None:
    symbols = lively_model.target_symbols
    with torch.no_grad():  # a head that loves what is banned
        bias = lively_model.decoder.lm_head.get_parameter("bias")
        bias[[symbols.pad, symbols.mask, symbols.cls, symbols.sep]] += 1000.0
    assert lively_model.source_tokenizer is not None
    source = batch(lively_model.source_tokenizer, LINES)
    for hypotheses in mask_predict(lively_model, source, DecodingOptions(n_best=4)):
        for hypothesis in hypotheses:
            tokens = hypothesis.tokens.tolist()
            assert not {symbols.pad, symbols.mask, symbols.cls} & set(tokens)
            assert symbols.sep not in tokens[:-1]
            assert tokens[-1] == symbols.sep
