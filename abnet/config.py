"""Every choice of a model, and the named presets."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from abnet.errors import AbNetError


@dataclass(frozen=True)
class AbNetConfig:
    """The choices that make an AB-Net (Guo et al., NeurIPS 2020, "the paper").

    Each field's text is also the help of the option of the same name. The defaults follow the
    paper; where it is silent they say so. "Released" means the paper's released code.

    Raises:
        AbNetError: a value is outside of what its field allows.
    """

    source_bert: str
    """Hugging Face name or local folder of the frozen BERT of the source language."""
    target_bert: str
    """Hugging Face name or local folder of the frozen BERT of the target language."""
    encoder_adapter_dim: int = 2048
    """Hidden size dAenc of the encoder's feed-forward adapters (Eq. 4)."""
    encoder_adapter_layers: int | None = None
    """Adapters in the top k source layers only; all if not given, 0 for none."""
    decoder_adapter_layers: int | None = None
    """Adapters in the top k target layers only; all if not given, 0 for none."""
    decoder_adapter_ffn_dim: int = 0
    """Hidden size of a feed-forward block behind each cross-attention; 0 for none (Eq. 6)."""
    decoder_adapter_heads: int | None = None
    """Heads of the cross-attention; the target BERT's if not given."""
    decoder_adapter_norm: str = "pre"
    """Layer norm of a decoder adapter: "pre" in the branch, "post" behind the sum (released)."""
    adapter_init: str = "identity"
    """"identity": adapters change nothing at first; "released": Xavier, as the released code."""
    adapter_dropout: float = 0.1
    """Dropout of a decoder adapter's branches."""
    bert_dropout: float = 0.1
    """Dropout inside the two frozen BERTs while the adapters train."""
    keep_cls: bool = False
    """Whether the model puts [CLS] in front of source and target (never masked, not counted)."""
    length_classes: int = 512
    """Rows of the length table: lengths 1 .. n-1 can be predicted, row 0 is [LENGTH] itself."""
    train_head: str = "none"
    """Of the target BERT's masked-LM head trains: "none", its "bias", or "transform" and bias."""
    mask_count: str = "uniform"
    """Of L target tokens while training are chosen: "uniform", U{1..L}; "cosine", more often many;
    "share", a fixed 15 %, as BERT."""
    target_noise: str = "mask"
    """A chosen target token becomes: "mask", or "bert" (80 % [MASK], 10 % random, rest kept)."""
    source_noise: float = 0.0
    """Share of the source that is corrupted as one span while training; released: 0.1."""
    label_smoothing: float = 0.1
    """Label smoothing of the word loss."""
    length_loss_weight: float = 1.0
    """Weight of the length loss; released: 0.1."""
    loss_normalization: str = "masked"
    """The loss is a mean over "masked" tokens, or is divided by all "target" tokens (released)."""
    correction: float = 0.0
    """Share of the revealed target tokens that become the model's own guesses, to be corrected."""
    r_drop: float = 0.0
    """Weight of R-Drop: two passes with different dropout must agree; 0 for one pass."""

    def __post_init__(self) -> None:
        for name in ("source_bert", "target_bert"):
            if not getattr(self, name):
                raise AbNetError(
                    f"`{name}` must be a Hugging Face name or a folder, but is empty instead."
                )
        for name, least in (
            ("encoder_adapter_dim", 1),
            ("encoder_adapter_layers", 0),
            ("decoder_adapter_layers", 0),
            ("decoder_adapter_ffn_dim", 0),
            ("decoder_adapter_heads", 1),
            ("length_classes", 2),
            ("length_loss_weight", 0),
            ("r_drop", 0),
        ):
            value = getattr(self, name)
            if value is not None and value < least:
                raise AbNetError(f"`{name}` must be at least {least}, but is {value} instead.")
        for name in (
            "adapter_dropout",
            "bert_dropout",
            "source_noise",
            "label_smoothing",
            "correction",
        ):
            value = getattr(self, name)
            if not 0.0 <= value < 1.0:
                raise AbNetError(f"`{name}` must be in [0, 1), but is {value} instead.")
        for name, allowed in (
            ("decoder_adapter_norm", ("pre", "post")),
            ("adapter_init", ("identity", "released")),
            ("train_head", ("none", "bias", "transform")),
            ("mask_count", ("uniform", "cosine", "share")),
            ("target_noise", ("mask", "bert")),
            ("loss_normalization", ("masked", "target")),
        ):
            value = getattr(self, name)
            if value not in allowed:
                raise AbNetError(f"`{name}` must be one of {allowed}, but is {value!r} instead.")

    def to_dict(self) -> dict[str, Any]:
        """All fields by name, as plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> AbNetConfig:
        """A config from a mapping that may hold other keys too; missing fields take defaults.

        Raises:
            AbNetError: `source_bert` or `target_bert` is missing, or a value is not allowed.
        """
        known = {name: values[name] for name in CONFIG_FIELDS if name in values}
        for name in ("source_bert", "target_bert"):
            if name not in known:
                raise AbNetError(f"`{name}` must be given, but is missing.")
        return cls(**known)

    @classmethod
    def from_preset(cls, preset: str, **overrides: Any) -> AbNetConfig:
        """The named preset with some fields overridden.

        Raises:
            AbNetError: no such preset.
        """
        if preset not in PRESETS:
            raise AbNetError(
                f"`preset` must be one of {sorted(PRESETS)}, but is {preset!r} instead."
            )
        return cls.from_dict({**PRESETS[preset], **overrides})


CONFIG_FIELDS = tuple(field.name for field in fields(AbNetConfig))

_RELEASED: dict[str, Any] = {
    "decoder_adapter_norm": "post",
    "adapter_init": "released",
    "length_classes": 1024,
    "target_noise": "bert",
    "source_noise": 0.1,
    "length_loss_weight": 0.1,
    "loss_normalization": "target",
}

PRESETS: dict[str, dict[str, Any]] = {
    "abnet": {},
    # The paper's shapes. Its 67M trained parameters hold a length table of 1,024 rows.
    "abnet_iwslt_de_en": {"encoder_adapter_dim": 512, "length_classes": 1024},
    "abnet_wmt_en_de": {"encoder_adapter_dim": 2048, "length_classes": 1024},
    # The released code's shapes, noise and loss.
    "abnet_released_iwslt_de_en": {
        **_RELEASED,
        "encoder_adapter_dim": 512,
        "decoder_adapter_ffn_dim": 512,
        "decoder_adapter_heads": 4,
    },
    "abnet_released_wmt_en_de": {
        **_RELEASED,
        "encoder_adapter_dim": 2048,
        "decoder_adapter_ffn_dim": 2048,
    },
}


def field_help() -> dict[str, str]:
    """The text below each field of `AbNetConfig`, by field name, for command-line help."""
    body = ast.parse(inspect.getsource(AbNetConfig)).body[0]
    if not isinstance(body, ast.ClassDef):
        raise TypeError("AbNetConfig must be a class")
    texts = {}
    for statement, following in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
        ):
            texts[statement.target.id] = str(following.value.value)
    return texts
