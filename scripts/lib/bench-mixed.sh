# shellcheck shell=bash
# The sub-command mixed of scripts/bench: memory over time. To be sourced.

# Requests a second. With batches of 1,000 it is 7,000 events a second: 4.2 million in ten minutes,
# some 3 GB on disk.
SINGLE_RATE=2000
BATCH_RATE=5
READ_RATE=50

bench_mixed() {
    local seconds=${SECONDS_EACH:-600} jobs=() job second line name
    title "Mixed load for $seconds s, $DATABASE"
    "$BENCH" events 100000 >"$FOLDER/events.ndjson"
    start_conn_log
    mixed_load single --events "$FOLDER/single.ndjson" --rate $SINGLE_RATE --connections 64
    mixed_load batch --events "$FOLDER/events.ndjson" --batch 1000 --rate $BATCH_RATE --connections 4
    mixed_load read --path '/api/v1/device_app_connection_log/?limit=100' --rate $READ_RATE \
        --connections 8
    for ((second = 0; second < seconds; second++)); do
        awk '/^VmRSS|^RssAnon/ { printf "%s ", $2 / 1024 } END { print "" }' "/proc/$SERVER_PID/status" \
            >>"$FOLDER/memory"
        sleep 1
    done
    for job in "${jobs[@]}"; do
        wait "$job"
    done
    stop_server
    drop_database

    echo '| requests/s | answered | p50 µs | p99 µs | max µs |'
    echo '| --- | ---: | ---: | ---: | ---: |'
    for job in single batch read; do
        line=$(<"$FOLDER/mixed.$job")
        printf '| %s |' "$job"
        for name in requests p50_us p99_us max_us; do
            printf ' %s |' "$(value_of $name "$line")"
        done
        echo
    done
    echo
    echo '| resident memory, median MiB | all | not mapped from files |'
    echo '| --- | ---: | ---: |'
    awk -v n="$seconds" '{
        tenth = int((NR - 1) * 10 / n); all[tenth, ++count[tenth]] = $1; anon[tenth, count[tenth]] = $2
        if ($1 > most) most = $1
    } END {
        for (t = 0; t < 10; t++) printf "| tenth %d | %.0f | %.0f |\n", t + 1, \
            all[t, int((count[t] + 1) / 2)], anon[t, int((count[t] + 1) / 2)]
        printf "| most | %.0f | |\n", most
    }' "$FOLDER/memory"
}

# mixed_load NAME LOAD…: starts a load; its result will be in a file of that name.
mixed_load() {
    local name=$1
    shift
    "$BENCH" load "$ADDRESS" --token "$TOKEN" --seconds "$seconds" "$@" >"$FOLDER/mixed.$name" &
    jobs+=($!)
}
