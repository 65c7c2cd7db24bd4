#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Help goes to stdout, exits 0, and lists what the tables hold.
source "$(dirname "$0")/helpers.bash"
setup

verbs=$("$DISKSHIFT" __complete verbs)
formats=$("$DISKSHIFT" __complete values info -f)
writable=$("$DISKSHIFT" __complete values convert -O)

for words in help --help -h; do
    run "diskshift $words" 0 "$words"
    silent err
    for verb in $verbs; do
        said "^  $verb " out
    done
    for format in $formats; do
        said "^  $format " out
    done
    check "no line beyond 80 columns" test "$(awk 'length > 80' out)" = ''
done

for verb in $verbs; do
    [[ $verb == help || $verb == migrate ]] && continue
    run "help $verb" 0 help "$verb"
    silent err
    mv out first
    run "$verb --help" 0 "$verb" --help
    check "both say the same" cmp -s first out
    run "$verb -h with other words" 0 "$verb" some thing -h
    for option in $("$DISKSHIFT" __complete options "$verb"); do
        said "$option" first
    done
    check "no line beyond 80 columns" \
        test "$(awk 'length > 80' first | wc -l)" = 0
done

run "help convert lists the options of every format" 0 help convert
for format in $writable; do
    for key in $("$DISKSHIFT" __complete format-options "$format"); do
        said "^  $format  *${key%=}" out
    done
done
for format in qcow2 raw vhd vhdx vmdk; do
    check "$format can be written" grep -qx $format <<<"$writable"
done

run "version" 0 --version
silent err
check "its form" grep -qE '^diskshift [0-9]+\.[0-9]+\.[0-9]+$' out
finish
