# SPDX-License-Identifier: Apache-2.0
# element: core
# task: base
# phase: common
# order: 0
# What every script has: where things lie, texts, tables, JSON.
#
# A table is a file of lines with fields between tabs. In a field % and control
# characters are written as %XX, and a field that is empty is "-", so that
# `read` takes rows apart and no value reaches beyond its field.

set -u
LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH
export LC_ALL PATH
umask 077

JOB=@JOB@
SCRIPT=@SCRIPT@
SOURCE=@SOURCE@
TARGET=@TARGET@
TASKS=@TASKS@
GENERATOR=@VERSION@

STATE=/var/lib/diskshift
LOG=$STATE/log
TAB=$(printf '\t')
WORK=
DRY=

# Functions for awk programs, which begin with them.
AWK='
function bytes_init(  i) {
    for (i = 1; i < 256; i++) ord[sprintf("%c", i)] = i
}
function escape(s,  i, c, out) {
    if (s == "") return "-"
    if (s !~ /[%[:cntrl:]]/) return s
    for (i = 1; i <= length(s); i++) {
        c = substr(s, i, 1)
        out = out (c == "%" || ord[c] < 32 || ord[c] == 127 \
            ? sprintf("%%%02X", ord[c]) : c)
    }
    return out
}
function hex(c) { return index("0123456789ABCDEF", c) - 1 }
function plain(s,  out, at) {
    if (s == "-") return ""
    while ((at = index(s, "%")) > 0) {
        out = out substr(s, 1, at - 1) \
            sprintf("%c", hex(substr(s, at + 1, 1)) * 16 + \
                hex(substr(s, at + 2, 1)))
        s = substr(s, at + 3)
    }
    return out s
}
# How many bytes the UTF-8 character at i has; 0 when it is none.
function utf8(s, i,  c, n, k) {
    c = ord[substr(s, i, 1)]
    n = c < 128 ? 1 : c < 194 ? 0 : c < 224 ? 2 : c < 240 ? 3 : c < 245 ? 4 : 0
    for (k = 1; k < n; k++) {
        c = ord[substr(s, i + k, 1)]
        if (c < 128 || c > 191) return 0
    }
    return n
}
function json(s,  i, n, c, out) {
    if (s ~ /^[A-Za-z0-9 .:\/_-]*$/) return "\"" s "\""
    for (i = 1; i <= length(s); i += n) {
        n = utf8(s, i)
        c = substr(s, i, n == 0 ? 1 : n)
        if (n == 0) { n = 1; out = out "\\ufffd" }
        else if (c == "\"" || c == "\\") out = out "\\" c
        else if (n == 1 && (ord[c] < 32 || ord[c] == 127))
            out = out sprintf("\\u%04x", ord[c])
        else out = out c
    }
    return "\"" out "\""
}
# Of a field: null when it is empty.
function json_field(s) { return s == "-" ? "null" : json(plain(s)) }
function json_number(s) { return s ~ /^[0-9]+$/ ? s : "null" }
function json_yes(s) { return s == "yes" ? "true" : s == "no" ? "false" : "null" }
BEGIN { bytes_init(); FS = OFS = "\t" }
'

have() {
    command -v "$1" >/dev/null 2>&1
}

# field_set TEXT: FIELD is the text as a field of a table. A row is made often:
# a program is only called for what is not plain.
field_set() {
    case $1 in
    '') FIELD=- ;;
    *[!A-Za-z0-9\ ._:/@+,=#~-]*)
        FIELD=$(TEXT=$1 awk "$AWK"'BEGIN { print escape(ENVIRON["TEXT"]) }')
        ;;
    *) FIELD=$1 ;;
    esac
}

field() {
    field_set "$1"
    printf '%s\n' "$FIELD"
}

# text FIELD: the reverse.
text() {
    case $1 in
    -) return 0 ;;
    *%*) ;;
    *)
        printf '%s' "$1"
        return 0
        ;;
    esac
    FIELD=$1 awk "$AWK"'BEGIN { printf "%s", plain(ENVIRON["FIELD"]) }'
}

json() {
    TEXT=$1 awk "$AWK"'BEGIN { print json(ENVIRON["TEXT"]) }'
}

# quote TEXT: a literal of this language.
quote() {
    printf '%s' "$1" | awk '
        { gsub(/\047/, "\047\\\047\047"); printf "%s%s", (NR > 1 ? "\n" : ""), $0 }
        BEGIN { printf "\047" } END { printf "\047" }'
}

row() {
    row_line=
    for row_text in "$@"; do
        field_set "$row_text"
        row_line=${row_line:+$row_line$TAB}$FIELD
    done
    printf '%s\n' "$row_line"
}

now() {
    date -u +%Y-%m-%dT%H:%M:%SZ
}

# A directory of this run, away from the disk where that can be.
work_make() {
    for work_place in /run /dev/shm /tmp "$STATE"; do
        [ -d "$work_place" ] || continue
        WORK=$(mktemp -d "$work_place/diskshift.XXXXXX" 2>/dev/null) && break
        WORK=
    done
    [ -n "$WORK" ] || {
        echo "diskshift: no place for temporary files" >&2
        exit 1
    }
    mkdir "$WORK/tables"
    : >"$WORK/steps"
    : >"$WORK/messages"
}

work_end() {
    [ -z "$WORK" ] || rm -rf "$WORK"
    WORK=
}

need_root() {
    [ "$(id -u)" = 0 ] || {
        echo "diskshift: must run as root" >&2
        exit 1
    }
    for need_tool in awk sed grep cat cp mv rm mkdir mktemp readlink date; do
        have "$need_tool" || {
            echo "diskshift: the guest lacks $need_tool" >&2
            exit 1
        }
    done
}
