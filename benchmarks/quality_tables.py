"""Tables of how well systems translate, of what they cost, and of the words they find."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from benchmarks.markdown import NOT_MEASURED, markdown_table
from benchmarks.recipe_tables import of_recipe

SYSTEMS = {
    "abnet": "AB-Net",
    "abnet_corrected": "AB-Net, trained on with corrections",
    "abnet_rescored": "AB-Net, trained on with corrections, the best of 4 by itself",
    "abnet_reranked": (
        "AB-Net, trained on with corrections, the best of 4 by AB-Net-Enc, autoregressive"
    ),
    "abnet_minilm": "AB-Net, a real MiniLM as English BERT",
    "abnet_top_half": "AB-Net, adapters in the top half",
    "abnet_no_decoder_adapters": "AB-Net without decoder adapters",
    "abnet_fb": "AB-Net FB, all trained",
    "abnet_sc": "AB-Net SC, from random weights",
    "abnet_ctc": "AB-Net with CTC, one pass",
    "abnet_ctc_refined": "AB-Net with CTC, ten passes",
    "abnet_dag": "AB-Net with a graph of words, one pass",
    "abnet_dag_ranked": "AB-Net with a graph of words, the best of 8 by its target BERT",
    "abnet_dag_fuzzy": "AB-Net with a graph of words, trained on for n-grams",
    "abnet_dag_fuzzy_ranked": (
        "AB-Net with a graph of words, trained on for n-grams, the best of 8 by its target BERT"
    ),
    "abnet_after_ctc": "AB-Net, begun as the one with CTC",
    "abnet_enc": "AB-Net-Enc, parallel",
    "abnet_enc_ar": "AB-Net-Enc, autoregressive",
    "bert_fused_nat": "BERT-Fused NAT",
    "bert2bert": "BERT2BERT",
    "mask_predict": "Mask-Predict from scratch (ours)",
    "transformer": "Transformer (fairseq)",
    "cmlm": "CMLM (fairseq)",
}
IN_SHORT = (
    "abnet", "abnet_rescored", "abnet_ctc", "abnet_dag", "abnet_dag_fuzzy",
    "abnet_dag_fuzzy_ranked", "transformer", "mask_predict", "cmlm",
)  # fmt: skip
"""The systems that a reader meets first."""

Column = Callable[[dict[str, Any]], str]
LEADING_COLUMNS: dict[str, Column] = {
    "direction": lambda r: str(r["direction"]),
    "size": lambda r: str(r.get("size", NOT_MEASURED)),
    "system": lambda r: _system(r),
}


def summary_table(records: Sequence[dict[str, Any]], dataset: str) -> str:
    """A line a system and size with the BLEU of each direction, of the systems of `IN_SHORT`."""
    latencies = _latencies(records, dataset)
    lines: dict[tuple[str, str], dict[str, Any]] = {}
    for row in _quality_rows(records, dataset):
        if row["system"] in IN_SHORT and "earlier_recipe" not in row:
            line = lines.setdefault(
                (row.get("size", ""), row["system"]), {**row, "by_direction": {}}
            )
            line["by_direction"][row["direction"]] = row
    if not lines:
        return f"No results on {dataset} yet.\n"
    columns = {name: LEADING_COLUMNS[name] for name in ("size", "system")}
    directions = sorted({name for line in lines.values() for name in line["by_direction"]})
    for direction in directions:
        columns[f"BLEU {direction}"] = partial(_of_direction, direction=direction, cell=_bleu)
    columns["passes"] = lambda r: str(r.get("passes", NOT_MEASURED))
    columns["trained parameters"] = _trained
    for direction in directions:
        columns[f"latency {direction}"] = partial(
            _of_direction,
            direction=direction,
            cell=lambda r: _latency(latencies.get(_compared(r))),
        )
    return markdown_table(columns, lines.values())


def quality_table(records: Sequence[dict[str, Any]], dataset: str) -> str:
    """A Markdown table of the quality results on one dataset, with their signatures below.

    Those of an `earlier_recipe` have a table of their own. Where some are of distilled data, a
    column says of each which data it is of. The time of a sentence alone is in parts of another
    system's, measured in turn with it.
    """
    rows = [row for row in _quality_rows(records, dataset) if "earlier_recipe" not in row]
    latencies = _latencies(records, dataset)
    if not rows:
        return f"No results on {dataset} yet.\n"
    columns: dict[str, Column] = {
        **LEADING_COLUMNS,
        "BLEU": _bleu,
        "lower-cased": _lowercase,
        "chrF": lambda r: f"{r['chrf']:.1f}",
        "passes": lambda r: str(r.get("passes", NOT_MEASURED)),
        "trained / all parameters": _parameters,
        "training": _training,
        "pre-training": _pretraining,
        "peak memory": _memory,
        "latency": lambda r: _latency(latencies.get(_compared(r))),
        "device": lambda r: str(r["device"]),
    }
    if any(row["distilled"] for row in rows):
        columns["training data"] = _training_data
    signatures = sorted({row["signature"] for row in rows})
    table = markdown_table(columns, rows)
    return "\n".join([table, *(f"`{signature}`  " for signature in signatures)]) + "\n"


def history_table(records: Sequence[dict[str, Any]], dataset: str) -> str:
    """The systems that have results of earlier recipes, with these and with today's."""
    rows = _quality_rows(records, dataset)
    systems = {row["system"] for row in rows if "earlier_recipe" in row}
    if not systems:
        return f"No earlier recipes on {dataset}.\n"
    columns: dict[str, Column] = {
        **LEADING_COLUMNS,
        "BLEU": _bleu,
        "chrF": lambda r: f"{r['chrf']:.1f}",
        "trained / all parameters": _parameters,
        "training": _training,
        "pre-training": _pretraining,
    }
    return markdown_table(columns, [row for row in rows if row["system"] in systems])


def words_table(records: Sequence[dict[str, Any]], dataset: str) -> str:
    """Which share of the references' words is found, by how often the training data have them.

    Of one seed, whose BLEU stands beside it.
    """
    rows = [row for row in _quality_rows(records, dataset) if "found_by_frequency" in row]
    if not rows:
        return f"No words of {dataset} counted yet.\n"
    columns: dict[str, Column] = {
        **LEADING_COLUMNS,
        "BLEU": lambda r: f"{r['bleu_by_seed'][0]:.1f}",
    }
    for place, (name, _, _) in enumerate(rows[0]["found_by_frequency"]):
        columns[name] = partial(_share_found, place=place)
    return markdown_table(columns, rows)


def _system(record: dict[str, Any]) -> str:
    return of_recipe(SYSTEMS.get(record["system"], record["system"]), record)


def _share_found(record: dict[str, Any], place: int) -> str:
    _, words, found = record["found_by_frequency"][place]
    return f"{100 * found / words:.1f} % of {words:,}" if words else NOT_MEASURED


def _quality_rows(records: Iterable[dict[str, Any]], dataset: str) -> list[dict[str, Any]]:
    """The quality results on a dataset in the order of the tables."""
    order = list(SYSTEMS)

    def place(row: dict[str, Any]) -> tuple[str, str, int, str, bool]:
        system = row["system"]
        at = order.index(system) if system in order else len(order)
        return row["direction"], row.get("size", ""), at, system, "earlier_recipe" not in row

    rows = [row for row in records if row["kind"] == "quality" and row["dataset"] == dataset]
    return sorted(rows, key=place)


def _bleu(record: dict[str, Any]) -> str:
    scores = record["bleu_by_seed"]
    text = f"{record['bleu']:.1f}"
    if len(scores) > 1:
        text += f" ({min(scores):.1f} to {max(scores):.1f}, {len(scores)} seeds)"
    return text


def _lowercase(record: dict[str, Any]) -> str:
    return f"{record['bleu_lowercase']:.1f}" if "bleu_lowercase" in record else NOT_MEASURED


def _training_data(record: dict[str, Any]) -> str:
    return f"distilled by {record['teacher']}" if record["distilled"] else "raw"


def _of_direction(line: dict[str, Any], direction: str, cell: Column) -> str:
    rows = line["by_direction"]
    return cell(rows[direction]) if direction in rows else NOT_MEASURED


def _trained(record: dict[str, Any]) -> str:
    if "trained_parameters" not in record:
        return NOT_MEASURED
    return _millions(record["trained_parameters"])


def _parameters(record: dict[str, Any]) -> str:
    if "trained_parameters" not in record or "total_parameters" not in record:
        return NOT_MEASURED
    return f"{_millions(record['trained_parameters'])} / {_millions(record['total_parameters'])}"


def _millions(count: int) -> str:
    return f"{count / 1e6:.1f}M"


def _training(record: dict[str, Any]) -> str:
    """Minutes and updates of training, and of what it goes on from or chooses by."""
    if "train_seconds" not in record:
        return NOT_MEASURED
    times = record.get("train_seconds_by_seed", [record["train_seconds"]])
    text = " to ".join(dict.fromkeys(f"{time / 60:.0f}" for time in (min(times), max(times))))
    text += " min"
    if "updates" in record:
        text += f" ({record['updates']:,} updates)"
    if record.get("precision", "float32") != "float32":
        text += f" in {record['precision']}"
    others = [("after", start) for start in reversed(record.get("starts", ()))]
    if "reranker" in record:
        others.append(("and", record["reranker"]))
    for word, other in others:
        text += f" {word} {other['train_seconds'] / 60:.0f} min ({other['updates']:,} updates)"
        text += f' as "{SYSTEMS[other["system"]]}"'
    return text


def _pretraining(record: dict[str, Any]) -> str:
    """Minutes of all its BERTs together, and the updates of each."""
    if "pretrain_seconds" not in record:
        return NOT_MEASURED
    updates = max(record["pretrain_updates"])
    return f"{record['pretrain_seconds'] / 60:.0f} min ({updates:,} updates)"


def _memory(record: dict[str, Any]) -> str:
    """The most that training held at a time."""
    if "peak_memory_bytes" not in record:
        return NOT_MEASURED
    return f"{record['peak_memory_bytes'] / 1e9:.1f} GB"


def _latencies(records: Iterable[dict[str, Any]], dataset: str) -> dict[Any, dict[str, Any]]:
    """The latency results on a dataset, by what each is of."""
    return {_compared(r): r for r in records if r["kind"] == "latency" and r["dataset"] == dataset}


def _compared(record: dict[str, Any]) -> tuple[str, str, str, tuple[int, ...]]:
    """What a quality and a latency result must have in common."""
    updates = tuple(record.get("pretrain_updates", ()))
    return record["direction"], record.get("size", ""), record["system"], updates


def _latency(record: dict[str, Any] | None) -> str:
    """In parts of the Transformer's, or of the named system's; in milliseconds too on a GPU."""
    if record is None:
        return NOT_MEASURED
    text = f"{record['ratio']:.2f}"
    if record.get("compared_with", "transformer") != "transformer":
        text += f" of {record['compared_with']}"
    if "seconds" in record:
        text += f" ({1000 * record['seconds']:.1f} ms)"
    return text
