# shellcheck shell=bash
# The sub-commands of scripts/bench that read: read, stream, projections, rules. To be sourced.

READ_EVENTS=10000000
STREAM_CLIENTS=1000
STREAM_RATE=2000

bench_read() {
    local count=${EVENTS:-$READ_EVENTS} line name p50 p99 results
    title "Reading a log of $count events, $DATABASE"
    if [[ -n $FILLED ]]; then
        DATABASE_URL=$FILLED
    else
        fresh_database
        line=$("$BENCH" append "$DATABASE_URL" "$count" --stream)
        echo "filled: $line" >&2
    fi
    line=$("$BENCH" settle "$DATABASE_URL")
    echo "settled: $line" >&2
    # What autovacuum does within a minute or two.
    [[ $DATABASE != postgres ]] || psql_quiet "$DATABASE_URL" -c 'VACUUM (ANALYZE)'
    serve_filled
    # What is measured is reading, and not the disk's first.
    if [[ $DATABASE == sqlite ]]; then
        cat "${DATABASE_URL#sqlite://}"* >/dev/null
    else
        cat "$POSTGRES_FOLDER"/data/base/*/* >/dev/null
    fi

    echo '| question | p50 ms | p99 ms | results |'
    echo '| --- | ---: | ---: | ---: |'
    "$BENCH" read "$ADDRESS" --token "$TOKEN" >"$FOLDER/questions"
    while IFS=$'\t' read -r name p50 p99 results; do
        printf '| %s | %s | %s | %s |\n' "$name" "$(milliseconds "$p50")" "$(milliseconds "$p99")" \
            "$results"
    done <"$FOLDER/questions"
    echo
    group_by_floor "$(awk -F'\t' '/^30 days by hour and application/ { print $3 }' "$FOLDER/questions")"
    bench_export "$count"
    stop_server
    if [[ -n $FILLED ]]; then
        DATABASE_URL=
    fi
    drop_database
}

milliseconds() { awk -v us="$1" 'BEGIN { printf "%.2f\n", us / 1000 }'; }

# Serves the database as it is.
serve_filled() {
    TOKEN=$("$CONN_LOG" token create --database-url "$DATABASE_URL" --name bench --scope write \
        --scope read 2>/dev/null)
    start_server "$CONN_LOG" serve --database-url "$DATABASE_URL"
}

# seconds COMMAND…: how long it takes, its output thrown away.
seconds() {
    local begun
    begun=$(date +%s%N)
    "$@" >/dev/null
    awk -v ns=$(($(date +%s%N) - begun)) 'BEGIN { printf "%.3f\n", ns / 1e9 }'
}

# SQL over the rows with the database's own program.
sql() {
    if [[ $DATABASE == sqlite ]]; then
        sqlite3 -readonly "${DATABASE_URL#sqlite://}" "$1"
    else
        psql_quiet "$DATABASE_URL" -At -c "$1"
    fi
}

# The same figures from the rows, but for percentiles, beside the p99 in microseconds.
group_by_floor() {
    local hour='timestamp / 3600000000' floor
    [[ $DATABASE == sqlite ]] || hour="date_trunc('hour', timestamp)"
    floor=$(seconds sql "SELECT $hour, application_id, count(*),
        sum(CASE WHEN status <> 'success' THEN 1 ELSE 0 END), count(DISTINCT device_id), avg(duration)
        FROM events WHERE tenant_id = 1 GROUP BY 1, 2")
    echo "30 days by hour and application: the same GROUP BY over the rows takes $floor s, $(
        awk -v f="$floor" -v us="$1" 'BEGIN { printf "%.0f", f * 1e6 / us }') × the p99."
    echo
}

# An export beside the database's own program (sqlite3 does not unpack metadata, and so has less to do), with the server's memory, and the log's size.
bench_export() {
    local count=$1 own floor size ndjson most
    (while sleep 0.2; do
        awk '/^VmRSS/ { print int($2 / 1024) }' "/proc/$SERVER_PID/status" 2>/dev/null || break
    done >"$FOLDER/memory") &
    local sampler=$!
    for ((round = 0; round < 3; round++)); do
        own=$(seconds curl --silent --fail --header "Authorization: Bearer $TOKEN" \
            "http://$ADDRESS/api/v1/device_app_connection_log/export/")
        record 'export, events/s' "$(per_second "$count" "$own")"
        if [[ $DATABASE == sqlite ]]; then
            floor=$(seconds sql "SELECT json_object('id', id, 'device_id', device_id,
                'application_id', application_id, 'connection_type', connection_type,
                'timestamp', timestamp, 'ip_address', hex(ip_address), 'user_agent', user_agent,
                'status', status, 'duration', duration, 'created_at', created_at,
                'metadata', metadata) FROM events WHERE tenant_id = 1 ORDER BY row_id")
        else
            floor=$(seconds psql_quiet "$DATABASE_URL" -c "COPY (SELECT json_build_object('id', id,
                'device_id', device_id, 'application_id', application_id,
                'connection_type', connection_type, 'timestamp', timestamp,
                'ip_address', ip_address, 'user_agent', user_agent, 'status', status,
                'duration', duration, 'created_at', created_at, 'metadata', metadata)
                FROM events WHERE tenant_id = 1 ORDER BY id) TO STDOUT")
        fi
        record 'the same by the database, events/s' "$(per_second "$count" "$floor")"
    done
    kill "$sampler"
    wait "$sampler" 2>/dev/null || true
    most=$(sort -g "$FOLDER/memory" | tail -n 1)
    rates 'events/s' 'export, events/s' 'the same by the database, events/s'
    forget_figures
    ndjson=$(curl --silent --fail --header "Authorization: Bearer $TOKEN" \
        "http://$ADDRESS/api/v1/device_app_connection_log/export/" | wc --bytes)
    if [[ $DATABASE == sqlite ]]; then
        size=$(du --bytes --total "${DATABASE_URL#sqlite://}"* | tail -n 1 | cut -f1)
    else
        size=$(sql "SELECT pg_database_size(current_database())")
    fi
    echo "Memory while exporting: $most MiB at most. The database has $((size >> 20)) MiB, $(
        ratio "$size" "$ndjson") × the $((ndjson >> 20)) MiB of the events as NDJSON."
}

per_second() { awk -v n="$1" -v s="$2" 'BEGIN { printf "%.0f\n", n / s }'; }

bench_stream() {
    local seconds=${SECONDS_EACH:-15} line events
    title "$STREAM_CLIENTS clients on the stream, $STREAM_RATE events/s, $DATABASE"
    # Each client is a connection at both ends.
    ulimit -n 8192 2>/dev/null || true
    echo '| round | events told | p50 ms | p99 ms | max ms | POST p99 ms |'
    echo '| --- | ---: | ---: | ---: | ---: | ---: |'
    for ((round = 0; round < ROUNDS; round++)); do
        start_conn_log
        events=$((STREAM_RATE * seconds))
        rm -f "$FOLDER/ready"
        "$BENCH" stream "$ADDRESS" --token "$TOKEN" --clients "$STREAM_CLIENTS" --until "$events" \
            --ready "$FOLDER/ready" >"$FOLDER/stream" &
        local client=$!
        until [[ -e $FOLDER/ready ]]; do
            kill -0 "$client" || return 1
            sleep 0.1
        done
        line=$("$BENCH" load "$ADDRESS" --token "$TOKEN" --events "$FOLDER/single.ndjson" \
            --rate "$STREAM_RATE" --connections 16 --seconds "$seconds")
        wait "$client"
        events=$(<"$FOLDER/stream")
        printf '| %s | %s | %s | %s | %s | %s |\n' $((round + 1)) "$(value_of events "$events")" \
            "$(milliseconds "$(value_of p50_us "$events")")" \
            "$(milliseconds "$(value_of p99_us "$events")")" \
            "$(milliseconds "$(value_of max_us "$events")")" \
            "$(milliseconds "$(value_of p99_us "$line")")"
        stop_server
    done
    drop_database
}

# What keeping the projections costs the write path, and how far they are behind at its end.
bench_projections() {
    local seconds=${SECONDS_EACH:-20} line
    title "Single events with and without projections, 64 connections, $DATABASE"
    for ((round = 0; round < ROUNDS; round++)); do
        for kept in without with; do
            fresh_database
            TOKEN=$("$CONN_LOG" token create --database-url "$DATABASE_URL" --name bench \
                --scope write 2>/dev/null)
            if [[ $kept == with ]]; then
                start_server "$BENCH" serve --database-url "$DATABASE_URL"
            else
                start_server "$BENCH" serve --database-url "$DATABASE_URL" --no-projections
            fi
            line=$(wrk_single 64 "$seconds")
            record "$kept projections" "$(value_of requests_per_second "$line")"
            if [[ $kept == with ]]; then
                record 'behind at the end' "$("$BENCH" settle "$DATABASE_URL" --look)"
            fi
            stop_server
        done
    done
    drop_database
    rates 'requests/s' 'with projections' 'without projections'
    echo "After $seconds s the projections are $(median 'behind at the end') events behind."
    forget_figures
}

# How soon a webhook follows the commit of an event, and what rules cost the append.
bench_rules() {
    local line name rate batch rules seconds=${SECONDS_EACH:-10}
    title "Rules: from the commit of an event to the webhook of its alert, $DATABASE"
    echo '| events/s | in a request | rules | p50 ms | p99 ms | max ms | server MiB |'
    echo '| ---: | ---: | ---: | ---: | ---: | ---: | ---: |'
    while read -r rate batch rules; do
        for ((round = 0; round < ROUNDS; round++)); do
            start_watching
            line=$("$BENCH" watch "$ADDRESS" --token "$TOKEN" --rate "$rate" --batch "$batch" \
                --rules "$rules" --seconds "$seconds")
            for name in p50 p99 max; do
                record "$rate $name" "$(value_of "${name}_us" "$line")"
            done
            record "$rate memory" "$(awk '/^VmRSS/ { print int($2 / 1024) }' "/proc/$SERVER_PID/status")"
            stop_server
        done
        printf '| %s | %s | %s |' "$rate" "$batch" "$rules"
        for name in p50 p99 max; do
            printf ' %s |' "$(milliseconds "$(median "$rate $name")")"
        done
        printf ' %s |\n' "$(median "$rate memory")"
    done <<<"1000 1 20
10000 1000 100"
    forget_figures
    bench_append_beside_rules
}

# The append at its highest rate without rules, beside rules, and beside rules that never stand back: as they
# do after five seconds of such a load. Then how far behind the rules are, and how long they take to catch up.
bench_append_beside_rules() {
    local line name events count wait_max round
    echo
    echo '| events at the highest rate | rules | events/s | of that without | behind at the end | caught up after s |'
    echo '| ---: | --- | ---: | ---: | ---: | ---: |'
    for events in 200000 1000000; do
        for ((round = 0; round < ROUNDS; round++)); do
            while read -r count wait_max name; do
                fresh_database
                line=$("$BENCH" rules "$DATABASE_URL" "$events" --rate 0 --batch 1000 --rules "$count" \
                    --wait-max-ms "$wait_max" --days 0)
                record "$name" "$(value_of events_per_second "$line")"
                record "$name, behind" "$(value_of behind_events "$line")"
                record "$name, caught up" "$(value_of caught_up_ms "$line")"
            done <<<"0 5000 none
20 5000 20
20 0 20 that never stand back"
        done
        drop_database
        for name in none 20 '20 that never stand back'; do
            printf '| %s | %s | %.0f | %s |' "$events" "$name" "$(median "$name")" \
                "$(ratio "$(median "$name")" "$(median none)")"
            if [[ $name == none ]]; then
                echo ' | |'
            else
                printf ' %s | %s |\n' "$(median "$name, behind")" \
                    "$(awk -v ms="$(median "$name, caught up")" 'BEGIN { printf "%.1f", ms / 1000 }')"
            fi
        done
        forget_figures
    done
    echo
}

# The product, with a token that may do everything, and webhooks to this machine.
start_watching() {
    fresh_database
    TOKEN=$("$CONN_LOG" token create --database-url "$DATABASE_URL" --name bench --scope admin \
        --scope write --scope read 2>/dev/null)
    start_server "$CONN_LOG" serve --database-url "$DATABASE_URL" --webhook-allow 127.0.0.0/8
}
