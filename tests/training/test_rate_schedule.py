from __future__ import annotations

from typing import Any

import pytest
import torch

from abnet.errors import AbNetError
from abnet.training.rate_schedule import scaled_rate, slanted_triangle


def test_the_rate_rises_falls_and_ends() -> None:
    factors = [slanted_triangle(update, 4, 8) for update in range(10)]
    assert factors == [0.0, 0.25, 0.5, 0.75, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    assert [slanted_triangle(update, 0, 2) for update in range(4)] == [1.0, 0.5, 0.0, 0.0]


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
def test_a_step_is_as_long_as_the_factor_says(kind: type[torch.optim.Optimizer]) -> None:
    def steps(factor: float | None) -> tuple[torch.Tensor, torch.Tensor, torch.optim.Optimizer]:
        torch.manual_seed(4)
        slow, fast = (torch.nn.Parameter(torch.randn(3)) for _ in range(2))
        start = slow.detach().clone(), fast.detach().clone()
        optimizer = kind([slow, fast], lr=0.01)  # type: ignore[call-arg]
        for weight in (slow, fast):
            weight.grad = torch.tensor([1.0, -2.0, 3.0])
        if factor is None:
            optimizer.step()
        else:
            with scaled_rate(optimizer, lambda weight: weight is slow, factor):
                optimizer.step()
        return slow.detach() - start[0], fast.detach() - start[1], optimizer

    slow, fast, plain = steps(None)
    assert slow.abs().min() > 0
    for factor in (0.0, 0.25, 1.0):
        scaled, same, optimizer = steps(factor)
        torch.testing.assert_close(scaled, factor * slow, atol=1e-7, rtol=1e-4)
        torch.testing.assert_close(same, fast)
        ours, theirs = optimizer.state_dict(), plain.state_dict()
        assert ours["param_groups"] == theirs["param_groups"]
        torch.testing.assert_close(ours["state"], theirs["state"])


def test_groups_are_put_back_after_an_error_and_keep_their_options() -> None:
    one, two, three = (torch.nn.Parameter(torch.ones(1)) for _ in range(3))
    optimizer = torch.optim.SGD(
        [{"params": [one, two], "weight_decay": 0.5}, {"params": [three], "lr": 0.2}], lr=0.1
    )
    groups = optimizer.param_groups

    def fail() -> None:
        with scaled_rate(optimizer, lambda weight: weight is not two, 0.5):
            within.extend((g["params"], g["lr"], g["weight_decay"]) for g in optimizer.param_groups)
            raise ZeroDivisionError

    within: list[tuple[list[torch.nn.Parameter], float, float]] = []
    with pytest.raises(ZeroDivisionError):
        fail()
    assert within == [([one], 0.05, 0.5), ([two], 0.1, 0.5), ([three], 0.1, 0)]
    assert optimizer.param_groups is groups


def test_what_an_optimizer_counts_in_its_groups_stays_there() -> None:
    """As apex's fused Adam does, whose correction of the first steps goes by it."""

    class Counting(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            for group in self.param_groups:
                group["step"] = group.get("step", 0) + 1
            super().step(closure)

    one, two = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))
    optimizer = Counting([one, two], lr=0.1)
    for _ in range(3):
        with scaled_rate(optimizer, lambda weight: weight is one, 0.5):
            optimizer.step()
    [group] = optimizer.param_groups
    assert (group["step"], group["lr"], group["params"]) == (3, 0.1, [one, two])


def test_an_optimizer_without_the_weights_is_refused() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    message = "`optimizer` must have the BERTs' weights one by one .* has none"
    with pytest.raises(AbNetError, match=message), scaled_rate(optimizer, lambda _: False, 1.0):
        pass
