# SPDX-License-Identifier: Apache-2.0
# element: log
# task: base
# phase: common
# order: 10
# needs: core
# variable: REPORT=auto -- where the result goes besides its file: auto (a virtio port of that name), none, or a device
# What happens is said here: to the log, to standard error, to the result.

REPORT=@REPORT@
PORT=/dev/virtio-ports/org.diskshift.report.0
STEP=
PHASE=
PART=

log_line() {
    printf '%s %s\n' "$(now)" "$1" >&2
    [ -n "$DRY" ] || [ ! -d "$STATE" ] ||
        printf '%s %s %s\n' "$(now)" "$PART" "$1" >>"$LOG"
}

log_message() {
    log_line "${STEP:-$SCRIPT}: $1: $2"
    [ -z "$WORK" ] || row "$STEP" "$PHASE" "$1" "$2" >>"$WORK/messages"
}

did() {
    if [ -n "$DRY" ]; then
        log_message would "$1"
    else
        log_message did "$1"
    fi
}

warn() {
    log_message warned "$1"
}

# The step has failed; what follows in it is its own affair.
fail() {
    log_message failed "$1"
}

# step_begin NAME, the step, step_end STATUS: how it ended is kept.
step_begin() {
    STEP=$1
}

step_end() {
    step_status="done"
    if [ "$1" != 0 ] || step_said failed; then
        step_status=failed
        step_said failed || fail "it ended without a word"
    elif step_said warned; then
        step_status=warned
    fi
    row "$STEP" "$PHASE" "$step_status" >>"$WORK/steps"
    STEP=
}

step_said() {
    grep -q "^$STEP$TAB$PHASE$TAB$1$TAB" "$WORK/messages"
}

steps_failed() {
    grep -q "${TAB}failed\$" "$WORK/steps"
}

# result FORM: the record of this run, one line.
result() {
    RESULT_JOB=$JOB RESULT_SCRIPT=$SCRIPT RESULT_PART=$PART \
        RESULT_PHASE=$PHASE RESULT_STARTED=$STARTED RESULT_ENDED=$(now) \
        RESULT_GENERATOR=$GENERATOR RESULT_DRY=$DRY \
        awk "$AWK"'
        function rank(s) {
            return s == "failed" ? 3 : s == "warned" ? 2 : 1
        }
        FNR == 1 { file++ }
        FILENAME == ARGV[1] {
            key = $1 FS $2
            list[key] = list[key] (list[key] == "" ? "" : ",") "{\"level\":" \
                json($3) ",\"text\":" json_field($4) "}"
            next
        }
        {
            key = $1 FS $2
            steps = steps (steps == "" ? "" : ",") "{\"element\":" json($1) \
                ",\"phase\":" json($2) ",\"status\":" json($3) \
                ",\"messages\":[" list[key] "]}"
            if (rank($3) > rank(worst)) worst = $3
        }
        END {
            printf "{\"schema\":1,\"kind\":\"guest-result\",\"generator\":%s,", \
                json(ENVIRON["RESULT_GENERATOR"])
            printf "\"job\":%s,\"script\":%s,", json(ENVIRON["RESULT_JOB"]), \
                json(ENVIRON["RESULT_SCRIPT"])
            printf "\"part\":%s,\"phase\":%s,", json(ENVIRON["RESULT_PART"]), \
                json(ENVIRON["RESULT_PHASE"])
            printf "\"status\":%s,\"dry_run\":%s,", \
                json(worst == "" ? "done" : worst), \
                ENVIRON["RESULT_DRY"] == "" ? "false" : "true"
            printf "\"started\":%s,\"ended\":%s,\"steps\":[%s]}\n", \
                json(ENVIRON["RESULT_STARTED"]), \
                json(ENVIRON["RESULT_ENDED"]), steps
        }' "$WORK/messages" "$WORK/steps"
}

result_write() {
    [ -z "$DRY" ] || return 0
    result >"$WORK/result" &&
        cp "$WORK/result" "$STATE/.result" &&
        mv "$STATE/.result" "$STATE/result-$PART-$SCRIPT.json"
}

# The result to where somebody outside the guest may listen.
result_send() {
    [ -z "$DRY" ] || return 0
    result_port=$REPORT
    [ "$REPORT" != auto ] || result_port=$PORT
    [ "$result_port" != none ] || return 0
    if [ -c "$result_port" ]; then
        printf 'diskshift-result %s\n' "$(cat "$WORK/result")" >"$result_port" ||
            warn "the result did not go to $result_port"
    elif [ "$REPORT" != auto ]; then
        warn "$result_port is no device: the result is in $STATE alone"
    fi
}
