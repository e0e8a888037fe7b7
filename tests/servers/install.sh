#!/bin/sh
# Installs what tests and benchmarks need beside Python, and nothing that is there already (`make servers`).
#
# Usage: install.sh [--quiet] [GROUP...]: of the groups `tests`, `bench` and `model`; the first two if none is named.
# Leaves with 0 if all is there, and with 1 if something is missing and could not be installed: it takes root, and
# apt-get. --quiet says nothing if all is there. Some packages also start a service of their own; the benchmarks leave it
# alone and start what they need.
set -u

# One need a line: GROUP NAME PACKAGE WHAT FOR. For each there is a function has_NAME, which is quick.
needs='
tests libfaketime libfaketime wall clocks that jump (tests/faults/test_clocks.py)
tests postgresql postgresql the store postgresql://
tests pgbouncer pgbouncer the store postgresql:// behind a pooler
tests redis redis-server the store redis://, and the peers redis-py and tooz (benchmarks/peers)
tests mariadb mariadb-server the fence of a term in MySQL and MariaDB
tests nats nats-server the broker nats:// (tests/faults/test_relay.py)
tests rabbitmq rabbitmq-server the broker amqp:// (tests/faults/test_relay.py); it brings Erlang along
tests systemd systemd the unit files of the documentation (tests/docs/test_operations.py)
tests sqlite3 sqlite3 the backup of the page on SQLite (tests/docs/test_shown.py)
tests haproxy haproxy the load balancer of the documentation (tests/docs/test_shown.py)
tests zookeeper zookeeper the store zookeeper://, and the peer kazoo; it brings Java along
tests ip iproute2 instances in networks of their own
tests nft nftables networks that lose what is sent
bench etcd etcd-server the peer aetcd
model spin spin the models of the protocol (tests/model)
model gcc gcc the verifiers that spin writes (tests/model)
model libc libc6-dev the verifiers that spin writes (tests/model)
'

# tests/faults/kit/wallclocks.py looks in the same places
has_libfaketime() {
    for library in /usr/lib/*/faketime/libfaketimeMT.so.1 /usr/lib*/faketime/libfaketimeMT.so.1 \
        /usr/local/lib*/faketime/libfaketimeMT.so.1; do
        [ -e "$library" ] && return 0
    done
    return 1
}

# tests/servers/postgresql.py looks there too; Debian keeps the server out of the PATH
has_postgresql() {
    for server in /usr/lib/postgresql/*/bin/postgres; do
        [ -x "$server" ] && return 0
    done
    return 1
}

has_pgbouncer() { command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ]; }
has_ip() { command -v ip >/dev/null || [ -x /usr/sbin/ip ]; }
has_nft() { command -v nft >/dev/null || [ -x /usr/sbin/nft ]; }

has_redis() {
    command -v redis-server >/dev/null
}

# tests/servers/mariadb.py looks there too
has_mariadb() { command -v mariadbd >/dev/null || [ -x /usr/sbin/mariadbd ]; }

has_nats() { command -v nats-server >/dev/null || [ -x /usr/sbin/nats-server ]; }
# tests/servers/brokers.py looks in the same place
has_rabbitmq() { [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ]; }
has_systemd() { command -v systemd-analyze >/dev/null; }

has_sqlite3() { command -v sqlite3 >/dev/null; }
has_haproxy() { command -v haproxy >/dev/null || [ -x /usr/sbin/haproxy ]; }

has_etcd() {
    command -v etcd >/dev/null
}

# benchmarks/peers/servers.py looks there too
has_zookeeper() {
    [ -e /usr/share/java/zookeeper.jar ] && command -v java >/dev/null
}

has_spin() { command -v spin >/dev/null; }
has_gcc() { command -v gcc >/dev/null; }
has_libc() { [ -e /usr/include/stdio.h ]; }

missing() {
    echo "$needs" | while read -r group name package what; do
        case " $groups " in *" $group "*) "has_$name" || echo "$name $package $what" ;; esac
    done
}

packages() {
    missing | cut -d ' ' -f 2 | tr '\n' ' '
}

tell_missing() {
    missing | while read -r name package what; do
        echo "missing: $name, for $what; Debian and Ubuntu have it in the package $package" >&2
    done
}

quiet=
[ "${1:-}" = --quiet ] && quiet=$1 && shift
groups=${*:-tests bench}
if [ -z "$(missing)" ]; then
    [ -n "$quiet" ] || echo "all that is needed beside Python is there ($groups)"
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    tell_missing
    echo "there is no apt-get here: install it with your system's own means" >&2
    exit 1
fi
if [ "$(id -u)" != 0 ]; then
    tell_missing
    echo "only root may install it: sudo apt-get install $(packages)" >&2
    exit 1
fi
echo "installing $(packages)"
export DEBIAN_FRONTEND=noninteractive
options='-qq -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20 -o Acquire::Retries=1 -o DPkg::Lock::Timeout=120'
# the options are words of their own, as the packages are
# shellcheck disable=SC2046,SC2086
if ! { apt-get update $options && apt-get install -y $options --no-install-recommends $(packages) >/dev/null; }; then
    echo "apt-get could not install $(packages)" >&2
fi
if [ -n "$(missing)" ]; then
    tell_missing
    exit 1
fi
