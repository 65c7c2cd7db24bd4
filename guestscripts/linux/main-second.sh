# SPDX-License-Identifier: Apache-2.0
# element: main-second
# task: base
# phase: main
# needs: core log change arming power machine
# variable: SAME_MACHINE=stay -- what the second script does while the guest is still on its source: stay (nothing, it has not moved yet) or run
# The second script: leaves the source, arrives in the target, settles there.
#
# A boot may end at any moment. `attempt` counts boots in which it began and
# did not come to its end: then it is put back what those left and tried once
# more, after that only put back, told and powered off.

SAME_MACHINE=@SAME_MACHINE@
ATTEMPTS_MAX=2
MEMORY=$STATE/second.d/$SCRIPT
locked=

usage() {
    cat <<'USAGE'
The second script: puts this guest's network back on its new hypervisor.

    --phase leave|arrive|settle|late   what is to be done; init knows when
    --dry-run                          print it, change nothing
    --undo                             put back what it changed
    --help                             this

Exit status: 0 done, 1 failed and put back, 2 usage.
USAGE
}

end_with() {
    trap - EXIT INT TERM HUP
    work_end
    exit "$1"
}

saved_of() {
    SAVED=$STATE/saved/second-$SCRIPT-$1
    [ -n "$DRY" ] || mkdir -p "$SAVED"
}

has_moved() {
    [ "$SAME_MACHINE" != run ] || return 0
    has_moved_from=$(table_system | sed -n "s/^machine$TAB//p")
    [ "$has_moved_from" != "$(field "$(machine_identity)")" ]
}

remember() {
    [ -z "$DRY" ] || return 0
    cp "$WORK/steps" "$MEMORY.steps"
    cp "$WORK/messages" "$MEMORY.messages"
}

recall() {
    [ ! -f "$MEMORY.steps" ] || cp "$MEMORY.steps" "$WORK/steps"
    [ ! -f "$MEMORY.messages" ] || cp "$MEMORY.messages" "$WORK/messages"
}

tables_unpack() {
    for unpack_table in system nics links addresses routes dns files mounts; do
        "table_$unpack_table" >"$WORK/tables/$unpack_table"
    done
}

# One at a time: staged scripts leave by themselves, one after the other. A boot
# that ended took its lock along, wherever that was.
LOCK=/run/diskshift.lock
[ -d /run ] || LOCK=$STATE/.lock

lock_self() {
    printf '%s %s' "$$" "$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)"
}

lock_is_stale() {
    lock_owner=$(cat "$LOCK/owner" 2>/dev/null) || return 1
    [ "${lock_owner#* }" != "$(cat /proc/sys/kernel/random/boot_id \
        2>/dev/null)" ] || [ ! -d "/proc/${lock_owner%% *}" ]
}

lock() {
    lock_count=0
    while ! mkdir "$LOCK" 2>/dev/null; do
        ! lock_is_stale || rm -rf "$LOCK"
        lock_count=$((lock_count + 1))
        [ "$lock_count" -le 900 ] || {
            log_line "another script of ours does not come to its end"
            return 1
        }
        sleep 1
    done
    locked=yes
    lock_self >"$LOCK/owner"
}

unlock() {
    [ -z "$locked" ] || rm -rf "$LOCK"
    locked=
}

# What was left is part of the result, but no reason not to arrive.
remember_leave() {
    [ -z "$DRY" ] || return 0
    sed "s/${TAB}failed\$/${TAB}warned/" "$WORK/steps" >"$MEMORY.left-steps"
    cp "$WORK/messages" "$MEMORY.left-messages"
}

recall_leave() {
    [ ! -f "$MEMORY.left-steps" ] || cp "$MEMORY.left-steps" "$WORK/steps"
    [ ! -f "$MEMORY.left-messages" ] ||
        cp "$MEMORY.left-messages" "$WORK/messages"
}

phase_leave() {
    PHASE=leave
    saved_of leave
    # Whoever waits for the first script's result has it before this begins.
    [ -n "$DRY" ] || sleep 1
    steps_leave
    ! steps_failed || put_back
    result_write
    remember_leave
    sync
}

# What an attempt left that did not come to its end.
count_attempt() {
    attempt=$(($(cat "$MEMORY.attempt" 2>/dev/null || echo 0) + 1))
    [ -z "$DRY" ] || return 0
    echo "$attempt" >"$MEMORY.attempt"
    sync
    [ "$attempt" = 1 ] || {
        log_line "attempt $attempt: the last one did not come to its end"
        put_back
    }
}

phase_arrive() {
    PHASE=arrive
    recall_leave
    saved_of arrive
    count_attempt
    if [ "$attempt" -gt "$ATTEMPTS_MAX" ]; then
        step_begin main-second
        fail "$ATTEMPTS_MAX boots did not come to their end: put back"
        step_end 1
    else
        steps_arrive
    fi
    ! steps_failed || put_back
    remember
    result_write
}

finish() {
    [ -z "$DRY" ] || return 0
    mkdir -p "$STATE/done"
    for finish_script in "$STATE/second.d"/*"-$SCRIPT.sh"; do
        [ ! -f "$finish_script" ] || mv "$finish_script" "$STATE/done/$SCRIPT.sh"
    done
    rm -f "$MEMORY.steps" "$MEMORY.messages" "$MEMORY.attempt" \
        "$MEMORY.left-steps" "$MEMORY.left-messages"
    for finish_script in "$STATE/second.d"/*.sh; do
        [ ! -f "$finish_script" ] || return 0
    done
    SAVED=$STATE/saved/armed
    put_back
    rm -rf "$STATE/second.d" "$RUNNER"
    [ ! -d /run/systemd/system ] || systemctl daemon-reload >/dev/null 2>&1
}

phase_settle() {
    PHASE=settle
    recall
    saved_of settle
    if steps_failed; then
        case " $TASKS " in
        *" power-off "*) power_off_wanted ;;
        esac
    else
        steps_settle
        ! steps_failed || put_back
    fi
    result_write
    result_send
    settle_failed=no
    ! steps_failed || settle_failed=yes
    finish
    sync
}

# rc.local comes after the network: it has to be started anew.
network_restart() {
    if have rc-service; then
        run "start the network anew" rc-service networking restart
    elif [ -x /etc/init.d/networking ]; then
        run "start the network anew" /etc/init.d/networking restart
    elif [ -x /etc/init.d/network ]; then
        run "start the network anew" /etc/init.d/network restart
    elif have ifup && have ifdown; then
        run "stop the network" ifdown -a || :
        run "start the network" ifup -a
    else
        log_line "nothing is known that starts the network anew"
    fi || log_line "the network did not start anew"
}

undo() {
    for undo_phase in settle arrive leave; do
        saved_of "$undo_phase"
        put_back
    done
    undone
}

main() {
    main_phase='' main_wanted=run
    while [ $# -gt 0 ]; do
        case $1 in
        --dry-run) DRY=yes ;;
        --undo) main_wanted=undo ;;
        --phase)
            shift
            main_phase=${1:-}
            ;;
        --help)
            usage
            exit 0
            ;;
        *)
            usage >&2
            exit 2
            ;;
        esac
        shift
    done
    case $main_wanted:$main_phase in
    undo:* | run:leave | run:arrive | run:settle | run:late) ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
    PART=second PHASE=$main_phase STARTED=$(now) settle_failed=no
    need_root
    [ -n "$DRY" ] || mkdir -p "$STATE/second.d" || exit 1
    work_make
    trap 'unlock; work_end' EXIT
    trap 'exit 1' INT TERM HUP
    [ "$main_wanted" != undo ] || undo
    [ -n "$DRY" ] || lock || end_with 1
    tables_unpack
    if [ "$main_phase" != leave ] && ! has_moved; then
        log_line "$main_phase: this is still the source: nothing is done"
        unlock
        end_with 0
    fi
    log_line "second script, job $JOB, $SOURCE to $TARGET, $main_phase, tasks \
$TASKS"
    case $main_phase in
    leave) phase_leave ;;
    arrive) phase_arrive ;;
    settle) phase_settle ;;
    late)
        phase_arrive
        network_restart
        phase_settle
        ;;
    esac
    unlock
    [ ! -f "$WORK/power-off" ] || power_off
    [ "$settle_failed" = no ] || end_with 1
    end_with 0
}

main "$@"
