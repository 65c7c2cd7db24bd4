#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Wrong words: status 2, a message on stderr, nothing on stdout.
source "$(dirname "$0")/helpers.bash"
setup
raw_image a.raw 4

wrong() {
    local what=$1 message=$2
    shift 2
    run "$what" 2 "$@"
    silent out
    prefixed
    said "$message" err
}

wrong "no verb" 'expect a verb'
wrong "unknown verb" 'unknown verb shift' shift a b
wrong "unknown option before the verb" 'unknown option --json' --json
wrong "help for an unknown verb" 'unknown verb shift' help shift
wrong "info without a file" 'expect SOURCE' info
wrong "info with two files" 'unexpected b' info a.raw b
wrong "an empty name" 'empty' info ''
wrong "unknown option" 'unknown option --colour' info --colour a.raw
wrong "unknown letter" 'unknown option -z' map -z a.raw
wrong "no abbreviations" 'unknown option --js' info --js a.raw
wrong "an option of another verb" 'unknown option --force' info --force a.raw
wrong "a value where none is taken" 'takes no value' info --json=1 a.raw
wrong "a value that is missing" 'expect FMT' info a.raw -f
wrong "a value that is empty" 'empty' info --source-format= a.raw
wrong "unknown source format" 'unknown format' info -f floppy a.raw
wrong "refs both ways" 'exclude each' info --no-refs --allow-refs . a.raw
wrong "convert without a target" 'expect SOURCE and TARGET' convert a.raw
wrong "target format not in its name" 'the ending of b.disk' \
    convert a.raw b.disk
wrong "target format not in a directory's name" 'the ending of ./d.raw/b' \
    convert a.raw ./d.raw/b
wrong "unknown target format" 'have floppy expect one of' \
    convert -O floppy a.raw b
wrong "--to without a path" 'expect FORMAT=PATH' convert --to raw a.raw
wrong "--to with an empty path" 'expect FORMAT=PATH' convert --to raw= a.raw
wrong "--to with a target" 'no TARGET' convert --to raw=b a.raw c.raw
wrong "several sources for a target of one disk" \
    'b.qcow2: .* holds one disk, have 2 SOURCEs' convert a.raw a.raw b.qcow2
wrong "several sources for a target of one disk among others" \
    'b: .* holds one disk, have 2 SOURCEs' \
    plan --to ova=b.ova --to raw=b a.raw a.raw
wrong "several sources, a target without a format" 'the ending of a.disk' \
    convert a.raw a.raw a.disk
wrong "measure of several sources" 'unexpected' measure -O ova a.raw . a.raw
wrong "--to with -O" 'exclude each' convert --to raw=b -O raw a.raw
wrong "-o before --to" 'before the first --to' \
    convert -o size=1 --to raw=b a.raw
wrong "-o that is no pair" 'expect key=value' convert -o size a.raw b.raw
wrong "-o with a comma before nothing" "have '' expect key=value" \
    convert -o compat=1.1, a.raw b.qcow2
wrong "-o with a comma in a value" "have '2M' expect key=value" \
    convert -o cluster_size=64k,2M a.raw b.qcow2
wrong "-o without a key" 'expect key=value' convert -o =1 a.raw b.raw
wrong "an option that the format does not have" 'no_such_option' \
    convert -o no_such_option=1 a.raw b.qcow2
wrong "unknown strategy" 'expect auto, range or graft' \
    plan --strategy fast a.raw b.qcow2
wrong "growth that is no number" 'expect a number' \
    convert --growth ten a.raw b.raw
wrong "growth below 0" 'expect a number' convert --growth -1 a.raw b.raw
wrong "progress to a closed descriptor" 'not open' \
    convert --progress=47 a.raw b.raw
wrong "progress to a descriptor to read" 'not open to write' \
    convert --progress=0 a.raw b.raw
wrong "verify with one file" 'expect SOURCE and TARGET' verify a.raw
wrong "compare with one file" 'expect two images' compare a.raw
wrong "compare with three files" 'unexpected c' compare a.raw b.raw c
wrong "--strict is not verify's" 'unknown option --strict' \
    verify --strict a.raw a.raw
wrong "check without a file" 'expect SOURCE' check
wrong "measure without a format" 'expect -O' measure a.raw
wrong "measure into two directories" 'unexpected b' measure -O raw a.raw . b
wrong "measure of an unknown format" 'have floppy expect one of' \
    measure -O floppy a.raw
wrong "measure with an option that the format does not have" \
    'no_such_option' measure -O qcow2 -o no_such_option=1 a.raw
wrong "snapshot-points of a snapshot" 'unknown option --snapshot' \
    snapshot-points --snapshot one a.raw
wrong "a snapshot of what has none" 'has no internal snapshots' \
    info --snapshot one a.raw
wrong "a snapshot without a name" 'empty' info --snapshot= a.raw
check "nothing was made" test "$(ls)" = "$(printf 'a.raw\nerr\nout')"

echo "- '--' ends the options"
cp a.raw ./--json
run "a file named like an option" 0 info -- --json
said 'guest size' out
finish
