/* SPDX-License-Identifier: Apache-2.0 */
#include "stop.h"
#include "base.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static void stop(void)
{
    kill(getpid(), SIGKILL);
}

void stop_at_record(const char *when, unsigned count)
{
    autofree char *variable = text_format("DS_STOP_%s_RECORD", when);
    const char *text = getenv(variable);

    if (text != NULL && count == (unsigned)strtoul(text, NULL, 10))
        stop();
}

void stop_at_step(const char *step, const char *point)
{
    autofree char *here = text_format("%s:%s", step, point);

    if (text_same(getenv("DS_STOP_AT"), here))
        stop();
}
