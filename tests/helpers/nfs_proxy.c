/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands between an NFS client and its server, and writes down or spoils what
 * goes through:
 *
 *     nfs_proxy PORT ADDRESS ADDRESS_PORT
 *         [cut|drop|delay|noise|word|shorten|swell FIRST [COUNT] |
 *          lose PROCEDURE | late MILLISECONDS]
 *
 *   each call         a line "PROGRAM VERSION PROCEDURE [OPERATION]" on stdout,
 *                     of a compound of NFSv4 the operation that tells its kind
 *   cut FIRST         the connection ends in place of the FIRST-th reply
 *   drop FIRST        that reply is not handed on
 *   noise FIRST       that reply is noise behind its number
 *   word FIRST        one word of its results, another for each FIRST, is all
 * ones shorten FIRST     it ends in its middle swell FIRST       its record is
 * said to be the longest there can be lose PROCEDURE    the first reply to a
 * call of that procedure of NFSv3 is not handed on late MILLISECONDS each reply
 * is handed on so much later, as if the server were far away: those that come
 * together go together. A line "flying N" when more calls than ever have no
 * reply delay FIRST COUNT these calls are not handed on but put off (JUKEBOX,
 *                     DELAY), counted from FIRST
 *
 * Calls and replies are counted from 1, over all connections. It knows RPC
 * (RFC 5531) and no more of NFS than where a compound has its operations; it
 * shares no code with what it tests. Ends by a signal.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PAIR_COUNT_MAX 64
#define RECORD_BYTES_MAX ((size_t)4 << 20)
#define NFS_PROGRAM 100003u
#define NFS3ERR_JUKEBOX 10008u
#define SEQUENCE 53u

/* Operations that only lead to the one that a compound is for. */
static const uint32_t leading[] = { 9, 10, 22, 24, 32, 53 };

struct side {
    int fd;
    uint8_t *bytes; /* of the record that comes in */
    size_t length;
};

/* A reply that is on its way, or (lose) a call whose reply is waited for. */
struct late {
    struct late *next;
    int64_t due_ms;
    size_t length;
    uint8_t bytes[];
};

static struct pair {
    struct side client, server;
    struct late *late; /* in the order in which they came */
    unsigned flying;
} pairs[PAIR_COUNT_MAX];

static const char *fault = "";
static unsigned fault_first, fault_count = 1;
static unsigned call_count, reply_count, flying_most;
static uint32_t lost_xid;
static bool loses; /* a call whose reply is to be lost is on its way */
static struct sockaddr_in server_address;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static uint32_t word_at(const uint8_t *bytes, size_t length, size_t offset)
{
    if (offset + 4 > length)
        return 0;
    bytes += offset;
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 |
           (uint32_t)bytes[2] << 8 | bytes[3];
}

static void put_word(uint8_t **next, uint32_t value)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        *(*next)++ = (uint8_t)(value >> shift);
}

static bool send_all(int fd, const uint8_t *bytes, size_t length)
{
    while (length > 0) {
        ssize_t done = send(fd, bytes, length, MSG_NOSIGNAL);

        if (done <= 0)
            return false;
        bytes += done;
        length -= (size_t)done;
    }
    return true;
}

static int64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void end_pair(struct pair *pair)
{
    while (pair->late != NULL) {
        struct late *late = pair->late;

        pair->late = late->next;
        free(late);
    }
    (void)close(pair->client.fd);
    (void)close(pair->server.fd);
    free(pair->client.bytes);
    free(pair->server.bytes);
    *pair = (struct pair){ .client.fd = -1, .server.fd = -1 };
}

/* Behind opaque<> at `offset`. */
static size_t skip_opaque(const uint8_t *bytes, size_t length, size_t offset)
{
    return offset + 4 + ((word_at(bytes, length, offset) + 3u) & ~3u);
}

/* Where a call's arguments begin: behind credential and verifier. */
static size_t arguments_of(const uint8_t *bytes, size_t length)
{
    size_t credential = skip_opaque(bytes, length, 4 + 24 + 4);

    return skip_opaque(bytes, length, credential + 4);
}

static bool is_leading(uint32_t op)
{
    for (size_t i = 0; i < sizeof(leading) / sizeof(leading[0]); i++)
        if (leading[i] == op)
            return true;
    return false;
}

/* The operation that a compound is for. Only those are gone over whose length
 * is known here. */
static uint32_t operation_of(const uint8_t *bytes, size_t length)
{
    size_t at = skip_opaque(bytes, length, arguments_of(bytes, length)) + 4;
    uint32_t left = word_at(bytes, length, at), op = 0;

    for (at += 4; left > 0; left--) {
        op = word_at(bytes, length, at);
        at += 4;
        if (!is_leading(op))
            break;
        if (op == SEQUENCE)
            at += 32;
        else if (op == 22) /* PUTFH */
            at = skip_opaque(bytes, length, at);
    }
    return op;
}

/* An answer in the server's place. */
static bool put_off(int fd, const uint8_t *call, size_t length)
{
    uint8_t reply[128], *next = reply + 4;
    size_t tag = arguments_of(call, length);
    size_t first_op = skip_opaque(call, length, tag) + 8;

    put_word(&next, word_at(call, length, 4)); /* xid */
    put_word(&next, 1);
    for (int i = 0; i < 4; i++)
        put_word(&next, 0);
    put_word(&next, NFS3ERR_JUKEBOX); /* NFS4ERR_DELAY is the same */
    if (word_at(call, length, 4 + 16) == 4) {
        put_word(&next, 0);
        put_word(&next, 1);
        put_word(&next, word_at(call, length, first_op));
        put_word(&next, NFS3ERR_JUKEBOX);
    } else { /* no attributes, as many as there may be */
        for (int i = 0; i < 4; i++)
            put_word(&next, 0);
    }
    length = (size_t)(next - reply);
    next = reply;
    put_word(&next, UINT32_C(0x80000000) | (uint32_t)(length - 4));
    return send_all(fd, reply, length);
}

static bool is_chosen(const char *kind, unsigned index)
{
    return strcmp(fault, kind) == 0 && index >= fault_first &&
           index - fault_first < fault_count;
}

static bool take_call(struct pair *pair, const uint8_t *bytes, size_t length)
{
    uint32_t program = word_at(bytes, length, 4 + 12);
    uint32_t version = word_at(bytes, length, 4 + 16);
    uint32_t procedure = word_at(bytes, length, 4 + 20);

    printf("%u %u %u", program, version, procedure);
    if (program == NFS_PROGRAM && version == 4)
        printf(" %u", operation_of(bytes, length));
    putchar('\n');
    (void)fflush(stdout);
    if (is_chosen("delay", ++call_count))
        return put_off(pair->client.fd, bytes, length);
    if (strcmp(fault, "lose") == 0 && program == NFS_PROGRAM && version == 3 &&
        procedure == fault_first && fault_count > 0) {
        fault_count--;
        loses = true;
        lost_xid = word_at(bytes, length, 4);
    }
    if (++pair->flying > flying_most && strcmp(fault, "late") == 0) {
        flying_most = pair->flying;
        printf("flying %u\n", flying_most);
        (void)fflush(stdout);
    }
    return send_all(pair->server.fd, bytes, length);
}

static bool put_late(struct pair *pair, const uint8_t *bytes, size_t length)
{
    struct late *late = malloc(sizeof(*late) + length), **end = &pair->late;

    if (late == NULL)
        die("memory");
    late->next = NULL;
    late->due_ms = now_ms() + fault_first;
    late->length = length;
    memcpy(late->bytes, bytes, length);
    while (*end != NULL)
        end = &(*end)->next;
    *end = late;
    return true;
}

/* Hand on what is due. How long until the next is; -1: there is none. */
static int hand_on(struct pair *pair)
{
    while (pair->late != NULL) {
        struct late *late = pair->late;
        int64_t left_ms = late->due_ms - now_ms();

        if (left_ms > 0)
            return (int)left_ms;
        pair->flying--;
        if (!send_all(pair->client.fd, late->bytes, late->length)) {
            end_pair(pair);
            break;
        }
        pair->late = late->next;
        free(late);
    }
    return -1;
}

/* A reply from a server that means ill, or has no memory left. Behind the
 * number stand the kind of message, four words of RPC, then the results. */
static bool send_spoilt(int fd, const uint8_t *bytes, size_t length)
{
    /* Beyond those words may be a file's data, of which nobody knows better. */
    enum { NUMBER_END = 8, RESULTS = 28, WORD_COUNT_MAX = 25 };
    static uint8_t spoilt[RECORD_BYTES_MAX];
    uint32_t random = 2654435761u * (reply_count + 1), mark;
    size_t count = length > RESULTS ? (length - RESULTS) / 4 : 1;

    memcpy(spoilt, bytes, length);
    if (strcmp(fault, "noise") == 0)
        for (size_t i = NUMBER_END; i < length; i++)
            spoilt[i] =
                (uint8_t)((random = random * 1664525u + 1013904223u) >> 24);
    if (strcmp(fault, "word") == 0 && length > RESULTS)
        memset(spoilt + RESULTS +
                   random / 7 %
                       (count < WORD_COUNT_MAX ? count : WORD_COUNT_MAX) * 4,
               0xff, 4);
    if (strcmp(fault, "shorten") == 0)
        length = 4 + (length - 4) / 2 / 4 * 4;
    mark = UINT32_C(0x80000000) |
           (strcmp(fault, "swell") == 0 ? UINT32_C(0x7fffffff)
                                        : (uint32_t)(length - 4));
    mark = htonl(mark);
    memcpy(spoilt, &mark, sizeof(mark));
    return send_all(fd, spoilt, length);
}

static bool is_spoilt(void)
{
    return is_chosen("noise", reply_count) || is_chosen("word", reply_count) ||
           is_chosen("shorten", reply_count) || is_chosen("swell", reply_count);
}

static bool take_reply(struct pair *pair, const uint8_t *bytes, size_t length)
{
    reply_count++;
    if (strcmp(fault, "late") == 0)
        return put_late(pair, bytes, length);
    pair->flying--;
    if (loses && word_at(bytes, length, 4) == lost_xid) {
        loses = false;
        return true;
    }
    if (is_chosen("cut", reply_count))
        return false;
    if (is_chosen("drop", reply_count))
        return true;
    if (is_spoilt())
        return send_spoilt(pair->client.fd, bytes, length);
    return send_all(pair->client.fd, bytes, length);
}

/* What came in; whole records are taken. Fragments are whole records here:
 * neither side splits them. */
static bool take(struct pair *pair, struct side *side,
                 bool (*whole)(struct pair *, const uint8_t *, size_t))
{
    ssize_t got = recv(side->fd, side->bytes + side->length,
                       RECORD_BYTES_MAX - side->length, 0);

    if (got <= 0)
        return false;
    side->length += (size_t)got;
    while (side->length >= 4) {
        size_t record = 4 + (word_at(side->bytes, 4, 0) & UINT32_C(0x7fffffff));

        if (record > RECORD_BYTES_MAX)
            return false;
        if (side->length < record)
            return true;
        if (!whole(pair, side->bytes, record))
            return false;
        side->length -= record;
        memmove(side->bytes, side->bytes + record, side->length);
    }
    return true;
}

static void take_connection(int listener)
{
    int client = accept(listener, NULL, NULL);
    struct pair *pair = pairs;

    if (client < 0)
        return;
    while (pair < pairs + PAIR_COUNT_MAX && pair->client.fd >= 0)
        pair++;
    if (pair == pairs + PAIR_COUNT_MAX)
        die("too many connections");
    pair->client.fd = client;
    pair->server.fd = socket(AF_INET, SOCK_STREAM, 0);
    pair->client.bytes = malloc(RECORD_BYTES_MAX);
    pair->server.bytes = malloc(RECORD_BYTES_MAX);
    pair->client.length = pair->server.length = 0;
    if (pair->client.bytes == NULL || pair->server.bytes == NULL)
        die("memory");
    if (connect(pair->server.fd, (struct sockaddr *)&server_address,
                sizeof(server_address)) != 0)
        end_pair(pair);
}

static void serve(int listener)
{
    struct pollfd polled[1 + 2 * PAIR_COUNT_MAX];

    for (;;) {
        int wait_ms = -1;

        polled[0] = (struct pollfd){ .fd = listener, .events = POLLIN };
        for (size_t i = 0; i < PAIR_COUNT_MAX; i++) {
            int left_ms = hand_on(&pairs[i]);

            if (left_ms >= 0 && (wait_ms < 0 || left_ms < wait_ms))
                wait_ms = left_ms;
            polled[1 + 2 * i] =
                (struct pollfd){ .fd = pairs[i].client.fd, .events = POLLIN };
            polled[2 + 2 * i] =
                (struct pollfd){ .fd = pairs[i].server.fd, .events = POLLIN };
        }
        if (poll(polled, 1 + 2 * PAIR_COUNT_MAX, wait_ms) < 0 && errno != EINTR)
            die("poll");
        for (size_t i = 0; i < PAIR_COUNT_MAX; i++)
            if ((polled[1 + 2 * i].revents != 0 &&
                 !take(&pairs[i], &pairs[i].client, take_call)) ||
                (polled[2 + 2 * i].revents != 0 &&
                 !take(&pairs[i], &pairs[i].server, take_reply)))
                end_pair(&pairs[i]);
        if (polled[0].revents != 0)
            take_connection(listener);
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_in own = { .sin_family = AF_INET };
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;

    if (argc != 4 && argc != 6 && argc != 7) {
        fprintf(stderr, "usage: nfs_proxy PORT ADDRESS ADDRESS_PORT "
                        "[cut|drop|delay|noise|word|shorten|swell FIRST "
                        "[COUNT] | lose PROCEDURE | late MILLISECONDS]\n");
        return 2;
    }
    if (argc > 4) {
        fault = argv[4];
        fault_first = (unsigned)strtoul(argv[5], NULL, 10);
    }
    if (argc > 6)
        fault_count = (unsigned)strtoul(argv[6], NULL, 10);
    for (size_t i = 0; i < PAIR_COUNT_MAX; i++)
        pairs[i].client.fd = pairs[i].server.fd = -1;
    own.sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10));
    own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server_address.sin_family = AF_INET;
    server_address.sin_port = htons((uint16_t)strtoul(argv[3], NULL, 10));
    if (inet_pton(AF_INET, argv[2], &server_address.sin_addr) != 1)
        die(argv[2]);
    (void)setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(listener, (struct sockaddr *)&own, sizeof(own)) != 0 ||
        listen(listener, 16) != 0)
        die("listen");
    puts("ready");
    (void)fflush(stdout);
    serve(listener);
    return 0;
}
