/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine: one VM's migration is a list of steps, always the same ones in
 * the same order; what a plan does not want, a step's `wanted` leaves out.
 *
 *     preflight  backup   prepare   migrate   wait  ->  done
 *                   \________\_________\________\---->  restore
 *
 * For each step:  before() looks, and changes nothing; what undoing will need
 *                 goes into `before`
 *                 the journal has it on storage (BEGUN)
 *                 run() acts; it may find its work done, whole or in part, by
 *                 a run that was killed, and ends in the same place
 *                 the journal has `after` (DONE)
 *
 * Resume: steps that are DONE are passed over, the one that is BEGUN is run
 * again with the `before` that is there, the others follow. So there is one
 * way through, with or without a kill.
 *
 * Restore (on an error, or by `rollback`): each step that is not UNDONE, from
 * the last to the first: undo(before), then the journal has UNDONE. An undo may
 * find that nothing is there to undo. One that fails stops the restore, which
 * `rollback` tries again; `resume` of a migration that is being undone goes on
 * undoing.
 *
 * The steps, with what each needs to be undone:
 *
 *   preflight  inspect            nothing is changed
 *   backup     drop-snapshot      nothing: an old one of ours, merged
 *              shut-source        start it, if it ran
 *              snapshot           merge it
 *              clone-backup       remove it, unless it is kept
 *              merge-snapshot     nothing
 *              start-source       nothing
 *   prepare    autostart-off      set it as it was
 *              write-offline      remove script and ISO
 *              run-script         disks back from the backup
 *              source-off         start it, if it ran
 *   migrate    shift-disks        remove the target's disks
 *              define-target      undefine it
 *              start-target       pull its plug
 *   wait       wait-target        nothing
 *              renew-macs         nothing: undefined below
 *              run-target         pull its plug
 *
 * The disks go back before the source starts, since run-script comes before
 * source-off in the journal and undoing goes backwards: source-off's undo only
 * notes that the source is to be started, and the restore's last act starts it.
 *
 * Source and target never run at once: start-target's run refuses while the
 * source is not off, and the restore's start while the target is not.
 *
 * DS_STOP_AFTER_RECORD=N in the environment kills the process (SIGKILL) when
 * the journal has taken its Nth record: how every edge is tested.
 */
#ifndef ORCH_STAGE_H
#define ORCH_STAGE_H

#include "guest.h"
#include "hypervisor.h"
#include "journal.h"
#include "plan.h"

enum stage {
    STAGE_PREFLIGHT,
    STAGE_BACKUP,
    STAGE_PREPARE,
    STAGE_MIGRATE,
    STAGE_WAIT,
    STAGE_RESTORE
};
#define STAGE_COUNT 6
const char *stage_name(enum stage stage);

/** Who tells people and programs how it goes. Called from a migration's own
 * thread. */
struct narrator {
    void (*say)(void *user, const char *vm_name, enum message_level level,
                const char *stage, const char *text);
    /** `step` begins (done false) or has ended. */
    void (*step)(void *user, const char *vm_name, const char *stage,
                 const char *step, bool done, double seconds);
    void (*disk)(void *user, const char *vm_name, const char *disk,
                 const struct ds_progress *progress);
    void *user;
};

/** All that a step may see and use. */
struct migration {
    struct journal *journal;
    int64_t id;
    struct settings settings;
    struct vm vm;        /* the source's, as it was at the beginning */
    struct vm target_vm; /* what it becomes: vm_for_target */
    struct hypervisor *source, *target; /* two, even for one URI */
    struct narrator narrator;
    enum stage stage;
    bool source_was_running; /* at the beginning: from inspect */
    bool start_source;       /* at the end of a restore */
    bool waits;              /* for a person: stop here without an error */
};

struct step {
    const char *name;
    enum stage stage;
    bool (*wanted)(const struct migration *migration);
    /** May be NULL: nothing to keep. */
    int (*before)(struct migration *migration, json_t *before,
                  struct ds_error *err);
    int (*run)(struct migration *migration, const json_t *before, json_t *after,
               struct ds_error *err);
    /** What of a DONE step the later ones need again after a resume. NULL:
     * nothing. */
    int (*recall)(struct migration *migration, const json_t *before,
                  const json_t *after, struct ds_error *err);
    /** May be NULL: nothing to undo. `after` is NULL unless it was DONE. */
    int (*undo)(struct migration *migration, const json_t *before,
                const json_t *after, struct ds_error *err);
};

/** The table; NULL past the end. */
const struct step *step_at(size_t index);
const struct step *step_find(const char *name);

/** Go on from wherever the journal says it is, to the end, to a wait for a
 * person, or to an error, after which it restores if the plan says so. */
int migration_go_on(struct migration *migration, struct ds_error *err);
/** Undo all of it. */
int migration_undo(struct migration *migration, struct ds_error *err);
/** Fill from the journal and connect; migration_end lets go. The claim is the
 * caller's. */
int migration_begin(struct journal *journal, int64_t id,
                    const struct narrator *narrator, struct migration *out,
                    struct ds_error *err);
void migration_end(struct migration *migration);
/** Journal and tell. */
void migration_say(struct migration *migration, enum message_level level,
                   const char *format, ...) PRINTF_LIKE(3, 4);
/** Somebody asked to stop: CANCELLED. */
int migration_check_cancel(struct migration *migration, struct ds_error *err);

/** vm_target.c: the target as the plan's maps make it of the source. ARG with
 * what has no entry. */
int vm_for_target(const struct vm *vm, const struct settings *settings,
                  struct vm *out, struct ds_error *err);

/** preflight.c: run all rules. What they find goes to `add`. */
typedef void preflight_fn(void *user, const struct finding *finding);
int preflight_run(struct migration *migration, preflight_fn *add, void *user,
                  struct ds_error *err);

/* The steps' functions, by the file of their stage. */
extern const struct step steps_backup[];
extern const struct step steps_prepare[];
extern const struct step steps_migrate[];
extern const struct step steps_wait[];

#endif
