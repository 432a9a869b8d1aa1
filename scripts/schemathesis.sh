#!/usr/bin/env bash
# Fires generated requests at the real server, as /openapi.json describes them, and checks each
# answer against the document: no 5xx, and no status, header or body that is not documented. Then
# the same at a server that asks for tokens: with one that may do everything, and without any.
#
# Schemathesis is installed from PyPI into target/, once. What cannot be installed fails the run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=4.32.5
# Requests for each operation; the same seed makes the same requests.
examples=${DORMOUSE_SCHEMATHESIS_EXAMPLES:-10}
seed=${DORMOUSE_SCHEMATHESIS_SEED:-1}
target=${CARGO_TARGET_DIR:-target}

say() { printf '%s\n' "$*" >&2; }

venv=$target/schemathesis-$version
if [[ ! -x $venv/bin/st ]]; then
    rm -rf "$venv"
    if ! python3 -m venv "$venv"; then
        say "missing: python3 with its venv module (Debian: python3-venv)"
        exit 1
    fi
    "$venv/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version"
fi

# With the examples its dependencies are those that the tests have built already.
cargo build --locked --bins --examples

scratch=$(mktemp -d)
server=
finish() {
    [[ -z $server ]] || kill "$server" 2>/dev/null || true
    [[ -z $server ]] || wait "$server" 2>/dev/null || true
    rm -rf "$scratch"
}
trap finish EXIT

# Light hashing: the requests are about the contract, not about passwords. The store is the one
# that is asked for, or an SQLite file of its own.
export DORMOUSE__STORE__URL=${DORMOUSE_SCHEMATHESIS_STORE:-sqlite://$scratch/dormouse.db}
export DORMOUSE__IAM__ARGON2_MEMORY_KIB=8 DORMOUSE__IAM__ARGON2_ITERATIONS=1
url=
# Starts the server; its log is in $scratch/log.
serve() {
    url=
    "$target/debug/dormouse" serve --bind 127.0.0.1:0 2>"$scratch/log" &
    server=$!
    for _ in $(seq 300); do
        url=$(grep -o 'http://[0-9.:]*' "$scratch/log" | head -n 1 || true)
        [[ -n $url ]] && grep -q ready "$scratch/log" && return 0
        if ! kill -0 "$server" 2>/dev/null; then
            say "the server ended:"
            cat "$scratch/log" >&2
            exit 1
        fi
        sleep 0.1
    done
    say "the server does not listen"
    exit 1
}

checks=not_a_server_error,status_code_conformance,content_type_conformance
checks+=,response_headers_conformance,response_schema_conformance
checks+=,unsupported_method,allow_header_conformance

# run CHECKS PHASES [OPTIONS...]
run() {
    # The stream of events has no end to wait for; tests/it/http reads it.
    "$venv/bin/st" run "$url/openapi.json" --exclude-path /v1/events/stream \
        --seed "$seed" --continue-on-failure --warnings off --no-color \
        --checks "$1" --phases "$2" --max-examples "$examples" "${@:3}"
}

# Nothing in a request is a bug of ours: then the log says so.
# (actix-http logs requests that it cannot parse as errors; those are their clients'.)
nothing_broke() {
    if grep -v 'actix_http::h1::dispatcher: stream error: request parse error' "$scratch/log" \
        | grep -E 'panicked|a bug|ERROR' >&2; then
        say "the server logged errors"
        exit 1
    fi
}

serve

# Every edge of every parameter; among them unknown headers, which any server must accept.
run "$checks" coverage
# Random requests; those that break their schema must be refused.
run "$checks,negative_data_rejection" fuzzing
nothing_broke
kill "$server" && wait "$server" || true

# The same with tokens: the document is told to everybody, and nothing else is.
export DORMOUSE__AUTH__MODE=token DORMOUSE__AUTH__OPEN_DOCS=true
export DORMOUSE__AUTH__LOGIN_KEY=a-key-for-this-run-alone-of-32-bytes
serve
key=$("$target/debug/dormouse" keys create --name "st-$$" --rights '*' --expires 1d)
run "$checks" coverage --header "Authorization: Bearer $key"
run "$checks,negative_data_rejection" fuzzing --header "Authorization: Bearer $key"
# Whatever is asked without a token, the answer is documented: 401 for all that is protected.
unguarded=not_a_server_error,status_code_conformance,content_type_conformance
unguarded+=,response_headers_conformance,ignored_auth
run "$unguarded" coverage
nothing_broke
say "schemathesis found nothing"
