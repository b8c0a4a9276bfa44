"""A tiny corpus and tiny models that stand for real ones, to try the scripts out in minutes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from abnet.systems import SYSTEMS
from scripts.reproduce.paper_rows import Row
from scripts.reproduce.steps import Step

PAIR = ("de", "en")
UPDATES = 8


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
        source, target = self.folder / "bert-de", self.folder / "bert-en"
        if system.both_berts:
            source = target = self.folder / "bert-both"
        if system.target_bert:
            target = self.folder / "gpt-en"
        return ("--source-bert", str(source), "--target-bert", str(target))

    def options(self, row: Row) -> tuple[str, ...]:
        """Options of `fairseq-train` that make a training tiny; last, so that they hold."""
        options = SYSTEMS[row.system].options
        fewer: list[str] = []
        for name in ("encoder_adapter_layers", "decoder_adapter_layers"):
            if options.get(name):
                fewer += ["--" + name.replace("_", "-"), "1"]
        if options.get("decoder_adapter_ffn_dim"):
            fewer += ["--decoder-adapter-ffn-dim", "16"]
        return (
            *("--encoder-adapter-dim", "16", "--length-classes", "64", *fewer),
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
        needed = {Path(option).name for row in rows for option in self.berts(row)}
        gpt = ("python", "-m", "scripts.reproduce.toy", str(self.text / "train.en"))
        makers = {
            "bert-de": self._bert("bert-de", "de"),
            "bert-en": self._bert("bert-en", "en"),
            "bert-both": self._bert("bert-both", *PAIR),
            "gpt-en": Step("gpt-en", self.folder, (*gpt, str(self.folder / "gpt-en"))),
        }
        return [*made, *(step for name, step in makers.items() if name in needed)]

    def _bert(self, name: str, *languages: str) -> Step:
        texts = [str(self.text / f"train.{language}") for language in languages]
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


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Make a tiny random GPT-2.")
    parser.add_argument("text", type=Path)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args(argv)
    with open(args.text, encoding="utf-8") as lines:
        make_gpt(lines, args.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
