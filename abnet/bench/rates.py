"""The floor: how fast this machine can do the matrix work of a translation at best."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from abnet.bench.work import Product, weights_read
from abnet.decoding.linear import FusedInt8Linear, Int8Linear, PackedLinear, fuses, packs

ENOUGH = 0.004  # seconds of work that make a measurement
TRIES = 3  # of which the fastest counts
PASSES = 3  # over all rates, of which the fastest counts
EXACT = 16  # counts up to it are measured as they are
LARGEST = 1 << 24  # values of a matrix to measure with; a larger one is no faster
INT8_LEAST = 32  # rows that int8 products on a GPU want
INT8_STEP = 8  # what they want the other sizes to be a multiple of


class Rates:
    """Rates of matrix products and of memory, each measured when it is first asked for.

    What slows a machine for a moment slows all tries of a rate, so that `measure_again` goes over
    all of them in further passes, and each rate is the best of its passes.

    Rows and computed columns above 16 are rounded to powers of two, so that few shapes have to be
    measured (fewer ones are kept: a product of 5 rows takes hardly longer than one of 4 does);
    the inner width and the columns of weights are kept as they are, but for int8 on a GPU, which
    takes multiples of 8. On a GPU the products are recorded in a CUDA graph, so that no launch is
    part of a rate.

    Args:
        device: to measure on; with as many threads as torch has now.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._seconds: dict[tuple[Product, torch.dtype], list[float]] = {}  # of each pass
        self._bandwidths: dict[int, list[float]] = {}

    def floor(
        self,
        products: Sequence[Product],
        dtype: torch.dtype,
        model_bytes: int,
        check: Callable[[], None] = lambda: None,
    ) -> float:
        """Seconds that the products take at least.

        The larger one of: their multiply-adds over the rates of products of their shapes; and the
        bytes of the weights that they read over the bandwidth.

        Args:
            products: of a translation.
            dtype: of its weights.
            model_bytes: of all weights, a working set that may fit a cache.
            check: called before each product; may raise an error to end this.
        """
        computing = 0.0
        for product in products:
            check()
            computing += product.multiply_adds * self.seconds(product, dtype)
        size = torch.empty(0, dtype=dtype).element_size()
        return max(computing, weights_read(products) * size / self.bandwidth(model_bytes))

    def seconds(self, product: Product, dtype: torch.dtype) -> float:
        """Of one multiply-add in a product of this shape; of int8, in floats if that is faster.

        Floats beside int8 have 32 bits on a CPU and 16 on a GPU, and computed columns are floats.
        """
        if dtype != torch.int8:
            return self._rate(product, dtype)
        on_cpu = self.device.type == "cpu"
        floats = self._rate(product, torch.float32 if on_cpu else torch.float16)
        return min(self._rate(product, dtype), floats) if product.weight else floats

    def bandwidth(self, working_set: int) -> float:
        """Bytes a second, reading so many bytes (rounded to a power of two) again and again."""
        size = _power(max(working_set, 1 << 16))
        if size not in self._bandwidths:
            self._bandwidths[size] = [self._measure_bandwidth(size)]
        return max(self._bandwidths[size])

    def measure_again(self, check: Callable[[], None] = lambda: None) -> None:
        """Measures what was asked for until now in as many passes over all of it as are lacking.

        Args:
            check: called before each measurement; may raise an error to end this.
        """
        for done in range(1, PASSES):
            for shape, found in self._seconds.items():
                if len(found) <= done:
                    check()
                    found.append(self._measure_product(*shape))
            for size, speeds in self._bandwidths.items():
                if len(speeds) <= done:
                    check()
                    speeds.append(self._measure_bandwidth(size))

    def _rate(self, product: Product, dtype: torch.dtype) -> float:
        shape = _rounded(product, dtype, self.device), dtype
        if shape not in self._seconds:
            self._seconds[shape] = [self._measure_product(*shape)]
        return min(self._seconds[shape])

    def _measure_product(self, shape: Product, dtype: torch.dtype) -> float:
        """Seconds of a multiply-add, in the fastest way."""
        ways = _multipliers(shape, dtype, self.device)
        return min(self._measure(multiply) for multiply in ways) / shape.multiply_adds

    def _measure_bandwidth(self, size: int) -> float:
        values = torch.ones(size // 4, device=self.device)
        return size / self._measure(lambda: values.sum())

    def _measure(self, work: Callable[[], object]) -> float:
        """Seconds of one call at best."""
        repeats = 1
        while True:
            spent = self._time(work, repeats)
            if spent >= ENOUGH or repeats >= 1 << 14:
                again = [self._time(work, repeats) for _ in range(TRIES - 1)]
                return min(spent, *again) / repeats
            repeats *= 4

    def _time(self, work: Callable[[], object], repeats: int) -> float:
        """Seconds of so many calls."""
        with torch.inference_mode():
            work()  # whatever is done only once
            if self.device.type == "cuda":
                return self._time_graph(work, repeats)
            start = time.perf_counter()
            for _ in range(repeats):
                work()
            return time.perf_counter() - start

    def _time_graph(self, work: Callable[[], object], repeats: int) -> float:
        recorded = min(repeats, 64)
        torch.cuda.synchronize(self.device)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self.device), torch.cuda.graph(graph):
            for _ in range(recorded):
                work()
        graph.replay()
        torch.cuda.synchronize(self.device)
        start = time.perf_counter()
        for _ in range(repeats // recorded):
            graph.replay()
        torch.cuda.synchronize(self.device)
        return time.perf_counter() - start


def _multipliers(
    shape: Product, dtype: torch.dtype, device: torch.device
) -> list[Callable[[], Tensor]]:
    """Functions that do a product of this shape, each in a way of its own."""
    if dtype == torch.int8:
        return _int8_multipliers(shape, device)
    sizes = ((shape.rows, shape.inner), (shape.inner, shape.columns))
    if not shape.weight:
        c, d = (torch.ones((shape.times, *size), dtype=dtype, device=device) for size in sizes)
        return [lambda: torch.bmm(c, d)]
    a, b = (torch.ones(size, dtype=dtype, device=device) for size in sizes)
    ways: list[Callable[[], Tensor]] = [lambda: torch.mm(a, b)]
    if device.type == "cpu" and packs(dtype):
        layer = PackedLinear(b.t(), None)
        ways.append(lambda: layer(a))
    return ways


def _int8_multipliers(shape: Product, device: torch.device) -> list[Callable[[], Tensor]]:
    """The same in 8 bits; on a CPU those of our layers, one of which rounds its inputs, too."""
    if device.type == "cpu":
        weight = torch.ones(shape.columns, shape.inner)
        states = torch.ones(shape.rows, shape.inner)
        rounded = states.to(torch.uint8)
        layer = Int8Linear(weight, None)
        ways = [lambda: layer.multiply(rounded, 1.0, 0)]
        if fuses():
            fused = FusedInt8Linear(weight, None)
            ways.append(lambda: fused(states))
        return ways
    left = torch.ones(shape.rows, shape.inner, dtype=torch.int8, device=device)
    right = torch.ones(shape.columns, shape.inner, dtype=torch.int8, device=device).t()
    return [lambda: torch._int_mm(left, right)]


def _rounded(product: Product, dtype: torch.dtype, device: torch.device) -> Product:
    """The shape that is measured in place of a product's."""
    rows = min(_near(product.rows), max(LARGEST // max(product.inner, product.columns), 1))
    if product.weight:
        inner, columns = product.inner, product.columns
        if dtype == torch.int8 and device.type != "cpu":
            rows = max(rows, INT8_LEAST)
            inner, columns = (-(-size // INT8_STEP) * INT8_STEP for size in (inner, columns))
        return Product(rows, inner, columns)
    inner, columns = _near(product.inner), _near(product.columns)
    most = max(LARGEST // max(rows * inner, inner * columns, rows * columns), 1)
    return Product(rows, inner, columns, min(_near(product.times), most), weight=False)


def _near(number: int) -> int:
    """The count that is measured in place of a product's."""
    return number if number <= EXACT else _power(number)


def _power(number: int) -> int:
    """The power of two next to a number, by ratio."""
    return 1 << round(math.log2(max(number, 1)))
