#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# costs.sh [--record]
#
# What fixed small conversions cost, in figures that do not depend on how fast
# the machine is: instructions from main on (callgrind) and system calls by
# number (strace), memory management apart. More than 5 % over what is recorded
# fails; so does more than 5 % under it, lest the guard goes slack: record anew
# with --record, and say in the commit what made it cheaper or dearer.
source "$(dirname "$0")/../lib/lib.bash"

recorded=$(realpath "$(dirname "$0")")/recorded
record=${1:-}
begin costs
need valgrind strace callgrind_annotate
fragmented=$DS_HELPERS/../../bench/bench_fragmented
mapped=$DS_HELPERS/../../bench/bench_mapped
[[ -x $fragmented && -x $mapped ]] || die "no programs beside $fragmented"
# The same routines of the C library on every processor.
export GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX2_Usable,-AVX512F_Usable,-ERMS,-AVX2,-AVX512F,-AVX512VL,-EVEX
mount=$(fs_make xfs 2G)
cd "$mount" || exit 1

mkdisk dense 256M 1 disk.raw
mkdisk sparse 256M 2 sparse.raw
for format in vmdk vhdx qcow2; do
    qemu-img convert -O "$format" -m 1 -o extent_size_hint=0 disk.raw \
        "disk.$format" 2>/dev/null ||
        qemu-img convert -O "$format" -m 1 disk.raw "disk.$format"
done
"$fragmented" disk.raw fragmented.qcow2 1
cp --reflink=always disk.qcow2 chain0.qcow2
for layer in 1 2 3; do
    qemu-img create -q -f qcow2 -F qcow2 -b "chain$((layer - 1)).qcow2" \
        "chain$layer.qcow2"
    qemu-io -c "write -q -P $layer ${layer}0M 8M" "chain$layer.qcow2"
done
"$DISKSHIFT" convert -q disk.vmdk clone.vhdx
# 21,504 extents, of which a file keeps 16,384 in mind.
"$mapped" disk.raw $((1344 << 20)) many.raw
"$fragmented" many.raw many.qcow2 1
"$DISKSHIFT" convert -q --no-verify --strategy range many.qcow2 pieces.raw
sync -f .

instructions() { # COMMAND...
    rm -f target.* "$run/callgrind"
    valgrind --tool=callgrind --callgrind-out-file="$run/callgrind" \
        --toggle-collect=main "$@" >"$run/log" 2>&1 || {
        cat "$run/log" >&2
        return 1
    }
    awk '$1 == "totals:" || $1 == "summary:" { print $2; exit }' \
        "$run/callgrind"
}

calls() { # COMMAND...
    rm -f target.*
    strace -f -qq -o "$run/strace" \
        -e 'trace=!%memory,futex,set_robust_list,rseq,exit_group' "$@" \
        >/dev/null || return 1
    grep -vcE '\+\+\+|---|resumed>' "$run/strace"
}

# Within 5 %, but a call or two is always allowed.
near() { # HAVE EXPECT
    local room=$(($2 / 20))
    ((room >= 2)) || room=2
    (($1 <= $2 + room && $1 >= $2 - room))
}

cost() { # NAME ARGUMENT...
    local name=$1 metric have expect
    shift
    for metric in instructions calls; do
        have=$("$metric" "$DISKSHIFT" "$@") || {
            case_fail "$name: runs" "diskshift $*"
            return
        }
        if [[ -n $record ]]; then
            printf '%s\t%s\t%s\n' "$name" "$metric" "$have" >>"$run/recorded"
            case_ok "$name: $have $metric"
            continue
        fi
        expect=$(awk -F '\t' -v name="$name" -v metric="$metric" \
            '$1 == name && $2 == metric { print $3 }' "$recorded")
        if [[ -n $expect ]] && near "$have" "$expect"; then
            case_ok "$name: $have $metric, recorded $expect"
        else
            case_fail "$name: $metric" "have $have expect ${expect:-nothing}" \
                "$([[ $metric == instructions ]] &&
                    callgrind_annotate "$run/callgrind" | sed -n 20,45p)"
        fi
    done
}

cost 'vmdk -> vhdx' convert -q -O vhdx disk.vmdk target.vhdx
cost 'vhdx -> qcow2' convert -q -O qcow2 disk.vhdx target.qcow2
cost 'raw -> qcow2' convert -q -O qcow2 disk.raw target.qcow2
cost 'sparse raw -> vmdk' convert -q -O vmdk sparse.raw target.vmdk
cost 'qcow2 -> raw' convert -q -O raw disk.qcow2 target.raw
cost 'vmdk -> vhd dynamic' convert -q -O vhd disk.vmdk target.vhd
cost 'fragmented -> vmdk, a graft' convert -q -O vmdk fragmented.qcow2 target.vmdk
cost 'fragmented -> vhdx, ranges' convert -q -O vhdx fragmented.qcow2 target.vhdx
cost 'chain of four -> vhdx' convert -q -O vhdx chain3.qcow2 target.vhdx
cost 'verify vmdk, its clone' verify disk.vmdk clone.vhdx
cost 'verify raw in 21,504 pieces' verify many.qcow2 pieces.raw
cost 'check qcow2' check disk.qcow2
cost 'map fragmented' map fragmented.qcow2

[[ -z $record ]] || cp "$run/recorded" "$recorded"
finish
