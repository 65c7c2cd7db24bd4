# SPDX-License-Identifier: Apache-2.0
# Sourced by bench/scale: its result as drawings.

# points FILTER: "axis median min max" of each sample that the filter lets out.
points() {
    jq -r ".cases[] | $1
        | \"\(.x) \(.median_seconds) \(.min_seconds) \(.max_seconds)\"" \
        <<<"$result"
}

# ticks: the places on the x axis where there are points, named as one says
# them, from lines of points.
ticks() {
    awk -v unit="$1" '
        NF == 4 && !($1 in seen) {
            seen[$1] = 1
            text = $1
            if (unit == "bytes")
                text = $1 < 2 ^ 40 ? $1 / 2 ^ 30 " GiB" : $1 / 2 ^ 40 " TiB"
            printf "%s\"%s\" %s", sep, text, $1
            sep = ", "
        }'
}

# draw FILE TITLE XLABEL SERIES...: a line for each series, "name<TAB>filter".
draw() {
    local file=$1 title=$2 label=$3 series lines plots= data= style=0
    shift 3
    for series in "$@"; do
        style=$((style + 1))
        lines=$(points "${series#*$'\t'}")
        [[ -n $lines ]] || continue
        data+=$lines$'\ne\n'
        plots+=${plots:+, }"'-' using 1:2:3:4 with yerrorlines linestyle $style"
        plots+=" title '${series%%$'\t'*}'"
    done
    [[ -n $plots ]] || return 0
    gnuplot <<END
set terminal ${draw_terminal:-svg size 960,460 background 'white' font 'sans,13'}
set output '$file'
set title '$title'
set xlabel '$([[ $label == bytes ]] && echo "size of the disk" || echo "$label")'
set ylabel 'time, median with the shortest and the longest'
set logscale xy
set xtics ($(ticks "$label" <<<"$data"))
set xrange [*:*] noextend
set offsets graph 0.04, graph 0.04, graph 0.06, graph 0.06
set ytics ('1 ms' 1e-3, '10 ms' 1e-2, '0.1 s' 0.1, '1 s' 1, '10 s' 10, \
    '100 s' 100)
set style line 1 linecolor rgb '#1b5e9e' linewidth 2 pointtype 7
set style line 2 linecolor rgb '#c23b22' linewidth 2 pointtype 5
set style line 3 linecolor rgb '#c23b22' linewidth 1 dashtype 2 pointtype 4
set style line 4 linecolor rgb '#2e7d32' linewidth 2 pointtype 9
set style line 5 linecolor rgb '#2e7d32' linewidth 1 dashtype 2 pointtype 8
set key outside right center reverse Left samplen 2
set grid
plot $plots
$data
END
}

# series PART CONTESTANT PATTERN: the filter of a line.
series() {
    printf '%s' "select(.part == \"$1\" and .filesystem == \"$filesystem\"" \
        " and (.case | test(\"$3\")))" \
        " | .axis as \$x | .contestants[\"$2\"] // empty | . + {x: \$x}"
}

draw_scale() {
    local out=$1 tab=$'\t' size
    mkdir -p "$out"
    for filesystem in $(jq -r '[.cases[].filesystem] | unique[]' <<<"$result"); do
        draw "$out/scale-size-$filesystem.svg" \
            "1024 extents, whatever the size ($filesystem)" 'bytes' \
            "to raw$tab$(series size diskshift raw$)" \
            "to qcow2$tab$(series size diskshift qcow2)" \
            "tables of qcow2 alone$tab$(series size tables-in-place qcow2)" \
            "to VHDX$tab$(series size diskshift vhdx)" \
            "tables of VHDX alone$tab$(series size tables-in-place vhdx)"
        for size in 64 1024; do
            draw "$out/scale-extents-${size}k-$filesystem.svg" \
                "pieces of $size KiB, shuffled ($filesystem)" 'extents' \
                "cloned$tab$(series extents diskshift " $size KiB, cl")" \
                "not verified$tab$(series extents diskshift-no-verify \
                    " $size KiB, cl")" \
                "clone calls alone$tab$(series extents clones \
                    " $size KiB, cl")" \
                "the cheaper way$tab$(series extents diskshift \
                    " $size KiB, the")"
        done
        draw "$out/scale-chains-$filesystem.svg" \
            "chains of qcow2 to VHDX ($filesystem)" 'layers' \
            "diskshift$tab$(series chains diskshift chain)" \
            "qemu-img$tab$(series chains qemu-img chain)"
    done
}
