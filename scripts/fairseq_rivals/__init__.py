"""For `--user-dir`: fairseq's CMLM as the comparison decodes it, on a GPU too."""

from __future__ import annotations

from typing import Any

import torch
from fairseq.tasks import register_task
from fairseq.tasks.translation_lev import TranslationLevenshteinConfig, TranslationLevenshteinTask

from abnet.checkpoint import SAFE_GLOBALS
from benchmarks.peers.refinement import Refinement

torch.serialization.add_safe_globals(SAFE_GLOBALS)  # what fairseq's checkpoints hold


@register_task("translation_lev_anywhere", dataclass=TranslationLevenshteinConfig)
class TranslationLevAnywhereTask(TranslationLevenshteinTask):
    """`translation_lev`, whose length beam ends in an error on a GPU."""

    def build_generator(self, models: Any, args: Any, **unused: Any) -> Refinement:
        """The generator, with the options that the comparison gives."""
        return Refinement(
            self.target_dictionary,
            max_iter=args.iter_decode_max_iter,
            beam_size=args.iter_decode_with_beam,
            adaptive=not args.iter_decode_force_max_iter,
        )
