# What the scripts beside this file share; sourced, not run.
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
export PATH="$root/.venv/bin:$PATH"

# Ends a script where the project is not installed.
installed() {
    if ! command -v abnet >/dev/null; then
        echo "abnet is not installed: run scripts/setup.sh first" >&2
        exit 2
    fi
}

# Prints the comment at a script's head.
usage() {
    sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p;}' "$1"
}

# The paper's BERT for a language: bert_of LANGUAGE ENGLISH_BERT
bert_of() {
    case "$1" in
    en) echo "$2" ;;
    de) echo bert-base-german-cased ;;
    *) echo bert-base-multilingual-cased ;;
    esac
}

# Prepares a corpus with the paper's BERTs; options given after them win:
# prepare CORPUS PAIR ENGLISH_BERT OPTION...
prepare() {
    local corpus="$1" pair="$2" english="$3"
    shift 3
    installed
    exec abnet prepare "$corpus" --pair "$pair" \
        --source-bert "$(bert_of "${pair%%-*}" "$english")" \
        --target-bert "$(bert_of "${pair##*-}" "$english")" \
        --dest "$root/data-bin/$corpus.$pair" "$@"
}

# The folder for the checkpoints of a corpus and pair, or of the other data that DATA names for it:
# run_of CORPUS.PAIR
run_of() {
    echo "$root/checkpoints/$1${DATA:+-$(basename "$(realpath "$DATA")")}"
}
