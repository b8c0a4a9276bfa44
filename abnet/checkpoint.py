"""Checkpoints: trained weights and the identity of the BERTs they belong to, no frozen weight.

Two formats: the library's own (safetensors) and what the fairseq plugin writes (.pt). Both are read
without executing code, and whatever the file is called.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pickle
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor

from abnet.config import FOR_TRAINING, AbNetConfig, check_fields
from abnet.errors import AbNetError
from abnet.identity import (
    BertIdentity,
    check_identities,
    identities_from_json,
    identities_to_json,
)
from abnet.model import AbNet
from abnet.permissions import usual_permissions

FAIRSEQ_PREFIX = "abnet."
FAIRSEQ_IDENTITY = "abnet.bert_identity"

SAFE_GLOBALS: list[Any] = [
    # What fairseq puts into its files beside tensors: options, and numpy scalars of --eval-bleu.
    argparse.Namespace,
    np.float64(0).__reduce__()[0],
    np.zeros(0).__reduce__()[0],
    np.ndarray,
    np.dtype,
    *(type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)),
]


class CheckpointContents(NamedTuple):
    """A checkpoint as read from disk.

    Attributes:
        config: of the model.
        identities: of its BERTs, "source" and "target".
        weights: trained weights under the library's names.
        envelope: all of a fairseq file but the above; empty for the library's format.
    """

    config: AbNetConfig
    identities: dict[str, BertIdentity]
    weights: dict[str, Tensor]
    envelope: dict[str, Any]


def save_checkpoint(path: str | Path, model: AbNet) -> None:
    """Writes the trained weights with config and identities as safetensors; replaces atomically.

    Raises:
        AbNetError: the disk is full or the folder cannot be written; an older file stays whole.
    """
    contents = CheckpointContents(model.config, model.identities, model.trained_state_dict(), {})
    write_checkpoint(path, contents)


def load_checkpoint(path: str | Path, overrides: Mapping[str, Any] | None = None) -> AbNet:
    """Loads a model in evaluation mode, with the BERTs that the checkpoint names.

    Files that it once began with or was taught by are not read again.

    Args:
        path: the library's .safetensors or a fairseq .pt of the plugin.
        overrides: config fields to replace, such as a `source_bert` that has moved.

    Raises:
        AbNetError: the file is missing, damaged or not one of ours, the BERTs are not those that
            the adapters were trained on, or there is no such field.
    """
    given = overrides or {}
    check_fields(given)
    contents = read_checkpoint(path)
    own = {**contents.config.to_dict(), **dict.fromkeys(FOR_TRAINING)}
    config = AbNetConfig.from_dict({**own, **given})
    try:
        model = AbNet.from_pretrained(config)
    except AbNetError as error:
        raise AbNetError(
            f"{error} The checkpoint {path} was trained with source_bert = "
            f"{contents.config.source_bert!r} and target_bert = {contents.config.target_bert!r}: "
            "if one has moved, or is relative to another folder, say where it is now "
            "(`source_bert`, `target_bert`)."
        ) from error
    check_identities(contents.identities, model.identities)
    model.load_trained_state_dict(contents.weights)
    return model.eval()


def read_checkpoint(path: str | Path) -> CheckpointContents:
    """Reads either format; see `load_checkpoint` for the errors."""
    path = Path(path)
    if path.is_dir():
        raise AbNetError(f"{str(path)!r} is a folder: name a checkpoint in it.")
    if not path.is_file():
        raise AbNetError(f"There is no checkpoint {str(path)!r}.")
    return _read_safetensors(path) if _is_safetensors(path) else _read_fairseq(path)


def write_checkpoint(path: str | Path, contents: CheckpointContents) -> None:
    """Writes fairseq's format if the contents have its envelope and the file is not called
    .safetensors, else the library's; atomically.

    Raises:
        AbNetError: see `save_checkpoint`.
    """
    if contents.envelope and Path(path).suffix != ".safetensors":
        identity = torch.tensor(
            list(identities_to_json(contents.identities).encode()), dtype=torch.uint8
        )
        weights = {FAIRSEQ_PREFIX + name: tensor for name, tensor in contents.weights.items()}
        state = {**contents.envelope, "model": {**weights, FAIRSEQ_IDENTITY: identity}}
        _replace(Path(path), lambda file: torch.save(state, file))
        return
    weights = {name: tensor.contiguous().cpu() for name, tensor in contents.weights.items()}
    metadata = {
        "format": "abnet",
        "config": json.dumps(contents.config.to_dict()),
        "identities": identities_to_json(contents.identities),
    }
    metadata["content_hash"] = _content_hash(metadata, weights)

    def write(file: str) -> None:
        save_file(weights, file, metadata)
        usual_permissions(file)

    _replace(Path(path), write)


def _is_safetensors(path: Path) -> bool:
    """Whether a header in JSON begins behind its length of 8 bytes; no archive has that there."""
    try:
        with path.open("rb") as file:
            return file.read(9)[8:] == b"{"
    except OSError:
        return False


def _read_safetensors(path: Path) -> CheckpointContents:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError) as error:
        raise _damaged(path, error) from error
    if metadata.get("format") != "abnet":
        raise AbNetError(
            f"{str(path)!r} must be a checkpoint of AB-Net, but is another safetensors file."
        )
    if metadata.pop("content_hash", None) != _content_hash(metadata, weights):
        raise _damaged(path, "its content is not what was written")
    config = AbNetConfig.from_dict(json.loads(metadata["config"]))
    return CheckpointContents(config, identities_from_json(metadata["identities"]), weights, {})


def _read_fairseq(path: Path) -> CheckpointContents:
    if not is_whole(path):
        raise _damaged(path, "it is no complete archive")
    try:
        # Leaving the context takes its classes away, even those that someone had allowed before.
        allowed = torch.serialization.get_safe_globals()
        with (
            torch.serialization.safe_globals([one for one in SAFE_GLOBALS if one not in allowed]),
            path.open("rb") as file,  # for torch goes by the name of a path
        ):
            state = torch.load(file, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise _damaged(path, error) from error
    weights = state.get("model") if isinstance(state, dict) else None
    if not isinstance(weights, dict) or FAIRSEQ_IDENTITY not in weights:
        raise AbNetError(
            f"{str(path)!r} must be a checkpoint of AB-Net, but records no BERTs: it is of another "
            "model, or of a version that cannot be read."
        )
    identity = bytes(weights[FAIRSEQ_IDENTITY].tolist()).decode()
    options = state["cfg"]["model"]
    config = AbNetConfig.from_dict(options if isinstance(options, dict) else vars(options))
    return CheckpointContents(
        config,
        identities_from_json(identity),
        {
            name.removeprefix(FAIRSEQ_PREFIX): tensor
            for name, tensor in weights.items()
            if name != FAIRSEQ_IDENTITY
        },
        {key: value for key, value in state.items() if key != "model"},
    )


def is_whole(path: Path) -> bool:
    """Whether the file is a complete torch archive whose checksums are right."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError):
        return False  # a flipped byte can also look like another compression or a password


def _content_hash(metadata: Mapping[str, str], weights: Mapping[str, Tensor]) -> str:
    """SHA-256 over all that a file holds; safetensors itself has no checksum."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return f"sha256:{digest.hexdigest()}"


def _damaged(path: Path, error: Exception | str) -> AbNetError:
    return AbNetError(
        f"The checkpoint {str(path)!r} cannot be read: it is truncated, damaged, or holds objects "
        f"that would need code to be executed. ({error})"
    )


def _replace(path: Path, write: Callable[[str], None]) -> None:
    """Writes beside the file, then takes its place, so that a failure leaves the old file whole."""
    if not path.name or path.is_dir():
        raise AbNetError(
            f"The checkpoint '{path}' cannot be written: it is a folder, so name a file in it."
        )
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(str(part))
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        raise AbNetError(
            f"The checkpoint {str(path)!r} cannot be written ({error}); an older one is untouched."
        ) from error
