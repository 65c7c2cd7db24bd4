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
#     command   words      -              they are run

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
        cp -a "$1" "$SAVED/$keep_number" && journal file "$1" "$keep_number"
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

# run WHAT COMMAND...: told, and its output in the log.
run() {
    run_what=$1
    shift
    did "$run_what"
    [ -z "$DRY" ] || return 0
    run_status=0
    "$@" >"$WORK/run" 2>&1 </dev/null || run_status=$?
    sed 's/^/    /' "$WORK/run" >>"$LOG"
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

put_back_one() {
    put_back_what=$(text "$2")
    case $1 in
    file)
        rm -f "$put_back_what.diskshift-new"
        if ! cp -a "$SAVED/$3" "$put_back_what.diskshift-new" ||
            ! mv "$put_back_what.diskshift-new" "$put_back_what"; then
            warn "cannot put $put_back_what back"
        fi
        ;;
    absent) rm -f "$put_back_what" ;;
    # Words that this script quoted itself.
    command) eval "$put_back_what" >>"$LOG" 2>&1 </dev/null ||
        warn "failed: $put_back_what" ;;
    esac
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
    while IFS=$TAB read -r back_kind back_what back_number; do
        put_back_one "$back_kind" "$back_what" "$back_number"
    done <"$WORK/journal"
    rm -rf "$SAVED"
    mkdir -p "$SAVED"
    sync
}
