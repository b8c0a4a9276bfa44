"""Every system as one row: encoder x decoder x objective, what trains, and the paper's figures.

A row's name is a preset of `AbNetConfig` and an architecture of the fairseq plugin;
`scripts/reproduce/system.sh NAME CORPUS PAIR` prepares, trains, decodes and scores it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CRITERIA = {  # of the plugin, by objective
    "conditional_masked_lm": "conditional_masked_lm",
    "autoregressive": "autoregressive_lm",
    "ctc": "ctc_lm",
    "dag": "dag_lm",
}
ONE_PASS = ("ctc", "dag")  # objectives whose decoder reads frames


@dataclass(frozen=True)
class System:
    """One system.

    Attributes:
        group: which family it belongs to.
        summary: what it is, in one line.
        options: the fields of `AbNetConfig` in which it differs from the defaults.
        bleu: the paper's BLEU, by corpus and direction; "_bt" with back-translations added.
        stands_in: the paper's tables and figures that have it, as the scripts are called that make
            them.
        trained_millions: the paper's count of trained parameters (its Table 1), in millions.
        both_berts: one model for both sides, instead of the two languages' BERTs.
        source_bert, target_bert: a model for a side, instead of the language's BERT.
        starts_from: the system whose trained weights it takes over.
        soft_teacher: the system whose checkpoint gives it soft labels, to be trained before it.
    """

    group: str
    summary: str
    options: Mapping[str, Any] = field(default_factory=dict)
    bleu: Mapping[str, float] = field(default_factory=dict)
    stands_in: tuple[str, ...] = ()
    trained_millions: int | None = None
    both_berts: str | None = None
    source_bert: str | None = None
    target_bert: str | None = None
    starts_from: str | None = None
    soft_teacher: str | None = None

    @property
    def objective(self) -> str:
        """What it is trained for."""
        return str(self.options.get("objective", "conditional_masked_lm"))

    @property
    def criterion(self) -> str:
        """The plugin's criterion, `fairseq-train --criterion`."""
        return CRITERIA[self.objective]


# The paper's 67M trained parameters hold a length table of 1,024 rows. How the length loss is
# weighed it does not say: that is the released code's.
_PAPERS: dict[str, Any] = {
    "length_classes": 1024,
    "length_loss_weight": 0.1,
    "loss_normalization": "target",
}
_RELEASED: dict[str, Any] = {
    **_PAPERS,
    "decoder_adapter_norm": "post",
    "adapter_init": "released",
    "adapter_attention_dropout": 0.0,
    "target_noise": "bert",
    "source_noise": 0.1,
}
_IWSLT: dict[str, Any] = {**_PAPERS, "encoder_adapter_dim": 512}
_WMT: dict[str, Any] = {**_PAPERS, "encoder_adapter_dim": 2048}
_MASK_PREDICT: dict[str, Any] = {"length_classes": 1024, "loss_normalization": "target"}
_SCRATCH = {"encoder": "transformer", "decoder": "transformer"}
_AUTOREGRESSIVE = {"objective": "autoregressive"}
_FUSED = {"encoder": "bert_fused", "decoder": "bert_fused"}
_BIG = {"transformer_dim": 1024, "transformer_ffn_dim": 4096, "transformer_heads": 16}
# Yang et al. 2020, with a BERT-Base: their shape, loss and schedule.
_CT_NMT: dict[str, Any] = {
    **_AUTOREGRESSIVE,
    "encoder": "ct_nmt",
    "decoder": "transformer",
    "train": "all",
    "transformer_encoder_layers": 12,
    "transformer_dim": 768,
    "transformer_ffn_dim": 3072,
    "transformer_heads": 12,
    "transformer_attention_dropout": 0.1,
    "distillation_weight": 0.1,
    "bert_rate_rise": 10_000,
    "bert_rate_end": 20_000,
}
# Rothe et al. 2020: all trains, cross-attention inside each layer, no adapters. Their RoBERTas are
# XLM-Rs here, which know both languages. As everywhere, a source has no [CLS].
_WARM_STARTED: dict[str, Any] = {
    **_AUTOREGRESSIVE,
    "train": "all",
    "cross_attention": "inside",
    "encoder_adapter_layers": 0,
}
_RANDOM_SOURCE, _RANDOM_TARGET = {"source_weights": "random"}, {"target_weights": "random"}

_GRAPH: dict[str, Any] = {
    "decoder_adapter_ffn_dim": 2048,
    "lexical_adapter_dim": 128,
    "objective": "dag",
    "frames_per_piece": 4,
    "spread_source": True,
    "label_smoothing": 0.0,
}

SYSTEMS: dict[str, System] = {
    "abnet": System(
        "AB-Net",
        "AB-Net with what helped in our search (docs/recipe.md)",
        {
            "decoder_adapter_ffn_dim": 2048,
            "lexical_adapter_dim": 128,
            "length_loss_weight": 0.1,
            "spread_source": True,
        },
    ),
    "abnet_iwslt_de_en": System(
        "AB-Net",
        "AB-Net in the paper's shape for IWSLT14",
        _IWSLT,
        {"iwslt14.de-en": 36.49},
        ("table1", "table3a", "table3b", "figure2", "figure3a", "figure3b"),
    ),
    "abnet_wmt_en_de": System(
        "AB-Net",
        "AB-Net in the paper's shape for WMT",
        _WMT,
        {"wmt16_ro_en.ro-en": 35.63, "wmt14.en-de": 28.69, "wmt14.de-en": 33.57},
        ("table1",),
        67,
    ),
    "abnet_released_iwslt_de_en": System(
        "AB-Net",
        "the released code's shape, noise and loss for IWSLT14",
        {
            **_RELEASED,
            "encoder_adapter_dim": 512,
            "decoder_adapter_ffn_dim": 512,
            "decoder_adapter_heads": 4,
        },
    ),
    "abnet_released_wmt_en_de": System(
        "AB-Net",
        "the released code's shape, noise and loss for WMT",
        {
            **_RELEASED,
            "encoder_adapter_dim": 2048,
            "decoder_adapter_ffn_dim": 2048,
            "decoder_adapter_heads": 8,
        },
    ),
    "abnet_top6_decoder": System(
        "AB-Net",
        "decoder adapters in the top 6 layers only",
        {**_IWSLT, "decoder_adapter_layers": 6},
        {"iwslt14.de-en": 34.60},
        ("table3b",),
    ),
    "abnet_top6": System(
        "AB-Net",
        "adapters in the top 6 layers of both BERTs only",
        {**_IWSLT, "encoder_adapter_layers": 6, "decoder_adapter_layers": 6},
        {"iwslt14.de-en": 33.78},
        ("table3b",),
    ),
    "abnet_fb": System(
        "AB-Net",
        "AB-Net FB: both BERTs train too",
        {**_IWSLT, "train": "all"},
        stands_in=("figure3a",),
    ),
    "abnet_sc": System(
        "AB-Net",
        "AB-Net SC: the same shape from random weights (the paper's does not converge)",
        {**_IWSLT, "train": "all", **_RANDOM_SOURCE, **_RANDOM_TARGET},
        stands_in=("figure3a",),
    ),
    "abnet_ctc": System(
        "AB-Net",
        "AB-Net that translates in one pass: CTC over [MASK]s spread through the source",
        {
            "decoder_adapter_ffn_dim": 2048,
            "lexical_adapter_dim": 128,
            "objective": "ctc",
            "reveal_frames": 0.5,
            "spread_source": True,
            "label_smoothing": 0.0,
        },
    ),
    "abnet_dag": System(
        "AB-Net",
        "AB-Net that translates in one pass: the best path through a graph of words",
        {**_GRAPH, "reveal_frames": 0.5},
    ),
    "abnet_dag_fuzzy": System(
        "AB-Net",
        "the same, trained on for the n-grams that are expected of its graph",
        {**_GRAPH, "fuzzy_ngrams": 2, "fuzzy_likelihood_weight": 0.05},
        starts_from="abnet_dag",
    ),
    "abnet_enc": System(
        "one-sided",
        "AB-Net-Enc: source BERT with adapters, Transformer decoder, parallel decoding",
        {**_WMT, "decoder": "transformer"},
        {"iwslt14.de-en": 34.45, "wmt14.en-de": 28.08},
        ("table1", "table3b"),
        78,
    ),
    "abnet_enc_ar": System(
        "one-sided",
        "AB-Net-Enc: source BERT with adapters, Transformer decoder, autoregressive",
        {**_WMT, "decoder": "transformer", **_AUTOREGRESSIVE},
        {
            "wmt14.en-de": 30.60,
            "wmt14.en-fr": 43.56,
            "wmt16_ro_en_bt.ro-en": 39.21,
            "iwslt14.en-de": 29.96,
        },
        ("table2",),
    ),
    "abnet_causal": System(
        "one-sided",
        "two frozen BERTs with adapters, the target's under a causal mask, autoregressive",
        {**_IWSLT, **_AUTOREGRESSIVE},
        {"iwslt14.en-de": 26.40},
    ),
    "abnet_gpt": System(
        "hybrids",
        "source BERT with adapters, frozen GPT-2 with adapters, autoregressive",
        {**_IWSLT, **_AUTOREGRESSIVE},
        target_bert="gpt2",
    ),
    "abnet_roberta_gpt": System(
        "hybrids",
        "the same with an XLM-R (or RoBERTa) as source",
        {**_IWSLT, **_AUTOREGRESSIVE},
        source_bert="xlm-roberta-base",
        target_bert="gpt2",
    ),
    "transformer_base": System(
        "from scratch",
        "Transformer-Base on the BERTs' vocabularies, autoregressive",
        {**_SCRATCH, **_AUTOREGRESSIVE},
        {
            "iwslt14.de-en": 33.59,
            "wmt16_ro_en.ro-en": 34.46,
            "wmt14.en-de": 28.04,
            "wmt14.de-en": 32.69,
        },
        ("table1", "table3a"),
        74,
    ),
    "transformer_big": System(
        "from scratch",
        "Transformer-Big on the BERTs' vocabularies, autoregressive",
        {
            **_SCRATCH,
            **_AUTOREGRESSIVE,
            **_BIG,
            "transformer_dropout": 0.3,
            "transformer_attention_dropout": 0.1,
        },
        {"wmt14.en-de": 28.91, "wmt14.en-fr": 42.23, "wmt16_ro_en_bt.ro-en": 36.46},
        ("table2",),
    ),
    "mask_predict": System(
        "from scratch",
        "Mask-Predict: a Transformer on the BERTs' vocabularies, parallel decoding",
        {**_SCRATCH, **_MASK_PREDICT},
        {
            "iwslt14.de-en": 31.71,
            "wmt16_ro_en.ro-en": 33.31,
            "wmt14.en-de": 27.03,
            "wmt14.de-en": 30.53,
        },
        ("table1", "table3a"),
        75,
    ),
    "bert_fused": System(
        "BERT-Fused",
        "BERT-Fused: a Transformer whose layers also attend to the frozen source BERT, "
        "autoregressive",
        {**_FUSED, **_AUTOREGRESSIVE},
        {"wmt14.en-de": 30.75, "wmt14.en-fr": 43.78, "wmt16_ro_en_bt.ro-en": 39.10},
        ("table2",),
        starts_from="transformer_base",
    ),
    "bert_fused_nat": System(
        "BERT-Fused",
        "BERT-Fused NAT: Mask-Predict whose layers also attend to the frozen source BERT",
        {**_FUSED, **_MASK_PREDICT},
        {
            "iwslt14.de-en": 33.14,
            "wmt16_ro_en.ro-en": 34.12,
            "wmt14.en-de": 27.73,
            "wmt14.de-en": 32.10,
        },
        ("table1",),
        90,
        starts_from="mask_predict",
    ),
    "bert_distilled": System(
        "BERT as a teacher",
        "BERT-Distilled: Transformer-Base with soft labels of a conditional masked LM on the "
        "target BERT, autoregressive",
        {**_SCRATCH, **_AUTOREGRESSIVE, "soft_label_weight": 0.5},
        {"wmt14.en-de": 27.53},
        ("table2",),
        soft_teacher="abnet_fb",
    ),
    "ct_nmt": System(
        "BERT as a teacher",
        "CT-NMT: a Transformer with a dynamic switch to the source BERT, asymptotic distillation "
        "and rate-scheduled learning, autoregressive",
        _CT_NMT,
        {"wmt14.en-de": 30.10, "wmt14.en-fr": 42.30},
        ("table2",),
    ),
    "bert2bert": System(
        "warm-started",
        "BERT2BERT: two BERTs and new cross-attention, all trains",
        _WARM_STARTED,
    ),
    "bert2gpt": System(
        "warm-started",
        "BERT2GPT2: a BERT as encoder, a GPT-2 as decoder, all trains",
        _WARM_STARTED,
        target_bert="gpt2",
    ),
    "roberta2gpt": System(
        "warm-started",
        "RoBERTa2GPT2: an XLM-R (or RoBERTa) as encoder, a GPT-2 as decoder, all trains",
        _WARM_STARTED,
        source_bert="xlm-roberta-base",
        target_bert="gpt2",
    ),
    "rnd2gpt": System(
        "warm-started",
        "Rnd2GPT2: a GPT-2 as decoder, the encoder of a BERT's shape from random weights",
        {**_WARM_STARTED, **_RANDOM_SOURCE},
        target_bert="gpt2",
    ),
    "bert_share": System(
        "warm-started",
        "BERTShare: one BERT in encoder and decoder, all trains",
        {**_WARM_STARTED, "share_bert": True},
        both_berts="bert-base-multilingual-cased",
    ),
    "roberta_share": System(
        "warm-started",
        "RoBERTaShare: one XLM-R (or RoBERTa) in encoder and decoder, all trains",
        {**_WARM_STARTED, "share_bert": True},
        both_berts="xlm-roberta-base",
    ),
    "bert2rnd": System(
        "warm-started",
        "BERT2Rnd: a BERT as encoder, the decoder a BERT's embeddings and layers of random weights",
        {**_WARM_STARTED, "target_weights": "random_layers"},
    ),
    "rnd2bert": System(
        "warm-started",
        "Rnd2BERT: a BERT as decoder, the encoder a BERT's embeddings and layers of random weights",
        {**_WARM_STARTED, "source_weights": "random_layers"},
    ),
    "rnd2rnd": System(
        "warm-started",
        "Rnd2Rnd: the shape of BERT2BERT from random weights",
        {**_WARM_STARTED, **_RANDOM_SOURCE, **_RANDOM_TARGET},
    ),
}

PRESETS: dict[str, dict[str, Any]] = {
    name: dict(system.options) for name, system in SYSTEMS.items()
}
