"""Which BERT a checkpoint belongs to, by content rather than by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from abnet.backbone import Backbone
from abnet.errors import AbNetError
from abnet.tokenizer import Tokenizer

NO_WEIGHTS = "none"  # the weight hash where only a BERT's vocabulary or shape is used
NOT_RECORDED = ""  # in checkpoints of before it was
TOKENIZER = "tokenizer.json and tokenizer_config.json"  # without which a vocab.txt is lower-cased


class BertIdentity(NamedTuple):
    """A BERT as a checkpoint records it; each hash reads "sha256:<hex>".

    Attributes:
        name: the Hugging Face name or the folder.
        vocab_hash, pieces_hash: see `Tokenizer`.
        weight_hash: of the weights in use (no pooler, no unused head), or `NO_WEIGHTS`.
        settings: see `Backbone`.
    """

    name: str
    vocab_hash: str
    weight_hash: str
    pieces_hash: str = NOT_RECORDED
    settings: str = NOT_RECORDED

    @classmethod
    def of(cls, tokenizer: Tokenizer, backbone: Backbone, with_weights: bool) -> BertIdentity:
        """That of a BERT whose weights are used, or only its vocabulary or shape."""
        weights = backbone.weight_hash() if with_weights else NO_WEIGHTS
        return cls(
            tokenizer.name, tokenizer.vocab_hash, weights, tokenizer.pieces_hash, backbone.settings
        )


def identities_to_json(identities: Mapping[str, BertIdentity]) -> str:
    """As the checkpoint stores them."""
    return json.dumps({side: identity._asdict() for side, identity in identities.items()})


def identities_from_json(text: str) -> dict[str, BertIdentity]:
    """The inverse of `identities_to_json`.

    Raises:
        AbNetError: the text is not one that it wrote.
    """
    try:
        return {side: BertIdentity(**fields) for side, fields in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise AbNetError(f"The checkpoint's record of its BERTs is damaged: {error}") from error


def check_identities(
    recorded: Mapping[str, BertIdentity], loaded: Mapping[str, BertIdentity]
) -> None:
    """Refuses BERTs other than those that the adapters were trained on; names may differ.

    Raises:
        AbNetError: a vocabulary, the weights, how text is cut or how layers compute differs, or
            one side's record is missing.
    """
    for side in ("source", "target"):
        if side not in recorded:
            raise AbNetError(f"The checkpoint must record its {side} BERT, but does not.")
        then, now = recorded[side], loaded[side]
        for what, before, after, files in (
            ("vocabulary", then.vocab_hash, now.vocab_hash, ""),
            ("weights", then.weight_hash, now.weight_hash, ""),
            ("pieces of a text", then.pieces_hash, now.pieces_hash, f", {TOKENIZER} included"),
            ("settings", then.settings, now.settings, ", config.json included"),
        ):
            if before != after and NOT_RECORDED not in (before, after):
                raise AbNetError(
                    f"The {what} of the {side} BERT must be what the checkpoint was trained on "
                    f"({then.name!r}, {_short(before)}), but {now.name!r} has {_short(after)} "
                    f"instead. Give the BERT that it was trained with{files}."
                )


def _short(recorded: str) -> str:
    return recorded[:19] if recorded.startswith("sha256:") else recorded
