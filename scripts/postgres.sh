# To be sourced: a private PostgreSQL in a temporary folder, on a free port of the loopback address, without passwords.
#   start_postgres   sets POSTGRES_URL; explains itself and returns 1 when there is no PostgreSQL and none can be installed
#   stop_postgres    stops it and removes its folder

POSTGRES_DIR=

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

install_package() {
    command -v apt-get >/dev/null || { echo "$1 is missing, and there is no apt-get to install it with" >&2; return 1; }
    as_root true 2>/dev/null || { echo "$1 is missing; installing it needs root: sudo apt-get install $1" >&2; return 1; }
    echo "installing $1"
    local quiet=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0)
    as_root "${quiet[@]}" install -y --no-install-recommends "$1" >/dev/null 2>&1 && return
    as_root "${quiet[@]}" update >/dev/null && as_root "${quiet[@]}" install -y --no-install-recommends "$1" >/dev/null ||
        { echo "$1 could not be installed by apt-get" >&2; return 1; }
}

# Debian keeps the server's programs out of PATH, one folder a version.
postgres_programs() {
    local found
    found=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
    [ -n "$found" ] || found=$(dirname "$(command -v initdb || true)")
    [ -x "$found/initdb" ] && [ -x "$found/pg_ctl" ] && echo "$found"
}

# PostgreSQL refuses to run as root.
as_postgres() {
    if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi
}

start_postgres() {
    local programs port
    programs=$(postgres_programs) || { install_package postgresql && programs=$(postgres_programs); } || return 1
    POSTGRES_PROGRAMS=$programs
    POSTGRES_DIR=$(mktemp -d)
    [ "$(id -u)" != 0 ] || chown postgres "$POSTGRES_DIR"
    (cd / && as_postgres "$programs/initdb" -D "$POSTGRES_DIR/data" -U postgres --auth=trust --encoding=UTF8 --locale=C --no-sync) \
        >/dev/null || return 1
    for _ in 1 2 3 4 5; do
        port=$((20000 + RANDOM % 10000))
        # Nothing here outlives the tests, so nothing waits for the disk.
        local options="-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off -c max_connections=500"
        if (cd / && as_postgres "$programs/pg_ctl" -D "$POSTGRES_DIR/data" -l "$POSTGRES_DIR/log" -o "$options" -w start) >/dev/null 2>&1; then
            POSTGRES_URL=postgres://postgres@127.0.0.1:$port/postgres
            return
        fi
    done
    echo "PostgreSQL does not start:" >&2
    tail -n 5 "$POSTGRES_DIR/log" >&2
    return 1
}

stop_postgres() {
    [ -n "$POSTGRES_DIR" ] || return 0
    (cd / && as_postgres "$POSTGRES_PROGRAMS/pg_ctl" -D "$POSTGRES_DIR/data" -m immediate stop) >/dev/null 2>&1 || true
    rm -rf "$POSTGRES_DIR"
    POSTGRES_DIR=
}
