# SPDX-License-Identifier: Apache-2.0
# The result as Markdown: times and ratios, then goals with --arg goals yes.

include "figures";

def ratio: if . == null then "" elif . < 10 then "\(digits(1))"
    else "\(round)" end;
def of($name): map(select(.contestant == $name)) | first;
def cell($name): of($name) | if . == null then "" else
    (.median_seconds | seconds(1)) end;
def spread: "\(.min_seconds | seconds(1)) .. \(.max_seconds | seconds(1))";

"Measured on \(.cores) cores, filesystems on a loop device, "
    + "\(.size_bytes / 1073741824) GiB of data, median of "
    + "\([.pairs[].rounds] | rounds), "
    + "in each of which what takes milliseconds has five turns "
    + "(Linux \(.kernel | split("-")[0]), QEMU \(.qemu)).",
"",
(["", "diskshift", "spread", "without verifying", "qemu-img",
    "times as fast", "qemu-img -C", "cp, copying", "cp --reflink",
    "and tables"] | row),
"|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
(.pairs[] | .ratios as $ratios | .contestants as $all
    | ["\(.filesystem) \(.pair)", ($all | cell("diskshift")),
       ($all | of("diskshift") | spread),
       ($all | cell("diskshift-no-verify")),
       ($all | cell($ratios.qemu_img_way)), "**\($ratios.qemu_img | ratio)**",
       ($all | cell("qemu-img-offload")),
       ($all | [cell("cp-copy"), cell("cp-sparse")] | add),
       ($all | cell("cp-reflink")), ($all | cell("cp-reflink-tables"))] | row),
if $ARGS.named.goals == null then empty else
    "",
    (["goal", "have", "expect", "margin", ""] | row),
    "|---|--:|--:|--:|---|",
    (.goals[] | ["\(.filesystem) \(.pair): \(.goal)", (.have | ratio),
        (.expect | tostring), (.margin | digits(2) | tostring),
        (if .met then "met" else "MISSED" end)] | row)
end
