#!/usr/bin/env bash
# The paper's figure of the size of the encoder's adapters, on IWSLT14 De-En.
#
#   scripts/reproduce/figure2.sh [OPTION...]
#
#   scripts/reproduce/figure2.sh --toy       tries it on a tiny corpus, in minutes
#   scripts/reproduce/figure2.sh --help      lists the options
#
# Prepares, trains with the paper's settings, decodes, scores, and prints the paper's figures beside
# ours; writes benchmarks/results/paper-*.json. The same command goes on where it was stopped.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/paper.sh"
paper figure2 "$@"
