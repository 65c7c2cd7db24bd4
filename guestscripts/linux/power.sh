# SPDX-License-Identifier: Apache-2.0
# element: power
# task: base
# phase: common
# order: 35
# needs: log
# variable: GRACE=5 -- seconds between the end of a script and power off, in which its result can be fetched
# Power off, however this system wants to be told.

GRACE=@GRACE@

# Marks this run as one that ends so; see main-first and main-second.
power_off_wanted() {
    [ -n "$DRY" ] || : >"$WORK/power-off"
}

power_off_by() {
    have "$1" && log_line "power off by $*" && "$@" >>"$LOG" 2>&1
}

power_off() {
    case $GRACE in
    '' | *[!0-9]*) sleep 5 ;;
    *) sleep "$GRACE" ;;
    esac
    sync
    if [ -d /run/systemd/system ]; then
        power_off_by systemctl --no-block poweroff && return 0
    fi
    power_off_by poweroff || power_off_by shutdown -h now ||
        power_off_by halt -p ||
        log_line "nothing here powers this guest off: it has to be done by hand"
}
