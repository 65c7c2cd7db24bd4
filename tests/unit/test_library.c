/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "library.h"

struct api {
    double (*cosine)(double);
    double (*none)(double);
    double (*floor)(double);
};

static void test_library__puts_addresses_in_place(void **state)
{
    static const struct ds_library_function functions[] = {
        { "cos", offsetof(struct api, cosine) },
        { "floor", offsetof(struct api, floor) },
    };
    struct api api = { NULL, NULL, NULL };

    (void)state;
    assert_null(ds_library_load("libm.so.6", functions, 2, &api));
    assert_true(api.cosine(0.0) == 1.0 && api.floor(2.5) == 2.0);
    assert_null(api.none);
}

static void test_library__names_the_first_that_is_missing(void **state)
{
    static const struct ds_library_function functions[] = {
        { "cos", offsetof(struct api, cosine) },
        { "ds_no_such_function", offsetof(struct api, none) },
        { "ds_nor_this", offsetof(struct api, floor) },
    };
    struct api api;

    (void)state;
    assert_string_equal(ds_library_load("libm.so.6", functions, 3, &api),
                        "ds_no_such_function");
    assert_null(api.none);
}

static void test_library__is_not_there(void **state)
{
    struct api api = { NULL, NULL, NULL };

    (void)state;
    assert_string_equal(ds_library_load("libds-none.so.1", NULL, 0, &api),
                        "library");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_library__puts_addresses_in_place),
        cmocka_unit_test(test_library__names_the_first_that_is_missing),
        cmocka_unit_test(test_library__is_not_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
