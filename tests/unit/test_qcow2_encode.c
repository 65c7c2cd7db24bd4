/* SPDX-License-Identifier: Apache-2.0 */
/* Writing compressed clusters, and LUKS headers that are not what they seem.
 * What was written is held to the reader's map and to `check`, which rebuilds
 * every reference count. */
#include "qcow2_fixture.h"

#include "qcow2/luks.h"

#define C UINT64_C(4096)
#define UNIT_COUNT 2000u

static struct ds_target *open_encoding(const char *const *options, size_t count)
{
    const struct ds_target_request request = {
        .path = memory_path,
        .options = options,
        .option_count = count,
        .size_bytes = UNIT_COUNT * C,
    };
    struct ds_target *target = NULL;

    assert_int_equal(qcow2_format_ops.target_open(&request, &target, NULL), 0);
    return target;
}

static struct ds_seal seal_encoding(struct ds_target *target)
{
    const struct ds_unit_run run = { .unit_count = UNIT_COUNT };
    const struct ds_footprint footprint = {
        .area_start_bytes = target->layout.head_bytes,
        .relocated_bytes = UNIT_COUNT * target->layout.unit_bytes,
        .unit_count = UNIT_COUNT,
    };
    struct ds_seal seal;

    assert_int_equal(qcow2_format_ops.target_count(target, &run, NULL), 0);
    assert_int_equal(
        qcow2_format_ops.target_seal(target, &footprint, &seal, NULL), 0);
    return seal;
}

/* Sizes of all sorts, from the unit's number alone; 0: it was zeros. */
static uint64_t stored_bytes(uint64_t unit)
{
    switch (unit % 11) {
    case 0:
        return C; /* did not shrink */
    case 3:
        return unit % 2 == 0 ? 0 : 1;
    case 4:
        return C - 1;
    case 7:
        return 512;
    default:
        return unit * 2654435761u % (C - 1) + 1;
    }
}

static int emit_units(struct ds_target *target, bool dry,
                      struct ds_emitter *emitter, struct ds_error *err)
{
    static uint8_t bytes[4096];
    int result = 0;

    for (uint64_t unit = 0; result == 0 && unit < UNIT_COUNT; unit++) {
        uint64_t length = dry ? C : stored_bytes(unit);

        memset(bytes, (int)(unit % 251 + 1), sizeof(bytes));
        if (length != 0)
            result = qcow2_format_ops.target_encoded(
                target, unit, dry ? NULL : bytes, length, emitter, err);
    }
    return result == 0 ? qcow2_format_ops.target_finish(target, emitter, err)
                       : result;
}

static int fail_finding(void *user, const struct ds_finding *finding,
                        struct ds_error *err)
{
    (void)user;
    (void)err;
    fail_msg("%s", finding->message);
    return 0;
}

/* Every unit's bytes are where the map says, and nothing else is. */
static void assert_units(struct memory_file *file, enum ds_codec codec)
{
    struct ds_image *image = NULL;
    struct ds_cursor cursor = { 0 };
    struct ds_error err = DS_ERROR_INIT;

    if (open_image(file, &image, &err) != 0)
        fail_msg("%s", err.message);
    for (uint64_t unit = 0; unit < UNIT_COUNT; unit++) {
        uint64_t length = stored_bytes(unit);
        struct ds_extent extent;

        assert_int_equal(
            qcow2_format_ops.extent_at(image, &cursor, unit * C, &extent, &err),
            0);
        assert_int_equal(extent.kind, length == 0   ? DS_EXTENT_HOLE
                                      : length == C ? DS_EXTENT_DATA
                                                    : DS_EXTENT_ENCODED);
        if (extent.kind == DS_EXTENT_ENCODED) {
            assert_int_equal(extent.encoding.codec, codec);
            assert_true(extent.encoding.stored_bytes >= length);
            assert_true(extent.encoding.stored_bytes < length + 512);
        }
        for (uint64_t i = 0; i < length; i++)
            assert_int_equal(file->bytes[extent.file_offset_bytes + i],
                             unit % 251 + 1);
    }
    assert_int_equal(qcow2_format_ops.check(image, fail_finding, NULL, &err),
                     0);
    ds_window_free(&cursor.table);
    qcow2_format_ops.close(image);
}

static void assert_round_trip(const char *compress, enum ds_codec codec,
                              const char *width)
{
    const char *const options[] = { "cluster_size=4k", compress, width };
    struct ds_target *target = open_encoding(options, 3);
    struct ds_seal seal = seal_encoding(target);
    struct memory_file file;
    struct memory_emitter dry = { .base = { .write = memory_write } };
    struct memory_emitter emitter = { .base = { .write = memory_write },
                                      .file = &file };
    struct ds_error err = DS_ERROR_INIT;
    uint64_t size;

    assert_int_equal(target->layout.encode, codec);
    assert_false(target->layout.graftable);
    assert_int_equal(emit_units(target, true, &dry.base, &err), 0);
    assert_int_equal(qcow2_format_ops.target_encoded_size(target),
                     seal.file_size_bytes[0]);
    memory_init(&file, (size_t)seal.file_size_bytes[0]);
    assert_int_equal(emit_units(target, false, &emitter.base, &err), 0);
    size = qcow2_format_ops.target_encoded_size(target);
    assert_true(size < seal.file_size_bytes[0] && size % C == 0);
    file.base.size_bytes = size;
    assert_units(&file, codec);
    memory_free(&file);
    qcow2_format_ops.target_close(target);
}

static void test_qcow2_encode__round_trip(void **state)
{
    (void)state;
    assert_round_trip("compress=zlib", DS_CODEC_DEFLATE, "refcount_bits=16");
    assert_round_trip("compress=zstd", DS_CODEC_ZSTD, "refcount_bits=16");
}

/* No cluster is referred to more often than its count can say. */
static void test_qcow2_encode__narrow_counts(void **state)
{
    static const char *const widths[] = {
        "refcount_bits=1", "refcount_bits=2",  "refcount_bits=4",
        "refcount_bits=8", "refcount_bits=32", "refcount_bits=64"
    };

    (void)state;
    for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++)
        assert_round_trip("compress=zlib", DS_CODEC_DEFLATE, widths[i]);
}

/* A pass that breaks off leaves nothing behind in the next. */
static void test_qcow2_encode__every_failing_write(void **state)
{
    const char *const options[] = { "cluster_size=4k", "compress=zlib" };
    struct ds_target *target = open_encoding(options, 2);
    struct ds_seal seal = seal_encoding(target);
    bool failed = true;

    (void)state;
    for (unsigned n = 1; failed; n += n < 20 ? 1 : 97) {
        struct memory_file file;
        struct memory_emitter broken = { .base = { .write = memory_write },
                                         .writes_until_failure = n };
        struct memory_emitter whole = { .base = { .write = memory_write },
                                        .file = &file };

        failed = emit_units(target, false, &broken.base, NULL) != 0;
        memory_init(&file, (size_t)seal.file_size_bytes[0]);
        assert_int_equal(emit_units(target, false, &whole.base, NULL), 0);
        file.base.size_bytes = qcow2_format_ops.target_encoded_size(target);
        assert_units(&file, DS_CODEC_DEFLATE);
        memory_free(&file);
    }
    qcow2_format_ops.target_close(target);
}

/* Tables for units that all turned out to be zeros are there and empty. */
static void test_qcow2_encode__nothing_but_zeros(void **state)
{
    const char *const options[] = { "cluster_size=4k", "compress=zlib" };
    struct ds_target *target = open_encoding(options, 2);
    struct ds_seal seal = seal_encoding(target);
    struct memory_file file;
    struct memory_emitter emitter = { .base = { .write = memory_write },
                                      .file = &file };
    struct ds_image *image = NULL;
    static struct extents e;

    (void)state;
    memory_init(&file, (size_t)seal.file_size_bytes[0]);
    assert_int_equal(
        qcow2_format_ops.target_finish(target, &emitter.base, NULL), 0);
    file.base.size_bytes = qcow2_format_ops.target_encoded_size(target);
    assert_int_equal(file.base.size_bytes, seal.data_start_bytes);
    assert_int_equal(open_image(&file, &image, NULL), 0);
    assert_int_equal(walk_map(image, &e, NULL), 0);
    assert_int_equal(e.count, 1);
    assert_extent(&e, 0, DS_EXTENT_HOLE, UNIT_COUNT * C, 0);
    assert_int_equal(qcow2_format_ops.check(image, fail_finding, NULL, NULL),
                     0);
    qcow2_format_ops.close(image);
    memory_free(&file);
    qcow2_format_ops.target_close(target);
}

/* -- LUKS headers ---------------------------------------------------------- */

#define LUKS_FILE_BYTES (592 + 512 + 32 * 4000)

static struct memory_file luks_header(void)
{
    struct memory_file file;

    memory_init(&file, 4096 + LUKS_FILE_BYTES);
    memcpy(file.bytes, "LUKS\xba\xbe\0\1", 8);
    memcpy(file.bytes + 8, "aes", 3);
    memcpy(file.bytes + 40, "cbc-essiv:sha256", 16);
    memcpy(file.bytes + 72, "sha256", 6);
    poke(&file, 104, 4, 4096);
    poke(&file, 108, 4, 32);
    poke(&file, 164, 4, 1000);
    for (uint64_t slot = 0; slot < 8; slot++)
        poke(&file, 208 + 48 * slot, 4, 0xdead);
    poke(&file, 208, 4, 0x00ac71f3);
    poke(&file, 212, 4, 1000);
    poke(&file, 248, 4, 2);
    poke(&file, 252, 4, 4000);
    return file;
}

static void test_qcow2_encode__luks_headers(void **state)
{
    static const struct {
        uint64_t offset;
        unsigned width;
        uint64_t value;
        int error_class;
        const char *words;
    } cases[] = {
        { 0, 1, 'l', DS_ERR_CORRUPT, "magic" },
        { 6, 2, 2, DS_ERR_UNSUPPORTED, "version, have 2 expect 1" },
        { 8, 4, 0x66697368, DS_ERR_UNSUPPORTED, "cipher 'fish'" },
        { 43, 1, 0, DS_ERR_UNSUPPORTED, "cipher mode 'cbc'" },
        { 72, 1, 'S', DS_ERR_UNSUPPORTED, "hash 'Sha256'" },
        { 108, 4, 0, DS_ERR_CORRUPT, "key-bytes, have 0" },
        { 108, 4, 64, DS_ERR_CORRUPT, "key-bytes, have 64" },
        { 108, 4, UINT32_MAX, DS_ERR_CORRUPT, "key-bytes" },
        { 164, 4, 0, DS_ERR_CORRUPT, "iterations, have 0" },
        { 164, 4, UINT32_MAX, DS_ERR_LIMIT, "iterations, have 4294967295" },
        { 208, 4, 1, DS_ERR_CORRUPT, "key slot 0: active" },
        { 212, 4, UINT32_C(1) << 31, DS_ERR_LIMIT, "iterations" },
        { 248, 4, 0, DS_ERR_CORRUPT, "key slot 0: material" },
        { 248, 4, UINT32_MAX, DS_ERR_CORRUPT, "key slot 0: material" },
        { 252, 4, 0, DS_ERR_LIMIT, "stripes, have 0" },
        { 252, 4, UINT32_MAX, DS_ERR_LIMIT, "stripes" },
        { 252, 4, 16384, DS_ERR_CORRUPT, "key slot 0: material" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct memory_file file = luks_header();
        struct luks_volume *volume = NULL;
        struct ds_error err = DS_ERROR_INIT;

        assert_int_equal(
            luks_open(&file.base, 0, file.base.size_bytes, &volume, &err), 0);
        assert_string_equal(luks_cipher(volume), "aes-cbc-essiv:sha256");
        assert_null(luks_key(volume));
        luks_close(volume);
        volume = NULL;
        poke(&file, cases[i].offset, cases[i].width, cases[i].value);
        if (luks_open(&file.base, 0, file.base.size_bytes, &volume, &err) !=
                -cases[i].error_class ||
            strstr(err.message, cases[i].words) == NULL)
            fail_msg("case %zu: %s", i, err.message);
        assert_null(volume);
        memory_free(&file);
    }
}

static void test_qcow2_encode__luks_wrong_passphrase(void **state)
{
    struct memory_file file = luks_header();
    struct luks_volume *volume = NULL;
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    assert_int_equal(
        luks_open(&file.base, 0, file.base.size_bytes, &volume, &err), 0);
    assert_int_equal(luks_unlock(volume, "/nonexistent", NULL, &err),
                     -DS_ERR_SYSTEM);
    assert_int_equal(luks_unlock(volume, "/dev/null", NULL, &err), -DS_ERR_ARG);
    assert_int_equal(luks_unlock(volume, "/dev/zero", NULL, &err),
                     -DS_ERR_LIMIT);
    assert_int_equal(luks_unlock(volume, "/proc/version", NULL, &err),
                     -DS_ERR_REFUSED);
    assert_non_null(strstr(err.message, "the newline at its end counts"));
    assert_null(luks_key(volume));
    luks_close(volume);
    memory_free(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_qcow2_encode__round_trip),
        cmocka_unit_test(test_qcow2_encode__narrow_counts),
        cmocka_unit_test(test_qcow2_encode__every_failing_write),
        cmocka_unit_test(test_qcow2_encode__nothing_but_zeros),
        cmocka_unit_test(test_qcow2_encode__luks_headers),
        cmocka_unit_test(test_qcow2_encode__luks_wrong_passphrase),
    };

    return cmocka_run_group_tests_name("qcow2_encode", tests, NULL, NULL);
}
