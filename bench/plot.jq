# SPDX-License-Identifier: Apache-2.0
# The result as a drawing: one bar for each pair, how many times as fast as
# qemu-img convert, on a logarithmic scale.

def left: 230; def width: 420; def step: 26; def decades: 4;
def escape: gsub("&"; "&amp;") | gsub("<"; "&lt;");
def x: if . <= 1 then 0 else (log10 / decades * width | round) end;

[.pairs[] | {name: "\(.filesystem) \(.pair)", ratio: .ratios.qemu_img}] as $bars
| (($bars | length) * step + 50) as $height
| "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"\(left + width + 60)\" "
    + "height=\"\($height)\" font-family=\"sans-serif\" font-size=\"13\">",
"<rect width=\"100%\" height=\"100%\" fill=\"white\"/>",
"<text x=\"\(left)\" y=\"18\">times as fast as qemu-img convert, "
    + "\(.size_bytes / 1073741824) GiB of data</text>",
(range(decades + 1) as $i | ($i * width / decades + left) as $at
    | "<line x1=\"\($at)\" y1=\"28\" x2=\"\($at)\" y2=\"\($height - 18)\" "
        + "stroke=\"#ccc\"/><text x=\"\($at)\" y=\"\($height - 4)\" "
        + "text-anchor=\"middle\">\(pow(10; $i))</text>"),
($bars | to_entries[] | (.key * step + 34) as $y
    | "<text x=\"\(left - 8)\" y=\"\($y + 13)\" text-anchor=\"end\">"
        + "\(.value.name | escape)</text><rect x=\"\(left)\" y=\"\($y)\" "
        + "width=\"\(.value.ratio | x)\" height=\"18\" fill=\"#38c\"/>"
        + "<text x=\"\((.value.ratio | x) + left + 5)\" y=\"\($y + 13)\">"
        + "\(.value.ratio * 10 | round / 10)</text>"),
"</svg>"
