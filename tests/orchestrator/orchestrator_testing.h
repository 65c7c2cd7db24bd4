/* SPDX-License-Identifier: Apache-2.0 */
/* What the unit tests of the orchestrator share. */
#ifndef ORCHESTRATOR_TESTING_H
#define ORCHESTRATOR_TESTING_H

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */
/* base.h and narrate.h have functions of these names. */
#undef fail
#define flunk(...)                                                             \
    do {                                                                       \
        fprintf(stderr, __VA_ARGS__);                                          \
        fputc('\n', stderr);                                                   \
        _fail(__FILE__, __LINE__);                                             \
    } while (0)

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base.h"

/** Run a shell command that must succeed. */
static inline void shell(const char *format, ...) PRINTF_LIKE(1, 2);
static inline void shell(const char *format, ...)
{
    va_list arguments;
    autofree char *command = NULL;

    va_start(arguments, format);
    command = text_vformat(format, arguments);
    va_end(arguments);
    if (system(command) != 0)
        flunk("failed: %s", command);
}

/** A directory that is not there yet, below the tests' scratch. */
static inline char *scratch_make(const char *name)
{
    const char *root = getenv("DS_TEST_DIR");
    char *path =
        text_format("%s/%s.XXXXXX", root != NULL ? root : "/tmp", name);
    struct ds_error err;

    if (root != NULL)
        assert_int_equal(directory_make(root, &err), 0);
    assert_non_null(mkdtemp(path));
    return path;
}

static inline void scratch_remove(char *path)
{
    shell("rm -rf '%s'", path);
    free(path);
}

static inline void write_text(const char *path, const char *text)
{
    struct ds_error err = DS_ERROR_INIT;

    if (file_write(path, text, strlen(text), 0600, &err) != 0)
        flunk("%s: %s", path, err.message);
}

/** That `err` is of `error_class` and says `words`. */
static inline void assert_said(const struct ds_error *err,
                               enum ds_error_class error_class,
                               const char *words)
{
    if (err->error_class != error_class || strstr(err->message, words) == NULL)
        flunk("have %s: %s\nexpect %s: ...%s...",
              ds_error_class_name(err->error_class), err->message,
              ds_error_class_name(error_class), words);
}

/** That the file at DS_SOURCE_DIR/tests/orchestrator/`name` is `text`. With
 * DS_RECORD in the environment it is written anew: read the difference. */
static inline void assert_golden(const char *name, const char *text)
{
    autofree char *path =
        text_format("%s/tests/orchestrator/%s", DS_SOURCE_DIR, name);
    autofree char *wanted = NULL;
    struct ds_error err = DS_ERROR_INIT;

    if (getenv("DS_RECORD") != NULL) {
        write_text(path, text);
        return;
    }
    if (file_read(path, 1u << 24, &wanted, NULL, &err) != 0)
        flunk("%s: %s", path, err.message);
    if (strcmp(wanted, text) != 0) {
        autofree char *have = text_format("/tmp/have.%d", (int)getpid());

        write_text(have, text);
        (void)!system(text_format("diff -u %s %s | head -60; rm -f %s", path,
                                  have, have));
        flunk("%s: not as recorded", name);
    }
}

#endif
