/* SPDX-License-Identifier: Apache-2.0 */
#include "hypervisor.h"

#include <errno.h>
#include <string.h>

/* How often a power state is looked at. Events would be quicker, but not every
 * hypervisor has them (ESXi), and a guest takes seconds to power off. */
#define POLL_MS 250

/* The first that takes the URI has it. libvirt takes what is left. */
static const struct hypervisor_ops *const kinds[] = { &hypervisor_files,
                                                      &hypervisor_hyperv,
                                                      &hypervisor_libvirt };
static const struct hypervisor_ops *registered;

void hypervisor_register(const struct hypervisor_ops *ops)
{
    registered = ops;
}

static const struct hypervisor_ops *kind_of(const char *uri)
{
    if (registered != NULL && registered->takes(uri))
        return registered;
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++)
        if (kinds[i]->takes(uri))
            return kinds[i];
    return NULL;
}

int hypervisor_open(const char *uri, const struct hypervisor_login *login,
                    struct hypervisor **out, struct ds_error *err)
{
    const struct hypervisor_ops *ops = kind_of(uri);

    if (ops == NULL)
        return fail(err, DS_ERR_ARG,
                    "%s: no hypervisor is reached by such a URI", uri);
    return ops->open(uri, login, out, err);
}

void hypervisor_close(struct hypervisor *hypervisor)
{
    if (hypervisor != NULL)
        hypervisor->ops->close(hypervisor);
}

const char *hypervisor_state_name(enum hypervisor_state state)
{
    static const char *const names[] = { "off", "running", "paused", "crashed",
                                         "stopping" };

    return names[state];
}

void hypervisor_snapshot_free(struct hypervisor_snapshot *snapshot)
{
    free(snapshot->name);
    texts_free(&snapshot->overlays);
    *snapshot = (struct hypervisor_snapshot){ 0 };
}

int hypervisor_wait_off(struct hypervisor *hypervisor, const char *name,
                        unsigned timeout_seconds, bool (*cancelled)(void *),
                        void *user, struct ds_error *err)
{
    uint64_t begun = now_ns();
    enum hypervisor_state state = HYPERVISOR_RUNNING;

    for (;;) {
        int result = hypervisor->ops->state(hypervisor, name, &state, err);

        if (result != 0 || state == HYPERVISOR_OFF)
            return result;
        if (cancelled != NULL && cancelled(user))
            return fail(err, DS_ERR_CANCELLED, "cancelled");
        if (now_ns() - begun >= (uint64_t)timeout_seconds * 1000000000u)
            return fail_errno(err, ETIMEDOUT, NULL,
                              "%s is %s after %u s, not off", name,
                              hypervisor_state_name(state), timeout_seconds);
        sleep_ms(POLL_MS);
    }
}
