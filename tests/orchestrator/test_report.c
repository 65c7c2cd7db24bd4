/* SPDX-License-Identifier: Apache-2.0 */
/* Reports, out of a journal whose times have been set. */
#include "orchestrator_testing.h"

#include "journal_db.h"
#include "report.h"
#include "xml.h"

#define HOSTILE "<script>x</script>&\"'\x1b[2J\xe2\x80\xa8"

static char *place;
static struct journal *journal;
static int64_t run;

static void must(int result, const struct ds_error *err)
{
    if (result != 0)
        flunk("%s", err->message);
}

static void sql(const char *format, ...) PRINTF_LIKE(1, 2);
static void sql(const char *format, ...)
{
    va_list arguments;
    autofree char *text = NULL;

    va_start(arguments, format);
    text = text_vformat(format, arguments);
    va_end(arguments);
    if (sqlite3_exec(journal->db, text, NULL, NULL, NULL) != SQLITE_OK)
        flunk("%s: %s", text, sqlite3_errmsg(journal->db));
}

static void add_step(int64_t migration, const char *stage, const char *name,
                     const char *after, double begun, double ended, bool undone)
{
    autojson json_t *before = json_object(), *left = json_loads(after, 0, NULL);
    struct ds_error err = DS_ERROR_INIT;
    int64_t id;

    must(journal_step_begin(journal, migration, stage, name, before, &id, &err),
         &err);
    if (ended > 0)
        must(journal_step_done(journal, id, left, &err), &err);
    if (undone)
        must(journal_step_undone(journal, id, &err), &err);
    sql("UPDATE steps SET begun = %f, ended = %f WHERE id = %lld", begun, ended,
        (long long)id);
}

static int64_t add_migration(const char *vm, enum migration_state state,
                             const char *error, double begun, double ended)
{
    struct migration_record record = {
        .run = run,
        .vm_name = (char *)(uintptr_t)vm,
        .kind = (char *)(uintptr_t) "migrate",
        .settings = json_pack("{s:s, s:s}", "source.uri", "esx://old/",
                              "target.uri", "qemu:///system"),
    };
    struct ds_error err = DS_ERROR_INIT;

    must(journal_add(journal, &record, &err), &err);
    must(journal_set_state(journal, record.id, state, error, &err), &err);
    must(journal_set_stage(journal, record.id, "wait", &err), &err);
    sql("UPDATE migrations SET begun = %f, ended = %f WHERE id = %lld", begun,
        ended, (long long)record.id);
    json_decref(record.settings);
    return record.id;
}

static void add_web(void)
{
    int64_t id =
        add_migration("web", MIGRATION_DONE, NULL, 1000000000, 1000000090.5);
    const struct finding findings[] = {
        { .rule = "snapshots",
          .severity = FINDING_WARNING,
          .subject = (char *)(uintptr_t) "web",
          .text = (char *)(uintptr_t) "has 1 snapshot",
          .fix = (char *)(uintptr_t) "delete it" },
        { .rule = "formats",
          .severity = FINDING_NOTE,
          .text = (char *)(uintptr_t) "all fine" },
    };
    struct ds_error err = DS_ERROR_INIT;

    must(journal_set_findings(journal, id, findings, 2, &err), &err);
    must(journal_set_verdict(journal, id, "as it was", &err), &err);
    must(journal_message(journal, id, MESSAGE_INFO, "backup", "begun", &err),
         &err);
    must(journal_message(journal, id, MESSAGE_WARNING, "prepare",
                         "power was cut", &err),
         &err);
    sql("UPDATE messages SET time = 1000000005");
    add_step(id, "preflight", "inspect", "{}", 1000000000, 1000000000.25,
             false);
    add_step(id, "backup", "clone-backup", "{}", 1000000001, 1000000001.5,
             false);
    add_step(id, "prepare", "run-script", "{}", 1000000002, 1000000032, false);
    add_step(id, "migrate", "shift-disks",
             "{\"disks\": [{\"name\": \"sda\", \"from\": \"/vm/web.vmdk\","
             " \"to\": \"/vm/web-sda.qcow2\", \"format\": \"qcow2\","
             " \"shared_bytes\": 252837888, \"copied_bytes\": 66560,"
             " \"copied_because\": {\"misaligned\": 65536,"
             " \"partial block\": 1024}, \"identical\": true,"
             " \"seconds\": 0.2}]}",
             1000000032, 1000000032.5, false);
    add_step(id, "wait", "run-target",
             "{\"addresses\": [\"52:54:00:aa:bb:01 10.0.2.50\"]}", 1000000033,
             1000000090.5, false);
}

static void add_hostile(void)
{
    int64_t id = add_migration("db " HOSTILE, MIGRATION_FAILED,
                               "start: " HOSTILE, 1000000010, 1000000020);
    const struct finding finding = {
        .rule = "name",
        .severity = FINDING_ERROR,
        .subject = (char *)(uintptr_t)HOSTILE,
        .text = (char *)(uintptr_t)HOSTILE,
        .fix = (char *)(uintptr_t)HOSTILE,
    };
    struct ds_error err = DS_ERROR_INIT;

    must(journal_set_findings(journal, id, &finding, 1, &err), &err);
    must(journal_message(journal, id, MESSAGE_ERROR, "wait", HOSTILE, &err),
         &err);
    sql("UPDATE messages SET time = 1000000015 WHERE migration = %lld",
        (long long)id);
    add_step(id, "migrate", "shift-disks",
             "{\"disks\": [{\"name\": \"<b>\", \"from\": \"<i>\","
             " \"to\": \"&\", \"shared_bytes\": 4096,"
             " \"copied_bytes\": 512,"
             " \"copied_because\": {\"<u>\": 512}}]}",
             1000000011, 1000000013, true);
    add_step(id, "migrate", "start-target", "{}", 1000000014, 0, false);
}

static int set_up(void **state)
{
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    setenv("TZ", "UTC", 1);
    place = scratch_make("report");
    must(journal_open(place, &journal, &err), &err);
    must(journal_run_new(journal, &run, &err), &err);
    add_web();
    add_hostile();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    journal_close(journal);
    scratch_remove(place);
    return 0;
}

static char *report(int64_t id, enum report_form form)
{
    struct ds_error err = DS_ERROR_INIT;
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);

    must(id > 0 ? report_migration(journal, id, form, out, &err)
                : report_run(journal, run, form, out, &err),
         &err);
    fclose(out);
    return text;
}

static void test_report__text(void **state)
{
    autofree char *one = report(1, REPORT_TEXT), *all = report(0, REPORT_TEXT);

    (void)state;
    assert_golden("report.txt", one);
    assert_golden("report_run.txt", all);
    assert_null(strchr(all, '\x1b'));
}

static void test_report__json(void **state)
{
    autofree char *text = report(0, REPORT_JSON);
    autojson json_t *document = json_loads(text, 0, NULL);
    const json_t *summary = json_object_get(document, "summary");
    const json_t *migrations = json_object_get(document, "migrations");
    const json_t *hostile = json_array_get(migrations, 1);

    (void)state;
    assert_golden("report.json", text);
    assert_int_equal(json_integer_value(json_object_get(document, "schema")),
                     REPORT_SCHEMA);
    assert_int_equal(json_integer_value(json_object_get(summary, "done")), 1);
    assert_int_equal(
        json_integer_value(json_object_get(summary, "shared_bytes")),
        252837888 + 4096);
    assert_string_equal(json_string_value(json_object_get(hostile, "vm")),
                        "db " HOSTILE);
}

/* The page's body is well-formed, whatever the journal says. */
static void assert_page(const char *page)
{
    static const char *const loads[] = {
        "http:",   "https:", "src=",    "href=",  "url(", "@import",
        "<script", "<link",  "<iframe", "onload", "\x1b"
    };
    const char *body = strstr(page, "<body>");
    const char *end = strstr(page, "</html>");
    struct ds_error err = DS_ERROR_INIT;
    struct xml *root;

    for (size_t i = 0; i < ARRAY_COUNT(loads); i++)
        if (strstr(page, loads[i]) != NULL)
            flunk("the page has %s", loads[i]);
    assert_non_null(strstr(page, "default-src 'none'"));
    assert_non_null(body);
    must(xml_parse(body, (size_t)(end - body), NULL, &root, &err), &err);
    assert_non_null(xml_at(root, "section/svg"));
    xml_free(root);
}

static void test_report__html(void **state)
{
    autofree char *one = report(1, REPORT_HTML), *all = report(0, REPORT_HTML);

    (void)state;
    assert_page(one);
    assert_page(all);
    assert_golden("report.html", one);
    assert_golden("report_run.html", all);
    assert_non_null(strstr(all, "db &lt;script&gt;x&lt;/script&gt;&amp;"));
}

static void test_report__absent(void **state)
{
    struct ds_error err = DS_ERROR_INIT;

    (void)state;
    assert_int_equal(report_run(journal, 99, REPORT_TEXT, stderr, &err),
                     -DS_ERR_ARG);
    assert_int_equal(report_migration(journal, 99, REPORT_TEXT, stderr, &err),
                     -DS_ERR_ARG);
}

static void test_report__full_disk(void **state)
{
    struct ds_error err = DS_ERROR_INIT;
    FILE *full = fopen("/dev/full", "w");

    (void)state;
    for (int form = REPORT_TEXT; form <= REPORT_HTML; form++)
        assert_int_equal(
            report_run(journal, run, (enum report_form)form, full, &err),
            -DS_ERR_SYSTEM);
    fclose(full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_report__text),
        cmocka_unit_test(test_report__json),
        cmocka_unit_test(test_report__html),
        cmocka_unit_test(test_report__absent),
        cmocka_unit_test(test_report__full_disk),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
