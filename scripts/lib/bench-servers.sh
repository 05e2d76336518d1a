# shellcheck shell=bash
# Servers and databases for scripts/bench, one at a time. To be sourced.
# shellcheck disable=SC2034 # TOKEN is for the loads

# Set by build_programs: where cargo builds, the product, and what measures it.
BUILD=
CONN_LOG=
BENCH=
# Set by start_…
SERVER_PID=
ADDRESS=
TOKEN=none
# Set by fresh_database.
DATABASE_URL=
DATABASE_NUMBER=0

# build_programs PROFILE; `dist` with the allocator that it is shipped with.
build_programs() {
    local features=()
    [[ $1 != dist ]] || features=(--features conn-log/jemalloc,conn-log-bench/jemalloc)
    cargo build --profile "$1" --locked --quiet -p conn-log -p conn-log-bench "${features[@]}"
    BUILD=${CARGO_TARGET_DIR:-target}/${1/#dev/debug}
    CONN_LOG=$BUILD/conn-log
    BENCH=$BUILD/conn-log-bench
}

# Makes a new empty database, and drops the one before it.
fresh_database() {
    drop_database
    DATABASE_NUMBER=$((DATABASE_NUMBER + 1))
    if [[ $DATABASE == sqlite ]]; then
        mkdir "$FOLDER/$DATABASE_NUMBER"
        DATABASE_URL=sqlite://$FOLDER/$DATABASE_NUMBER/log.db
    else
        DATABASE_URL=${POSTGRES_URL%/*}/bench$DATABASE_NUMBER
        psql_quiet "$POSTGRES_URL" -c "CREATE DATABASE bench$DATABASE_NUMBER"
    fi
}

drop_database() {
    case $DATABASE_URL in
    sqlite:*) rm -rf "${FOLDER:?}/$DATABASE_NUMBER" ;;
    postgres:*)
        psql_quiet "$POSTGRES_URL" -c "DROP DATABASE bench$DATABASE_NUMBER WITH (FORCE)"
        # What it left to write is not the next one's to pay for.
        psql_quiet "$POSTGRES_URL" -c CHECKPOINT
        ;;
    esac
    DATABASE_URL=
}

psql_quiet() {
    "$(postgres_bin)/psql" --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --dbname="$1" "${@:2}"
}

# The product as it is started by everyone, its log thrown away.
start_conn_log() {
    fresh_database
    TOKEN=$("$CONN_LOG" token create --database-url "$DATABASE_URL" --name bench --scope write \
        --scope read 2>/dev/null)
    start_server "$CONN_LOG" serve --database-url "$DATABASE_URL"
}

# The same server, but that what it takes in is answered and not stored.
start_no_store() {
    fresh_database
    TOKEN=$("$CONN_LOG" token create --database-url "$DATABASE_URL" --name bench --scope write \
        2>/dev/null)
    start_server "$BENCH" serve --database-url "$DATABASE_URL" --no-store
}

# Plain actix-web that parses, checks and answers, and nothing more.
start_plain() {
    start_server "$BENCH" floor
}

# The same with a row of a plain table for each request, in a transaction of its own.
start_plain_table() {
    fresh_database
    start_server "$BENCH" floor --plain-table "$DATABASE_URL"
}

# The same with conn-log's own store, which may put one event into a commit.
start_one_a_commit() {
    fresh_database
    start_server "$BENCH" floor --log "$DATABASE_URL"
}

# Starts a server's command on a free port and waits until it is ready.
start_server() {
    local try
    stop_server
    for _ in {1..10}; do
        # Below the range that the system hands out.
        ADDRESS=127.0.0.1:$((12000 + RANDOM % 8000))
        "$@" --listen "$ADDRESS" >"$FOLDER/server.out" 2>/dev/null &
        SERVER_PID=$!
        for ((try = 0; try < 100; try++)); do
            if curl --silent --fail --output /dev/null "http://$ADDRESS/readyz"; then
                return
            fi
            kill -0 "$SERVER_PID" 2>/dev/null || break
            sleep 0.1
        done
        stop_server
    done
    echo "The server did not start: $*" >&2
    return 1
}

stop_server() {
    [[ -n $SERVER_PID ]] || return 0
    kill "$SERVER_PID" 2>/dev/null || true
    wait "$SERVER_PID" 2>/dev/null || true
    SERVER_PID=
}

# Milliseconds of CPU that the server has taken: steadier than rates where others compute beside it.
server_cpu_ms() {
    awk -v hz="$(getconf CLK_TCK)" '{ print ($14 + $15) * 1000 / hz }' "/proc/$SERVER_PID/stat"
}
