/* SPDX-License-Identifier: Apache-2.0 */
/* The journal's file, migrations and the claim. Steps, messages and findings
 * are in journal_steps.c. */
#include "journal_db.h"
#include "stop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUSY_MS 30000

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS runs (id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  begun REAL NOT NULL);"
    "CREATE TABLE IF NOT EXISTS migrations ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT, run INTEGER NOT NULL,"
    "  vm_name TEXT NOT NULL, kind TEXT NOT NULL, state INTEGER NOT NULL,"
    "  stage TEXT, settings TEXT NOT NULL, vm TEXT, error TEXT, verdict TEXT,"
    "  begun REAL NOT NULL, ended REAL NOT NULL DEFAULT 0,"
    "  cancel INTEGER NOT NULL DEFAULT 0);"
    "CREATE TABLE IF NOT EXISTS steps ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT, migration INTEGER NOT NULL,"
    "  stage TEXT NOT NULL, name TEXT NOT NULL, state INTEGER NOT NULL,"
    "  before TEXT NOT NULL, after TEXT, begun REAL NOT NULL,"
    "  ended REAL NOT NULL DEFAULT 0);"
    "CREATE INDEX IF NOT EXISTS steps_of ON steps (migration, id);"
    "CREATE TABLE IF NOT EXISTS messages ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT, migration INTEGER NOT NULL,"
    "  time REAL NOT NULL, level INTEGER NOT NULL, stage TEXT,"
    "  text TEXT NOT NULL);"
    "CREATE INDEX IF NOT EXISTS messages_of ON messages (migration, id);"
    "CREATE TABLE IF NOT EXISTS findings ("
    "  migration INTEGER NOT NULL, rule TEXT NOT NULL,"
    "  severity INTEGER NOT NULL, subject TEXT, text TEXT NOT NULL, fix TEXT);"
    "CREATE INDEX IF NOT EXISTS findings_of ON findings (migration);";

/* -- statements ----------------------------------------------------------- */

int journal_failed(struct journal *journal, struct ds_error *err)
{
    int code = sqlite3_errcode(journal->db);
    int result =
        fail(err,
             code == SQLITE_CORRUPT || code == SQLITE_NOTADB ? DS_ERR_CORRUPT
                                                             : DS_ERR_SYSTEM,
             "journal: %s", sqlite3_errmsg(journal->db));

    if (err != NULL) {
        snprintf(err->file, sizeof(err->file), "%s", journal->path);
        if (err->error_class == DS_ERR_SYSTEM)
            err->system_errno = code == SQLITE_FULL ? ENOSPC : EIO;
    }
    return result;
}

int journal_prepare(struct journal *journal, const char *sql,
                    sqlite3_stmt **out, struct ds_error *err)
{
    return sqlite3_prepare_v2(journal->db, sql, -1, out, NULL) == SQLITE_OK
               ? 0
               : journal_failed(journal, err);
}

int journal_bind(sqlite3_stmt *statement, const char *types, ...)
{
    va_list values;
    int at = 1, code = SQLITE_OK;

    va_start(values, types);
    for (; *types != '\0' && code == SQLITE_OK; types++, at++) {
        if (*types == 'i') {
            code = sqlite3_bind_int64(statement, at, va_arg(values, int64_t));
        } else if (*types == 'r') {
            code = sqlite3_bind_double(statement, at, va_arg(values, double));
        } else if (*types == 't') {
            code =
                sqlite3_bind_text(statement, at, va_arg(values, const char *),
                                  -1, SQLITE_TRANSIENT);
        } else {
            const json_t *json = va_arg(values, const json_t *);

            if (json != NULL)
                code = sqlite3_bind_text(
                    statement, at, json_dumps(json, JSON_COMPACT), -1, free);
        }
    }
    va_end(values);
    return code;
}

int journal_write(struct journal *journal, sqlite3_stmt *statement,
                  struct ds_error *err)
{
    return sqlite3_step(statement) == SQLITE_DONE
               ? 0
               : journal_failed(journal, err);
}

int journal_record(struct journal *journal, sqlite3_stmt *statement,
                   struct ds_error *err)
{
    static _Atomic unsigned counted;
    unsigned count = ++counted;
    int result;

    stop_at_record("BEFORE", count);
    result = journal_write(journal, statement, err);
    if (result == 0)
        stop_at_record("AFTER", count);
    return result;
}

char *journal_text(sqlite3_stmt *statement, int column)
{
    return text_copy((const char *)sqlite3_column_text(statement, column));
}

json_t *journal_json(sqlite3_stmt *statement, int column)
{
    const char *text = (const char *)sqlite3_column_text(statement, column);

    return text != NULL ? json_loads(text, 0, NULL) : NULL;
}

/* -- the file ------------------------------------------------------------- */

static int check_version(struct journal *journal, struct ds_error *err)
{
    autostatement sqlite3_stmt *statement = NULL;
    int result =
        journal_prepare(journal, "PRAGMA user_version", &statement, err);
    int version;

    if (result != 0)
        return result;
    if (sqlite3_step(statement) != SQLITE_ROW)
        return journal_failed(journal, err);
    version = sqlite3_column_int(statement, 0);
    if (version != 0 && version != JOURNAL_VERSION)
        return fail(err, DS_ERR_UNSUPPORTED,
                    "journal %s: version, have %d expect %d", journal->path,
                    version, JOURNAL_VERSION);
    return 0;
}

static int run_sql(struct journal *journal, const char *sql,
                   struct ds_error *err)
{
    return sqlite3_exec(journal->db, sql, NULL, NULL, NULL) == SQLITE_OK
               ? 0
               : journal_failed(journal, err);
}

int journal_open(const char *directory, struct journal **out,
                 struct ds_error *err)
{
    struct journal *journal;
    int result = directory_make(directory, err);

    if (result != 0)
        return result;
    journal = need(sizeof(*journal));
    journal->directory = text_copy(directory);
    journal->path = path_join(directory, "journal.sqlite");
    if (sqlite3_open_v2(journal->path, &journal->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
                            SQLITE_OPEN_NOMUTEX,
                        NULL) != SQLITE_OK)
        result = journal_failed(journal, err);
    if (result == 0) {
        sqlite3_busy_timeout(journal->db, BUSY_MS);
        result = check_version(journal, err);
    }
    if (result == 0)
        result = run_sql(
            journal, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;", err);
    if (result == 0)
        result = run_sql(journal, "BEGIN IMMEDIATE", err);
    if (result == 0)
        result = run_sql(journal, schema, err);
    if (result == 0)
        result = run_sql(journal, "PRAGMA user_version=1; COMMIT", err);
    if (result != 0)
        journal_close(journal);
    else
        *out = journal;
    return result;
}

void journal_close(struct journal *journal)
{
    if (journal == NULL)
        return;
    sqlite3_close_v2(journal->db);
    free(journal->directory);
    free(journal->path);
    free(journal);
}

/* -- migrations ----------------------------------------------------------- */

int journal_run_new(struct journal *journal, int64_t *run, struct ds_error *err)
{
    autostatement sqlite3_stmt *statement = NULL;
    int result = journal_prepare(journal, "INSERT INTO runs (begun) VALUES (?)",
                                 &statement, err);

    if (result == 0) {
        journal_bind(statement, "r", now_seconds());
        result = journal_write(journal, statement, err);
        *run = sqlite3_last_insert_rowid(journal->db);
    }
    return result;
}

int journal_add(struct journal *journal, struct migration_record *record,
                struct ds_error *err)
{
    autostatement sqlite3_stmt *statement = NULL;
    int result = journal_prepare(
        journal,
        "INSERT INTO migrations (run, vm_name, kind, state, settings, begun)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        &statement, err);

    if (result != 0)
        return result;
    record->begun = now_seconds();
    journal_bind(statement, "ittijr", record->run, record->vm_name,
                 record->kind, (int64_t)record->state, record->settings,
                 record->begun);
    result = journal_write(journal, statement, err);
    record->id = sqlite3_last_insert_rowid(journal->db);
    return result;
}

#define MIGRATION_COLUMNS                                                      \
    "SELECT id, run, vm_name, kind, state, stage, settings, vm, error, "       \
    "verdict, begun, ended FROM migrations "

static void read_migration(sqlite3_stmt *statement,
                           struct migration_record *out)
{
    int state = sqlite3_column_int(statement, 4);

    out->id = sqlite3_column_int64(statement, 0);
    out->run = sqlite3_column_int64(statement, 1);
    out->vm_name = journal_text(statement, 2);
    out->kind = journal_text(statement, 3);
    out->state = state >= 0 && state < MIGRATION_STATE_COUNT
                     ? (enum migration_state)state
                     : MIGRATION_FAILED;
    out->stage = journal_text(statement, 5);
    out->settings = journal_json(statement, 6);
    out->vm = journal_json(statement, 7);
    out->error = journal_text(statement, 8);
    out->verdict = journal_text(statement, 9);
    out->begun = sqlite3_column_double(statement, 10);
    out->ended = sqlite3_column_double(statement, 11);
}

static int get_one(struct journal *journal, sqlite3_stmt *statement,
                   const char *what, struct migration_record *out,
                   struct ds_error *err)
{
    int code = sqlite3_step(statement);

    *out = (struct migration_record){ 0 };
    if (code == SQLITE_DONE)
        return fail(err, DS_ERR_ARG, "%s: no such migration in %s", what,
                    journal->path);
    if (code != SQLITE_ROW)
        return journal_failed(journal, err);
    read_migration(statement, out);
    return 0;
}

int journal_get(struct journal *journal, int64_t id,
                struct migration_record *out, struct ds_error *err)
{
    autostatement sqlite3_stmt *statement = NULL;
    autofree char *what = text_format("%lld", (long long)id);
    int result = journal_prepare(journal, MIGRATION_COLUMNS "WHERE id = ?",
                                 &statement, err);

    if (result != 0)
        return result;
    journal_bind(statement, "i", id);
    return get_one(journal, statement, what, out, err);
}

int journal_find(struct journal *journal, const char *vm_or_id,
                 struct migration_record *out, struct ds_error *err)
{
    autostatement sqlite3_stmt *statement = NULL;
    int result = journal_prepare(journal,
                                 MIGRATION_COLUMNS
                                 "WHERE vm_name = ?1 OR CAST(id AS TEXT) = ?1 "
                                 "ORDER BY vm_name = ?1, id DESC LIMIT 1",
                                 &statement, err);

    if (result != 0)
        return result;
    journal_bind(statement, "t", vm_or_id);
    return get_one(journal, statement, vm_or_id, out, err);
}

int journal_each(struct journal *journal, int64_t run_or_0,
                 journal_migration_fn *fn, void *user, struct ds_error *err)
{
    autostatement sqlite3_stmt *statement = NULL;
    int result = journal_prepare(
        journal, MIGRATION_COLUMNS "WHERE ?1 = 0 OR run = ?1 ORDER BY id",
        &statement, err);
    int code = SQLITE_DONE;

    if (result == 0)
        journal_bind(statement, "i", run_or_0);
    while (result == 0 && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        struct migration_record record = { 0 };

        read_migration(statement, &record);
        result = fn(user, &record, err);
        migration_record_free(&record);
    }
    return result == 0 && code != SQLITE_DONE ? journal_failed(journal, err)
                                              : result;
}

int journal_set_state(struct journal *journal, int64_t id,
                      enum migration_state state, const char *error_text,
                      struct ds_error *err)
{
    bool over = state != MIGRATION_RUNNING && state != MIGRATION_UNDOING &&
                state != MIGRATION_WAITING;
    autostatement sqlite3_stmt *statement = NULL;
    int result = journal_prepare(journal,
                                 "UPDATE migrations SET state = ?, error = "
                                 "coalesce(?, error), ended = ? WHERE id = ?",
                                 &statement, err);

    if (result != 0)
        return result;
    journal_bind(statement, "itri", (int64_t)state, error_text,
                 over ? now_seconds() : 0.0, id);
    return journal_record(journal, statement, err);
}

static int set_column(struct journal *journal, const char *sql, int64_t id,
                      const char *text, struct ds_error *err)
{
    autostatement sqlite3_stmt *statement = NULL;
    int result = journal_prepare(journal, sql, &statement, err);

    if (result != 0)
        return result;
    journal_bind(statement, "ti", text, id);
    return journal_write(journal, statement, err);
}

int journal_set_stage(struct journal *journal, int64_t id, const char *stage,
                      struct ds_error *err)
{
    return set_column(journal, "UPDATE migrations SET stage = ? WHERE id = ?",
                      id, stage, err);
}

int journal_set_vm(struct journal *journal, int64_t id, const json_t *vm,
                   struct ds_error *err)
{
    autofree char *text = json_dumps(vm, JSON_COMPACT);

    return set_column(journal, "UPDATE migrations SET vm = ? WHERE id = ?", id,
                      text, err);
}

int journal_set_verdict(struct journal *journal, int64_t id,
                        const char *verdict, struct ds_error *err)
{
    return set_column(journal, "UPDATE migrations SET verdict = ? WHERE id = ?",
                      id, verdict, err);
}

int journal_set_cancel(struct journal *journal, int64_t id, bool cancel,
                       struct ds_error *err)
{
    return set_column(journal,
                      "UPDATE migrations SET cancel = CAST(? AS INTEGER) "
                      "WHERE id = ?",
                      id, cancel ? "1" : "0", err);
}

bool journal_is_cancelled(struct journal *journal, int64_t id)
{
    autostatement sqlite3_stmt *statement = NULL;

    if (journal_prepare(journal, "SELECT cancel FROM migrations WHERE id = ?",
                        &statement, NULL) != 0)
        return false;
    journal_bind(statement, "i", id);
    return sqlite3_step(statement) == SQLITE_ROW &&
           sqlite3_column_int(statement, 0) != 0;
}

void migration_record_free(struct migration_record *record)
{
    free(record->vm_name);
    free(record->kind);
    free(record->stage);
    free(record->error);
    free(record->verdict);
    json_decref(record->settings);
    json_decref(record->vm);
    *record = (struct migration_record){ 0 };
}

/* -- the claim ------------------------------------------------------------ */

static int open_claim(struct journal *journal, int64_t id)
{
    autofree char *path = text_format("%s/migration-%lld.lock",
                                      journal->directory, (long long)id);

    return open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
}

int journal_claim(struct journal *journal, int64_t id, int *lock,
                  struct ds_error *err)
{
    int descriptor = open_claim(journal, id);

    if (descriptor < 0)
        return fail_errno(err, errno, journal->directory, "make a lock");
    if (flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
        close(descriptor);
        return fail(err, DS_ERR_REFUSED,
                    "migration %lld is being worked on by another process",
                    (long long)id);
    }
    *lock = descriptor;
    return 0;
}

void journal_release(int lock)
{
    if (lock >= 0)
        close(lock);
}

bool journal_claimed(struct journal *journal, int64_t id)
{
    int descriptor = open_claim(journal, id);
    bool claimed = descriptor >= 0 && flock(descriptor, LOCK_EX | LOCK_NB) != 0;

    journal_release(descriptor);
    return claimed;
}

const char *migration_state_name(enum migration_state state)
{
    static const char *const names[MIGRATION_STATE_COUNT] = {
        "running", "waiting", "done", "failed", "undoing", "undone", "cancelled"
    };

    return names[state];
}

const char *step_state_name(enum step_state state)
{
    static const char *const names[STEP_STATE_COUNT] = { "begun", "done",
                                                         "undone" };

    return names[state];
}

const char *finding_severity_name(enum finding_severity severity)
{
    static const char *const names[] = { "note", "warning", "error" };

    return names[severity];
}
