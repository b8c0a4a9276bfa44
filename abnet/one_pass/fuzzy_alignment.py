"""How much of a target a graph is expected to say: n-grams of any path rather than likelihood.

The likelihood of a graph asks for the target as a whole on one path, and a translation that differs
in a word counts as nothing. Its expected n-grams count each part of the target that any path has.

Legend: B sentences, F frames, T target positions.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from abnet.tokenizer import SymbolIds


def fuzzy_alignment(
    said: Tensor, links: Tensor, frames: Tensor, target: Tensor, symbols: SymbolIds, n: int
) -> Tensor:
    """The expected n-gram precision of each graph times its brevity penalty (Ma et al., ICLR 2023).

    `sum_g min(E[C_g], C_g(y)) / sum_g E[C_g] * min(1, exp(1 - L_y / E[L]))`, where g runs over the
    target's n-grams above and over all n-grams below, C_g is how often one occurs, and L counts
    words. [CLS] and [SEP] are words here, said by the first frame and the last, so that a
    sentence's beginning and end count.

    Args:
        said, links, frames, target, symbols: see `abnet.one_pass.dag_loss.dag_loss`.
        n: words of an n-gram, at least 1.

    Returns:
        (B,) from 0 to 1; 0 for a target that is shorter than an n-gram.
    """
    inside = symbols.words(target)
    sizes, last = inside.sum(dim=1), frames.eq(symbols.mask).sum(dim=1) - 1
    sentence = F.pad(target, (1, 0), value=symbols.cls)  # [CLS] w1 .. wL [SEP]
    said = _with_ends(F.pad(said.exp(), (1, 0)), last, sizes)
    next_to = links.exp()
    passed = _passing(next_to)

    grams = max(sentence.size(1) - n + 1, 0)
    counted = passed[:, :, None] * said[:, :, :grams]
    for word in range(1, n):
        counted = next_to.transpose(1, 2) @ counted * said[:, :, word : word + grams]
    expected = counted.sum(dim=1)

    places = torch.arange(grams, device=target.device)
    real = places < (sizes + 2 - n)[:, None]
    equal = torch.ones_like(real)[:, :, None] & real[:, None]
    for word in range(n):
        own = sentence[:, word : word + grams]
        equal = equal & own[:, :, None].eq(own[:, None])
    times = equal.sum(dim=2).clamp(min=1)
    found = (torch.minimum(expected, times) / times).masked_fill(~real, 0.0).sum(dim=1)
    length = passed.sum(dim=1)
    brevity = (1 - (sizes + 1) / length).clamp(max=0.0).exp()
    return found / (length - n + 1).clamp(min=1.0) * brevity


def _with_ends(said: Tensor, last: Tensor, sizes: Tensor) -> Tensor:
    """The probabilities (B, F, 1 + T) of words, but [CLS] and [SEP] for sure at the ends alone."""
    frame = torch.arange(said.size(1), device=said.device)[None, :, None]
    place = torch.arange(said.size(2), device=said.device)[None, None]
    at_first, at_last = frame == 0, frame == last[:, None, None]
    is_first, is_last = place == 0, place == sizes[:, None, None]
    ends = (at_first & is_first) | (at_last & is_last)
    return said.masked_fill(at_first | at_last | is_first | is_last, 0.0).masked_fill(ends, 1.0)


def _passing(next_to: Tensor) -> Tensor:
    """(B, F): how probably a path goes through each frame, `p = e_1 + A^T p`."""
    eye = torch.eye(next_to.size(1), device=next_to.device, dtype=next_to.dtype)
    start = eye[:, :1].expand(next_to.size(0), -1, 1)
    system = (eye - next_to).transpose(1, 2)
    passed: Tensor = torch.linalg.solve_triangular(system, start, upper=False, unitriangular=True)
    return passed.squeeze(2)
