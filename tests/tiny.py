"""Small random BERTs, saved as ordinary Hugging Face folders."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers
from transformers import BertTokenizer, PreTrainedModel

GERMAN = [
    "der kleine Hund läuft über die Wiese .",
    "ein Mann im blauen Hemd steht auf einer Leiter .",
    "zwei Frauen spielen am Strand mit einem Ball .",
    "das Mädchen isst einen roten Apfel , und der Junge schläft .",
    "am dritten Mai um zehn Uhr fährt der Zug ab .",
    "drei Katzen sitzen unter dem alten Tisch .",
    "der Arzt liest heute Abend ein langes Buch .",
    "im Winter liegt viel Schnee auf den Dächern .",
]
ENGLISH = [
    "the little dog runs across the meadow .",
    "a man in a blue shirt stands on a ladder .",
    "two women play with a ball on the beach .",
    "the girl eats a red apple , and the boy sleeps .",
    "the train leaves on the third of May at ten .",
    "three cats sit under the old table .",
    "the doctor reads a long book this evening .",
    "in winter there is much snow on the roofs .",
]
SYMBOLS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def forget_case(folder: Path) -> Path:
    """Leaves a BERT its vocab.txt alone, which transformers takes for one in lower case."""
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    return folder


def make_bert(folder: Path, text: list[str], seed: int, kind: str = "bert", **shape: int) -> Path:
    """Saves a random masked LM of some kind with a WordPiece tokenizer made from `text`.

    Args:
        kind: "bert", "roberta", "roberta-prelayernorm", "electra" or "distilbert".
        shape: overrides of hidden, layers, heads, positions.
    """
    pieces = vocabulary(text)
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("".join(f"{p}\n" for p in pieces), encoding="utf-8")
    BertTokenizer(str(folder / "vocab.txt"), do_lower_case=False).save_pretrained(folder)
    torch.manual_seed(seed)
    model = random_model(kind, len(pieces), **shape)
    model.save_pretrained(folder)
    return folder


def vocabulary(text: list[str]) -> list[str]:
    """Symbols, characters and most words: a learned one would be another one in each process."""
    words = sorted({word for line in text for word in line.split()})
    characters = sorted(set("".join(words)))
    pieces = [
        *characters,
        *("##" + character for character in characters),
        *(word for number, word in enumerate(words) if number % 7),
    ]
    return list(dict.fromkeys([*SYMBOLS, *pieces]))


def random_model(
    kind: str,
    vocab_size: int,
    hidden: int = 32,
    layers: int = 3,
    heads: int = 4,
    positions: int = 48,
) -> PreTrainedModel:
    """A masked LM whose random weights are large enough to tell its inputs apart."""
    common = {"vocab_size": vocab_size, "initializer_range": 0.3, "pad_token_id": 0}
    if kind == "distilbert":
        config: transformers.PretrainedConfig = transformers.DistilBertConfig(
            dim=hidden, hidden_dim=2 * hidden, n_layers=layers, n_heads=heads,
            max_position_embeddings=positions, **common,
        )  # fmt: skip
        return transformers.DistilBertForMaskedLM(config)
    classes = {
        "bert": (transformers.BertConfig, transformers.BertForMaskedLM, {}),
        "roberta": (transformers.RobertaConfig, transformers.RobertaForMaskedLM, {}),
        "roberta-prelayernorm": (
            transformers.RobertaPreLayerNormConfig,
            transformers.RobertaPreLayerNormForMaskedLM,
            {},
        ),
        "electra": (
            transformers.ElectraConfig,
            transformers.ElectraForMaskedLM,
            {"embedding_size": hidden // 2},
        ),
    }
    make_config, make_model, extra = classes[kind]
    config = make_config(
        hidden_size=hidden, intermediate_size=2 * hidden, num_hidden_layers=layers,
        num_attention_heads=heads, max_position_embeddings=positions, **common, **extra,
    )  # fmt: skip
    return make_model(config)
