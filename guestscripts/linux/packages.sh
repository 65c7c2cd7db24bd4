# SPDX-License-Identifier: Apache-2.0
# element: packages
# task: base
# phase: common
# order: 60
# needs: change
# Packages, by whichever manager there is.

package_manager() {
    for package_try in apt-get dnf yum zypper apk pacman; do
        if have "$package_try"; then
            echo "$package_try"
            return 0
        fi
    done
    echo none
}

package_installed() {
    if have dpkg-query; then
        dpkg-query -W -f '${Status}' "$1" 2>/dev/null |
            grep -q ' installed$'
    elif have rpm; then
        rpm -q "$1" >/dev/null 2>&1
    elif have apk; then
        apk info -e "$1" >/dev/null 2>&1
    elif have pacman; then
        pacman -Q "$1" >/dev/null 2>&1
    else
        return 1
    fi
}

# Not for ever: a mirror that does not answer must not keep the guest running.
package_run() {
    package_what=$1
    shift
    if have timeout; then
        run "$package_what" timeout 900 "$@"
    else
        run "$package_what" "$@"
    fi
}

package_remove() {
    case $(package_manager) in
    apt-get)
        package_run "remove $1" env DEBIAN_FRONTEND=noninteractive apt-get \
            -y -o DPkg::Lock::Timeout=120 remove "$1"
        ;;
    dnf) package_run "remove $1" dnf -y remove "$1" ;;
    yum) package_run "remove $1" yum -y remove "$1" ;;
    zypper) package_run "remove $1" zypper -n remove "$1" ;;
    apk) package_run "remove $1" apk del "$1" ;;
    pacman) package_run "remove $1" pacman -R --noconfirm "$1" ;;
    *) return 1 ;;
    esac
}

# A name, or the path of a package's file.
package_install() {
    case $(package_manager) in
    apt-get)
        [ -f "$1" ] || package_run "read the lists of packages" apt-get update ||
            :
        package_run "install $1" env DEBIAN_FRONTEND=noninteractive apt-get \
            -y -o DPkg::Lock::Timeout=120 --no-install-recommends install "$1"
        ;;
    dnf) package_run "install $1" dnf -y install "$1" ;;
    yum) package_run "install $1" yum -y install "$1" ;;
    zypper) package_run "install $1" zypper -n install \
        --allow-unsigned-rpm "$1" ;;
    apk)
        case $1 in
        /*) package_run "install $1" apk add --allow-untrusted "$1" ;;
        *) package_run "install $1" apk add "$1" ;;
        esac
        ;;
    pacman)
        case $1 in
        /*) package_run "install $1" pacman -U --noconfirm "$1" ;;
        *) package_run "install $1" pacman -S --noconfirm "$1" ;;
        esac
        ;;
    *) return 1 ;;
    esac
}

# packages_remove NAMES...: those that are there. Not undone: the lists say
# what was there.
packages_remove() {
    packages_status=0
    for packages_name in "$@"; do
        package_installed "$packages_name" || continue
        package_remove "$packages_name" || {
            warn "$packages_name was not removed: see the log"
            packages_status=1
        }
    done
    return "$packages_status"
}

# packages_install_one NAMES...: the first that can be had.
packages_install_one() {
    for packages_name in "$@"; do
        if package_installed "$packages_name"; then
            did "find $packages_name installed"
            return 0
        fi
    done
    for packages_name in "$@"; do
        ! package_install "$packages_name" || return 0
    done
    warn "none of these could be installed: $*"
}
