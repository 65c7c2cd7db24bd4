/* SPDX-License-Identifier: Apache-2.0 */
/* What can be asked of a target. */
#include <inttypes.h>
#include <string.h>

#include "arith.h"
#include "fail.h"
#include "vmdk.h"

#define GRAIN_BYTES_STANDARD (64 * DS_KIB)
/* Spec: more than 8 sectors. The other end is a choice: beyond, a guest's
 * first write of a sector costs too much. */
#define GRAIN_BYTES_LEAST (8 * DS_KIB)
#define GRAIN_BYTES_MOST (2 * DS_MIB)
/* From hosted products of 2003 up to what may come. */
#define HARDWARE_VERSION_MIN 3u
#define HARDWARE_VERSION_MAX 99u

const struct ds_target_option vmdk_target_options[] = {
    { "subformat",
      "monolithicSparse, monolithicFlat, vmfs, streamOptimized, "
      "twoGbMaxExtentSparse, twoGbMaxExtentFlat, overlay",
      "monolithicSparse", "how the data lies" },
    { "adapter_type", "ide, buslogic, lsilogic, legacyESX",
      "ide; lsilogic for vmfs and streams", "the controller the disk is for" },
    { "hardware_version", "3 to 99", "4; 8 for vmfs and streams",
      "virtual hardware version in the descriptor" },
    { "grain_size", "8k to 2M, a power of two; split disks to 1M", "64k",
      "unit of allocation of a sparse disk" },
    { NULL, NULL, NULL, NULL },
};

/* Streams are what disks are imported from, mostly by vSphere. */
static bool is_for_esx(enum vmdk_subformat subformat)
{
    return subformat == VMDK_VMFS || subformat == VMDK_STREAM_OPTIMIZED;
}

/* The index of `value` in `words`, or of the first when it is NULL. */
static int pick_word(const char *key, const char *value,
                     const char *const *words, size_t word_count,
                     const char *expect, size_t *out, struct ds_error *err)
{
    *out = 0;
    if (value == NULL)
        return 0;
    for (size_t i = 0; i < word_count; i++) {
        if (strcmp(value, words[i]) == 0) {
            *out = i;
            return 0;
        }
    }
    return ds_fail(err, DS_ERR_ARG, "vmdk: option %s: have '%s' expect %s", key,
                   value, expect);
}

static int parse_words(const struct ds_target_request *request,
                       struct vmdk_text *text, struct ds_error *err)
{
    static const char *const subformats[] = {
        [VMDK_MONOLITHIC_SPARSE] = "monolithicSparse",
        [VMDK_MONOLITHIC_FLAT] = "monolithicFlat",
        [VMDK_VMFS] = "vmfs",
        [VMDK_STREAM_OPTIMIZED] = "streamOptimized",
        [VMDK_SPLIT_SPARSE] = "twoGbMaxExtentSparse",
        [VMDK_SPLIT_FLAT] = "twoGbMaxExtentFlat",
        [VMDK_OVERLAY] = "overlay",
    };
    static const char *const adapters[] = { "ide", "buslogic", "lsilogic",
                                            "legacyESX" };
    const char *adapter =
        ds_option_get(request->options, request->option_count, "adapter_type");
    size_t index;
    int result = pick_word(
        "subformat",
        ds_option_get(request->options, request->option_count, "subformat"),
        subformats, sizeof(subformats) / sizeof(subformats[0]),
        vmdk_target_options[0].values, &index, err);

    if (result != 0)
        return result;
    text->subformat = (enum vmdk_subformat)index;
    /* ESX has had no IDE disks until 5.0, and boots few from them since. */
    if (adapter == NULL && is_for_esx(text->subformat))
        adapter = "lsilogic";
    result = pick_word("adapter_type", adapter, adapters, 4,
                       vmdk_target_options[1].values, &index, err);
    if (result == 0)
        text->adapter_type = adapters[index];
    return result;
}

static int parse_hardware(const struct ds_target_request *request,
                          struct vmdk_text *text, struct ds_error *err)
{
    const char *value = ds_option_get(request->options, request->option_count,
                                      "hardware_version");
    uint64_t number = is_for_esx(text->subformat) ? 8 : 4;
    int result = 0;

    if (value != NULL)
        result =
            ds_option_size("vmdk", "hardware_version", value, &number, err);
    if (result != 0)
        return result;
    if (number < HARDWARE_VERSION_MIN || number > HARDWARE_VERSION_MAX)
        return ds_fail(err, DS_ERR_ARG,
                       "vmdk: option hardware_version: have %" PRIu64
                       " expect %u to %u",
                       number, HARDWARE_VERSION_MIN, HARDWARE_VERSION_MAX);
    text->hardware_version = (uint32_t)number;
    return 0;
}

static int parse_grain(const struct ds_target_request *request,
                       enum vmdk_subformat subformat, uint64_t *grain_bytes,
                       struct ds_error *err)
{
    const char *value =
        ds_option_get(request->options, request->option_count, "grain_size");
    int result;

    *grain_bytes = GRAIN_BYTES_STANDARD;
    if (value == NULL)
        return 0;
    if (subformat != VMDK_MONOLITHIC_SPARSE && subformat != VMDK_SPLIT_SPARSE)
        return ds_fail(err, DS_ERR_ARG,
                       "vmdk: option grain_size: have '%s' expect none but "
                       "for monolithicSparse and twoGbMaxExtentSparse",
                       value);
    result = ds_option_size("vmdk", "grain_size", value, grain_bytes, err);
    if (result != 0)
        return result;
    if (!ds_is_power_of_two(*grain_bytes) || *grain_bytes < GRAIN_BYTES_LEAST ||
        *grain_bytes > GRAIN_BYTES_MOST ||
        (subformat == VMDK_SPLIT_SPARSE &&
         VMDK_SPLIT_BYTES % *grain_bytes != 0))
        return ds_fail(err, DS_ERR_ARG,
                       "vmdk: option grain_size: have '%s' expect %s", value,
                       vmdk_target_options[3].values);
    return 0;
}

int vmdk_options_parse(const struct ds_target_request *request,
                       struct vmdk_text *text, uint64_t *grain_bytes,
                       struct ds_error *err)
{
    int result = ds_option_check("vmdk", vmdk_target_options, request->options,
                                 request->option_count, err);

    if (result == 0)
        result = parse_words(request, text, err);
    if (result == 0)
        result = parse_hardware(request, text, err);
    if (result == 0)
        result = parse_grain(request, text->subformat, grain_bytes, err);
    return result;
}
