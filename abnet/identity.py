"""Which BERT a checkpoint belongs to, by content rather than by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from abnet.backbone import Backbone
from abnet.errors import AbNetError
from abnet.tokenizer import Tokenizer

NO_WEIGHTS = "none"  # the weight hash where only a BERT's vocabulary or shape is used


class BertIdentity(NamedTuple):
    """A BERT as a checkpoint records it; each hash reads "sha256:<hex>"."""

    name: str
    vocab_hash: str
    weight_hash: str

    @classmethod
    def of(cls, tokenizer: Tokenizer, backbone: Backbone | None) -> BertIdentity:
        """Hashes the vocabulary and the weights in use (no pooler, no unused head), if any are."""
        weights = NO_WEIGHTS if backbone is None else backbone.weight_hash()
        return cls(tokenizer.name, tokenizer.vocab_hash, weights)


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
        AbNetError: a vocabulary or the weights differ, or one side's record is missing.
    """
    for side in ("source", "target"):
        if side not in recorded:
            raise AbNetError(f"The checkpoint must record its {side} BERT, but does not.")
        then, now = recorded[side], loaded[side]
        for what, before, after in (
            ("vocabulary", then.vocab_hash, now.vocab_hash),
            ("weights", then.weight_hash, now.weight_hash),
        ):
            if before != after:
                raise AbNetError(
                    f"The {what} of the {side} BERT must be what the checkpoint was trained on "
                    f"({then.name!r}, {before[:19]}), but {now.name!r} has {after[:19]} instead. "
                    "Give the BERT that it was trained with."
                )
