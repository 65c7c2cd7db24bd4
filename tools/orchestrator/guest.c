/* SPDX-License-Identifier: Apache-2.0 */
#include "guest.h"

#include <string.h>

#define TRY_SECONDS 5
#define PAUSE_MS 500

static const struct guest_ops *const ways[] = { &guest_agent, &guest_ssh };

int guest_open(const struct guest_address *address, unsigned timeout_seconds,
               struct guest **out, struct ds_error *err)
{
    uint64_t deadline_ns =
        now_ns() + (uint64_t)timeout_seconds * UINT64_C(1000000000);
    int result;

    for (;;) {
        for (size_t i = 0; i < ARRAY_COUNT(ways); i++) {
            struct ds_error mine = DS_ERROR_INIT;

            result = ways[i]->open(address, TRY_SECONDS, out, &mine);
            if (result == 0)
                return 0;
            /* The last way that was there at all says why. */
            if (i == 0 || result != -DS_ERR_UNSUPPORTED)
                *err = mine;
        }
        if (now_ns() >= deadline_ns)
            return -(int)err->error_class;
        sleep_ms(PAUSE_MS);
    }
}

void guest_close(struct guest *guest)
{
    if (guest != NULL)
        guest->ops->close(guest);
}

void guest_result_free(struct guest_result *result)
{
    free(result->output);
    free(result->errors);
    *result = (struct guest_result){ .exit_status = -1 };
}
