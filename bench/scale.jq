# SPDX-License-Identifier: Apache-2.0
# bench/scale's samples, one per line, to medians and goals.

include "figures";

def summary: {
    key: .[0].contestant,
    value: {
        median_seconds: (map(.seconds) | median),
        min_seconds: (map(.seconds) | min),
        max_seconds: (map(.seconds) | max),
        median_flush_seconds: (map(.flush_seconds) | median),
        median_read_back_seconds:
            (map(.read_back_seconds // empty) | median),
        median_cpu_seconds: (map(.user_seconds + .system_seconds) | median),
        resident_bytes_max: (map(.resident_bytes_max) | max),
        read_bytes: (map(.read_bytes) | max),
        written_bytes: (map(.written_bytes) | max),
        calls: (map(.calls) | max),
        seconds: map(.seconds)
    } | del(.[] | nulls)
};

def member: . as $all | .[0] | {
    filesystem, part, case, axis,
    rounds: ($all | map(.round // 0) | max + 1),
    plan: ($all | map(.plan // empty) | first),
    system_calls: ($all | map(.system_calls // empty) | first),
    contestants: ($all | map(select(.kind == "sample"))
        | group_by(.contestant) | map(summary) | from_entries)
};

def seconds($name): .contestants[$name].median_seconds;
def name: "\(.filesystem) \(.part), \(.case)";

# Each goal is a figure that must not be larger than `expect`.
def at_most($name; $unit; $have; $expect): select($have != null)
    | { goal: $name, unit: $unit, have: $have, expect: $expect,
        margin: ($expect / $have), met: ($have <= $expect) };

# A second, or where the tables are large 1.5 times what writing them takes.
def mapped_goal: select(.part == "mapped")
    | at_most(name; "s"; seconds("diskshift");
        [1, 1.5 * seconds("tables")] | max);
def largest_goal: select(.part == "largest")
    | at_most(name; "s"; seconds("diskshift"); 3);
def verify_goal: select(.part == "verify")
    | at_most(name; "s"; seconds("verify"); 1);
# Of few extents the calls take as long as the flush: from 16384 on.
def clones_goal: select(.contestants.clones != null)
    | select(.part == "dynamic" or .axis >= 16384)
    | (if .part == "dynamic" then 1.3 else 1.2 end) as $expect
    | at_most(name + ", \(.axis): of the clone calls alone"; "times";
        seconds("diskshift") / seconds("clones"); $expect),
      at_most(name + ", \(.axis): the same, --no-verify"; "times";
        seconds("diskshift-no-verify") / seconds("clones"); $expect);
def crowd_goal($cores): select(.part == "crowd")
    | at_most(name + ", \(.axis) at once: of the ideal"; "times";
        seconds("all-at-once") / (seconds("diskshift") * .axis / $cores); 1.3);

# A series: the cases that differ by their axis alone. Verification also reads
# the tables from storage.
def flat_goal: select(.[0].part == "size" and length >= 2)
    | sort_by(.axis) as $series
    | def written: seconds("tables-in-place") // 0;
      def read: .contestants["tables-in-place"]
        | .median_read_back_seconds // 0;
      def growth($who; tables): . as $case
        | seconds($who) / ($series[0] | seconds($who) + ($case | tables));
      def flat($who; tables; $text):
        select(all($series[]; seconds($who) != null)) | $series[1:]
        | max_by(growth($who; tables))
        | at_most(name + ", \(.axis / 1073741824) GiB: of the smallest and "
            + $text; "times"; growth($who; tables); 1.5);
    flat("diskshift"; written + read; "the tables, written and read"),
    flat("diskshift-no-verify"; written; "the tables, --no-verify");
def linear_goal: select(.[0].part == "extents" and length >= 3)
    | sort_by(.axis) | .[-2:] as [$less, $most] | $most
    | at_most(name + ", \(.axis): each extent, of what it takes at a quarter";
        "times"; (seconds("diskshift") / .axis) /
        ($less | seconds("diskshift") / .axis); 1.3);

def memory_goal: group_by(.filesystem)[]
    | at_most("\(.[0].filesystem), all parts: peak memory"; "MiB";
        ([.[].contestants | to_entries[]
            | select(.key | test("^(diskshift|verify|all-at-once)"))
            | .value.resident_bytes_max] | max) / 1048576; 48);

# The samples may be of several runs: in the order of a whole one.
def place: (.filesystem as $it | ["xfs", "btrfs"] | index($it)),
    (.part as $it | $order | index(if $it == "verify" then "mapped" else $it end)),
    .at;

[to_entries[] | .value + {at: .key}]
| group_by([.filesystem, .part, .case, .axis]) | sort_by(.[0] | [place])
| map(member) as $cases
| { schema: 2, cores: $cores, kernel: $kernel, qemu: $qemu,
    cases: $cases,
    goals: [
        ($cases[] | mapped_goal, largest_goal, verify_goal, clones_goal,
            crowd_goal($cores)),
        ($cases | group_by([.filesystem, .part, .case])[]
            | flat_goal, linear_goal),
        ($cases | memory_goal)
    ] }
