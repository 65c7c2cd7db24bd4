/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A delta and what it was made over (spec, "Delta Links"):
 *
 *   delta.vmdk   CID=22222222 parentCID=11111111 parentFileNameHint="base.vmdk"
 *   base.vmdk    CID=11111111 parentCID=ffffffff
 *
 * The parent's CID changes when it is written for the first time after the
 * delta was made, so equal ones say that the delta still fits. The hint is a
 * path where the disk once was: if nothing is there, the parent is looked for
 * beside the delta.
 */
#include <inttypes.h>
#include <string.h>

#include "fail.h"
#include "vmdk.h"

bool vmdk_cid_parse(const char *text, uint32_t *out)
{
    uint32_t value = 0;
    size_t length = strlen(text);

    if (length == 0 || length > 8)
        return false;
    for (; *text != '\0'; text++) {
        unsigned digit;

        if (*text >= '0' && *text <= '9')
            digit = (unsigned)(*text - '0');
        else if (*text >= 'a' && *text <= 'f')
            digit = (unsigned)(*text - 'a') + 10;
        else if (*text >= 'A' && *text <= 'F')
            digit = (unsigned)(*text - 'A') + 10;
        else
            return false;
        value = value << 4 | digit;
    }
    *out = value;
    return true;
}

/* Behind the last separator of either kind of host. */
static const char *base_name(const char *name)
{
    const char *base = name;

    for (; *name != '\0'; name++)
        if (*name == '/' || *name == '\\')
            base = name + 1;
    return base;
}

static void add_name(struct ds_parent *parent, const char *name)
{
    if (name == NULL || *name == '\0' ||
        parent->name_count == DS_PARENT_NAME_COUNT_MAX)
        return;
    for (size_t i = 0; i < parent->name_count; i++)
        if (strcmp(parent->names[i], name) == 0)
            return;
    parent->names[parent->name_count++] = name;
}

bool vmdk_parent(struct ds_image *base, struct ds_parent *out)
{
    const struct vmdk_image *image = (const struct vmdk_image *)base;
    const char *hint = image->descriptor.parent_hint;
    uint32_t cid = VMDK_CID_NONE;

    if (image->descriptor.parent_cid == NULL ||
        !vmdk_cid_parse(image->descriptor.parent_cid, &cid) ||
        cid == VMDK_CID_NONE)
        return false;
    *out = (struct ds_parent){ .format = vmdk_format_ops.name };
    if (hint == NULL)
        return true;
    add_name(out, hint);
    if (*hint != '\0')
        add_name(out, base_name(hint));
    add_name(out, image->parent_name);
    if (image->parent_name != NULL)
        add_name(out, base_name(image->parent_name));
    return true;
}

int vmdk_check_parent(struct ds_image *base, const struct ds_image *parent,
                      struct ds_error *err)
{
    const struct vmdk_descriptor *child =
        &((const struct vmdk_image *)base)->descriptor;
    const struct vmdk_descriptor *above;
    uint32_t expected = VMDK_CID_NONE, have;

    if (parent->format != &vmdk_format_ops)
        return ds_fail_at(err, parent->files[0], DS_OFFSET_NONE, DS_ERR_CORRUPT,
                          "vmdk: parent: format, have %s expect vmdk",
                          parent->format->name);
    above = &((const struct vmdk_image *)parent)->descriptor;
    if (above->cid == NULL || !vmdk_cid_parse(above->cid, &have))
        return ds_fail_at(err, parent->files[0], DS_OFFSET_NONE, DS_ERR_CORRUPT,
                          "vmdk: parent: CID, have '%.32s' expect that of "
                          "its delta, %.32s",
                          above->cid != NULL ? above->cid : "none",
                          child->parent_cid);
    (void)vmdk_cid_parse(child->parent_cid, &expected); /* since open */
    if (have != expected)
        return ds_fail_at(err, parent->files[0], DS_OFFSET_NONE, DS_ERR_CORRUPT,
                          "vmdk: parent: CID, have %08" PRIx32
                          " expect %08" PRIx32
                          "; it was written after the delta was made, or is "
                          "another disk",
                          have, expected);
    return 0;
}
