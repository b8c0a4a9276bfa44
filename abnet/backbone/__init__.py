"""A Hugging Face language model as `embed`, `layers` and `lm_head`.

The one folder that knows transformers' internals. BERT, RoBERTa / XLM-R / CamemBERT, ELECTRA
(generators) and DistilBERT style masked LMs and GPT-2 come in through `FAMILIES`.
"""

from abnet.backbone.backbone import Backbone, attention_bias, causal_bias
from abnet.backbone.families import FAMILIES, Family, Halves
from abnet.backbone.loading import (
    TransformerShape,
    check_family,
    load_backbone,
    load_bert_config,
    random_backbone,
    shape_backbone,
    take_apart,
    transformer_backbone,
)

__all__ = [
    "FAMILIES",
    "Backbone",
    "Family",
    "Halves",
    "TransformerShape",
    "attention_bias",
    "causal_bias",
    "check_family",
    "load_backbone",
    "load_bert_config",
    "random_backbone",
    "shape_backbone",
    "take_apart",
    "transformer_backbone",
]
