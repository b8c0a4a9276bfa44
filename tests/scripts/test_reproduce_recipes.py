"""The commands of the Multi30k comparison, as their programs read them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from fairseq.data import Dictionary
from fairseq.tasks import TASK_REGISTRY

from abnet.averaging import last_checkpoints
from benchmarks import quality
from benchmarks.peers.refinement import Refinement
from scripts.reproduce.compared import SYSTEMS, is_ours, objective_of
from scripts.reproduce.ctranslate import conversion
from scripts.reproduce.recipes import (
    AVERAGE_OF,
    DIRECTIONS,
    LENGTH_BEAM,
    PASSES,
    Multi30k,
    Variant,
    minilm_encoder,
)
from scripts.reproduce.sizes import SIZES
from scripts.reproduce.tradeoff import POINTS, decoding
from tests.commands import parse


@pytest.fixture(params=SIZES)
def work(request: pytest.FixtureRequest, tmp_path: Path) -> Multi30k:
    return Multi30k(data=tmp_path / "raw", out=tmp_path / "out", size=SIZES[request.param])


def test_berts_see_no_held_out_lines(work: Multi30k, monkeypatch: pytest.MonkeyPatch) -> None:
    (work.data / "mono").mkdir(parents=True)
    for name in ("train.de", "mono/captions.de"):
        (work.data / name).touch()
    args = parse(work.pretrain("de").command, monkeypatch)
    assert args.text == [work.data / "mono" / "captions.de", work.data / "train.de"]
    assert args.exclude == [work.data / "valid.de", work.data / "test2016.de"]
    assert args.output == work.bert("de")
    assert args.resume


def test_data_is_prepared_with_the_berts_of_its_languages(
    work: Multi30k, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = parse(work.prepare("en-de").command, monkeypatch)
    assert (args.corpus, args.pair, args.given) == ("multi30k", "en-de", work.data)
    assert args.source_bert == str(work.bert("en"))
    assert args.target_bert == str(work.bert("de"))
    rivals = parse(work.prepare_for_rivals("en-de").command, monkeypatch)
    assert rivals.trainpref == str(args.dest / "pieces" / "train")
    assert rivals.joined_dictionary
    assert (rivals.source_lang, rivals.target_lang) == ("en", "de")


def test_the_real_encoder_is_a_source_as_it_is_and_a_target_with_a_head(
    work: Multi30k, monkeypatch: pytest.MonkeyPatch
) -> None:
    work.data.mkdir()
    (work.data / "train.en").touch()
    encoder = minilm_encoder()
    assert (encoder / "config.json").is_file()
    assert work.berts("abnet_minilm", "en-de") == (encoder, work.bert("de"))
    assert work.berts("abnet_minilm", "de-en") == (work.bert("de"), work.minilm)
    head = parse(work.pretrain_minilm_head().command, monkeypatch)
    assert (head.output, head.start, head.head_only) == (work.minilm, str(encoder), True)
    assert head.exclude == [work.data / "valid.en", work.data / "test2016.en"]
    prepared = parse(work.prepare("de-en", "abnet_minilm").command, monkeypatch)
    assert prepared.target_bert == str(work.minilm)
    assert prepared.dest != work.prepared("de-en")


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("system", SYSTEMS)
def test_trainings(
    work: Multi30k, system: str, direction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = parse(work.train(system, direction, 7).command, monkeypatch)
    trained = system.removesuffix("_refined").removesuffix("_ranked")
    if system in ("abnet_rescored", "abnet_reranked"):
        trained = "abnet_corrected"
    assert args.save_dir == str(work.run(trained, direction, 7))
    assert args.seed == 7
    # Those that fall on an epoch's end are not written: some to spare.
    assert args.max_update // args.save_interval_updates >= 1.5 * AVERAGE_OF
    assert args.max_update % args.save_interval_updates == 0
    assert args.keep_interval_updates == AVERAGE_OF
    assert args.required_batch_size_multiple == 1
    assert args.fp16 == work.size.on_gpu
    if is_ours(system):
        berts = tuple(map(str, work.berts(system, direction)))
        assert (args.source_bert, args.target_bert) == berts
        assert args.data == str(work.prepared(direction, system))
    else:
        assert args.data == str(work.prepared_for_rivals(direction))
        assert args.share_all_embeddings
        assert args.label_smoothing == 0.1
    if system == "bert_fused_nat":
        assert args.warm_start == work.average("mask_predict", direction, 7).command[-1]
    if trained == "abnet_dag_fuzzy":
        assert args.warm_start == work.average("abnet_dag", direction, 7).command[-1]
        assert args.fuzzy_ngrams == 2
        assert args.fuzzy_likelihood_weight == 0.05
        before = parse(work.train("abnet_dag", direction, 7).command, monkeypatch)
        assert args.frames_per_piece == before.frames_per_piece
        assert args.max_update <= before.max_update
    if trained == "abnet_corrected":
        assert args.warm_start == work.average("abnet", direction, 7).command[-1]
        assert args.correction == 0.3
        before = parse(work.train("abnet", direction, 7).command, monkeypatch)
        assert args.lr <= before.lr
        assert args.max_update <= before.max_update
        assert args.lexical_adapter_dim == before.lexical_adapter_dim
    if system == "abnet_top_half":
        assert 0 < args.encoder_adapter_layers == args.decoder_adapter_layers
    if system == "abnet_no_decoder_adapters":  # nothing else tells the decoder of the source
        assert args.decoder_adapter_layers == 0
        assert "spread_source" not in args
    if system == "cmlm":
        assert args.noise == "random_mask"
        assert not args.apply_bert_init


@pytest.mark.parametrize(
    ("system", "rival"),
    [
        ("abnet_enc_ar", "transformer"),
        ("abnet_enc", "cmlm"),
        ("mask_predict", "cmlm"),
        ("bert_fused_nat", "cmlm"),
    ],
)
@pytest.mark.parametrize("size", ["cpu", "gpu"])
def test_what_is_from_scratch_trains_as_its_rival(
    system: str, rival: str, size: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Multi30k(tmp_path / "raw", tmp_path / "out", SIZES[size])
    ours, theirs = (
        parse(work.train(name, "de-en", 1, variant).command, monkeypatch)
        for name, variant in ((system, None), (rival, Variant("before the search")))
    )
    for name in ("lr", "max_tokens", "warmup_updates", "max_update", "total_num_update"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.transformer_dropout == theirs.dropout
    if size == "cpu":  # as the comparison was measured
        assert ours.transformer_attention_dropout == ours.transformer_dropout
    assert ours.transformer_dim == theirs.encoder_embed_dim
    assert ours.transformer_ffn_dim == theirs.decoder_ffn_embed_dim
    assert ours.transformer_heads == theirs.encoder_attention_heads
    assert ours.transformer_decoder_layers == theirs.decoder_layers


def test_a_search_begins_at_the_paper(work: Multi30k, monkeypatch: pytest.MonkeyPatch) -> None:
    found = parse(work.train("abnet", "de-en", 1).command, monkeypatch)
    plain = parse(work.train("abnet", "de-en", 1, Variant("v")).command, monkeypatch)
    assert found.decoder_adapter_ffn_dim > plain.decoder_adapter_ffn_dim == 0
    assert found.lexical_adapter_dim > 0
    assert found.length_loss_weight <= plain.length_loss_weight == 1
    assert not {"lexical_adapter_dim", "spread_source", "lexicon"} & set(vars(plain))


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("system", ["abnet", "abnet_dag"])
def test_some_begin_with_a_lexicon(
    work: Multi30k, direction: str, system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = parse(work.count_lexicon(direction).command, monkeypatch)
    trained = parse(work.train(system, direction, 1).command, monkeypatch)
    assert trained.lexicon == str(made.output)
    assert (trained.source_bert, trained.target_bert) == (made.source_bert, made.target_bert)
    assert trained.lexical_adapter_dim > 0
    assert made.train == [str(work.prepared(direction) / "raw" / "train")]
    assert made.pair == direction
    assert "lexicon" not in parse(work.train("abnet_ctc", direction, 1).command, monkeypatch)


@pytest.mark.parametrize("has_bfloat16", [True, False])
def test_ours_are_in_bfloat16_where_the_cpu_size_finds_a_processor_for_it(
    has_bfloat16: bool, work: Multi30k, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripts.reproduce.recipes.computes_in_bfloat16", lambda: has_bfloat16)
    expected = has_bfloat16 and work.size is SIZES["cpu"]
    assert parse(work.train("abnet", "de-en", 1).command, monkeypatch).bf16 == expected
    work.data.mkdir()
    (work.data / "train.de").touch()
    precision = parse(work.pretrain("de").command, monkeypatch).precision
    assert precision == ("bf16" if expected or work.size.on_gpu else "fp32")
    assert not parse(work.train("transformer", "de-en", 1).command, monkeypatch).bf16


@pytest.mark.parametrize("system", SYSTEMS)
def test_decodings(work: Multi30k, system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    args = parse(work.generate(system, "de-en", 1).command, monkeypatch)
    assert args.results_path == str(work.run(system, "de-en", 1))
    assert args.gen_subset == "test"
    assert args.required_batch_size_multiple == 1
    if system == "transformer" or (is_ours(system) and objective_of(system) == "autoregressive"):
        assert args.beam == 5
    elif system == "abnet_ctc":
        assert args.ctc_iterations == args.ctc_beam == 1
    elif system == "abnet_ctc_refined":
        assert args.ctc_iterations == PASSES
    elif system in ("abnet_dag", "abnet_dag_fuzzy"):
        assert args.dag_word_reward > 0
        assert (args.dag_beam, args.dag_lm_weight) == (1, 0)
    elif system in ("abnet_dag_ranked", "abnet_dag_fuzzy_ranked"):
        assert (args.dag_beam, args.dag_lm_weight) == (8, 0.3)
    elif is_ours(system):
        rescoring = args.iter_decode_rescore_weight > 0  # which is a pass, too
        assert args.iter_decode_max_iter + rescoring == PASSES
        assert args.iter_decode_force_max_iter
        corrected = ("abnet_corrected", "abnet_rescored", "abnet_reranked")
        assert args.iter_decode_repredict == (system in corrected)
        assert (args.iter_decode_rescore_weight > 0) == (system == "abnet_rescored")
        assert args.iter_decode_with_external_reranker == (system == "abnet_reranked")
    else:
        assert args.iter_decode_max_iter + 1 == PASSES  # fairseq's CMLM makes one pass more
        assert args.iter_decode_force_max_iter
        task = SimpleNamespace(target_dictionary=Dictionary())
        generator = TASK_REGISTRY[args.task].build_generator(task, [], args)
        assert isinstance(generator, Refinement)  # which a GPU needs
        assert (generator.max_iter, generator.beam_size) == (PASSES - 1, LENGTH_BEAM)
        assert not generator.adaptive


def test_rewards_are_a_directions_own(work: Multi30k, monkeypatch: pytest.MonkeyPatch) -> None:
    for direction, reward in (("de-en", 0.5), ("en-de", 1.5)):
        args = parse(work.generate("abnet_dag_fuzzy_ranked", direction, 1).command, monkeypatch)
        assert (args.dag_word_reward, args.dag_beam) == (reward, 8)
        args = parse(work.generate("abnet_dag_ranked", direction, 1).command, monkeypatch)
        assert args.dag_word_reward == 1


def test_decodings_of_a_search_are_the_papers(
    work: Multi30k, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = parse(work.generate("abnet_ctc", "de-en", 1).command, monkeypatch)
    plain = parse(work.generate("abnet_ctc", "de-en", 1, Variant("v")).command, monkeypatch)
    assert (found.ctc_blank_penalty, plain.ctc_blank_penalty) == (1.0, 0.0)
    plain = parse(work.generate("abnet", "de-en", 1, Variant("v")).command, monkeypatch)
    assert plain.iter_decode_patience == 1
    assert not plain.iter_decode_ban_repeats


@pytest.mark.parametrize(
    ("system", "other"),
    [
        ("abnet_ctc", "abnet_ctc_refined"),
        ("abnet_dag", "abnet_dag_ranked"),
        ("abnet_dag_fuzzy", "abnet_dag_fuzzy_ranked"),
    ],
)
def test_some_are_of_the_checkpoint_of_another(
    system: str, other: str, work: Multi30k, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = [work.generate(name, "de-en", 1) for name in (system, other)]
    assert steps[0].folder != steps[1].folder
    paths = [parse(step.command, monkeypatch).path for step in steps]
    assert paths[0] == paths[1] == work.average(system, "de-en", 1).command[-1]
    assert work.train(other, "de-en", 1) == work.train(system, "de-en", 1)


def test_a_reranker_is_an_averaged_checkpoint_too(
    work: Multi30k, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = parse(work.generate("abnet_reranked", "de-en", 1).command, monkeypatch)
    averaged = [
        work.average(name, "de-en", 1).command[-1] for name in ("abnet_corrected", "abnet_enc_ar")
    ]
    assert args.path.split(":") == averaged


def test_each_step_knows_what_else_it_is_made_of(work: Multi30k) -> None:
    berts = tuple(work.pretrain(language).stamp for language in ("de", "en"))
    prepared, counted = work.prepare("de-en"), work.count_lexicon("de-en")
    joined = work.prepare_for_rivals("de-en")
    assert prepared.needs == berts
    assert joined.needs == counted.needs == (prepared.stamp,)
    assert work.prepare("en-de", "abnet_minilm").needs[2] == work.pretrain_minilm_head().stamp
    assert work.train("abnet", "de-en", 1).needs == (prepared.stamp, counted.stamp)
    start = work.average("abnet", "de-en", 1)
    assert start.needs == (work.train("abnet", "de-en", 1).stamp,)
    assert work.train("abnet_corrected", "de-en", 1).needs == (prepared.stamp, start.stamp)
    assert work.train("abnet", "de-en", 1, Variant("other")).needs == (prepared.stamp,)
    assert work.train("cmlm", "de-en", 1).needs == (joined.stamp,)
    corrected = work.average("abnet_corrected", "de-en", 1)
    chooser = work.average("abnet_enc_ar", "de-en", 1)
    assert work.generate("abnet_rescored", "de-en", 1).needs == (corrected.stamp,)
    assert work.generate("abnet_reranked", "de-en", 1).needs == (corrected.stamp, chooser.stamp)
    searched = ("abnet", "de-en", 1, Variant("other"))
    last = work.generate(*searched, checkpoint="checkpoint_last.pt")
    assert last.needs == (work.train(*searched).stamp,)
    made = conversion(work, "de-en", 1, "int8")
    assert made.needs == (work.average("transformer", "de-en", 1).stamp,)


def test_points_are_decoded_in_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Multi30k(tmp_path / "raw", tmp_path / "out", SIZES["cpu"])
    points = [point for point in POINTS if point.converted is None]
    steps = [decoding(work, point, "de-en", 3) for point in points]
    assert len({step.folder for step in steps}) == len(points)
    for point, step in zip(points, steps, strict=True):
        args = parse(step.command, monkeypatch)
        assert step.folder.parent.parent == work.run(point.system, "de-en", 3)
        assert (args.results_path, args.gen_subset) == (str(step.folder), "valid")
        assert args.path == work.average(point.system, "de-en", 3).command[-1]
        assert step.command[-len(point.options.split()) :] == tuple(point.options.split())


def test_a_transformer_is_converted_once_for_all_its_beams(tmp_path: Path) -> None:
    work = Multi30k(tmp_path / "raw", tmp_path / "out", SIZES["cpu"])
    points = [point for point in POINTS if point.converted is not None]
    steps = {decoding(work, point, "de-en", 3) for point in points}
    assert {point.beam for point in points} == {1, 5}
    assert len(steps) == len({point.converted for point in points}) == len(points) // 2
    for step in steps:
        command = " ".join(step.command)
        assert f"--model_path {work.checkpoint('transformer', 'de-en', 3)} " in command
        assert f"--output_dir {step.folder / step.name} " in command
        precision = step.name.removeprefix("ctranslate2-")
        assert (f"--quantization {precision}" in command) == (precision != "float32")


def test_averaging_takes_the_checkpoints_that_training_keeps(
    work: Multi30k, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = parse(work.average("abnet", "de-en", 1).command, monkeypatch)
    run = work.run("abnet", "de-en", 1)
    run.mkdir(parents=True)
    for update in range(1, AVERAGE_OF + 1):
        (run / f"checkpoint_1_{update}.pt").touch()
    assert args.checkpoints == [str(run)]
    assert len(last_checkpoints(run, args.last)) == AVERAGE_OF
    assert f"--path {args.output}" in " ".join(work.generate("abnet", "de-en", 1).command)


def test_only_systems_with_berts_have_pre_training(work: Multi30k) -> None:
    both = list(work.berts("abnet", "de-en"))
    for system in ("abnet", "abnet_fb", "abnet_ctc", "bert2bert"):
        assert work.pretrained_berts(system, "de-en") == both
    for system in ("abnet_enc", "abnet_enc_ar", "bert_fused_nat"):
        assert work.pretrained_berts(system, "de-en") == both[:1]
    for system in ("abnet_sc", "mask_predict"):
        assert work.pretrained_berts(system, "de-en") == []
    assert quality.describe_pretraining([]) == {}
