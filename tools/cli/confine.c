/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   place                        read  list  test  make
 *   SOURCE, the other disk        x                       the file itself
 *   its directory                 x     x                 what it refers to,
 *                                                         VMware's locks
 *   the directory of the file           x                 locks, where SOURCE
 *   that SOURCE is a link to                              is a link
 *   --allow-refs                  x     x
 *   --key-file                    x
 *   a target's directory                      plan  convert
 *   storage: PATH, or its directory     x           --probe
 *   /proc/self/mountinfo          x                       which NFS it is
 *   libraries, names of hosts     x                       for nfs:// paths
 *
 * Landlock admits beneath a directory; which of these files may be opened is
 * decided by the rules for references, before it.
 */
#include "confine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "sandbox.h"

/* For each operand three, one for each target, and what is but once. */
#define PLACE_COUNT_MAX(options)                                               \
    (3 * (options)->operand_count + (options)->target_count + 6 +              \
     ARRAY_COUNT(network_places))

/* What the C library and libnfs, which is loaded when it is first needed, read
 * to reach a server by its name. */
static const char *const network_places[] = {
    "/lib",           "/usr/lib",       "/lib64",
    "/usr/lib64",     "/usr/local/lib", "/etc/ld.so.cache",
    "/etc/host.conf", "/etc/hosts",     "/etc/nsswitch.conf",
    "/etc/gai.conf",  "/etc/services",  "/etc/resolv.conf",
};

struct places {
    struct sandbox_place *list;
    char **paths; /* to be freed */
    size_t count;
};

static struct {
    bool entered;
    struct sandbox_state state;
} confinement;

static void places_free(struct places *places)
{
    for (size_t i = 0; i < places->count; i++)
        free(places->paths[i]);
    free(places->list);
    free(places->paths);
}

static int places_make(struct places *places, const struct options *options,
                       struct ds_error *err)
{
    size_t most = PLACE_COUNT_MAX(options);

    places->list = calloc(most, sizeof(*places->list));
    places->paths = calloc(most, sizeof(*places->paths));
    return places->list != NULL && places->paths != NULL ? 0
                                                         : memory_error(err);
}

/* Takes `path` over; the same place twice becomes one with both rights. */
static int add_owned(struct places *places, char *path, unsigned access,
                     struct ds_error *err)
{
    if (path == NULL)
        return memory_error(err);
    for (size_t i = 0; i < places->count; i++) {
        if (strcmp(places->list[i].path, path) == 0) {
            places->list[i].access |= access;
            free(path);
            return 0;
        }
    }
    places->paths[places->count] = path;
    places->list[places->count++] =
        (struct sandbox_place){ .path = path, .access = access };
    return 0;
}

static int add(struct places *places, const char *path, unsigned access,
               struct ds_error *err)
{
    return add_owned(places, strdup(path), access, err);
}

static int add_directory_of(struct places *places, const char *path,
                            unsigned access, struct ds_error *err)
{
    const char *slash = strrchr(path, '/');

    if (slash == NULL)
        return add(places, ".", access, err);
    return add_owned(places,
                     strndup(path, slash == path ? 1 : (size_t)(slash - path)),
                     access, err);
}

/* Names with a scheme are of another store, which opens no file here. */
static bool is_remote(const char *path)
{
    return strstr(path, "://") != NULL;
}

static int add_source(struct places *places, const struct options *options,
                      const char *path, struct ds_error *err)
{
    unsigned beside =
        options->no_refs ? SANDBOX_LIST : SANDBOX_READ | SANDBOX_LIST;
    char *real = NULL;
    struct stat status;
    int result;

    if (is_remote(path))
        return 0;
    result = add(places, path, SANDBOX_READ, err);
    if (result != 0 || lstat(path, &status) != 0 || S_ISBLK(status.st_mode))
        return result;
    result = add_directory_of(places, path, beside, err);
    if (result == 0 && S_ISLNK(status.st_mode))
        real = realpath(path, NULL);
    if (real != NULL)
        result = add_directory_of(places, real, SANDBOX_LIST, err);
    free(real);
    return result;
}

static int add_sources(struct places *places, const struct options *options,
                       struct ds_error *err)
{
    const char *const keys[] = { options->source.key_file,
                                 options->other.key_file };
    size_t count = (options->verb & (VERB_VERIFY | VERB_COMPARE)) != 0 ? 2
                   : options->verb == VERB_STORAGE                     ? 0
                                                   : options->source_count;
    int result = 0;

    for (size_t i = 0; i < count && result == 0; i++)
        result = add_source(places, options, options->operands[i], err);
    for (size_t i = 0; i < 2 && result == 0; i++)
        if (keys[i] != NULL)
            result = add(places, keys[i], SANDBOX_READ, err);
    if (result == 0 && options->allow_refs != NULL)
        result =
            add(places, options->allow_refs, SANDBOX_READ | SANDBOX_LIST, err);
    return result;
}

/* storage: PATH, or the directory it lies in; a nameless file is made there,
 * or one that loses its name at once. */
static int add_place(struct places *places, const struct options *options,
                     struct ds_error *err)
{
    const char *path = options->operands[0];
    unsigned access = options->probe ? SANDBOX_MAKE : SANDBOX_LIST;
    struct stat status;

    if (is_remote(path))
        return 0;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode)
               ? add(places, path, access, err)
               : add_directory_of(places, path, access, err);
}

/* measure: its DIRECTORY, or where SOURCE is. */
static int add_measured(struct places *places, const struct options *options,
                        struct ds_error *err)
{
    if (options->operand_count > 1)
        return add(places, options->operands[1], SANDBOX_TEST, err);
    return is_remote(options->operands[0])
               ? 0
               : add_directory_of(places, options->operands[0], SANDBOX_TEST,
                                  err);
}

static int add_targets(struct places *places, const struct options *options,
                       struct ds_error *err)
{
    unsigned access =
        options->verb == VERB_CONVERT ? SANDBOX_MAKE : SANDBOX_TEST;
    int result = 0;

    if (options->verb == VERB_MEASURE)
        result = add_measured(places, options, err);
    if (options->verb == VERB_STORAGE)
        result = add_place(places, options, err);
    for (size_t i = 0; i < options->target_count && result == 0; i++)
        if (!is_remote(options->targets[i].path))
            result =
                add_directory_of(places, options->targets[i].path, access, err);
    if (result != 0 || places->count == 0)
        return result;
    result = add(places, "/proc/self/mountinfo", SANDBOX_READ, err);
    if (result == 0)
        places->list[places->count - 1].pinned = true;
    return result;
}

static bool wants_network(const struct options *options)
{
    for (size_t i = 0; i < options->operand_count; i++)
        if (is_remote(options->operands[i]))
            return true;
    for (size_t i = 0; i < options->target_count; i++)
        if (is_remote(options->targets[i].path))
            return true;
    return false;
}

static int add_network(struct places *places, const struct options *options,
                       struct ds_error *err)
{
    int result = 0;

    for (size_t i = 0; i < ARRAY_COUNT(network_places) && result == 0 &&
                       wants_network(options);
         i++)
        result = add(places, network_places[i], SANDBOX_READ, err);
    return result;
}

static void warn(const struct options *options)
{
    if (options->sandbox == SANDBOX_AUTO && confinement.state.lacking != NULL)
        fprintf(stderr, "diskshift: warning: sandbox: %s\n",
                confinement.state.lacking);
}

int confine_enter(const struct options *options, struct ds_error *err)
{
    __attribute__((cleanup(places_free))) struct places places = { 0 };
    struct sandbox_request request = { .mode = options->sandbox,
                                       .network = wants_network(options) };
    int result = places_make(&places, options, err);

    if (result == 0 && request.mode != SANDBOX_OFF)
        result = add_targets(&places, options, err);
    if (result == 0 && request.mode != SANDBOX_OFF)
        result = add_sources(&places, options, err);
    if (result == 0 && request.mode != SANDBOX_OFF)
        result = add_network(&places, options, err);
    if (result != 0)
        return result;
    request.places = places.list;
    request.place_count = places.count;
    result = sandbox_enter(&request, &confinement.state, err);
    confinement.entered = result == 0;
    if (result == 0)
        warn(options);
    return result;
}

int confine_narrow(const struct options *options, struct ds_error *err)
{
    __attribute__((cleanup(places_free))) struct places places = { 0 };
    int result;

    if (confinement.state.landlock_abi == 0)
        return 0;
    result = places_make(&places, options, err);
    if (result == 0)
        result = add_targets(&places, options, err);
    if (result == 0)
        result = add_network(&places, options, err);
    /* Its target names the source's own file and is read back through it. */
    if (result == 0 && options->share_source_file)
        result = add_sources(&places, options, err);
    return result != 0 ? result
                       : sandbox_narrow(&confinement.state, places.list,
                                        places.count, err);
}

void confine_report(struct report *report)
{
    const struct sandbox_state *state = &confinement.state;
    const struct row rows[] = {
        row_if_known(row_count("landlock_abi", "landlock",
                               (uint64_t)state->landlock_abi),
                     state->landlock_abi > 0),
        row_yes("seccomp", "seccomp", state->seccomp),
        row_yes("network", "network", state->network || !state->seccomp),
        row_text("lacking", "lacking", state->lacking),
    };

    if (!confinement.entered || !report->json || report->depth != 1)
        return;
    report_object(report, "sandbox", NULL);
    report_rows(report, rows, ARRAY_COUNT(rows));
    report_end(report);
}
