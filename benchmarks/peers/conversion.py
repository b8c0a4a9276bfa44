"""fairseq's weights for CTranslate2."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import torch

from abnet.bench.engine import Materials
from abnet.bench.work import Parts
from abnet.errors import AbNetError
from benchmarks.peers.models import first_model, parts_of, task_of


def convert(materials: Materials, compute_type: str, system: str) -> tuple[Path, Parts]:
    """A model of fairseq as CTranslate2 reads them.

    Its `FairseqConverter` reads checkpoints; these models are in memory, so what it does with one
    is done here, with its own functions.

    Raises:
        AbNetError: CTranslate2 is not installed.
    """
    try:
        from ctranslate2.converters import fairseq as converter
        from ctranslate2.specs import TransformerSpec, common_spec
    except ImportError:
        raise AbNetError(
            "CTranslate2 is not installed: `pip install ab-net[bench]` brings it."
        ) from None
    made = deepcopy(first_model(materials, system))  # it quantizes weights where they are
    folder = Path(materials.folder) / f"{system}-{compute_type}"
    if not folder.exists():
        spec = TransformerSpec.from_config(
            (len(made.encoder.layers), len(made.decoder.layers)),
            materials.size.transformer.heads,
            pre_norm=False,
            activation=common_spec.Activation.RELU,
        )
        with torch.no_grad():
            converter.set_transformer_encoder(spec.encoder, made.encoder)
            converter.set_transformer_decoder(spec.decoder, made.decoder)
        task = task_of(materials)
        for register, dictionary in (
            (spec.register_source_vocabulary, task.source_dictionary),
            (spec.register_target_vocabulary, task.target_dictionary),
        ):
            register(["<blank>" if s == "<pad>" else s for s in dictionary.symbols])
        spec.config.decoder_start_token = spec.config.eos_token
        spec.config.add_source_eos = True
        spec.validate()
        spec.optimize(quantization=None if compute_type == "float32" else compute_type)
        folder.mkdir()
        spec.save(str(folder))
    return folder, parts_of(made)
