/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The conversions that are made to fail, on a real XFS, and what must hold
 * after each: the source as it was, the target absent or whole, beside it
 * nothing but a .partial, which the next run removes.
 *
 * All sources hold one guest: PATTERN_BYTES at its beginning, and for those
 * called far the same once more beyond 2 GiB, so that a split target has
 * several files.
 */
#ifndef DS_TESTS_FAULT_CONVERSIONS_H
#define DS_TESTS_FAULT_CONVERSIONS_H

#include "test_local_scratch.h"

#include <dirent.h>

#include <diskshift/convert.h>

#define PATTERN_BYTES ((size_t)3 << 19) /* 1.5 MiB */
#define FAR_OFFSET_BYTES (UINT64_C(3) << 30)

struct conversion {
    const char *source;
    const char *target; /* file name */
    const char *format;
    const char *option;
    enum ds_strategy strategy;
    bool far;
    bool share_source_file;
};

/* Each format as a target, each strategy, chains, targets of several files,
 * and copies by threads from another filesystem. */
static const struct conversion conversions[] = {
    { .source = "source.vmdk", .target = "a.vhdx", .format = "vhdx" },
    { .source = "source.qcow2",
      .target = "b.vmdk",
      .format = "vmdk",
      .strategy = DS_STRATEGY_GRAFT },
    { .source = "source.raw", .target = "c.qcow2", .format = "qcow2" },
    { .source = "source.raw",
      .target = "d.qcow2",
      .format = "qcow2",
      .option = "compress=zlib" },
    { .source = "stream.vmdk", .target = "e.qcow2", .format = "qcow2" },
    { .source = "source.vhd",
      .target = "f.vmdk",
      .format = "vmdk",
      .option = "subformat=streamOptimized" },
    { .source = "chain.qcow2", .target = "g.vhd", .format = "vhd" },
    { .source = "source.vhdx", .target = "h.raw", .format = "raw" },
    { .source = "source.qcow2",
      .target = "i.vmdk",
      .format = "vmdk",
      .option = "subformat=monolithicFlat" },
    { .source = "far.qcow2",
      .target = "j.vmdk",
      .format = "vmdk",
      .option = "subformat=twoGbMaxExtentSparse",
      .far = true },
    { .source = "source.vdi",
      .target = "k.qcow2",
      .format = "qcow2",
      .option = "data_file=yes" },
    { .source = "elsewhere.raw", .target = "l.vdi", .format = "vdi" },
    { .source = "source.raw",
      .target = "m.vhd",
      .format = "vhd",
      .option = "subformat=fixed" },
    { .source = "source.vmdk", .target = "n.ova", .format = "ova" },
    { .source = "source.raw",
      .target = "o.qcow2",
      .format = "qcow2",
      .option = "data_file=yes",
      .share_source_file = true },
};
#define CONVERSION_COUNT (sizeof(conversions) / sizeof(conversions[0]))

static const char *const sources[] = {
    "source.raw",  "source.vmdk", "source.qcow2", "source.vhd",
    "source.vhdx", "source.vdi",  "stream.vmdk",  "chain.qcow2",
    "base.raw",    "far.qcow2",   "elsewhere.raw"
};
#define SOURCE_COUNT (sizeof(sources) / sizeof(sources[0]))

static uint8_t pattern[PATTERN_BYTES];

/* "elsewhere" lies on the tmpfs about the XFS. */
static inline const char *conversion_path(const char *name)
{
    char above[64];

    if (strncmp(name, "elsewhere", 9) != 0)
        return scratch_path(name);
    (void)snprintf(above, sizeof(above), "../%s", name);
    return scratch_path(above);
}

static inline int convert_with(const struct conversion *conversion, bool force,
                               struct ds_error *err)
{
    struct ds_target_spec spec = {
        .format = conversion->format,
        .path = conversion_path(conversion->target),
        .options = &conversion->option,
        .option_count = conversion->option != NULL ? 1 : 0,
    };
    struct ds_open_options open_options = { .for_conversion = true };
    struct ds_convert_options options = {
        .strategy = conversion->strategy,
        .share_source_file = conversion->share_source_file,
        .force = force,
    };
    static struct ds_report report;
    struct ds_disk *disk = NULL;
    int result = ds_disk_open(conversion_path(conversion->source),
                              &open_options, &disk, err);

    if (result != 0)
        return result;
    result = ds_convert(disk, &spec, 1, &options, &report, NULL, err);
    ds_disk_close(disk);
    return result;
}

static inline int convert(const struct conversion *conversion,
                          struct ds_error *err)
{
    return convert_with(conversion, false, err);
}

/* -- what must hold ---------------------------------------------------------*/

static inline uint8_t expected_at(uint64_t offset_bytes, bool far)
{
    if (far && offset_bytes >= FAR_OFFSET_BYTES)
        offset_bytes -= FAR_OFFSET_BYTES;
    return offset_bytes < PATTERN_BYTES ? pattern[offset_bytes] : 0;
}

/* Whether the guest reads in this extent what it should. */
static inline bool is_right(struct ds_disk *disk,
                            const struct ds_extent *extent, bool far,
                            struct ds_error *err)
{
    static uint8_t have[65536];
    bool empty =
        extent->kind == DS_EXTENT_HOLE || extent->kind == DS_EXTENT_ZERO;
    uint64_t most = empty ? PATTERN_BYTES : extent->length_bytes;

    memset(have, 0, sizeof(have));
    for (uint64_t done = 0; done < extent->length_bytes && done < most;) {
        uint64_t left = extent->length_bytes - done;
        size_t part = left < sizeof(have) ? (size_t)left : sizeof(have);

        if (!empty &&
            ds_disk_read_extent(disk, extent, done, have, part, err) != 0)
            return false;
        for (size_t i = 0; i < part; i++)
            if (have[i] !=
                expected_at(extent->guest_offset_bytes + done + i, far))
                return false;
        done += part;
    }
    return true;
}

/* Whether the image at `path` opens and its guest reads what it should. */
static inline bool is_whole(const char *path, bool far, struct ds_error *err)
{
    struct ds_disk *disk = NULL;
    struct ds_map *map = NULL;
    struct ds_extent extent;
    bool whole;
    int result;

    if (ds_disk_open(path, NULL, &disk, err) != 0)
        return false;
    whole = ds_disk_size_bytes(disk) >=
                (far ? FAR_OFFSET_BYTES : 0) + PATTERN_BYTES &&
            ds_map_open(disk, &map, err) == 0;
    while (whole && (result = ds_map_next(map, &extent, err)) != 0)
        whole = result == 1 && is_right(disk, &extent, far, err);
    ds_map_close(map);
    ds_disk_close(disk);
    return whole;
}

static inline void expect_whole(const char *name, bool far)
{
    struct ds_error err = DS_ERROR_INIT;

    if (!is_whole(conversion_path(name), far, &err))
        fail_msg("%s is not whole: %s: %s", name, err.file, err.message);
}

static inline unsigned entry_count(const char *path)
{
    DIR *directory = opendir(path);
    unsigned count = 0;

    assert_non_null(directory);
    while (readdir(directory) != NULL)
        count++;
    (void)closedir(directory);
    return count;
}

/* Whether `name` is the conversion's target or begins with its stem. */
static inline bool is_of(const struct conversion *conversion, const char *name)
{
    size_t stem =
        (size_t)(strchr(conversion->target, '.') - conversion->target);

    return strncmp(name, conversion->target, stem) == 0 &&
           (name[stem] == '.' || name[stem] == '-');
}

static inline bool is_partial(const char *name)
{
    size_t length = strlen(name);

    return length > 8 && strcmp(name + length - 8, ".partial") == 0;
}

struct leftovers {
    unsigned partials;
    unsigned others; /* final names among a target's files */
};

static inline struct leftovers look_for(const struct conversion *conversion)
{
    struct leftovers left = { 0 };
    DIR *directory = opendir(scratch_root);
    struct dirent *entry;

    assert_non_null(directory);
    while ((entry = readdir(directory)) != NULL)
        if (is_of(conversion, entry->d_name)) {
            left.partials += is_partial(entry->d_name);
            left.others += !is_partial(entry->d_name);
        }
    (void)closedir(directory);
    return left;
}

static inline void remove_target(const struct conversion *conversion)
{
    DIR *directory = opendir(scratch_root);
    struct dirent *entry;

    assert_non_null(directory);
    while ((entry = readdir(directory)) != NULL)
        if (is_of(conversion, entry->d_name))
            assert_int_equal(unlink(scratch_path(entry->d_name)), 0);
    (void)closedir(directory);
}

/* -- the sources ------------------------------------------------------------*/

struct source_state {
    uint64_t sum; /* FNV-1a of its allocated bytes' beginning */
    struct stat status;
};

static struct source_state source_states[SOURCE_COUNT];

static inline struct source_state source_state(const char *name)
{
    static uint8_t bytes[2 * PATTERN_BYTES];
    struct source_state state = { .sum = UINT64_C(0xcbf29ce484222325) };
    int fd = open(conversion_path(name), O_RDONLY | O_CLOEXEC);
    ssize_t got = pread(fd, bytes, sizeof(bytes), 0);

    assert_true(got > 0);
    assert_int_equal(fstat(fd, &state.status), 0);
    (void)close(fd);
    for (ssize_t i = 0; i < got; i++)
        state.sum = (state.sum ^ bytes[i]) * UINT64_C(0x100000001b3);
    return state;
}

static inline void remember_sources(void)
{
    for (size_t i = 0; i < SOURCE_COUNT; i++)
        source_states[i] = source_state(sources[i]);
}

/* Bytes, size and times are as remembered. */
static inline void expect_sources(void)
{
    for (size_t i = 0; i < SOURCE_COUNT; i++) {
        struct source_state now = source_state(sources[i]);
        const struct stat *a = &now.status, *b = &source_states[i].status;

        if (now.sum != source_states[i].sum || a->st_size != b->st_size ||
            a->st_mtim.tv_sec != b->st_mtim.tv_sec ||
            a->st_mtim.tv_nsec != b->st_mtim.tv_nsec)
            fail_msg("the source %s has changed", sources[i]);
    }
}

static inline void run_command(const char *command)
{
    char line[4096];

    (void)snprintf(line, sizeof(line), "cd '%s' && %s", scratch_root, command);
    if (system(line) != 0)
        fail_msg("%s failed", line);
}

static inline void make_far_raw(void)
{
    int fd = open(scratch_path("far.raw"), O_RDWR | O_CREAT | O_CLOEXEC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(local_write_fully(fd, pattern, sizeof(pattern), 0), 0);
    assert_int_equal(
        local_write_fully(fd, pattern, sizeof(pattern), FAR_OFFSET_BYTES), 0);
    (void)close(fd);
}

/* From one pattern, by the library without faults; the chain by qemu-img. */
static inline void make_sources(void)
{
    static const struct conversion makers[] = {
        { .source = "source.raw", .target = "source.vmdk", .format = "vmdk" },
        { .source = "source.raw", .target = "source.qcow2", .format = "qcow2" },
        { .source = "source.raw", .target = "source.vhd", .format = "vhd" },
        { .source = "source.raw", .target = "source.vhdx", .format = "vhdx" },
        { .source = "source.raw", .target = "source.vdi", .format = "vdi" },
        { .source = "source.raw",
          .target = "stream.vmdk",
          .format = "vmdk",
          .option = "subformat=streamOptimized" },
        { .source = "far.raw", .target = "far.qcow2", .format = "qcow2" },
    };

    scratch_fill(pattern, sizeof(pattern), 5);
    memset(pattern + 65536, 0, 131072);
    memset(pattern + 524288, 'a', 262144);
    scratch_write(scratch_path("source.raw"), pattern, sizeof(pattern));
    scratch_write(conversion_path("elsewhere.raw"), pattern, sizeof(pattern));
    make_far_raw();
    for (size_t i = 0; i < sizeof(makers) / sizeof(makers[0]); i++) {
        struct ds_error err = DS_ERROR_INIT;

        scratch_no_error(convert(&makers[i], &err), &err);
    }
    run_command(
        "cp source.raw base.raw && "
        "dd if=/dev/zero of=base.raw bs=64k seek=12 count=4 "
        "conv=notrunc,fsync status=none && "
        "dd if=source.raw of=part bs=64k skip=12 count=4 status=none && "
        "qemu-img create -q -f qcow2 -b base.raw -F raw chain.qcow2 && "
        "qemu-io -f qcow2 -c 'write -s part 768k 256k' chain.qcow2 "
        ">/dev/null && sync -f . && rm far.raw part");
    remember_sources();
}

/* What every test of these begins with: $DS_TEST_DIR/xfs with the sources. */
static inline bool conversions_begin(void)
{
    scratch_begin();
    if (!scratch_mount_xfs())
        return false;
    (void)strcat(scratch_root, "/xfs");
    make_sources();
    return true;
}

#endif
