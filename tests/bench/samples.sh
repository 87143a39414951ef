# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=sh
# Samples and the table that is made of them, for tests/bench. Whoever includes it calls samples_begin.

scale=${BENCH_SCALE:-1}
repeat=${BENCH_REPEAT:-3}

fail() {
    echo "bench: $*" >&2
    exit 1
}
samples_begin() { # FOLDER
    samples=$1
    mkdir -p "$samples" || exit 1
}

scaled() { awk -v n="$1" -v s="$scale" -v min="${2:-1}" 'BEGIN { n = int(n * s); print (n < min ? min : n) }'; }
calc() { awk "BEGIN { printf \"%.4g\", $1 }"; }
rate() { awk -v n="$1" -v s="$2" 'BEGIN { printf "%.1f", (s > 0 ? n / s : 0) }'; }

# run_measure PROGRAM ARGUMENT…: its line, to be taken apart by field
run_measure() { "$@" </dev/null >"$samples/.line" || fail "$* failed"; }
field() { cut -d ' ' -f "$1" "$samples/.line"; }

# sample NAME VALUE; median NAME; range NAME
sample() { echo "$2" >>"$samples/$1"; }
median() {
    [ -s "$samples/$1" ] || return 1
    sort -g "$samples/$1" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}
range() { sort -g "$samples/$1" | awk 'NR == 1 { low = $1 } { high = $1 } END { print low "-" high }'; }

# verdict VALUE CONDITION
verdict() { awk "BEGIN { print ($1 $2) ? \"met\" : \"missed\" }" | sed "s/\$/ ($2)/"; }

# row TEXT SAMPLES UNIT [RATIO-TO SAMPLES NAME] [TARGET: '< 8', or 'x >= 0.75' for the ratio]
row() {
    row_value=$(median "$2") || return 0
    row_ratio='' row_verdict=''
    if [ -n "${4:-}" ] && row_base=$(median "$4"); then
        row_exact=$(awk -v a="$row_value" -v b="$row_base" 'BEGIN { printf "%.6f", (b > 0 ? a / b : 0) }')
        row_ratio=$(awk -v x="$row_exact" 'BEGIN { printf "%.2f", x }')
    fi
    case ${5:-} in
    '') ;;
    x*) [ -z "$row_ratio" ] || row_verdict=$(verdict "$row_exact" "${5#x }") ;; # of what isn't rounded
    *) row_verdict=$(verdict "$row_value" "$5") ;;
    esac
    printf '%-50s %10s %-5s %20s %8s  %s\n' "$1" "$(awk "BEGIN { printf \"%.5g\", $row_value }")" "$3" \
        "$(range "$2")" "${row_ratio:+${row_ratio}x}" "$row_verdict"
}
head_row() { printf '\n%-50s %10s %-5s %20s %8s  %s\n' "$1" median unit range "${2:-}" "${3:-}"; }
