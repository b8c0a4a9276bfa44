from __future__ import annotations

import math

import pytest
import torch

from abnet.config import AbNetConfig
from abnet.errors import AbNetError
from abnet.training.loss import sequence_loss
from abnet.training.word_loss import word_loss


def config(**values: object) -> AbNetConfig:
    return AbNetConfig.from_dict({"source_bert": "a", "target_bert": "b", **values})


def example() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    target = torch.tensor([[5, 6, 3, 0], [7, 8, 9, 3]])
    chosen = torch.tensor([[True, False, True, False], [False, True, False, False]])
    word_logits = torch.randn(3, 12, generator=generator, requires_grad=True)
    length_logits = torch.randn(2, 6, generator=generator)
    return word_logits, length_logits, target, chosen


def by_hand(word_logits: torch.Tensor, words: list[int], smoothing: float) -> float:
    """Sum over words of (1-e) * -log p(word) + e * mean over the vocabulary of -log p."""
    total = 0.0
    for logits, word in zip(word_logits.tolist(), words, strict=True):
        norm = math.log(sum(math.exp(value) for value in logits))
        nll = [norm - value for value in logits]
        total += (1 - smoothing) * nll[word] + smoothing * sum(nll) / len(nll)
    return total


def test_masked_is_the_mean_over_masked_tokens_and_over_sentences() -> None:
    word_logits, length_logits, target, chosen = example()
    found = word_loss(word_logits, target[chosen], 0.1)
    parts = sequence_loss(
        found, length_logits, target, chosen, target.ne(0), config(length_loss_weight=0.5)
    )
    words = by_hand(word_logits, [5, 3, 8], 0.1)
    lengths = by_hand(length_logits, [3, 4], 0.0)
    assert int(parts.sample_size) == 3
    mean = float(parts.loss.detach() / parts.sample_size)
    assert mean == pytest.approx(words / 3 + 0.5 * lengths / 2, rel=1e-5)
    assert float(parts.word_loss) == pytest.approx(words, rel=1e-5)
    assert float(parts.word_nll) == pytest.approx(by_hand(word_logits, [5, 3, 8], 0.0), rel=1e-5)
    assert (int(parts.masked), int(parts.tokens), int(parts.sentences)) == (3, 7, 2)


def test_the_released_code_normalises_by_target_tokens() -> None:
    word_logits, length_logits, target, chosen = example()
    parts = sequence_loss(
        word_loss(word_logits, target[chosen], 0.0),
        length_logits,
        target,
        chosen,
        target.ne(0),
        config(length_loss_weight=0.1, loss_normalization="target"),
    )
    words = by_hand(word_logits, [5, 3, 8], 0.0)
    lengths = by_hand(length_logits, [3, 4], 0.0)
    mean = float(parts.loss.detach() / parts.sample_size)
    assert mean == pytest.approx((words + 0.1 * lengths) / 7, rel=1e-5)


@pytest.mark.parametrize(
    ("preset", "weight"),
    [("mask_predict", 1.0), ("bert_fused_nat", 1.0), ("abnet_iwslt_de_en", 0.1),
     ("abnet_wmt_en_de", 0.1), ("abnet_enc", 0.1), ("abnet_released_wmt_en_de", 0.1)],
)  # fmt: skip
def test_lengths_weigh_as_in_the_code_of_the_papers(preset: str, weight: float) -> None:
    """Beside the words, both being sums: Mask-Predict's code adds them, AB-Net's a tenth of one."""
    _, length_logits, target, chosen = example()
    length_logits.requires_grad_()
    word_logits = torch.zeros(3, 12)
    settings = AbNetConfig.from_preset(preset, source_bert="a", target_bert="b")
    found = word_loss(word_logits, target[chosen], settings.label_smoothing)
    parts = sequence_loss(found, length_logits, target, chosen, target.ne(0), settings)
    words, lengths = by_hand(word_logits, [5, 3, 8], 0.1), by_hand(length_logits, [3, 4], 0.0)
    assert float(parts.loss.detach()) == pytest.approx(words + weight * lengths, rel=1e-5)


def test_accuracies_count_what_the_argmax_gets_right() -> None:
    _, _, target, chosen = example()
    word_logits = torch.zeros(3, 12)
    word_logits[[0, 1, 2], [5, 4, 8]] = 1.0  # the second should be 3
    length_logits = torch.zeros(2, 6)
    length_logits[[0, 1], [3, 2]] = 1.0  # the second should be 4
    found = word_loss(word_logits, target[chosen], 0.1)
    parts = sequence_loss(found, length_logits, target, chosen, target.ne(0), config())
    assert (int(parts.words_right), int(parts.lengths_right)) == (2, 1)


def test_a_target_longer_than_the_length_classes_is_an_error() -> None:
    word_logits, length_logits, target, chosen = example()
    with pytest.raises(AbNetError, match="fewer than `length_classes` = 4 tokens, but one has 4"):
        sequence_loss(
            word_loss(word_logits, target[chosen], 0.1),
            length_logits[:, :4],
            target,
            chosen,
            target.ne(0),
            config(),
        )
