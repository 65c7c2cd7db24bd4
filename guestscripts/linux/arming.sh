# SPDX-License-Identifier: Apache-2.0
# element: arming
# task: base
# phase: common
# order: 30
# needs: change
# How the second script comes to run at the next boot, once, and no more.
#
# What starts it depends on the init: two services, `arrive` before the network
# and `settle` after it; where a boot has but one place for us, both there. All
# of it is files and links, so that to disarm is to put back.

RUNNER=$STATE/second

init_kind() {
    if [ -d /run/systemd/system ]; then
        echo systemd
    elif [ -d /run/openrc ] || [ -x /sbin/openrc ]; then
        echo openrc
    else
        echo sysv
    fi
}

# Runs every second script in its order; what init starts.
runner_text() {
    cat <<'RUNNER_END'
#!/bin/sh
# Made by diskshift for one boot: runs the second scripts, then goes away.
for script in /var/lib/diskshift/second.d/*.sh; do
    [ ! -f "$script" ] || sh "$script" --phase "$1"
done
exit 0
RUNNER_END
}

# unit PHASE LINES...: a systemd service
unit() {
    unit_phase=$1
    shift
    {
        echo '[Unit]'
        echo "Description=diskshift: $unit_phase"
        printf '%s\n' "$@"
        echo "RequiresMountsFor=$STATE"
        echo "ConditionPathExists=$RUNNER"
        echo
        echo '[Service]'
        echo 'Type=oneshot'
        echo "ExecStart=/bin/sh $RUNNER $unit_phase"
        echo 'TimeoutStartSec=1200'
        echo 'KillMode=process'
    } | put "/etc/systemd/system/diskshift-$unit_phase.service" 644
}

arm_systemd() {
    unit arrive \
        'DefaultDependencies=no' \
        'Wants=network-pre.target systemd-udev-settle.service' \
        'After=local-fs.target systemd-udev-settle.service systemd-udevd.service systemd-tmpfiles-setup.service' \
        'Before=network-pre.target network.target networking.service' \
        'Before=ifupdown-pre.service systemd-networkd.service' \
        'Before=NetworkManager.service wickedd.service wicked.service network.service' \
        'Before=cloud-init-local.service' \
        'Conflicts=shutdown.target' \
        'Before=shutdown.target' &&
        unit settle \
            'Wants=network-online.target' \
            'After=network.target network-online.target' &&
        put_link ../diskshift-arrive.service \
            /etc/systemd/system/sysinit.target.wants/diskshift-arrive.service &&
        put_link ../diskshift-settle.service \
            /etc/systemd/system/multi-user.target.wants/diskshift-settle.service
}

# The runlevel in which the network is started, or the one before it. Debian has
# all of rcS.d, the network too, in `sysinit`, and goes on to `default`, with which
# what is in `boot` comes: too late.
openrc_runlevel() {
    if [ -e /etc/runlevels/sysinit/mountall.sh ]; then
        echo sysinit
    else
        echo boot
    fi
}

arm_openrc() {
    for arm_phase in arrive settle; do
        {
            echo '#!/sbin/openrc-run'
            echo "description=\"diskshift: $arm_phase\""
            echo 'depend() {'
            if [ "$arm_phase" = settle ]; then
                echo '    after *'
            else
                if [ "$(openrc_runlevel)" = sysinit ]; then
                    echo '    need mountall'
                    echo '    after mountall-bootclean procps'
                else
                    echo '    need localmount'
                fi
                echo '    after hwdrivers modules udev udev-settle udev-trigger'
                echo '    before net networking NetworkManager'
            fi
            echo '}'
            echo 'start() {'
            echo "    /bin/sh $RUNNER $arm_phase"
            echo '}'
        } | put "/etc/init.d/diskshift-$arm_phase" 755 || return 1
    done
    put_link /etc/init.d/diskshift-arrive \
        "/etc/runlevels/$(openrc_runlevel)/diskshift-arrive" &&
        put_link /etc/init.d/diskshift-settle \
            /etc/runlevels/default/diskshift-settle
}

# sysv_script PHASE PRIORITY NEEDS BEFORE LEVELS: with a head that insserv and
# chkconfig read
sysv_script() {
    cat <<SCRIPT_END
#!/bin/sh
# chkconfig: 2345 $2 99
# description: diskshift: $1
### BEGIN INIT INFO
# Provides:          diskshift-$1
# Required-Start:    $3
# Required-Stop:
# X-Start-Before:    $4
# Default-Start:     $5
# Default-Stop:
# Short-Description: diskshift: $1
### END INIT INFO
case \${1:-start} in
start) /bin/sh $RUNNER $1 ;;
esac
SCRIPT_END
}

# RHEL up to 6: numbered links, which nothing sorts anew.
arm_numbered() {
    sysv_script arrive 08 '' '' '' |
        put /etc/rc.d/init.d/diskshift-arrive 755 &&
        sysv_script settle 99 '' '' '' |
        put /etc/rc.d/init.d/diskshift-settle 755 || return 1
    for arm_level in 2 3 4 5; do
        put_link ../init.d/diskshift-arrive \
            "/etc/rc.d/rc$arm_level.d/S08diskshift-arrive" &&
            put_link ../init.d/diskshift-settle \
                "/etc/rc.d/rc$arm_level.d/S99zdiskshift-settle" || return 1
    done
}

# Debian's: update-rc.d orders the links by the scripts' heads.
arm_ordered() {
    when_undone run "diskshift-arrive no more starts at boot" \
        update-rc.d -f diskshift-arrive remove
    when_undone run "diskshift-settle no more starts at boot" \
        update-rc.d -f diskshift-settle remove
    # shellcheck disable=SC2016 # insserv's names
    sysv_script arrive 08 '$local_fs' networking S |
        put /etc/init.d/diskshift-arrive 755 &&
        sysv_script settle 99 '$all' '' '2 3 4 5' |
        put /etc/init.d/diskshift-settle 755 &&
        run "start diskshift-arrive at boot" \
            update-rc.d diskshift-arrive defaults &&
        run "start diskshift-settle at boot" \
            update-rc.d diskshift-settle defaults
}

# No order at all: rc.local, which comes last and has to start the network
# anew.
arm_local() {
    arm_file=/etc/rc.local
    [ ! -f /etc/rc.d/rc.local ] || arm_file=/etc/rc.d/rc.local
    if [ ! -f "$arm_file" ] && [ ! -f /etc/inittab ]; then
        fail "neither systemd nor OpenRC nor System V: nothing can be armed"
        return 1
    fi
    {
        echo '#!/bin/sh'
        echo "/bin/sh $RUNNER late # diskshift"
        [ ! -f "$arm_file" ] ||
            grep -v -e '# diskshift$' "$arm_file" | sed '1{/^#!/d;}'
    } >"$WORK/local"
    put "$arm_file" 755 <"$WORK/local"
}

arm() {
    runner_text | put "$RUNNER" 700 || return 1
    case $(init_kind) in
    systemd) arm_systemd ;;
    openrc) arm_openrc ;;
    *)
        if [ -d /etc/rc.d/rc3.d ] && [ ! -d /etc/rcS.d ]; then
            arm_numbered
        elif have update-rc.d && [ -d /etc/rcS.d ]; then
            arm_ordered
        else
            arm_local
        fi
        ;;
    esac
}
