/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conversions, verifications and checks of which each system call fails once,
 * in a run of its own, in every way that it can: see fault/calls.h. Whatever
 * fails: no crash, no file left open, an error of the right class that names
 * the file and, where there is one, the offset; the source as it was; the
 * target absent or whole; beside it at most a .partial, which the next run
 * removes.
 *
 * In this many runs that would take minutes, so by default each kind of fault
 * meets every STRIDEth call, beginning elsewhere for each conversion; with
 * DS_FAULT_ALL=1 in the environment all of them.
 */
#include "fault_conversions.h"

#include <stdatomic.h>

#include "../fault/calls.h"

#define STRIDE 16u
#define CALL_COUNT_MAX 4000u

#define KIND(kind) (1u << (kind))
#define KINDS_ALL ((1u << CALL_KIND_COUNT) - 1)
/* What can want room on storage. */
#define KINDS_WRITING                                                          \
    (KIND(CALL_OPEN) | KIND(CALL_WRITE) | KIND(CALL_COPY) | KIND(CALL_CLONE) | \
     KIND(CALL_CLONE_FILE) | KIND(CALL_ALLOCATE) | KIND(CALL_TRUNCATE) |       \
     KIND(CALL_FLUSH) | KIND(CALL_RENAME) | KIND(CALL_LINK) |                  \
     KIND(CALL_ATTRIBUTE))
/* What a signal can interrupt, by its manual page. */
#define KINDS_INTERRUPTIBLE                                                    \
    (KIND(CALL_OPEN) | KIND(CALL_READ) | KIND(CALL_WRITE) | KIND(CALL_COPY) |  \
     KIND(CALL_CLONE) | KIND(CALL_CLONE_FILE) | KIND(CALL_FIEMAP) |            \
     KIND(CALL_ALLOCATE) | KIND(CALL_TRUNCATE) | KIND(CALL_FLUSH) |            \
     KIND(CALL_LOCK) | KIND(CALL_STATFS))

struct fault_row {
    const char *name;
    int errnum; /* 0: not an error */
    unsigned kinds;
    bool half;     /* only a part is read or written */
    bool end;      /* nothing is read */
    bool for_good; /* this call and all after it */
    bool harmless; /* the work must succeed */
};

static const struct fault_row fault_rows[] = {
    { .name = "EIO", .errnum = EIO, .kinds = KINDS_ALL },
    { .name = "ENOSPC", .errnum = ENOSPC, .kinds = KINDS_WRITING },
    { .name = "EDQUOT", .errnum = EDQUOT, .kinds = KINDS_WRITING },
    { .name = "ESTALE", .errnum = ESTALE, .kinds = KINDS_ALL },
    { .name = "EINTR",
      .errnum = EINTR,
      .kinds = KINDS_INTERRUPTIBLE,
      .harmless = true },
    { .name = "short read",
      .kinds = KIND(CALL_READ),
      .half = true,
      .harmless = true },
    { .name = "short write",
      .kinds = KIND(CALL_WRITE) | KIND(CALL_COPY),
      .half = true,
      .harmless = true },
    { .name = "end of file", .kinds = KIND(CALL_READ), .end = true },
    { .name = "EIO from then on",
      .errnum = EIO,
      .kinds = KINDS_ALL,
      .for_good = true },
    { .name = "ENOSPC from then on",
      .errnum = ENOSPC,
      .kinds = KINDS_WRITING,
      .for_good = true },
    { .name = "ESTALE from then on",
      .errnum = ESTALE,
      .kinds = KINDS_ALL,
      .for_good = true },
};
#define FAULT_ROW_COUNT (sizeof(fault_rows) / sizeof(fault_rows[0]))

/* -- the watcher ------------------------------------------------------------*/

static struct {
    const struct fault_row *row;
    atomic_uint left; /* calls until the one that fails; 1: the next */
    atomic_bool hit;
    struct call call; /* the one that failed first */
    char path[4096];  /* and its file */
} armed;

/* Short only where there is something to shorten. */
static bool concerns(const struct fault_row *row, const struct call *call)
{
    if ((row->kinds & KIND(call->kind)) == 0)
        return false;
    if (row->errnum == ENOSPC && call->kind == CALL_OPEN)
        return (call->flags & O_CREAT) != 0;
    return !row->half || call->length_bytes > 1;
}

static struct call_fate decide(const struct call *call)
{
    const struct fault_row *row = armed.row;
    struct call_fate fate = { .errnum = row->errnum, .end = row->end };
    bool due;

    if (!concerns(row, call))
        return (struct call_fate){ 0 };
    due = atomic_fetch_sub(&armed.left, 1) == 1;
    if (due) {
        armed.call = *call;
        calls_path(call, armed.path, sizeof(armed.path));
        atomic_store(&armed.hit, true);
    }
    if (!due && !(row->for_good && atomic_load(&armed.hit)))
        return (struct call_fate){ 0 };
    if (row->half)
        fate.most_bytes = call->length_bytes / 2;
    return fate;
}

static const struct calls_watch watcher = { .before = decide };

static void arm(const struct fault_row *row, unsigned nth)
{
    armed.row = row;
    atomic_store(&armed.hit, false);
    atomic_store(&armed.left, nth);
    calls_watch = &watcher;
}

/* Whether it came to the fault. */
static bool disarm(void)
{
    calls_watch = NULL;
    return atomic_load(&armed.hit);
}

/* -- what must hold of the error --------------------------------------------*/

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

static size_t stem_length(const char *name)
{
    size_t length = strlen(name);

    return is_partial(name) ? length - 8 : length;
}

/* The file of the call, under its name or its .partial; for a directory, any
 * file in it. */
static bool names_file(const struct ds_error *err)
{
    const char *have = base_of(err->file), *want = base_of(armed.path);
    size_t directory = strlen(armed.path);

    if (strncmp(err->file, armed.path, directory) == 0)
        return true;
    if (strstr(armed.path, " (deleted)") != NULL) /* the probe's, unnamed */
        return err->file[0] != '\0';
    return stem_length(have) == stem_length(want) &&
           strncmp(have, want, stem_length(have)) == 0;
}

static bool has_range(enum call_kind kind)
{
    return kind == CALL_READ || kind == CALL_WRITE || kind == CALL_CLONE ||
           kind == CALL_ALLOCATE || kind == CALL_COPY;
}

/* The offset may be where the larger piece of work began. */
static bool names_offset(const struct ds_error *err)
{
    return !has_range(armed.call.kind) ||
           (err->offset_bytes != DS_OFFSET_NONE &&
            err->offset_bytes <= armed.call.offset_bytes);
}

static const char *wrong_error(int result, const struct ds_error *err)
{
    const struct fault_row *row = armed.row;

    if (row->harmless)
        return "it should not have mattered";
    if ((int)err->error_class != -result)
        return "the class is not the result";
    if (row->end)
        return result != -DS_ERR_CORRUPT && result != -DS_ERR_SYSTEM
                   ? "an early end is not seen as one"
                   : NULL;
    if (result != -DS_ERR_SYSTEM || err->system_errno != row->errnum)
        return "it is not the error of the system";
    if (row->for_good) /* there may be a later one */
        return NULL;
    if (!names_file(err))
        return "the file is not named";
    return names_offset(err) ? NULL : "the offset is not named";
}

/* All are told before the test fails. */
static unsigned complaints;

static void complain(const char *work, unsigned nth, const char *what,
                     int result, const struct ds_error *err)
{
    complaints++;
    print_error("%s: %s at call %u, %s of %s at %ju: %s: %d, file '%s', offset "
                "%jd, '%s'\n",
                work, armed.row->name, nth, armed.call.name, armed.path,
                (uintmax_t)armed.call.offset_bytes, what, result, err->file,
                (intmax_t)err->offset_bytes, err->message);
}

/* -- conversions ------------------------------------------------------------*/

static struct {
    unsigned failed, harmless, partials, whole, extents;
} totals[FAULT_ROW_COUNT];

/* Nothing but a .partial, or all of it; then the next run clears and makes. */
static const char *wrong_leftovers(const struct conversion *conversion,
                                   bool for_good)
{
    struct ds_error err = DS_ERROR_INIT;
    struct leftovers left = look_for(conversion);
    size_t row = (size_t)(armed.row - fault_rows);

    totals[row].partials += left.partials;
    if (left.others > 0 && !for_good)
        return "something but a .partial was left";
    if (left.others > 0 &&
        is_whole(conversion_path(conversion->target), conversion->far, &err)) {
        totals[row].whole++;
        remove_target(conversion);
        return NULL;
    }
    if (left.others > 0 &&
        access(conversion_path(conversion->target), F_OK) == 0)
        return "a target was left that is not whole";
    if (left.others > 0) /* extents that nothing refers to */
        totals[row].extents++;
    if (left.others + left.partials == 0)
        return NULL;
    if (convert(conversion, &err) != 0)
        return "the next run fails";
    left = look_for(conversion);
    remove_target(conversion);
    return left.partials > 0 ? "the next run leaves the .partial" : NULL;
}

/* One run with the Nth call failing. False: there are fewer calls. */
static bool convert_once(const struct conversion *conversion,
                         const struct fault_row *row, unsigned nth)
{
    size_t index = (size_t)(row - fault_rows);
    struct ds_error err = DS_ERROR_INIT;
    unsigned open_files = entry_count("/proc/self/fd");
    const char *wrong;
    int result;
    bool hit;

    arm(row, nth);
    result = convert(conversion, &err);
    hit = disarm();
    if (entry_count("/proc/self/fd") != open_files)
        complain(conversion->target, nth, "a file was left open", result, &err);
    if (!hit || result == 0) {
        scratch_no_error(result, &err);
        expect_whole(conversion->target, conversion->far);
        remove_target(conversion);
        totals[index].harmless += hit;
        return hit;
    }
    totals[index].failed++;
    wrong = wrong_error(result, &err);
    if (wrong == NULL)
        wrong = wrong_leftovers(conversion, row->for_good);
    if (wrong != NULL)
        complain(conversion->target, nth, wrong, result, &err);
    return true;
}

/* Over a target that is there. Whatever fails, one of them is. */
static bool replace_once(const struct conversion *conversion,
                         const struct fault_row *row, unsigned nth,
                         unsigned *failed)
{
    struct ds_error err = DS_ERROR_INIT;
    const char *wrong = NULL;
    int result;
    bool hit;

    scratch_no_error(convert(conversion, &err), &err);
    arm(row, nth);
    result = convert_with(conversion, true, &err);
    hit = disarm();
    if (hit && result != 0)
        wrong = wrong_error(result, &err);
    if (wrong != NULL)
        complain(conversion->target, nth, wrong, result, &err);
    *failed += result != 0;
    expect_whole(conversion->target, conversion->far);
    remove_target(conversion);
    return hit;
}

static unsigned stride(void)
{
    const char *all = getenv("DS_FAULT_ALL");

    return all != NULL && strcmp(all, "1") == 0 ? 1 : STRIDE;
}

static void test_fault_calls__conversions(void **state)
{
    (void)state;
    complaints = 0;
    for (size_t r = 0; r < FAULT_ROW_COUNT; r++) {
        for (size_t i = 0; i < CONVERSION_COUNT; i++) {
            unsigned nth = 1 + (unsigned)(3 * i + r) % stride();

            while (convert_once(&conversions[i], &fault_rows[r], nth)) {
                nth += stride();
                assert_true(nth < CALL_COUNT_MAX);
            }
        }
        expect_sources();
        print_message("    %s: %u failed, %u did not matter; left: %u "
                      ".partial, %u whole targets, %u times extents\n",
                      fault_rows[r].name, totals[r].failed, totals[r].harmless,
                      totals[r].partials, totals[r].whole, totals[r].extents);
    }
    assert_int_equal(complaints, 0);
}

static void test_fault_calls__replaced_targets(void **state)
{
    static const size_t rows[] = { 0, 1, 8, 10 };
    unsigned runs = 0, failed = 0;

    (void)state;
    complaints = 0;
    for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++)
        for (size_t i = 2; i < CONVERSION_COUNT; i += 6) {
            unsigned nth = 1 + (unsigned)r;

            while (replace_once(&conversions[i], &fault_rows[rows[r]], nth,
                                &failed)) {
                /* Towards the end each: there it comes to the names. */
                nth += stride() > 1 && nth < 60 ? 7 : 1;
                runs++;
            }
        }
    print_message("    %u runs, %u failed\n", runs, failed);
    assert_int_equal(complaints, 0);
}

/* -- what only reads --------------------------------------------------------*/

static int no_problem(void *user, const struct ds_problem *problem)
{
    (void)user;
    (void)problem;
    return 0;
}

/* 0 only when all is found to be well. */
static int check_image(const char *name, struct ds_error *err)
{
    struct ds_check_report report = { 0 };
    struct ds_disk *disk = NULL;
    int result = ds_disk_open(conversion_path(name), NULL, &disk, err);

    if (result == 0)
        result = ds_disk_check(disk, no_problem, NULL, &report, err);
    ds_disk_close(disk);
    if (result == 0 && report.corruption_count + report.leak_count > 0 &&
        !armed.row->end)
        fail_msg("%s: %s at %s of %s: taken for a fault of the image", name,
                 armed.row->name, armed.call.name, armed.path);
    return result;
}

/* Everything is read, or as much as possible proven. */
static int verify_images(const char *left_name, const char *right_name,
                         struct ds_error *err)
{
    struct ds_verify_report report = { 0 };
    struct ds_disk *left = NULL, *right = NULL;
    int result = ds_disk_open(conversion_path(left_name), NULL, &left, err);

    if (result == 0)
        result = ds_disk_open(conversion_path(right_name), NULL, &right, err);
    if (result == 0)
        result = ds_verify(left, right, NULL, NULL, &report, err);
    ds_disk_close(right);
    ds_disk_close(left);
    if (result == 0 && !report.identical)
        fail_msg("%s and %s: %s at %s of %s: taken for a difference", left_name,
                 right_name, armed.row->name, armed.call.name, armed.path);
    return result;
}

/* `right` NULL: check. */
static bool read_once(const char *left, const char *right,
                      const struct fault_row *row, unsigned nth,
                      unsigned *failed)
{
    struct ds_error err = DS_ERROR_INIT;
    unsigned open_files = entry_count("/proc/self/fd");
    const char *wrong;
    int result;
    bool hit;

    arm(row, nth);
    result = right != NULL ? verify_images(left, right, &err)
                           : check_image(left, &err);
    hit = disarm();
    if (entry_count("/proc/self/fd") != open_files)
        complain(left, nth, "a file was left open", result, &err);
    if (!hit || result == 0) {
        scratch_no_error(result, &err);
        return hit;
    }
    ++*failed;
    wrong = wrong_error(result, &err);
    if (wrong != NULL)
        complain(left, nth, wrong, result, &err);
    return true;
}

static void read_all(const char *const (*pairs)[2], size_t pair_count)
{
    complaints = 0;
    unsigned failed = 0, runs = 0;

    for (size_t r = 0; r < FAULT_ROW_COUNT; r++)
        for (size_t i = 0; i < pair_count; i++) {
            unsigned nth = 1;

            while (read_once(pairs[i][0], pairs[i][1], &fault_rows[r], nth,
                             &failed)) {
                runs++;
                nth += stride() > 1 ? 3 : 1;
            }
        }
    expect_sources();
    print_message("    %u runs, %u failed\n", runs, failed);
    assert_int_equal(complaints, 0);
}

static void test_fault_calls__checks(void **state)
{
    static const char *const images[][2] = {
        { "source.vmdk", NULL }, { "source.qcow2", NULL },
        { "source.vhd", NULL },  { "source.vhdx", NULL },
        { "source.vdi", NULL },  { "stream.vmdk", NULL },
        { "chain.qcow2", NULL },
    };

    (void)state;
    read_all(images, sizeof(images) / sizeof(images[0]));
}

static void test_fault_calls__comparisons(void **state)
{
    static const char *const pairs[][2] = {
        { "source.vmdk", "source.qcow2" }, /* proven */
        { "source.raw", "elsewhere.raw" }, /* read, with threads */
        { "source.vhdx", "stream.vmdk" },  /* decoded */
        { "chain.qcow2", "source.vdi" },
    };

    (void)state;
    read_all(pairs, sizeof(pairs) / sizeof(pairs[0]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fault_calls__checks),
        cmocka_unit_test(test_fault_calls__comparisons),
        cmocka_unit_test(test_fault_calls__conversions),
        cmocka_unit_test(test_fault_calls__replaced_targets),
    };

    if (!conversions_begin())
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
