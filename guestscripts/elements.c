/* SPDX-License-Identifier: Apache-2.0 */
/* The list of elements: what is embedded, then what a directory replaces or
 * adds. */
#include "element.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "fail.h"

static const struct gs_language *const languages[] = { &gs_shell,
                                                       &gs_powershell };

static size_t find_index(const struct ds_guest_elements *elements,
                         const char *guest, const char *name)
{
    size_t i = 0;

    while (i < elements->count &&
           (strcmp(elements->list[i]->face.guest, guest) != 0 ||
            strcmp(elements->list[i]->face.name, name) != 0))
        i++;
    return i;
}

const struct gs_element *
gs_elements_find(const struct ds_guest_elements *elements, const char *guest,
                 const char *name)
{
    size_t index = find_index(elements, guest, name);

    return index < elements->count ? elements->list[index] : NULL;
}

/* Takes the element over; one of its name makes room. */
static int add(struct ds_guest_elements *elements, struct gs_element *element,
               struct ds_error *err)
{
    size_t index =
        find_index(elements, element->face.guest, element->face.name);
    struct gs_element **grown;

    if (index < elements->count) {
        gs_element_free(elements->list[index]);
        elements->list[index] = element;
        return 0;
    }
    grown = elements->count == GS_ELEMENT_COUNT_MAX
                ? NULL
                : realloc(elements->list,
                          (elements->count + 1) * sizeof(*elements->list));
    if (grown == NULL) {
        gs_element_free(element);
        return elements->count == GS_ELEMENT_COUNT_MAX
                   ? ds_fail(err, DS_ERR_LIMIT,
                             "elements: more than %u of them",
                             GS_ELEMENT_COUNT_MAX)
                   : ds_fail_memory(err);
    }
    elements->list = grown;
    elements->list[elements->count++] = element;
    return 0;
}

static int add_text(struct ds_guest_elements *elements,
                    const struct gs_language *language, const char *path,
                    const char *text, size_t length_bytes, struct ds_error *err)
{
    struct gs_element *element = NULL;
    int result =
        gs_element_parse(language, path, text, length_bytes, &element, err);

    return result != 0 ? result : add(elements, element, err);
}

static int add_embedded(struct ds_guest_elements *elements,
                        struct ds_error *err)
{
    int result = 0;

    for (size_t i = 0; gs_embedded[i].name != NULL && result == 0; i++) {
        const struct gs_embedded *file = &gs_embedded[i];
        char path[GS_NAME_MAX + 64];

        (void)snprintf(path, sizeof(path), "built in/%s/%s", file->guest,
                       file->name);
        result = add_text(elements, gs_language_find(file->guest), path,
                          (const char *)file->bytes, file->length_bytes, err);
    }
    return result;
}

static void close_file(int *descriptor)
{
    if (*descriptor >= 0)
        close(*descriptor);
}

static int read_file(int directory, const char *name, const char *path,
                     char **text, size_t *length_bytes, struct ds_error *err)
{
    ds_auto(close_file) int descriptor =
        openat(directory, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat status;
    ssize_t have;

    if (descriptor < 0 || fstat(descriptor, &status) != 0)
        return ds_fail_errno(err, errno, path, "cannot be opened");
    if (!S_ISREG(status.st_mode) || status.st_size > GS_ELEMENT_BYTES_MAX)
        return gs_element_fail(err, path, 1,
                               "expect a file of at most %u bytes",
                               GS_ELEMENT_BYTES_MAX);
    *text = malloc((size_t)status.st_size + 1);
    if (*text == NULL)
        return ds_fail_memory(err);
    have = read(descriptor, *text, (size_t)status.st_size);
    if (have != status.st_size)
        return ds_fail_errno(err, have < 0 ? errno : EIO, path,
                             "cannot be read");
    *length_bytes = (size_t)have;
    return 0;
}

static bool has_suffix(const char *name, const char *suffix)
{
    size_t length = strlen(name), end = strlen(suffix);

    return name[0] != '.' && length > end &&
           strcmp(name + length - end, suffix) == 0;
}

static void close_directory(DIR **directory)
{
    if (*directory != NULL)
        closedir(*directory);
}

/* `*any` becomes true when there is the folder of this guest. */
static int add_folder(struct ds_guest_elements *elements,
                      const struct gs_language *language, const char *directory,
                      bool *any, struct ds_error *err)
{
    ds_autofree char *folder = NULL;
    ds_auto(close_directory) DIR *open = NULL;
    const struct dirent *entry;
    int result = 0;

    if (asprintf(&folder, "%s/%s", directory, language->guest) < 0) {
        folder = NULL;
        return ds_fail_memory(err);
    }
    open = opendir(folder);
    if (open == NULL && errno == ENOENT)
        return 0;
    if (open == NULL)
        return ds_fail_errno(err, errno, folder, "cannot be opened");
    *any = true;
    while (result == 0 && (entry = readdir(open)) != NULL) {
        ds_autofree char *path = NULL, *text = NULL;
        size_t length_bytes = 0;

        if (!has_suffix(entry->d_name, language->suffix))
            continue;
        if (asprintf(&path, "%s/%s", folder, entry->d_name) < 0) {
            path = NULL;
            return ds_fail_memory(err);
        }
        result = read_file(dirfd(open), entry->d_name, path, &text,
                           &length_bytes, err);
        if (result == 0)
            result =
                add_text(elements, language, path, text, length_bytes, err);
    }
    return result;
}

static int add_directory(struct ds_guest_elements *elements,
                         const char *directory, struct ds_error *err)
{
    bool any = false;
    int result = 0;

    for (size_t i = 0;
         i < sizeof(languages) / sizeof(languages[0]) && result == 0; i++)
        result = add_folder(elements, languages[i], directory, &any, err);
    if (result == 0 && !any) {
        result = ds_fail(err, DS_ERR_ARG,
                         "elements: have neither linux nor windows in it");
        if (err != NULL)
            (void)snprintf(err->file, sizeof(err->file), "%s", directory);
    }
    return result;
}

static int compare(const void *a, const void *b)
{
    const struct gs_element *left = *(struct gs_element *const *)a;
    const struct gs_element *right = *(struct gs_element *const *)b;
    int by_guest = strcmp(left->face.guest, right->face.guest);

    if (by_guest != 0)
        return by_guest;
    if (left->phase != right->phase)
        return left->phase < right->phase ? -1 : 1;
    if (left->order != right->order)
        return left->order < right->order ? -1 : 1;
    return strcmp(left->face.name, right->face.name);
}

int ds_guest_elements_open(const char *directory,
                           struct ds_guest_elements **out, struct ds_error *err)
{
    struct ds_guest_elements *elements = calloc(1, sizeof(*elements));
    int result;

    if (elements == NULL)
        return ds_fail_memory(err);
    result = add_embedded(elements, err);
    if (result == 0 && directory != NULL)
        result = add_directory(elements, directory, err);
    if (result != 0) {
        ds_guest_elements_close(elements);
        return result;
    }
    if (elements->count > 0)
        qsort(elements->list, elements->count, sizeof(*elements->list),
              compare);
    *out = elements;
    return 0;
}

void ds_guest_elements_close(struct ds_guest_elements *elements)
{
    if (elements == NULL)
        return;
    for (size_t i = 0; i < elements->count; i++)
        gs_element_free(elements->list[i]);
    free(elements->list);
    free(elements);
}

const struct ds_guest_element *
ds_guest_elements_at(const struct ds_guest_elements *elements, size_t index)
{
    return index < elements->count ? &elements->list[index]->face : NULL;
}
