# shellcheck shell=bash
# The sub-command of scripts/bench that weighs a log: where the bytes on disk are, and what wrote them.
# To be sourced.

SIZE_EVENTS=1000000

bench_size() {
    local count=${EVENTS:-$SIZE_EVENTS} line seconds begun
    title "Bytes and CPU of $count events in batches of 1,000, until all is at rest, $DATABASE"
    "$BENCH" events "$count" >"$FOLDER/events.ndjson"
    start_conn_log
    postgres_written >"$FOLDER/before"
    begun=$(date +%s%N)
    line=$("$BENCH" load "$ADDRESS" --token "$TOKEN" --events "$FOLDER/events.ndjson" --batch 1000 \
        --connections 4)
    rm "$FOLDER/events.ndjson"
    wait_for_rest
    seconds=$(awk -v ns=$(($(date +%s%N) - begun)) 'BEGIN { printf "%.0f", ns / 1e9 }')
    echo "Loaded in $(value_of seconds "$line") s, at rest after $seconds s."
    echo
    threads_table "$count"
    sqlite_left "$count"
    postgres_written >"$FOLDER/after"
    postgres_written_table "$count"
    stop_server
    if [[ $DATABASE == sqlite ]]; then
        sqlite_objects
    else
        psql_quiet "$DATABASE_URL" -c 'VACUUM (ANALYZE)'
        postgres_objects
    fi | objects_table "$count"
    columns_table
    drop_database
}

# Waits until the followers have taken in the whole log, and the merges behind the index are done: a
# thread that works takes more than a hundredth of a processor.
wait_for_rest() {
    local before after quiet=0
    until [[ $("$BENCH" settle "$DATABASE_URL" --look) == 0 ]]; do
        sleep 1
    done
    before=$(server_cpu_ms)
    while ((quiet < 5)); do
        sleep 1
        after=$(server_cpu_ms)
        quiet=$((after - before < 30 ? quiet + 1 : 0))
        before=$after
    done
}

# threads_table EVENTS: CPU and bytes written of the server's threads by their names, as Linux counts them.
# A page of a file counts once until the system has written it out.
threads_table() {
    local task
    echo '| thread | CPU s of a million events | bytes written an event |'
    echo '| --- | ---: | ---: |'
    for task in "/proc/$SERVER_PID/task"/*; do
        printf '%s\t%s\t%s\n' "$(tr '|' ' ' <"$task/comm")" \
            "$(sed 's/.*) //' "$task/stat" | awk '{ print $12 + $13 }')" \
            "$(awk '/^write_bytes/ { print $2 }' "$task/io")"
    done | awk -F'\t' -v n="$1" -v hz="$(getconf CLK_TCK)" '
        { cpu[$1] += $2 / hz; bytes[$1] += $3; all_cpu += $2 / hz; all_bytes += $3 }
        END {
            for (name in cpu)
                if (cpu[name] > 0.005 * all_cpu || bytes[name] > 0.005 * all_bytes)
                    printf "| `%s` | %.2f | %.0f |\n", name, cpu[name] * 1e6 / n, bytes[name] / n
            printf "| all | %.2f | %.0f |\n", all_cpu * 1e6 / n, all_bytes / n
        }' | sort -t'|' -k4 -g -r
    echo
}

# sqlite_left EVENTS: what is in the write-ahead logs and not in their files yet, of pages of 4 KiB: a page that
# comes again is written to the file once. The numbers are those of the index of a write-ahead log
# (https://sqlite.org/walformat.html): mxFrame and nBackfill.
sqlite_left() {
    local shm left=0
    [[ $DATABASE == sqlite ]] || return 0
    for shm in "${DATABASE_URL#sqlite://}"{,-derived}-shm; do
        left=$((left + $(od -An -tu4 -j16 -N4 "$shm") - $(od -An -tu4 -j96 -N4 "$shm")))
    done
    awk -v left="$left" -v n="$1" \
        'BEGIN { printf "In write-ahead logs and not in their files yet: %.0f bytes an event.\n\n", left * 4096 / n }'
}

# What PostgreSQL has written so far: its write-ahead log, and pages of 8 KiB.
postgres_written() {
    [[ $DATABASE == postgres ]] || return 0
    psql_quiet "$DATABASE_URL" -c CHECKPOINT
    sql "SELECT wal_bytes, wal_fpi * 8192, buffers_checkpoint * 8192, buffers_clean * 8192,
        buffers_backend * 8192 FROM pg_stat_wal, pg_stat_bgwriter"
}

postgres_written_table() {
    [[ $DATABASE == postgres ]] || return 0
    echo '| written by PostgreSQL | bytes an event |'
    echo '| --- | ---: |'
    paste -d'|' "$FOLDER/before" "$FOLDER/after" | awk -F'|' -v n="$1" '{
        split("write-ahead log|of it whole pages|checkpoints|background writer|sessions", name, "|")
        for (i = 1; i <= 5; i++) printf "| %s | %.0f |\n", name[i], ($(i + 5) - $i) / n
    }'
    echo
}

# Name, bytes and unused bytes of each table and index.
sqlite_objects() {
    local file
    for file in "${DATABASE_URL#sqlite://}" "${DATABASE_URL#sqlite://}-derived"; do
        sqlite3 -readonly -separator $'\t' "$file" "
            SELECT name, sum(pgsize), sum(unused) FROM dbstat GROUP BY name;
            SELECT 'free pages of ' || '$(basename "$file")', freelist_count * page_size, 0
            FROM pragma_freelist_count, pragma_page_size"
    done
}

postgres_objects() {
    psql_quiet "$DATABASE_URL" -At -F $'\t' -c "
        SELECT relname, pg_table_size(oid), 0 FROM pg_class
        WHERE relkind IN ('r', 'i') AND relnamespace = 'public'::regnamespace"
}

# objects_table EVENTS: those that take at least a fifth of a byte an event, the largest first.
objects_table() {
    echo '| table or index | bytes an event | of it unused |'
    echo '| --- | ---: | ---: |'
    awk -F'\t' -v n="$1" '
        { all += $2; unused += $3 }
        $2 >= n / 5 { printf "| `%s` | %.1f | %.1f |\n", $1, $2 / n, $3 / n }
        END { printf "| all | %.1f | %.1f |\n", all / n, unused / n }' | sort -t'|' -k3 -g -r
    echo
}

# The mean length of the values of an event's columns.
columns_table() {
    local column length=length
    [[ $DATABASE == sqlite ]] || length=pg_column_size
    echo '| column of the events | bytes an event |'
    echo '| --- | ---: |'
    for column in metadata leaf_hash user_agent session_id device_id application_id connection_type status; do
        printf '| %s | %.1f |\n' "$column" "$(sql "SELECT avg(coalesce($length($column), 0)) FROM events")"
    done
    echo
}

# Sealed blocks: every candidate on the benchmark's events or on a file's, and then, of the one that the
# decision takes, the move out of a log's rows and what finds a rare value.
bench_sealed() {
    local count=${EVENTS:-$SIZE_EVENTS} source
    local options=("$count" --folder "$FOLDER")
    if [[ -n $INPUT ]]; then
        source="the events of $INPUT"
        options+=(--input "$INPUT")
    else
        source="$count events of the benchmark"
    fi
    title "Candidates of sealed blocks, $source"
    "$BENCH" sealed "${options[@]}"
    [[ -z $INPUT ]] || return 0
    title "Out of the rows of a log"
    "$BENCH" sealed "${options[@]}" --part move
    title "A rare value of the metadata"
    "$BENCH" sealed "${options[@]}" --part rare
}
