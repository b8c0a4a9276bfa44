#!/usr/bin/env bash
# The paper's convergence of AB-Net, of FB (all fine-tuned) and of SC (from random weights).
#
#   scripts/reproduce/figure3a.sh [OPTION...]
#
#   scripts/reproduce/figure3a.sh --toy       tries it on a tiny corpus, in minutes
#   scripts/reproduce/figure3a.sh --help      lists the options
#
# Prepares, trains with the paper's settings, decodes, scores, and prints the paper's figures beside
# ours; writes benchmarks/results/paper-*.json. The same command goes on where it was stopped.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/paper.sh"
paper figure3a "$@"
