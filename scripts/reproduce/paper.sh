# What the scripts of the paper's tables and figures share; sourced, not run.
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"

# Sets up and runs: paper WHAT OPTION...
paper() {
    "$root/scripts/setup.sh"
    export PATH="$root/.venv/bin:$PATH" PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
    exec python -m scripts.reproduce.paper "$@"
}
