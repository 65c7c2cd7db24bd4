/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client is the real one down to reading from a socket. In place of
 * connecting and sending (the linker puts these in) stands a server in this
 * very thread: what is sent is answered at once into the other end of a socket
 * pair.
 */
#include "nfs_replies.h"

#include <assert.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../unit/nfs_fake_server.h"
#include "fail.h"
#include "play_clock.h"

#define EDIT_BYTES 8u
#define REPLY_BYTES_MAX ((size_t)16 * 1024)
#define TIMEOUT_MS 1000
#define PATIENCE_MS 2000
#define SEND_COUNT_MAX 20000u /* far more than any patience takes */
#define PIECE_COUNT 40u

enum edit_kind {
    EDIT_WORD,     /* put the value there */
    EDIT_ADD,      /* add it, as signed, to the word there */
    EDIT_TRUNCATE, /* the record ends there */
    EDIT_INSERT,   /* the value comes before what is there */
    EDIT_MARK,     /* the value is the record's mark */
    EDIT_CUT,      /* the connection ends instead */
    EDIT_SILENT,   /* no reply */
    EDIT_TWICE,    /* the reply comes twice */
    EDIT_STATUS,   /* the compound's status, and the last result's */
    EDIT_COUNT
};

static struct {
    const uint8_t *input;
    size_t edit_count;
    struct fake fake;
    int server_fd;
    unsigned reply_index;
    unsigned send_count;
} play;

/* -- time -------------------------------------------------------------------
 */

/* What was sent is answered by now, or never: nobody waits in real time. */
int __real_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    int ready = __real_poll(fds, count, play_clock_runs() ? 0 : timeout_ms);

    if (ready == 0 && play_clock_runs())
        play_clock_add_ms(timeout_ms > 0 ? timeout_ms : 0);
    return ready;
}

/* -- the server -------------------------------------------------------------
 */

static uint32_t word_of(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 |
           (uint32_t)bytes[2] << 8 | bytes[3];
}

static void hang_up(void)
{
    if (play.server_fd >= 0)
        (void)close(play.server_fd);
    play.server_fd = -1;
}

/* What an edit makes of a reply with its mark. */
static void spoil(struct xdr_out *out, unsigned kind, size_t offset,
                  uint32_t value, unsigned *times)
{
    size_t length = out->length_bytes;

    offset = length >= 4 ? offset % (length - 3) : 0;
    switch (kind % EDIT_COUNT) {
    case EDIT_WORD:
        if (length >= 4)
            xdr_patch_u32(out, offset, value);
        break;
    case EDIT_ADD:
        if (length >= 4)
            xdr_patch_u32(out, offset, word_of(out->bytes + offset) + value);
        break;
    case EDIT_TRUNCATE:
        out->length_bytes = offset;
        break;
    case EDIT_INSERT:
        xdr_put_u32(out, 0);
        memmove(out->bytes + offset + 4, out->bytes + offset, length - offset);
        xdr_patch_u32(out, offset, value);
        break;
    case EDIT_CUT:
    case EDIT_SILENT:
        *times = 0;
        break;
    case EDIT_TWICE:
        *times = 2;
        break;
    case EDIT_STATUS:
        if (length >= 36) {
            xdr_patch_u32(out, 28, value);
            xdr_patch_u32(out, length - 4, value);
        }
        break;
    default:
        break;
    }
}

static void put_reply(const struct xdr_out *out, uint32_t mark, unsigned times)
{
    uint8_t wire[4 + REPLY_BYTES_MAX];
    size_t length = out->length_bytes < 4 ? 0 : out->length_bytes - 4;

    if (length > REPLY_BYTES_MAX)
        length = REPLY_BYTES_MAX;
    for (unsigned i = 0; i < 4; i++)
        wire[i] = (uint8_t)(mark >> (24 - 8 * i));
    if (length > 0)
        memcpy(wire + 4, out->bytes + 4, length);
    while (times-- > 0)
        if (send(play.server_fd, wire, 4 + length,
                 MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            hang_up();
}

static void answer(const uint8_t *call, size_t length)
{
    struct xdr_out out = { 0 };
    bool silent = false, cut = false, marked = false;
    unsigned times = 1;
    uint32_t mark = 0;

    cut = !fake_reply(&play.fake, call, length, &out, &silent);
    for (size_t i = 0; i < play.edit_count; i++) {
        const uint8_t *edit = play.input + i * EDIT_BYTES;
        unsigned kind = edit[1] % EDIT_COUNT;

        if (edit[0] != (play.reply_index & 255))
            continue;
        spoil(&out, kind, (size_t)edit[2] << 8 | edit[3], word_of(edit + 4),
              &times);
        cut = cut || kind == EDIT_CUT;
        marked = marked || kind == EDIT_MARK;
        if (kind == EDIT_MARK)
            mark = word_of(edit + 4);
    }
    if (!marked)
        mark = UINT32_C(0x80000000) |
               (uint32_t)(out.length_bytes < 4 ? 0 : out.length_bytes - 4);
    play.reply_index++;
    if (cut)
        hang_up();
    else if (play.server_fd >= 0)
        put_reply(&out, mark, times);
    xdr_out_free(&out);
}

/* -- in place of nfs_rpc.c's ------------------------------------------------
 */

int __wrap_nfs_rpc_connect(struct nfs_rpc *rpc, const char *host, uint16_t port,
                           struct ds_error *err);
int __wrap_nfs_rpc_connect(struct nfs_rpc *rpc, const char *host, uint16_t port,
                           struct ds_error *err)
{
    int pair[2];

    (void)host;
    (void)port;
    nfs_rpc_disconnect(rpc);
    hang_up();
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
                   pair) != 0)
        return ds_fail_memory(err);
    rpc->fd = pair[0];
    play.server_fd = pair[1];
    return 0;
}

int __wrap_nfs_rpc_send(struct nfs_rpc *rpc, struct xdr_out *out,
                        struct ds_error *err);
int __wrap_nfs_rpc_send(struct nfs_rpc *rpc, struct xdr_out *out,
                        struct ds_error *err)
{
    assert(play.send_count++ < SEND_COUNT_MAX);
    assert(!out->failed && out->length_bytes > 4);
    rpc->sent_bytes += out->length_bytes;
    rpc->call_count++;
    play_clock_add_ms(1);
    if (play.server_fd < 0)
        return ds_fail_errno(err, 32, NULL, "nfs: cannot send");
    answer(out->bytes + 4, out->length_bytes - 4);
    return 0;
}

/* -- the client -------------------------------------------------------------
 */

static int judge(int result, const struct ds_error *err)
{
    assert(result <= 0);
    assert(result == 0 ||
           (err->message[0] != '\0' && result == -(int)err->error_class));
    return result;
}

static const struct nfs42_handle source = { "source", 6 };

static void fill(struct nfs42_piece *pieces, const struct nfs42_handle *target)
{
    static const enum nfs42_op ops[] = { NFS42_CLONE, NFS42_CLONE, NFS42_COPY,
                                         NFS42_DEALLOCATE, NFS42_ALLOCATE };

    for (size_t i = 0; i < PIECE_COUNT; i++) {
        enum nfs42_op op = ops[i % (sizeof(ops) / sizeof(ops[0]))];

        pieces[i] = (struct nfs42_piece){
            .op = op,
            .source = op == NFS42_CLONE || op == NFS42_COPY ? &source : NULL,
            .target = target,
            .source_offset_bytes = i * 4096,
            .target_offset_bytes = (PIECE_COUNT - i) * 4096,
            .length_bytes = 4096,
        };
    }
}

static bool run_pieces(struct nfs42 *session, const struct nfs42_handle *target)
{
    struct nfs42_piece pieces[PIECE_COUNT];
    struct ds_error err = DS_ERROR_INIT;
    bool all = true;

    fill(pieces, target);
    if (judge(nfs42_run_pieces(session, pieces, PIECE_COUNT, &err), &err) != 0)
        return false;
    for (size_t i = 0; i < PIECE_COUNT; i++) {
        assert(pieces[i].answered);
        assert(pieces[i].done_bytes <= pieces[i].length_bytes);
        all = all && pieces[i].status == NFS42_OK;
    }
    return all;
}

static int work(struct nfs42 *session)
{
    static const uint64_t offsets[] = { 101, 200 };
    struct nfs42_lock_test locks = { .offsets = offsets, .count = 2 };
    struct ds_error err = DS_ERROR_INIT;
    uint8_t verifier[NFS42_VERIFIER_BYTES];
    struct nfs42_file_facts facts;
    uint64_t found = 0;
    uint32_t status = 0;
    bool at_end, all;

    assert(session->slot_count >= 1 &&
           session->slot_count <= NFS42_SLOT_COUNT_MAX);
    assert(session->op_count_max >= 8);
    if (judge(
            nfs42_look_up(session, "/srv/disk", &locks, &facts, &status, &err),
            &err) != 0 ||
        status != NFS42_OK)
        return 1;
    assert(facts.handle.length_bytes > 0 &&
           facts.handle.length_bytes <= NFS42_HANDLE_BYTES_MAX);
    all = run_pieces(session, &facts.handle);
    all = judge(nfs42_seek(session, &facts.handle, 0, false, &found, &at_end,
                           &status, &err),
                &err) == 0 &&
          status == NFS42_OK && all;
    all = judge(nfs42_commit(session, &facts.handle, verifier, &status, &err),
                &err) == 0 &&
          status == NFS42_OK && all;
    return all ? 3 : 2;
}

int fuzz_nfs_replies(const uint8_t *input, size_t length_bytes)
{
    struct nfs42_options options = { .host = "fuzz",
                                     .timeout_ms = TIMEOUT_MS,
                                     .patience_ms = PATIENCE_MS };
    struct ds_error err = DS_ERROR_INIT;
    struct nfs42 *session = NULL;
    int reached = 0;

    memset(&play, 0, sizeof(play));
    play.input = input;
    play.edit_count = length_bytes / EDIT_BYTES;
    play.server_fd = -1;
    play.fake.grant_ops = FAKE_OP_COUNT_MAX;
    play.fake.grant_slots = 3;
    play_clock_begin(1);
    if (judge(nfs42_open(&options, &session, &err), &err) == 0) {
        reached = work(session);
        nfs42_close(session);
    }
    play_clock_end();
    hang_up();
    return reached;
}
