# SPDX-License-Identifier: Apache-2.0
# Sourced after lib/lib.bash and interop/convert.bash.

# convert_to VARIANT SOURCE TARGET [OPTION...]
convert_to() {
    local variant=$1 source=$2 target=$3
    shift 3
    # shellcheck disable=SC2086
    "$DISKSHIFT" convert -q -O "$(format_of "$variant")" \
        ${our_options[$variant]} "$@" "$source" "$target"
}

# Nothing of a target is there, not even a part.
absent() {
    local left
    left=$(echo "${1%.*}"[.-]*)
    [[ -z $left ]] && return
    echo "left: $left"
    return 1
}

# in_background COMMAND...: sets $spawned; `halfway FILE` waits until FILE has
# begun to grow and stops the process there.
halfway() {
    local tries
    for ((tries = 0; tries < 2000; tries++)); do
        if [[ -s $1 ]]; then
            kill -STOP "$spawned" && return 0
        fi
        kill -0 "$spawned" 2>/dev/null || break
        sleep 0.002
    done
    return 1
}
