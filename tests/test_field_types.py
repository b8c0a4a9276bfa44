"""What is taken for what it is not."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from abnet.config import AbNetConfig
from abnet.decoding.beam_search import BeamOptions
from abnet.decoding.mask_predict import DecodingOptions
from abnet.errors import AbNetError
from abnet.one_pass.ctc import CtcOptions
from abnet.one_pass.dag import DagOptions


@pytest.mark.parametrize(
    ("kind", "field", "value", "must"),
    [
        (DecodingOptions, "ban_repeats", "no", "true or false"),
        (DecodingOptions, "force_max_iterations", 1, "true or false"),
        (DecodingOptions, "iterations", 2.5, "a whole number"),
        (DecodingOptions, "iterations", "3", "a whole number"),
        (DecodingOptions, "length_beam", True, "a whole number"),
        (DecodingOptions, "prune_after", "1", "a whole number"),
        (DecodingOptions, "length_penalty", "1", "a number"),
        (DecodingOptions, "length_weight", None, "a number"),
        (BeamOptions, "beam", 2.0, "a whole number"),
        (CtcOptions, "blank_penalty", "1", "a number"),
        (DagOptions, "n_best", 1.5, "a whole number"),
        (AbNetConfig, "encoder_adapter_dim", 1.5, "a whole number"),
        (AbNetConfig, "length_classes", "a", "a whole number"),
        (AbNetConfig, "keep_cls", "yes", "true or false"),
        (AbNetConfig, "lexicon", 3, "a string"),
    ],
)
def test_other_kinds_of_values_are_refused(
    kind: type[Any], field: str, value: object, must: str
) -> None:
    given = {"source_bert": "a", "target_bert": "b"} if kind is AbNetConfig else {}
    with pytest.raises(AbNetError, match=f"`{field}` must be {must}, but is {value!r} instead"):
        kind(**given, **{field: value})


def test_numbers_of_numpy_and_whole_ones_for_others_are_fine() -> None:
    options = DecodingOptions(iterations=np.int64(3), length_penalty=1, prune_after=None)
    assert (options.iterations, options.length_penalty) == (3, 1)
    config = AbNetConfig("a", "b", r_drop=np.float32(0.5), encoder_adapter_dim=np.int64(16))
    assert config == AbNetConfig("a", "b", r_drop=0.5, encoder_adapter_dim=16)
    assert json.loads(json.dumps(config.to_dict()))["encoder_adapter_dim"] == 16
