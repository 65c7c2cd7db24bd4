#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Images cut off anywhere: an error that names file and offset, or, when only
# what the guest does not see was cut off, the whole disk. Never other data.
source "$(dirname "$0")/../lib/lib.bash"
source "$(dirname "$0")/../interop/convert.bash"
source "$(dirname "$0")/fault.bash"

begin truncated
mount=$(fs_make xfs 2G)
cd "$mount" || exit 1
RANDOM=4711

# Borders of tables are multiples of these; the rest is chance.
cuts() { # SIZE
    local unit
    for unit in 512 1024 4096 65536 1048576; do
        echo $unit $((unit + 512)) $((unit * 2)) $((unit * 3)) \
            $((unit * 3 + 512)) $((unit * 4)) $(($1 - unit))
    done | tr ' ' '\n'
    printf '%s\n' 0 1 511 513 $(($1 - 1)) $(($1 - 513)) $(($1 - 8192))
    for unit in {1..15}; do
        echo $(((RANDOM * 32768 + RANDOM) % $1))
    done
}

# cut FORMAT SOURCE WHICH_FILE: WHICH_FILE, one of the image's, is shortened.
cut_everywhere() {
    local size at command status whole=0 refused=0 bad=0 image
    size=$(stat -c %s "$3")
    image=cut/$2
    while read -r at; do
        ((at >= 0 && at < size)) || continue
        rm -rf cut target.raw
        mkdir cut
        image_files "$2" | xargs -I{} cp --reflink=always {} cut/
        truncate -s "$at" "cut/$3"
        command="$DISKSHIFT convert -q -f $1 -O raw $image target.raw"
        timeout 60 $command >"$run/out" 2>"$run/err"
        status=$?
        case $status in
        0)
            whole=$((whole + 1))
            cmp -s guest.raw target.raw && continue
            case_fail "$2: $3 cut to $at: other data" "command: $command"
            ;;
        3 | 4)
            refused=$((refused + 1))
            [[ ! -e target.raw && ! -e target.raw.partial ]] &&
                grep -q "^diskshift: cut/.*$1: " "$run/err" &&
                { ((status == 3)) ||
                    grep -qE 'offset 0x|descriptor' "$run/err"; } &&
                continue
            case_fail "$2: $3 cut to $at" "command: $command" \
                "expect a message with file, offset and format:" \
                "$(cat "$run/err")"
            ;;
        *)
            case_fail "$2: $3 cut to $at: exit $status, expect 4" \
                "command: $command" "$(head -c 1000 "$run/err")"
            ;;
        esac
        bad=$((bad + 1))
    done < <(cuts "$size" | sort -un)
    ((bad > 0 || refused == 0)) ||
        case_ok "$2: $3 cut off: $refused refused, $whole whole"
    ((refused > 0)) || case_fail "$2: no cut of $3 was refused"
}

mkdisk sparse $((6 * 1024 * 1024 + 512 * 7)) 1 guest.raw
for variant in "${variants[@]}"; do
    [[ $variant != raw ]] || continue
    format=$(format_of "$variant")
    for maker in qemu ours; do
        source=$maker.$variant.$format
        if [[ $maker == qemu ]]; then
            qemu_make "$variant" guest.raw "$source"
        else
            convert_to "$variant" guest.raw "$source"
        fi || case_fail "$maker makes $variant"
        sync "$source"
        while read -r file; do
            cut_everywhere "$format" "$source" "$file"
        done < <(image_files "$source")
    done
done
finish
