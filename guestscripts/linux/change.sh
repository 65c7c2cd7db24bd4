# SPDX-License-Identifier: Apache-2.0
# element: change
# task: base
# phase: common
# order: 20
# needs: log
# The only way in which the guest is changed.
#
# What was there is kept first, in SAVED, and noted in its journal; only then
# it is changed. So whatever was done, and however far, put_back undoes it from
# the end on. A file that is already as wanted is not touched and not noted.
#
#     kind      what       where          put_back
#     file      path       number         the kept copy returns
#     absent    path       -              it is removed
#     command   words      -              they are run: functions or programs

SAVED=

saved_begin() {
    SAVED=$STATE/saved/$PART-$SCRIPT
    [ -n "$DRY" ] || mkdir -p "$SAVED"
}

journal() {
    row "$@" >>"$SAVED/journal" && sync
}

# Keep what is at the path, unless this was done before.
keep() {
    keep_field=$(field "$1")
    if [ -f "$SAVED/journal" ] &&
        grep -qF "${TAB}$keep_field$TAB" "$SAVED/journal"; then
        return 0
    fi
    if [ -e "$1" ] || [ -L "$1" ]; then
        keep_number=$(($(cat "$SAVED/count" 2>/dev/null || echo 0) + 1))
        echo "$keep_number" >"$SAVED/count"
        cp -a "$1" "$SAVED/$keep_number" || {
            rm -rf "${SAVED:?}/$keep_number"
            return 1
        }
        journal file "$1" "$keep_number"
    else
        journal absent "$1" ''
    fi
}

# put PATH [MODE]: standard input becomes the file. 0 also when it is so.
put() {
    put_path=$1
    [ ! -L "$put_path" ] || put_path=$(readlink -f "$put_path")
    cat >"$WORK/put" || return 1
    if [ -f "$put_path" ] && cmp -s "$WORK/put" "$put_path"; then
        return 0
    fi
    did "write $put_path"
    [ -z "$DRY" ] || return 0
    keep "$put_path" || {
        fail "cannot keep $put_path"
        return 1
    }
    mkdir -p "${put_path%/*}"
    put_new=$put_path.diskshift-new
    rm -f "$put_new"
    if [ -f "$put_path" ]; then
        cp -a "$put_path" "$put_new"
    else
        : >"$put_new" && chmod "${2:-644}" "$put_new"
    fi
    if ! cat "$WORK/put" >"$put_new" || ! mv "$put_new" "$put_path"; then
        rm -f "$put_new"
        fail "cannot write $put_path"
        return 1
    fi
}

# put_link TARGET PATH
put_link() {
    [ ! -L "$2" ] || [ "$(readlink "$2")" != "$1" ] || return 0
    did "link $2 to $1"
    [ -z "$DRY" ] || return 0
    if ! keep "$2" || ! mkdir -p "${2%/*}" || ! rm -f "$2" ||
        ! ln -s "$1" "$2"; then
        fail "cannot link $2"
        return 1
    fi
}

# drop PATH
drop() {
    [ -e "$1" ] || [ -L "$1" ] || return 0
    did "remove $1"
    [ -z "$DRY" ] || return 0
    if ! keep "$1" || ! rm -f "$1"; then
        fail "cannot remove $1"
        return 1
    fi
}

# run WHAT COMMAND...: told when it was done, and its output in the log. What did
# not succeed is for the caller to tell.
run() {
    run_what=$1
    shift
    if [ -n "$DRY" ]; then
        did "$run_what"
        return 0
    fi
    log_line "$run_what: $*"
    run_status=0
    "$@" >"$WORK/run" 2>&1 </dev/null || run_status=$?
    sed 's/^/    /' "$WORK/run" >>"$LOG"
    [ "$run_status" != 0 ] || did "$run_what"
    return "$run_status"
}

# when_undone COMMAND...: put_back runs it, after what was changed later and
# before what was changed earlier.
when_undone() {
    [ -z "$DRY" ] || return 0
    when_words=
    for when_word in "$@"; do
        when_words="$when_words $(quote "$when_word")"
    done
    keep_field=$(field "$when_words")
    grep -qF "command$TAB$keep_field$TAB" "$SAVED/journal" 2>/dev/null ||
        journal command "$when_words" ''
}

# put_back_file PATH COPY. Where there is no room for both, the copy alone.
put_back_file() {
    back_new=$1.diskshift-new
    rm -f "$back_new"
    cp -a "$2" "$back_new" 2>/dev/null && mv "$back_new" "$1" && return 0
    rm -f "$back_new" "$1"
    cp -a "$2" "$1" && return 0
    mkdir -p "$STATE/lost${1%/*}" && mv "$2" "$STATE/lost$1"
    return 1
}

put_back_one() {
    put_back_what=$(text "$2")
    case $1 in
    file) put_back_file "$put_back_what" "$SAVED/$3" ||
        warn "cannot put $put_back_what back: it is kept as \
$STATE/lost${put_back_what}" ;;
    absent) rm -f "$put_back_what" ;;
    # Words that this script quoted itself; what they have to say, they warn of.
    # Those that fail can be tried again.
    command) eval "$put_back_what" >&2 </dev/null && return 0 || return 1 ;;
    esac
    return 0
}

# Undo all changes of this script, the last first.
put_back() {
    [ -f "$SAVED/journal" ] || return 0
    if [ -n "$DRY" ]; then
        while IFS=$TAB read -r back_kind back_what back_number; do
            did "put back: $back_kind $(text "$back_what")"
        done <"$SAVED/journal"
        return 0
    fi
    awk '{ line[NR] = $0 } END { for (i = NR; i > 0; i--) print line[i] }' \
        "$SAVED/journal" >"$WORK/journal"
    : >"$WORK/journal-rest"
    while IFS=$TAB read -r back_kind back_what back_number <&3; do
        put_back_one "$back_kind" "$back_what" "$back_number" ||
            row "$back_kind" "$(text "$back_what")" '' >>"$WORK/journal-rest"
    done 3<"$WORK/journal"
    rm -rf "$SAVED"
    mkdir -p "$SAVED"
    [ ! -s "$WORK/journal-rest" ] || cp "$WORK/journal-rest" "$SAVED/journal"
    sync
}

# The end of --undo: 1 when something could not be put back.
undone() {
    if grep -q "${TAB}warned$TAB" "$WORK/messages"; then
        log_line "undone, but for what the warnings say"
        end_with 1
    fi
    log_line "undone"
    end_with 0
}
