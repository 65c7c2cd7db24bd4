# SPDX-License-Identifier: Apache-2.0
# Sourced by the tests of the program. DISKSHIFT is its path, DS_TEST_DIR a
# scratch directory. A test says what it checks, goes on after a failure and
# exits 1 when there was one; 77 means that it could not run here.

set -u
export LC_ALL=C

failures=0
work=
qemu_img_luks=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../lib/qemu-img-luks")

need() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || skip "no $tool here"
    done
}

skip() {
    echo "skipped: $1"
    exit 77
}

setup() {
    [[ -x ${DISKSHIFT:?path of the program} ]] || skip "no $DISKSHIFT"
    mkdir -p "${DS_TEST_DIR:?scratch directory}"
    work=$(mktemp -d "$DS_TEST_DIR/cli.XXXXXX") || exit 1
    trap cleanup EXIT
    cd "$work" || exit 1
}

# Tests with more to undo define teardown.
cleanup() {
    if declare -F teardown >/dev/null; then
        teardown
    fi
    cd / && rm -rf "$work"
}

finish() {
    if ((failures > 0)); then
        echo "$failures failed"
        exit 1
    fi
    exit 0
}

fail() {
    echo "  FAILED: $1"
    failures=$((failures + 1))
}

# check WHAT COMMAND...: the command succeeds.
check() {
    local what=$1
    shift
    echo "- $what"
    "$@" || fail "$what"
}

# run WHAT STATUS ARGUMENT...: the program exits so; its output is in ./out
# and ./err.
run() {
    local what=$1 expected=$2 status
    shift 2
    echo "- $what"
    "$DISKSHIFT" "$@" >out 2>err
    status=$?
    if ((status != expected)); then
        fail "$what: exit status, have $status expect $expected"
        sed 's/^/    /' err
    fi
}

said() {
    grep -q -- "$1" "$2" && return
    fail "$2 lacks '$1'"
    sed 's/^/    /' "$2"
}

silent() {
    [[ ! -s $1 ]] && return
    fail "$1 is not empty"
    sed 's/^/    /' "$1"
}

# json FILTER: ./out is one JSON document with a schema, and the filter holds.
json() {
    jq -es "length == 1 and (.[0].schema | type) == \"number\"" out \
        >/dev/null || fail "not one JSON document with a schema"
    jq -e "$1" out >/dev/null && return
    fail "$1"
    sed 's/^/    /' out
}

# All lines of standard error are the program's own.
prefixed() {
    grep -qv '^diskshift: ' err && fail "a line on stderr without prefix"
    [[ -s err ]] || fail "nothing on stderr"
}

# raw_image PATH MIB: a sparse disk with some data in it.
raw_image() {
    truncate -s "$2"M "$1"
    dd if=/dev/urandom of="$1" bs=64k count=4 seek=1 conv=notrunc status=none
    dd if=/dev/urandom of="$1" bs=64k count=3 seek=$(($2 * 8)) conv=notrunc \
        status=none
    sync "$1"
}
