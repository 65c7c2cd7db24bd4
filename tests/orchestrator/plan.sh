#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Plan files: every value is checked, with its place; options win; init.
. "$(dirname "$0")/../lib/lib.bash"
. "$(dirname "$0")/lib.bash"
. "$(dirname "$0")/fake.bash"
in_fake_namespace "$@"
begin plan
mount=$(fs_make xfs 512M) || exit 1
fake_start
plan=$run/plan.yaml

# wrong WHAT LINE:COLUMN PATTERN <plan
wrong() {
    cat >"$plan"
    status "$1" 2 fake run --plan "$plan"
    said "$1: at its place" "$plan:$2: .*$3"
}

wrong "a key that is not known" 3:3 'backup.polcy: no such key' <<'END'
diskshift: 1
backup:
  polcy: snapshot
END
wrong "a choice that is none" 2:18 'have snap expect snapshot, shutdown or none' <<'END'
diskshift: 1
backup: {policy: snap}
END
wrong "a number out of its range" 2:19 'have 0 expect a number from 1' <<'END'
diskshift: 1
migrate: {tries:  0}
END
wrong "a time" 2:18 'have soon expect seconds' <<'END'
diskshift: 1
wait: {deadline: soon}
END
wrong "a list where a value is due" 2:15 'have a list expect a value' <<'END'
diskshift: 1
source: {uri: [a, b]}
END
wrong "a value where a mapping is due" 2:11 'have a value expect a mapping' <<'END'
diskshift: 1
networks: br0
END
wrong "the same key twice" 3:1 'is said twice' <<'END'
diskshift: 1
jobs: 2
jobs: 3
END
wrong "a relative path" 2:21 'expect a path from /' <<'END'
diskshift: 1
target: {directory: vm}
END
wrong "another version" 1:12 'have 9 expect 1 to 1' <<'END'
diskshift: 9
END
wrong "no version" 1:1 'have nothing expect 1' <<'END'
jobs: 2
END
wrong "no YAML" 2:1 '' <<'END'
diskshift: {1
END
wrong "a VM without a name" 3:3 'needs a name' <<'END'
diskshift: 1
vms:
- {order: 3}
END
wrong "a VM twice" 4:3 'is there twice' <<'END'
diskshift: 1
vms:
- web
- name: web
END
wrong "a VM's own setting" 4:17 'expect yes or no' <<'END'
diskshift: 1
vms:
- name: web
  wait: {start: maybe}
END
printf 'diskshift: 1\nbackup: {policy: x}\nwait: {macs: y}\nfoo: 1\n' >"$plan"
status "all that is wrong" 2 fake run --plan "$plan"
check "is told at once" test "$(grep -c "^diskshift: $plan:" "$run/err")" = 4

status "init writes a plan" 0 fake init --from "$uri" --output "$run/new.yaml"
status "and does not overwrite" 6 fake init --from "$uri" --output "$run/new.yaml"
vm_make web
rm "$run/new.yaml"
status "init of one VM" 0 fake init web --from "$uri" --to "$uri" \
    --directory "$mount/target" --output "$run/new.yaml"
check "it names the VM" grep -q 'name: "web"' "$run/new.yaml"
check "and its network" grep -q '"default": "default"' "$run/new.yaml"
status "what init wrote can be run" 0 fake check --plan "$run/new.yaml" \
    --target-name web-moved
said "check tells what a move would do" 'disk-plan'
status "options win over the plan" 6 fake check --plan "$run/new.yaml" \
    --target-name web-moved --format vhdx
status "a VM that the plan lacks" 2 fake run other --plan "$run/new.yaml"
status "an unknown option" 2 fake run web --nonsense
status "an option's value" 2 fake run web --deadline soon
said "an option's value: what was allowed" 'have soon expect seconds'
status "no VM" 2 fake run --from "$uri" --to "$uri"
status "help" 0 fake --help
check "help: no line beyond 80 columns" \
    test "$(awk 'length > 80' "$run/out" | wc -l)" = 0
check "diskshift migrate is the same" bash -c \
    "'$DISKSHIFT' migrate --help | cmp - '$run/out'"
check "and diskshift help migrate" bash -c \
    "'$DISKSHIFT' help migrate | cmp - '$run/out'"
check "no secret is an option" bash -c \
    "! grep -qiE -- '--[a-z-]*(password|secret|token)' '$run/out'"
finish
