# shellcheck shell=bash
# What the scripts need from Debian and from Rust, installed where it is missing. To be sourced.

# Adds to the array of that name the packages that building lacks: SQLite and libpq are built from
# source, OpenSSL is the system's, found through pkg-config.
list_build_tools() {
    local -n list=$1
    echo '#include <stdio.h>' | cc -fsyntax-only -xc - 2>/dev/null || list+=(gcc libc6-dev)
    command -v pkg-config >/dev/null || list+=(pkg-config)
    pkg-config --exists openssl 2>/dev/null || list+=(libssl-dev)
}

# Installs packages; none is no work.
apt_install() {
    (($# > 0)) || return 0
    echo "Missing here: $*" >&2
    if ! command -v apt-get >/dev/null; then
        echo "There is no apt-get to install it with. Install it, and run this again." >&2
        return 1
    fi
    as_root apt-get update --quiet --quiet
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install --quiet --quiet --yes --no-install-recommends "$@"
}

# Debian's package makes a cluster of its own and starts it, which no test needs.
install_postgres() {
    local settings=/etc/postgresql-common/createcluster.conf
    apt_install postgresql-common
    as_root cp "$settings" "$settings.conn-log-saved"
    echo 'create_main_cluster = false' | as_root tee -a "$settings" >/dev/null
    apt_install postgresql
    as_root mv "$settings.conn-log-saved" "$settings"
}

# promtool comes with the Prometheus server, which is neither to be started now nor at boot.
install_promtool() {
    install_stopped prometheus.service prometheus
}

# syslog-ng with its HTTP module, which is neither to be started now nor at boot.
install_syslog_ng() {
    install_stopped syslog-ng.service syslog-ng-core syslog-ng-mod-http
}

# Installs packages with a service, whose name comes first, that is not to run.
install_stopped() {
    local service=$1
    shift
    local policy=/usr/sbin/policy-rc.d status=0
    if [[ -e $policy ]]; then
        as_root mv "$policy" "$policy.conn-log-saved"
    fi
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod +x "$policy"
    apt_install "$@" || status=$?
    as_root rm "$policy"
    if [[ -e $policy.conn-log-saved ]]; then
        as_root mv "$policy.conn-log-saved" "$policy"
    fi
    if ((status == 0)) && command -v systemctl >/dev/null; then
        as_root systemctl --quiet disable "$service" || true
    fi
    return "$status"
}

as_root() {
    if ((EUID == 0)); then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "This needs root: $*" >&2
        return 1
    fi
}

# Finds cargo; its arguments are components to have, each as the name of cargo's sub-command and of
# rustup's component: `fmt:rustfmt`.
find_rust() {
    local component
    if ! command -v cargo >/dev/null && [[ -f ${CARGO_HOME:-$HOME/.cargo}/env ]]; then
        # shellcheck source=/dev/null
        . "${CARGO_HOME:-$HOME/.cargo}/env"
    fi
    if ! command -v cargo >/dev/null; then
        echo "Rust is missing: install it from https://rustup.rs, and run this again." >&2
        return 1
    fi
    for component in "$@"; do
        cargo "${component%:*}" --version >/dev/null 2>&1 && continue
        if ! command -v rustup >/dev/null; then
            echo "cargo ${component%:*} is missing: install the component ${component#*:}." >&2
            return 1
        fi
        rustup component add "${component#*:}"
    done
}
