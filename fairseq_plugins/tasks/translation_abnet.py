"""Translation between the vocabularies of two BERTs."""
# No `from __future__ import annotations` here: fairseq makes options from the types themselves.

import logging
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from typing import Any

from fairseq import utils
from fairseq.data import data_utils
from fairseq.dataclass import FairseqDataclass
from fairseq.models import ARCH_MODEL_REGISTRY, BaseFairseqModel
from fairseq.optim import FairseqOptimizer
from fairseq.tasks import FairseqTask, register_task
from fairseq.tasks.translation import TranslationTask
from omegaconf import DictConfig
from torch import Tensor, nn

from abnet.config import FOR_TRAINING
from abnet.decoding.compiling import compile_decoder
from abnet.decoding.decode import Options
from abnet.decoding.ensemble import Ensemble, share_berts
from abnet.decoding.layout import pack_weights
from abnet.decoding.mask_predict import DecodingOptions
from abnet.decoding.precision import set_precision
from abnet.decoding.reranking import Reranker
from abnet.errors import AbNetError
from abnet.model import AbNet
from abnet.one_pass.ctc import CtcOptions
from abnet.one_pass.dag import DagOptions
from abnet.systems import PRESETS
from fairseq_plugins.bert_rate import bert_rate
from fairseq_plugins.bpe import AbNetBpe
from fairseq_plugins.command_line import (
    check_command_line,
    check_part,
    read_standard_input_as_files,
)
from fairseq_plugins.dataset import PairDataset, load_pairs, with_fixed_batches
from fairseq_plugins.dictionary import (
    BertDictionary,
    SourceDictionary,
    check_pieces,
    check_same_dictionaries,
    check_vocabulary,
)
from fairseq_plugins.evaluation import bleu_counts, bleu_in, decoding_arguments, log_bleu
from fairseq_plugins.generator import (
    PARALLEL_FLAGS,
    Generator,
    Systems,
    beam_options,
    ctc_options,
    dag_options,
    decoding_options,
    naming_flags,
)
from fairseq_plugins.models.abnet_model import AbNetModel
from fairseq_plugins.task_options import OWN_OPTIONS, TranslationAbNetConfig, check_options

logger = logging.getLogger(__name__)


@register_task("translation_abnet", dataclass=TranslationAbNetConfig)
class TranslationAbNetTask(TranslationTask):
    """`fairseq-* --task translation_abnet`; what it changes and why is in the package's docstring.

    Attributes:
        model: the model, once it is built.
        is_training_run: whether `fairseq-train` has built it, rather than a checkpoint.
    """

    cfg: TranslationAbNetConfig

    def __init__(self, cfg: DictConfig, src_dict: BertDictionary, tgt_dict: BertDictionary) -> None:
        super().__init__(cfg, src_dict, tgt_dict)
        self.model: AbNetModel | None = None
        self.is_training_run = False

    @classmethod
    def add_args(cls, parser: ArgumentParser) -> None:
        """Adds the options; no other code of ours runs before `fairseq-validate` reads a file.

        Raises:
            AbNetError: a checkpoint or an input that the command line names is missing or damaged.
        """
        super().add_args(parser)
        if isinstance(parser, ArgumentParser):  # not a group that fairseq makes as it imports tasks
            check_command_line(sys.argv[0], sys.argv[1:])

    @classmethod
    def setup_task(cls, cfg: DictConfig, **kwargs: Any) -> "TranslationAbNetTask":
        """Loads the dictionaries of both languages.

        Raises:
            AbNetError: the folder is no data-bin of this task or of these languages, or an option
                is not supported.
        """
        check_options(cfg)
        folders = utils.split_paths(cfg.data)
        for folder in folders:
            if not os.path.isdir(folder):
                raise AbNetError(
                    "DATA must be a folder that `abnet prepare` or `fairseq-preprocess` made, but "
                    f"there is no {folder}."
                )
        folder = folders[0]
        if cfg.source_lang is None or cfg.target_lang is None:
            source, target = data_utils.infer_language_pair(folder)
            if source is None:
                raise AbNetError(
                    f"`--source-lang` and `--target-lang` must be given: {folder} holds no pair of "
                    "binarized files that would tell them."
                )
            if cfg.source_lang not in (None, source) or cfg.target_lang not in (None, target):
                raise AbNetError(
                    f"`--source-lang` and `--target-lang` must be given both or be those of "
                    f"{folder}, which goes from {source} to {target}."
                )
            cfg.source_lang, cfg.target_lang = source, target
        check_same_dictionaries(folders, (cfg.source_lang, cfg.target_lang))
        source_dict = SourceDictionary.load(os.path.join(folder, f"dict.{cfg.source_lang}.txt"))
        target_dict = BertDictionary.load(os.path.join(folder, f"dict.{cfg.target_lang}.txt"))
        for language, dictionary in (
            (cfg.source_lang, source_dict),
            (cfg.target_lang, target_dict),
        ):
            logger.info("[%s] dictionary: %d pieces", language, len(dictionary))
        return cls(cfg, source_dict, target_dict)

    @classmethod
    def load_dictionary(cls, filename: str) -> BertDictionary:
        """For `--srcdict` and `--tgtdict`: a saved dictionary, or the name or folder of a BERT."""
        if os.path.isfile(filename):
            return BertDictionary.load(filename)
        return BertDictionary.of_bert(filename)

    @classmethod
    def build_dictionary(cls, *args: Any, **kwargs: Any) -> BertDictionary:
        """Refuses to learn a vocabulary from the text.

        Raises:
            AbNetError: always.
        """
        raise AbNetError(
            "`--srcdict` and `--tgtdict` must be the BERTs of the two languages (a folder or a "
            "name): their vocabularies are used as they are, none is learned from the text."
        )

    def load_dataset(
        self, split: str, epoch: int = 1, combine: bool = False, **kwargs: Any
    ) -> None:
        """Loads a split; training data may be spread over several folders, one an epoch."""
        paths = utils.split_paths(self.cfg.data)
        if split != self.cfg.train_subset:
            paths = paths[:1]
        self.datasets[split] = load_pairs(
            paths[(epoch - 1) % len(paths)],
            split,
            (self.cfg.source_lang, self.cfg.target_lang),
            (self.src_dict, self.tgt_dict),
            combine=combine,
            dataset_impl=self.cfg.dataset_impl,
            upsample_primary=self.cfg.upsample_primary,
            shuffle=split != "test",
            pad_to_multiple=self.cfg.required_seq_len_multiple,
            training=split == self.cfg.train_subset,
        )

    def build_dataset_for_inference(
        self, src_tokens: Sequence[Tensor], src_lengths: Sequence[int], **kwargs: Any
    ) -> PairDataset:
        """Sentences that `fairseq-interactive` has read."""
        return PairDataset(src_tokens, src_lengths, self.src_dict, self.tgt_dict, shuffle=False)

    def get_batch_iterator(
        self,
        dataset: PairDataset,
        max_tokens: int | None = None,
        max_sentences: int | None = None,
        max_positions: tuple[int, int] | None = None,
        ignore_invalid_inputs: bool = False,
        required_batch_size_multiple: int = 1,
        **kwargs: Any,
    ) -> Any:
        """Batches in which every sentence occurs.

        Training skips sentences that do not fit (fairseq says how many), and so does all else with
        `--skip-invalid-size-inputs-valid-test`; without that their sources are truncated.

        Args:
            dataset: the sentences.
            max_tokens: of a batch, padding included; raised to the longest sentence if need be, of
                those that are not skipped.
            max_sentences: of a batch.
            max_positions: the longest source and target.
            ignore_invalid_inputs: whether what does not fit is skipped.
            required_batch_size_multiple: ignored, since fairseq drops what does not fit it.
            **kwargs: see `FairseqTask.get_batch_iterator`.

        Raises:
            AbNetError: a part of what is to be translated has no batch.
        """
        dataset.widest_source_batch = max_positions and max_positions[0]
        if self.is_training_run and dataset is self.datasets.get(self.cfg.train_subset):
            dataset.processes = kwargs.get("num_shards", 1)
        else:
            if max_positions is not None and not ignore_invalid_inputs:
                dataset.truncate(max_positions[0])
                max_positions = (max_positions[0], sys.maxsize)
            if max_tokens is not None:
                max_tokens = max(max_tokens, dataset.longest(max_positions))
        found = super().get_batch_iterator(
            dataset,
            max_tokens=max_tokens,
            max_sentences=max_sentences,
            max_positions=max_positions,
            ignore_invalid_inputs=ignore_invalid_inputs,
            required_batch_size_multiple=1,
            **with_fixed_batches(kwargs, self.cfg.seed),
        )
        is_split = any(dataset is one for one in self.datasets.values())  # rather than typed lines
        if is_split and not self.is_training_run:
            check_part(len(found.frozen_batches), kwargs.get("num_shards", 1), found.shard_id)
        return found

    def build_model(self, cfg: FairseqDataclass, from_checkpoint: bool = False) -> AbNetModel:
        """Builds the model and holds it against the data.

        Raises:
            AbNetError: another kind of model, other BERTs than the data was made with, or see
                `AbNet.from_pretrained`.
        """
        name = _architecture_name(cfg)
        if not _is_abnet(cfg) or (name not in PRESETS and not from_checkpoint):
            raise AbNetError(
                f"The model must be one of AB-Net (see `abnet systems`), but is {name!r} instead."
            )
        for field in FOR_TRAINING:
            if from_checkpoint and getattr(cfg, field, None) is not None:
                setattr(cfg, field, None)  # the checkpoint has all that came of it
        try:
            model: BaseFairseqModel = FairseqTask.build_model(self, cfg, from_checkpoint)
        except AbNetError as error:
            if from_checkpoint:
                raise AbNetError(
                    f"{error} The checkpoint says source_bert = {cfg.source_bert!r}, target_bert = "
                    f"{cfg.target_bert!r}; if one has moved, add `--model-overrides "
                    "\"{'source_bert': '...', 'target_bert': '...'}\"`."
                ) from error
            raise
        abnet = model.abnet
        for side, language, dictionary, tokenizer in (
            ("source", self.cfg.source_lang, self.src_dict, abnet.source_tokenizer),
            ("target", self.cfg.target_lang, self.tgt_dict, abnet.target_tokenizer),
        ):
            check_vocabulary(side, dictionary, tokenizer)
            check_pieces(utils.split_paths(self.cfg.data), language, tokenizer)
        self.model = model
        self.is_training_run = not from_checkpoint
        if self.cfg.eval_bleu:
            self.bleu = bleu_in(self.cfg.target_lang)
            options = decoding_arguments(self.cfg.eval_bleu_args)
            self.sequence_generator = self.build_generator([model], options)
        return model

    def build_generator(
        self,
        models: Sequence[nn.Module],
        args: Namespace | DictConfig,
        seq_gen_cls: Any = None,
        extra_gen_cls_kwargs: Any = None,
        prefix_allowed_tokens_fn: Any = None,
    ) -> Generator:
        """Mask-Predict or beam search with fairseq's options; several models are an ensemble.

        Raises:
            AbNetError: models that do not belong together, an option without a meaning for them,
                or a length beam larger than the number of lengths.
        """
        given: Mapping[str, Any] = vars(args) if isinstance(args, Namespace) else args
        weight = self._rerank_weight(given)
        with naming_flags("iter-decode", ("dtype", "rerank_weight"), PARALLEL_FLAGS):
            model, reranker = Systems.of(models, weight)
            options = self._decoding_options(model, given)
            if reranker is not None:
                reranker.check(model, options if isinstance(options, DecodingOptions) else None)
                share_berts([model, reranker.model])
            for system in [model] if reranker is None else [model, reranker.model]:
                set_precision(system, self.cfg.iter_decode_dtype)
        if self.cfg.iter_decode_compile:
            compile_decoder(model)
        else:
            for one in models:
                if one.decodes_only:
                    pack_weights(one.abnet)
        return Generator(options, weight, self.src_dict.special_ids, self.tgt_dict.special_ids)

    def _rerank_weight(self, given: Mapping[str, Any]) -> float | None:
        weight = self.cfg.iter_decode_rerank_weight
        if given.get("iter_decode_with_external_reranker"):
            return Reranker.weight if weight is None else weight
        if weight is not None:
            raise AbNetError(
                "`--iter-decode-rerank-weight` must go with `--iter-decode-with-external-reranker`."
            )
        return None

    def _decoding_options(self, abnet: AbNet | Ensemble, given: Mapping[str, Any]) -> Options:
        own = {name: self.cfg[f"iter_decode_{name}"] for name in OWN_OPTIONS}
        objective = abnet.config.objective
        one_pass = {}
        for kind, options_of, names in (
            ("ctc", CtcOptions, ("beam", "blank_penalty", "iterations")),
            ("dag", DagOptions, ("beam", "lm_weight", "word_reward")),
        ):
            one_pass[kind] = {name: self.cfg[f"{kind}_{name}"] for name in names}
            for name, value in one_pass[kind].items():
                if objective != kind and value != getattr(options_of, name):
                    flag = f"--{kind}-{name.replace('_', '-')}"
                    raise AbNetError(f"`{flag}` must be left out: the system is not one of {kind}.")
        if objective != "conditional_masked_lm":
            for name, value in own.items():
                if value != getattr(DecodingOptions, name):
                    flag = "--iter-decode-" + name.replace("_", "-")
                    raise AbNetError(f"`{flag}` must be left out: the system is {objective}.")
            if objective == "ctc":
                return ctc_options(given, **one_pass["ctc"])
            if objective == "dag":
                return dag_options(given, **one_pass["dag"])
            if self.cfg.iter_decode_compile:
                raise AbNetError(
                    "`--iter-decode-compile` must be left out: the system is autoregressive."
                )
            return beam_options(given)
        limits = abnet.config.length_classes, abnet.max_target_positions
        return decoding_options(given, *limits, **own)

    def build_bpe(self, args: Namespace | DictConfig | str | None) -> AbNetBpe:
        """The tokenizers of the model's BERTs, with `--bpe abnet` and without.

        Raises:
            AbNetError: another kind is asked for, or no model is built yet.
        """
        name = args if args is None or isinstance(args, str) else args.get("_name")
        if name not in (None, "abnet"):
            raise AbNetError(
                f"`--bpe` must be left out, but is {name!r} instead: text is cut into pieces by "
                "the BERTs' own tokenizers."
            )
        if self.model is None:
            raise AbNetError("`build_bpe` must follow `build_model`, which knows the BERTs.")
        abnet = self.model.abnet
        read_standard_input_as_files()
        return AbNetBpe(abnet.source_tokenizer, abnet.target_tokenizer)

    def valid_step(
        self, sample: Mapping[str, Any], model: nn.Module, criterion: nn.Module
    ) -> tuple[Tensor, Tensor, dict[str, Any]]:
        """Loss, and with `--eval-bleu` the counts of BLEU, on clean sources."""
        loss, size, logged = FairseqTask.valid_step(self, sample, model, criterion)
        if self.cfg.eval_bleu:
            logged.update(self._translate_and_count(sample, model))
        return loss, size, logged

    def optimizer_step(
        self, optimizer: FairseqOptimizer, model: nn.Module, update_num: int
    ) -> None:
        """A step, of weights in 32 bits, in which the BERTs may have a rate of their own."""
        self.model.before_step(optimizer)
        with bert_rate(optimizer, self.model.abnet.config, update_num):
            super().optimizer_step(optimizer, model, update_num)

    def _translate_and_count(self, sample: Mapping[str, Any], model: nn.Module) -> dict[str, int]:
        target = self.model.abnet.target_tokenizer
        found = self.inference_step(self.sequence_generator, [model], sample)
        hypotheses = [target.decode(best["tokens"].tolist()) for best, *_ in found]
        references = [target.decode(tokens) for tokens in sample["target"].tolist()]
        if self.cfg.eval_bleu_print_samples:
            logger.info("example hypothesis: %s", hypotheses[0])
            logger.info("example reference: %s", references[0])
        return bleu_counts(self.bleu, hypotheses, references)

    def reduce_metrics(
        self, logging_outputs: Sequence[Mapping[str, Any]], criterion: nn.Module
    ) -> None:
        """Adds BLEU to what the criterion logs."""
        FairseqTask.reduce_metrics(self, logging_outputs, criterion)
        if self.cfg.eval_bleu and any("_bleu_sys_len" in logged for logged in logging_outputs):
            log_bleu(logging_outputs)


def _architecture_name(cfg: FairseqDataclass) -> str | None:
    return getattr(cfg, "_name", None) or getattr(cfg, "arch", None)


def _is_abnet(cfg: FairseqDataclass) -> bool:
    return ARCH_MODEL_REGISTRY.get(_architecture_name(cfg)) is AbNetModel
