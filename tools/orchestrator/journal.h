/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was done, kept in SQLite (WAL, synchronous=FULL): a record is on
 * storage before what it announces happens. Nothing secret is ever in it.
 *
 *   migrations   one VM's way: its name, plan and description as they were at
 *                the beginning, where it is now, how it ended
 *   steps        what it did, in order: `before` is written first and holds
 *                all that undoing needs, `after` when it has been done
 *   messages     lines for people, by time: warnings go into the report
 *   findings     of preflight
 *
 * A step's state only goes
 * BEGUN -> DONE -> UNDONE, or BEGUN -> UNDONE. One that is BEGUN after
 * a kill may have happened, wholly, in part or not at all: it is run again, or
 * undone, with the `before` that is there.
 *
 * One process works on a migration: journal_claim takes a lock (flock on a
 * file beside the database, released by death) that journal_claimed tells of.
 *
 * Threads: one struct journal each. Errors: SYSTEM, CORRUPT (no journal of
 * ours, or of a later version), REFUSED (claimed by another).
 */
#ifndef ORCH_JOURNAL_H
#define ORCH_JOURNAL_H

#include "base.h"

#define JOURNAL_VERSION 1

struct journal;

enum migration_state {
    MIGRATION_RUNNING, /* or cut short: nobody claims it */
    MIGRATION_WAITING, /* for a person: offline script, unknown state */
    MIGRATION_DONE,
    MIGRATION_FAILED, /* and not undone: resume or rollback */
    MIGRATION_UNDOING,
    MIGRATION_UNDONE,
    MIGRATION_CANCELLED /* before anything was changed */
};
#define MIGRATION_STATE_COUNT 7

enum step_state { STEP_BEGUN, STEP_DONE, STEP_UNDONE };
#define STEP_STATE_COUNT 3

struct migration_record {
    int64_t id;
    int64_t run; /* those started by one command have the same */
    char *vm_name;
    char *kind; /* "migrate", "test", "return" */
    enum migration_state state;
    char *stage;         /* where it is: "backup" ... */
    json_t *settings;    /* as planned: plan.h */
    json_t *vm;          /* as the source described it; NULL before that */
    char *error;         /* what it failed of; NULL */
    char *verdict;       /* of the wait; NULL before that */
    double begun, ended; /* seconds since 1970; ended 0: not yet */
};

struct step_record {
    int64_t id;
    char *stage; /* "backup" */
    char *name;  /* "clone-backup" */
    enum step_state state;
    json_t *before;
    json_t *after; /* NULL until DONE */
    double begun, ended;
};

enum message_level { MESSAGE_INFO, MESSAGE_WARNING, MESSAGE_ERROR };

struct message_record {
    double time;
    enum message_level level;
    char *stage;
    char *text;
};

enum finding_severity { FINDING_NOTE, FINDING_WARNING, FINDING_ERROR };

struct finding {
    const char *rule; /* "disk-format": stays the same for ever */
    enum finding_severity severity;
    char *subject; /* "sda", a network's name ... */
    char *text;    /* what is the matter */
    char *fix;     /* what to do */
};

/** Open, and make when missing, the journal in `directory`. */
int journal_open(const char *directory, struct journal **out,
                 struct ds_error *err);
void journal_close(struct journal *journal);

int journal_run_new(struct journal *journal, int64_t *run,
                    struct ds_error *err);
int journal_add(struct journal *journal, struct migration_record *record,
                struct ds_error *err); /* fills record->id */
/** 0, -DS_ERR_ARG when there is none. *out is filled (record_free). */
int journal_get(struct journal *journal, int64_t id,
                struct migration_record *out, struct ds_error *err);
/** The latest of a VM, or of a number in text. */
int journal_find(struct journal *journal, const char *vm_or_id,
                 struct migration_record *out, struct ds_error *err);
typedef int journal_migration_fn(void *user,
                                 const struct migration_record *record,
                                 struct ds_error *err);
int journal_each(struct journal *journal, int64_t run_or_0,
                 journal_migration_fn *fn, void *user, struct ds_error *err);
int journal_set_state(struct journal *journal, int64_t id,
                      enum migration_state state, const char *error_text,
                      struct ds_error *err);
int journal_set_stage(struct journal *journal, int64_t id, const char *stage,
                      struct ds_error *err);
int journal_set_vm(struct journal *journal, int64_t id, const json_t *vm,
                   struct ds_error *err);
int journal_set_verdict(struct journal *journal, int64_t id,
                        const char *verdict, struct ds_error *err);
/** Asks whoever works on it to stop; it sees it at its next look. */
int journal_set_cancel(struct journal *journal, int64_t id, bool cancel,
                       struct ds_error *err);
bool journal_is_cancelled(struct journal *journal, int64_t id);
void migration_record_free(struct migration_record *record);

/* Steps. Each of the three is one durable transaction. */
int journal_step_begin(struct journal *journal, int64_t migration_id,
                       const char *stage, const char *name,
                       const json_t *before, int64_t *step_id,
                       struct ds_error *err);
int journal_step_done(struct journal *journal, int64_t step_id,
                      const json_t *after, struct ds_error *err);
int journal_step_undone(struct journal *journal, int64_t step_id,
                        struct ds_error *err);
/** All of a migration, in order; *out is an array of *count (steps_free). */
int journal_steps(struct journal *journal, int64_t migration_id,
                  struct step_record **out, size_t *count,
                  struct ds_error *err);
void journal_steps_free(struct step_record *steps, size_t count);

int journal_message(struct journal *journal, int64_t migration_id,
                    enum message_level level, const char *stage,
                    const char *text, struct ds_error *err);
typedef int journal_message_fn(void *user, const struct message_record *message,
                               struct ds_error *err);
int journal_each_message(struct journal *journal, int64_t migration_id,
                         journal_message_fn *fn, void *user,
                         struct ds_error *err);
int journal_set_findings(struct journal *journal, int64_t migration_id,
                         const struct finding *findings, size_t count,
                         struct ds_error *err);
typedef int journal_finding_fn(void *user, const struct finding *finding,
                               struct ds_error *err);
int journal_each_finding(struct journal *journal, int64_t migration_id,
                         journal_finding_fn *fn, void *user,
                         struct ds_error *err);

/** Work on it alone. REFUSED when another does. */
int journal_claim(struct journal *journal, int64_t id, int *lock,
                  struct ds_error *err);
void journal_release(int lock);
bool journal_claimed(struct journal *journal, int64_t id); /* by anybody */

const char *migration_state_name(enum migration_state state);
const char *step_state_name(enum step_state state);
const char *finding_severity_name(enum finding_severity severity);

#endif
