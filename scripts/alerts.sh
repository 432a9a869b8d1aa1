#!/usr/bin/env bash
# Checks the alert rules in deploy/prometheus with promtool: that Prometheus reads them, and that they say
# yes and no where alerts.test.yml says so.
#
# Where there is no promtool, it is taken out of Debian's package into target/, once: the package as a
# whole would start a server. What cannot be had fails the run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=${CARGO_TARGET_DIR:-target}
promtool=$(command -v promtool || true)
if [[ -z $promtool ]]; then
    promtool=$PWD/$target/promtool/usr/bin/promtool
    [[ $target = /* ]] && promtool=$target/promtool/usr/bin/promtool
fi
if [[ ! -x $promtool ]]; then
    if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
        echo "missing: promtool (Debian: prometheus)" >&2
        exit 1
    fi
    directory=${promtool%/usr/bin/promtool}
    rm -rf "$directory"
    mkdir -p "$directory"
    (cd "$directory" && apt-get download prometheus >/dev/null)
    dpkg-deb --fsys-tarfile "$directory"/prometheus_*.deb | tar -x -C "$directory" ./usr/bin/promtool
    rm "$directory"/prometheus_*.deb
fi

"$promtool" check rules deploy/prometheus/alerts.yml
(cd deploy/prometheus && "$promtool" test rules alerts.test.yml)
