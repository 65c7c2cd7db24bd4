# SPDX-License-Identifier: Apache-2.0
# Samples, one per line, to medians, ratios and goals.

include "figures";

def summary: {
    contestant: .[0].contestant,
    median_seconds: (map(.seconds) | median),
    min_seconds: (map(.seconds) | min),
    max_seconds: (map(.seconds) | max),
    median_flush_seconds: (map(.flush_seconds) | median),
    median_cpu_seconds: (map(.user_seconds + .system_seconds) | median),
    seconds: map(.seconds)
};

# The fastest way to run qemu-img, without copy offload.
def qemu: [.[] | select(.contestant | test("^qemu-img($|-ordered|-direct)"))]
    | min_by(.median_seconds);
def of($name): map(select(.contestant == $name)) | first;
def over($a; $b): if $a == null or $b == null then null
    else $a.median_seconds / $b.median_seconds end;

def ratios: (. | of("diskshift")) as $ours | {
    qemu_img: over(qemu; $ours),
    qemu_img_way: qemu.contestant,
    qemu_img_no_verify: over(qemu; of("diskshift-no-verify")),
    qemu_img_offload: over(of("qemu-img-offload"); $ours),
    cp_copy: over(of("cp-copy"); $ours),
    cp_sparse: over(of("cp-sparse"); $ours),
    cp_sparse_no_verify: over(of("cp-sparse"); of("diskshift-no-verify")),
    of_cp_reflink: over($ours; of("cp-reflink")),
    of_cp_reflink_tables: over($ours; of("cp-reflink-tables"))
};

# A goal: the ratio that must be at least (or at most) `expect`.
def at_least($name; $have; $expect): select($have != null)
    | { goal: $name, have: $have, expect: $expect, margin: ($have / $expect),
        met: ($have >= $expect) };
def at_most($name; $have; $expect): select($have != null)
    | { goal: $name, have: $have, expect: $expect, margin: ($expect / $have),
        met: ($have <= $expect) };

def uncompressed_goals: .ratios as $r | .plan.operations_by_kind as $ops | .pair as $pair
    | ( if $r.cp_sparse != null then empty
        else at_least("times qemu-img convert"; $r.qemu_img;
            if $pair | endswith("-vhd.dynamic") then 50 else 100 end) end,
        at_least("times qemu-img convert -C"; $r.qemu_img_offload;
            if $pair == "raw-qcow2" then 20 else 4 end),
        if $pair | test("-vhd\\.dynamic$|^fragmented") then empty
        else at_most("of cp --reflink with tables";
            $r.of_cp_reflink_tables; 3) end,
        at_least("times cp --sparse=always"; $r.cp_sparse; 1),
        at_least("times cp --sparse=always, --no-verify";
            $r.cp_sparse_no_verify; 1),
        if $r.cp_sparse == null then empty
        else at_least("times qemu-img convert, --no-verify";
            $r.qemu_img_no_verify; 1) end,
        if $pair == "fragmented-vmdk" and $r.cp_sparse == null then
            at_least("one clone of the whole file"; $ops.clone_file; 1),
            at_most("range clones and copies besides";
                ($ops.clone // 0) + ($ops.copy // 0) + 1; 2)
        else empty end );

# Compressed sources and targets. qemu-img does not verify, so it is the
# conversion without that which is compared.
def encoded: if test("^stream-") then 3 elif test("^zlib-") then 2
    elif test("^soft-") then 1.5 else null end;

def goals: if (.pair | encoded) != null then
        at_least("times qemu-img convert, --no-verify";
            .ratios.qemu_img_no_verify; .pair | encoded)
    else uncompressed_goals end;

# How often it was measured: qemu-img has one turn a round.
def rounds: map(select(.kind == "sample"
    and (.contestant | test("^qemu-img($|-ordered|-direct)"))) | .round)
    | max + 1;

def member: . as $all | map(select(.kind == "sample"))
    | group_by(.contestant) | map(summary)
    | { filesystem: $all[0].filesystem, pair: $all[0].pair,
        rounds: ($all | rounds),
        plan: ($all | map(select(.kind == "pair")) | first | .plan),
        contestants: ., ratios: ratios };

# The samples may be of several runs: in the order of a whole one.
def place: (.filesystem as $it | ["xfs", "btrfs", "ext4"] | index($it)),
    (.pair as $it | $order | index("\n\($it) "));

(group_by([.filesystem, .pair]) | sort_by(.[0] | [place]) | map(member)) as $pairs
| { schema: 2, size_bytes: $size, cores: $cores,
    kernel: $kernel, qemu: $qemu, pairs: $pairs,
    goals: [ $pairs[] | {filesystem, pair} + goals ] }
