#!/bin/sh
# Chromium (the live page), Prometheus (scrapes, alert rules), RabbitMQ (the bridge) and iproute2 (the network of
# compose's services): Debian's packages, installed where that is possible. Where it is not, the tests that need
# them are skipped and say so; in CI they fail. With names of packages, only those are looked for.
set -eu

missing=""
for package in ${*:-chromium prometheus rabbitmq-server iproute2}; do
    case $package in
        prometheus) programs="prometheus promtool" ;;
        iproute2) programs=ip ;;
        etcd-server) programs=etcd ;;
        *) programs=$package ;;
    esac
    for program in $programs; do
        command -v "$program" >/dev/null || [ -x "/usr/sbin/$program" ] || { missing="$missing $package"; break; }
    done
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "Not installed, so what needs it cannot run:$missing (apt-get install$missing)"
    exit 0
fi
echo "Installing Debian's packages$missing (a minute, once) ..."
# Freshly installed, prometheus and rabbitmq would be started as services, on ports that may be in use.
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
