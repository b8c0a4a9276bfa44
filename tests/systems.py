"""Every system at toy size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from abnet.config import AbNetConfig
from abnet.decoding.hypothesis import Hypothesis
from abnet.model import AbNet
from abnet.systems import SYSTEMS
from abnet.training.objective import Pairs, training_loss
from tests.batches import batch
from tests.tiny import ENGLISH, GERMAN


class Toys(NamedTuple):
    """Folders of random models: two BERTs of different widths, a GPT-2 and a German RoBERTa.

    `teacher` is the checkpoint of a small `abnet_fb`.
    """

    german: str
    english: str
    gpt: str
    roberta: str = ""
    teacher: str = ""


SMALL: dict[str, Any] = {
    "encoder_adapter_dim": 8,
    "transformer_encoder_layers": 2,
    "transformer_decoder_layers": 2,
    "transformer_dim": 16,
    "transformer_ffn_dim": 32,
    "transformer_heads": 4,
    "transformer_dropout": 0.0,
    "transformer_attention_dropout": 0.0,
    "bert_dropout": 0.0,
    "adapter_dropout": 0.0,
    "drop_net": 0.0,
    "length_classes": 48,
}


def small_options(name: str) -> dict[str, Any]:
    """What makes a system of `abnet.systems` small, without dropout."""
    options = SYSTEMS[name].options
    fewer: dict[str, Any] = {
        layers: 2
        for layers in ("encoder_adapter_layers", "decoder_adapter_layers")
        if options.get(layers)
    }
    for size in ("decoder_adapter_ffn_dim", "lexical_adapter_dim"):
        if options.get(size):
            fewer[size] = 8
    return {**SMALL, **fewer}


def berts_of(name: str, toys: Toys) -> tuple[str, str]:
    """The source and target model of a system, German to English."""
    system = SYSTEMS[name]
    if system.both_berts:
        both = toys.roberta if "roberta" in system.both_berts else toys.german
        return both, both
    source = toys.roberta if system.source_bert else toys.german
    return source, toys.gpt if system.target_bert else toys.english


def needs(name: str, toys: Toys) -> dict[str, Any]:
    """The options that name what a system needs to have been trained before it."""
    return {"soft_teacher": toys.teacher} if SYSTEMS[name].soft_teacher else {}


def small_config(name: str, toys: Toys, **changes: Any) -> AbNetConfig:
    """A small system."""
    source, target = berts_of(name, toys)
    options = {**small_options(name), **needs(name, toys), **changes}
    return AbNetConfig.from_preset(name, source_bert=source, target_bert=target, **options)


def small_model(name: str, toys: Toys, **changes: Any) -> AbNet:
    """The model of `small_config`, its new weights always the same."""
    torch.manual_seed(3)
    return AbNet.from_pretrained(small_config(name, toys, **changes))


def lively_model(name: str, toys: Toys, **changes: Any) -> AbNet:
    """The same with larger weights, so that all it reads shows, in evaluation mode."""
    model = small_model(name, toys, **changes).eval()
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dim() == 2:
            parameter.data *= 5
    return model


def small_pairs(model: AbNet) -> Pairs:
    """Eight German sentences and their translations."""
    source, target = model.source_tokenizer, model.target_tokenizer
    assert source is not None
    assert target is not None
    return Pairs(
        batch(source, GERMAN),
        batch(target, ENGLISH),
        len(source.vocabulary),
        len(target.vocabulary),
    )


def learn(
    model: AbNet, pairs: Pairs, *decodings: Callable[[], Sequence[Sequence[Hypothesis]]]
) -> bool:
    """At most 1,000 updates on one batch, at a rate that falls to zero.

    Returns whether all decodings came to give the targets; every 100 updates they are tried.
    """
    ends = (model.target_symbols.pad, model.target_symbols.sep)
    targets = [[id for id in row if id not in ends] for row in pairs.target.tolist()]
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    rate = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=1000)
    generator = torch.Generator().manual_seed(1)
    for update in range(1, 1001):
        parts = training_loss(model, model.train(), pairs, generator, training=True)
        optimizer.zero_grad()
        (parts.loss / parts.sample_size).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        rate.step()
        if update % 100 == 0:
            model.eval()
            found = [[best.tokens.tolist() for best, *_ in decode()] for decode in decodings]
            if all(translations == targets for translations in found):
                return True
    return False
