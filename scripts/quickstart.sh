#!/usr/bin/env bash
# The whole road from raw text to BLEU, on a corpus made on the spot: German dates, times, numbers
# and quantities in words, to be translated into English. Sets up .venv, pre-trains two small BERTs,
# trains AB-Net between them, translates what it has not seen, and scores that.
#
#   scripts/quickstart.sh           in 15 minutes on 2 CPU cores
#   scripts/quickstart.sh --hard    years, minutes, cents, numbers to 999,999: about 40 minutes
#   scripts/quickstart.sh --toy     tries the commands out in a minute or two and learns nothing
#
# Data go to data-bin/quickstart, BERTs and model to checkpoints/quickstart (with --hard to
# quickstart-hard, with --toy to quickstart-toy). The same command goes on where it was stopped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/prepare/common.sh

name=quickstart
corpus=(--train 60000 --valid 500 --test 500)
pretraining_updates=1200
updates=5000
each=50 # updates between two moves of the bar
case "${1:-}" in
"") ;;
--hard)
    name=quickstart-hard
    corpus=(--train 300000 --valid 1000 --test 1000 --hard)
    pretraining_updates=6000
    updates=15000
    ;;
--toy)
    name=quickstart-toy
    corpus=(--train 1200 --valid 20 --test 20)
    pretraining_updates=10
    updates=10
    each=1
    ;;
-h | --help) usage "${BASH_SOURCE[0]}" && exit ;;
*) usage "${BASH_SOURCE[0]}" >&2 && exit 2 ;;
esac
data="data-bin/$name"
run="checkpoints/$name"
text="$data/text"

scripts/setup.sh
# Models this small gain nothing from a GPU, and only training from a second thread.
export CUDA_VISIBLE_DEVICES="" OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 PYTHONPATH=.
mkdir -p "$data" "$run"
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT

step() {
    printf '\n%s  %s\n' "$(date +%T)" "$1"
}

# Says how a step that failed ended: failed LOG
failed() {
    tail -n 20 "$1" >&2
    echo "quickstart: error: all that was said is in $1; the same command goes on from here" >&2
    exit 1
}

pretrain() {
    abnet pretrain --text "$text/train.$1" --exclude "$text"/{valid,test}."$1" \
        --output "$run/bert-$1" --layers 3 --hidden 96 --heads 4 --ffn 384 --vocab-size 300 \
        --max-positions 64 --updates "$pretraining_updates" --batch-tokens 1000 --lr 2e-3 \
        --dropout 0 --resume
}

step "1/6  a corpus of dates, times, numbers and quantities in words"
python -m abnet.corpora.synthetic "$text" "${corpus[@]}"
paste -d '\n' <(head -n 3 "$text/test.de") <(head -n 3 "$text/test.en" | sed 's/^/    /')

step "2/6  two BERTs, German (its progress is shown) and English, from their own side each"
pretrain en >"$run/bert-en.log" 2>&1 &
pretrain de
wait $! || failed "$run/bert-en.log"
tail -n 1 "$run/bert-en.log"

step "3/6  clean text, pieces, binary files (fairseq-preprocess)"
abnet prepare text --pair de-en --train "$text/train" --valid "$text/valid" --test "$text/test" \
    --source-bert "$run/bert-de" --target-bert "$run/bert-en" --dest "$data" --workers 2

step "4/6  training the adapters (fairseq-train)"
if [[ ! -e "$run/trained" ]]; then
    OMP_NUM_THREADS=2 fairseq-train "$data" --user-dir fairseq_plugins \
        --task translation_abnet --source-bert "$run/bert-de" --target-bert "$run/bert-en" \
        --arch abnet --encoder-adapter-dim 384 --decoder-adapter-ffn-dim 192 --length-classes 64 \
        --bert-dropout 0 --adapter-dropout 0 --criterion conditional_masked_lm \
        --optimizer adam --adam-betas '(0.9, 0.98)' --clip-norm 1.0 \
        --lr 4e-3 --lr-scheduler polynomial_decay --warmup-updates "$((updates / 12))" \
        --total-num-update "$updates" --max-update "$updates" --max-tokens 600 --cpu \
        --save-dir "$run" --no-epoch-checkpoints --save-interval-updates 1000 \
        --keep-interval-updates 1 --num-workers 0 --log-format simple \
        --log-interval "$each" 2>&1 | tee "$run/train.log" |
        sed -un '/train_inner/p' | python -m tqdm --desc training --unit update --unit_scale \
        "$each" --total "$((updates / each))" >/dev/null || failed "$run/train.log"
    touch "$run/trained"
fi

step "5/6  translating the test set (fairseq-generate)"
fairseq-generate "$data" --user-dir fairseq_plugins \
    --task translation_abnet --path "$run/checkpoint_last.pt" --gen-subset test --max-tokens 2000 \
    --iter-decode-max-iter 10 --iter-decode-with-beam 4 --results-path "$run" --cpu \
    >"$run/generate.log" 2>&1 || failed "$run/generate.log"

step "6/6  what came of it"
python -m scripts.quickstart_report "$data" "$run"
