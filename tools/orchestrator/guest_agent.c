/* SPDX-License-Identifier: Apache-2.0 */
/* Commands by the QEMU guest agent's protocol (docs/interop/qemu-ga-ref of
 * QEMU): guest-ping, guest-get-osinfo, guest-file-*, guest-exec. */
#include "guest.h"
#include "process.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ANSWER_SECONDS 10
/* The agent takes messages of a few MiB; libvirt's own limit is 4 MiB. */
#define CHUNK_BYTES 49152
#define POLL_MS 200

struct agent {
    struct guest common;
    struct hypervisor *hypervisor;
    char *vm_name;
    char *system;
};

static int ask(struct agent *agent, const char *command, json_t *arguments,
               json_t **out, struct ds_error *err)
{
    autojson json_t *request = json_pack("{s:s}", "execute", command);
    autojson json_t *answer = NULL;
    autofree char *text = NULL, *reply = NULL;
    int result;

    if (arguments != NULL)
        json_object_set_new(request, "arguments", arguments);
    text = json_dumps(request, JSON_COMPACT);
    result = agent->hypervisor->ops->agent(agent->hypervisor, agent->vm_name,
                                           text, ANSWER_SECONDS, &reply, err);
    if (result != 0)
        return result;
    answer = json_loads(reply, 0, NULL);
    if (json_object_get(answer, "return") == NULL)
        return fail(err, DS_ERR_REFUSED, "agent of %s: %s: have %.200s",
                    agent->vm_name, command, reply);
    *out = json_incref(json_object_get(answer, "return"));
    return 0;
}

static void agent_close(struct guest *guest)
{
    struct agent *agent = (struct agent *)guest;

    free(agent->vm_name);
    free(agent->system);
    free(agent);
}

static int agent_open(const struct guest_address *address,
                      unsigned timeout_seconds, struct guest **out,
                      struct ds_error *err)
{
    autojson json_t *answer = NULL;
    struct agent *agent;
    int result;

    (void)timeout_seconds; /* libvirt's answer comes at once or not at all */
    if (address->hypervisor == NULL ||
        (address->hypervisor->can & HYPERVISOR_CAN_AGENT) == 0)
        return fail(err, DS_ERR_UNSUPPORTED,
                    "%s: the hypervisor has no way to a guest's agent",
                    address->vm_name);
    agent = need(sizeof(*agent));
    agent->common.ops = &guest_agent;
    agent->hypervisor = address->hypervisor;
    agent->vm_name = text_copy(address->vm_name);
    result = ask(agent, "guest-ping", NULL, &answer, err);
    if (result != 0)
        agent_close(&agent->common);
    else
        *out = &agent->common;
    return result;
}

static int agent_system(struct guest *guest, const char **out,
                        struct ds_error *err)
{
    struct agent *agent = (struct agent *)guest;
    autojson json_t *answer = NULL;
    const char *id;
    int result = ask(agent, "guest-get-osinfo", NULL, &answer, err);

    if (result != 0)
        return result;
    id = json_string_value(json_object_get(answer, "id"));
    text_set(&agent->system, text_same(id, "mswindows") ? "windows" : "linux");
    *out = agent->system;
    return 0;
}

static int write_chunks(struct agent *agent, json_int_t handle,
                        const char *data, size_t length_bytes,
                        struct ds_error *err)
{
    int result = 0;

    for (size_t at = 0; at < length_bytes && result == 0; at += CHUNK_BYTES) {
        size_t count =
            length_bytes - at < CHUNK_BYTES ? length_bytes - at : CHUNK_BYTES;
        autofree char *encoded = base64_encode(data + at, count);
        autojson json_t *answer = NULL;

        result =
            ask(agent, "guest-file-write",
                json_pack("{s:I, s:s}", "handle", handle, "buf-b64", encoded),
                &answer, err);
        if (result == 0 && json_integer_value(json_object_get(
                               answer, "count")) != (json_int_t)count)
            result = fail(err, DS_ERR_REFUSED,
                          "agent of %s: wrote less than it was given",
                          agent->vm_name);
    }
    return result;
}

static int agent_put(struct guest *guest, const char *path, const void *data,
                     size_t length_bytes, unsigned mode, struct ds_error *err)
{
    struct agent *agent = (struct agent *)guest;
    autojson json_t *opened = NULL, *closed = NULL;
    char digits[8];
    const char *const arguments[] = { "chmod", digits, path, NULL };
    struct guest_result changed = { 0 };
    int result =
        ask(agent, "guest-file-open",
            json_pack("{s:s, s:s}", "path", path, "mode", "wb"), &opened, err);

    if (result != 0)
        return result;
    result = write_chunks(agent, json_integer_value(opened), data, length_bytes,
                          err);
    if (ask(agent, "guest-file-close",
            json_pack("{s:I}", "handle", json_integer_value(opened)), &closed,
            result == 0 ? err : NULL) != 0 &&
        result == 0)
        result = -(int)err->error_class;
    if (result != 0 || text_same(agent->system, "windows"))
        return result;
    snprintf(digits, sizeof(digits), "%o", mode);
    result = guest->ops->run(guest, arguments, ANSWER_SECONDS, &changed, err);
    guest_result_free(&changed);
    return result;
}

static char *decoded(const json_t *answer, const char *key)
{
    const char *text = json_string_value(json_object_get(answer, key));
    char *data = text != NULL ? base64_decode(text, NULL) : NULL;

    return data != NULL ? data : text_copy("");
}

/* An agent that no longer answers may have gone with the guest, which powers
 * off at the end of its script. */
static int gone(struct agent *agent, const struct ds_error *why,
                struct ds_error *err)
{
    enum hypervisor_state state = HYPERVISOR_RUNNING;

    if (agent->hypervisor->ops->state(agent->hypervisor, agent->vm_name, &state,
                                      NULL) == 0 &&
        state != HYPERVISOR_RUNNING && state != HYPERVISOR_PAUSED)
        return fail_errno(err, EPIPE, NULL, "%s powered off meanwhile",
                          agent->vm_name);
    *err = *why;
    return -(int)why->error_class;
}

static int wait_exit(struct agent *agent, json_int_t pid,
                     unsigned timeout_seconds, struct guest_result *out,
                     struct ds_error *err)
{
    uint64_t deadline_ns =
        now_ns() + (uint64_t)timeout_seconds * UINT64_C(1000000000);
    struct ds_error mine = DS_ERROR_INIT;

    for (;;) {
        autojson json_t *answer = NULL;
        int result = ask(agent, "guest-exec-status",
                         json_pack("{s:I}", "pid", pid), &answer, &mine);
        const json_t *code = json_object_get(answer, "exitcode");

        if (result != 0) {
            result = gone(agent, &mine, err);
            if (err->system_errno != ETIMEDOUT)
                return result;
        }
        if (json_is_true(json_object_get(answer, "exited"))) {
            out->exit_status =
                json_is_integer(code) ? (int)json_integer_value(code) : -1;
            out->output = decoded(answer, "out-data");
            out->errors = decoded(answer, "err-data");
            return 0;
        }
        if (now_ns() > deadline_ns)
            return fail_errno(err, ETIMEDOUT, NULL,
                              "%s: a command has not ended after %u s",
                              agent->vm_name, timeout_seconds);
        sleep_ms(POLL_MS);
    }
}

static int agent_run(struct guest *guest, const char *const *arguments,
                     unsigned timeout_seconds, struct guest_result *out,
                     struct ds_error *err)
{
    struct agent *agent = (struct agent *)guest;
    autojson json_t *answer = NULL;
    json_t *rest = json_array();
    int result;

    *out = (struct guest_result){ .exit_status = -1 };
    for (size_t i = 1; arguments[i] != NULL; i++)
        json_array_append_new(rest, json_string(arguments[i]));
    result = ask(agent, "guest-exec",
                 json_pack("{s:s, s:o, s:b}", "path", arguments[0], "arg", rest,
                           "capture-output", 1),
                 &answer, err);
    if (result != 0)
        return result;
    return wait_exit(agent, json_integer_value(json_object_get(answer, "pid")),
                     timeout_seconds, out, err);
}

const struct guest_ops guest_agent = {
    .name = "agent",
    .open = agent_open,
    .close = agent_close,
    .system = agent_system,
    .put = agent_put,
    .run = agent_run,
};
