# SPDX-License-Identifier: Apache-2.0
# element: packages
# task: base
# phase: common
# order: 60
# needs: change
# variable: PACKAGE_SECONDS=600 -- seconds that all work on packages may take, so that no mirror keeps the guest running; systemd allows 1200 for all of the second script
# variable: PACKAGE_WAIT=120 -- seconds to wait for a package manager that another holds
# Packages, by whichever manager there is.
#
# What was removed or installed is noted before it is done, so that put_back does
# the reverse. Nothing goes that was not asked for: a package on which others
# depend stays, and is told.

PACKAGE_SECONDS=@PACKAGE_SECONDS@
PACKAGE_WAIT=@PACKAGE_WAIT@
package_end=

package_manager() {
    for package_try in apt-get dnf yum zypper apk pacman; do
        if have "$package_try"; then
            echo "$package_try"
            return 0
        fi
    done
    echo none
}

# All that there are: state (`installed`, or what dpkg calls a half of that), name,
# version.
package_table() {
    if have dpkg-query; then
        dpkg-query -W -f '${Status} ${Package} ${Version}\n' 2>/dev/null |
            awk 'BEGIN { OFS = "\t" }
                $3 != "not-installed" && $3 != "config-files" { print $3, $4, $5 }'
    elif have rpm; then
        rpm -qa --qf 'installed\t%{NAME}\t%{VERSION}-%{RELEASE}\n' 2>/dev/null
    elif have apk; then
        apk info -v 2>/dev/null | sed -n \
            "s/^\(.*\)-\([0-9][^-]*-r[0-9]*\)\$/installed$TAB\1$TAB\2/p"
    elif have pacman; then
        pacman -Q 2>/dev/null | sed "s/^/installed$TAB/; s/ /$TAB/"
    fi
}

# packages_there STATE PATTERNS...: names of those that are there, in any state
# where it is empty. Patterns as in `case`.
packages_there() {
    there_state=$1
    shift
    package_table | sort -u >"$WORK/packages"
    for there_pattern in "$@"; do
        while IFS=$TAB read -r there_is there_name _; do
            # shellcheck disable=SC2254 # a pattern
            case $there_name in
            $there_pattern)
                [ -n "$there_state" ] && [ "$there_is" != "$there_state" ] ||
                    printf '%s\n' "$there_name"
                ;;
            esac
        done <"$WORK/packages"
    done | awk '!seen[$0]++'
}

package_installed() {
    [ -n "$(packages_there installed "$1")" ]
}

package_version() {
    package_table | awk -F "$TAB" -v name="$1" '$2 == name { print $3; exit }'
}

# package_run WHAT COMMAND...: within the time that is left.
package_run() {
    package_what=$1
    shift
    [ -n "$package_end" ] ||
        package_end=$(($(date +%s) + PACKAGE_SECONDS))
    package_left=$((package_end - $(date +%s)))
    if [ "$package_left" -le 0 ]; then
        echo "no time is left of $PACKAGE_SECONDS seconds" >"$WORK/run"
        return 1
    fi
    if have timeout; then
        set -- timeout "$package_left" "$@"
    fi
    run "$package_what" "$@"
}

# Why the last one failed, in the manager's words. What dpkg says of an error goes
# on in the next line.
package_reason() {
    awk '
        { gsub(/\r/, "") }
        goes_on { said = said $0; goes_on = 0 }
        /^(E: |W: Failed|dpkg: error|[Ee]rror: |ERROR: )/ && n < 2 {
            said = said (n++ ? "; " : "") $0
            goes_on = /:$/
        }
        /[^ ]/ { last = $0 }
        END {
            said = n ? said : last
            print substr(said == "" ? "no answer in time" : said, 1, 300)
        }' "$WORK/run" 2>/dev/null
}

apt_run() {
    apt_what=$1
    shift
    package_run "$apt_what" env DEBIAN_FRONTEND=noninteractive apt-get -y \
        -o "DPkg::Lock::Timeout=$PACKAGE_WAIT" -o Acquire::Retries=1 \
        -o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30 \
        -o Dpkg::Options::=--force-confdef \
        -o Dpkg::Options::=--force-confold --no-install-recommends "$@"
}

# apt-get does not wait for who else reads the lists.
apt_update() {
    apt_waited=0
    while :; do
        apt_run "read the lists of packages" update \
            -o APT::Update::Error-Mode=any && return 0
        grep -q 'Could not get lock' "$WORK/run" || break
        [ "$apt_waited" -lt "$PACKAGE_WAIT" ] || break
        apt_waited=$((apt_waited + 5))
        sleep 5
    done
    warn "the lists of packages were not read: $(package_reason)"
}

# -- removal ------------------------------------------------------------------

# What would go along with these, which are not asked for.
packages_along() {
    [ "$(package_manager)" = apt-get ] || return 0
    apt-get -s remove "$@" 2>/dev/null |
        awk '$1 == "Remv" { sub(/:.*/, "", $2); print $2 }' |
        grep -vxF -f "$WORK/unwanted"
}

# packages_drop NAMES...: 0 when none of them is there any more.
packages_drop() {
    package_along=$(packages_along "$@" | tr '\n' ' ')
    if [ -n "$package_along" ]; then
        echo "these depend on it: $package_along" >"$WORK/run"
        return 1
    fi
    case $(package_manager) in
    apt-get) apt_run "remove $*" remove "$@" ;;
    dnf | yum | zypper) package_run "remove $*" rpm -e "$@" ;;
    apk) package_run "remove $*" apk del "$@" ;;
    pacman) package_run "remove $*" pacman -R --noconfirm "$@" ;;
    *) echo "no package manager is known here" >"$WORK/run" && return 1 ;;
    esac || return 1
    # apk ends well where others depend on what it keeps.
    [ -n "$DRY" ] || [ -z "$(packages_there '' "$@")" ]
}

# packages_remove PATTERNS...: those that are there; what stays is told.
packages_remove() {
    packages_there '' "$@" >"$WORK/unwanted"
    if [ ! -s "$WORK/unwanted" ]; then
        did "find none of these installed: $*"
        return 0
    fi
    while read -r package_name; do
        when_undone package_return "$package_name" \
            "$(package_version "$package_name")"
    done <"$WORK/unwanted"
    # shellcheck disable=SC2046 # names of packages
    ! packages_drop $(cat "$WORK/unwanted") || return 0
    if [ "$(wc -l <"$WORK/unwanted")" = 1 ]; then
        warn "$(cat "$WORK/unwanted") was not removed: $(package_reason)"
        return 0
    fi
    # One of them may keep all: those that can go one by one, go.
    while read -r package_name <&3; do
        [ -z "$(packages_there '' "$package_name")" ] ||
            packages_drop "$package_name" ||
            warn "$package_name was not removed: $(package_reason)"
    done 3<"$WORK/unwanted"
}

# package_return NAME VERSION: what put_back does for one that was removed.
package_return() {
    ! package_installed "$1" || return 0
    case $(package_manager) in
    apt-get)
        apt_run "install $1 $2 again" install \
            --no-remove "$1=$2" || apt_run "install $1 again" install \
            --no-remove "$1"
        ;;
    *) package_get "$1" ;;
    esac
    package_installed "$1" || {
        warn "$1 $2 was removed and cannot be had again: $(package_reason)"
        return 1
    }
}

# -- installation -------------------------------------------------------------

# package_file_name PATH: of the package in it, where that can be told.
package_file_name() {
    if have dpkg-deb; then
        dpkg-deb -f "$1" Package
    elif have rpm; then
        rpm -qp --qf '%{NAME}\n' "$1"
    elif have pacman; then
        pacman -Qp "$1" | sed 's/ .*//'
    elif have apk; then
        tar -xzOf "$1" .PKGINFO | sed -n 's/^pkgname = //p'
    fi 2>/dev/null
}

# package_get NAME-OR-PATH
package_get() {
    case $(package_manager):$1 in
    apt-get:*) apt_run "install $1" install --no-remove "$1" ;;
    dnf:*) package_run "install $1" dnf -y install "$1" ;;
    yum:*) package_run "install $1" yum -y install "$1" ;;
    zypper:*) package_run "install $1" zypper -n install \
        --allow-unsigned-rpm "$1" ;;
    apk:/*) package_run "install $1" apk add --allow-untrusted "$1" ;;
    apk:*) package_run "install $1" apk add "$1" ;;
    pacman:/*) package_run "install $1" pacman -U --noconfirm "$1" ;;
    pacman:*) package_run "install $1" pacman -S --noconfirm "$1" ;;
    *) echo "no package manager is known here" >"$WORK/run" && return 1 ;;
    esac
}

# package_withdraw NAME: what put_back does for one that was installed, and what
# is done when one stays half installed.
package_withdraw() {
    package_end=$(($(date +%s) + 120))
    if have dpkg-query; then
        case $(dpkg-query -W -f '${Status}' "$1" 2>/dev/null) in
        '' | *' not-installed' | *' config-files') return 0 ;;
        esac
        package_run "remove $1" dpkg --force-remove-reinstreq --remove "$1"
    elif package_installed "$1"; then
        printf '%s\n' "$1" >"$WORK/unwanted"
        packages_drop "$1"
    fi || {
        warn "$1 stays, maybe half installed: $(package_reason)"
        return 1
    }
}

# package_try NAME-OR-PATH: 0 when it is there now; else it is as before, and
# $package_failed says why.
package_try() {
    package_name=$1
    case $1 in
    /*)
        package_name=$(package_file_name "$1")
        [ -n "$package_name" ] || {
            package_failed="it is no package that can be read here"
            return 1
        }
        ;;
    esac
    package_installed "$package_name" ||
        when_undone package_withdraw "$package_name"
    package_get "$1" && return 0
    package_failed=$(package_reason)
    package_installed "$package_name" || package_withdraw "$package_name"
    return 1
}

# packages_install_one PATH NAMES...: the package in a file, where the path is not
# empty, else the first of the names that the repository has: they stand for the
# same in different systems.
packages_install_one() {
    if [ -n "$1" ]; then
        ! package_try "$1" || return 0
        warn "$1 was not installed: $package_failed; the repository's is tried"
    fi
    shift
    package_found=$(packages_there installed "$@" | tr '\n' ' ')
    if [ -n "$package_found" ]; then
        did "find ${package_found}installed"
        return 0
    fi
    [ "$(package_manager)" != apt-get ] || apt_update
    package_reasons=
    for package_wanted in "$@"; do
        ! package_try "$package_wanted" || return 0
        package_reasons="$package_reasons; $package_wanted: $package_failed"
    done
    warn "none could be installed: ${package_reasons#; }"
    return 1
}
