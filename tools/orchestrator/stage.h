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
 * the last to the first: undo(before), then the journal has UNDONE. An undo
 * may find that nothing is there to undo. One that fails stops the restore,
 * which `rollback` tries again.
 *
 * The steps, with what undoing each takes:
 *
 *   preflight  inspect         nothing was changed
 *              check           nothing was changed
 *   backup     drop-snapshot   nothing: it was an old one of ours
 *              shut-source     see below
 *              snapshot        merge it
 *              clone-backup    remove it, unless it is to be kept
 *              merge-snapshot  nothing
 *              start-source    nothing
 *   prepare    choose-way      nothing was changed
 *              autostart-off   set it as it was
 *              write-offline   disks back from the backup, script removed
 *              run-script      disks back from the backup
 *              source-off      see below
 *   migrate    shift-disks     remove the target's disks
 *              copy-nvram      remove it
 *              serve-disks     end the servers
 *              define-target   undefine it, and remove what that leaves
 *              start-target    pull its plug
 *   wait       wait-target     nothing
 *              renew-macs      nothing: it is undefined
 *              run-target      pull its plug
 *              drop-backup     nothing can: where the guest's script ran,
 *                              it refuses before all others
 *
 * The source may start only when its disks are back, so it is started last of
 * all, when the journal says that it ran and that we had it powered off.
 *
 * A test migration shifts the backup's clones, and undoes all of it in the
 * end. A return (stage_return.c) has steps of its own between source-off and
 * run-target, and one behind it:
 *
 *   migrate    return-disks    the old ones, which stood aside, take their
 *                              names again
 *              return-nvram    the same
 *   wait       drop-aside      nothing can: it refuses
 *
 * Source and target never run at once: start-target refuses while the source
 * is not off, and the restore while the target is not.
 *
 * stop.h has the process killed at any of these edges: how each is tested.
 */
#ifndef ORCH_STAGE_H
#define ORCH_STAGE_H

#include <diskshift/convert.h>

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
    /** A person at the terminal wants an end: stop where it stands. */
    bool (*stopped)(void *user);
    void *user;
};

/** CHECK ends with preflight. */
enum migration_kind { KIND_MIGRATE, KIND_TEST, KIND_RETURN, KIND_CHECK };
const char *migration_kind_name(enum migration_kind kind);

/** How the guest's script is run. */
enum way { WAY_NONE, WAY_ONLINE, WAY_OFFLINE };

/** All that a step may see and use. */
struct migration {
    struct journal *journal;
    int64_t id;
    enum migration_kind kind;
    struct settings settings;
    struct vm vm;        /* the source's, as it was at the beginning */
    struct vm target_vm; /* what it becomes: vm_for_target */
    struct hypervisor *source, *target; /* two, even for one URI */
    struct narrator narrator;
    enum stage stage;
    const struct step *step; /* the one that is run or undone */
    bool source_was_running; /* at the beginning: from inspect */
    enum way way;            /* from choose-way */
    char *backup_path;       /* of this one's backup; from clone-backup */
    struct texts asides;     /* disks that a return drops; from return-disks */
    char *waits;             /* for a person, for this: stop, no error */
};

struct step {
    const char *name;
    enum stage stage;
    const char *argument; /* hooks: the hook's name */
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

/** vm_target.c: the target as the plan's maps make it of the source. A network
 * without an entry is left as VM_LINK_OTHER. ARG: a bus that is none. */
int vm_for_target(const struct migration *migration, struct vm *out,
                  struct ds_error *err);
/** Describe the source anew, into vm, target_vm and the journal. */
int migration_describe(struct migration *migration, struct ds_error *err);
/** Whether its UEFI variables are a file that goes along, there or back. */
bool migration_moves_nvram(const struct migration *migration);
/** Where the source's guest takes commands; borrows from the migration. */
struct guest_address migration_guest(const struct migration *migration);
/** Where its backup is or would be; the caller owns it. */
char *migration_backup_path(const struct migration *migration);
/** Fill migration->target_vm. */
int migration_plan_target(struct migration *migration, struct ds_error *err);

/** preflight.c: run all rules. What they find goes to `add`. */
typedef void preflight_fn(void *user, const struct finding *finding);
int preflight_run(struct migration *migration, preflight_fn *add, void *user,
                  struct ds_error *err);

/* The steps, by the file of their stage; each ends with a NULL name. */
extern const struct step steps_preflight[];
extern const struct step steps_backup[];
extern const struct step steps_prepare[];
extern const struct step steps_migrate[];
extern const struct step steps_return[];
extern const struct step steps_wait[];
extern const struct step steps_return_end[];

/* What several of them do. */

/** Off when it returns: ask, wait `timeout_seconds`, then by force and with a
 * warning. */
int power_off(struct migration *migration, struct hypervisor *hypervisor,
              const char *name, unsigned timeout_seconds, struct ds_error *err);
/** The same without asking; `left_seconds` of the timeout are still there. */
int wait_or_force(struct migration *migration, struct hypervisor *hypervisor,
                  const char *name, unsigned timeout_seconds,
                  unsigned left_seconds, struct ds_error *err);
/** Whether script 2's final record has come. */
bool migration_has_result(const struct migration *migration);
/** An undo: no power, and no matter if there is no such VM. */
int stop_target(struct migration *migration, const json_t *before,
                const json_t *after, struct ds_error *err);
/** Start the target, unless the source is not off. */
int start_target(struct migration *migration, struct ds_error *err);
/** The source's disks as they are in the backup. */
int restore_disks(struct migration *migration, struct ds_error *err);

#endif
