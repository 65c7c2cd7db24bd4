/* SPDX-License-Identifier: Apache-2.0 */
#include "journal_db.h"

int journal_step_begin(struct journal *journal, int64_t migration_id,
                       const char *stage, const char *name,
                       const json_t *before, int64_t *step_id,
                       struct ds_error *err)
{
    autostatement sqlite3_stmt *statement = NULL;
    int result = journal_prepare(
        journal,
        "INSERT INTO steps (migration, stage, name, state, before, begun)"
        " VALUES (?, ?, ?, 0, ?, ?)",
        &statement, err);

    if (result != 0)
        return result;
    journal_bind(statement, "ittjr", migration_id, stage, name, before,
                 now_seconds());
    result = journal_record(journal, statement, err);
    *step_id = sqlite3_last_insert_rowid(journal->db);
    return result;
}

static int set_step(struct journal *journal, int64_t step_id,
                    enum step_state state, const json_t *after,
                    struct ds_error *err)
{
    autostatement sqlite3_stmt *statement = NULL;
    int result = journal_prepare(journal,
                                 "UPDATE steps SET state = ?, after = "
                                 "coalesce(?, after), ended = ? WHERE id = ?",
                                 &statement, err);

    if (result != 0)
        return result;
    journal_bind(statement, "ijri", (int64_t)state, after, now_seconds(),
                 step_id);
    return journal_record(journal, statement, err);
}

int journal_step_done(struct journal *journal, int64_t step_id,
                      const json_t *after, struct ds_error *err)
{
    return set_step(journal, step_id, STEP_DONE, after, err);
}

int journal_step_undone(struct journal *journal, int64_t step_id,
                        struct ds_error *err)
{
    return set_step(journal, step_id, STEP_UNDONE, NULL, err);
}

static void read_step(sqlite3_stmt *statement, struct step_record *out)
{
    int state = sqlite3_column_int(statement, 3);

    out->id = sqlite3_column_int64(statement, 0);
    out->stage = journal_text(statement, 1);
    out->name = journal_text(statement, 2);
    out->state = state >= 0 && state < STEP_STATE_COUNT ? (enum step_state)state
                                                        : STEP_BEGUN;
    out->before = journal_json(statement, 4);
    out->after = journal_json(statement, 5);
    out->begun = sqlite3_column_double(statement, 6);
    out->ended = sqlite3_column_double(statement, 7);
}

int journal_steps(struct journal *journal, int64_t migration_id,
                  struct step_record **out, size_t *count, struct ds_error *err)
{
    autostatement sqlite3_stmt *statement = NULL;
    struct step_record *steps = NULL;
    size_t used = 0;
    int code;
    int result = journal_prepare(
        journal,
        "SELECT id, stage, name, state, before, after, begun, ended FROM steps"
        " WHERE migration = ? ORDER BY id",
        &statement, err);

    if (result != 0)
        return result;
    journal_bind(statement, "i", migration_id);
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        steps = need_more(steps, (used + 1) * sizeof(*steps));
        read_step(statement, &steps[used++]);
    }
    *out = steps;
    *count = used;
    if (code == SQLITE_DONE)
        return 0;
    journal_steps_free(steps, used);
    *out = NULL;
    *count = 0;
    return journal_failed(journal, err);
}

void journal_steps_free(struct step_record *steps, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(steps[i].stage);
        free(steps[i].name);
        json_decref(steps[i].before);
        json_decref(steps[i].after);
    }
    free(steps);
}

int journal_message(struct journal *journal, int64_t migration_id,
                    enum message_level level, const char *stage,
                    const char *text, struct ds_error *err)
{
    autostatement sqlite3_stmt *statement = NULL;
    int result = journal_prepare(
        journal,
        "INSERT INTO messages (migration, time, level, stage, text)"
        " VALUES (?, ?, ?, ?, ?)",
        &statement, err);

    if (result != 0)
        return result;
    journal_bind(statement, "iritt", migration_id, now_seconds(),
                 (int64_t)level, stage, text);
    return journal_write(journal, statement, err);
}

int journal_each_message(struct journal *journal, int64_t migration_id,
                         journal_message_fn *fn, void *user,
                         struct ds_error *err)
{
    autostatement sqlite3_stmt *statement = NULL;
    int code = SQLITE_DONE;
    int result = journal_prepare(journal,
                                 "SELECT time, level, stage, text FROM messages"
                                 " WHERE migration = ? ORDER BY id",
                                 &statement, err);

    if (result == 0)
        journal_bind(statement, "i", migration_id);
    while (result == 0 && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        struct message_record message = {
            .time = sqlite3_column_double(statement, 0),
            .level = (enum message_level)sqlite3_column_int(statement, 1),
            .stage = journal_text(statement, 2),
            .text = journal_text(statement, 3),
        };

        result = fn(user, &message, err);
        free(message.stage);
        free(message.text);
    }
    return result == 0 && code != SQLITE_DONE ? journal_failed(journal, err)
                                              : result;
}

int journal_set_findings(struct journal *journal, int64_t migration_id,
                         const struct finding *findings, size_t count,
                         struct ds_error *err)
{
    autostatement sqlite3_stmt *clear = NULL;
    int result = journal_prepare(
        journal, "DELETE FROM findings WHERE migration = ?", &clear, err);

    if (result == 0) {
        journal_bind(clear, "i", migration_id);
        result = journal_write(journal, clear, err);
    }
    for (size_t i = 0; i < count && result == 0; i++) {
        autostatement sqlite3_stmt *statement = NULL;

        result = journal_prepare(
            journal, "INSERT INTO findings VALUES (?, ?, ?, ?, ?, ?)",
            &statement, err);
        if (result != 0)
            return result;
        journal_bind(statement, "itittt", migration_id, findings[i].rule,
                     (int64_t)findings[i].severity, findings[i].subject,
                     findings[i].text, findings[i].fix);
        result = journal_write(journal, statement, err);
    }
    return result;
}

int journal_each_finding(struct journal *journal, int64_t migration_id,
                         journal_finding_fn *fn, void *user,
                         struct ds_error *err)
{
    autostatement sqlite3_stmt *statement = NULL;
    int code = SQLITE_DONE;
    int result = journal_prepare(
        journal,
        "SELECT rule, severity, subject, text, fix FROM findings"
        " WHERE migration = ? ORDER BY severity DESC, rowid",
        &statement, err);

    if (result == 0)
        journal_bind(statement, "i", migration_id);
    while (result == 0 && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        autofree char *rule = journal_text(statement, 0);
        struct finding finding = {
            .rule = rule,
            .severity = (enum finding_severity)sqlite3_column_int(statement, 1),
            .subject = journal_text(statement, 2),
            .text = journal_text(statement, 3),
            .fix = journal_text(statement, 4),
        };

        result = fn(user, &finding, err);
        free(finding.subject);
        free(finding.text);
        free(finding.fix);
    }
    return result == 0 && code != SQLITE_DONE ? journal_failed(journal, err)
                                              : result;
}
