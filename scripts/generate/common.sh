# What the scripts beside this file share; sourced, not run.
source "$(dirname "${BASH_SOURCE[0]}")/../prepare/common.sh"

# How a checkpoint's system was trained, and so is decoded: objective_of CHECKPOINT
objective_of() {
    python -c 'import sys; from abnet.checkpoint import read_checkpoint
print(read_checkpoint(sys.argv[1]).config.objective)' "$1"
}

# The value that an option has among arguments, or a default: option NAME DEFAULT ARGUMENT...
option() {
    local name="$1" value="$2"
    shift 2
    while (($#)); do
        case "$1" in
            "$name") value="${2:-}" ;;
            "$name="*) value="${1#*=}" ;;
        esac
        shift
    done
    echo "$value"
}

# Averages the last ten checkpoints of a run (or what there is of them), decodes the test set (or
# --gen-subset) and scores it; options given after the pair go to fairseq-generate, those in
# score_options to abnet evaluate:
# generate CORPUS PAIR OPTION...
score_options=()
generate() {
    installed
    local data="${DATA:-$root/data-bin/$1.$2}" run="${RUN:-$(run_of "$1.$2")}"
    local target="${2##*-}"
    if [[ ! -f "$data/manifest.json" || ! -d "$run" ]]; then
        echo "there is no prepared data in $data or no trained model in $run: run" \
            "scripts/prepare/$1.sh $2 and scripts/train/$1.sh $2 first" >&2
        exit 2
    fi
    shift 2
    local subset results
    subset="$(option --gen-subset test "$@")"
    results="$(option --results-path "$run" "$@")"
    abnet average "$run" --last "${LAST:-10}" --or-fewer --output "$run/checkpoint_average.pt"
    # The paper's decoding, which stops at the first repeat.
    local objective decoding=(--iter-decode-max-iter 10 --iter-decode-with-beam 4)
    decoding+=(--iter-decode-patience 1)
    objective="$(objective_of "$run/checkpoint_average.pt")"
    case "$objective" in
        autoregressive) decoding=(--beam 5) ;;
        ctc | dag) decoding=() ;;
    esac
    rm -f "$results/generate-$subset.txt"
    fairseq-generate "$data" --user-dir "$root/fairseq_plugins" --task translation_abnet \
        --path "$run/checkpoint_average.pt" --gen-subset test --max-tokens 4096 \
        --scoring sacrebleu ${decoding[@]+"${decoding[@]}"} --results-path "$run" "$@"
    abnet evaluate --generate-output "$results/generate-$subset.txt" \
        --data "$data" --references "$data/raw/$subset.$target" --language "$target" --tokenized \
        ${score_options[@]+"${score_options[@]}"}
}
