/* SPDX-License-Identifier: Apache-2.0 */
#include "poke.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "arith.h"
#include "disk.h"
#include "memory_store.h"

#define LINE_BYTES 768u
#define VALUE_COUNT_MAX 32u
#define SECONDS_MAX                                                            \
    60u /* for one value, with sanitizers and a busy machine                   \
         */

/* -- samples ----------------------------------------------------------------*/

static struct fuzz_case made; /* the sample as it is */
static struct fuzz_case poked;
static struct whole intact;
static unsigned unexplained_count;

#define OWNED_COUNT_MAX FUZZ_FILE_COUNT_MAX
static void *owned[OWNED_COUNT_MAX]; /* by `made` */
static size_t owned_count;

void poke_own(void *bytes)
{
    assert_true(owned_count < OWNED_COUNT_MAX);
    owned[owned_count++] = bytes;
}

void poke_file(struct fuzz_case *fuzz, const char *name, void *bytes,
               uint64_t size_bytes)
{
    struct fuzz_file *file = &fuzz->files[fuzz->file_count++];

    poke_own(bytes);

    assert_true(fuzz->file_count <= FUZZ_FILE_COUNT_MAX);
    (void)snprintf(file->name, sizeof(file->name), "%s", name);
    file->size_bytes = size_bytes;
    file->piece_count = 1;
    file->repaired_count = 0;
    file->pieces[0] = (struct fuzz_piece){ .length_bytes = (uint32_t)size_bytes,
                                           .bytes = bytes };
}

static void lay(struct fuzz_file *file, uint64_t offset, const uint8_t *bytes,
                uint32_t length)
{
    file->pieces[file->piece_count++] = (struct fuzz_piece){
        .offset_bytes = offset, .length_bytes = length, .bytes = bytes
    };
}

void poke_piece(struct fuzz_case *fuzz, uint64_t offset, uint32_t length)
{
    struct fuzz_file *file = &fuzz->files[0];

    lay(file, offset, file->pieces[0].bytes + offset, length);
}

void poke_fill(void *bytes, size_t length_bytes, unsigned seed)
{
    uint8_t *at = bytes;

    for (size_t i = 0; i < length_bytes; i++)
        at[i] = (uint8_t)(1 + (i * 7 + i / 251 + seed) % 255);
}

static void make(const struct poke_sample *sample)
{
    while (owned_count > 0)
        free(owned[--owned_count]);
    memset(&made, 0, sizeof(made));
    sample->make(&made);
}

static void go(const struct poke_sample *sample, struct whole *out)
{
    static const struct whole_target raw = { .format = "raw" };
    struct ds_open_options options = {
        .format = sample->format,
        .snapshot = sample->snapshot,
        .key_file = sample->key_file,
    };

    memory_store_set(&poked);
    (void)alarm(SECONDS_MAX);
    whole_run(&options, sample->target.format != NULL ? &sample->target : &raw,
              out);
    (void)alarm(0);
}

/* The sample must be whole before it can be spoilt. */
static void begin(const struct poke_sample *sample)
{
    unexplained_count = 0;
    make(sample);
    poked = made;
    go(sample, &intact);
    if (intact.result != 0 ||
        (sample->row_count > 0 && intact.corruption_count != 0))
        fail_msg("%s: the sample itself: %s %s", sample->name,
                 intact.err.message, intact.problem);
    assert_false(intact.is_large);
}

/* -- values -----------------------------------------------------------------*/

static uint64_t get(const struct poke_sample *sample, const uint8_t *at,
                    uint32_t width)
{
    uint64_t value = 0;

    for (uint32_t i = 0; i < width; i++)
        value = value << 8 | at[sample->big_endian ? i : width - 1 - i];
    return value;
}

static void put(const struct poke_sample *sample, uint8_t *at, uint32_t width,
                uint64_t value)
{
    for (uint32_t i = 0; i < width; i++)
        at[sample->big_endian ? width - 1 - i : i] = (uint8_t)(value >> 8 * i);
}

struct values {
    uint64_t is; /* the sample's own */
    uint64_t max;
    uint64_t list[VALUE_COUNT_MAX];
    size_t count;
};

static void add(struct values *values, uint64_t value)
{
    value &= values->max;
    if (value == values->is)
        return;
    for (size_t i = 0; i < values->count; i++)
        if (values->list[i] == value)
            return;
    assert_true(values->count < VALUE_COUNT_MAX);
    values->list[values->count++] = value;
}

static void add_places(struct values *values, const struct poke_sample *sample,
                       const struct poke_row *row)
{
    uint64_t end = made.files[row->file_index].size_bytes;

    for (size_t i = 0; i < POKE_LANDMARK_COUNT_MAX; i++)
        if (sample->landmarks[i] != 0)
            add(values, sample->landmarks[i] / row->unit);
    add(values, ds_div_up(end, row->unit) - 1);
    add(values, ds_div_up(end, row->unit));
    add(values, (UINT64_C(1) << 40) / row->unit);
    /* So that place and length go around. */
    add(values, values->max / row->unit * row->unit - 511);
    add(values, values->max - 4095);
    if (row->unit > 1)
        add(values, UINT64_MAX / row->unit);
}

static struct values values_of(const struct poke_sample *sample,
                               const struct poke_row *row, uint64_t is)
{
    struct values values = {
        .is = is,
        .max = row->width_bytes >= 8
                   ? UINT64_MAX
                   : (UINT64_C(1) << 8 * row->width_bytes) - 1,
    };

    add(&values, 0);
    add(&values, 1);
    add(&values, is - 1);
    add(&values, is + 1);
    if (row->kind == POKE_PLACE)
        add_places(&values, sample, row);
    add(&values, values.max / 2 + 1);
    add(&values, values.max);
    return values;
}

/* -- outcomes ---------------------------------------------------------------*/

static void expect_words(const char *line, const struct poke_sample *sample,
                         const struct whole *whole)
{
    const char *message = whole->err.message;
    size_t length = strlen(sample->format);

    if (whole->result == -DS_ERR_SYSTEM && whole->err.system_errno == ENOSPC)
        return; /* too large for the memory, which is no fault of the image */
    if (whole->result == -DS_ERR_SYSTEM && whole->err.system_errno == ENOENT)
        return; /* it names a file that is not there */
    if (whole->result == -DS_ERR_ARG && sample->snapshot != NULL)
        return; /* there is no such snapshot then */
    if (whole->result != -DS_ERR_CORRUPT &&
        whole->result != -DS_ERR_UNSUPPORTED &&
        whole->result != -DS_ERR_LIMIT && whole->result != -DS_ERR_REFUSED)
        fail_msg("%s: class %d, expect corrupt, unsupported, limit or refused",
                 line, -whole->result);
    /* Whoever says it, the format or the engine of a chain, names itself. */
    if (strncmp(message, sample->format, length) != 0 &&
        strchr(message, ':') == NULL)
        fail_msg("%s: expect a message that begins with '%s: '", line,
                 sample->format);
}

static void one_line(char *text)
{
    for (; *text != '\0'; text++)
        if (*text < ' ' || *text == 0x7f)
            *text = *text == '\n' ? '|' : '?';
}

/* What came of it, at the end of `line`. */
static void tell(const struct poke_sample *sample, const char *other,
                 const struct whole *whole, char line[LINE_BYTES])
{
    size_t used = strlen(line), room = LINE_BYTES - used;
    bool same = whole->result == 0 && !whole->is_large &&
                whole->size_bytes == intact.size_bytes &&
                memcmp(whole->digest, intact.digest, WHOLE_DIGEST_BYTES) == 0;

    if (whole->result != 0) {
        (void)snprintf(line + used, room, ": %s", whole->err.message);
        expect_words(line, sample, whole);
    } else {
        if (!same && other == NULL) {
            unexplained_count++;
            other = whole->is_large ? "a large disk, and nobody says why"
                                    : "and nobody says why";
            print_error("%s: %s: other data, %s\n", sample->name, line, other);
        }
        (void)snprintf(line + used, room, ": %s%s%s%s%s",
                       same ? "same" : "other: ", same ? "" : other,
                       whole->corruption_count != 0 ? "; check: " : "",
                       whole->corruption_count != 0 ? whole->problem : "",
                       whole->corruption_count == 0 && whole->leak_count != 0
                           ? "; check: leak"
                           : "");
    }
    one_line(line);
}

/* -- what is on record ------------------------------------------------------*/

struct ledger {
    const struct poke_sample *sample;
    char path[512];
    FILE *file;
    bool is_new;
    unsigned line_count;
    unsigned wrong_count;
};

static void ledger_open(struct ledger *ledger, const struct poke_sample *sample,
                        const char *suffix)
{
    *ledger = (struct ledger){ .sample = sample };
    ledger->is_new = getenv("DS_POKE_RECORD") != NULL;
    (void)snprintf(ledger->path, sizeof(ledger->path),
                   "%s/tests/unit/poke/%s%s.txt", DS_SOURCE_DIR, sample->name,
                   suffix);
    ledger->file = fopen(ledger->path, ledger->is_new ? "w" : "r");
    if (ledger->file == NULL)
        fail_msg("%s: %s", ledger->path, strerror(errno));
}

static void ledger_line(struct ledger *ledger, const char *line)
{
    char expect[LINE_BYTES + 2] = "";

    ledger->line_count++;
    if (ledger->is_new) {
        fprintf(ledger->file, "%s\n", line);
        return;
    }
    if (fgets(expect, sizeof(expect), ledger->file) != NULL)
        expect[strcspn(expect, "\n")] = '\0';
    if (strcmp(expect, line) != 0 && ledger->wrong_count++ < 20)
        print_error("%s:%u: have   %s\n%*s expect %s\n", ledger->path,
                    ledger->line_count, line, 8, "", expect);
}

static void ledger_close(struct ledger *ledger)
{
    char rest[LINE_BYTES];

    if (!ledger->is_new && fgets(rest, sizeof(rest), ledger->file) != NULL)
        fail_msg("%s: more lines than values, from '%s'", ledger->path, rest);
    (void)fclose(ledger->file);
    if (unexplained_count != 0)
        fail_msg("%s: %u values give other data", ledger->path,
                 unexplained_count);
    if (ledger->wrong_count != 0)
        fail_msg("%s: %u lines of %u are not as recorded", ledger->path,
                 ledger->wrong_count, ledger->line_count);
}

/* -- rows -------------------------------------------------------------------*/

static const struct poke_row *current_row;

/* One value: laid over the file as one more piece. */
static void poke_bytes(struct ledger *ledger, const uint8_t *bytes,
                       const char *value, char line[LINE_BYTES])
{
    const struct poke_row *row = current_row;
    struct fuzz_file *file = &poked.files[row->file_index];
    struct whole whole;

    poked = made;
    lay(file, row->base_bytes + row->offset_bytes, bytes, row->width_bytes);
    if (row->mirror_bytes != 0)
        lay(file, row->mirror_bytes + row->offset_bytes, bytes,
            row->width_bytes);
    if (row->kind != POKE_SUM && !row->as_it_is)
        fuzz_case_repair(&poked);
    (void)snprintf(line, LINE_BYTES, "%s.%s = %s", row->record, row->field,
                   value);
    go(ledger->sample, &whole);
    tell(ledger->sample, row->other, &whole, line);
}

static void run_values(struct ledger *ledger, const uint8_t *is)
{
    const struct poke_row *row = current_row;
    static char lines[VALUE_COUNT_MAX][LINE_BYTES];
    struct values values = values_of(ledger->sample, row,
                                     get(ledger->sample, is, row->width_bytes));
    size_t same_count = 0;

    for (size_t i = 0; i < values.count; i++) {
        uint8_t bytes[8];
        char text[32];

        put(ledger->sample, bytes, row->width_bytes, values.list[i]);
        (void)snprintf(text, sizeof(text), "0x%" PRIx64, values.list[i]);
        poke_bytes(ledger, bytes, text, lines[i]);
        same_count += strcmp(strchr(lines[i], ':'), ": same") == 0;
    }
    /* A field that nobody reads is one line. */
    if (same_count == values.count) {
        (void)snprintf(lines[0], LINE_BYTES, "%s.%s = any of %zu: same",
                       row->record, row->field, values.count);
        values.count = 1;
    }
    for (size_t i = 0; i < values.count; i++)
        ledger_line(ledger, lines[i]);
}

/* Whether two lines say the same but for numbers. */
static bool alike(const char *a, const char *b)
{
    static const char digits[] = "0123456789abcdefx";

    a = strchr(a, ':');
    b = strchr(b, ':');
    while (*a != '\0' && *b != '\0') {
        if (strncmp(a, "have ", 5) == 0 && strncmp(b, "have ", 5) == 0) {
            a += 5 + strspn(a + 5, digits);
            b += 5 + strspn(b + 5, digits);
        }
        if (*a != *b)
            return false;
        a += *a != '\0';
        b += *b != '\0';
    }
    return *a == *b;
}

/* Bits of one outcome stand in one line, with the first one's message. */
static void run_bits(struct ledger *ledger, const uint8_t *is)
{
    const struct poke_row *row = current_row;
    uint64_t value = get(ledger->sample, is, row->width_bytes);
    char first[LINE_BYTES] = "", out[2 * LINE_BYTES];
    unsigned begin_bit = 0;

    for (unsigned bit = 0; bit <= 8 * row->width_bytes; bit++) {
        uint8_t bytes[8];
        char line[LINE_BYTES] = "";

        if (bit < 8 * row->width_bytes) {
            put(ledger->sample, bytes, row->width_bytes,
                value ^ UINT64_C(1) << bit);
            poke_bytes(ledger, bytes, "bit", line);
        }
        if (first[0] != '\0' && line[0] != '\0' && alike(first, line))
            continue;
        if (first[0] != '\0') {
            (void)snprintf(out, sizeof(out), "%s.%s ^ bits %u-%u%s",
                           row->record, row->field, begin_bit, bit - 1,
                           strchr(first, ':'));
            out[LINE_BYTES - 1] = '\0';
            ledger_line(ledger, out);
        }
        memcpy(first, line, sizeof(first));
        begin_bit = bit;
    }
}

static void run_bytes(struct ledger *ledger, const uint8_t *is)
{
    static const char *const names[] = { "zeros", "ones", "another" };
    uint32_t width = current_row->width_bytes;
    uint8_t *bytes = malloc(width);
    char line[LINE_BYTES];

    assert_non_null(bytes);
    for (unsigned i = 0; i < 3; i++) {
        memset(bytes, i == 0 ? 0 : 0xff, width);
        if (i == 2) {
            memcpy(bytes, is, width);
            bytes[0] ^= 1;
        }
        if (memcmp(bytes, is, width) == 0)
            continue;
        poke_bytes(ledger, bytes, names[i], line);
        ledger_line(ledger, line);
    }
    free(bytes);
}

static void run_row(struct ledger *ledger)
{
    const struct poke_row *row = current_row;
    uint8_t *is = malloc(row->width_bytes);

    assert_non_null(is);
    assert_true(row->file_index < made.file_count);
    fuzz_file_read(&made.files[row->file_index],
                   row->base_bytes + row->offset_bytes, is, row->width_bytes);
    if (row->kind == POKE_BYTES || row->width_bytes > 8)
        run_bytes(ledger, is);
    else if (row->kind == POKE_BITS)
        run_bits(ledger, is);
    else
        run_values(ledger, is);
    free(is);
}

/* No byte of a record is left out. */
static void expect_covered(const struct poke_sample *sample,
                           const struct poke_record *record)
{
    for (uint64_t at = 0; at < record->size_bytes; at++) {
        bool covered = false;

        for (size_t i = 0; i < sample->row_count && !covered; i++) {
            const struct poke_row *row = &sample->rows[i];

            covered = strcmp(row->record, record->name) == 0 &&
                      row->base_bytes == record->base_bytes &&
                      at - row->offset_bytes < row->width_bytes;
        }
        if (!covered)
            fail_msg("%s: %s at 0x%" PRIx64 ": no row has byte %" PRIu64,
                     sample->name, record->name, record->base_bytes, at);
    }
}

void poke_run(const struct poke_sample *sample)
{
    struct ledger ledger;

    begin(sample);
    for (size_t i = 0; i < sample->record_count; i++)
        expect_covered(sample, &sample->records[i]);
    ledger_open(&ledger, sample, "");
    for (size_t i = 0; i < sample->row_count; i++) {
        current_row = &sample->rows[i];
        run_row(&ledger);
    }
    ledger_close(&ledger);
}

/* -- text -------------------------------------------------------------------*/

/* A new file with `from` replaced; *length is its size. What lies behind text
 * that ends with a NUL stays where it is. */
static uint8_t *replaced(const struct fuzz_file *file,
                         const struct poke_text *text, uint64_t *length)
{
    size_t size = (size_t)file->size_bytes, from = strlen(text->from);
    size_t to = strlen(text->to), head, rest;
    const uint8_t *old = file->pieces[0].bytes, *at, *end;
    uint8_t *bytes = calloc(1, size + to + 1);

    assert_non_null(bytes);
    at = memmem(old, size, text->from, from);
    if (at == NULL)
        fail_msg("'%s' is not in the text", text->from);
    head = (size_t)(at - old);
    end = memchr(at, 0, size - head);
    rest = (end != NULL ? (size_t)(end - old) : size) - head - from;
    *length = end != NULL ? size : size - from + to;
    if (end != NULL)
        memcpy(bytes, old, size);
    memcpy(bytes, old, head);
    memset(bytes + head, 0, from + rest);
    memcpy(bytes + head, text->to, to);
    memcpy(bytes + head + to, at + from, rest);
    return bytes;
}

void poke_run_text(const struct poke_sample *sample,
                   const struct poke_text *texts, size_t count)
{
    struct ledger ledger;

    begin(sample);
    ledger_open(&ledger, sample, "-text");
    for (size_t i = 0; i < count; i++) {
        struct fuzz_file *file = &poked.files[texts[i].file_index];
        char line[LINE_BYTES];
        struct whole whole;
        uint8_t *bytes;

        poked = made;
        bytes = replaced(file, &texts[i], &file->size_bytes);
        file->pieces[0].bytes = bytes;
        file->pieces[0].length_bytes = (uint32_t)file->size_bytes;
        fuzz_case_repair(&poked);
        (void)snprintf(line, sizeof(line), "'%.80s' -> '%.80s%s'",
                       texts[i].from, texts[i].to,
                       strlen(texts[i].to) > 80 ? "..." : "");
        go(sample, &whole);
        tell(sample, texts[i].other, &whole, line);
        ledger_line(&ledger, line);
        free(bytes);
    }
    ledger_close(&ledger);
}

/* -- cut off ----------------------------------------------------------------*/

#define CUT_STEP 512u
#define CUT_RANDOM_COUNT 48u

static void cut_at(const struct poke_sample *sample, uint32_t file_index,
                   uint64_t size_bytes)
{
    struct fuzz_file *file = &poked.files[file_index];
    struct whole whole;
    char line[LINE_BYTES], last = '\0';

    if (size_bytes >= made.files[file_index].size_bytes)
        return;
    if (size_bytes > 0)
        fuzz_file_read(&made.files[file_index], size_bytes - 1, &last, 1);
    if (sample->is_lines && file_index == 0 && last == '\n')
        return;
    poked = made;
    file->size_bytes = size_bytes;
    (void)snprintf(line, sizeof(line), "%s cut to %" PRIu64, file->name,
                   size_bytes);
    go(sample, &whole);
    tell(sample, NULL, &whole, line);
}

/* A record of more than 64 KiB is mostly room: its ends, and some between. */
#define CUT_EDGE_BYTES (32 * DS_KIB)
#define CUT_LARGE_STEP (64 * DS_KIB + CUT_STEP)

static int cut_region(void *user, const struct ds_region *region,
                      struct ds_error *err)
{
    bool *sectors = user;
    uint64_t end = ds_min_u64(region->offset_bytes + region->length_bytes,
                              made.files[0].size_bytes);

    (void)err;
    for (uint64_t at = region->offset_bytes;
         region->file_index == 0 && at <= end;) {
        bool is_edge = at - region->offset_bytes < CUT_EDGE_BYTES ||
                       end - at <= CUT_EDGE_BYTES;

        sectors[at / CUT_STEP] = true;
        at += is_edge ? CUT_STEP
                      : ds_min_u64(CUT_LARGE_STEP, end - at - CUT_EDGE_BYTES);
    }
    return 0;
}

/* Marks the sectors that the format says are its own. */
static void mark_records(const struct poke_sample *sample, bool *sectors)
{
    struct ds_open_options options = { .format = sample->format,
                                       .snapshot = sample->snapshot,
                                       .key_file = sample->key_file };
    struct ds_error err = DS_ERROR_INIT;
    struct ds_disk *disk = NULL;

    poked = made;
    memory_store_set(&poked);
    assert_int_equal(ds_disk_open("image", &options, &disk, &err), 0);
    if (disk->layers[0].image->format->regions != NULL)
        assert_int_equal(disk->layers[0].image->format->regions(
                             disk->layers[0].image, cut_region, sectors, &err),
                         0);
    ds_disk_close(disk);
}

void poke_truncate(const struct poke_sample *sample)
{
    uint64_t random = 4711;

    begin(sample);
    for (uint32_t f = 0; f < made.file_count; f++) {
        uint64_t size = made.files[f].size_bytes;
        size_t count = (size_t)(size / CUT_STEP + 2);
        bool *sectors = calloc(count, sizeof(*sectors));

        assert_non_null(sectors);
        if (f == 0)
            mark_records(sample, sectors);
        sectors[0] = sectors[1] = sectors[size / CUT_STEP] = true;
        for (size_t i = 0; i < count; i++)
            if (sectors[i])
                cut_at(sample, f, i * CUT_STEP);
        for (unsigned i = 0; i < CUT_RANDOM_COUNT; i++) {
            random =
                random * UINT64_C(6364136223846793005) + 1442695040888963407u;
            cut_at(sample, f, (random >> 16) % size);
        }
        cut_at(sample, f, size - 1);
        free(sectors);
    }
    if (unexplained_count != 0)
        fail_msg("%s: %u cuts give other data", sample->name,
                 unexplained_count);
}

/* -- complete ---------------------------------------------------------------*/

static bool is_named(const char *name, const struct poke_sample *const *samples,
                     size_t sample_count, const char *const *without)
{
    for (size_t i = 0; without != NULL && without[i] != NULL; i += 2)
        if (strcmp(without[i], name) == 0)
            return true;
    for (size_t s = 0; s < sample_count; s++)
        for (size_t i = 0; i < samples[s]->record_count; i++)
            if (strcmp(samples[s]->records[i].name, name) == 0)
                return true;
    return false;
}

void poke_complete(const char *header, const struct poke_sample *const *samples,
                   size_t sample_count, const char *const *without)
{
    char path[512], line[512], name[128];
    unsigned count = 0;
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s/%s", DS_SOURCE_DIR, header);
    file = fopen(path, "r");
    if (file == NULL)
        fail_msg("%s: %s", path, strerror(errno));
    while (fgets(line, sizeof(line), file) != NULL) {
        size_t length;

        if (sscanf(line, "struct %127[a-z0-9_] {", name) != 1 ||
            strchr(line, '{') == NULL)
            continue;
        length = strlen(name);
        if (length < 5 || strcmp(name + length - 5, "_disk") != 0)
            continue;
        count++;
        if (!is_named(name, samples, sample_count, without))
            fail_msg("%s: struct %s is in no table of pokes", header, name);
    }
    (void)fclose(file);
    assert_true(count > 0);
}
