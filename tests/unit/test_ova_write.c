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

#define OUT_BYTES (512 * DS_KIB)

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

static uint64_t run_pass(struct ds_target *target, struct out *out, bool dry)
{
    static const uint8_t stored[1000] = { 0x78, 1 };

    memset(out->bytes, 0xee, OUT_BYTES);
    memset(out->written, 0, OUT_BYTES);
    for (uint64_t unit = 1; unit < 4; unit += 2)
        assert_int_equal(ova_format_ops.target_encoded(
                             target, unit, dry ? NULL : stored,
                             dry ? 65536 : sizeof(stored), &out->emitter, NULL),
                         0);
    assert_int_equal(ova_format_ops.target_finish(target, &out->emitter, NULL),
                     0);
    return ova_format_ops.target_encoded_size(target);
}

/* Each byte once, none left out; a dry pass, one that was left and one that
 * is run again change nothing. */
static void test_ova_target__every_byte_once(void **state)
{
    struct ds_target_request request = { .path = "x.ova",
                                         .size_bytes = DS_MIB };
    struct ds_footprint footprint = { .unit_count = 2 };
    struct out out = { { .write = out_write },
                       malloc(OUT_BYTES),
                       malloc(OUT_BYTES) };
    uint8_t *before = malloc(OUT_BYTES);
    struct ds_target *target = NULL;
    struct ds_seal seal = { 0 };
    uint64_t size;

    (void)state;
    assert_int_equal(ova_format_ops.target_open(&request, &target, NULL), 0);
    footprint.area_start_bytes = target->layout.head_bytes;
    assert_int_equal(target->layout.head_bytes % 4096, 0);
    assert_int_equal(
        ova_format_ops.target_seal(target, &footprint, &seal, NULL), 0);
    (void)run_pass(target, &out, true);
    size = run_pass(target, &out, false);
    assert_true(size <= seal.file_size_bytes[0]);
    for (uint64_t i = 0; i < OUT_BYTES; i++)
        if (out.written[i] != (i < size))
            fail_msg("byte %" PRIu64 " of %" PRIu64 " written %u times", i,
                     size, out.written[i]);
    memcpy(before, out.bytes, OUT_BYTES);
    assert_int_equal(
        ova_format_ops.target_encoded(target, 5, "x", 1, &out.emitter, NULL),
        0);
    assert_int_equal(run_pass(target, &out, false), size);
    assert_memory_equal(before, out.bytes, OUT_BYTES);
    ova_format_ops.target_close(target);
    free(before);
    free(out.bytes);
    free(out.written);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ova_header__sizes),
        cmocka_unit_test(test_ova_header__longest_name),
        cmocka_unit_test(test_ova_options__names),
        cmocka_unit_test(test_ova_target__every_byte_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
