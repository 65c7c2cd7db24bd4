/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Elements to scripts:
 *
 *     request --resolve--> tasks, hypervisors, values
 *     tasks of one script --choose--> its elements, with what those need
 *     elements --compose--> second text --carry--> first text
 *
 * The two halves of a script are composed by the same function; they differ
 * in the phases they hold.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <diskshift/diskshift.h>

#include "cleanup.h"
#include "element.h"
#include "fail.h"

#define TASK_COUNT_MAX 32
#define VALUE_BYTES_MAX (64u * 1024u)
#define JOB_BYTES_MAX 64
#define JOB_STANDARD "move"

/* In the order of staged scripts; a task that is not here comes before the
 * last. */
static const char *const task_order[] = { "network", "drivers", "boot",
                                          "tools-remove", "tools-install" };
static const char task_last[] = "power-off";
static const char *const standard_tasks[] = { "network", "drivers", "boot",
                                              task_last };

struct ds_guest_scripts {
    struct ds_guest_script *list;
    size_t count;
};

/* Everything that the scripts of one request share. */
struct maker {
    const struct ds_guest_script_request *request;
    const struct gs_language *language;
    struct ds_guest_elements *elements;
    const char *source, *target, *job;
    const char *tasks[TASK_COUNT_MAX];
    size_t task_count;
    bool *taken; /* for each variable of the request: some element has it */
    struct ds_guest_scripts *scripts;
};

/* One script in the making. */
struct script {
    const struct maker *maker;
    const char *name; /* "all", or its task */
    char tasks[TASK_COUNT_MAX * (GS_NAME_MAX + 1)];
    bool *chosen; /* for each element of the list */
};

/* The two halves. */
struct half {
    const char *name; /* "first" */
    const char *main; /* element */
    enum gs_phase phases[3];
    size_t phase_count;
};
static const struct half first_half = {
    "first", "main-first", { GS_COLLECT, GS_PREPARE }, 2
};
static const struct half second_half = {
    "second", "main-second", { GS_LEAVE, GS_ARRIVE, GS_SETTLE }, 3
};

/* -- the request ---------------------------------------------------------- */

static bool is_hypervisor(const char *word)
{
    return gs_list_has("any vmware hyperv kvm xen", word) &&
           strchr(word, ' ') == NULL && word[0] != '\0';
}

static bool is_job(const char *job)
{
    size_t length = strlen(job);

    return length > 0 && length <= JOB_BYTES_MAX && job[0] != '.' &&
           job[0] != '-' &&
           strspn(job, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                       "0123456789._-") == length;
}

/* UTF-8 without control characters but newline and tab: what both languages
 * can hold in a literal and JSON can repeat. */
static bool is_text(const char *value)
{
    const unsigned char *at = (const unsigned char *)value;

    while (*at != '\0') {
        unsigned char c = *at++;
        unsigned more = c < 0x80                ? 0
                        : c >= 0xc2 && c < 0xe0 ? 1
                        : c >= 0xe0 && c < 0xf0 ? 2
                        : c >= 0xf0 && c < 0xf5 ? 3
                                                : 9;

        if (more == 9 || c == 0x7f || (c < 0x20 && c != '\n' && c != '\t'))
            return false;
        if ((c == 0xe0 && *at < 0xa0) || (c == 0xed && *at > 0x9f) ||
            (c == 0xf0 && *at < 0x90) || (c == 0xf4 && *at > 0x8f))
            return false;
        for (; more > 0; more--, at++)
            if ((*at & 0xc0) != 0x80)
                return false;
    }
    return true;
}

static bool has_task(const struct maker *maker, const char *task)
{
    for (size_t i = 0; i < maker->task_count; i++)
        if (strcmp(maker->tasks[i], task) == 0)
            return true;
    return false;
}

static const struct gs_element *element_at(const struct maker *maker,
                                           size_t index)
{
    return maker->elements->list[index];
}

/* Whether an element of this guest and these hypervisors does the task. */
static bool serves(const struct maker *maker, const struct gs_element *element,
                   const char *task)
{
    return element->language == maker->language &&
           strcmp(element->face.task, task) == 0 &&
           element->phase != GS_COMMON &&
           gs_element_suits(element, maker->source, maker->target);
}

static bool is_served(const struct maker *maker, const char *task)
{
    for (size_t i = 0; i < maker->elements->count; i++)
        if (serves(maker, element_at(maker, i), task))
            return true;
    return false;
}

static int add_task(struct maker *maker, const char *task, struct ds_error *err)
{
    if (has_task(maker, task))
        return 0;
    if (maker->task_count == TASK_COUNT_MAX)
        return ds_fail(err, DS_ERR_LIMIT, "guest script: more than %d tasks",
                       TASK_COUNT_MAX);
    maker->tasks[maker->task_count++] = task;
    return 0;
}

static int add_all_tasks(struct maker *maker, struct ds_error *err)
{
    int result = 0;

    for (size_t i = 0; i < maker->elements->count && result == 0; i++) {
        const char *task = element_at(maker, i)->face.task;

        if (strcmp(task, "base") != 0 &&
            serves(maker, element_at(maker, i), task))
            result = add_task(maker, task, err);
    }
    return result;
}

static size_t task_rank(const char *task)
{
    size_t count = sizeof(task_order) / sizeof(task_order[0]);

    for (size_t i = 0; i < count; i++)
        if (strcmp(task, task_order[i]) == 0)
            return i;
    return strcmp(task, task_last) == 0 ? count + 1 : count;
}

static int compare_tasks(const void *a, const void *b)
{
    const char *left = *(const char *const *)a;
    const char *right = *(const char *const *)b;
    size_t left_rank = task_rank(left), right_rank = task_rank(right);

    if (left_rank != right_rank)
        return left_rank < right_rank ? -1 : 1;
    return strcmp(left, right);
}

static int take_tasks(struct maker *maker, struct ds_error *err)
{
    const struct ds_guest_script_request *request = maker->request;
    size_t standard = sizeof(standard_tasks) / sizeof(standard_tasks[0]);
    int result = 0;

    for (size_t i = 0; i < standard && request->task_count == 0; i++)
        if (is_served(maker, standard_tasks[i]))
            maker->tasks[maker->task_count++] = standard_tasks[i];
    for (size_t i = 0; i < request->task_count && result == 0; i++) {
        const char *task = request->tasks[i];

        if (strcmp(task, "all") == 0)
            result = add_all_tasks(maker, err);
        else if (!gs_name_ok(task) || strcmp(task, "base") == 0 ||
                 !is_served(maker, task))
            return ds_fail(err, DS_ERR_ARG,
                           "guest script: task: have '%s', which no element "
                           "for %s, %s to %s does",
                           task, maker->language->guest, maker->source,
                           maker->target);
        else
            result = add_task(maker, task, err);
    }
    qsort(maker->tasks, maker->task_count, sizeof(maker->tasks[0]),
          compare_tasks);
    return result;
}

static int check_variable(const char *variable, struct ds_error *err)
{
    const char *equals = strchr(variable, '=');

    if (equals == NULL || equals == variable)
        return ds_fail(err, DS_ERR_ARG,
                       "guest script: option: have '%s' expect key=value",
                       variable);
    if (strlen(equals + 1) > VALUE_BYTES_MAX)
        return ds_fail(err, DS_ERR_LIMIT,
                       "guest script: option %.*s: have %zu bytes expect at "
                       "most %u",
                       (int)(equals - variable), variable, strlen(equals + 1),
                       VALUE_BYTES_MAX);
    if (!is_text(equals + 1))
        return ds_fail(err, DS_ERR_ARG,
                       "guest script: option %.*s: expect UTF-8 without "
                       "control characters",
                       (int)(equals - variable), variable);
    return 0;
}

static int take_request(struct maker *maker, struct ds_error *err)
{
    const struct ds_guest_script_request *request = maker->request;

    maker->language =
        request->guest != NULL ? gs_language_find(request->guest) : NULL;
    if (maker->language == NULL)
        return ds_fail(err, DS_ERR_ARG,
                       "guest script: guest: have '%s' expect linux or windows",
                       request->guest != NULL ? request->guest : "");
    maker->source = request->source != NULL ? request->source : "any";
    maker->target = request->target != NULL ? request->target : "any";
    maker->job = request->job != NULL ? request->job : JOB_STANDARD;
    if (!is_hypervisor(maker->source) || !is_hypervisor(maker->target))
        return ds_fail(err, DS_ERR_ARG,
                       "guest script: hypervisor: have '%s' expect vmware, "
                       "hyperv, kvm, xen or any",
                       is_hypervisor(maker->source) ? maker->target
                                                    : maker->source);
    if (!is_job(maker->job))
        return ds_fail(err, DS_ERR_ARG,
                       "guest script: job: have '%s' expect at most %d "
                       "letters, digits, '.', '_', '-'",
                       maker->job, JOB_BYTES_MAX);
    if ((unsigned)request->stage > DS_SCRIPT_OFFLINE)
        return ds_fail(err, DS_ERR_ARG, "guest script: no stage %d",
                       (int)request->stage);
    for (size_t i = 0; i < request->variable_count; i++) {
        int result = check_variable(request->variables[i], err);

        if (result != 0)
            return result;
    }
    maker->taken = calloc(request->variable_count + 1, sizeof(bool));
    return maker->taken != NULL ? 0 : ds_fail_memory(err);
}

/* -- values --------------------------------------------------------------- */

static const char *stage_name(enum ds_script_stage stage)
{
    static const char *const names[] = { "first", "staged", "offline" };

    return names[stage];
}

static const char *own_value(const struct script *script, const char *name,
                             size_t length)
{
    const struct maker *maker = script->maker;
    const struct {
        const char *name;
        const char *value;
    } own[] = {
        { "JOB", maker->job },
        { "SCRIPT", script->name },
        { "SOURCE", maker->source },
        { "TARGET", maker->target },
        { "TASKS", script->tasks },
        { "VERSION", ds_version() },
        { "STAGE", stage_name(maker->request->stage) },
    };

    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        if (strlen(own[i].name) == length &&
            strncmp(own[i].name, name, length) == 0)
            return own[i].value;
    return NULL;
}

/* The last of several counts, as with any option. */
static const char *given_value(const struct maker *maker, const char *key)
{
    size_t length = strlen(key);
    const char *value = NULL;

    for (size_t i = 0; i < maker->request->variable_count; i++) {
        const char *variable = maker->request->variables[i];

        if (strncmp(variable, key, length) == 0 && variable[length] == '=') {
            value = variable + length + 1;
            maker->taken[i] = true;
        }
    }
    return value;
}

/* NULL for one that was not given and has no standard. */
static const char *value_of(const struct script *script,
                            const struct gs_element *element,
                            const struct gs_place *place)
{
    const char *name = element->text + place->offset_bytes + 1;
    size_t length = place->length_bytes - 2;
    const char *value = own_value(script, name, length);

    for (size_t i = 0; i < element->face.variable_count && value == NULL; i++) {
        const struct ds_guest_variable *variable = &element->variables[i];

        if (strlen(variable->key) != length ||
            strncasecmp(variable->key, name, length) != 0)
            continue;
        value = given_value(script->maker, variable->key);
        return value != NULL ? value : variable->standard;
    }
    return value;
}

/* -- one script ----------------------------------------------------------- */

/* Elements that `element` calls, and what those call. */
static int choose_needs(struct script *script, const struct gs_element *element,
                        bool *more, struct ds_error *err)
{
    const struct maker *maker = script->maker;

    for (size_t i = 0; element->needs[i] != NULL; i++) {
        size_t j = 0;

        while (
            j < maker->elements->count &&
            (element_at(maker, j)->language != maker->language ||
             element_at(maker, j)->phase != GS_COMMON ||
             strcmp(element_at(maker, j)->face.name, element->needs[i]) != 0))
            j++;
        if (j == maker->elements->count)
            return gs_element_fail(err, element->path, 1,
                                   "head: needs: there is no element '%s' of "
                                   "phase common",
                                   element->needs[i]);
        *more = *more || !script->chosen[j];
        script->chosen[j] = true;
    }
    return 0;
}

static bool is_of_half(const struct half *half,
                       const struct gs_element *element)
{
    for (size_t i = 0; i < half->phase_count; i++)
        if (element->phase == half->phases[i])
            return true;
    return element->phase == GS_MAIN &&
           strcmp(element->face.name, half->main) == 0;
}

static int choose(struct script *script, const struct half *half,
                  struct ds_error *err)
{
    const struct maker *maker = script->maker;
    bool more = true;
    int result = 0;

    for (size_t i = 0; i < maker->elements->count; i++) {
        const char *task = element_at(maker, i)->face.task;

        script->chosen[i] =
            is_of_half(half, element_at(maker, i)) &&
            serves(maker, element_at(maker, i), task) &&
            (strcmp(task, "base") == 0 || gs_list_has(script->tasks, task));
    }
    while (more && result == 0) {
        more = false;
        for (size_t i = 0; i < maker->elements->count && result == 0; i++)
            if (script->chosen[i])
                result = choose_needs(script, element_at(maker, i), &more, err);
    }
    return result;
}

static int add_element(const struct script *script,
                       const struct gs_element *element, struct gs_text *out,
                       struct ds_error *err)
{
    const struct gs_language *language = element->language;
    size_t at = element->body_bytes;

    gs_text_printf(out, "\n# -- %s: %s\n", element->face.name,
                   element->face.summary);
    for (size_t i = 0; i < element->place_count; i++) {
        const struct gs_place *place = &element->places[i];
        const char *value = value_of(script, element, place);

        if (value == NULL)
            return gs_element_fail(err, element->path, place->line,
                                   "variable %.*s has no standard and was "
                                   "not given",
                                   (int)place->length_bytes,
                                   element->text + place->offset_bytes);
        gs_text_add(out, element->text + at, place->offset_bytes - at);
        language->quote(out, value);
        at = place->offset_bytes + place->length_bytes;
    }
    gs_text_add(out, element->text + at, element->length_bytes - at);
    if (element->length_bytes > at &&
        element->text[element->length_bytes - 1] != '\n')
        gs_text_puts(out, "\n");
    return 0;
}

static void add_steps(const struct script *script, enum gs_phase phase,
                      struct gs_text *out)
{
    const struct maker *maker = script->maker;
    bool empty = true;

    maker->language->steps_begin(out, gs_phase_name(phase));
    for (size_t i = 0; i < maker->elements->count; i++) {
        if (!script->chosen[i] || element_at(maker, i)->phase != phase)
            continue;
        maker->language->steps_call(out, element_at(maker, i)->face.name);
        empty = false;
    }
    maker->language->steps_end(out, empty);
}

static void add_title(const struct script *script, const struct half *half,
                      struct gs_text *out)
{
    const struct maker *maker = script->maker;

    gs_text_printf(out,
                   "# diskshift %s, %s script (%s), %s: %s to %s, job %s.\n"
                   "# Tasks: %s. See it with --help or --dry-run.\n",
                   ds_version(), half->name, stage_name(maker->request->stage),
                   maker->language->guest, maker->source, maker->target,
                   maker->job, script->tasks);
}

/* `second`: the text to be carried, or NULL. */
static int compose(struct script *script, const struct half *half,
                   const char *second, size_t second_bytes, struct gs_text *out,
                   struct ds_error *err)
{
    const struct maker *maker = script->maker;
    const struct gs_element *last =
        gs_elements_find(maker->elements, maker->language->guest, half->main);
    int result;

    if (last == NULL)
        return ds_fail(err, DS_ERR_CORRUPT, "elements: there is no '%s' for %s",
                       half->main, maker->language->guest);
    result = choose(script, half, err);
    add_title(script, half, out);
    for (size_t i = 0; i < maker->elements->count && result == 0; i++)
        if (script->chosen[i] && element_at(maker, i)->phase != GS_MAIN)
            result = add_element(script, element_at(maker, i), out, err);
    for (size_t i = 0; i < half->phase_count; i++)
        add_steps(script, half->phases[i], out);
    if (second != NULL)
        maker->language->carry(out, second, second_bytes);
    return result != 0 ? result : add_element(script, last, out, err);
}

static int finish(struct maker *maker, const struct script *script,
                  struct gs_text *text, struct ds_error *err)
{
    struct ds_guest_script *made = &maker->scripts->list[maker->scripts->count];
    enum ds_script_stage stage = maker->request->stage;
    ds_autofree char *bytes = NULL;
    char *name = NULL;
    int length;
    int result = gs_text_take(text, &bytes, &made->length_bytes, err);

    if (result != 0)
        return result;
    if (stage == DS_SCRIPT_STAGED)
        length = asprintf(&name, "%zu0-%s%s", maker->scripts->count + 1,
                          script->name, maker->language->suffix);
    else
        length =
            asprintf(&name, "%s%s", stage_name(stage), maker->language->suffix);
    if (length < 0)
        return ds_fail_memory(err);
    made->name = name;
    made->text = ds_steal(&bytes);
    made->task = strdup(script->name);
    maker->scripts->count++;
    return made->task != NULL ? 0 : ds_fail_memory(err);
}

/* `task`: NULL for all of them. */
static int make_script(struct maker *maker, const char *task,
                       struct ds_error *err)
{
    ds_auto(gs_text_free) struct gs_text first = { 0 }, second = { 0 };
    ds_autofree bool *chosen = calloc(maker->elements->count, sizeof(bool));
    struct script script = { .maker = maker,
                             .name = task != NULL ? task : "all",
                             .chosen = chosen };
    int result;

    if (chosen == NULL)
        return ds_fail_memory(err);
    for (size_t i = 0; i < maker->task_count && task == NULL; i++) {
        if (i > 0)
            strcat(script.tasks, " ");
        strcat(script.tasks, maker->tasks[i]);
    }
    if (task != NULL)
        strcat(script.tasks, task);
    result = compose(&script, &second_half, NULL, 0, &second, err);
    if (result != 0)
        return result;
    gs_text_puts(&first, maker->language->opening);
    result = second.failed ? ds_fail_memory(err)
                           : compose(&script, &first_half, second.bytes,
                                     second.length_bytes, &first, err);
    return result != 0 ? result : finish(maker, &script, &first, err);
}

/* -- all of them ---------------------------------------------------------- */

static int check_taken(const struct maker *maker, struct ds_error *err)
{
    for (size_t i = 0; i < maker->request->variable_count; i++) {
        const char *variable = maker->request->variables[i];

        if (!maker->taken[i])
            return ds_fail(err, DS_ERR_ARG,
                           "guest script: option: have '%.*s', which no "
                           "element of these tasks takes",
                           (int)strcspn(variable, "="), variable);
    }
    return 0;
}

static int make_scripts(struct maker *maker, struct ds_error *err)
{
    bool staged = maker->request->stage == DS_SCRIPT_STAGED;
    int result = 0;

    maker->scripts = calloc(1, sizeof(*maker->scripts));
    if (maker->scripts == NULL)
        return ds_fail_memory(err);
    maker->scripts->list =
        calloc(maker->task_count + 1, sizeof(*maker->scripts->list));
    if (maker->scripts->list == NULL)
        return ds_fail_memory(err);
    for (size_t i = 0; i < maker->task_count && staged && result == 0; i++)
        result = make_script(maker, maker->tasks[i], err);
    if (!staged)
        result = make_script(maker, NULL, err);
    return result != 0 ? result : check_taken(maker, err);
}

int ds_guest_scripts_make(const struct ds_guest_script_request *request,
                          struct ds_guest_scripts **out, struct ds_error *err)
{
    struct maker maker = { .request = request };
    int result = ds_guest_elements_open(request->elements_directory,
                                        &maker.elements, err);

    if (result == 0)
        result = take_request(&maker, err);
    if (result == 0)
        result = take_tasks(&maker, err);
    if (result == 0)
        result = make_scripts(&maker, err);
    if (result == 0)
        *out = ds_steal(&maker.scripts);
    ds_guest_scripts_free(maker.scripts);
    ds_guest_elements_close(maker.elements);
    free(maker.taken);
    return result;
}

void ds_guest_scripts_free(struct ds_guest_scripts *scripts)
{
    if (scripts == NULL)
        return;
    for (size_t i = 0; i < scripts->count; i++) {
        free((void *)(uintptr_t)scripts->list[i].name);
        free((void *)(uintptr_t)scripts->list[i].task);
        free((void *)(uintptr_t)scripts->list[i].text);
    }
    free(scripts->list);
    free(scripts);
}

size_t ds_guest_scripts_count(const struct ds_guest_scripts *scripts)
{
    return scripts->count;
}

const struct ds_guest_script *
ds_guest_scripts_at(const struct ds_guest_scripts *scripts, size_t index)
{
    return index < scripts->count ? &scripts->list[index] : NULL;
}
