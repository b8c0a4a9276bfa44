"""The matrix products of a translation, counted from a model's own shapes.

Legend: B sentences, C copies a sentence (length candidates or hypotheses), S source positions, T
target positions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import nn

from abnet.decoding.linear import DecodingLinear

Linear = tuple[int, int]  # width in, width out


class Product(NamedTuple):
    """`times` products of a (rows, inner) with an (inner, columns) matrix.

    Attributes:
        weight: whether the second matrix is a weight, which has to be read for each product;
            otherwise it was computed, and the `times` products are done as one batch.
    """

    rows: int
    inner: int
    columns: int
    times: int = 1
    weight: bool = True

    @property
    def multiply_adds(self) -> int:
        """Of all `times`."""
        return self.rows * self.inner * self.columns * self.times


@dataclass(frozen=True)
class Parts:
    """What a translation model computes with.

    Attributes:
        encoder: the linear layers that read every source position.
        encoder_layers, encoder_heads, encoder_width: of its self-attention.
        project: the linear layers that make keys and values of the source.
        decoder: those that read every target position, but for the head.
        decoder_layers, decoder_heads, decoder_width: of its self-attention.
        cross_layers, cross_heads: of its attention to the source.
        head: those that make logits of a state.
    """

    encoder: tuple[Linear, ...]
    encoder_layers: int
    encoder_heads: int
    encoder_width: int
    project: tuple[Linear, ...]
    decoder: tuple[Linear, ...]
    decoder_layers: int
    decoder_heads: int
    decoder_width: int
    cross_layers: int
    cross_heads: int
    head: tuple[Linear, ...]

    def encode(self, sentences: int, length: int) -> list[Product]:
        """The encoder over (B, S)."""
        linears = [Product(sentences * length, *linear) for linear in self.encoder]
        attention = _attention(
            length, length, self.encoder_width, self.encoder_heads, sentences, self.encoder_layers
        )
        return linears + attention

    def project_source(self, sentences: int, length: int) -> list[Product]:
        """Keys and values of (B, S), once."""
        return [Product(sentences * length, *linear) for linear in self.project]

    def decode(
        self,
        sentences: int,
        copies: int,
        queries: int,
        keys: int,
        source: int,
        predicted: int,
        rows: int | None = None,
    ) -> list[Product]:
        """One pass (or step) of the decoder.

        Args:
            sentences: B.
            copies: C.
            queries: positions that are computed.
            keys: positions that they see: the same in a parallel pass, all so far in a step.
            source: S, which all copies of a sentence see.
            predicted: rows of logits.
            rows: copies that there are, if some sentences have fewer than C.
        """
        rows = sentences * copies if rows is None else rows
        width = self.decoder_width
        return [
            *(Product(rows * queries, *linear) for linear in self.decoder),
            *_attention(queries, keys, width, self.decoder_heads, rows, self.decoder_layers),
            *_attention(
                copies * queries, source, width, self.cross_heads, sentences, self.cross_layers
            ),
            *(Product(predicted, *linear) for linear in self.head),
        ]

    def word_by_word(
        self, sentences: int, source: int, lengths: Sequence[int], beam: int
    ) -> list[Product]:
        """A beam search with cached keys and values that leaves out finished sentences.

        Args:
            sentences: B.
            source: S.
            lengths: (B,) tokens of each translation, the end counted.
            beam: hypotheses a sentence.
        """
        products = self.encode(sentences, source) + self.project_source(sentences, source)
        for step in range(max(lengths)):
            going = sum(length > step for length in lengths)
            products += self.decode(going, beam, 1, step + 1, source, going * beam)
        return gather(products)


def _attention(
    queries: int, keys: int, width: int, heads: int, rows: int, layers: int
) -> list[Product]:
    """Scores and weighted sums of an attention in some layers."""
    if not layers:
        return []
    each, count = width // heads, rows * heads * layers
    return [
        Product(queries, each, keys, count, weight=False),
        Product(queries, keys, each, count, weight=False),
    ]


def linears(module: nn.Module, keep: Callable[[str], bool] = lambda name: True) -> list[Linear]:
    """The shapes of the linear layers inside a module whose names are to be kept."""
    return [
        (part.in_features, part.out_features)
        for name, part in module.named_modules()
        if isinstance(part, nn.Linear | DecodingLinear) and keep(name)
    ]


def gather(products: Iterable[Product]) -> list[Product]:
    """Equal products as one, with the sum of their counts."""
    counts: Counter[Product] = Counter()
    for product in products:
        counts[product._replace(times=1)] += product.times
    return [product._replace(times=times) for product, times in counts.items()]


def multiply_adds(products: Iterable[Product]) -> int:
    """Of all products."""
    return sum(product.multiply_adds for product in products)


def weights_read(products: Iterable[Product]) -> int:
    """Values of weights that have to be read, once a product."""
    return sum(p.inner * p.columns * p.times for p in products if p.weight)
