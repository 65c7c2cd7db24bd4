/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of ONTAP's REST interface a file clone needs, over a directory whose
 * file system really shares blocks:
 *
 *   ontap_sim ROOT JUNCTION ADDRESS:PORT CERTIFICATE KEY USER:PASSWORD KNOBS
 * LOG
 *
 *   GET  /api/storage/volumes?name=vol1&...
 *   POST /api/storage/file/clone[?return_timeout=N]
 *   GET  /api/cluster/jobs/UUID?...
 *
 * One connection at a time, TLS only. KNOBS is a file that is read at each
 * request, with lines of name=number:
 *
 *   polls    how often a job is asked for until it is done; 0: the request
 *            itself waits for it (standard 2)
 *   fail     the job fails, and leaves the file that it began
 *   forget   a job is done at once, and 404 when it is asked for
 *   lie      a job says success and did nothing
 *   volumes  how many volumes have the name (standard 1)
 *   garbage  answers are no JSON
 *
 * LOG gets a line for each request: method, path, status. What the interface
 * documents not to take is refused here: a target that exists (whole file) or
 * does not (ranges), ranges that overlap or lead outside, too many of them.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <linux/fs.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK_BYTES 4096
#define RANGE_COUNT_MAX 32
#define BLOCK_COUNT_MAX 32768
#define JOB_COUNT_MAX 4096
#define REQUEST_BYTES_MAX 65536
#define UUID "028baa66-41bd-11e9-81d5-00a0986138f7"

static const char *root, *junction, *knobs_file, *log_file;
static char authorization[512];

struct job {
    json_t *request; /* NULL: done */
    long polls;
    char error[128]; /* "": it ended well */
};
static struct job jobs[JOB_COUNT_MAX];
static int job_count;

static long knob(const char *name, long standard)
{
    FILE *file = fopen(knobs_file, "re");
    char line[128];
    size_t length = strlen(name);

    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, name, length) == 0 && line[length] == '=')
            standard = strtol(line + length + 1, NULL, 10);
    if (file != NULL)
        (void)fclose(file);
    return standard;
}

/* -- clones -----------------------------------------------------------------*/

struct range {
    long long source, target, count;
};

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : "";
}

static bool overlap(const struct range *a, const struct range *b)
{
    return (a->source < b->source + b->count &&
            b->source < a->source + a->count) ||
           (a->target < b->target + b->count &&
            b->target < a->target + a->count);
}

static const char *parse_ranges(const json_t *list, struct range *ranges,
                                long long source_bytes, long long target_bytes)
{
    size_t count = json_array_size(list);
    long long blocks = 0;

    if (count == 0 || count > RANGE_COUNT_MAX)
        return "too many block ranges";
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_array_get(list, i));
        struct range *r = &ranges[i];
        char more;

        if (text == NULL || sscanf(text, "%lld:%lld:%lld%c", &r->source,
                                   &r->target, &r->count, &more) != 3)
            return "a range that cannot be read";
        blocks += r->count;
        if (r->count < 1 || blocks > BLOCK_COUNT_MAX)
            return "too many blocks";
        if ((r->source + r->count) * BLOCK_BYTES > source_bytes ||
            (r->target + r->count) * BLOCK_BYTES > target_bytes)
            return "a range beyond the end of the file";
        for (size_t j = 0; j < i; j++)
            if (overlap(r, &ranges[j]))
                return "ranges overlap";
    }
    return NULL;
}

static const char *share(int source, int target, const struct range *ranges,
                         size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct file_clone_range range = {
            .src_fd = source,
            .src_offset = (uint64_t)ranges[i].source * BLOCK_BYTES,
            .src_length = (uint64_t)ranges[i].count * BLOCK_BYTES,
            .dest_offset = (uint64_t)ranges[i].target * BLOCK_BYTES,
        };

        if (ioctl(target, FICLONERANGE, &range) != 0)
            return strerror(errno);
    }
    return NULL;
}

static const char *clone_open(const json_t *list, int source, int target)
{
    struct range ranges[RANGE_COUNT_MAX];
    struct stat from, to;
    const char *wrong;

    if (fstat(source, &from) != 0 || fstat(target, &to) != 0)
        return strerror(errno);
    if (knob("lie", 0) != 0)
        return NULL;
    if (list == NULL && knob("fail", 0) == 0)
        return fchmod(target, from.st_mode & 07777) != 0 ||
                       ioctl(target, FICLONE, source) != 0
                   ? strerror(errno)
                   : NULL;
    if (knob("fail", 0) != 0)
        return "the clone failed, as it was told to";
    wrong = parse_ranges(list, ranges, from.st_size, to.st_size);
    return wrong != NULL ? wrong
                         : share(source, target, ranges, json_array_size(list));
}

/* NULL: done. */
static const char *clone_file(const json_t *request)
{
    const json_t *list = json_object_get(request, "range");
    char from[PATH_MAX], to[PATH_MAX];
    int source, target;
    const char *wrong;

    snprintf(from, sizeof(from), "%s/%s", root,
             text_of(request, "source_path"));
    snprintf(to, sizeof(to), "%s/%s", root,
             text_of(request, "destination_path"));
    source = open(from, O_RDONLY | O_CLOEXEC);
    if (source < 0)
        return strerror(errno);
    target = open(to,
                  list != NULL ? O_RDWR | O_CLOEXEC
                               : O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
                  0600);
    wrong = target < 0 ? strerror(errno) : clone_open(list, source, target);
    if (target >= 0)
        close(target);
    close(source);
    return wrong;
}

static void run_job(struct job *job)
{
    const char *wrong = clone_file(job->request);

    snprintf(job->error, sizeof(job->error), "%s", wrong != NULL ? wrong : "");
    json_decref(job->request);
    job->request = NULL;
}

/* -- requests ---------------------------------------------------------------*/

static json_t *error_of(const char *message, const char *code)
{
    return json_pack("{s:{s:s,s:s}}", "error", "message", message, "code",
                     code);
}

static int get_volumes(json_t **reply)
{
    json_t *records = json_array();

    for (long i = 0; i < knob("volumes", 1); i++)
        json_array_append_new(records, json_pack("{s:s,s:s,s:{s:s}}", "uuid",
                                                 UUID, "name", "vol1", "nas",
                                                 "path", junction));
    *reply = json_pack("{s:o}", "records", records);
    return 200;
}

static bool asks_for(const char *path, const char *name)
{
    const char *query = strchr(path, '?');

    return query != NULL && strncmp(query + 1, name, strlen(name)) == 0 &&
           query[1 + strlen(name)] == '&';
}

static int get_job(const char *path, json_t **reply)
{
    int number = 0;
    struct job *job;

    if (sscanf(path, "/api/cluster/jobs/00000000-%d", &number) != 1 ||
        number < 0 || number >= job_count || knob("forget", 0) != 0) {
        *reply = error_of("entry doesn't exist", "4");
        return 404;
    }
    job = &jobs[number];
    if (job->request != NULL && --job->polls <= 0)
        run_job(job);
    if (job->request != NULL)
        *reply = json_pack("{s:s}", "state", "running");
    else if (job->error[0] == '\0')
        *reply = json_pack("{s:s}", "state", "success");
    else
        *reply = json_pack("{s:s,s:i,s:s}", "state", "failure", "code", 42,
                           "message", job->error);
    return 200;
}

static int post_clone(json_t *request, json_t **reply)
{
    const json_t *volume = json_object_get(request, "volume");
    struct job *job = &jobs[job_count];
    char uuid[64];

    if (strcmp(text_of(volume, "uuid"), UUID) != 0) {
        *reply = error_of("A volume with the given UUID was not found.", "5");
        return 404;
    }
    if (job_count == JOB_COUNT_MAX ||
        text_of(request, "source_path")[0] == '\0' ||
        text_of(request, "destination_path")[0] == '\0') {
        *reply = error_of("a field is missing", "6");
        return 400;
    }
    *job = (struct job){ .request = json_incref(request),
                         .polls = knob("polls", 2) };
    snprintf(uuid, sizeof(uuid), "00000000-%d", job_count++);
    if (job->polls == 0 || knob("forget", 0) != 0)
        run_job(job);
    if (job->request == NULL && job->error[0] != '\0') {
        *reply = error_of(job->error, "7");
        return 500;
    }
    *reply = json_pack("{s:{s:s}}", "job", "uuid", uuid);
    return job->request == NULL && knob("forget", 0) == 0 ? 200 : 202;
}

static int answer(const char *method, const char *path, const char *head,
                  const char *body, json_t **reply)
{
    json_t *request;
    int status;

    if (strstr(head, authorization) == NULL) {
        *reply = error_of("User is not authorized.", "6691623");
        return 401;
    }
    if (strcmp(method, "GET") == 0 &&
        strncmp(path, "/api/storage/volumes?", 21) == 0 &&
        asks_for(path, "name=vol1"))
        return get_volumes(reply);
    if (strcmp(method, "GET") == 0 &&
        strncmp(path, "/api/storage/volumes?", 21) == 0) {
        *reply = json_pack("{s:[]}", "records");
        return 200;
    }
    if (strcmp(method, "GET") == 0)
        return get_job(path, reply);
    request = json_loads(body, 0, NULL);
    status = post_clone(request, reply);
    json_decref(request);
    return status;
}

/* -- HTTP -------------------------------------------------------------------*/

/* A whole request, NUL behind it; where its body begins, or NULL. */
static char *receive(SSL *ssl, char *text)
{
    size_t length = 0, wanted = 0;
    char *body = NULL;

    while (body == NULL || length < wanted) {
        int got =
            SSL_read(ssl, text + length, (int)(REQUEST_BYTES_MAX - 1 - length));
        const char *header;

        if (got <= 0)
            return NULL;
        length += (size_t)got;
        text[length] = '\0';
        body = strstr(text, "\r\n\r\n");
        if (body == NULL)
            continue;
        body += 4;
        header = strcasestr(text, "\r\ncontent-length:");
        wanted = (size_t)(body - text);
        if (header != NULL && header < body)
            wanted += (size_t)strtol(header + 17, NULL, 10);
    }
    return body;
}

static void note(const char *method, const char *path, int status)
{
    FILE *file = fopen(log_file, "ae");

    if (file == NULL)
        return;
    fprintf(file, "%s %s %d\n", method, path, status);
    (void)fclose(file);
}

static bool serve_one(SSL *ssl)
{
    static char text[REQUEST_BYTES_MAX];
    char method[16], path[1024], head[256];
    json_t *reply = NULL;
    char *bytes, *body = receive(ssl, text);
    int status, length;

    if (body == NULL || sscanf(text, "%15s %1023s", method, path) != 2)
        return false;
    body[-1] = '\0';
    status = answer(method, path, text, body, &reply);
    note(method, path, status);
    bytes = knob("garbage", 0) != 0 ? strdup("{\"records\":[{\"uuid\":")
                                    : json_dumps(reply, JSON_COMPACT);
    json_decref(reply);
    length = snprintf(head, sizeof(head),
                      "HTTP/1.1 %d Word\r\nContent-Type: application/json\r\n"
                      "Content-Length: %zu\r\n\r\n",
                      status, strlen(bytes));
    status = SSL_write(ssl, head, length) > 0 &&
             SSL_write(ssl, bytes, (int)strlen(bytes)) > 0;
    free(bytes);
    return status != 0;
}

static int listen_at(char *place)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    char *colon = strchr(place, ':');
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    *colon = '\0';
    address.sin_port = htons((uint16_t)strtol(colon + 1, NULL, 10));
    if (inet_pton(AF_INET, place, &address.sin_addr) != 1 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(fd, 16) != 0) {
        perror("ontap_sim: listen");
        exit(1);
    }
    return fd;
}

/* "Authorization: Basic ..." as it must come. */
static void expect(const char *credentials)
{
    int length =
        snprintf(authorization, sizeof(authorization), "Authorization: Basic ");

    EVP_EncodeBlock((unsigned char *)authorization + length,
                    (const unsigned char *)credentials,
                    (int)strlen(credentials));
}

int main(int argc, char **argv)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    int listener;

    if (argc != 9)
        return 2;
    root = argv[1];
    junction = argv[2];
    knobs_file = argv[7];
    log_file = argv[8];
    expect(argv[6]);
    (void)signal(SIGPIPE, SIG_IGN);
    if (SSL_CTX_use_certificate_chain_file(context, argv[4]) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, argv[5], SSL_FILETYPE_PEM) != 1) {
        fprintf(stderr, "ontap_sim: certificate or key\n");
        return 1;
    }
    listener = listen_at(argv[3]);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        SSL *ssl = SSL_new(context);

        if (fd < 0)
            return 1;
        SSL_set_fd(ssl, fd);
        if (SSL_accept(ssl) == 1)
            while (serve_one(ssl))
                continue;
        SSL_free(ssl);
        close(fd);
    }
}
