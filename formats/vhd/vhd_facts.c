/* SPDX-License-Identifier: Apache-2.0 */
/* What an administrator may want to know of an image. */
#include <stdio.h>
#include <time.h>

#include "vhd_read.h"

struct fact_sink {
    ds_fact_fn *fact;
    void *user;
};

static void say_text(const struct fact_sink *sink, const char *key,
                     const char *text)
{
    struct ds_fact fact = { .key = key, .text = text };

    sink->fact(sink->user, &fact);
}

static void say_number(const struct fact_sink *sink, const char *key,
                       uint64_t number)
{
    struct ds_fact fact = { .key = key, .number = number };

    sink->fact(sink->user, &fact);
}

static void say_boolean(const struct fact_sink *sink, const char *key,
                        bool value)
{
    struct ds_fact fact = { .key = key, .number = value, .is_boolean = true };

    sink->fact(sink->user, &fact);
}

/* Four characters, of which files hold anything: "d2v" ends in a zero. */
static void say_code(const struct fact_sink *sink, const char *key,
                     const char code[4])
{
    char text[5] = { 0 };
    size_t length = 4;

    while (length > 0 && (code[length - 1] == ' ' || code[length - 1] == '\0'))
        length--;
    for (size_t i = 0; i < length; i++)
        text[i] = code[i] >= 0x20 && code[i] < 0x7f ? code[i] : '?';
    say_text(sink, key, text);
}

static void say_version(const struct fact_sink *sink, const char *key,
                        uint32_t version)
{
    char text[16];

    (void)snprintf(text, sizeof(text), "%u.%u", version >> 16,
                   version & 0xffffu);
    say_text(sink, key, text);
}

static void say_time(const struct fact_sink *sink, const char *key,
                     uint32_t seconds)
{
    char text[64];
    time_t moment = (time_t)(VHD_EPOCH_UNIX_SECONDS + seconds);
    struct tm utc;

    if (gmtime_r(&moment, &utc) != NULL &&
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc) != 0)
        say_text(sink, key, text);
}

static void say_footer(const struct fact_sink *sink,
                       const struct vhd_footer *footer)
{
    char text[64];

    say_version(sink, "format_version", footer->file_format_version);
    say_code(sink, "creator_application", footer->creator_application);
    say_version(sink, "creator_version", footer->creator_version);
    say_code(sink, "creator_host_os", footer->creator_host_os);
    say_time(sink, "created", footer->time_stamp_seconds);
    ds_guid_format(&footer->unique_id, text);
    say_text(sink, "uuid", text);
    say_text(sink, "size_from",
             vhd_size_is_geometry(footer) ? "geometry" : "current_size");
    say_number(sink, "current_size_bytes", footer->current_size_bytes);
    say_number(sink, "original_size_bytes", footer->original_size_bytes);
    (void)snprintf(text, sizeof(text), "%u/%u/%u", footer->geometry_cylinders,
                   footer->geometry_heads, footer->geometry_sectors_per_track);
    say_text(sink, "geometry", text);
    say_boolean(sink, "saved_state", footer->saved_state);
}

static void say_parent(const struct fact_sink *sink,
                       const struct vhd_image *vhd)
{
    const struct vhd_parent *parent = vhd->parent;
    char text[DS_GUID_TEXT_BYTES];

    ds_guid_format(&vhd->header.parent_unique_id, text);
    say_text(sink, "parent_uuid", text);
    say_time(sink, "parent_modified", vhd->header.parent_time_stamp_seconds);
    if (parent->unicode_name[0] != '\0')
        say_text(sink, "parent_name", parent->unicode_name);
    if (parent->names.count > 0)
        say_text(sink, "parent_path", parent->names.texts[0]);
}

void vhd_facts(struct ds_image *image, ds_fact_fn *fact, void *user)
{
    static const char *const places[] = { "end", "end, 511 bytes", "copy" };
    static const char *const copies[] = { "identical", "differs", "damaged" };
    const struct vhd_image *vhd = (const struct vhd_image *)image;
    const struct vhd_layout *layout = &vhd->layout;
    struct fact_sink sink = { fact, user };
    bool fixed = vhd->footer.disk_type == VHD_TYPE_FIXED;

    say_text(&sink, "subformat",
             fixed                 ? "fixed"
             : vhd->parent != NULL ? "differencing"
                                   : "dynamic");
    say_footer(&sink, &vhd->footer);
    say_text(&sink, "footer_source", places[vhd->place]);
    say_number(&sink, "footer_offset_bytes", vhd->footer_offset_bytes);
    if (fixed)
        return;
    if (vhd->place != VHD_FOOTER_AT_HEAD)
        say_text(&sink, "footer_copy", copies[vhd->copy]);
    say_number(&sink, "block_size_bytes", layout->block_bytes);
    say_number(&sink, "bitmap_size_bytes", layout->bitmap_bytes);
    say_number(&sink, "block_count", layout->block_count);
    say_number(&sink, "header_offset_bytes", layout->header_offset_bytes);
    say_number(&sink, "table_offset_bytes", layout->table_offset_bytes);
    say_number(&sink, "table_entry_count", vhd->header.max_table_entries);
    if (vhd->parent != NULL)
        say_parent(&sink, vhd);
}
