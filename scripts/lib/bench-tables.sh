# shellcheck shell=bash
# Figures and tables for scripts/bench. To be sourced.

# What was measured, by name: a word for each round.
declare -A FIGURES=()

# Takes a figure down: record NAME VALUE.
record() {
    FIGURES[$1]+="$2 "
    printf '  %-44s %s\n' "$1" "$2" >&2
}

forget_figures() { FIGURES=(); }

# The value of a `name=value` word in a line: value_of NAME LINE.
value_of() {
    local word
    for word in $2; do
        if [[ $word == "$1="* ]]; then
            printf '%s\n' "${word#*=}"
            return
        fi
    done
    echo "There is no $1 in: $2" >&2
    return 1
}

# median|least|most NAME
median() {
    sorted "$1" | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}
least() { sorted "$1" | head -n 1; }
most() { sorted "$1" | tail -n 1; }
sorted() { tr ' ' '\n' <<<"${FIGURES[$1]}" | grep . | sort -g; }

# ratio A B, with two digits
ratio() {
    awk -v a="$1" -v b="$2" 'BEGIN { printf (a / b < 10 ? "%.2f\n" : "%.1f\n"), a / b }'
}

title() {
    printf '\n## %s\n\n' "$1"
    printf '%s; %s cores, %s; %s rounds; load of the machine before: %s\n\n' \
        "$(date --utc +%F)" "$(nproc)" "$(git describe --always --dirty)" "$ROUNDS" \
        "$(cut -d' ' -f1 /proc/loadavg)"
}

# A table of rates: rates UNIT SUBJECT FLOOR…, each row with the subject's ratio to it, and with the
# server's CPU time for one where that was recorded.
rates() {
    local unit=$1 subject=$2 name
    shift
    printf '| %s | median | least | most | CPU µs each | conn-log is |\n' "$unit"
    echo '| --- | ---: | ---: | ---: | ---: | ---: |'
    for name in "$@"; do
        printf '| %s | %.0f | %.0f | %.0f | %s | %s × |\n' "$name" "$(median "$name")" \
            "$(least "$name")" "$(most "$name")" \
            "$([[ -z ${FIGURES["$name, CPU µs"]-} ]] || median "$name, CPU µs")" \
            "$(ratio "$(median "$subject")" "$(median "$name")")"
    done
    echo
}

# A table of latencies: latencies TITLE FLOOR NAME…, each row with its ratio to the floor.
latencies() {
    local title=$1 floor=$2 name
    shift
    echo "| $title | p50 µs | p99 µs | p50, × | p99, × |"
    echo '| --- | ---: | ---: | ---: | ---: |'
    for name in "$@"; do
        printf '| %s | %.0f | %.0f | %s | %s |\n' "$name" "$(median "$name, p50 µs")" \
            "$(median "$name, p99 µs")" "$(ratio "$(median "$name, p50 µs")" "$(median "$floor, p50 µs")")" \
            "$(ratio "$(median "$name, p99 µs")" "$(median "$floor, p99 µs")")"
    done
    echo
}
