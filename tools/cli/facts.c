/* SPDX-License-Identifier: Apache-2.0 */
/* A fact's key says its unit: how it reads to people. */
#include "common.h"
#include "human.h"

#include <string.h>

static bool ends_in(const char *key, const char *ending)
{
    size_t length = strlen(key), ending_length = strlen(ending);

    return length > ending_length &&
           strcmp(key + length - ending_length, ending) == 0;
}

/* The unit that a key ends in, and the key's words before it. */
static enum unit fact_label(const struct ds_fact *fact, char *label,
                            size_t label_bytes)
{
    static const char bytes[] = "_bytes";
    size_t length = strlen(fact->key) - (sizeof(bytes) - 1);

    human_words(fact->key, label, label_bytes);
    if (fact->text != NULL)
        return UNIT_TEXT;
    if (fact->is_boolean)
        return UNIT_YES;
    if (!ends_in(fact->key, bytes))
        return UNIT_COUNT;
    if (length < label_bytes)
        label[length] = '\0';
    return ends_in(fact->key, "_offset_bytes") ? UNIT_OFFSET : UNIT_BYTES;
}

static void show_fact(void *user, const struct ds_fact *fact)
{
    struct report *report = user;
    char label[64];
    enum unit unit = fact_label(fact, label, sizeof(label));
    struct row row = { .key = fact->key,
                       .label = label,
                       .unit = unit,
                       .value = { .number = fact->number,
                                  .text = fact->text } };

    report_rows(report, &row, 1);
}

int common_facts(struct report *report, struct ds_disk *disk, uint32_t layer,
                 struct ds_error *err)
{
    int result;

    report_object(report, "facts", "facts");
    result = ds_disk_layer_facts(disk, layer, show_fact, report, err);
    report_end(report);
    return result;
}
