# SPDX-License-Identifier: Apache-2.0
# Sourced after lib/lib.bash: makes sources, converts them, and asks everybody
# who may know whether the result is right.
#
# A variant is a format and how it is laid out:  name = format, extension,
# qemu-img's options, our options.

variants=(raw vmdk-sparse vmdk-flat vhd-dynamic vhd-fixed vhdx-dynamic
    vhdx-fixed qcow2 qcow2-v2-4k qcow2-2m vmdk-split-sparse vmdk-split-flat)

declare -A qemu_options=(
    [raw]=''
    [vmdk-sparse]='subformat=monolithicSparse'
    [vmdk-flat]='subformat=monolithicFlat'
    [vmdk-split-sparse]='subformat=twoGbMaxExtentSparse'
    [vmdk-split-flat]='subformat=twoGbMaxExtentFlat'
    [vhd-dynamic]='subformat=dynamic,force_size=on'
    [vhd-fixed]='subformat=fixed,force_size=on'
    [vhdx-dynamic]='subformat=dynamic'
    [vhdx-fixed]='subformat=fixed'
    [qcow2]='compat=1.1,cluster_size=64k'
    [qcow2-v2-4k]='compat=0.10,cluster_size=4k'
    [qcow2-2m]='compat=1.1,cluster_size=2M'
)
declare -A our_options=(
    [raw]=''
    [vmdk-sparse]='-o subformat=monolithicSparse'
    [vmdk-flat]='-o subformat=monolithicFlat'
    [vmdk-split-sparse]='-o subformat=twoGbMaxExtentSparse'
    [vmdk-split-flat]='-o subformat=twoGbMaxExtentFlat'
    [vhd-dynamic]='-o subformat=dynamic'
    [vhd-fixed]='-o subformat=fixed'
    [vhdx-dynamic]='-o subformat=dynamic'
    [vhdx-fixed]='-o subformat=fixed'
    [qcow2]='-o compat=1.1 -o cluster_size=64k'
    [qcow2-v2-4k]='-o compat=0.10 -o cluster_size=4k'
    [qcow2-2m]='-o compat=1.1 -o cluster_size=2M'
)
# How far apart the variant's clusters may be put in random order.
declare -A cluster_sizes=([vmdk-sparse]=64k [vhd-dynamic]=2M
    [vhdx-dynamic]=8M [qcow2]=64k [qcow2-v2-4k]=4k [qcow2-2m]=2M)

format_of() {
    echo "${1%%-*}"
}

# -- sources ------------------------------------------------------------------

# qemu_make VARIANT RAW IMAGE
qemu_make() {
    local format options=${qemu_options[$1]}
    format=$(qemu_format "$(format_of "$1")")
    qemu-img convert -f raw -O "$format" ${options:+-o "$options"} "$2" "$3"
}

# qemu_make_shuffled VARIANT RAW IMAGE: the same, but the clusters that hold
# data lie in random order in the file: allocated so, then overwritten in place.
qemu_make_shuffled() {
    local format options=${qemu_options[$1]} cluster=${cluster_sizes[$1]} size
    local bytes end
    format=$(qemu_format "$(format_of "$1")")
    size=$(stat -c %s "$2")
    bytes=$(numfmt --from=iec "${cluster^^}")
    qemu-img create -q -f "$format" ${options:+-o "$options"} "$3" "$size" &&
        mkdisk list "$cluster" 7 "$2" | while read -r offset; do
            end=$((offset + bytes < size ? offset + bytes : size))
            # Zeros, since what is a hole in RAW is not written again.
            echo "write -P 0 $offset $((end - offset))"
        done | qemu-io -f "$format" "$3" >/dev/null &&
        qemu-img convert -n --target-is-zero -f raw -O "$format" "$2" "$3"
}

# -- what a conversion must not change or miss -------------------------------

declare -A digest_of=()

# Remembers the digest of an image's files, or compares with the remembered.
image_digest() {
    local -a files
    mapfile -t files < <(image_files "$1")
    digest "${files[@]}"
}

remember() {
    digest_of[$1]=$(image_digest "$1")
}

# report FILTER: from the last conversion's JSON, `.targets[0]` at hand as $t.
report() {
    jq -r ".targets[0] as \$t | $1" "$run/out"
}

# Guest data that the source's tables name but that is a hole or unwritten in
# its file: it is shared as such, and there is no address to compare.
empty_data() {
    local file sum=0 index=0
    while read -r file; do
        sum=$((sum + $("$DISKSHIFT" map --json -f "$1" "$2" |
            jq -r --argjson i "$index" '.extents[] |
                select(.kind == "data" and .file_index == $i) |
                "\(.file_offset_bytes) \(.length_bytes)"' |
            fiemap --holes "$file")))
        index=$((index + 1))
    done < <(image_files "$2")
    echo "$sum"
}

# Each of the following prints why it is not content, or nothing.

wrong_contents() { # FORMAT IMAGE RAW
    local size expected
    qemu-img compare -q -f "$(qemu_format "$1")" -F raw "$2" "$3" 2>&1 ||
        echo "qemu-img compare: $2 differs from $3"
    size=$(virtual_size "$1" "$2")
    expected=$((($(stat -c %s "$3") + 511) / 512 * 512))
    [[ $size == "$expected" ]] ||
        echo "guest size, have $size expect $expected"
}

wrong_structure() { # FORMAT IMAGE
    local output
    case $1 in
    qcow2 | vhdx | vmdk) ;;
    *) return 0 ;;
    esac
    # vmdk without a check (flat) says 63: not supported.
    output=$(qemu-img check -f "$1" "$2" 2>&1)
    case $? in
    0 | 63) ;;
    *) echo "qemu-img check $2: $output" ;;
    esac
    [[ $output != *leaked* ]] || echo "qemu-img check: $output"
}

wrong_libyal() { # FORMAT IMAGE
    local output size expected
    expected=$(virtual_size "$1" "$2")
    case $1 in
    vhd) output=$(vhdiinfo "$2" 2>&1) ;;
    vmdk) output=$(vmdkinfo "$2" 2>&1) ;;
    qcow2) output=$(qcowinfo "$2" 2>&1) ;;
    *) return 0 ;;
    esac || echo "libyal: $output"
    size=$(sed -nE 's/.*[Mm]edia size.*[ (]([0-9]+) bytes\)?.*/\1/p' \
        <<<"$output" | head -n1)
    [[ -z $size || $size == "$expected" ]] ||
        echo "libyal: media size, have $size expect $expected"
}

wrong_sharing() { # FORMAT TARGET SOURCE ALLOWED_COPY SOURCE_FORMAT
    local shared copied proven empty decoded
    local -a sources targets
    mapfile -t sources < <(image_files "$3")
    mapfile -t targets < <(image_files "$2")
    shared=$(report '$t.shared_bytes') copied=$(report '$t.copied_bytes')
    decoded=$(report '$t.decoded_bytes')
    [[ $copied =~ ^[0-9]+$ ]] || {
        echo "no numbers in the report: $(head -c 500 "$run/out")"
        return
    }
    ((copied <= $4)) || echo "copied bytes, have $copied expect at most $4:" \
        "$(report '$t | "\(.strategy) \(.copied_bytes_by_reason)"')"
    ((decoded == 0)) || echo "decoded bytes, have $decoded expect 0"
    proven=$(fiemap "${sources[@]}" -- "${targets[@]}" | cut -d' ' -f2)
    if ((proven < shared)); then
        empty=$(empty_data "$5" "$3")
        ((proven + empty >= shared)) || echo "shared blocks, have $proven" \
            "(and $empty empty) expect $shared as reported"
    fi
}

wrong_source() { # SOURCE
    [[ $(image_digest "$1") == "${digest_of[$1]}" ]] ||
        echo "the source has changed"
}

wrong_verify() { # FORMAT TARGET FORMAT SOURCE
    local output
    output=$("$DISKSHIFT" verify --json -f "$3" -F "$1" "$4" "$2" 2>&1) ||
        echo "diskshift verify: exit status $?: $output"
    [[ $(jq -r .verify.identical <<<"$output") == true ]] ||
        echo "diskshift verify: $output"
}

# -- one conversion -----------------------------------------------------------

# convert_case WHAT SOURCE_FORMAT SOURCE TARGET_VARIANT TARGET RAW ALLOWED_COPY
#              [OPTION...]
# SOURCE has been remembered. TARGET stays.
convert_case() {
    local what=$1 source_format=$2 source=$3 variant=$4 target=$5 raw=$6
    local allowed=$7 format wrong begun=${EPOCHREALTIME/./} spent
    local -a command
    format=$(format_of "$4")
    shift 7
    # shellcheck disable=SC2206
    command=("$DISKSHIFT" convert --json -f "$source_format" -O "$format"
        ${our_options[$variant]} "$@" "$source" "$target")
    if ! "${command[@]}" >"$run/out" 2>"$run/err"; then
        case_fail "$what" "command: ${command[*]}" "$(cat "$run/err")"
        return 1
    fi
    spent=$(((${EPOCHREALTIME/./} - begun) / 1000))
    wrong=$(
        wrong_contents "$format" "$target" "$raw"
        wrong_structure "$format" "$target"
        wrong_libyal "$format" "$target"
        wrong_sharing "$format" "$target" "$source" "$allowed" \
            "$source_format"
        wrong_verify "$format" "$target" "$source_format" "$source"
        wrong_source "$source"
    )
    if [[ -n $wrong ]]; then
        case_fail "$what" "command: ${command[*]}" "$wrong"
        return 1
    fi
    case_ok "$what: $(report '$t | "\(.strategy), shared \(.shared_bytes), " +
        "copied \(.copied_bytes)"') in $spent ms"
}

remove_image() {
    local -a files
    mapfile -t files < <(image_files "$1")
    rm -f "${files[@]}"
}
