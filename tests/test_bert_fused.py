from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from abnet.adapters import CrossAttention, KeysValues
from abnet.bert_fused import BertAttention
from abnet.builders import Backbones, build_decoder, build_encoder
from abnet.checkpoint import save_checkpoint
from abnet.config import AbNetConfig
from abnet.describe import describe
from abnet.errors import AbNetError
from abnet.model import AbNet
from tests.systems import Toys, lively_model, small_model, small_pairs


def drawn_shares(drop_net: float, training: bool) -> Counter[float]:
    """How often each share of a layer's own attention comes up in 2,000 calls."""
    attention = CrossAttention(4, 4, 1, 0.0, identity=True)
    join = BertAttention(attention, 0.0, drop_net).train(training)
    torch.nn.init.constant_(attention.out_proj.bias, 3.0)  # all that the BERT says
    nothing = torch.zeros(1, 1, 2, 4)
    source, visible = KeysValues(nothing, nothing), torch.ones(1, 1, 1, 2, dtype=torch.bool)
    own, hidden = torch.ones(1, 1, 4), torch.zeros(1, 1, 4)
    torch.manual_seed(5)
    with torch.no_grad():
        outputs = [join(own, hidden, source, visible)[0, 0, 0].item() for _ in range(2000)]
    return Counter({1.0: 1.0, 3.0: 0.0, 2.0: 0.5}[output] for output in outputs)


@pytest.mark.parametrize(
    ("drop_net", "alone"), [(1.0, 0.5), (0.6, 0.3), (0.0, 0.0)], ids=["always", "often", "never"]
)
def test_drop_net_is_as_frequent_as_it_says(drop_net: float, alone: float) -> None:
    shares = drawn_shares(drop_net, training=True)
    for kept in (0.0, 1.0):  # five standard deviations
        assert shares[kept] / 2000 == pytest.approx(alone, abs=0.055 if alone else 0)
    assert shares[0.5] / 2000 == pytest.approx(1 - 2 * alone, abs=0.055 if 0 < alone < 0.5 else 0)
    assert drawn_shares(drop_net, training=False) == {0.5: 2000}


def test_every_weight_has_a_gradient_under_drop_net(toys: Toys) -> None:
    """Else distributed training would wait for those of the attention that is not kept."""
    model = small_model("bert_fused_nat", toys, drop_net=1.0).train()
    pairs = small_pairs(model)
    output = model(pairs.source, pairs.target, pairs.target.ne(0))
    (output.word_logits.logsumexp(1).sum() + output.length_logits.logsumexp(1).sum()).backward()
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    assert [name for name, weight in trained.items() if weight.grad is None] == []
    assert all(weight.grad is None for weight in model.encoder.bert.parameters())


def silence_bert(model: AbNet) -> None:
    for module in model.modules():
        if isinstance(module, BertAttention):
            torch.nn.init.zeros_(module.attention.out_proj.weight)
            torch.nn.init.zeros_(module.attention.out_proj.bias)


@torch.no_grad()
@pytest.mark.parametrize(
    ("plain", "name"), [("transformer_base", "bert_fused"), ("mask_predict", "bert_fused_nat")]
)
def test_without_the_bert_a_warm_start_is_the_transformer(
    toys: Toys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: str, name: str
) -> None:
    transformer = lively_model(plain, toys)
    save_checkpoint(tmp_path / "plain.safetensors", transformer)
    start = str(tmp_path / "plain.safetensors")
    model = small_model(name, toys, warm_start=start, drop_net=1.0)
    silence_bert(model)
    pairs = small_pairs(model)
    batch = pairs.source, pairs.target, pairs.target.ne(model.target_symbols.pad)

    with monkeypatch.context() as draws:
        draws.setattr(torch, "rand", lambda size: torch.tensor(0.0))  # its own attentions alone
        torch.testing.assert_close(model.train()(*batch), transformer(*batch))

    for layer in transformer.encoder.backbone.layers:  # the mean with nothing is half
        layer.attention.output.dense.weight /= 2
        layer.attention.output.dense.bias /= 2
    for adapter in transformer.decoder.adapters.values():
        adapter.attention.out_proj.weight /= 2
        adapter.attention.out_proj.bias /= 2
    torch.testing.assert_close(model.eval()(*batch), transformer(*batch))


@torch.no_grad()
def test_a_selected_memory_is_that_of_the_sentences_alone(toys: Toys) -> None:
    model = lively_model("bert_fused_nat", toys)
    pairs, rows = small_pairs(model), torch.tensor([5, 2])
    memory = model.project(model.encode(pairs.source))
    target = pairs.target[rows].repeat_interleave(3, dim=0)  # three candidates each
    every = torch.ones_like(target, dtype=torch.bool)
    alone = model.project(model.encode(pairs.source[rows]))
    wanted = model.decode(target, alone, every)
    torch.testing.assert_close(model.decode(target, memory.select(rows), every), wanted)
    assert not model.decode(target, memory.select(rows.flip(0)), every).allclose(wanted, atol=1e-3)


def test_the_bert_limits_the_source_and_not_the_target(toys: Toys) -> None:
    model = small_model("bert_fused", toys)
    assert model.max_source_positions == 48
    assert small_model("bert_fused", toys, keep_cls=True).max_source_positions == 47
    assert model.max_target_positions == 512


def test_all_of_it_trains_if_it_should(toys: Toys) -> None:
    model = small_model("bert_fused", toys, train="all")
    assert any(name.startswith("encoder.bert.") for name in model.trained_state_dict())


@pytest.mark.parametrize(("name", "length"), [("bert_fused", 0), ("bert_fused_nat", 1024 * 512)])
def test_counts(name: str, length: int) -> None:
    berts = {"source_bert": "bert-base-cased", "target_bert": "bert-base-german-cased"}
    counts = describe(AbNetConfig.from_preset(name, **berts))
    plain = describe(AbNetConfig.from_preset("transformer_base", **berts))
    # Queries and output are 512 x 512, keys and values 768 x 512, with four biases of 512.
    attention = 2 * 512 * 512 + 2 * 768 * 512 + 4 * 512
    norm = 2 * 512  # behind the sum in a decoder's layer, as a Transformer has it too
    cross = 4 * 512 * 512 + 4 * 512
    assert counts.trained["encoder_adapters"] == 6 * attention
    assert counts.trained["decoder_adapters"] == 6 * (attention + cross + norm)
    assert counts.frozen == {"source_bert": 109_482_240 - 590_592 - _fewer_words()}
    # The paper's Table 1 has 74M for Transformer-Base, 75M for Mask-Predict and 90M for BERT-Fused
    # NAT: 15M for the attention to the BERT, as here, 15,753,216. With the Transformer's 74,871,808
    # these are 90.6M; a length table of 1,024 rows (0.5M) makes 91.1M, one of 512 rows 90.9M.
    assert 12 * attention == 15_753_216
    assert plain.trained_parameters == 74_871_808
    assert counts.trained_parameters == plain.trained_parameters + 15_753_216 + length
    assert counts.total_parameters == counts.trained_parameters + sum(counts.frozen.values())


def _fewer_words() -> int:
    """bert-base-cased has 28,996 pieces, bert-base-uncased, of the published size, 30,522."""
    return (30_522 - 28_996) * 768


def test_parts_that_do_not_belong_together_are_refused(toys: Toys) -> None:
    fused, plain = small_model("bert_fused", toys), small_model("transformer_base", toys)
    with pytest.raises(AbNetError, match="The encoder must be a `FusedEncoder`"):
        fused.project(plain.encode(small_pairs(plain).source))
    backbones = Backbones(fused.encoder.backbone, fused.decoder.backbone)
    with pytest.raises(AbNetError, match="`backbones` must have a BERT to fuse, but have none"):
        build_decoder(fused.config, backbones, fused.target_symbols)
    whole = backbones._replace(fused=fused.encoder.bert_backbone)
    whole.source.halves = None
    with pytest.raises(AbNetError, match="`backbone` must have layers that can be split, but"):
        build_encoder(fused.config, whole, fused.source_symbols)
