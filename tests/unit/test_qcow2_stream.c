/* SPDX-License-Identifier: Apache-2.0 */
/* Tables written front to back, with holes. */
#include "qcow2_fixture.h"

#include "qcow2/qcow2_target.h"

#define STREAM_BYTES ((size_t)24 << 20)
#define AT_BYTES 12345u * 4096u

/* What was emitted: nothing twice, and no long stretch of zeros. */
struct sink {
    struct ds_emitter base;
    uint8_t *bytes;
    uint64_t end_bytes; /* of the last write */
    uint64_t written_bytes;
};

static int sink_write(struct ds_emitter *base, uint32_t target_index,
                      uint64_t offset_bytes, const void *bytes,
                      size_t length_bytes, struct ds_error *err)
{
    struct sink *sink = (struct sink *)base;

    (void)err;
    assert_int_equal(target_index, 0);
    assert_true(offset_bytes >= AT_BYTES + sink->end_bytes);
    offset_bytes -= AT_BYTES;
    assert_true(offset_bytes + length_bytes <= STREAM_BYTES);
    memcpy(sink->bytes + offset_bytes, bytes, length_bytes);
    sink->end_bytes = offset_bytes + length_bytes;
    sink->written_bytes += length_bytes;
    return 0;
}

static uint64_t leap(void)
{
    switch (random() % 16) {
    case 0:
        return (uint64_t)random() % (2 << 20);
    case 1:
        return (uint64_t)random() % 40000;
    case 2:
        return 32768 - 8;
    default:
        return (uint64_t)random() % 64;
    }
}

/* Against a plain array: requests that rise, some looking back a little. */
static void stream_pass(struct table_stream *stream, struct sink *sink,
                        uint8_t *model)
{
    uint64_t at = 0;

    memset(model, 0, STREAM_BYTES);
    memset(sink->bytes, 0, STREAM_BYTES);
    sink->end_bytes = sink->written_bytes = 0;
    qcow2_stream_rewind(stream, AT_BYTES);
    for (;;) {
        uint64_t length = 1 + (uint64_t)random() % 64;
        uint8_t *bytes;

        at += leap();
        if (random() % 32 == 0)
            length = QCOW2_STREAM_BYTES_MAX - (uint64_t)random() % 9;
        if (at + length > STREAM_BYTES)
            break;
        assert_int_equal(
            qcow2_stream_at(stream, at, length, &sink->base, &bytes, NULL), 0);
        assert_memory_equal(bytes, model + at, length);
        memset(bytes, (int)(random() % 255 + 1), length);
        memcpy(model + at, bytes, length);
        at += random() % 4 == 0 ? length / 2 : length;
    }
    assert_int_equal(qcow2_stream_flush(stream, &sink->base, NULL), 0);
    assert_memory_equal(sink->bytes, model, STREAM_BYTES);
}

static void test_qcow2_stream__equals_a_plain_array(void **state)
{
    struct sink sink = { .base = { .write = sink_write },
                         .bytes = malloc(STREAM_BYTES) };
    uint8_t *model = malloc(STREAM_BYTES);
    struct table_stream stream = { 0 };

    (void)state;
    srandom(11);
    assert_non_null(model);
    assert_non_null(sink.bytes);
    assert_int_equal(qcow2_stream_open(&stream, NULL), 0);
    for (int pass = 0; pass < 12; pass++)
        stream_pass(&stream, &sink, model);
    free(stream.buffer);
    free(sink.bytes);
    free(model);
}

/* A page here and there costs a page each, whatever lies between. */
static void test_qcow2_stream__leaves_holes(void **state)
{
    struct sink sink = { .base = { .write = sink_write },
                         .bytes = malloc(STREAM_BYTES) };
    struct table_stream stream = { 0 };
    uint8_t *bytes;

    (void)state;
    assert_non_null(sink.bytes);
    assert_int_equal(qcow2_stream_open(&stream, NULL), 0);
    qcow2_stream_rewind(&stream, AT_BYTES);
    for (uint64_t at = 100; at < STREAM_BYTES; at += 65536)
        assert_int_equal(
            qcow2_stream_at(&stream, at, 8, &sink.base, &bytes, NULL), 0);
    assert_int_equal(qcow2_stream_flush(&stream, &sink.base, NULL), 0);
    assert_int_equal(sink.written_bytes, STREAM_BYTES / 65536 * 4096);
    free(stream.buffer);
    free(sink.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_qcow2_stream__equals_a_plain_array),
        cmocka_unit_test(test_qcow2_stream__leaves_holes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
