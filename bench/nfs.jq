# SPDX-License-Identifier: Apache-2.0
# Samples of bench/nfs to one document.
def median: sort | if length == 0 then null else .[length / 2 | floor] end;
def of($part): map(select(.part == $part));
# The two calls that end a session come after the report.
def trips: .traffic.round_trips + 2;

. as $all
| ($all | of("trips") | map({
    case, seconds, round_trips: trips, operations: .traffic.operations,
    sent_bytes: .traffic.sent_bytes, received_bytes: .traffic.received_bytes,
    procedures: .traffic.procedures
})) as $trips
| ($all | of("random") | group_by(.case | split(" ")[0]) | map(
    (.[0].case | split(" ")[0]) as $export
    | map(select(.case == "\($export) together")) as $together
    | map(select(.case == "\($export) single")) as $single
    | {
        export: $export,
        together_seconds: ($together | map(.seconds)),
        single_seconds: ($single | map(.seconds)),
        together: {
            seconds: ($together | map(.seconds) | median),
            round_trips: ($together[0] | trips),
            sent_bytes: $together[0].traffic.sent_bytes
        },
        single: {
            seconds: ($single | map(.seconds) | median),
            round_trips: ($single[0] | trips),
            sent_bytes: $single[0].traffic.sent_bytes
        }
    }
    | .times = (.single.seconds / .together.seconds)
)) as $random
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
            have: .times, expect: $least, met: (.times >= $least)
        }])
}
