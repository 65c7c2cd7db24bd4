/* SPDX-License-Identifier: Apache-2.0 */
/* Writing packages: headers, names and options, and the order of the pass. */
#include "ova/ova.h"
#include "ova_testing.h"

/* -- headers --------------------------------------------------------------- */

static uint64_t octal_get(const char *field)
{
    return strtoull(field, NULL, 8);
}

static void expect_sum(const struct tar_header_disk *header)
{
    const uint8_t *bytes = (const uint8_t *)header;
    unsigned sum = 8 * ' ';

    for (size_t i = 0; i < 512; i++)
        if (i < TAR_CHECKSUM_AT || i >= TAR_CHECKSUM_AT + 8)
            sum += bytes[i];
    assert_int_equal(octal_get(header->chksum), sum);
}

static void test_ova_header__sizes(void **state)
{
    const uint64_t end = UINT64_C(8) << 30;
    static const uint8_t base_256[12] = {
        0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0
    };
    static const uint8_t large[12] = { 0x80, 0,    0,    0,    0,    1,
                                       0xff, 0xee, 0xdd, 0xcc, 0xbb, 0xaa };
    struct tar_header_disk header = tar_header_make("a.vmdk", end - 1, 1);

    (void)state;
    assert_string_equal(header.size, "77777777777");
    assert_string_equal(header.name, "a.vmdk");
    assert_int_equal(octal_get(header.mtime), 1);
    expect_sum(&header);
    header = tar_header_make("a.vmdk", end, 1);
    assert_memory_equal(header.size, base_256, 12);
    expect_sum(&header);
    header = tar_header_make("a.vmdk", UINT64_C(0x1ffeeddccbbaa), 1);
    assert_memory_equal(header.size, large, 12);
    expect_sum(&header);
}

/* The whole name, with no NUL behind it. */
static void test_ova_header__longest_name(void **state)
{
    char name[TAR_NAME_BYTES + 1];
    struct tar_header_disk header;

    (void)state;
    memset(name, 'n', TAR_NAME_BYTES);
    name[TAR_NAME_BYTES] = '\0';
    header = tar_header_make(name, 0, UINT64_MAX);
    assert_memory_equal(header.name, name, TAR_NAME_BYTES);
    assert_string_equal(header.mode, "0000644");
    expect_sum(&header);
}

/* -- options --------------------------------------------------------------- */

static int parse(const char *path, const char *option,
                 struct ova_machine *machine)
{
    struct ds_target_request request = { .path = path,
                                         .options = &option,
                                         .option_count = option != NULL,
                                         .size_bytes = DS_MIB };

    return ova_options_parse(&request, machine, NULL);
}

static void test_ova_options__names(void **state)
{
    static const char *const bad[] = {
        "name=",
        "name=\x01",
        "name=\x7f",
        "name=\x80",
        "name=\xc0\xaf",         /* overlong */
        "name=\xe0\x80\xaf",     /* overlong */
        "name=\xc3",             /* cut off */
        "name=\xe2\x82",         /* cut off */
        "name=\xed\xa0\x80",     /* a surrogate */
        "name=\xef\xbf\xbe",     /* U+FFFE */
        "name=\xf4\x90\x80\x80", /* beyond the last */
        "name=\xff",
    };
    static const char *const good[] = {
        "name=\xc3\xa4",
        "name=\xe2\x82\xac",
        "name=\xf0\x9f\x98\x80",
        "name=a b/c",
        "name=.",
    };
    struct ova_machine machine;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (parse("x.ova", bad[i], &machine) != -DS_ERR_ARG)
            fail_msg("'%s' was taken", bad[i]);
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        if (parse("x.ova", good[i], &machine) != 0)
            fail_msg("'%s' was refused", good[i]);
    assert_int_equal(parse("/a.b/x.y.ova", NULL, &machine), 0);
    assert_string_equal(machine.name, "x.y");
    assert_int_equal(parse(".ova", NULL, &machine), 0);
    assert_string_equal(machine.name, ".ova");
    assert_int_equal(parse("x.ova", "adapter=pvscsi", &machine), 0);
    assert_string_equal(machine.adapter->resource_subtype, "VirtualSCSI");
    assert_int_equal(parse("x.ova", "os=96", &machine), 0);
    assert_int_equal(machine.system.id, 96);
    assert_null(machine.system.vmware);
}

/* -- the pass -------------------------------------------------------------- */

#define OUT_BYTES (1024 * DS_KIB)

struct out {
    struct ds_emitter emitter;
    uint8_t *bytes;
    uint8_t *written; /* how often each */
};

static int out_write(struct ds_emitter *emitter, uint32_t target_index,
                     uint64_t offset_bytes, const void *bytes,
                     size_t length_bytes, struct ds_error *err)
{
    struct out *out = (struct out *)emitter;

    (void)err;
    assert_int_equal(target_index, 0);
    assert_true(offset_bytes + length_bytes <= OUT_BYTES);
    memcpy(out->bytes + offset_bytes, bytes, length_bytes);
    for (size_t i = 0; i < length_bytes; i++)
        out->written[offset_bytes + i]++;
    return 0;
}

/* Units of a line of several disks; the fourth of them has none. */
static const uint64_t units[] = { 1, 3, 32, 47, 64, 160 };
#define UNIT_COUNT (sizeof(units) / sizeof(units[0]))

static void put_unit(struct ds_target *target, struct out *out, uint64_t unit,
                     bool dry)
{
    static const uint8_t stored[1000] = { 0x78, 1 };

    assert_int_equal(ova_format_ops.target_encoded(
                         target, unit, dry ? NULL : stored,
                         dry ? 65536 : sizeof(stored), &out->emitter, NULL),
                     0);
}

/* The units that `disk_count` disks of 2 MiB each have. */
static size_t unit_count(size_t disk_count)
{
    size_t count = 0;

    while (count < UNIT_COUNT && units[count] < 32 * disk_count)
        count++;
    return count;
}

static uint64_t run_pass(struct ds_target *target, struct out *out,
                         size_t disk_count, bool dry)
{
    memset(out->bytes, 0xee, OUT_BYTES);
    memset(out->written, 0, OUT_BYTES);
    for (size_t i = 0; i < unit_count(disk_count); i++)
        put_unit(target, out, units[i], dry);
    assert_int_equal(ova_format_ops.target_finish(target, &out->emitter, NULL),
                     0);
    return ova_format_ops.target_encoded_size(target);
}

static struct ds_target *open_disks(const char *option, size_t disk_count,
                                    struct ds_error *err)
{
    struct ds_line_disk disks[DS_LINE_DISK_COUNT_MAX];
    struct ds_target_request request = { .path = "x.ova",
                                         .options = &option,
                                         .option_count = option != NULL,
                                         .disks = disks,
                                         .disk_count = disk_count };
    struct ds_target *target = NULL;

    for (size_t i = 0; i < disk_count; i++) {
        disks[i].begin_bytes = i * DS_LINE_ALIGN_BYTES;
        disks[i].size_bytes = DS_LINE_ALIGN_BYTES;
    }
    if (ova_format_ops.target_open(&request, &target, err) != 0)
        return NULL;
    return target;
}

static uint64_t seal_units(struct ds_target *target, size_t disk_count)
{
    struct ds_footprint footprint = { .area_start_bytes =
                                          target->layout.head_bytes };
    struct ds_seal seal = { 0 };

    assert_int_equal(target->layout.head_bytes % 4096, 0);
    for (size_t i = 0; i < unit_count(disk_count); i++)
        assert_int_equal(
            ova_format_ops.target_count(
                target, &(struct ds_unit_run){ units[i], 1, 0 }, NULL),
            0);
    assert_int_equal(
        ova_format_ops.target_seal(target, &footprint, &seal, NULL), 0);
    return seal.file_size_bytes[0];
}

static void expect_each_once(const struct out *out, uint64_t size)
{
    for (uint64_t i = 0; i < OUT_BYTES; i++)
        if (out->written[i] != (i < size))
            fail_msg("byte %" PRIu64 " of %" PRIu64 " written %u times", i,
                     size, out->written[i]);
}

/* Each byte once, none left out; a dry pass, one that was left and one that
 * is run again change nothing. */
static void every_byte_once(size_t disk_count)
{
    struct out out = { { .write = out_write },
                       malloc(OUT_BYTES),
                       malloc(OUT_BYTES) };
    uint8_t *before = malloc(OUT_BYTES);
    struct ds_target *target = open_disks(NULL, disk_count, NULL);
    uint64_t size, most;

    assert_non_null(target);
    most = seal_units(target, disk_count);
    assert_true(run_pass(target, &out, disk_count, true) <= most);
    size = run_pass(target, &out, disk_count, false);
    assert_true(size <= most);
    expect_each_once(&out, size);
    memcpy(before, out.bytes, OUT_BYTES);
    for (size_t left = 1; left <= unit_count(disk_count); left++) {
        for (size_t i = 0; i < left; i++)
            put_unit(target, &out, units[i], false);
        assert_int_equal(run_pass(target, &out, disk_count, false), size);
        assert_memory_equal(before, out.bytes, OUT_BYTES);
    }
    ova_format_ops.target_close(target);
    free(before);
    free(out.bytes);
    free(out.written);
}

static void test_ova_target__every_byte_once(void **state)
{
    (void)state;
    every_byte_once(1);
}

static void test_ova_target__every_byte_of_several_disks_once(void **state)
{
    (void)state;
    for (size_t count = 2; count <= 6; count++)
        every_byte_once(count);
}

/* A run of units that goes over the border of two disks is both's. */
static void test_ova_target__runs_over_borders(void **state)
{
    struct ds_target *whole = open_disks(NULL, 3, NULL);
    struct ds_target *split = open_disks(NULL, 3, NULL);
    struct ds_footprint footprint = { 0 };
    struct ds_seal seal = { 0 }, other = { 0 };

    (void)state;
    assert_int_equal(ova_format_ops.target_count(
                         whole, &(struct ds_unit_run){ 30, 40, 0 }, NULL),
                     0);
    assert_int_equal(ova_format_ops.target_seal(whole, &footprint, &seal, NULL),
                     0);
    for (uint64_t unit = 30; unit < 70; unit++)
        assert_int_equal(ova_format_ops.target_count(
                             split, &(struct ds_unit_run){ unit, 1, 0 }, NULL),
                         0);
    assert_int_equal(
        ova_format_ops.target_seal(split, &footprint, &other, NULL), 0);
    assert_int_equal(seal.file_size_bytes[0], other.file_size_bytes[0]);
    assert_true(seal.file_size_bytes[0] > 40 * 64 * DS_KIB);
    ova_format_ops.target_close(whole);
    ova_format_ops.target_close(split);
}

static void test_ova_target__members_and_limits(void **state)
{
    static const struct {
        const char *adapter;
        size_t most;
    } limits[] = {
        { NULL, 60 },
        { "adapter=pvscsi", 60 },
        { "adapter=ahci", 60 },
        { "adapter=ide", 4 },
    };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_target *target = open_disks("name=a/b", 12, NULL);

    (void)state;
    assert_string_equal(ova_format_ops.target_member(target, 0),
                        "a_b-disk1.vmdk");
    assert_string_equal(ova_format_ops.target_member(target, 11),
                        "a_b-disk12.vmdk");
    assert_null(ova_format_ops.target_member(target, 12));
    ova_format_ops.target_close(target);
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        target = open_disks(limits[i].adapter, limits[i].most, &err);
        assert_non_null(target);
        ova_format_ops.target_close(target);
        assert_null(open_disks(limits[i].adapter, limits[i].most + 1, &err));
        assert_int_equal(err.error_class, DS_ERR_LIMIT);
    }
    assert_string_equal(err.message, "ova: disks: have 5 expect 1 to 4 on ide");
}

/* The number behind the last `tag` before `at`, or the first after it. */
static unsigned long number_near(const char *text, const char *at,
                                 const char *tag, bool before)
{
    const char *found = strstr(before ? text : at, tag);

    for (const char *next = found; before && next != NULL && next < at;
         next = strstr(next + 1, tag))
        found = next;
    assert_non_null(found);
    return strtoul(found + strlen(tag), NULL, 10);
}

/* Each has a place of its own, none the controller's. */
static void test_ova_envelope__places_of_disks(void **state)
{
    static const struct {
        const char *option;
        size_t disk_count;
        unsigned long address, parent; /* of the last disk */
        const char *not_said;
    } cases[] = {
        { "adapter=lsilogic", 1, 0, 3, "lsilogic 1" },
        { "adapter=lsilogic", 7, 6, 3, "lsilogic 1" },
        { "adapter=lsilogic", 8, 8, 3, "AddressOnParent>7<" },
        { "adapter=lsilogic", 15, 15, 3, "lsilogic 1" },
        { "adapter=pvscsi", 16, 0, 4, "pvscsi 2" },
        { "adapter=lsilogic", 60, 15, 6, "lsilogic 4" },
        { "adapter=ahci", 30, 29, 3, "ahci 1" },
        { "adapter=ide", 4, 1, 4, "ide 2" },
    };
    struct ova_written written[DS_LINE_DISK_COUNT_MAX];
    struct ova_machine machine;

    (void)state;
    for (size_t i = 0; i < DS_LINE_DISK_COUNT_MAX; i++)
        written[i] = (struct ova_written){ "x.vmdk", UINT64_MAX, UINT64_MAX,
                                           UINT64_MAX };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t count = cases[i].disk_count;
        size_t room = ova_envelope_room(count), used;
        char *text = calloc(1, room + 1);
        char name[32];
        const char *at;

        assert_int_equal(parse("x.ova", cases[i].option, &machine), 0);
        used = ova_envelope_build(&machine, written, count, text, room);
        assert_true(used < room);
        text[used] = '\0';
        (void)snprintf(name, sizeof(name), "Hard disk %zu<", count);
        at = strstr(text, name);
        assert_non_null(at);
        assert_int_equal(number_near(text, at, "<rasd:AddressOnParent>", true),
                         cases[i].address);
        assert_int_equal(number_near(text, at, "<rasd:Parent>", false),
                         cases[i].parent);
        /* Processors, memory, controllers, disks. */
        assert_int_equal(number_near(text, at, "<rasd:InstanceID>", false),
                         cases[i].parent + count);
        assert_null(strstr(text, cases[i].not_said));
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ova_header__sizes),
        cmocka_unit_test(test_ova_header__longest_name),
        cmocka_unit_test(test_ova_options__names),
        cmocka_unit_test(test_ova_target__every_byte_once),
        cmocka_unit_test(test_ova_target__every_byte_of_several_disks_once),
        cmocka_unit_test(test_ova_target__runs_over_borders),
        cmocka_unit_test(test_ova_target__members_and_limits),
        cmocka_unit_test(test_ova_envelope__places_of_disks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
