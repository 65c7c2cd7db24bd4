/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>

#include "fail.h"
#include "library.h"
#include "ontap.h"

static struct ontap_api api;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static const char *missing; /* what could not be had; NULL: all is there */

static const struct ds_library_function functions[] = {
#define ONTAP_API_ROW(name) { #name, offsetof(struct ontap_api, name) },
    ONTAP_API(ONTAP_API_ROW)
#undef ONTAP_API_ROW
};

static void load(void)
{
    missing = ds_library_load(DS_LIBCURL_SONAME, functions,
                              sizeof(functions) / sizeof(functions[0]), &api);
    if (missing == NULL && api.curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
        missing = "initialization";
}

int ontap_api(const struct ontap_api **out, struct ds_error *err)
{
    (void)pthread_once(&once, load);
    if (missing != NULL)
        return ds_fail(err, DS_ERR_UNSUPPORTED,
                       "ontap: cannot load " DS_LIBCURL_SONAME
                       " (%s), which arrays are spoken to with; Debian: "
                       "libcurl4",
                       missing);
    *out = &api;
    return 0;
}
