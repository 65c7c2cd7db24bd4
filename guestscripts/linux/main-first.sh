# SPDX-License-Identifier: Apache-2.0
# element: main-first
# task: base
# phase: main
# needs: core log change arming power record
# The first script: collects, prepares, arms the second, answers, leaves.

usage() {
    cat <<'USAGE'
Collects what is true of this Linux guest, prepares it for its move to another
hypervisor, arms a second script for the next boot.

    --dry-run        print what it would do, change nothing
    --undo           put back what it changed, and disarm
    --print-second   print the second script, change nothing
    --help           this

It leaves a log and its result in /var/lib/diskshift. Exit status: 0 done,
1 failed and put back, 2 usage.
USAGE
}

# The name under which the second script waits: they run by name.
second_name() {
    case $SCRIPT in
    network) echo 10-network ;;
    drivers) echo 20-drivers ;;
    boot) echo 30-boot ;;
    tools-remove) echo 40-tools-remove ;;
    tools-install) echo 50-tools-install ;;
    power-off) echo 90-power-off ;;
    *) echo "60-$SCRIPT" ;;
    esac
}

# What was collected, as functions that print it. A row has tabs in it, the
# end has none: no row can be the end.
carry_tables() {
    for carry_file in "$WORK"/tables/*; do
        printf "table_%s() {\n    cat <<'TABLE_END'\n" "${carry_file##*/}"
        cat "$carry_file"
        printf 'TABLE_END\n}\n'
    done
}

second_script() {
    echo '#!/bin/sh'
    echo '# shellcheck disable=SC2317'
    carry_tables
    second_text
}

prepare_arming() {
    SAVED=$STATE/saved/armed
    [ -n "$DRY" ] || mkdir -p "$SAVED"
    second_script >"$WORK/second"
    put "$STATE/second.d/$(second_name).sh" 700 <"$WORK/second" && arm
}

disarm() {
    SAVED=$STATE/saved/armed
    put_back
    [ -n "$DRY" ] || rm -rf "$STATE/second.d" "$RUNNER"
}

end_with() {
    trap - EXIT INT TERM HUP
    work_end
    exit "$1"
}

give_up() {
    trap - EXIT INT TERM HUP
    log_line "stopped: what was changed is put back"
    saved_begin
    put_back
    end_with 1
}

# It goes on by itself, for who started us may go away before the guest does.
depart() {
    depart_script=$STATE/second.d/$(second_name).sh
    if [ -d /run/systemd/system ] && have systemd-run; then
        systemd-run --quiet --no-block /bin/sh "$depart_script" \
            --phase leave </dev/null >/dev/null 2>&1 && return 0
    fi
    if have setsid; then
        setsid /bin/sh "$depart_script" --phase leave </dev/null \
            >/dev/null 2>&1 &
    else
        nohup /bin/sh "$depart_script" --phase leave </dev/null \
            >/dev/null 2>&1 &
    fi
}

# What the second has changed, here or in the target. Where that did not succeed
# it is kept for the next --undo.
undo_second() {
    undo_done=$STATE/done/$SCRIPT.sh
    for undo_script in "$undo_done" "$STATE/second.d/$(second_name).sh"; do
        [ -f "$undo_script" ] || continue
        set -- --undo
        [ -z "$DRY" ] || set -- --undo --dry-run
        if sh "$undo_script" "$@" >&2; then
            [ -n "$DRY" ] || rm -f "$undo_done"
        else
            warn "not everything is undone: --undo can be told again"
            [ -f "$undo_done" ] || { mkdir -p "$STATE/done" &&
                cp "$undo_script" "$undo_done"; }
        fi
    done
}

undo() {
    undo_second
    disarm
    saved_begin
    put_back
    [ -n "$DRY" ] || rm -f "$STATE/guest.json" "$STATE"/result-*.json
    undone
}

# Its record goes to standard output, everything else to standard error.
answer() {
    result_write
    if [ -n "$DRY" ]; then
        result >"$WORK/result"
    fi
    printf 'diskshift-result %s\n' "$(cat "$WORK/result")"
}

main() {
    main_wanted=run
    for main_word in "$@"; do
        case $main_word in
        --dry-run) DRY=yes ;;
        --undo) main_wanted=undo ;;
        --print-second) main_wanted=print DRY=yes ;;
        --help)
            usage
            exit 0
            ;;
        *)
            usage >&2
            exit 2
            ;;
        esac
    done
    PART=first PHASE=collect STARTED=$(now)
    need_root
    [ -n "$DRY" ] || mkdir -p "$STATE/saved" || exit 1
    work_make
    trap 'work_end' EXIT
    trap give_up INT TERM HUP
    saved_begin
    [ "$main_wanted" != undo ] || undo
    log_line "first script, job $JOB, $SOURCE to $TARGET, tasks $TASKS"
    steps_collect
    if [ "$main_wanted" = print ]; then
        second_script
        end_with 0
    fi
    PHASE=prepare
    steps_failed || {
        record >"$WORK/guest.json" &&
            put "$STATE/guest.json" 600 <"$WORK/guest.json"
        steps_prepare
    }
    steps_failed || {
        step_begin arming
        (prepare_arming)
        step_end $?
    }
    if steps_failed; then
        saved_begin
        put_back
        disarm
        answer
        end_with 1
    fi
    answer
    [ -n "$DRY" ] || depart
    end_with 0
}

main "$@"
