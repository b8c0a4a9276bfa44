"""The systems of the Multi30k comparison, and what each begins with."""

from __future__ import annotations

from abnet.systems import SYSTEMS as SYSTEM_TABLE
from scripts.reproduce.sizes import KEPT_DECODING, KEPT_REWARDS

FAIRSEQ = ("transformer", "cmlm")  # fairseq's own
PAPERS_PRESET = "abnet_iwslt_de_en"  # has nothing that the paper has not: a search begins there
ARCHITECTURES = {  # of ours, in the plugin
    "abnet": PAPERS_PRESET,
    "abnet_minilm": PAPERS_PRESET,
    "abnet_corrected": PAPERS_PRESET,
    "abnet_rescored": PAPERS_PRESET,
    "abnet_reranked": PAPERS_PRESET,
    "abnet_after_ctc": PAPERS_PRESET,
    "abnet_top_half": PAPERS_PRESET,
    "abnet_no_decoder_adapters": PAPERS_PRESET,
    "abnet_fb": "abnet_fb",
    "abnet_sc": "abnet_sc",
    "abnet_ctc": "abnet_ctc",
    "abnet_ctc_refined": "abnet_ctc",
    "abnet_dag": "abnet_dag",
    "abnet_dag_ranked": "abnet_dag",
    "abnet_dag_fuzzy": "abnet_dag_fuzzy",
    "abnet_dag_fuzzy_ranked": "abnet_dag_fuzzy",
    "abnet_enc": "abnet_enc",
    "abnet_enc_ar": "abnet_enc_ar",
    "mask_predict": "mask_predict",
    "bert_fused_nat": "bert_fused_nat",
    "bert2bert": "bert2bert",
}
ABNETS = (PAPERS_PRESET, "abnet_fb", "abnet_sc", "abnet_ctc", "abnet_dag", "abnet_dag_fuzzy")
SYSTEMS = (*FAIRSEQ, *ARCHITECTURES)
TRAINED_AS = {  # the same checkpoint, decoded in another way
    "abnet_rescored": "abnet_corrected",
    "abnet_reranked": "abnet_corrected",
    "abnet_ctc_refined": "abnet_ctc",
    "abnet_dag_ranked": "abnet_dag",
    "abnet_dag_fuzzy_ranked": "abnet_dag_fuzzy",
}
RERANKERS = {"abnet_reranked": "abnet_enc_ar"}  # which chooses among the length candidates
STARTS = {"abnet_corrected": "abnet", "abnet_after_ctc": "abnet_ctc"}
"""By system, the one that it goes on from; those of presets stand in `abnet.systems`."""
WITH_LEXICON = ("abnet", "abnet_dag")  # the others have been trained without one so far
SHAPED_AS_ABNET = tuple(name for name, arch in ARCHITECTURES.items() if arch in ABNETS)


def is_ours(system: str) -> bool:
    """Whether it is ours, rather than one of fairseq's."""
    return system in ARCHITECTURES


def objective_of(system: str) -> str:
    """The objective of a system of ours."""
    return SYSTEM_TABLE[ARCHITECTURES[system]].objective


def kept_decoding(system: str, direction: str) -> tuple[str, ...]:
    """What was found to help a system of ours decode."""
    kept = KEPT_DECODING.get(system) or KEPT_DECODING.get(objective_of(system), ())
    return (*kept, *KEPT_REWARDS.get((system, direction), ()))


def start_of(system: str) -> str | None:
    """The system whose trained weights one of ours takes over."""
    if system in STARTS:
        return STARTS[system]
    if system in TRAINED_AS:
        return TRAINED_AS[system]
    return SYSTEM_TABLE[ARCHITECTURES[system]].starts_from if is_ours(system) else None


def starts_of(system: str) -> list[str]:
    """All systems that are trained before one of ours, the first one first."""
    start = start_of(system)
    return [] if start is None else [*starts_of(start), start]
