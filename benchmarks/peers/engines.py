"""fairseq's generators as the benchmark drives them."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

import torch
from fairseq.data.data_utils import collate_tokens

from abnet.bench.engine import Materials, Output, forced_lengths, module_bytes, release_torch
from abnet.bench.work import Product, gather
from abnet.tokenizer import Tokenizer
from benchmarks.peers.models import parts_of, task_of
from benchmarks.peers.refinement import Refinement

PASSES = 10
LENGTH_BEAM = 4


class _FairseqEngine:
    """What fairseq's generators have in common."""

    in_torch = True

    def __init__(self, materials: Materials, model: Any) -> None:
        self.model = model
        self.task = task_of(materials)
        self.source: Tokenizer
        self.target: Tokenizer
        self.source, self.target = materials.tokenizers
        self.device = materials.device
        self.shift = self.task.source_dictionary.nspecial
        self.weight_bytes = module_bytes(model)

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Ids of fairseq's dictionary with the end."""
        eos = self.task.source_dictionary.eos()
        return [[*(id + self.shift for id in ids), eos] for ids in self.source.encode_batch(lines)]

    def sample(self, encoded: list[list[int]]) -> dict[str, Any]:
        """A batch as fairseq's translation task has it, padded on the left."""
        pad = self.task.source_dictionary.pad()
        tokens = collate_tokens([torch.tensor(ids) for ids in encoded], pad, left_pad=True)
        lengths = torch.tensor([len(ids) for ids in encoded])
        return {
            "net_input": {
                "src_tokens": tokens.to(self.device),
                "src_lengths": lengths.to(self.device),
            }
        }

    def join(self, output: Output) -> list[str]:
        """Raw text."""
        return [
            self.target.decode([id - self.shift for id in tokens.tolist() if id >= self.shift])
            for tokens in output.sentences
        ]

    def release(self) -> None:
        """See `Engine.release`."""
        release_torch(self.device)


class BeamEngine(_FairseqEngine):
    """The generator that `fairseq-generate` builds for a Transformer."""

    def __init__(self, materials: Materials, model: Any, beam: int) -> None:
        super().__init__(materials, model)
        self.beam = beam
        self.generator: Any = self.task.build_generator([model], Namespace(beam=beam))

    def decode(self, encoded: list[list[int]], length: int | None) -> Output:
        """Translates a batch; see `Engine.decode`."""
        generator = self.generator  # fairseq does not count the end
        generator.min_len = 1 if length is None else length - 1
        generator.max_len_b = 200 if length is None else length - 1
        found = generator.generate([self.model], self.sample(encoded))
        sentences = [hypotheses[0]["tokens"].cpu() for hypotheses in found]
        lengths = [tokens.numel() for tokens in sentences]
        return Output(sentences, lengths, max(lengths))

    def work(self, encoded: list[list[int]], length: int | None) -> list[Product] | None:
        """Counted from the lengths."""
        lengths = self.decode(encoded, None).lengths if length is None else [length] * len(encoded)
        longest = max(map(len, encoded))
        return parts_of(self.model).word_by_word(len(encoded), longest, lengths, self.beam)


class CmlmEngine(_FairseqEngine):
    """fairseq's generator of iterative refinement, all passes done; N iterations are N + 1."""

    def __init__(self, materials: Materials, model: Any) -> None:
        super().__init__(materials, model)
        self.generator = Refinement(
            self.task.target_dictionary,
            models=[model],
            max_iter=PASSES - 1,
            beam_size=LENGTH_BEAM,
            adaptive=False,
        )

    def decode(self, encoded: list[list[int]], length: int | None) -> Output:
        """Translates a batch; see `Engine.decode`. Tokens come with both ends, lengths with one."""
        self.model.decoder.forced = None if length is None else length + 1
        found = self.generator.generate([self.model], self.sample(encoded))
        sentences = [hypotheses[0]["tokens"].cpu() for hypotheses in found]
        lengths = [tokens.numel() - 1 for tokens in sentences]
        return Output(sentences, lengths, found[0][0]["steps"] + 1)

    def work(self, encoded: list[list[int]], length: int | None) -> list[Product] | None:
        """What is needed: keys and values once a sentence, logits of masked positions only."""
        if length is None:
            return None  # the lengths that lose are not told
        parts, batch, source = parts_of(self.model), len(encoded), max(map(len, encoded))
        lengths = [max(each, 2) for each in forced_lengths(length + 1, LENGTH_BEAM)]  # both ends
        products = parts.encode(batch, source) + parts.project_source(batch, source)
        for step in range(PASSES):
            share = 1 - step / PASSES
            masked = batch * sum(int((each - 2) * share) for each in lengths)
            seen = max(lengths)
            products += parts.decode(batch, LENGTH_BEAM, seen, seen, source, masked)
        return gather(products)
