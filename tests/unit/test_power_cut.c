/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The power fails at each moment of a conversion, and storage has kept only
 * what was flushed, and of the rest nothing, all, or some pages of some writes.
 *
 *   run      all calls that change something are recorded (fault/calls.h)
 *   cut      after the Nth. For each file:
 *              calls up to its last flush | later ones
 *              they are there             | by the policy, torn at pages
 *            names likewise, by flushes of the directory
 *   look     what a reader then finds in a directory rebuilt that way
 *
 * The target is absent or whole, and whole once the conversion returned. A
 * target that is replaced is the old one or the new one. No other file's bytes
 * are changed by any call: the source's above all.
 */
#include "fault_conversions.h"

#include <linux/falloc.h>
#include <linux/fs.h>
#include <pthread.h>

#include "../fault/calls.h"

#define EVENT_COUNT_MAX 4096u
#define FILE_COUNT_MAX 64u
#define NAME_COUNT_MAX 64u
#define NAME_BYTES 64u
#define PAGE_BYTES 4096u

enum policy {
    KEEP_NOTHING, /* only what was flushed */
    KEEP_ALL,     /* whatever was written */
    KEEP_SOME,    /* at random; KEEP_SOME + n: another time */
    POLICY_COUNT = KEEP_SOME + 8
};

struct event {
    enum call_kind kind;
    unsigned file;   /* the one that changes; names: which gets or has it */
    unsigned source; /* CLONE ...: a file of the run, or NO_FILE */
    char source_path[256]; /* when it is none of the run's */
    char name[NAME_BYTES], new_name[NAME_BYTES];
    uint8_t *bytes;
    uint64_t offset_bytes, length_bytes, source_offset_bytes;
    int flags;
    bool of_directory; /* FLUSH */
};
#define NO_FILE UINT32_MAX

struct known_file {
    dev_t device;
    ino_t inode;
    bool is_old; /* of the target that is replaced: must not change */
};

static struct {
    struct event events[EVENT_COUNT_MAX];
    unsigned event_count;
    struct known_file files[FILE_COUNT_MAX];
    unsigned file_count, old_count;
    char old_names[FILE_COUNT_MAX][NAME_BYTES]; /* of the old files */
    const char *wrong;
    pthread_mutex_t lock;
} journal = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* -- recording --------------------------------------------------------------*/

static unsigned find_file(const struct stat *status)
{
    for (unsigned i = journal.file_count; i-- > 0;)
        if (journal.files[i].device == status->st_dev &&
            journal.files[i].inode == status->st_ino)
            return i;
    return NO_FILE;
}

static unsigned add_file(const struct stat *status, bool is_old)
{
    struct known_file file = { status->st_dev, status->st_ino, is_old };

    assert_true(journal.file_count < FILE_COUNT_MAX);
    journal.files[journal.file_count] = file;
    return journal.file_count++;
}

static struct event *add_event(const struct call *call)
{
    struct event *event = &journal.events[journal.event_count++];

    assert_true(journal.event_count < EVENT_COUNT_MAX);
    *event = (struct event){
        .kind = call->kind,
        .file = NO_FILE,
        .source = NO_FILE,
        .offset_bytes = call->offset_bytes,
        .length_bytes = call->length_bytes,
        .source_offset_bytes = call->source_offset_bytes,
        .flags = call->flags,
    };
    if (call->path != NULL)
        (void)snprintf(event->name, NAME_BYTES, "%s", call->path);
    if (call->new_path != NULL)
        (void)snprintf(event->new_name, NAME_BYTES, "%s", call->new_path);
    return event;
}

/* A file that the call makes, in the directory. The unnamed ones, for probes,
 * nobody will find. */
static void note_created(const struct call *call, int fd)
{
    struct stat status;

    if ((call->flags & O_CREAT) == 0 || call->kind != CALL_OPEN)
        return;
    assert_int_equal(fstat(fd, &status), 0);
    add_event(call)->file = add_file(&status, false);
}

static void note_source(struct event *event, int fd)
{
    char link[40];
    struct stat status;
    ssize_t length;

    assert_int_equal(fstat(fd, &status), 0);
    event->source = find_file(&status);
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    length = readlink(link, event->source_path, sizeof(event->source_path) - 1);
    assert_true(length > 0);
    event->source_path[length] = '\0';
}

/* What changes the bytes of a file, or flushes it. */
static void note_data(const struct call *call, int64_t result)
{
    struct stat status;
    struct event *event;
    unsigned file;

    assert_int_equal(fstat(call->fd, &status), 0);
    file = find_file(&status);
    if (call->kind == CALL_FLUSH && S_ISDIR(status.st_mode)) {
        add_event(call)->of_directory = true;
        return;
    }
    if (file == NO_FILE && (call->kind == CALL_FLUSH || status.st_nlink == 0))
        return; /* a source is flushed; a probe */
    if (file == NO_FILE ||
        (journal.files[file].is_old && call->kind != CALL_FLUSH)) {
        journal.wrong = call->name;
        return;
    }
    event = add_event(call);
    event->file = file;
    if (call->kind == CALL_WRITE) {
        event->length_bytes = (uint64_t)result;
        event->bytes = malloc((size_t)result + 1);
        assert_non_null(event->bytes);
        memcpy(event->bytes, call->bytes, (size_t)result);
    }
    if (call->source_fd >= 0)
        note_source(event, call->source_fd);
}

static struct call_fate let_it(const struct call *call)
{
    (void)call;
    return (struct call_fate){ 0 };
}

/* The calls that the recorder makes itself pass by it. */
static _Thread_local bool recording;

static void record(const struct call *call, int64_t result)
{
    if (result < 0 || recording)
        return;
    recording = true;
    (void)pthread_mutex_lock(&journal.lock);
    switch (call->kind) {
    case CALL_OPEN:
        note_created(call, (int)result);
        break;
    case CALL_WRITE:
    case CALL_COPY:
    case CALL_CLONE:
    case CALL_CLONE_FILE:
    case CALL_ALLOCATE:
    case CALL_TRUNCATE:
    case CALL_FLUSH:
        note_data(call, result);
        break;
    case CALL_RENAME:
    case CALL_LINK:
    case CALL_UNLINK:
        (void)add_event(call);
        break;
    default:
        break;
    }
    (void)pthread_mutex_unlock(&journal.lock);
    recording = false;
}

static const struct calls_watch recorder = { let_it, record };

static void journal_clear(void)
{
    for (unsigned i = 0; i < journal.event_count; i++)
        free(journal.events[i].bytes);
    journal.event_count = journal.file_count = journal.old_count = 0;
    journal.wrong = NULL;
}

/* -- what storage has kept --------------------------------------------------*/

static uint32_t random_state = 1;

static bool coin(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return random_state >> 31 != 0;
}

static bool is_name(const struct event *event)
{
    return event->kind == CALL_OPEN || event->kind == CALL_RENAME ||
           event->kind == CALL_LINK || event->kind == CALL_UNLINK;
}

/* The first event that no flush before the cut covers. */
static unsigned flushed_until(unsigned cut, unsigned file, bool names)
{
    for (unsigned i = cut; i-- > 0;) {
        const struct event *event = &journal.events[i];

        if (event->kind == CALL_FLUSH &&
            (names ? event->of_directory
                   : !event->of_directory && event->file == file))
            return i;
    }
    return 0;
}

static bool is_kept(enum policy policy, bool flushed)
{
    return flushed || policy == KEEP_ALL || (policy >= KEEP_SOME && coin());
}

struct entry {
    char name[NAME_BYTES];
    unsigned file;
};

struct directory {
    struct entry entries[NAME_COUNT_MAX];
    unsigned count;
};

static struct entry *find_entry(struct directory *directory, const char *name)
{
    for (unsigned i = 0; i < directory->count; i++)
        if (strcmp(directory->entries[i].name, name) == 0)
            return &directory->entries[i];
    return NULL;
}

static void set_entry(struct directory *directory, const char *name,
                      unsigned file)
{
    struct entry *entry = find_entry(directory, name);

    if (entry == NULL)
        entry = &directory->entries[directory->count++];
    assert_true(directory->count <= NAME_COUNT_MAX);
    (void)snprintf(entry->name, NAME_BYTES, "%s", name);
    entry->file = file;
}

static void drop_entry(struct directory *directory, const char *name)
{
    struct entry *entry = find_entry(directory, name);

    if (entry != NULL)
        *entry = directory->entries[--directory->count];
}

static void apply_name(struct directory *directory, const struct event *event)
{
    struct entry *from = find_entry(directory, event->name);
    unsigned file;

    if (event->kind == CALL_OPEN)
        set_entry(directory, event->name, event->file);
    if (event->kind == CALL_UNLINK)
        drop_entry(directory, event->name);
    if (from == NULL ||
        (event->kind != CALL_RENAME && event->kind != CALL_LINK))
        return;
    file = from->file;
    if (event->kind == CALL_RENAME)
        drop_entry(directory, event->name);
    set_entry(directory, event->new_name, file);
}

static struct directory names_after(unsigned cut, enum policy policy)
{
    struct directory directory = { .count = 0 };
    unsigned flushed = flushed_until(cut, NO_FILE, true);

    for (unsigned i = 0; i < journal.old_count; i++)
        set_entry(&directory, journal.old_names[i], i);
    for (unsigned i = 0; i < cut; i++)
        if (is_name(&journal.events[i]) && is_kept(policy, i < flushed))
            apply_name(&directory, &journal.events[i]);
    return directory;
}

/* The pages of a write that came to storage. */
static void replay_write(int fd, const struct event *event, bool whole)
{
    uint64_t done = 0;

    while (done < event->length_bytes) {
        uint64_t at = event->offset_bytes + done;
        uint64_t part = PAGE_BYTES - at % PAGE_BYTES;

        if (part > event->length_bytes - done || whole)
            part = event->length_bytes - done;
        if (whole || coin())
            assert_int_equal(
                pwrite(fd, event->bytes + done, (size_t)part, (off_t)at), part);
        done += part;
    }
}

static void replay_clone(int fd, const struct event *event)
{
    struct file_clone_range range = {
        .src_offset = event->source_offset_bytes,
        .src_length = event->length_bytes, /* 0: to the end */
        .dest_offset = event->offset_bytes,
    };
    int source_fd = event->source != NO_FILE
                        ? dup(fd) /* of its own */
                        : open(event->source_path, O_RDONLY | O_CLOEXEC);

    assert_true(source_fd >= 0);
    range.src_fd = source_fd;
    /* From pages that did not come to storage there is nothing to clone. */
    if (ioctl(fd, FICLONERANGE, &range) != 0)
        assert_true(event->source != NO_FILE);
    (void)close(source_fd);
}

static void replay(int fd, const struct event *event, bool whole)
{
    switch (event->kind) {
    case CALL_WRITE:
        replay_write(fd, event, whole);
        break;
    case CALL_CLONE:
    case CALL_CLONE_FILE:
        replay_clone(fd, event);
        break;
    case CALL_ALLOCATE:
        assert_int_equal(fallocate(fd, event->flags, (off_t)event->offset_bytes,
                                   (off_t)event->length_bytes),
                         0);
        break;
    case CALL_TRUNCATE:
        assert_int_equal(ftruncate(fd, (off_t)event->offset_bytes), 0);
        break;
    case CALL_FLUSH:
        break;
    default:
        fail_msg("a call of kind %d is not known here", event->kind);
    }
}

static void rebuild_file(const char *name, unsigned file, unsigned cut,
                         enum policy policy)
{
    int fd =
        open(scratch_path(name), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    unsigned flushed = flushed_until(cut, file, false);

    assert_true(fd >= 0);
    for (unsigned i = 0; i < cut; i++) {
        const struct event *event = &journal.events[i];

        if (event->file != file || is_name(event) || event->of_directory)
            continue;
        if (is_kept(policy, i < flushed))
            replay(fd, event, i < flushed || policy == KEEP_ALL);
    }
    (void)close(fd);
}

/* -- one cut ----------------------------------------------------------------*/

static unsigned cut_count, absent_count, whole_count, old_found_count;

static void rebuild(const struct directory *directory, unsigned cut,
                    enum policy policy)
{
    for (unsigned i = 0; i < directory->count; i++)
        if (!journal.files[directory->entries[i].file].is_old)
            rebuild_file(directory->entries[i].name, directory->entries[i].file,
                         cut, policy);
}

/* The old target's files are not rebuilt: nothing has changed them, so that
 * all have their names is enough. */
static bool is_old_whole(struct directory *directory)
{
    for (unsigned i = 0; i < journal.old_count; i++) {
        const struct entry *entry = find_entry(directory, journal.old_names[i]);

        if (entry == NULL || entry->file != i)
            return false;
    }
    return true;
}

static void cut_at(const struct conversion *conversion, unsigned cut,
                   enum policy policy)
{
    struct directory directory = names_after(cut, policy);
    const struct entry *named = find_entry(&directory, conversion->target);
    struct ds_error err = DS_ERROR_INIT;
    bool done = cut == journal.event_count;

    cut_count++;
    if (named == NULL) {
        if (done || journal.old_count > 0)
            fail_msg("%s: the power cut after call %u, policy %d: the target "
                     "is lost",
                     conversion->target, cut, policy);
        absent_count++;
        return;
    }
    if (journal.files[named->file].is_old) {
        if (done || !is_old_whole(&directory))
            fail_msg("%s: the power cut after call %u, policy %d: the old "
                     "target is not whole or still there",
                     conversion->target, cut, policy);
        old_found_count++;
        return;
    }
    rebuild(&directory, cut, policy);
    if (!is_whole(scratch_path(conversion->target), conversion->far, &err))
        fail_msg("%s: the power cut after call %u of %u, policy %d: the target "
                 "is there and not whole: %s",
                 conversion->target, cut, journal.event_count, policy,
                 err.message);
    whole_count++;
    remove_target(conversion);
}

/* With what was recorded, in a directory of its own. */
static void cut_everywhere(const struct conversion *conversion)
{
    char root[sizeof(scratch_root)];

    (void)snprintf(root, sizeof(root), "%s", scratch_root);
    (void)strcat(scratch_root, "/disk");
    for (unsigned cut = 0; cut <= journal.event_count; cut++)
        for (unsigned policy = 0; policy < POLICY_COUNT; policy++)
            cut_at(conversion, cut, (enum policy)policy);
    (void)snprintf(scratch_root, sizeof(scratch_root), "%s", root);
}

static void record_conversion(const struct conversion *conversion, bool force)
{
    struct ds_error err = DS_ERROR_INIT;
    int result;

    calls_watch = &recorder;
    result = convert_with(conversion, force, &err);
    calls_watch = NULL;
    scratch_no_error(result, &err);
    if (journal.wrong != NULL)
        fail_msg("%s: %s changes a file that is not the target",
                 conversion->target, journal.wrong);
    assert_true(journal.event_count > 3);
}

static void tell(const char *what)
{
    print_message("    %s: %u cuts: %u times absent, %u whole, %u the old "
                  "one\n",
                  what, cut_count, absent_count, whole_count, old_found_count);
    cut_count = absent_count = whole_count = old_found_count = 0;
}

static void test_power_cut__new_target(void **state)
{
    (void)state;
    for (size_t i = 0; i < CONVERSION_COUNT; i++) {
        journal_clear();
        record_conversion(&conversions[i], false);
        remove_target(&conversions[i]);
        cut_everywhere(&conversions[i]);
        tell(conversions[i].target);
    }
    expect_sources();
}

/* The files of a target that is there, as what the replacing starts from. */
static void note_old(const struct conversion *conversion)
{
    DIR *stream = opendir(scratch_root);
    struct dirent *entry;
    struct stat status;

    assert_non_null(stream);
    while ((entry = readdir(stream)) != NULL)
        if (is_of(conversion, entry->d_name)) {
            assert_int_equal(stat(scratch_path(entry->d_name), &status), 0);
            (void)snprintf(journal.old_names[journal.old_count++], NAME_BYTES,
                           "%.60s", entry->d_name);
            (void)add_file(&status, true);
        }
    (void)closedir(stream);
    assert_true(journal.old_count > 0);
}

static void test_power_cut__replaced_target(void **state)
{
    (void)state;
    for (size_t i = 0; i < CONVERSION_COUNT; i++) {
        struct ds_error err = DS_ERROR_INIT;

        journal_clear();
        scratch_no_error(convert(&conversions[i], &err), &err);
        note_old(&conversions[i]);
        record_conversion(&conversions[i], true);
        remove_target(&conversions[i]);
        cut_everywhere(&conversions[i]);
        tell(conversions[i].target);
    }
    expect_sources();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_power_cut__new_target),
        cmocka_unit_test(test_power_cut__replaced_target),
    };

    if (!conversions_begin())
        return 1;
    run_command("mkdir disk && ln source.raw disk && sync -f .");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
