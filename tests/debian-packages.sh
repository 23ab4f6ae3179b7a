#!/bin/sh
# Chromium (the live page) and Prometheus (scrapes, alert rules): Debian's packages, installed where that is
# possible. Where it is not, the tests that need them are skipped and say so; in CI they fail.
set -eu

missing=""
command -v chromium >/dev/null || missing="$missing chromium"
command -v prometheus >/dev/null && command -v promtool >/dev/null || missing="$missing prometheus"
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "Not installed, so some tests will be skipped:$missing (apt-get install$missing)"
    exit 0
fi
echo "Installing Debian's packages$missing (a minute, once) ..."
# A freshly installed prometheus would be started as a service, on a port that may be in use.
trap 'rm -f /usr/sbin/policy-rc.d' EXIT
if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
else
    trap - EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086  # a list of words
apt-get install -y -qq --no-install-recommends $missing >/dev/null
