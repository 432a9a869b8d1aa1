#!/usr/bin/env bash
# The one test command: format, lints, docs, every test, and generated requests to the real server.
#
# The tests start PostgreSQL clusters of their own, so its server binaries must be here; on Debian
# and its relatives they are installed when they are missing, and so are nginx, HAProxy, a C compiler and Node.js.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '%s\n' "$*" >&2; }

has_postgres() {
    local directory
    for directory in "$(pg_config --bindir 2>/dev/null || true)" /usr/lib/postgresql/*/bin; do
        [[ -n $directory && -x $directory/initdb && -x $directory/postgres ]] && return 0
    done
    command -v initdb >/dev/null && command -v postgres >/dev/null
}

# Debian keeps it where administrators look.
has_nginx() {
    command -v nginx >/dev/null || [[ -x /usr/sbin/nginx || -x /usr/local/sbin/nginx ]]
}

has_haproxy() {
    command -v haproxy >/dev/null || [[ -x /usr/sbin/haproxy || -x /usr/local/sbin/haproxy ]]
}

as_root() {
    if [[ $(id -u) -eq 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        say "cannot run as root, and there is no sudo: $*"
        exit 1
    fi
}

# Debian's package starts a cluster as soon as it is installed; the tests have no use for it.
without_main_cluster() {
    local conf=/etc/postgresql-common/createcluster.conf
    [[ -e $conf ]] && return 0
    as_root mkdir -p "$(dirname "$conf")"
    echo 'create_main_cluster = false' | as_root tee "$conf" >/dev/null
}

# The example service in Node.js is tested with it.
has_node() {
    command -v npm >/dev/null && [[ $(node --version 2>/dev/null) =~ ^v([0-9]+) && ${BASH_REMATCH[1]} -ge 20 ]]
}

# Some of the faults that the dose of chaos makes need them; without, it tells those as NOT RUN.
has_faketime() {
    local library
    for library in /usr/lib/*/faketime/libfaketimeMT.so.1 /usr/lib64/faketime/libfaketimeMT.so.1 \
        /usr/local/lib/faketime/libfaketimeMT.so.1; do
        [[ -e $library ]] && return 0
    done
    return 1
}

install_what_is_missing() {
    local packages=()
    if command -v apt-get >/dev/null; then
        command -v strace >/dev/null || packages+=(strace)
        has_faketime || packages+=(faketime)
        command -v systemd-analyze >/dev/null || packages+=(systemd)
    fi
    has_postgres || packages+=(postgresql)
    has_nginx || packages+=(nginx-light)
    has_haproxy || packages+=(haproxy)
    command -v cc >/dev/null || packages+=(build-essential)
    python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
    has_node || packages+=(nodejs npm)
    [[ ${#packages[@]} -eq 0 ]] && return 0
    if ! command -v apt-get >/dev/null; then
        has_postgres || say "missing: PostgreSQL's server binaries (initdb and postgres), in PATH or by pg_config --bindir"
        has_nginx || say "missing: nginx"
        has_haproxy || say "missing: HAProxy"
        command -v cc >/dev/null || say "missing: a C compiler, as cc in PATH"
        python3 -c 'import ensurepip, venv' 2>/dev/null || say "missing: python3 with its venv module"
        has_node || say "missing: Node.js 20 or newer, with npm"
        exit 1
    fi
    say "installing: ${packages[*]}"
    without_main_cluster
    as_root apt-get update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${packages[@]}"
    if ! has_node; then
        say "missing: Node.js 20 or newer, with npm; what is packaged here is older: $(node --version || true)"
        exit 1
    fi
}

if ! command -v cargo >/dev/null; then
    say "missing: cargo; see https://rustup.rs"
    exit 1
fi
install_what_is_missing

set -x
cargo fmt --check
cargo clippy --locked --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
env -u DORMOUSE_CHAOS_MINUTES cargo test --locked --all-targets
cargo test --locked --doc
# The one feature, and what it changes: the program, and a test of its own.
cargo clippy --locked --features otlp --lib --bins --test otlp -- -D warnings
cargo test --locked --features otlp --test otlp
# More seeds of the simulation; a seed that finds something tells how to replay it.
cargo run --locked --example simulation -- --seeds "${DORMOUSE_SIMULATION_SEEDS:-10000}"
# Minutes of faults on real servers, over both stores, with the binaries that are there. It prints its seed
# (DORMOUSE_TEST_SEED), and tells each fault that this machine does not let it make as NOT RUN; 0 leaves it out.
if [[ ${DORMOUSE_CHAOS_MINUTES:-4} == 0 ]]; then
    say "NOT RUN: the dose of chaos, for DORMOUSE_CHAOS_MINUTES is 0"
else
    DORMOUSE_CHAOS_MINUTES=${DORMOUSE_CHAOS_MINUTES:-4} cargo test --locked --bench chaos
fi
scripts/alerts.sh
scripts/unit.sh
scripts/schemathesis.sh
