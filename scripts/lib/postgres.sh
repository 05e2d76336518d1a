# shellcheck shell=bash
# A private PostgreSQL cluster for the length of one script. To be sourced.
#
#   . scripts/lib/postgres.sh
#   trap postgres_stop EXIT
#   postgres_start            # or: postgres_start fsync=off
#   psql "$POSTGRES_URL"
#
# The machine's own clusters are neither used nor touched: this one lives in a temporary folder,
# listens on 127.0.0.1 on a free port, and is gone after postgres_stop. The server refuses to run
# as root, so that root's script runs it as the user postgres, or nobody.

# Set by postgres_start.
POSTGRES_URL=
POSTGRES_PORT=
POSTGRES_FOLDER=

# Prints the folder of the newest PostgreSQL server's programs; fails where there is none.
postgres_bin() {
    local initdb folder
    initdb=$(printf '%s\n' /usr/lib/postgresql/*/bin/initdb | sort -V | tail -n 1)
    if [[ ! -x $initdb ]]; then
        initdb=$(command -v initdb) || return 1
    fi
    folder=$(dirname "$(readlink -f "$initdb")")
    [[ -x $folder/postgres && -x $folder/pg_ctl ]] && printf '%s\n' "$folder"
}

# Runs a command as a user that PostgreSQL takes, within the cluster's folder.
postgres_as_user() (
    cd "$POSTGRES_FOLDER" || exit
    if ((EUID != 0)); then
        "$@"
    elif id postgres >/dev/null 2>&1; then
        runuser -u postgres -- "$@"
    else
        runuser -u nobody -- "$@"
    fi
)

# Starts the cluster. Arguments are settings: `name=value`.
postgres_start() {
    local bin setting attempt
    if ! bin=$(postgres_bin); then
        echo "No PostgreSQL server was found in /usr/lib/postgresql or on the PATH." >&2
        return 1
    fi
    # Not under TMPDIR: a socket's path has at most 107 bytes, and another user must reach it.
    POSTGRES_FOLDER=$(mktemp -d /tmp/conn-log-postgres.XXXXXX) || return
    if ((EUID == 0)); then
        chown "$(id -u postgres 2>/dev/null || id -u nobody)" "$POSTGRES_FOLDER" || return
    fi

    # What initdb says is shown only if it fails.
    if ! postgres_as_user "$bin/initdb" --pgdata="$POSTGRES_FOLDER/data" --username=postgres \
        --auth=trust --encoding=UTF8 --locale=C --no-sync >"$POSTGRES_FOLDER/initdb.log" 2>&1; then
        cat "$POSTGRES_FOLDER/initdb.log" >&2
        return 1
    fi
    {
        echo "listen_addresses = '127.0.0.1'"
        echo "unix_socket_directories = '$POSTGRES_FOLDER'"
        echo "max_connections = 200"
        for setting in "$@"; do
            echo "${setting%%=*} = '${setting#*=}'"
        done
    } >>"$POSTGRES_FOLDER/data/postgresql.conf"

    # Whether a port is free is known once it is taken: below the range that the system hands out.
    for attempt in {1..20}; do
        POSTGRES_PORT=$((20000 + RANDOM % 12000))
        if postgres_as_user "$bin/pg_ctl" start --pgdata="$POSTGRES_FOLDER/data" --wait --silent \
            --timeout=60 --options="-p $POSTGRES_PORT" --log="$POSTGRES_FOLDER/server.log" \
            >/dev/null 2>&1; then
            # shellcheck disable=SC2034 # for the script that sources this
            POSTGRES_URL="postgres://postgres@127.0.0.1:$POSTGRES_PORT/postgres"
            return
        fi
        grep -q 'Address already in use' "$POSTGRES_FOLDER/server.log" || break
        : >"$POSTGRES_FOLDER/server.log"
    done
    echo "PostgreSQL did not start (attempt $attempt):" >&2
    cat "$POSTGRES_FOLDER/server.log" >&2
    return 1
}

# Stops the cluster and removes it. Harmless where none was started, and when called twice.
postgres_stop() {
    local bin
    [[ -n $POSTGRES_FOLDER && -d $POSTGRES_FOLDER ]] || return 0
    if [[ -f $POSTGRES_FOLDER/data/postmaster.pid ]] && bin=$(postgres_bin); then
        # Nothing in it is kept, so that there is nothing to write out first.
        postgres_as_user "$bin/pg_ctl" stop --pgdata="$POSTGRES_FOLDER/data" --mode=immediate \
            --wait --silent >/dev/null 2>&1 || true
    fi
    rm -rf "$POSTGRES_FOLDER"
    POSTGRES_FOLDER=
}
