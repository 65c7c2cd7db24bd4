/* SPDX-License-Identifier: Apache-2.0 */
/* The NFSv4.2 client against a server in a thread that may misbehave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "nfs_fake_server.h"

#define PIECE_COUNT 40u

static const struct nfs42_handle source = { "source", 6 };
static const struct nfs42_handle target = { "target", 6 };

static struct nfs42 *connect_to(const struct fake *fake)
{
    struct nfs42_options options = { .host = "127.0.0.1",
                                     .port = fake->port,
                                     .timeout_ms = 500,
                                     .patience_ms = 1500 };
    struct ds_error err = DS_ERROR_INIT;
    struct nfs42 *session = NULL;

    if (nfs42_open(&options, &session, &err) != 0)
        fail_msg("%s", err.message);
    return session;
}

static void fill(struct nfs42_piece *pieces, size_t count)
{
    for (size_t i = 0; i < count; i++)
        pieces[i] = (struct nfs42_piece){
            .op = NFS42_CLONE,
            .source = &source,
            .target = &target,
            .source_offset_bytes = i * 4096,
            .target_offset_bytes = (count - i) * 4096,
            .length_bytes = 4096,
        };
}

static void all_done(const struct nfs42_piece *pieces, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_int_equal(pieces[i].status, NFS42_OK);
}

static void test_session__clones_are_packed(void **state)
{
    struct nfs42_piece pieces[PIECE_COUNT];
    struct ds_error err = DS_ERROR_INIT;
    struct fake fake;
    struct nfs42 *session;

    (void)state;
    fake_start(&fake);
    session = connect_to(&fake);
    fill(pieces, PIECE_COUNT);
    assert_int_equal(nfs42_run_pieces(session, pieces, PIECE_COUNT, &err), 0);
    all_done(pieces, PIECE_COUNT);
    assert_int_equal(fake.clone_count, PIECE_COUNT);
    /* SEQUENCE, PUTFH, SAVEFH, PUTFH leave 4 of 8 */
    assert_int_equal(fake.work_count, PIECE_COUNT / 4);
    assert_int_equal(fake.op_count_most, FAKE_OP_COUNT_MAX);
    nfs42_close(session);
    assert_int_equal(fake.destroy_count, 1);
    fake_end(&fake);
}

static void test_session__a_piece_may_begin_a_compound(void **state)
{
    struct nfs42_piece pieces[4];
    struct ds_error err = DS_ERROR_INIT;
    struct fake fake;
    struct nfs42 *session;

    (void)state;
    fake_start(&fake);
    session = connect_to(&fake);
    fill(pieces, 4);
    pieces[0].begins_compound = true;
    pieces[2].begins_compound = true;
    assert_int_equal(nfs42_run_pieces(session, pieces, 4, &err), 0);
    all_done(pieces, 4);
    assert_int_equal(fake.clone_count, 4);
    assert_int_equal(fake.work_count, 2);
    nfs42_close(session);
    fake_end(&fake);
}

/* SEQUENCE and PUTFHs included; each call is one. */
static void test_session__calls_are_counted(void **state)
{
    struct nfs_count counts[NFS42_OP_COUNT] = { 0 };
    struct nfs42_options options = { .host = "127.0.0.1",
                                     .timeout_ms = 500,
                                     .patience_ms = 1500,
                                     .counts = counts };
    struct nfs42_piece pieces[PIECE_COUNT];
    struct ds_error err = DS_ERROR_INIT;
    struct nfs42 *session = NULL;
    struct fake fake;

    (void)state;
    fake_start(&fake);
    options.port = fake.port;
    assert_int_equal(nfs42_open(&options, &session, &err), 0);
    fill(pieces, PIECE_COUNT);
    assert_int_equal(nfs42_run_pieces(session, pieces, PIECE_COUNT, &err), 0);
    nfs42_close(session);
    fake_end(&fake);
    assert_int_equal(counts[NFS42_CLONE].round_trips, PIECE_COUNT / 4);
    assert_int_equal(counts[NFS42_CLONE].operations, PIECE_COUNT / 4 * 8);
    assert_true(counts[NFS42_CLONE].sent_bytes > PIECE_COUNT * 60 &&
                counts[NFS42_CLONE].received_bytes > PIECE_COUNT * 8);
    assert_int_equal(counts[NFS42_EXCHANGE_ID].round_trips, 1);
    assert_int_equal(counts[NFS42_DESTROY_CLIENTID].round_trips, 1);
}

static void test_session__bounds_of_a_compound(void **state)
{
    struct nfs42_options options = { .host = "127.0.0.1",
                                     .timeout_ms = 500,
                                     .patience_ms = 1500,
                                     .slot_count_max = 1,
                                     .piece_count_max = 1 };
    struct nfs42_piece pieces[PIECE_COUNT];
    struct ds_error err = DS_ERROR_INIT;
    struct nfs42 *session = NULL;
    struct fake fake;

    (void)state;
    fake_start(&fake);
    options.port = fake.port;
    assert_int_equal(nfs42_open(&options, &session, &err), 0);
    assert_int_equal(session->slot_count, 1);
    fill(pieces, PIECE_COUNT);
    assert_int_equal(nfs42_run_pieces(session, pieces, PIECE_COUNT, &err), 0);
    all_done(pieces, PIECE_COUNT);
    assert_int_equal(fake.work_count, PIECE_COUNT);
    nfs42_close(session);
    fake_end(&fake);
}

static void test_session__look_up_and_locks(void **state)
{
    static const uint64_t offsets[] = { 101, 200 };
    static const char deep[] = "/a/b/c/d/e/f/g/h/i";
    struct nfs42_lock_test locks = { .offsets = offsets, .count = 2 };
    struct ds_error err = DS_ERROR_INIT;
    struct nfs42_file_facts facts;
    uint32_t status = 1;
    struct fake fake;
    struct nfs42 *session;

    (void)state;
    fake_start(&fake);
    session = connect_to(&fake);
    assert_int_equal(
        nfs42_look_up(session, "/disk", &locks, &facts, &status, &err), 0);
    assert_int_equal(status, NFS42_OK);
    assert_int_equal(locks.status, NFS42_OK);
    assert_int_equal(facts.file_id, 42);
    assert_int_equal(facts.size_bytes, 123456);
    assert_int_equal(facts.handle.length_bytes, 6);
    fake.lock_status = NFS42_ERR_DENIED;
    assert_int_equal(
        nfs42_look_up(session, "/disk", &locks, &facts, &status, &err), 0);
    assert_int_equal(status, NFS42_OK);
    assert_int_equal(locks.status, NFS42_ERR_DENIED);
    assert_int_equal(nfs42_look_up(session, deep, NULL, &facts, &status, &err),
                     0);
    assert_int_equal(status, NFS42_ERR_RESOURCE);
    nfs42_close(session);
    fake_end(&fake);
}

/* The one that fails has its status, those behind it in the compound run. */
static void test_session__a_clone_that_fails(void **state)
{
    struct nfs42_piece pieces[PIECE_COUNT];
    struct ds_error err = DS_ERROR_INIT;
    struct fake fake;
    struct nfs42 *session;
    unsigned failed = 0;

    (void)state;
    fake_start(&fake);
    fake.fail_at = 5;
    fake.fail_status = NFS42_ERR_INVAL;
    session = connect_to(&fake);
    fill(pieces, PIECE_COUNT);
    assert_int_equal(nfs42_run_pieces(session, pieces, PIECE_COUNT, &err), 0);
    for (size_t i = 0; i < PIECE_COUNT; i++)
        failed += pieces[i].status == NFS42_ERR_INVAL;
    assert_int_equal(failed, 1);
    assert_int_equal(pieces[5].status, NFS42_ERR_INVAL);
    assert_int_equal(fake.clone_count, PIECE_COUNT);
    nfs42_close(session);
    fake_end(&fake);
}

static void test_session__copy_says_how_much(void **state)
{
    struct nfs42_piece piece;
    struct ds_error err = DS_ERROR_INIT;
    struct fake fake;
    struct nfs42 *session;

    (void)state;
    fake_start(&fake);
    session = connect_to(&fake);
    fill(&piece, 1);
    piece.op = NFS42_COPY;
    assert_int_equal(nfs42_run_pieces(session, &piece, 1, &err), 0);
    assert_int_equal(piece.status, NFS42_OK);
    assert_int_equal(piece.done_bytes, 2048);
    nfs42_close(session);
    fake_end(&fake);
}

/* What passes: all is done in the end, whatever happened first. */
static void test_session__goes_on_after(void **state)
{
    static const struct {
        enum fake_fault fault;
        unsigned sessions;
    } rows[] = {
        { FAKE_DELAY, 1 },
        { FAKE_CUT, 2 },
        { FAKE_SILENT, 2 },
        { FAKE_BADSESSION, 2 },
    };

    (void)state;
    for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
        struct nfs42_piece pieces[PIECE_COUNT];
        struct ds_error err = DS_ERROR_INIT;
        struct fake fake;
        struct nfs42 *session;

        fake_start(&fake);
        fake.faults[1] = rows[r].fault;
        session = connect_to(&fake);
        fill(pieces, PIECE_COUNT);
        if (nfs42_run_pieces(session, pieces, PIECE_COUNT, &err) != 0)
            fail_msg("fault %d: %s", (int)rows[r].fault, err.message);
        all_done(pieces, PIECE_COUNT);
        assert_true(fake.clone_count >= PIECE_COUNT);
        if (rows[r].sessions == 1)
            assert_int_equal(fake.session_count, 1);
        else /* the old one is destroyed before anything is sent again */
            assert_true(fake.session_count >= 2 &&
                        fake.destroy_count >= fake.session_count - 1);
        nfs42_close(session);
        fake_end(&fake);
    }
}

static int64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* What does not pass: an error in bounded time, and the next call works. */
static void test_session__hostile(void **state)
{
    (void)state;
    for (int fault = FAKE_DELAY; fault < FAKE_COUNT; fault++) {
        struct nfs42_piece pieces[PIECE_COUNT];
        struct ds_error err = DS_ERROR_INIT;
        struct fake fake;
        struct nfs42 *session;
        int64_t begun = now_ms();

        fake_start(&fake);
        session = connect_to(&fake);
        fake.faults[0] = (enum fake_fault)fault;
        fake.fault_always = true;
        fill(pieces, PIECE_COUNT);
        if (nfs42_run_pieces(session, pieces, PIECE_COUNT, &err) == 0)
            fail_msg("fault %d went unseen", fault);
        assert_true(err.error_class == DS_ERR_SYSTEM ||
                    err.error_class == DS_ERR_CORRUPT ||
                    err.error_class == DS_ERR_UNSUPPORTED);
        assert_string_not_equal(err.message, "");
        assert_true(now_ms() - begun < 10000);
        fake.faults[0] = FAKE_NONE;
        fill(pieces, PIECE_COUNT);
        if (nfs42_run_pieces(session, pieces, PIECE_COUNT, &err) != 0)
            fail_msg("after fault %d: %s", fault, err.message);
        all_done(pieces, PIECE_COUNT);
        nfs42_close(session);
        fake_end(&fake);
    }
}

static void test_session__grants_too_little(void **state)
{
    struct nfs42_options options = { .host = "127.0.0.1",
                                     .timeout_ms = 500,
                                     .patience_ms = 1000 };
    struct ds_error err = DS_ERROR_INIT;
    struct nfs42 *session = NULL;
    struct fake fake;

    (void)state;
    fake_start(&fake);
    options.port = fake.port;
    fake.grant_ops = 3;
    assert_int_equal(nfs42_open(&options, &session, &err), -DS_ERR_UNSUPPORTED);
    fake.grant_ops = 8;
    fake.grant_slots = 0;
    assert_int_equal(nfs42_open(&options, &session, &err), -DS_ERR_UNSUPPORTED);
    fake_end(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_session__clones_are_packed),
        cmocka_unit_test(test_session__a_piece_may_begin_a_compound),
        cmocka_unit_test(test_session__calls_are_counted),
        cmocka_unit_test(test_session__bounds_of_a_compound),
        cmocka_unit_test(test_session__look_up_and_locks),
        cmocka_unit_test(test_session__a_clone_that_fails),
        cmocka_unit_test(test_session__copy_says_how_much),
        cmocka_unit_test(test_session__goes_on_after),
        cmocka_unit_test(test_session__hostile),
        cmocka_unit_test(test_session__grants_too_little),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
