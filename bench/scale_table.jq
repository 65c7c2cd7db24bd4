# SPDX-License-Identifier: Apache-2.0
# bench/scale's result as Markdown: a table, then goals with --arg goals yes.

include "figures";

def mebibytes: if . == null then "" else
    . / 1048576 | if . < 10 then "\(digits(1))" else "\(round)" end end;
def ours: .contestants | .diskshift // .verify // .["reads-shared"];
def floor_of: .contestants
    | if .["clones-data"] then [.clones, "clone calls alone, the data\u0027s "
          + (.["clones-data"].median_seconds | seconds(2))]
      elif .["tables-in-place"]
      then [.["tables-in-place"], "its tables, in place; to read them "
          + (.["tables-in-place"].median_read_back_seconds | seconds(2))]
      elif .clones then [.clones, "clone calls alone"]
      elif .tables then [.tables, "its tables"]
      elif .["all-at-once"] then [.["all-at-once"], "all at once"]
      elif .["qemu-img"] then [.["qemu-img"], "qemu-img"]
      elif .["reads-copied"] then [.["reads-copied"], "of a copy"]
      else null end;
def axis: if .part == "size" or .part == "mapped" or .part == "largest"
      or .part == "verify" or .part == "boot"
    then .axis / 1073741824
        | if . < 1024 then "\(.) GiB" else "\(. / 1024) TiB" end
    else .axis end;

"Measured on \(.cores) cores, filesystems on a loop device, median of "
    + "\([.cases[].rounds] | rounds) (Linux \(.kernel | split("-")[0]), QEMU \(.qemu)).",
"",
(["", "", "diskshift", "spread", "without verifying", "beside it", "",
    "CPU", "MiB in memory", "MiB read", "MiB written", "system calls"] | row),
"|---|--:|--:|--:|--:|--:|---|--:|--:|--:|--:|--:|",
(.cases[] | ours as $ours | floor_of as $floor | [
    "\(.filesystem) \(.part), \(.case)", "\(axis)",
    ($ours.median_seconds | seconds(2)),
    "\($ours.min_seconds | seconds(2)) .. \($ours.max_seconds | seconds(2))",
    (.contestants["diskshift-no-verify"].median_seconds | seconds(2)),
    ($floor[0].median_seconds | seconds(2)), ($floor[1] // ""),
    ($ours.median_cpu_seconds | seconds(2)),
    ($ours.resident_bytes_max | mebibytes), ($ours.read_bytes | mebibytes),
    ($ours.written_bytes | mebibytes), "\(.system_calls // "")"] | row),
if $ARGS.named.goals == null then empty else
    "",
    (["goal", "have", "expect at most", "margin", ""] | row),
    "|---|--:|--:|--:|---|",
    (.goals[] | [.goal, "\(.have | digits(3)) \(.unit)",
        "\(.expect | digits(2)) \(.unit)", "\(.margin | digits(2))",
        (if .met then "met" else "MISSED" end)] | row)
end
