from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from abnet.training.disagreement import disagreement


def test_by_hand() -> None:
    p, q = [0.5, 0.25, 0.25], [0.25, 0.5, 0.25]
    first, second = (torch.tensor([row]).log() + 7.0 for row in (p, q))  # logits, not normalised
    forth = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    back = sum(b * math.log(b / a) for a, b in zip(p, q, strict=True))
    assert float(disagreement(first, second)) == pytest.approx((forth + back) / 2)
    assert float(disagreement(first, first)) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_value_and_gradient_are_those_of_torch(dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    vocabulary, rows = 5000, 600  # of more rows than are taken at once
    logits = [torch.randn(rows, vocabulary).to(dtype).requires_grad_() for _ in range(2)]
    p, q = (of.float().log_softmax(dim=1) for of in logits)
    both = [F.kl_div(a, b, reduction="sum", log_target=True) for a, b in ((p, q), (q, p))]
    (3 * (both[0] + both[1]) / 2).backward()
    expected = [of.grad for of in logits]
    for of in logits:
        of.grad = None
    found = disagreement(*logits)
    (3 * found).backward()
    assert float(found.detach()) == pytest.approx(float(both[0] + both[1]) / 2, rel=1e-5)
    for of, gradient in zip(logits, expected, strict=True):
        torch.testing.assert_close(of.grad, gradient)
