/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests of ova: tar archives made by the POSIX drawing of the header,
 * with no help from formats/ova. The disk inside is vdi_testing.h's.
 */
#ifndef OVA_TESTING_H
#define OVA_TESTING_H

#include <stdio.h>

#include <openssl/evp.h>

#include "vdi_testing.h"

extern const struct ds_format_ops ova_format_ops;

#define TAR_SIZE_AT 124
#define TAR_CHECKSUM_AT 148
#define TAR_TYPE_AT 156

struct archive {
    struct memory_file memory;
    size_t last_header; /* of the last member added */
};

static inline struct archive archive_make(void)
{
    struct archive archive = { .memory = memory_file_make(0) };

    return archive;
}

static inline void put_octal(uint8_t *at, unsigned width, uint64_t value)
{
    for (unsigned i = width; i > 0; i--, value >>= 3)
        at[i - 1] = (uint8_t)('0' + (value & 7));
}

static inline void tar_sum(uint8_t *header)
{
    unsigned sum = 0;

    memset(header + TAR_CHECKSUM_AT, ' ', 8);
    for (size_t i = 0; i < 512; i++)
        sum += header[i];
    put_octal(header + TAR_CHECKSUM_AT, 6, sum);
    header[TAR_CHECKSUM_AT + 6] = 0;
}

static inline void archive_add(struct archive *archive, char type,
                               const char *name, const void *bytes, size_t size)
{
    struct memory_file *memory = &archive->memory;
    size_t at = memory->file.size_bytes;
    uint8_t *header;

    memory_file_resize(memory, at + 512 + (size + 511) / 512 * 512);
    header = memory->bytes + at;
    memcpy(header, name, ds_min_u64(strlen(name), 100));
    memcpy(header + 100, "0000644", 7);
    put_octal(header + TAR_SIZE_AT, 11, size);
    header[TAR_TYPE_AT] = (uint8_t)type;
    memcpy(header + 257, "ustar\00000", 8);
    tar_sum(header);
    if (size > 0)
        memcpy(header + 512, bytes, size);
    archive->last_header = at;
}

static inline void archive_add_text(struct archive *archive, const char *name,
                                    const char *text)
{
    archive_add(archive, '0', name, text, strlen(text));
}

static inline void archive_add_disk(struct archive *archive, const char *name)
{
    struct memory_file disk = sample_vdi();

    archive_add(archive, '0', name, disk.bytes, disk.file.size_bytes);
    free(disk.bytes);
}

static inline void archive_end(struct archive *archive)
{
    memory_file_resize(&archive->memory,
                       archive->memory.file.size_bytes + 1024);
}

/* -- descriptors ----------------------------------------------------------- */

#define OVF_BEGIN                                                              \
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"                             \
    "<Envelope xmlns=\"http://schemas.dmtf.org/ovf/envelope/1\" "              \
    "xmlns:ovf=\"http://schemas.dmtf.org/ovf/envelope/1\">"
#define OVF_END "</Envelope>"
#define OVF_FILE(id, href)                                                     \
    "<File ovf:id=\"" id "\" ovf:href=\"" href "\" ovf:size=\"1\"/>"
#define OVF_DISK(id, file)                                                     \
    "<Disk ovf:diskId=\"" id "\" ovf:fileRef=\"" file                          \
    "\" ovf:capacity=\"1\" ovf:format=\"x\"/>"
#define OVF_ONE_WITH(file, disk)                                               \
    OVF_BEGIN "<References>" file "</References><DiskSection><Info>a disk"     \
              "</Info>" disk "</DiskSection>" OVF_END
#define OVF_ONE OVF_ONE_WITH(OVF_FILE("f1", "a.vdi"), OVF_DISK("d1", "f1"))
#define OVF_TWO                                                                \
    OVF_ONE_WITH(OVF_FILE("f1", "a.vdi") OVF_FILE("f2", "b.vdi"),              \
                 "<Disk ovf:diskId=\"empty\" ovf:capacity=\"1\"/>" OVF_DISK(   \
                     "d1", "f1") OVF_DISK("d2", "f2"))

/* "ALGORITHM(NAME)= DIGEST\n" at the end of `text`. */
static inline void manifest_line(char *text, size_t text_bytes,
                                 const char *algorithm, const char *name,
                                 const void *bytes, size_t size)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    size_t at = strlen(text);

    assert_int_equal(EVP_Digest(bytes, size, digest, &length,
                                EVP_get_digestbyname(algorithm), NULL),
                     1);
    at += (size_t)snprintf(text + at, text_bytes - at, "%s(%s)= ", algorithm,
                           name);
    for (unsigned i = 0; i < length; i++)
        at += (size_t)snprintf(text + at, text_bytes - at, "%02x", digest[i]);
    (void)snprintf(text + at, text_bytes - at, "\n");
}

/* x.ovf, a.vdi, end. */
static inline struct archive sample_ova(const char *descriptor)
{
    struct archive archive = archive_make();

    archive_add_text(&archive, "x.ovf", descriptor);
    archive_add_disk(&archive, "a.vdi");
    archive_end(&archive);
    return archive;
}

/* x.ovf, x.mf, a.vdi, end; `algorithm` of both. */
static inline struct archive sample_with_manifest(const char *algorithm)
{
    struct memory_file disk = sample_vdi();
    struct archive archive = archive_make();
    char manifest[1024] = "";

    manifest_line(manifest, sizeof(manifest), algorithm, "x.ovf", OVF_ONE,
                  sizeof(OVF_ONE) - 1);
    manifest_line(manifest, sizeof(manifest), algorithm, "a.vdi", disk.bytes,
                  disk.file.size_bytes);
    archive_add_text(&archive, "x.ovf", OVF_ONE);
    archive_add_text(&archive, "x.mf", manifest);
    archive_add_disk(&archive, "a.vdi");
    archive_end(&archive);
    free(disk.bytes);
    return archive;
}

/* -- opening --------------------------------------------------------------- */

static inline int ova_try(struct archive *archive, const char *member,
                          struct ds_image **image, struct ds_error *err)
{
    struct ds_open_context context = { .member = member };
    int result;

    *err = (struct ds_error)DS_ERROR_INIT;
    *image = NULL;
    result = ova_format_ops.open(&archive->memory.file, &context, image, err);
    if (result != 0)
        assert_null(*image);
    return result;
}

/* Opens and reads the map; takes the archive. */
static inline void expect_ova(struct archive archive, const char *member)
{
    struct ds_extent extents[8];
    struct ds_image *image;
    struct ds_error err;
    size_t count;

    if (ova_try(&archive, member, &image, &err) != 0)
        fail_msg("'%s'", err.message);
    assert_int_equal(image->size_bytes, VDI_SIZE);
    assert_int_equal(walk(image, extents, 8, &count, &err), 0);
    assert_int_equal(count, 6);
    ova_format_ops.close(image);
    free(archive.memory.bytes);
}

static inline void expect_no_ova(struct archive archive, const char *member,
                                 enum ds_error_class error_class,
                                 const char *words)
{
    struct ds_image *image;
    struct ds_error err;
    int result = ova_try(&archive, member, &image, &err);

    if (result != -(int)error_class || strstr(err.message, words) == NULL)
        fail_msg("have %d '%s' expect %d '%s'", result, err.message,
                 -(int)error_class, words);
    free(archive.memory.bytes);
}

#endif
