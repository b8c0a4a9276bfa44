"""Which classes torch may build while it reads fairseq's files; everything else is refused."""

import collections
import typing

import omegaconf
import torch
from fairseq.distributed import utils as distributed_utils

from abnet.checkpoint import SAFE_GLOBALS

# A resumed distributed run sends its options, an omegaconf tree, from one process to the others.
_BROADCAST = [
    collections.defaultdict,
    dict,
    int,
    list,
    omegaconf.DictConfig,
    omegaconf.ListConfig,
    omegaconf.base.ContainerMetadata,
    omegaconf.base.Metadata,
    omegaconf.nodes.AnyNode,
    typing.Any,
    distributed_utils._TensorPlaceholder,
]


def allow_fairseq_classes() -> None:
    """Adds them to torch's list; nothing turns its safe loading off."""
    torch.serialization.add_safe_globals([*SAFE_GLOBALS, *_BROADCAST])
