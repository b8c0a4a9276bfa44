"""What the search for a recipe varies, one thing at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from scripts.reproduce.compared import is_ours
from scripts.reproduce.recipes import Multi30k, Variant
from scripts.reproduce.sizes import NORMS_BEFORE, Size, words

TUNED = ("abnet", "transformer", "cmlm")
GRAPH = "abnet_dag"  # begins with what was found for AB-Net, on the BERTs of the comparison


@dataclass(frozen=True)
class Trial:
    """A training with one thing changed.

    Attributes:
        group: of the table it stands in.
        factor: what is changed.
        value: to what; the file names use it.
        options: of `fairseq-train`, added to the recipe.
        without: flags of the recipe that are left out.
        bert: of `abnet pretrain`, added to the search's: BERTs and data of its own.
        system: which is trained.
        berts_of_comparison: on these BERTs rather than on those of the search.
    """

    group: str
    factor: str
    value: str
    options: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    bert: tuple[str, ...] = ()
    system: str = "abnet"
    berts_of_comparison: bool = False

    @property
    def name(self) -> str:
        """In file names: factor and value."""
        return f"{self.factor}-{self.value}".replace(" ", "-")

    def variant(self, work: Multi30k, direction: str, seed: int) -> Variant:
        """The training, as long as a search lets it be."""
        kept = work.kept(GRAPH, direction, seed) if self.system == GRAPH else ()
        options = (*work.size.search, *kept, *self.options)
        return Variant(self.name, options, self.without)

    def work(self, work: Multi30k) -> Multi30k:
        """Where it is done, in a comparison: the search's folder or, with other BERTs, its own."""
        if self.berts_of_comparison:
            return work
        search = work.searched()
        if not self.bert:
            return search
        size = replace(search.size, bert=(*search.size.bert, *self.bert))
        return replace(search, out=search.out / self.name, size=size)


def baselines() -> list[Trial]:
    """The recipes as they are."""
    return [
        Trial("recipe", "recipe", system, system=system, berts_of_comparison=system == GRAPH)
        for system in (*TUNED, GRAPH)
    ]


def factors(size: Size) -> list[Trial]:
    """Everything that is tried, in the order of the tables.

    Args:
        size: of the comparison; some values are multiples of its own.
    """
    quarter = int(_option((*size.bert, *size.search_bert), "--updates")) // 4
    dropout = "--bert-dropout 0.1 --adapter-dropout 0.1"
    return [
        *_trials("adapters", "adapter-init", {"released": "--adapter-init released"}),
        *_trials("adapters", "decoder-norm", {"post": "--decoder-adapter-norm post"}),
        *_trials("adapters", "decoder-ffn", {"384": "--decoder-adapter-ffn-dim 384"}),
        *_others(size.abnet, "adapters", "adapter-dropout", ("0", "0.1")),
        *_others(size.abnet, "adapters", "bert-dropout", ("0", "0.1")),
        *_trials("adapters", "encoder-dim", {"96": "--encoder-adapter-dim 96"}),
        *_trials("adapters", "spread-source", {"yes": "--spread-source"}),
        *_trials("adapters", "lexical-dim", {"64": "--lexical-adapter-dim 64"}),
        Trial("symbols", "cls", "left-out", without=("--keep-cls",)),
        *_trials("objective", "target-noise", {"bert": "--target-noise bert"}),
        *_trials("objective", "source-noise", {"0.1": "--source-noise 0.1"}),
        *_trials(
            "objective",
            "mask-count",
            {"cosine": "--mask-count cosine", "share": "--mask-count share"},
        ),
        *_trials("objective", "normalization", {"target": "--loss-normalization target"}),
        *_trials(
            "objective",
            "length-weight",
            {"0.3": "--length-loss-weight 0.3", "0.1": "--length-loss-weight 0.1"},
        ),
        *_trials("objective", "label-smoothing", {"0": "--label-smoothing 0"}),
        *_trials(
            "head", "head", {"bias": "--train-head bias", "transform": "--train-head transform"}
        ),
        *_trials("consistency", "correction", {"0.3": "--correction 0.3"}),
        *_trials(
            "consistency", "r-drop", {"1": f"--r-drop 1 {dropout}", "5": f"--r-drop 5 {dropout}"}
        ),
        *(trial for system in TUNED for trial in _tuning(system, size)),
        Trial("together", "all that was kept", "yes", size.kept["abnet"]),
        *_of_the_graph(),
        # The one update has a learning rate of zero.
        Trial("pre-training", "pre-training", "none", bert=words("--updates 1")),
        Trial("pre-training", "pre-training", "quarter", bert=words(f"--updates {quarter}")),
        Trial("pre-training", "pre-training", "as compared", berts_of_comparison=True),
        Trial("masking", "masking", "decoder", bert=words("--masking decoder")),
        Trial("masking", "mask-share", "0.4", bert=words("--mask-share 0.4")),
    ]


GROUPS = (
    "adapters",
    "symbols",
    "objective",
    "head",
    "consistency",
    "tuning",
    "together",
    "graph",
    "pre-training",
    "masking",
)


def _trials(group: str, factor: str, values: Mapping[str, str]) -> list[Trial]:
    """One trial a value, whose options are given."""
    return [Trial(group, factor, value, words(options)) for value, options in values.items()]


def _others(own: Sequence[str], group: str, factor: str, values: Sequence[str]) -> list[Trial]:
    """The values of the option `--FACTOR` that are not the recipe's."""
    option = f"--{factor}"
    others = [value for value in values if float(value) != float(_option(own, option))]
    return [Trial(group, factor, value, (option, value)) for value in others]


def _tuning(system: str, size: Size) -> list[Trial]:
    """Each system's own search: learning rate, warm-up, batch (at equal tokens) and dropout.

    The rivals' has the norms before the blocks, which help both of them most.
    """
    own = (*size.training(system), *size.search)
    rate = float(_option(own, "--lr"))
    warmup, tokens, updates = (
        int(_option(own, name)) for name in ("--warmup-updates", "--max-tokens", "--max-update")
    )

    def batch(factor: float) -> tuple[str, ...]:
        count = str(round(updates / factor))
        return (
            *("--max-tokens", str(round(tokens * factor))),
            *("--warmup-updates", str(round(warmup / factor))),
            *("--max-update", count, "--total-num-update", count),
        )

    trials = [
        Trial("tuning", "lr", "half", ("--lr", str(rate / 2))),
        Trial("tuning", "lr", "double", ("--lr", str(rate * 2))),
        Trial("tuning", "warm-up", "double", ("--warmup-updates", str(2 * warmup))),
        Trial("tuning", "batch", "half", batch(0.5)),
        Trial("tuning", "batch", "double", batch(2)),
    ]
    if system != "abnet":
        trials += _others(own, "tuning", "dropout", ("0", "0.1", "0.3"))
    before = words(NORMS_BEFORE)
    if not is_ours(system):
        trials = [replace(t, options=(*before, *t.options)) for t in trials]
        trials.append(Trial("tuning", "norm", "before", before))
    if system == "cmlm":
        learned, small = "--encoder-learned-pos --decoder-learned-pos", "--apply-bert-init"
        unscaled = "--no-scale-embedding"
        trials += [
            Trial("tuning", "positions", "learned", words(learned)),
            Trial("tuning", "initialisation", "BERT", words(small)),
            Trial("tuning", "both", "learned and BERT", words(f"{learned} {small}")),
            Trial("tuning", "like", "BERT", (*before, *words(f"{learned} {small} {unscaled}"))),
        ]
    return [replace(trial, system=system) for trial in trials]


def _of_the_graph() -> list[Trial]:
    """What a graph of words has beside AB-Net, and what it takes over."""
    trials = [
        *_trials("graph", "frames", {"2": "--frames-per-piece 2", "6": "--frames-per-piece 6"}),
        *_trials("graph", "reveal", {"0": "--reveal-frames 0", "0.25": "--reveal-frames 0.25"}),
        *_trials("graph", "r-drop", {"1": "--r-drop 1"}),
        *_trials("graph", "gloss", {"yes": "--gloss-source"}),
    ]
    return [replace(trial, system=GRAPH, berts_of_comparison=True) for trial in trials]


def _option(options: Sequence[str], name: str) -> str:
    """The value behind an option, the last one of several."""
    last = max(place for place, option in enumerate(options) if option == name)
    return options[last + 1]
