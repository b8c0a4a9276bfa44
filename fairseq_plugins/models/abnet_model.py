"""AB-Net as a fairseq model, with an option for every choice and the presets as architectures."""

from __future__ import annotations

import dataclasses
import logging
import types
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, Optional, get_args, get_type_hints

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.models import BaseFairseqModel, register_model, register_model_architecture
from fairseq.optim import FairseqOptimizer
from omegaconf import DictConfig
from torch import Tensor

from abnet.checkpoint import FAIRSEQ_IDENTITY, FAIRSEQ_PREFIX
from abnet.config import AbNetConfig
from abnet.errors import AbNetError
from abnet.field_help import field_help
from abnet.identity import check_identities, identities_from_json, identities_to_json
from abnet.model import AbNet, AbNetOutput
from abnet.systems import PRESETS
from fairseq_plugins.bert_rate import mark_berts
from fairseq_plugins.full_precision import copies_of, restore_copies
from fairseq_plugins.training_run import prepare_training

logger = logging.getLogger(__name__)


def _option(field: dataclasses.Field[Any], hint: Any, help: str) -> tuple[str, Any, Any]:
    """A field of `AbNetConfig` in the shape that fairseq makes an option of."""
    if isinstance(hint, types.UnionType):
        hint = Optional[get_args(hint)[0]]  # noqa: UP045 - fairseq does not know `X | None`
    default = field.default
    if default is dataclasses.MISSING:
        default, hint = None, Optional[hint]  # noqa: UP045 - a dataclass of fairseq needs defaults
    return field.name, hint, dataclasses.field(default=default, metadata={"help": help})


def _config_class() -> type:
    hints, texts = get_type_hints(AbNetConfig), field_help()
    options = [_option(f, hints[f.name], texts[f.name]) for f in dataclasses.fields(AbNetConfig)]
    made = dataclasses.make_dataclass("AbNetModelConfig", options, bases=(FairseqDataclass,))
    made.__module__ = __name__
    return made


AbNetModelConfig = _config_class()


@register_model("abnet_model", dataclass=AbNetModelConfig)
class AbNetModel(BaseFairseqModel):
    """Holds the library's model; its state is the trained weights and the BERTs' identity.

    Attributes:
        abnet: the model.
        num_updates: how many updates it has seen, for the masks.
        decodes_only: whether it will not be trained on.
        optimizer: that makes its steps, once there has been one.
        unrounded: by weight, what it began with or a checkpoint had of it, in 32 bits, until the
            first step: by then `--bf16` and `--fp16` have rounded the weight itself.
    """

    def __init__(self, abnet: AbNet) -> None:
        super().__init__()
        self.abnet = abnet
        mark_berts(abnet)
        self.num_updates = 0
        self.decodes_only = False
        self.optimizer: FairseqOptimizer | None = None
        self.unrounded = {
            weight: weight.detach().clone() for weight in abnet.parameters() if weight.requires_grad
        }

    @classmethod
    def add_args(cls, parser: ArgumentParser) -> None:
        """An option for each choice, and `--no-...` against what a preset has switched on."""
        super().add_args(parser)
        for field in dataclasses.fields(AbNetConfig):
            if isinstance(field.default, bool):
                option = "--" + field.name.replace("_", "-")
                parser.add_argument(
                    option.replace("--", "--no-", 1),
                    dest=field.name,
                    action="store_false",
                    help=f"against {option} of the architecture",
                )

    @classmethod
    def build_model(cls, cfg: DictConfig | Namespace, task: Any) -> AbNetModel:
        """Loads the BERTs that the options name.

        Raises:
            AbNetError: see `AbNet.from_pretrained`.
        """
        given: Mapping[str, Any] = vars(cfg) if isinstance(cfg, Namespace) else cfg
        for name in ("source_bert", "target_bert"):
            if given.get(name) is None:
                flag = "--" + name.replace("_", "-")
                raise AbNetError(f"`{flag}` must be a Hugging Face name or folder, but is missing.")
        return cls(AbNet.from_pretrained(AbNetConfig.from_dict(given)))

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuses: fairseq's hub interface would not cut text as the BERTs do.

        Raises:
            AbNetError: always; `abnet.Translator` is what it would be.
        """
        raise AbNetError(
            "`from_pretrained` must not be called: `abnet.Translator.from_checkpoint(path)` "
            "translates text with a checkpoint."
        )

    def forward(
        self, source: Tensor, target: Tensor, predict: Tensor, gold: Tensor | None = None
    ) -> AbNetOutput:
        """See `AbNet.forward`."""
        output: AbNetOutput = self.abnet(source, target, predict, gold)
        return output

    def max_positions(self) -> tuple[int, int]:
        """The most tokens of a source and of a target, [SEP] included, for all that read them."""
        teacher = self.abnet.soft_teacher
        readers = [self.abnet] if teacher is None else [self.abnet, teacher.model]
        longest_source = min(reader.max_source_positions for reader in readers)
        return longest_source, min(reader.max_target_positions for reader in readers)

    def set_num_updates(self, num_updates: int) -> None:
        """Called before each update."""
        self.num_updates = num_updates

    def before_step(self, optimizer: FairseqOptimizer) -> None:
        """Called before each step of the optimizer."""
        restore_copies(optimizer, self.unrounded)
        self.unrounded, self.optimizer = {}, optimizer

    def prepare_for_inference_(self, cfg: DictConfig) -> None:
        """Called by `fairseq-generate` and `fairseq-interactive` before they decode."""
        super().prepare_for_inference_(cfg)
        self.decodes_only = True

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Trained weights, in 32 bits where they train in these, and the BERTs' identity.

        The identity is that of both, as the bytes of a JSON text.
        """
        weights = dict(self.abnet.named_parameters())
        full = self.unrounded if self.optimizer is None else dict(copies_of(self.optimizer))
        state = {
            FAIRSEQ_PREFIX + name: tensor
            if tensor.dtype == torch.float32
            else full.get(weights[name], tensor)
            for name, tensor in self.abnet.trained_state_dict().items()
        }
        identity = identities_to_json(self.abnet.identities).encode()
        return {**state, FAIRSEQ_IDENTITY: torch.tensor(list(identity), dtype=torch.uint8)}

    def load_state_dict(
        self,
        state_dict: Mapping[str, Tensor],
        strict: bool = True,
        model_cfg: DictConfig | None = None,
        args: Namespace | None = None,
    ) -> None:
        """Takes over trained weights, always strictly.

        Raises:
            AbNetError: they belong to other BERTs, to a model of another shape, or to none of ours.
        """
        try:
            if FAIRSEQ_IDENTITY not in state_dict:
                raise AbNetError(
                    "The checkpoint must be one of AB-Net, but records no BERTs: it is of another "
                    "model."
                )
            recorded = bytes(state_dict[FAIRSEQ_IDENTITY].tolist()).decode()
            check_identities(identities_from_json(recorded), self.abnet.identities)
            weights = {
                name.removeprefix(FAIRSEQ_PREFIX): tensor
                for name, tensor in state_dict.items()
                if name != FAIRSEQ_IDENTITY
            }
            self.abnet.load_trained_state_dict(weights)
        except AbNetError as error:
            logger.error(error)  # the trainer replaces it by a guess
            raise
        self.optimizer = None  # the trainer makes another one
        self.unrounded = {
            weight: weights[name]
            for name, weight in self.abnet.named_parameters()
            if name in weights and weights[name].itemsize > weight.itemsize
        }


def _architecture(preset: str) -> Callable[[Namespace | DictConfig], None]:
    def fill(args: Namespace | DictConfig) -> None:
        """Sets what the command line has not.

        A checkpoint, which comes as a `DictConfig`, has set all that there was when it was written;
        what is newer is not of its model, whatever its preset has by now.
        """
        if not isinstance(args, Namespace):
            return
        for name, value in PRESETS[preset].items():
            if name not in args:
                setattr(args, name, value)
        prepare_training(args)

    return fill


for _preset in PRESETS:
    register_model_architecture("abnet_model", _preset)(_architecture(_preset))
