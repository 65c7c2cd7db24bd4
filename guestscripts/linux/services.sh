# SPDX-License-Identifier: Apache-2.0
# element: services
# task: base
# phase: common
# order: 55
# needs: change
# Services that start at boot, by whichever init there is.

# service_enable NAMES...: those of them that are here; the rest are the names of
# other systems.
service_enable() {
    for service_name in "$@"; do
        if [ -d /run/systemd/system ]; then
            # Others start by themselves (static), or already (enabled).
            case $(systemctl is-enabled "$service_name" 2>/dev/null) in
            disabled) service_on systemctl enable "$service_name" ;;
            enabled | static | indirect)
                did "find $service_name enabled"
                ;;
            masked) warn "$service_name is masked: it does not start" ;;
            esac
        elif [ -x "/etc/init.d/$service_name" ]; then
            if have rc-update; then
                service_on rc-update add "$service_name" default
            elif have chkconfig; then
                service_on chkconfig "$service_name" on
            elif have update-rc.d; then
                service_on update-rc.d "$service_name" defaults
            fi
        fi
    done
}

service_on() {
    run "start $service_name at boot" "$@" ||
        warn "$service_name is not started at boot: see the log"
}
