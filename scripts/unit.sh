#!/usr/bin/env bash
# Checks the systemd unit in deploy/: that systemd knows every line of it, and that it gives the server
# no more of the machine than it should have.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! command -v systemd-analyze >/dev/null; then
    echo "missing: systemd-analyze (Debian: systemd)" >&2
    exit 1
fi
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
unit=$directory/dormouse.service
# The server is not installed where this runs, and all else is to be as it stands.
sed "s#^ExecStart=/usr/local/bin/dormouse #ExecStart=$(command -v true) #" deploy/systemd/dormouse.service >"$unit"

# A line that systemd does not know is passed over with a word and no error.
told=$(systemd-analyze verify "$unit" 2>&1) || true
if [[ -n $told ]]; then
    echo "deploy/systemd/dormouse.service: $told" >&2
    exit 1
fi
# From 0, shut off from all, to 100, which is 10.0 in its table; a unit without any of it has 96.
systemd-analyze security --offline=yes --threshold=20 --no-pager "$unit" >"$directory/report" || {
    cat "$directory/report" >&2
    echo "deploy/systemd/dormouse.service leaves more open than 2.0" >&2
    exit 1
}
echo "the systemd unit is understood, and shuts off what the server does not need"
