#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The bash completion offers what the tables hold.
here=$(cd "$(dirname "$0")" && pwd)
source "$here/helpers.bash"
setup
ln -s "$DISKSHIFT" diskshift
PATH=$PWD:$PATH
source "$here/../../tools/completion/diskshift"
mkdir folder
touch folder.raw file.raw

# offers WORDS WORD...: the last of WORDS is completed to exactly these.
offers() {
    local expected=$1 have
    shift
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    _diskshift 2>/dev/null
    have=$(printf '%s\n' "${COMPREPLY[@]}" | sort | tr '\n' ' ')
    echo "- $*"
    [[ ${have% } == "$expected" ]] ||
        fail "$*: have '$have' expect '$expected'"
}

offers '--help --version check compare convert guest-script help info map measure migrate plan snapshot-points storage verify' \
    diskshift ''
offers 'compare convert' diskshift co
offers 'plan' diskshift help pl
offers '--require-clone' diskshift plan --req
offers '--target-format --to' diskshift plan --t
offers '--force' diskshift convert --fo
offers '' diskshift plan --fo
offers 'auto graft range' diskshift plan --strategy ''
for option in "convert -O" "info -f" "compare -F" "measure -O"; do
    # shellcheck disable=SC2086 # two words
    offers "$(diskshift __complete values $option | sort | xargs)" \
        diskshift $option ''
done
offers 'vhd vhdx' diskshift measure -O vh
offers 'vhd= vhdx=' diskshift convert --to vh
offers 'cluster_size=' diskshift convert --to qcow2=x -o cl
offers 'cluster_size=' diskshift convert -O qcow2 a b -o cl
offers 'cluster_size=' diskshift convert a b.qcow2 -o cl
offers 'folder' diskshift info --allow-refs fo
offers 'folder folder.raw' diskshift info fo
offers 'file.raw' diskshift info --key-file 'fi'
offers '' diskshift convert --snapshot ''
offers '--other-format --other-key-file --other-member --other-snapshot' \
    diskshift compare --other
offers 'cluster_size=' diskshift measure -O qcow2 -o cl
offers 'file.raw' diskshift convert folder.raw 'fi'
offers '' diskshift convert --growth ''
offers 'content metadata' diskshift convert --verify ''
offers 'ontap' diskshift plan --clone-via ''
offers '--probe' diskshift storage --p
finish
