# SPDX-License-Identifier: Apache-2.0
# Sourced by bench/scale: its result as drawings.

# points FILTER: "axis median min max" of each sample that the filter lets out.
points() {
    jq -r ".cases[] | $1
        | \"\(.x) \(.median_seconds) \(.min_seconds) \(.max_seconds)\"" \
        <<<"$result"
}

# draw FILE TITLE XLABEL SERIES...: a line for each series, "name<TAB>filter".
draw() {
    local file=$1 title=$2 label=$3 series lines plots= data=
    shift 3
    for series in "$@"; do
        lines=$(points "${series#*$'\t'}")
        [[ -n $lines ]] || continue
        data+=$lines$'\ne\n'
        plots+=${plots:+, }"'-' using 1:2:3:4 with yerrorlines"
        plots+=" title '${series%%$'\t'*}'"
    done
    [[ -n $plots ]] || return 0
    gnuplot <<END
set terminal svg size 760,480 background 'white' font 'sans,13'
set output '$file'
set title '$title'
set xlabel '$label'
set ylabel 'seconds'
set logscale xy
set key left top
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
    for filesystem in ${filesystems//,/ }; do
        draw "$out/scale-size-$filesystem.svg" \
            "1024 extents, whatever the size ($filesystem)" 'bytes' \
            "to raw$tab$(series size diskshift raw$)" \
            "to qcow2$tab$(series size diskshift qcow2)" \
            "tables of qcow2 alone$tab$(series size tables qcow2)" \
            "to VHDX$tab$(series size diskshift vhdx)" \
            "tables of VHDX alone$tab$(series size tables vhdx)"
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
