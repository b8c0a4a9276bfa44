"""The floor."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from abnet.bench.rates import PASSES, Rates, _multipliers
from abnet.bench.work import Product
from abnet.decoding.linear import fuses

WORK = [Product(10, 20, 30, 2), Product(4, 8, 4, 6, weight=False)]


class Known(Rates):
    """Rates that are given."""

    bytes_a_second = 1e6

    def seconds(self, product: Product, dtype: torch.dtype) -> float:
        return 1e-6 if product.weight else 1e-5

    def bandwidth(self, working_set: int) -> float:
        return self.bytes_a_second


@pytest.mark.parametrize(("dtype", "size"), [(torch.float32, 4), (torch.bfloat16, 2)])
def test_the_larger_of_work_and_bytes_counts(dtype: torch.dtype, size: int) -> None:
    rates = Known(torch.device("cpu"))
    computing = 12000 * 1e-6 + 768 * 1e-5
    assert rates.floor(WORK, dtype, 1) == pytest.approx(computing)
    rates.bytes_a_second = 1e3
    assert rates.floor(WORK, dtype, 1) == pytest.approx(1200 * size / 1e3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8])
def test_rates_are_measured_once_a_rounded_shape(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("abnet.bench.rates.ENOUGH", 1e-5)
    rates = Rates(torch.device("cpu"))
    first = rates.seconds(Product(40, 16, 24), dtype)
    assert 0 < first < 1
    assert rates.seconds(Product(33, 16, 24, 7), dtype) == first
    measured = {dtype, torch.float32} if dtype == torch.int8 else {dtype}
    assert set(rates._seconds) == {(Product(32, 16, 24), kind) for kind in measured}
    assert [first] == min(rates._seconds.values())
    rates.seconds(Product(1, 8, 35, 6, weight=False), dtype)
    assert (Product(1, 8, 32, 6, False), torch.float32 if dtype == torch.int8 else dtype) in (
        rates._seconds
    )
    assert rates.bandwidth(1 << 16) > 0


def test_few_rows_are_measured_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five rows taken as four would have a floor a quarter too high."""
    monkeypatch.setattr("abnet.bench.rates.ENOUGH", 1e-5)
    rates = Rates(torch.device("cpu"))
    for rows in (*range(1, 18), 23, 24, 35):
        rates.seconds(Product(rows, 8, 8), torch.float32)
        rates.seconds(Product(2, rows, rows, rows, weight=False), torch.float32)
    measured = [shape for shape, _ in rates._seconds]
    counts = [*range(1, 17), 32]
    assert [shape.rows for shape in measured if shape.weight] == counts
    assert [shape[1:4] for shape in measured if not shape.weight] == [(n, n, n) for n in counts]


def test_rates_are_the_best_of_passes_over_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A moment in which the machine is busy slows one pass of each."""
    measured: list[int] = []
    slow = iter([9.0, 9.0, 9.0, 1.0, 2.0, 4.0, 3.0, 3.0, 3.0, *50 * [7.0]])

    def measure(self: Rates, work: Callable[[], torch.Tensor]) -> float:
        measured.append(work().numel())
        return next(slow)

    monkeypatch.setattr(Rates, "_measure", measure)
    monkeypatch.setattr("abnet.bench.rates.packs", lambda dtype: False)
    rates = Rates(torch.device("cpu"))
    one, two = Product(1, 1, 5), Product(1, 1, 6)

    def found() -> tuple[float, ...]:
        seconds = (rates.seconds(product, torch.float32) for product in (one, two))
        return *(each * size for each, size in zip(seconds, (5, 6), strict=True)), (
            (1 << 16) / rates.bandwidth(1)
        )

    assert found() == pytest.approx((9, 9, 9))
    rates.measure_again()
    assert measured == PASSES * [5, 6, 1]
    assert found() == pytest.approx((1, 2, 3))
    rates.measure_again()  # nothing is lacking
    assert rates.seconds(Product(1, 1, 7), torch.float32) == pytest.approx(1)
    rates.measure_again()
    assert measured == PASSES * [5, 6, 1] + PASSES * [7]


def test_the_clock_may_end_the_passes() -> None:
    rates = Rates(torch.device("cpu"))
    rates._seconds[Product(1, 1, 5), torch.float32] = [1.0]

    def late() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        rates.measure_again(late)
    assert rates.seconds(Product(1, 1, 5), torch.float32) == 1.0


def test_the_clock_may_end_a_floor() -> None:
    def late() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        Known(torch.device("cpu")).floor(WORK, torch.float32, 1, late)


def test_int8_on_a_gpu_takes_sizes_of_eight_and_halves_beside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[Product, torch.dtype]] = []

    def note(
        shape: Product, dtype: torch.dtype, device: torch.device
    ) -> list[Callable[[], torch.Tensor]]:
        asked.append((shape, dtype))
        return [lambda: torch.zeros(1)]

    monkeypatch.setattr("abnet.bench.rates._multipliers", note)
    monkeypatch.setattr(Rates, "_measure", lambda self, work: float(shape_of(asked).multiply_adds))
    rates = Rates(torch.device("cuda"))
    assert rates.seconds(Product(3, 60, 30_526), torch.int8) == 1  # of one multiply-add
    assert rates.seconds(Product(3, 64, 5, 6, weight=False), torch.int8) == 1
    assert asked == [
        (Product(3, 60, 30_526), torch.float16),
        (Product(32, 64, 30_528), torch.int8),
        (Product(3, 64, 5, 6, weight=False), torch.float16),
    ]


def shape_of(asked: list[tuple[Product, torch.dtype]]) -> Product:
    return asked[-1][0]


def test_int8_products_are_those_of_our_layers() -> None:
    ways = _multipliers(Product(2, 16, 24), torch.int8, torch.device("cpu"))
    assert len(ways) == 1 + fuses()
    for multiply in ways:
        torch.testing.assert_close(multiply(), torch.full((2, 24), 16.0))


def test_the_faster_of_torchs_products_and_ours_counts() -> None:
    ways = _multipliers(Product(2, 16, 24), torch.float32, torch.device("cpu"))
    assert len(ways) == 2
    for multiply in ways:
        assert torch.equal(multiply(), torch.full((2, 24), 16.0))


def test_bfloat16_is_packed_only_where_the_processor_multiplies_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("abnet.bench.rates.packs", lambda dtype: False)
    (multiply,) = _multipliers(Product(2, 16, 24), torch.bfloat16, torch.device("cpu"))
    assert torch.equal(multiply(), torch.full((2, 24), 16.0, dtype=torch.bfloat16))
