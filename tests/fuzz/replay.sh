#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Takes corpus and regressions through the harness:
#
#   replay.sh FUZZ_REPLAY FORMAT...
set -euo pipefail
shopt -s nullglob

here=$(cd "$(dirname "$0")" && pwd)
replay=$1
shift
status=0
for format in "$@"; do
    inputs=("$here/corpus/$format"/* "$here/regressions/$format"-*)
    [[ $format != convert ]] || inputs+=("$here"/corpus/*/*)
    ((${#inputs[@]} > 0)) || {
        echo "fuzz.replay: $format: no inputs" >&2
        status=1
        continue
    }
    "$replay" "$format" "${inputs[@]}" || {
        echo "fuzz.replay: $format: failed; with -v it says at which input" >&2
        "$replay" -v "$format" "${inputs[@]}" 2>&1 | tail -n 5 >&2 || true
        status=1
    }
done
exit "$status"
