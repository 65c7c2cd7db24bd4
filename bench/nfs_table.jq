# SPDX-License-Identifier: Apache-2.0
# The result of bench/nfs as text in Markdown.
def round2: . * 100 | round / 100;
def ms: "\(. * 1000 | round) ms";
def spread: "\(min | round2) to \(max | round2) s";
def ways: [["single", "one per compound, one at a time"],
    ["straight", "together, into the target itself (`lanes=1`)"],
    ["together", "together"]];
def kib: "\(. / 1024 | round) KiB";

"\(.cores) cores, kernel \(.kernel), the server a user-mode Linux on the same machine.",
"",
(if .trips | length > 0 then
    "| 4 GiB, dense, no verification | round trips | sent | received | time |",
    "|---|--:|--:|--:|--:|",
    (.trips[] | "| \(.case) | \(.round_trips) | \(.sent_bytes | kib) | \(.received_bytes | kib) | \(.seconds | ms) |"),
    ""
else empty end),
(.trips[] | select(.case == "disk.vmdk to vhdx")
    | "| of disk.vmdk to vhdx | round trips | operations | sent bytes | received bytes |",
      "|---|--:|--:|--:|--:|",
      (.procedures[] | "| \(.protocol) \(.procedure) | \(.round_trips) | \(.operations) | \(.sent_bytes) | \(.received_bytes) |"),
      ""),
(if .random | length > 0 then
    "| \(.clusters) clusters of 64 KiB in random order | | round trips | flushes by the server | time | spread | times as fast |",
    "|---|---|--:|--:|--:|--:|--:|",
    (.random[] | . as $export | ways[] | $export[.[0]] as $way
        | "| \($export.export) export | \(.[1]) | \($way.round_trips) | \($way.flushes) | \($way.seconds | round2) s | \($way.all_seconds | spread) | \(if $way.times then "**\($way.times | round2)**" else "1" end) |"),
    ""
else empty end),
(.goals[] | "\(if .met then "met" else "MISSED" end): \(.goal) \(.expect), have \(.have | round2)")
