#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Kill -9 at random moments of many conversions, several at a time: the source
# is as it was, the target absent or whole, and the next run clears what is
# left. killed.sh has the same for disks that take longer.
#
#   killed_many.sh [COUNT]    conversions in all (120)
source "$(dirname "$0")/../lib/lib.bash"
source "$(dirname "$0")/../interop/convert.bash"
source "$(dirname "$0")/fault.bash"

count=${1:-120}
lane_count=4

begin killed_many

# One line each: target variant, source, options.
kinds=(
    "vhdx-dynamic b.qcow2"
    "vmdk-sparse b.qcow2 --strategy graft"
    "vmdk-flat a.raw"
    "qcow2 a.raw -o compress=zlib"
    "vmdk-split-sparse c.vmdk"
    "vhd-fixed a.raw"
    "qcow2-v2-4k c.vmdk --force"
    "vmdk-flat b.qcow2 --force"
)

# pause MICROSECONDS, without a process
exec {never}<> <(:)
pause() {
    local seconds
    printf -v seconds '%d.%06d' $(($1 / 1000000)) $(($1 % 1000000))
    read -rt "$seconds" -u "$never" _
}

# What is wrong with TARGET, if it is there. Removed, but for --force.
wrong_target() { # FORMAT TARGET OPTIONS
    [[ -e $2 ]] || {
        [[ $3 != *--force* ]] || echo "the replaced target is lost"
        return
    }
    qemu-img compare -q -f "$(qemu_format "$1")" -F raw "$2" a.raw 2>&1 ||
        echo "$2 is not whole"
    [[ $3 == *--force* ]] || rm -f k.* k-*
}

# lane DIRECTORY COUNT SEED: prints what went wrong; figures into `figures`.
lane() {
    local i line variant source options target format spent begun got partial=0
    local killed=0 done=0 extents=0 files file
    cd "$1" || exit 1
    RANDOM=$3
    for ((i = 0; i < $2; i++)); do
        line=${kinds[$(((i / 10 + $3) % ${#kinds[@]}))]}
        read -r variant source options <<<"$line"
        format=$(format_of "$variant") target=k.$format
        if ((i % 10 == 0)); then
            rm -f k.* k-*
            begun=${EPOCHREALTIME/./}
            # shellcheck disable=SC2086
            convert_to "$variant" "$source" "$target" $options ||
                echo "$line: exit status $?"
            spent=$((${EPOCHREALTIME/./} - begun))
            [[ $options == *--force* ]] || rm -f k.* k-*
        fi
        # shellcheck disable=SC2086
        exec_convert "$variant" "$source" "$target" $options 2>err &
        got=$!
        pause $(((RANDOM * 32768 + RANDOM) % (spent + 1)))
        kill -9 $got 2>/dev/null
        wait $got 2>/dev/null
        case $? in
        0) done=$((done + 1)) ;;
        137) killed=$((killed + 1)) ;;
        *) echo "$line: exit status $?: $(cat err)" ;;
        esac
        files=(k*.partial)
        ((${#files[@]} == 0)) || partial=$((partial + 1))
        ((${#files[@]} <= 2)) || echo "$line: left ${files[*]}"
        # Extents that were named, and no descriptor yet: the next run's to
        # clear, which it knows by their second names.
        files=(k-*.vmdk)
        [[ -e $target ]] || ((${#files[@]} == 0)) || extents=$((extents + 1))
        for file in "${files[@]}"; do
            [[ -e $target || -e $file.partial ]] ||
                echo "$line: left $file, which nothing refers to"
        done
        wrong_target "$format" "$target" "$options"
        ((i % 10 < 9)) && continue
        # The next run is right and clears.
        # shellcheck disable=SC2086
        convert_to "$variant" "$source" "$target" $options 2>err ||
            echo "$line: the next run: exit status $?: $(cat err)"
        wrong_target "$format" "$target" "$options"
        [[ -z $(echo k*.partial) ]] ||
            echo "$line: the next run leaves $(echo k*.partial)"
        rm -f k.* k-*
        [[ $(digest a.raw b.qcow2 c.vmdk) == "$source_digest" ]] ||
            echo "$line: a source has changed"
    done
    echo "$killed $done $partial $extents" >figures
}

# The program itself, so that the signal meets it and not a shell.
exec_convert() {
    local variant=$1 source=$2 target=$3
    shift 3
    # shellcheck disable=SC2086
    exec "$DISKSHIFT" convert -q -O "$(format_of "$variant")" \
        ${our_options[$variant]} "$@" "$source" "$target"
}

mount=$(fs_make xfs 3G)
cd "$mount" || exit 1
mkdisk fragmented 8M 9 a.raw
qemu_make_shuffled qcow2-v2-4k a.raw b.qcow2
qemu_make vmdk-sparse a.raw c.vmdk
sync -f .
source_digest=$(digest a.raw b.qcow2 c.vmdk)
lanes=()
for ((l = 0; l < lane_count; l++)); do
    mkdir "lane$l"
    cp --reflink=always a.raw b.qcow2 c.vmdk "lane$l"
    lane "lane$l" $((count / lane_count)) $((l + 1)) >"lane$l/wrong" 2>&1 &
    lanes+=($!)
done
wait "${lanes[@]}"
wrong=$(cat lane*/wrong | head -n 40)
read -r killed done partial extents < <(cat lane*/figures |
    awk '{ for (i = 1; i <= 4; i++) s[i] += $i }
         END { print s[1], s[2], s[3], s[4] }')
what="$killed killed, $done done before, $lane_count at a time; $partial times \
a .partial was left, $extents times an extent without a descriptor"
if [[ -z $wrong ]]; then
    case_ok "$what: nothing lost"
else
    case_fail "$what" "$wrong"
fi
((killed > count / 3)) ||
    case_fail "given: enough were killed, have $killed of $count"
finish
