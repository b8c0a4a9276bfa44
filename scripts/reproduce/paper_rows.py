"""The rows of the paper's tables and figures: which system on which corpus, and what it says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from abnet.systems import SYSTEMS

IWSLT = "iwslt14"
LOW_RESOURCE = {  # Transformer, Mask-Predict, AB-Net
    "en-it": (29.26, 26.05, 31.81),
    "it-en": (33.57, 29.50, 34.20),
    "en-es": (36.04, 32.15, 37.45),
    "es-en": (39.31, 35.37, 42.66),
    "en-nl": (31.30, 25.78, 32.52),
    "nl-en": (36.19, 32.91, 38.94),
}
# On IWSLT14 fairseq's own recipe and the paper's baselines have more dropout, and the paper's
# encoder adapters are narrower.
SMALL_CORPORA = (IWSLT, "multi30k")
MORE_DROPOUT = ("--transformer-dropout", "0.3")
NARROW_ADAPTERS = ("--encoder-adapter-dim", "512")
# BERT-Fused on WMT14 is of Transformer-Big's size, its BERT of that width (Zhu et al., ICLR 2020).
BIG = (
    *("--transformer-dim", "1024", "--transformer-ffn-dim", "4096", "--transformer-heads", "16"),
    *MORE_DROPOUT,
    *("--transformer-attention-dropout", "0.1"),
)
LARGE_ENGLISH = "bert-large-cased"  # the source of autoregressive systems on large corpora
READ_LARGE_ENGLISH = ("abnet_enc_ar", "bert_fused")
LATENCY_MS = {
    "transformer_base": 778, "mask_predict": 161, "bert_fused_nat": 260, "abnet_wmt_en_de": 327,
    "abnet_enc": 165,
}  # fmt: skip
"""The paper's time of a sentence of WMT14 En-De, alone on a GPU."""


@dataclass(frozen=True)
class Row:
    """One system on one corpus.

    Attributes:
        system: of `abnet.systems`.
        corpus, pair: of `scripts/prepare/CORPUS.sh PAIR`.
        options: of `fairseq-train`, behind those of the corpus and the system.
        label: what the table calls it, if not by the system's name.
        bleu: the paper's figure, tokenized; `None` where it has none.
        latency_ms: the paper's time of a sentence alone; `None` where it has none.
        source_bert, target_bert: instead of the system's or the language's.
    """

    system: str
    corpus: str
    pair: str
    options: tuple[str, ...] = ()
    label: str = ""
    bleu: float | None = None
    latency_ms: int | None = None
    source_bert: str | None = None
    target_bert: str | None = None

    @property
    def name(self) -> str:
        """Of its folder, the same for the same training."""
        options = list(self.options)
        for flag, bert in (
            ("--source-bert", self.source_bert), ("--target-bert", self.target_bert),
        ):  # fmt: skip
            options += [] if bert is None else [flag, bert.replace("/", "-")]
        changed = "".join(option if option.startswith("--") else f"-{option}" for option in options)
        return f"{self.corpus}.{self.pair}/{self.system}{changed.replace('--', '.')}"


def of_system(
    system: str,
    corpus: str,
    pair: str,
    source_bert: str | None = None,
    target_bert: str | None = None,
) -> Row:
    """A system's row as the paper has it, with its figure if there is one.

    With a BERT of one's own it is another system, and has none.
    """
    own, options = SYSTEMS[system], ()
    is_papers = source_bert is None and target_bert is None
    bleu = own.bleu.get(f"{corpus}.{pair}") if is_papers else None
    if corpus in SMALL_CORPORA:
        if own.options.get("decoder", "bert") != "bert":
            options += MORE_DROPOUT
            options += NARROW_ADAPTERS if "encoder_adapter_dim" in own.options else ()
    elif system in READ_LARGE_ENGLISH and pair.startswith("en-"):
        source_bert = source_bert or LARGE_ENGLISH
    if system == "bert_fused" and corpus == "wmt14":
        options += BIG
    return Row(
        system, corpus, pair, options, bleu=bleu, source_bert=source_bert, target_bert=target_bert
    )


def _table1() -> Iterator[Row]:
    tasks = ((IWSLT, "de-en"), ("wmt16_ro_en", "ro-en"), ("wmt14", "en-de"), ("wmt14", "de-en"))
    for system in ("transformer_base", "mask_predict", "bert_fused_nat", "abnet", "abnet_enc"):
        for corpus, pair in tasks:
            name = system
            if system == "abnet":
                name = "abnet_iwslt_de_en" if corpus == IWSLT else "abnet_wmt_en_de"
            row = of_system(name, corpus, pair)
            if (corpus, pair) == ("wmt14", "en-de"):
                row = replace(row, latency_ms=LATENCY_MS[name])
            if row.bleu is not None:
                yield row


def _table2() -> Iterator[Row]:
    tasks = (("wmt14", "en-de"), ("wmt14", "en-fr"), ("wmt16_ro_en_bt", "ro-en"))
    for system in ("transformer_big", "bert_distilled", "ct_nmt", "bert_fused", "abnet_enc_ar"):
        for corpus, pair in tasks:
            row = of_system(system, corpus, pair)
            if row.bleu is not None:
                yield row


def _table3a() -> Iterator[Row]:
    for pair, figures in LOW_RESOURCE.items():
        systems = ("transformer_base", "mask_predict", "abnet_iwslt_de_en")
        for system, bleu in zip(systems, figures, strict=True):
            yield replace(of_system(system, IWSLT, pair), bleu=bleu)


def _table3b() -> Iterator[Row]:
    def row(label: str, system: str, bleu: float | None, *options: str) -> Row:
        return Row(system, IWSLT, "de-en", options, label, bleu)

    no_encoder, no_decoder = (
        ("--encoder-adapter-layers", "0"),
        ("--decoder-adapter-layers", "0"),
    )
    enc = of_system("abnet_enc", IWSLT, "de-en")
    label = "source BERT, no adapters, Transformer decoder"
    yield row(label, "abnet_enc", None, *MORE_DROPOUT, *no_encoder)
    yield replace(enc, label="+ encoder adapters")
    yield row("+ target BERT, no decoder adapters", "abnet_iwslt_de_en", None, *no_decoder)
    yield row("+ decoder adapters", "abnet_iwslt_de_en", 36.49)
    yield row("decoder adapters on the top 6 only", "abnet_top6_decoder", 34.60)
    yield row("both on the top 6 only", "abnet_top6", 33.78)


def _figure2() -> Iterator[Row]:
    for dim in (64, 128, 256, 512, 1024, 2048):
        bleu = {64: 34.81, 512: 36.49}.get(dim)
        options = () if dim == 512 else ("--encoder-adapter-dim", str(dim))
        yield Row("abnet_iwslt_de_en", IWSLT, "de-en", options, f"dAenc {dim}", bleu)


def _figure3a() -> Iterator[Row]:
    for system in ("abnet_iwslt_de_en", "abnet_fb", "abnet_sc"):
        yield of_system(system, IWSLT, "de-en")


def _figure3b() -> Iterator[Row]:
    rows = {row.label: row for row in _table3b()}
    yield rows["+ decoder adapters"]
    yield rows["+ target BERT, no decoder adapters"]


TABLES: dict[str, tuple[Row, ...]] = {
    "table1": tuple(_table1()),
    "table2": tuple(_table2()),
    "table3a": tuple(_table3a()),
    "table3b": tuple(_table3b()),
    "figure2": tuple(_figure2()),
    "figure3a": tuple(_figure3a()),
    "figure3b": tuple(_figure3b()),
}
"""Table 1: parallel systems. Table 2: autoregressive ones. Table 3a: low-resource pairs of IWSLT14.
Table 3b: ablation. Figure 2: the size of the encoder's adapters. Figure 3a: AB-Net against FB and
SC. Figure 3b: with and without decoder adapters. The figures' runs log what their curves need."""
