#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What the compiler and linker were asked for, read out of the program and of
# the library. HARDENED comes from CMake: whether they were, and how.
source "$(dirname "$0")/helpers.bash"
setup
need readelf objdump nm

[[ ${HARDENED:-} == yes ]] || skip "built without, or with sanitizers"
library=$(dirname "$DISKSHIFT")/../libdiskshift.so

disassembled() {
    objdump -d --no-show-raw-insn "$1" >code
}

for file in "$DISKSHIFT" "$library"; do
    readelf -hldW "$file" >facts
    nm -D "$file" >symbols
    disassembled "$file"
    name=$(basename "$file")
    check "$name: at any address" grep -q 'Type: *DYN' facts
    check "$name: relocations are read-only" grep -q GNU_RELRO facts
    check "$name: all of them, bound at the start" grep -qE 'BIND_NOW|NOW' facts
    check "$name: no code on the stack" grep -qE 'GNU_STACK.* RW ' facts
    check "$name: nothing to write and execute" \
        test -z "$(grep -E '^ +LOAD.* (RWE|WE)' facts)"
    check "$name: no relocations in code" test -z "$(grep TEXTREL facts)"
    check "$name: looks for no libraries of its own" \
        test -z "$(grep -E 'RPATH|RUNPATH' facts)"
    check "$name: canaries on the stack" grep -q __stack_chk_fail symbols
    check "$name: bounds are checked" grep -qE '__(memcpy|snprintf)_chk' symbols
    if [[ $(uname -m) == x86_64 ]]; then
        check "$name: calls land where they may" \
            test "$(grep -c endbr64 code)" -gt 100
        check "$name: the stack grows page by page" \
            grep -qE '(or[ql]) +\$0x0,.*\(%rsp' code
    fi
done
check "the program is PIE" grep -q 'Flags:.*PIE' <(readelf -dW "$DISKSHIFT")
finish
