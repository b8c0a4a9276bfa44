"""How much of everything the Multi30k comparison trains, as options of the commands.

Budgets are counted in updates. Small batches are on purpose: at the CPU size the number of updates
matters more than that of tokens. On one thread of an AMD EPYC, with another training beside it,
2.2 updates a second of AB-Net are done in 32 bits, and in bfloat16, where the processor has it, 6.
The rivals are Transformer-Tiny, which is the best size known for Multi30k (Wu et al., ACL 2021:
41.0 tokenized BLEU En-De), and AB-Net trains no more weights than they do, 3.0 million.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


def words(text: str) -> tuple[str, ...]:
    """The options of a command as a sequence."""
    return tuple(text.split())


@dataclass(frozen=True)
class Size:
    """What a size of the comparison trains, as options of the commands.

    Attributes:
        bert: of `abnet pretrain`, for a new BERT.
        minilm_head: of `abnet pretrain`, for the head of the real English encoder.
        abnet: of `fairseq-train`, for AB-Net: the paper's recipe, from which a search departs.
        own: for another system of ours, those that come behind AB-Net's and so hold. What is from
            scratch in it has the rivals' shape, batches and learning rates.
        rivals: of `fairseq-train`, for the Transformer and the CMLM: their shape and batches.
        transformer: of `fairseq-train`, for the Transformer.
        cmlm: of `fairseq-train`, for the CMLM.
        kept: for a system, options of `fairseq-train` that the search has found to help.
        decoding: of `fairseq-generate`.
        search: of `fairseq-train`, for the shorter trainings of the search for a recipe.
        search_bert: of `abnet pretrain`, for the BERTs of that search.
        bf16: whether ours train in bfloat16 where the processor multiplies in it.
        jobs: trainings at a time.
        on_gpu: whether a GPU is used.
    """

    bert: tuple[str, ...]
    minilm_head: tuple[str, ...]
    abnet: tuple[str, ...]
    own: Mapping[str, tuple[str, ...]]
    rivals: tuple[str, ...]
    transformer: tuple[str, ...]
    cmlm: tuple[str, ...]
    kept: Mapping[str, tuple[str, ...]]
    decoding: tuple[str, ...]
    search: tuple[str, ...]
    search_bert: tuple[str, ...]
    bf16: bool
    jobs: int
    on_gpu: bool

    def training(self, system: str) -> tuple[str, ...]:
        """The options of `fairseq-train` that are a system's own."""
        if system in ("transformer", "cmlm"):
            return (*self.rivals, *(self.transformer if system == "transformer" else self.cmlm))
        return (*self.abnet, *self.own.get(system, ()))


ALL_PASSES = "--iter-decode-force-max-iter --iter-decode-ban-repeats"
CORRECTING = f"{ALL_PASSES} --iter-decode-repredict"
KEPT_DECODING = {
    "conditional_masked_lm": words(ALL_PASSES),
    "abnet_corrected": words(CORRECTING),
    "abnet_rescored": words(
        f"{CORRECTING} --iter-decode-max-iter 9 --iter-decode-rescore-weight 2 "  # one more pass
        "--iter-decode-length-weight 0.1"
    ),
    "abnet_reranked": words(
        f"{CORRECTING} --iter-decode-with-external-reranker --iter-decode-rerank-weight 0.5"
    ),
    "ctc": words("--ctc-blank-penalty 1"),
    "abnet_ctc_refined": words("--ctc-blank-penalty 2 --ctc-iterations 10"),
    "abnet_dag_ranked": words("--dag-beam 8 --dag-lm-weight 0.3"),
    "abnet_dag_fuzzy_ranked": words("--dag-beam 8 --dag-lm-weight 0.3"),
}
"""By system or objective, options of `fairseq-generate` that were found to help ours."""

KEPT_REWARDS = {
    ("abnet_dag_fuzzy", "de-en"): words("--dag-word-reward 0.5"),
    ("abnet_dag_fuzzy_ranked", "de-en"): words("--dag-word-reward 0.5"),
    ("abnet_dag_fuzzy_ranked", "en-de"): words("--dag-word-reward 1.5"),
}
"""By system and direction, what comes to these: found on the validation set of 0, 0.5, 1, 1.5."""

# Parts of the options below.
NORMS_BEFORE = "--encoder-normalize-before --decoder-normalize-before"  # the blocks, in fairseq
IN_8000 = "--total-num-update 8000 --max-update 8000 --save-interval-updates 200"
GRAPH = f"--frames-per-piece 3 {IN_8000}"
VECTORS = (  # of source pieces, for rare words
    "--encoder-adapter-dim 96 --lexical-adapter-dim 128 --adapter-dropout 0.2"
)
VECTORS_ON_GPU = "--encoder-adapter-dim 64 --lexical-adapter-dim 64"
TRANSFORMER_TINY = (
    "--transformer-encoder-layers 4 --transformer-decoder-layers 4 "
    "--transformer-dim 128 --transformer-ffn-dim 256 --transformer-heads 4"
)
LIKE_TRANSFORMER = (
    f"{TRANSFORMER_TINY} --transformer-dropout 0.3 --transformer-attention-dropout 0.3 "
    f"--lr 3e-3 --max-tokens 2000 --warmup-updates 400 {IN_8000}"
)
LIKE_CMLM = (
    f"{TRANSFORMER_TINY} --transformer-dropout 0.1 --transformer-attention-dropout 0.1 "
    f"--length-loss-weight 0.1 --lr 2e-3 --max-tokens 1000 --warmup-updates 400 {IN_8000}"
)
LIKE_TRANSFORMER_ON_GPU = (
    f"{TRANSFORMER_TINY} --transformer-dropout 0.3 --lr 4e-3 --warmup-updates 2000"
)
LIKE_CMLM_ON_GPU = (
    f"{TRANSFORMER_TINY} --transformer-dropout 0.3 --length-loss-weight 0.1 "
    "--lr 2e-3 --warmup-updates 2000"
)
ONE_LAYER = (
    "--transformer-encoder-layers 1 --transformer-decoder-layers 1 "
    "--transformer-dim 32 --transformer-ffn-dim 64 --transformer-heads 2"
)

SIZES = {
    "cpu": Size(
        bert=words(
            "--layers 4 --hidden 192 --heads 4 --ffn 768 --vocab-size 8000 --max-positions 128 "
            "--updates 32000 --batch-tokens 1024 --lr 1e-3 --dropout 0 --mask-share 0.4"
        ),
        minilm_head=words("--updates 1500 --batch-tokens 1024 --lr 1e-3"),
        abnet=words(
            "--keep-cls --encoder-adapter-dim 384 --decoder-adapter-ffn-dim 0 "
            "--length-classes 512 --length-loss-weight 1 --loss-normalization masked "
            "--bert-dropout 0 --adapter-dropout 0 "
            "--max-tokens 600 --clip-norm 1.0 --lr 2e-3 --lr-scheduler polynomial_decay "
            "--warmup-updates 500 --total-num-update 16000 --max-update 16000 "
            "--save-interval-updates 400"
        ),
        own={
            "abnet_fb": words(IN_8000),  # an update with all weights trained takes twice as long
            "abnet_sc": words(f"--lr 5e-4 {IN_8000}"),
            "abnet_corrected": words(
                "--correction 0.3 --lr 1e-3 --warmup-updates 200 "
                "--total-num-update 2800 --max-update 2800 --save-interval-updates 140"
            ),
            "abnet_ctc": words(IN_8000),
            "abnet_dag": words(GRAPH),
            "abnet_dag_fuzzy": words(
                f"{GRAPH} --max-tokens 1200 --lr 1e-3 --warmup-updates 200 "
                "--total-num-update 3000 --max-update 3000"
            ),
            "abnet_minilm": words(
                "--total-num-update 4000 --max-update 4000 --save-interval-updates 100"
            ),
            "abnet_enc": words(f"{LIKE_CMLM} {VECTORS}"),
            "abnet_enc_ar": words(f"{LIKE_TRANSFORMER} {VECTORS}"),
            "mask_predict": words(LIKE_CMLM),
            "bert_fused_nat": words(LIKE_CMLM),
            "bert2bert": words(
                f"--bert-dropout 0.1 --lr 5e-4 --max-tokens 2000 --warmup-updates 400 {IN_8000}"
            ),
        },
        rivals=words(
            "--encoder-layers 4 --decoder-layers 4 --encoder-embed-dim 128 "
            "--decoder-embed-dim 128 --encoder-ffn-embed-dim 256 --decoder-ffn-embed-dim 256 "
            "--encoder-attention-heads 4 --decoder-attention-heads 4 --max-tokens 1000 "
            "--clip-norm 1.0 --lr-scheduler polynomial_decay --warmup-updates 400"
        ),
        transformer=words(
            "--dropout 0.3 --lr 3e-3 --max-tokens 2000 --total-num-update 8000 --max-update 8000 "
            "--save-interval-updates 200"
        ),
        cmlm=words(
            "--dropout 0.1 --lr 2e-3 --total-num-update 8000 --max-update 8000 "
            "--save-interval-updates 200"
        ),
        kept={
            "abnet": words(
                f"{VECTORS} --decoder-adapter-ffn-dim 696 --length-loss-weight 0.1 --spread-source"
            ),
            "cmlm": words(f"{NORMS_BEFORE} --warmup-updates 800"),
        },
        decoding=words("--max-tokens 2000"),
        search=words(
            "--warmup-updates 70 --total-num-update 700 --max-update 700 --save-interval-updates 0"
        ),
        search_bert=words("--updates 4000 --mask-share 0.15"),
        bf16=True,
        jobs=2,
        on_gpu=False,
    ),
    "gpu": Size(
        bert=words(
            "--layers 6 --hidden 256 --heads 4 --ffn 1024 --vocab-size 8000 --max-positions 128 "
            "--updates 8000 --batch-tokens 16384 --lr 1e-3 --mask-share 0.4 --bf16"
        ),
        minilm_head=words("--updates 3000 --batch-tokens 16384 --lr 1e-3 --bf16"),
        abnet=words(
            "--keep-cls --encoder-adapter-dim 256 --decoder-adapter-ffn-dim 0 "
            "--length-classes 512 --length-loss-weight 1 --loss-normalization masked "
            "--bert-dropout 0.1 --adapter-dropout 0.1 "
            "--max-tokens 4096 --clip-norm 1.0 --lr 1e-3 --lr-scheduler polynomial_decay "
            "--warmup-updates 1000 --total-num-update 12000 --max-update 12000 "
            "--save-interval-updates 300 --fp16"
        ),
        own={
            "abnet_corrected": words(
                "--correction 0.3 --lr 5e-4 --warmup-updates 200 "
                "--total-num-update 3000 --max-update 3000 --save-interval-updates 150"
            ),
            "abnet_dag_fuzzy": words(
                "--warmup-updates 200 --total-num-update 3000 --max-update 3000 "
                "--save-interval-updates 150"
            ),
            "abnet_enc": words(f"{LIKE_CMLM_ON_GPU} {VECTORS_ON_GPU}"),
            "abnet_enc_ar": words(f"{LIKE_TRANSFORMER_ON_GPU} {VECTORS_ON_GPU}"),
            "mask_predict": words(LIKE_CMLM_ON_GPU),
            "bert_fused_nat": words(LIKE_CMLM_ON_GPU),
            "bert2bert": words("--lr 5e-4 --warmup-updates 2000"),
        },
        rivals=words(
            "--encoder-layers 4 --decoder-layers 4 --encoder-embed-dim 128 "
            "--decoder-embed-dim 128 --encoder-ffn-embed-dim 256 --decoder-ffn-embed-dim 256 "
            "--encoder-attention-heads 4 --decoder-attention-heads 4 --max-tokens 4096 "
            "--clip-norm 1.0 --lr-scheduler polynomial_decay --warmup-updates 2000 "
            "--total-num-update 12000 --max-update 12000 --save-interval-updates 300 --fp16"
        ),
        transformer=words("--dropout 0.3 --lr 4e-3"),
        cmlm=words("--dropout 0.3 --lr 2e-3"),
        kept={
            "abnet": words(
                f"{VECTORS_ON_GPU} --decoder-adapter-ffn-dim 128 --length-loss-weight 0.1 "
                "--spread-source"
            ),
            "cmlm": words(NORMS_BEFORE),
        },
        decoding=words("--max-tokens 8000 --fp16"),
        search=words(
            "--warmup-updates 250 --total-num-update 2500 --max-update 2500 "
            "--save-interval-updates 0"
        ),
        search_bert=words("--mask-share 0.15"),
        bf16=False,
        jobs=6,
        on_gpu=True,
    ),
    "tiny": Size(
        bert=words(
            "--layers 1 --hidden 32 --heads 2 --ffn 64 --vocab-size 300 "
            "--batch-tokens 256 --updates 5"
        ),
        minilm_head=words("--updates 2 --batch-tokens 256"),
        abnet=words(
            "--keep-cls --encoder-adapter-dim 16 --decoder-adapter-ffn-dim 0 "
            "--length-classes 512 --length-loss-weight 1 --loss-normalization masked "
            "--bert-dropout 0 --adapter-dropout 0 "
            "--max-tokens 200 --lr 1e-3 --lr-scheduler polynomial_decay --warmup-updates 2 "
            "--total-num-update 16 "
            "--max-update 16 --save-interval-updates 1"
        ),
        own={
            "abnet_corrected": words("--correction 0.3"),
            **{
                system: words(ONE_LAYER)
                for system in ("abnet_enc", "abnet_enc_ar", "mask_predict", "bert_fused_nat")
            },
        },
        rivals=words(
            "--encoder-layers 1 --decoder-layers 1 --encoder-embed-dim 32 --decoder-embed-dim 32 "
            "--encoder-ffn-embed-dim 64 --decoder-ffn-embed-dim 64 --encoder-attention-heads 2 "
            "--decoder-attention-heads 2 --max-tokens 200 --lr 1e-3 "
            "--lr-scheduler polynomial_decay --warmup-updates 2 --total-num-update 16 "
            "--max-update 16 --save-interval-updates 1"
        ),
        transformer=words("--dropout 0.1"),
        cmlm=words("--dropout 0.1"),
        kept={
            "abnet": words("--decoder-adapter-ffn-dim 16 --lexical-adapter-dim 8"),
            "cmlm": words(NORMS_BEFORE),
        },
        decoding=words("--max-tokens 2000"),
        search=words("--total-num-update 2 --max-update 2 --save-interval-updates 0"),
        search_bert=words("--updates 4"),
        bf16=False,
        jobs=2,
        on_gpu=False,
    ),
}  # fmt: skip
"""`tiny` learns nothing: it tries the script out."""
