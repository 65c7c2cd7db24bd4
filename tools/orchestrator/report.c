/* SPDX-License-Identifier: Apache-2.0 */
/* The document of a report, out of the journal. */
#include "report.h"
#include "report_form.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <time.h>

/* -- of one migration ----------------------------------------------------- */

static double lasted(double begun, double ended)
{
    return ended > begun ? ended - begun : 0;
}

static void add_bytes(json_t *to, const json_t *from, const char *key)
{
    uint64_t sum = report_count(to, key) + report_count(from, key);

    json_object_set_new(to, key, json_integer((json_int_t)sum));
}

/* What steps left that a report tells of: the latest has it. */
static void take_result(json_t *migration, const struct step_record *step)
{
    json_t *disks = json_object_get(step->after, "disks");
    json_t *addresses = json_object_get(step->after, "addresses");

    if (json_is_array(disks))
        json_object_set(migration, "disks", disks);
    if (json_is_array(addresses))
        json_object_set(migration, "addresses", addresses);
}

static int add_steps(struct journal *journal, json_t *migration, int64_t id,
                     struct ds_error *err)
{
    struct step_record *steps = NULL;
    json_t *list = json_array();
    size_t count = 0;
    int result = journal_steps(journal, id, &steps, &count, err);

    json_object_set_new(migration, "steps", list);
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:f, s:f, s:f}", "stage",
                            steps[i].stage, "name", steps[i].name, "state",
                            step_state_name(steps[i].state), "begun",
                            steps[i].begun, "ended", steps[i].ended, "seconds",
                            lasted(steps[i].begun, steps[i].ended)));
        take_result(migration, &steps[i]);
    }
    journal_steps_free(steps, count);
    return result;
}

static int add_finding(void *user, const struct finding *finding,
                       struct ds_error *err)
{
    (void)err;
    json_array_append_new(
        user, json_pack("{s:s, s:s, s:s?, s:s?, s:s?}", "rule", finding->rule,
                        "severity", finding_severity_name(finding->severity),
                        "subject", finding->subject, "text", finding->text,
                        "fix", finding->fix));
    return 0;
}

static int add_message(void *user, const struct message_record *message,
                       struct ds_error *err)
{
    static const char *const levels[] = { "info", "warning", "error" };

    (void)err;
    json_array_append_new(
        user, json_pack("{s:f, s:s, s:s?, s:s?}", "time", message->time,
                        "level", levels[message->level], "stage",
                        message->stage, "text", message->text));
    return 0;
}

static void add_disk_totals(json_t *migration)
{
    json_t *disk;
    size_t i;

    json_array_foreach(json_object_get(migration, "disks"), i, disk)
    {
        add_bytes(migration, disk, "shared_bytes");
        add_bytes(migration, disk, "copied_bytes");
    }
}

static json_t *head_of(const struct migration_record *record)
{
    const json_t *settings = record->settings;

    return json_pack(
        "{s:I, s:I, s:s?, s:s?, s:s, s:s?, s:s?, s:s?, s:s?, s:s?, s:f, s:f, "
        "s:f, s:I, s:I, s:[], s:[]}",
        "id", (json_int_t)record->id, "run", (json_int_t)record->run, "vm",
        record->vm_name, "kind", record->kind, "state",
        migration_state_name(record->state), "stage", record->stage, "error",
        record->error, "verdict", record->verdict, "source",
        json_string_value(json_object_get(settings, "source.uri")), "target",
        json_string_value(json_object_get(settings, "target.uri")), "begun",
        record->begun, "ended", record->ended, "seconds",
        lasted(record->begun, record->ended), "shared_bytes", (json_int_t)0,
        "copied_bytes", (json_int_t)0, "disks", "addresses");
}

struct making {
    struct journal *journal;
    json_t *migrations;
};

static int add_migration(void *user, const struct migration_record *record,
                         struct ds_error *err)
{
    struct making *making = user;
    json_t *migration = head_of(record), *findings = json_array(),
           *messages = json_array();
    int result = add_steps(making->journal, migration, record->id, err);

    json_array_append_new(making->migrations, migration);
    json_object_set_new(migration, "findings", findings);
    json_object_set_new(migration, "messages", messages);
    if (result == 0)
        result = journal_each_finding(making->journal, record->id, add_finding,
                                      findings, err);
    if (result == 0)
        result = journal_each_message(making->journal, record->id, add_message,
                                      messages, err);
    add_disk_totals(migration);
    return result;
}

/* -- of all --------------------------------------------------------------- */

static json_t *summary_of(const json_t *migrations)
{
    json_t *summary =
        json_pack("{s:I, s:f, s:I, s:I}", "migrations",
                  (json_int_t)json_array_size(migrations), "seconds", 0.0,
                  "shared_bytes", (json_int_t)0, "copied_bytes", (json_int_t)0);
    double begun = 0, ended = 0;
    json_t *one;
    size_t i;

    for (int state = 0; state < MIGRATION_STATE_COUNT; state++)
        json_object_set_new(summary,
                            migration_state_name((enum migration_state)state),
                            json_integer(0));
    json_array_foreach(migrations, i, one)
    {
        const char *state = report_word(one, "state");

        json_object_set_new(
            summary, state,
            json_integer((json_int_t)report_count(summary, state) + 1));
        add_bytes(summary, one, "shared_bytes");
        add_bytes(summary, one, "copied_bytes");
        if (i == 0 || report_number(one, "begun") < begun)
            begun = report_number(one, "begun");
        if (report_number(one, "ended") > ended)
            ended = report_number(one, "ended");
    }
    json_object_set_new(summary, "seconds", json_real(lasted(begun, ended)));
    return summary;
}

static int write_document(json_t *migrations, enum report_form form, FILE *out,
                          struct ds_error *err)
{
    autojson json_t *document =
        json_pack("{s:i, s:o, s:o}", "schema", REPORT_SCHEMA, "summary",
                  summary_of(migrations), "migrations", migrations);

    if (form == REPORT_TEXT)
        report_text(document, out);
    else if (form == REPORT_HTML)
        report_html(document, out);
    else if (json_dumpf(document, out, JSON_INDENT(2)) != 0 ||
             fputc('\n', out) == EOF)
        return fail_errno(err, errno, NULL, "write the report");
    return fflush(out) == 0 && ferror(out) == 0
               ? 0
               : fail_errno(err, errno, NULL, "write the report");
}

int report_migration(struct journal *journal, int64_t id, enum report_form form,
                     FILE *out, struct ds_error *err)
{
    struct making making = { journal, json_array() };
    struct migration_record record = { 0 };
    int result = journal_get(journal, id, &record, err);

    if (result == 0)
        result = add_migration(&making, &record, err);
    if (result == 0)
        result = write_document(json_incref(making.migrations), form, out, err);
    json_decref(making.migrations);
    migration_record_free(&record);
    return result;
}

int report_run(struct journal *journal, int64_t run, enum report_form form,
               FILE *out, struct ds_error *err)
{
    struct making making = { journal, json_array() };
    int result = journal_each(journal, run, add_migration, &making, err);

    if (result == 0 && json_array_size(making.migrations) == 0)
        result = fail(err, DS_ERR_ARG, "no migration belongs to run %lld",
                      (long long)run);
    if (result == 0)
        result = write_document(json_incref(making.migrations), form, out, err);
    json_decref(making.migrations);
    return result;
}

/* -- figures for people --------------------------------------------------- */

char *report_bytes(uint64_t bytes)
{
    static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB" };
    double value = (double)bytes;
    size_t unit = 0;

    if (bytes < 1024)
        return text_format("%llu bytes", (unsigned long long)bytes);
    for (value /= 1024; value >= 1024 && unit + 1 < ARRAY_COUNT(units); unit++)
        value /= 1024;
    return text_format("%.1f %s", value, units[unit]);
}

char *report_duration(double seconds)
{
    unsigned long long whole;

    if (!isfinite(seconds) || seconds < 0)
        seconds = 0;
    if (seconds < 59.95)
        return text_format("%.*f s", seconds < 9.95 ? 2 : 1, seconds);
    whole = (unsigned long long)(seconds + 0.5);
    return whole < 3600 ? text_format("%llu min %llu s", whole / 60, whole % 60)
                        : text_format("%llu h %llu min", whole / 3600,
                                      whole % 3600 / 60);
}

char *report_time(double seconds)
{
    time_t time = (time_t)seconds;
    struct tm broken;
    char text[32] = "";

    if (seconds > 0 && localtime_r(&time, &broken) != NULL)
        strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &broken);
    return text_copy(text);
}
