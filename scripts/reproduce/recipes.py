"""The commands of the Multi30k comparison, and how long each trains in each size.

Budgets are counted in updates, from speeds measured on one thread of an AMD EPYC (7003 series):
a BERT of 4 layers x 192 pre-trains on about 2,900 tokens a second; AB-Net of two of them trains on
1,700 target tokens a second; Transformer and CMLM of 4 + 4 layers x 128 on 2,100.
AB-Net gets small batches: at this scale the number of updates matters more than that of tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.reproduce.steps import Step

ROOT = Path(__file__).parents[2]
PLUGINS = str(ROOT / "fairseq_plugins")
AVERAGED = "checkpoint_average.pt"
AVERAGE_OF = 10
SYSTEMS = ("abnet", "transformer", "cmlm")
DIRECTIONS = ("de-en", "en-de")
PASSES = 10
LENGTH_BEAM = 4
BEAM = 5


def words(text: str) -> tuple[str, ...]:
    """The options of a command as a sequence."""
    return tuple(text.split())


@dataclass(frozen=True)
class Size:
    """What a size of the comparison trains, as options of the commands.

    Attributes:
        bert: of `abnet pretrain`.
        abnet: of `fairseq-train`, for AB-Net.
        rivals: of `fairseq-train`, for the Transformer and the CMLM: their shape and batches.
        transformer: of `fairseq-train`, for the Transformer.
        cmlm: of `fairseq-train`, for the CMLM.
        decoding: of `fairseq-generate`.
        search: of `fairseq-train`, for the shorter trainings of the search for a recipe.
        jobs: trainings at a time.
        on_gpu: whether a GPU is used.
    """

    bert: tuple[str, ...]
    abnet: tuple[str, ...]
    rivals: tuple[str, ...]
    transformer: tuple[str, ...]
    cmlm: tuple[str, ...]
    decoding: tuple[str, ...]
    search: tuple[str, ...]
    jobs: int
    on_gpu: bool

    def training(self, system: str) -> tuple[str, ...]:
        """The options of `fairseq-train` that are a system's own."""
        if system == "abnet":
            return self.abnet
        return (*self.rivals, *(self.transformer if system == "transformer" else self.cmlm))


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


RECIPE = Variant()

SIZES = {
    "cpu": Size(
        bert=words(
            "--layers 4 --hidden 192 --heads 4 --ffn 768 --vocab-size 8000 --max-positions 128 "
            "--updates 4000 --batch-tokens 1024 --lr 1e-3 --dropout 0"
        ),
        abnet=words(
            "--keep-cls --encoder-adapter-dim 384 --bert-dropout 0 --adapter-dropout 0 "
            "--max-tokens 600 --clip-norm 1.0 --lr 2e-3 --lr-scheduler polynomial_decay "
            "--warmup-updates 500 --total-num-update 7000 --max-update 7000 "
            "--save-interval-updates 200"
        ),
        rivals=words(
            "--encoder-layers 4 --decoder-layers 4 --encoder-embed-dim 128 "
            "--decoder-embed-dim 128 --encoder-ffn-embed-dim 256 --decoder-ffn-embed-dim 256 "
            "--encoder-attention-heads 4 --decoder-attention-heads 4 --max-tokens 1000 "
            "--clip-norm 1.0 --lr-scheduler polynomial_decay --warmup-updates 400 "
            "--total-num-update 4400 --max-update 4400 --save-interval-updates 100"
        ),
        transformer=words("--dropout 0.1 --lr 2e-3"),
        cmlm=words("--dropout 0.1 --lr 2e-3"),
        decoding=words("--max-tokens 2000"),
        search=words(
            "--warmup-updates 70 --total-num-update 700 --max-update 700 --save-interval-updates 0"
        ),
        jobs=2,
        on_gpu=False,
    ),
    "gpu": Size(
        bert=words(
            "--layers 4 --hidden 512 --heads 8 --ffn 2048 --vocab-size 8000 "
            "--batch-tokens 16384 --lr 5e-4 --updates 5000 --bf16"
        ),
        abnet=words(
            "--keep-cls --encoder-adapter-dim 2048 --max-tokens 4096 --clip-norm 1.0 --lr 5e-4 "
            "--lr-scheduler polynomial_decay --warmup-updates 1000 --total-num-update 10000 "
            "--max-update 10000 --save-interval-updates 250 --fp16"
        ),
        rivals=words(
            "--encoder-layers 4 --decoder-layers 4 --encoder-embed-dim 256 "
            "--decoder-embed-dim 256 --encoder-ffn-embed-dim 1024 --decoder-ffn-embed-dim 1024 "
            "--encoder-attention-heads 4 --decoder-attention-heads 4 --max-tokens 4096 "
            "--clip-norm 1.0 --lr-scheduler polynomial_decay --warmup-updates 2000 "
            "--total-num-update 10000 --max-update 10000 --save-interval-updates 250 --fp16"
        ),
        transformer=words("--dropout 0.3 --lr 2e-3"),
        cmlm=words("--dropout 0.3 --lr 1e-3"),
        decoding=words("--max-tokens 8000 --fp16"),
        search=words(
            "--warmup-updates 250 --total-num-update 2500 --max-update 2500 "
            "--save-interval-updates 0"
        ),
        jobs=6,
        on_gpu=True,
    ),
    "tiny": Size(
        bert=words(
            "--layers 1 --hidden 32 --heads 2 --ffn 64 --vocab-size 300 "
            "--batch-tokens 256 --updates 5"
        ),
        abnet=words(
            "--keep-cls --encoder-adapter-dim 16 --max-tokens 200 --lr 1e-3 "
            "--lr-scheduler polynomial_decay --warmup-updates 2 --total-num-update 16 "
            "--max-update 16 --save-interval-updates 1"
        ),
        rivals=words(
            "--encoder-layers 1 --decoder-layers 1 --encoder-embed-dim 32 --decoder-embed-dim 32 "
            "--encoder-ffn-embed-dim 64 --decoder-ffn-embed-dim 64 --encoder-attention-heads 2 "
            "--decoder-attention-heads 2 --max-tokens 200 --lr 1e-3 "
            "--lr-scheduler polynomial_decay --warmup-updates 2 --total-num-update 16 "
            "--max-update 16 --save-interval-updates 1"
        ),
        transformer=(),
        cmlm=(),
        decoding=words("--max-tokens 2000"),
        search=words("--total-num-update 2 --max-update 2 --save-interval-updates 0"),
        jobs=2,
        on_gpu=False,
    ),
}  # fmt: skip
"""`tiny` learns nothing: it tries the script out."""


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

    def bert(self, language: str) -> Path:
        """The folder of a language's BERT."""
        return self.out / f"bert-{language}"

    def prepared(self, direction: str) -> Path:
        """The folder of a direction's data, for AB-Net."""
        return self.out / f"data-{direction}"

    def prepared_for_rivals(self, direction: str) -> Path:
        """The same pieces with one dictionary for both languages, for fairseq's own systems."""
        return self.out / f"data-{direction}-joined"

    def run(self, system: str, direction: str, seed: int, variant: Variant = RECIPE) -> Path:
        """The folder of one training run."""
        return self.out / direction / variant.name / system / str(seed)

    def references(self, direction: str, split: str = "test") -> Path:
        """Raw text of a split's target side."""
        return self.prepared(direction) / "raw" / f"{split}.{_languages(direction)[1]}"

    def pretrain(self, language: str) -> Step:
        """A BERT from the captions and the training side, without validation and test lines."""
        texts = [self.data / "mono" / f"captions.{language}", self.data / f"train.{language}"]
        held_out = [self.data / f"{part}.{language}" for part in ("valid", "test2016")]
        command = ["abnet", "pretrain", "--output", str(self.bert(language)), "--resume"]
        command += ["--text", *(str(path) for path in texts if path.exists())]
        command += ["--exclude", *map(str, held_out), "--seed", "1"]
        return Step(f"pretrain-{language}", self.out, (*command, *self.size.bert))

    def prepare(self, direction: str) -> Step:
        """Clean text, pieces and binary files for AB-Net."""
        source, target = _languages(direction)
        command = ["abnet", "prepare", "multi30k", "--pair", direction, "--from", str(self.data)]
        command += ["--source-bert", str(self.bert(source))]
        command += ["--target-bert", str(self.bert(target))]
        command += ["--dest", str(self.prepared(direction)), "--workers", str(self.size.jobs)]
        return Step(f"prepare-{direction}", self.out, tuple(command))

    def prepare_for_rivals(self, direction: str) -> Step:
        """The same pieces binarized for fairseq's own tasks."""
        source, target = _languages(direction)
        pieces = self.prepared(direction) / "pieces"
        command = ["fairseq-preprocess", "--source-lang", source, "--target-lang", target]
        for split in ("train", "valid", "test"):
            command += [f"--{split}pref", str(pieces / split)]
        command += ["--joined-dictionary", "--destdir", str(self.prepared_for_rivals(direction))]
        return Step(f"prepare-{direction}-joined", self.out, tuple(command))

    def train(self, system: str, direction: str, seed: int, variant: Variant = RECIPE) -> Step:
        """One training; fairseq goes on from the last checkpoint by itself."""
        run = self.run(system, direction, seed, variant)
        common = ["--save-dir", str(run), "--seed", str(seed), "--user-dir", PLUGINS]
        common += ["--optimizer", "adam", "--adam-betas", "(0.9, 0.98)"]
        common += ["--no-epoch-checkpoints", "--keep-interval-updates", str(AVERAGE_OF)]
        common += ["--required-batch-size-multiple", "1"]  # else fairseq drops sentences
        common += ["--log-format", "simple", "--log-interval", "50", "--num-workers", "0"]
        data = self.prepared_for_rivals(direction)
        rival = ["--share-all-embeddings", "--label-smoothing", "0.1"]
        if system == "abnet":
            data = self.prepared(direction)
            source, target = (str(self.bert(language)) for language in _languages(direction))
            special = ["--task", "translation_abnet", "--arch", "abnet"]
            special += ["--source-bert", source, "--target-bert", target]
            special += ["--criterion", "conditional_masked_lm"]
        elif system == "transformer":
            special = ["--task", "translation", "--arch", "transformer"]
            special += ["--criterion", "label_smoothed_cross_entropy", *rival]
        else:
            special = ["--task", "translation_lev", "--arch", "cmlm_transformer"]
            special += ["--criterion", "nat_loss", "--noise", "random_mask", "--apply-bert-init"]
            special += ["--encoder-learned-pos", "--decoder-learned-pos", *rival]
        special += self.size.training(system)
        options = [option for option in special if option not in variant.without]
        return Step("train", run, ("fairseq-train", str(data), *common, *options, *variant.options))

    def average(self, system: str, direction: str, seed: int) -> Step:
        """The mean of the last checkpoints."""
        run = self.run(system, direction, seed)
        tool = ["abnet", "average"]
        if system != "abnet":
            tool = ["python", "-m", "scripts.reproduce.average_fairseq"]
        how = [str(run), "--last", str(AVERAGE_OF), "--output", str(run / AVERAGED)]
        return Step("average", run, (*tool, *how))

    def generate(
        self,
        system: str,
        direction: str,
        seed: int,
        variant: Variant = RECIPE,
        split: str = "test",
        checkpoint: str = AVERAGED,
    ) -> Step:
        """A split decoded into `generate-SPLIT.txt`."""
        run = self.run(system, direction, seed, variant)
        command = ["fairseq-generate", "--user-dir", PLUGINS, "--path", str(run / checkpoint)]
        command += ["--gen-subset", split, "--results-path", str(run), "--num-workers", "0"]
        command += ["--required-batch-size-multiple", "1", *self.size.decoding]
        data = self.prepared_for_rivals(direction)
        if system == "abnet":
            data = self.prepared(direction)
            command += ["--task", "translation_abnet", "--iter-decode-max-iter", str(PASSES)]
            command += ["--iter-decode-with-beam", str(LENGTH_BEAM)]
        elif system == "transformer":
            command += ["--task", "translation", "--beam", str(BEAM)]
        else:
            # fairseq's CMLM makes one pass more than it is told, and its early stop can leave
            # masks in a short sentence.
            command += ["--task", "translation_lev", "--iter-decode-max-iter", str(PASSES - 1)]
            command += ["--iter-decode-force-max-iter"]
            command += ["--iter-decode-with-beam", str(LENGTH_BEAM), "--beam", "1"]
        return Step("generate", run, (*command, str(data)))


def _languages(direction: str) -> Sequence[str]:
    return direction.split("-")
