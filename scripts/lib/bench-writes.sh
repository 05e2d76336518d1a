# shellcheck shell=bash
# The sub-commands of scripts/bench that write: single, batch, append. To be sourced.

ROWS_IN_A_TRANSACTION=4000
WRITE_EVENTS=400000

bench_single() {
    local seconds=${SECONDS_EACH:-5} connections server line half cpu rate
    local -A names=([conn_log]='conn-log' [no_store]='same server, no store'
        [plain]='plain actix-web, no store' [plain_table]='one transaction a request, plain table'
        [one_a_commit]='one transaction a request, by our writer')
    title "Single events, $DATABASE"
    for connections in 64 256; do
        for ((round = 0; round < ROUNDS; round++)); do
            for server in no_store plain plain_table one_a_commit conn_log; do
                "start_$server"
                wrk_single 64 1 >/dev/null
                cpu=$(server_cpu_ms)
                line=$(wrk_single "$connections" "$seconds")
                cpu=$(($(server_cpu_ms) - cpu))
                rate=$(value_of requests_per_second "$line")
                record "${names[$server]}, $connections" "$rate"
                record "${names[$server]}, $connections, CPU µs" \
                    "$(awk -v c="$cpu" -v n="$((rate * seconds))" 'BEGIN { printf "%.1f", c * 1000 / n }')"
                stop_server
            done
        done
        rates 'requests/s' "conn-log, $connections" "${names[no_store]}, $connections" \
            "${names[plain]}, $connections" "${names[plain_table]}, $connections" \
            "${names[one_a_commit]}, $connections"
    done

    half=$(($(median "conn-log, 64" | cut -d. -f1) / 2))
    for ((round = 0; round < ROUNDS; round++)); do
        line=$("$BENCH" fsync "$FOLDER/fsync")
        record 'fdatasync of 4 KiB, p50 µs' "$(value_of p50_us "$line")"
        record 'fdatasync of 4 KiB, p99 µs' "$(value_of p99_us "$line")"
        start_no_store
        latency_at "$half" "$seconds" "${names[no_store]}"
        compute_idly "$seconds"
        latency_at "$half" "$seconds" "$BESIDE_IDLE_CLASS"
        stop_computing
        start_conn_log
        latency_at "$half" "$seconds" conn-log
        stop_server
    done
    drop_database
    latencies "at $half requests/s, half of the peak" 'fdatasync of 4 KiB' "${names[no_store]}" \
        "$BESIDE_IDLE_CLASS" conn-log
    forget_figures
}

# What any work at all behind the answers costs those who wait for one, on these processors.
BESIDE_IDLE_CLASS='no store, a thread of the idle class beside it'

# compute_idly SECONDS: starts a thread that computes where nothing else wants to (SCHED_IDLE, sched(7)), and
# ends by itself should nobody stop it.
compute_idly() {
    timeout $(($1 + 60)) chrt --idle 0 sh -c 'while :; do :; done' &
    COMPUTING_PID=$!
}

stop_computing() {
    [[ -n ${COMPUTING_PID-} ]] || return 0
    kill "$COMPUTING_PID" 2>/dev/null || true
    wait "$COMPUTING_PID" 2>/dev/null || true
    COMPUTING_PID=
}

# latency_at RATE SECONDS NAME: takes down how long the server takes for single events at that rate.
latency_at() {
    local line
    wrk_single 64 1 >/dev/null
    line=$("$BENCH" load "$ADDRESS" --token "$TOKEN" --events "$FOLDER/single.ndjson" \
        --rate "$1" --connections 64 --seconds "$2")
    record "$3, p50 µs" "$(value_of p50_us "$line")"
    record "$3, p99 µs" "$(value_of p99_us "$line")"
}

# wrk_single CONNECTIONS SECONDS
wrk_single() {
    local line
    line=$(wrk --threads 1 --connections "$1" --duration "${2}s" --timeout 30s \
        --script scripts/lib/bench-wrk.lua "http://$ADDRESS" -- "$FOLDER/single.ndjson" "$TOKEN" |
        tail -n 1)
    if [[ $(value_of failed "$line") != 0 ]]; then
        echo "Some requests failed: $line" >&2
        return 1
    fi
    echo "$line"
}

bench_batch() {
    local line rate EVENTS=${EVENTS:-$WRITE_EVENTS}
    title "NDJSON, 1,000 events a request, 4 connections, $DATABASE"
    "$BENCH" events "$EVENTS" >"$FOLDER/events.ndjson"
    prepare_rows
    for ((round = 0; round < ROUNDS; round++)); do
        raw_inserts plain
        start_conn_log
        line=$("$BENCH" load "$ADDRESS" --token "$TOKEN" --events "$FOLDER/events.ndjson" \
            --batch 1000 --connections 4)
        stop_server
        rate=$(awk -v s="$(value_of seconds "$line")" -v n="$EVENTS" 'BEGIN { print n / s }')
        record conn-log "$rate"
        record 'last tenth of the first' \
            "$(ratio "$(value_of last_tenth_per_second "$line")" "$(value_of first_tenth_per_second "$line")")"
    done
    drop_database
    rates 'events/s' conn-log "$RAW_INSERTS"
    echo "$EVENTS events; the last tenth is $(median 'last tenth of the first') × as fast as the first."
    forget_figures
}

bench_append() {
    local line EVENTS=${EVENTS:-$WRITE_EVENTS}
    title "The store's append, $ROWS_IN_A_TRANSACTION events a commit, $DATABASE"
    prepare_rows
    for ((round = 0; round < ROUNDS; round++)); do
        raw_inserts same
        fresh_database
        line=$("$BENCH" append "$DATABASE_URL" "$EVENTS")
        record conn-log "$(value_of events_per_second "$line")"
        record 'writer at work, s' "$(value_of writer_seconds "$line")"
        record 'of it in COMMIT, s' "$(value_of commit_seconds "$line")"
    done
    drop_database
    rates 'events/s' conn-log "$RAW_INSERTS"
    echo "$EVENTS events; $(value_of events_per_commit "$line") a commit; the writer is at work for $(
        median 'writer at work, s') s, of which COMMIT takes $(median 'of it in COMMIT, s') s."
    forget_figures
}

# Rows as the store holds them, for raw inserts: of $EVENTS events.
prepare_rows() {
    rm -rf "$FOLDER/rows"
    mkdir "$FOLDER/rows"
    fresh_database
    "$BENCH" append "$DATABASE_URL" "$EVENTS" >/dev/null
    if [[ $DATABASE == sqlite ]]; then
        build_raw_inserts
        export_sqlite events "$EVENTS_COLUMNS"
        export_sqlite plain "$PLAIN_COLUMNS"
    else
        psql_quiet "$DATABASE_URL" -c '\copy (SELECT * FROM events ORDER BY id) TO STDOUT' |
            split --lines="$ROWS_IN_A_TRANSACTION" --suffix-length=6 - "$FOLDER/rows/"
        printf "\\\\copy events FROM '%s'\n" "$FOLDER"/rows/* >"$FOLDER/copy.sql"
        "$(postgres_bin)/pg_dump" --schema-only --dbname="$DATABASE_URL" >"$FOLDER/schema.sql"
    fi
}

# export_sqlite FILE COLUMNS
export_sqlite() {
    local values
    # Bytes as their hexadecimal digits.
    values=$(sed -E "s/ip_address|leaf_hash/'\\\\x' || hex(&)/g" <<<"$2")
    sqlite3 -separator $'\t' -nullvalue '\N' "${DATABASE_URL#sqlite://}" \
        "SELECT $values FROM events ORDER BY row_id" >"$FOLDER/rows/$1"
}

# The floor in C, with the very SQLite that the product has.
build_raw_inserts() {
    local library header
    library=$(find "$BUILD/build" -path '*/libsqlite3-sys-*/out/libsqlite3.a' -printf '%T@ %p\n' |
        sort -g | tail -n 1 | cut -d' ' -f2-)
    header=$(cargo metadata --format-version 1 --locked \
        --filter-platform "$(rustc -vV | sed -n 's/^host: //p')" |
        grep -o '"manifest_path":"[^"]*/libsqlite3-sys-[^"]*/Cargo.toml"' | head -n 1 | cut -d'"' -f4)
    cc -O2 -Wall -I"$(dirname "$header")/sqlite3" scripts/lib/bench-raw-inserts.c "$library" \
        -lm -lpthread -ldl -o "$FOLDER/raw-inserts"
}

# What conn-log's own table is given, and the plain one.
EVENTS_COLUMNS='row_id,created_at,device_id,application_id,connection_type,status,timestamp,ip_address,user_agent,duration,session_id,event_id,metadata,leaf_hash'
PLAIN_COLUMNS='id,created_at,device_id,application_id,connection_type,status,timestamp,ip_address,user_agent,duration,session_id,metadata'

# What most services would do with such events: a plain table, indexes for the two usual questions.
PLAIN_TABLE='
CREATE TABLE plain (
    id INTEGER PRIMARY KEY, created_at INTEGER NOT NULL, device_id TEXT NOT NULL,
    application_id TEXT NOT NULL, connection_type TEXT NOT NULL, status TEXT NOT NULL,
    timestamp INTEGER NOT NULL, ip_address BLOB, user_agent TEXT, duration REAL, session_id TEXT,
    metadata TEXT NOT NULL
);
CREATE INDEX plain_device ON plain (device_id, timestamp);
CREATE INDEX plain_timestamp ON plain (timestamp);'

# raw_inserts plain|same: into the plain table, or into one like conn-log's (on PostgreSQL always).
raw_inserts() {
    local line begun file
    fresh_database
    if [[ $DATABASE == postgres ]]; then
        RAW_INSERTS='psql \copy, same table'
        psql_quiet "$DATABASE_URL" --file="$FOLDER/schema.sql" >/dev/null
        begun=$(date +%s%N)
        psql_quiet "$DATABASE_URL" --file="$FOLDER/copy.sql"
        record "$RAW_INSERTS" $((EVENTS * 1000000000 / ($(date +%s%N) - begun)))
        return
    fi
    file=${DATABASE_URL#sqlite://}
    if [[ $1 == plain ]]; then
        RAW_INSERTS='prepared inserts in C, plain table with two indexes'
        sqlite3 "$file" "$PLAIN_TABLE"
        line=$("$FOLDER/raw-inserts" "$file" plain "$PLAIN_COLUMNS" "$FOLDER/rows/plain" \
            "$ROWS_IN_A_TRANSACTION")
    else
        RAW_INSERTS='prepared inserts in C, same table'
        "$CONN_LOG" migrate --database-url "$DATABASE_URL" 2>/dev/null
        line=$("$FOLDER/raw-inserts" "$file" events "$EVENTS_COLUMNS" "$FOLDER/rows/events" \
            "$ROWS_IN_A_TRANSACTION")
    fi
    record "$RAW_INSERTS" "$(value_of events_per_second "$line")"
}
