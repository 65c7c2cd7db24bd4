# SPDX-License-Identifier: Apache-2.0
# Samples of bench/nfs to one document.

include "figures";

def of($part): map(select(.part == $part));
# The two calls that end a session come after the report.
def trips: .traffic.round_trips + 2;

. as $all
| ($all | of("trips") | map({
    case, seconds, round_trips: trips, operations: .traffic.operations,
    sent_bytes: .traffic.sent_bytes, received_bytes: .traffic.received_bytes,
    procedures: .traffic.procedures
})) as $trips
| def way($export; $way): $all | of("random")
    | map(select(.case == "\($export) \($way)")) as $samples | {
        seconds: ($samples | map(.seconds) | median),
        all_seconds: ($samples | map(.seconds)),
        flushes: ($samples | map(.flushes) | median),
        round_trips: ($samples[0] | trips),
        sent_bytes: $samples[0].traffic.sent_bytes
    };
($all | of("random") | map(.case | split(" ")[0]) | unique | map(. as $export | {
    export: $export,
    single: way($export; "single"),
    straight: way($export; "straight"),
    together: way($export; "together")
} | .straight.times = .single.seconds / .straight.seconds
  | .together.times = .single.seconds / .together.seconds)) as $random
| {
    schema: 1, rounds: $repeat, clusters: $clusters, cores: $cores,
    kernel: $kernel, trips: $trips, random: $random,
    goals: (
        [$trips[] | select(.case == "disk.vmdk to vhdx") | {
            goal: "4 GiB flat VMDK to VHDX: round trips, fewer than",
            have: .round_trips, expect: 50, met: (.round_trips < 50)
        }] + [$random[] | (if .export == "async" then 5 else 1.5 end) as $least
        | {
            goal: "\($clusters) clusters, \(.export): times as fast together",
            have: .together.times, expect: $least,
            met: (.together.times >= $least)
        }])
}
