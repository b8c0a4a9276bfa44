"""A tiny corpus and tiny models that stand for real ones, to try the scripts out in minutes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from abnet.config import AbNetConfig
from abnet.systems import SYSTEMS
from abnet.text import read_lines
from scripts.reproduce.paper_rows import Row
from scripts.reproduce.steps import Step

PAIR = ("de", "en")
UPDATES = 8
NARROWER = 32  # times are the encoder's adapters
USUAL_WIDTH = AbNetConfig.encoder_adapter_dim


@dataclass(frozen=True)
class Toy:
    """What a try of the scripts works with.

    Attributes:
        folder: of the text and the models.
    """

    folder: Path

    @property
    def text(self) -> Path:
        """The folder of train, valid and test."""
        return self.folder / "text"

    def berts(self, row: Row) -> tuple[str, ...]:
        """The options that name a row's models; languages beyond German and English take these."""
        system = SYSTEMS[row.system]
        source, target = "bert-de", "bert-en"
        if system.both_berts:
            source = target = f"{_kind(system.both_berts)}-both"
        if row.source_bert or system.source_bert:
            source = f"{_kind(row.source_bert or system.source_bert)}-de"
        if row.target_bert or system.target_bert:
            target = f"{_kind(row.target_bert or system.target_bert)}-en"
        source, target = (str(self.folder / name) for name in (source, target))
        return ("--source-bert", source, "--target-bert", target)

    def options(self, row: Row) -> tuple[str, ...]:
        """Options of `fairseq-train` that make a training tiny; last, so that they hold."""
        options = {**SYSTEMS[row.system].options, **_given(row.options)}
        width = options.get("encoder_adapter_dim", USUAL_WIDTH)
        fewer: list[str] = []
        for name in ("encoder_adapter_layers", "decoder_adapter_layers"):
            if int(options.get(name) or 0):
                fewer += ["--" + name.replace("_", "-"), "1"]
        if options.get("decoder_adapter_ffn_dim"):
            fewer += ["--decoder-adapter-ffn-dim", "16"]
        return (
            *("--encoder-adapter-dim", str(max(1, int(width) // NARROWER))),
            *("--length-classes", "64", *fewer),
            *("--transformer-dim", "16", "--transformer-ffn-dim", "32", "--transformer-heads", "2"),
            *("--transformer-encoder-layers", "1", "--transformer-decoder-layers", "1"),
            *("--max-tokens", "600", "--update-freq", "1", "--max-update", str(UPDATES)),
            *("--lr", "1e-3", "--warmup-updates", "2", "--cpu", "--num-workers", "0"),
        )

    def steps(self, rows: Sequence[Row]) -> list[Step | Callable[[], object]]:
        """Text and the models that the rows need."""
        languages = sorted({language for row in rows for language in row.pair.split("-")})
        made: list[Step | Callable[[], object]] = [
            Step(
                "text",
                self.folder,
                (
                    *("python", "-m", "abnet.corpora.synthetic", str(self.text)),
                    *("--train", "60", "--valid", "8", "--test", "8"),
                ),
            ),
            lambda: self._name_languages(languages),
        ]
        needed = {Path(option).name for row in rows for option in self.berts(row)[1::2]}
        return [*made, *(self._model(name) for name in sorted(needed))]

    def _model(self, name: str) -> Step:
        """The step that makes `KIND-LANGUAGE`, or `KIND-both`."""
        kind, language = name.split("-")
        languages = PAIR if language == "both" else (language,)
        texts = [str(self.text / f"train.{language}") for language in languages]
        if kind != "bert":
            command = ("python", "-m", "scripts.reproduce.toy", kind, str(self.folder / name))
            return Step(name, self.folder, (*command, *texts))
        command = ("abnet", "pretrain", "--output", str(self.folder / name), "--resume")
        command += ("--layers", "2", "--hidden", "16", "--heads", "2", "--ffn", "32")
        command += ("--vocab-size", "200", "--batch-tokens", "400", "--updates", "2")
        return Step(name, self.folder, (*command, "--text", *texts))

    def _name_languages(self, languages: Sequence[str]) -> None:
        """Copies of the German text under the names of the other languages."""
        for split in ("train", "valid", "test"):
            german = (self.text / f"{split}.de").read_bytes()
            for language in languages:
                path = self.text / f"{split}.{language}"
                if not path.exists():
                    path.write_bytes(german)


def _kind(model: str) -> str:
    """Of a model's name: which toy stands for it."""
    return next((kind for kind in ("roberta", "gpt") if kind in model), "bert")


def _given(options: Sequence[str]) -> dict[str, str]:
    """Options of the command line, each with its value, as fields of `AbNetConfig`."""
    names = (option.removeprefix("--").replace("-", "_") for option in options[::2])
    return dict(zip(names, options[1::2], strict=True))


def make_gpt(
    lines: Iterable[str],
    folder: Path,
    hidden: int = 16,
    layers: int = 2,
    heads: int = 2,
    positions: int = 128,
    deviation: float = 0.02,
    seed: int = 1,
) -> None:
    """Saves a random GPT-2 with a byte-level tokenizer learned from the lines.

    Its one special symbol is that of GPT-2 itself.
    """
    import tokenizers
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, GPT2TokenizerFast

    end = "<|endoftext|>"
    tokenizer = tokenizers.ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(lines, 300, special_tokens=[end], show_progress=False)
    GPT2TokenizerFast(
        tokenizer_object=tokenizer._tokenizer, bos_token=end, eos_token=end, unk_token=end
    ).save_pretrained(folder)
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=tokenizer.get_vocab_size(), n_embd=hidden, n_layer=layers, n_head=heads,
        n_positions=positions, initializer_range=deviation, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    GPT2LMHeadModel(config).save_pretrained(folder)


def make_roberta(lines: Iterable[str], folder: Path) -> None:
    """Saves a random RoBERTa with a byte-level tokenizer learned from the lines."""
    import tokenizers
    import torch
    from transformers import RobertaConfig, RobertaForMaskedLM, RobertaTokenizer

    symbols = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    learner = tokenizers.ByteLevelBPETokenizer()
    learner.train_from_iterator(lines, 300, special_tokens=symbols, show_progress=False)
    folder.mkdir(parents=True, exist_ok=True)
    learner.save_model(str(folder))
    files = {"vocab": folder / "vocab.json", "merges": folder / "merges.txt"}
    tokenizer = RobertaTokenizer(**{name: str(path) for name, path in files.items()})
    tokenizer.save_pretrained(folder)
    torch.manual_seed(1)
    config = RobertaConfig(
        vocab_size=learner.get_vocab_size(), hidden_size=16, num_hidden_layers=2,
        num_attention_heads=2, intermediate_size=32, max_position_embeddings=130,
        type_vocab_size=1,
    )  # fmt: skip
    RobertaForMaskedLM(config).save_pretrained(folder)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Make a tiny random model of a kind.")
    parser.add_argument("kind", choices=("gpt", "roberta"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("text", type=Path, nargs="+")
    args = parser.parse_args(argv)
    make = make_gpt if args.kind == "gpt" else make_roberta
    make((line for path in args.text for line in read_lines(path)), args.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
