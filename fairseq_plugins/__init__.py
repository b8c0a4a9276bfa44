"""The fairseq commands for AB-Net: `fairseq-train DATA-BIN --user-dir fairseq_plugins ...`.

fairseq's words are translated into those of `abnet` here, and nothing more: arguments to a
config, samples to tensors, hypotheses to dictionaries. Where fairseq has no hook for what is
needed, or one that does something else, this is what stands in for it:

- *Vocabulary.* `Dictionary` puts its own specials first, reads "word count" lines, adds words and
  pads its size; ours is the BERT's vocabulary, line by line (`dictionary.py`).
- *Two vocabularies.* `TranslationTask.setup_task`, `LanguagePairDataset` and `collate` want one
  id for padding and one for the end on both sides, which two BERTs need not have; the task sets
  itself up and `PairDataset` collates each side with its own ids.
- *Sentences that vanish.* `--required-batch-size-multiple` (default 8) drops the last batch when
  its size is no multiple; the task always passes 1. Sources beyond the BERT's positions end
  decoding or are skipped; the task truncates them and says so. A sentence longer than
  `--max-tokens` ends decoding; the task makes room for it.
- *Batches of several processes.* A process that has a batch less than the others gets an empty one,
  beside which fairseq forgets its other batches of the update in what the loss is divided by, and
  `--grouped-shuffling` leaves the longest sentences out in every epoch; the dataset cuts some
  batches in two, so that all have as many.
- *Checks before training.* No hook is called for training alone with all arguments but one: the
  function of an architecture gets the parsed arguments of `fairseq-train`. `training_run.py` uses
  it for what must be an error before anything is written. For that the model is registered as
  `abnet_model`: fairseq gives the architecture named as the model an empty function.
- *--bf16* sets `--tpu` behind the user's back, and then torch_xla is missing; the same hook takes
  it back. *--fp16* without a GPU asks CUDA for a place for its flat gradients; the hook leaves them
  as they are. When gradients overflow it asks CUDA again, and the loss scale grows until they do;
  the hook keeps the scale as it is.
- *Checks of files to decode with.* `fairseq-validate` reads its checkpoint before it asks the task
  for anything but options; the task uses that to look at what `--path` and `--input` name
  (`command_line.py`).
- *Safe loading.* fairseq's files hold its options and metrics beside tensors; `safe_loading.py`
  names their classes to torch, so that `weights_only` stays on.
- *Going on in half precision.* A checkpoint has the weights in 16 bits, of which the optimizer's
  copies in 32 are made anew; `full_precision.py` saves the copies and puts them back before the
  first step.
- *One learning rate.* Schedulers set the same for all weights; `bert_rate.py` gives the BERTs a
  share of it, around each step of the optimizer.
- *A fused Adam.* fairseq takes apex's where it is there and else goes through the tensors one by
  one; `--optimizer fused_adamw` is torch's (`fused_adamw.py`).
- *Errors while loading weights* are replaced by "please ensure that the architectures match"; the
  model logs the reason before it raises.
- *Best checkpoint by BLEU.* A validation set without a single word in the hypotheses leaves the
  metric out and training ends in a `KeyError`; `evaluation.py` counts 0.
- *Ensembles and rerankers.* `IterativeRefinementGenerator` wants fairseq's own model classes;
  `Systems` makes the library's `Ensemble` of the checkpoints of `--path`, and of the last one a
  `Reranker` with `--iter-decode-with-external-reranker`.
- *Raw text.* `--post-process` and the built-in `--bpe` kinds cannot join the pieces of a BERT;
  the task gives its own `bpe` by default. Source lines pass through the target's `bpe.decode`
  too, so the source dictionary marks its strings (`SourcePieces`).

What has no hook at all: `fairseq-preprocess` says "negative seek position" where its text is not
UTF-8 (`abnet tokenize` and `abnet prepare` name the line). A full disk is reported in the operating
system's words. `fairseq-generate` strips padding from the printed source by the *target's* padding
id; where two BERTs differ in it, an S- line may lack a piece of that id, never the translation.
With `--bpe` it ends by advising `--sacrebleu`, whatever `--scoring` is; that silences this advice
and does nothing else, so it is refused.
"""

from fairseq_plugins import safe_loading

safe_loading.allow_fairseq_classes()

# fairseq itself imports tasks/ and models/ only when it is the first to import this package.
from fairseq_plugins import bpe, fused_adamw  # noqa: E402, F401
from fairseq_plugins.criterions import translation_losses  # noqa: E402, F401
from fairseq_plugins.models import abnet_model  # noqa: E402, F401
from fairseq_plugins.tasks import translation_abnet  # noqa: E402, F401
