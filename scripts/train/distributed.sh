#!/usr/bin/env bash
# One training run on several GPUs, on one machine or on several, by fairseq's own data parallelism.
# Everything after the script's name goes to fairseq-train; batches grow with the number of GPUs.
#
# All GPUs of this machine:
#   scripts/train/distributed.sh data-bin/NAME --arch abnet_wmt_en_de --source-bert ... --save-dir ...
# Several machines, the same command on each, with NODE_RANK 0, 1, ...:
#   NODES=2 NODE_RANK=0 MASTER_ADDR=first-machine scripts/train/distributed.sh data-bin/NAME ...
# SLURM, one task a machine (in `salloc`, or in the script that `sbatch` gets):
#   srun --nodes 2 --ntasks-per-node 1 --gpus-per-node 8 scripts/train/distributed.sh data-bin/NAME ...
#
# PROCESSES  processes on this machine; default: its GPUs. Without a GPU they run on the CPU.
# MASTER_PORT  where the first machine listens, if there are several; default: 29500.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
export PATH="$root/.venv/bin:$PATH"

case "${1:-}" in
"" | -h | --help)
    sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]}"
    exit "$(($# ? 0 : 2))"
    ;;
esac
if [[ -n "${SLURM_STEP_ID:-}" ]]; then
    NODES="${NODES:-$SLURM_NNODES}"
    NODE_RANK="${NODE_RANK:-$SLURM_NODEID}"
    hosts="$(scontrol show hostnames "$SLURM_JOB_NODELIST")"
    MASTER_ADDR="${MASTER_ADDR:-${hosts%%$'\n'*}}"
fi
nodes="${NODES:-1}"
gpus="$(python -c 'import torch; print(torch.cuda.device_count())')"
processes="${PROCESSES:-$gpus}"
if ((processes < 1)); then
    echo "distributed.sh: no GPU was found; set PROCESSES to train on the CPU" >&2
    exit 2
fi

launch=(torchrun --nnodes "$nodes" --nproc-per-node "$processes")
if ((nodes > 1)); then
    launch+=(--node-rank "${NODE_RANK:?must be this machine\'s number, from 0}")
    launch+=(--master-addr "${MASTER_ADDR:?must be the name of machine 0}")
    launch+=(--master-port "${MASTER_PORT:-29500}")
else
    launch+=(--standalone)
fi

options=(--user-dir "$root/fairseq_plugins" --task translation_abnet)
options+=(--criterion conditional_masked_lm --distributed-world-size "$((nodes * processes))")
rank=""
if ((gpus == 0)); then # fairseq works out ranks and devices for GPUs only
    options+=(--distributed-backend gloo --distributed-init-method env:// --distributed-no-spawn)
    options+=(--ddp-backend legacy_ddp)
    rank="--distributed-rank \$RANK"
fi
exec "${launch[@]}" --no-python bash -c "exec fairseq-train \"\$@\" $rank" bash "${options[@]}" "$@"
