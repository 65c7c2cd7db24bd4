/* SPDX-License-Identifier: Apache-2.0 */
/* What the journal's files share; nobody else includes it. */
#ifndef ORCH_JOURNAL_DB_H
#define ORCH_JOURNAL_DB_H

#include "journal.h"

#include <sqlite3.h>

struct journal {
    sqlite3 *db;
    char *directory;
    char *path;
};

#define autostatement __attribute__((cleanup(journal_cleanup_statement)))
static inline void journal_cleanup_statement(sqlite3_stmt **statement)
{
    sqlite3_finalize(*statement);
}

int journal_failed(struct journal *journal, struct ds_error *err);
int journal_prepare(struct journal *journal, const char *sql,
                    sqlite3_stmt **out, struct ds_error *err);
/** One letter each: i int64_t, r double, t text or NULL, j JSON or NULL. */
int journal_bind(sqlite3_stmt *statement, const char *types, ...);
/** Run a statement that gives no rows. */
int journal_write(struct journal *journal, sqlite3_stmt *statement,
                  struct ds_error *err);
/** The same for what the machine goes by: stop.h counts it. */
int journal_record(struct journal *journal, sqlite3_stmt *statement,
                   struct ds_error *err);
char *journal_text(sqlite3_stmt *statement, int column);
json_t *journal_json(sqlite3_stmt *statement, int column);

#endif
