# What the scripts beside this file share; sourced, not run.
source "$(dirname "${BASH_SOURCE[0]}")/../prepare/common.sh"

# The BERT that a prepared folder was made with: prepared_bert FOLDER 0 (source) | 1 (target)
prepared_bert() {
    python -c 'import json, sys; print(json.load(open(sys.argv[1]))["berts"][int(sys.argv[2])])' \
        "$1/manifest.json" "$2"
}

# Trains AB-Net on a prepared corpus with the released recipe; options given after it win:
# train CORPUS PAIR OPTION...
# DATA names another prepared folder, SAVE another folder for the checkpoints than that of run_of.
train() {
    installed
    local data="${DATA:-$root/data-bin/$1.$2}" save="${SAVE:-$(run_of "$1.$2")}"
    if [[ ! -f "$data/manifest.json" ]]; then
        echo "there is no prepared data in $data: run scripts/prepare/$1.sh $2 first" >&2
        exit 2
    fi
    shift 2
    exec fairseq-train "$data" --user-dir "$root/fairseq_plugins" --task translation_abnet \
        --source-bert "$(prepared_bert "$data" 0)" --target-bert "$(prepared_bert "$data" 1)" \
        --criterion conditional_masked_lm --save-dir "$save" \
        --optimizer adam --adam-betas '(0.9, 0.98)' --lr 5e-4 \
        --lr-scheduler inverse_sqrt --warmup-updates 4000 --warmup-init-lr 1e-7 \
        --max-update 200000 --keep-last-epochs 10 "$@"
}

# How many batches of 4,096 tokens each GPU has to gather for 8 in all: gathered
gathered() {
    installed
    python -c 'import sys, torch
gpus = max(1, torch.cuda.device_count())
each = max(1, 8 // gpus)
print(each)
if each * gpus != 8:
    print(f"{gpus} GPUs gather {each * gpus} batches of 4,096 tokens, where the paper has 8: "
          "choose other GPUs with CUDA_VISIBLE_DEVICES to have as many", file=sys.stderr)'
}
