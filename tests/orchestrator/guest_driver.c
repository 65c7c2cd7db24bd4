/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call of guest.h's table, by SSH, with its outcome as JSON: what ssh.sh
 * judges.
 *
 *     guest_driver HOST KEY KNOWN_HOSTS system
 *     guest_driver HOST KEY KNOWN_HOSTS run SECONDS WORD...
 *     guest_driver HOST KEY KNOWN_HOSTS put PATH FILE
 */
#include "guest.h"

#include <stdio.h>
#include <string.h>

#define FILE_BYTES_MAX (16u << 20)

static int run(struct guest *guest, char **words, json_t *out,
               struct ds_error *err)
{
    struct guest_result done = { 0 };
    int result =
        guest->ops->run(guest, (const char *const *)words + 1,
                        (unsigned)strtoul(words[0], NULL, 10), &done, err);

    if (result == 0) {
        json_object_set_new(out, "exit_status", json_integer(done.exit_status));
        json_object_set_new(out, "output", json_string(done.output));
        json_object_set_new(out, "errors", json_string(done.errors));
    }
    guest_result_free(&done);
    return result;
}

static int put(struct guest *guest, char **words, struct ds_error *err)
{
    autofree char *data = NULL;
    size_t length_bytes = 0;
    int result = file_read(words[1], FILE_BYTES_MAX, &data, &length_bytes, err);

    return result != 0 ? result
                       : guest->ops->put(guest, words[0], data, length_bytes,
                                         0640, err);
}

static int call(struct guest *guest, char **words, json_t *out,
                struct ds_error *err)
{
    const char *system = NULL;
    int result;

    if (strcmp(words[0], "run") == 0)
        return run(guest, words + 1, out, err);
    if (strcmp(words[0], "put") == 0)
        return put(guest, words + 1, err);
    result = guest->ops->system(guest, &system, err);
    json_object_set_new(out, "system", json_string(system));
    return result;
}

int main(int argc, char **argv)
{
    autojson json_t *out = json_object();
    struct ds_error err = DS_ERROR_INIT;
    struct guest *guest = NULL;
    struct guest_address address;
    int result;

    if (argc < 5)
        return 2;
    address = (struct guest_address){ .vm_name = "guest",
                                      .ssh_host = argv[1],
                                      .ssh_key = argv[2],
                                      .ssh_known_hosts = argv[3],
                                      .ssh_config = "/dev/null" };
    result = guest_open(&address, 0, &guest, &err);
    json_object_set_new(out, "open", json_boolean(result == 0));
    if (result == 0)
        result = call(guest, argv + 4, out, &err);
    if (result != 0)
        json_object_update_new(
            out, json_pack("{s:s, s:i, s:s}", "class",
                           ds_error_class_name(err.error_class), "errno",
                           err.system_errno, "error", err.message));
    guest_close(guest);
    json_dumpf(out, stdout, JSON_INDENT(1) | JSON_SORT_KEYS);
    putchar('\n');
    return 0;
}
