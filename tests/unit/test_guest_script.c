/* SPDX-License-Identifier: Apache-2.0 */
/* The generator: what elements may be, how values are quoted, what is chosen.
 * Values that would be code are run through sh itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <diskshift/diskshift.h>

#include "element.h"

#define HEAD                                                                   \
    "# SPDX-License-Identifier: Apache-2.0\n"                                  \
    "# element: x\n# task: network\n# phase: common\n"
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int parse(const struct gs_language *language, const char *text,
                 struct ds_error *err)
{
    struct gs_element *element = NULL;
    const char *path = language == &gs_shell ? "linux/x.sh" : "windows/x.ps1";
    int result =
        gs_element_parse(language, path, text, strlen(text), &element, err);

    gs_element_free(element);
    return result;
}

struct bad {
    const char *text;
    unsigned line;
    const char *message;
};

static void check_bad(const struct gs_language *language,
                      const struct bad *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct ds_error err = DS_ERROR_INIT;
        char line[32];

        snprintf(line, sizeof(line), "line %u:", cases[i].line);
        if (parse(language, cases[i].text, &err) != -DS_ERR_CORRUPT ||
            strstr(err.message, line) == NULL ||
            strstr(err.message, cases[i].message) == NULL ||
            strstr(err.file, "/x.") == NULL)
            fail_msg("case %zu: have '%s: %s' expect %s %s", i, err.file,
                     err.message, line, cases[i].message);
    }
}

static void test_guest_script__bad_elements(void **state)
{
    static const struct bad cases[] = {
        { "# element: x\n# task: a\n# phase: common\n\nA=1\n", 1,
          "lacks a description" },
        { HEAD "# what: y\n# It is.\n", 5, "key 'what'" },
        { HEAD "# task: boot\n# It is.\n", 5, "'task' is given twice" },
        { "# element: y\n# task: a\n# phase: common\n# It is.\n", 1,
          "expect its file's name" },
        { "# element: x\n# task: a\n# phase: never\n# It is.\n", 3,
          "phase: have 'never'" },
        { HEAD "# source: esx\n# It is.\n", 5, "source: have 'esx'" },
        { HEAD "# order: 100\n# It is.\n", 5, "order: have '100'" },
        { HEAD "# variable: a -- small\n# It is.\n", 5, "variable: have" },
        { HEAD "# variable: JOB -- ours\n# It is.\n", 5, "variable: have" },
        { HEAD "# variable: A=1\n# It is.\n", 5, "variable: have" },
        { HEAD "# variable: A= -- a\n# It is.\n\nB=1\n", 1,
          "variable a is never used" },
        { HEAD "# It is.\n\nA=@A@\n", 7, "no such variable" },
        { HEAD "# variable: A= -- a\n# It is.\n\n# see @A@\n", 8,
          "other words" },
        { HEAD "# variable: A= -- a\n# It is.\n\nX=\"@A@\"\n", 8,
          "other words" },
        { HEAD "# variable: A= -- a\n# It is.\n\necho @A@\n", 8,
          "other words" },
        { HEAD "# variable: A= -- a\n# It is.\n\nX=@A@ Y=1\n", 8,
          "other words" },
        { HEAD "# variable: A= -- a\n# It is.\n\nX='\nY=@A@\n'\n", 9,
          "in quotes" },
        { HEAD
          "# variable: A= -- a\n# It is.\n\nX=\"$(\necho \"\nY=@A@\n\")\"\n",
          10, "in quotes" },
        { HEAD "# variable: A= -- a\n# It is.\n\ncat <<E\nY=@A@\nE\n", 9,
          "in quotes" },
        { HEAD "# variable: A= -- a\n# It is.\n\ncat <<-'E F'\nY=@A@\n", 8,
          "never closed" },
        { HEAD "# It is.\n\nX='\n", 7, "never closed" },
        { HEAD "# It is.\n\ncase a in\na) b ;;\n", 7, "never closed" },
        { "# element: x\n# task: a\n# phase: settle\n# It is.\n\nA=1\n", 5,
          "does not define" },
        { "# element: x\n# task: a\n# phase: main\n# It is.\n\nA=1\n", 1,
          "expect main-first" },
    };

    (void)state;
    check_bad(&gs_shell, cases, COUNT(cases));
}

static void test_guest_script__bad_powershell(void **state)
{
    static const struct bad cases[] = {
        { HEAD "# variable: A= -- a\n# It is.\n\n$X = \"@A@\"\n", 8,
          "other words" },
        { HEAD "# variable: A= -- a\n# It is.\n\n$X = @'\n$Y = @A@\n'@\n", 9,
          "in quotes" },
        { HEAD "# variable: A= -- a\n# It is.\n\n<#\n$Y = @A@\n#>\n", 9,
          "in quotes" },
        { HEAD
          "# variable: A= -- a\n# It is.\n\n$X = \xe2\x80\x98\n$Y = @A@\n'\n",
          9, "in quotes" },
        { HEAD
          "# variable: A= -- a\n# It is.\n\n$X = \"$(\n'\"'\n)\n$Y = @A@\n\"\n",
          11, "in quotes" },
        { HEAD "# variable: A= -- a\n# It is.\n\nX=@A@\n", 8, "other words" },
        { HEAD "# It is.\n\n$X = \"\n", 7, "never closed" },
    };

    (void)state;
    check_bad(&gs_powershell, cases, COUNT(cases));
}

static void test_guest_script__good_elements(void **state)
{
    static const char *const shell[] = {
        HEAD "# variable: A=b -- a\n# It is.\n\nX=@A@\n",
        HEAD "# variable: A=b -- a\n# It is.\n\nf() {\n    X=@A@\n}\n",
        HEAD "# variable: A=b -- a\n# It is.\n\ny=\"it's\"\nX=@A@\n",
        HEAD "# variable: A=b -- a\n# It is.\n\ny='a\"b' # don't\nX=@A@\n",
        HEAD "# variable: A=b -- a\n# It is.\n\ncat <<'E'\n'\nE\nX=@A@\n",
        HEAD "# variable: A=b -- a\n# It is.\n\ncat <<-E\n\t\"\n\tE\nX=@A@\n",
        HEAD "# variable: A=b -- a\n# It is.\n\n"
             "y=$(case a in a) echo \"b\" ;; esac)\nX=@A@\n",
        HEAD "# variable: A=b -- a\n# It is.\n\ny=${z#\"'\"}\nX=@A@\n",
        HEAD "# variable: A=b -- a\n# It is.\n\ny=$#\nX=@A@\n",
        HEAD "# It is.\n\nX=@JOB@\n",
    };
    static const char *const powershell[] = {
        HEAD "# variable: A=b -- a\n# It is.\n\n$X = @A@\r\n",
        HEAD "# variable: A=b -- a\n# It is.\n\n$y = @'\n\"\n'@\n$X = @A@\n",
        HEAD "# variable: A=b -- a\n# It is.\n\n$y = 'it''s'\n$X = @A@\n",
        HEAD "# variable: A=b -- a\n# It is.\n\n$y = \"a`\"b\"\n$X = @A@\n",
        HEAD
        "# variable: A=b -- a\n# It is.\n\n$y = @{a=1}; $z = @(1)\n$X=@A@\n",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(shell) + COUNT(powershell); i++) {
        struct ds_error err = DS_ERROR_INIT;
        bool first = i < COUNT(shell);

        if (parse(first ? &gs_shell : &gs_powershell,
                  first ? shell[i] : powershell[i - COUNT(shell)], &err) != 0)
            fail_msg("case %zu: %s", i, err.message);
    }
}

static const char *const hostile[] = {
    "'",        "''",   "\\",   "\\'",      "$(id)",        "`id`",
    "a\nb",     "\n",   "%s%n", "\"",       "; id",         "",
    "' ; id '", "$IFS", "-n",   "\xc3\xbc", "a'\n'b",       "@JOB@",
    "*",        "~",    "!!",   "#",        "\xe2\x80\x99",
};

static void test_guest_script__shell_literals(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(hostile); i++) {
        struct gs_text text = { 0 };
        char *script = NULL, output[64] = "";
        size_t length = strlen(hostile[i]);
        FILE *pipe;

        gs_text_puts(&text, "x=");
        gs_shell.quote(&text, hostile[i]);
        gs_text_puts(&text, "\nprintf '%s|' \"$x\"\n");
        assert_int_equal(gs_text_take(&text, &script, NULL, NULL), 0);
        setenv("DS_TEST_SCRIPT", script, 1);
        pipe = popen("printf '%s' \"$DS_TEST_SCRIPT\" | sh", "r");
        assert_non_null(pipe);
        assert_int_equal(fread(output, 1, sizeof(output) - 1, pipe),
                         length + 1);
        pclose(pipe);
        assert_memory_equal(output, hostile[i], length);
        free(script);
    }
}

static void test_guest_script__powershell_literals(void **state)
{
    struct gs_text text = { 0 };

    (void)state;
    gs_powershell.quote(&text, "a'b\xe2\x80\x98\xe2\x80\x99\xe2\x80\x9a"
                               "\xe2\x80\x9b\xe2\x80\x9c$(x)`");
    assert_string_equal(text.bytes,
                        "'a''b\xe2\x80\x98\xe2\x80\x98\xe2\x80\x99\xe2\x80\x99"
                        "\xe2\x80\x9a\xe2\x80\x9a\xe2\x80\x9b\xe2\x80\x9b"
                        "\xe2\x80\x9c$(x)`'");
    gs_text_free(&text);
}

/* Whatever the second text holds, its end is found by nothing in it. */
static void test_guest_script__carried_text(void **state)
{
    static const char inner[] = "a\nDISKSHIFT_SECOND\nDISKSHIFT_SECOND_1\n'$x";
    struct gs_text text = { 0 };
    char output[128] = "";
    FILE *pipe;

    (void)state;
    gs_shell.carry(&text, inner, strlen(inner));
    gs_text_puts(&text, "second_text\n");
    setenv("DS_TEST_SCRIPT", text.bytes, 1);
    pipe = popen("printf '%s' \"$DS_TEST_SCRIPT\" | sh", "r");
    assert_non_null(pipe);
    assert_int_equal(fread(output, 1, sizeof(output) - 1, pipe),
                     strlen(inner) + 1);
    pclose(pipe);
    assert_memory_equal(output, inner, strlen(inner));
    gs_text_free(&text);
}

static int make(const struct ds_guest_script_request *request,
                struct ds_guest_scripts **out, struct ds_error *err)
{
    *err = (struct ds_error)DS_ERROR_INIT;
    *out = NULL;
    return ds_guest_scripts_make(request, out, err);
}

static void test_guest_script__requests(void **state)
{
    static const char *const unknown[] = { "nothing=1" };
    static const char *const no_value[] = { "grace" };
    static const char *const control[] = { "grace=\x01" };
    static const char *const not_utf8[] = { "grace=\xff" };
    static const char *const task[] = { "cook" };
    static const char *const base[] = { "base" };
    static const char *const remove[] = { "tools-remove" };
    const struct {
        struct ds_guest_script_request request;
        const char *message;
    } cases[] = {
        { { .guest = NULL }, "expect linux or windows" },
        { { .guest = "bsd" }, "have 'bsd'" },
        { { .guest = "linux", .source = "esx" }, "have 'esx'" },
        { { .guest = "linux", .target = "kvm xen" }, "have 'kvm xen'" },
        { { .guest = "linux", .job = "a b" }, "job" },
        { { .guest = "linux", .job = "../x" }, "job" },
        { { .guest = "linux", .variables = unknown, .variable_count = 1 },
          "have 'nothing'" },
        { { .guest = "linux", .variables = no_value, .variable_count = 1 },
          "expect key=value" },
        { { .guest = "linux", .variables = control, .variable_count = 1 },
          "UTF-8" },
        { { .guest = "linux", .variables = not_utf8, .variable_count = 1 },
          "UTF-8" },
        { { .guest = "linux", .tasks = task, .task_count = 1 }, "'cook'" },
        { { .guest = "linux", .tasks = base, .task_count = 1 }, "'base'" },
        { { .guest = "linux", .tasks = remove, .task_count = 1 },
          "no element for linux, any to any" },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ds_guest_scripts *scripts;
        struct ds_error err;

        assert_int_equal(make(&cases[i].request, &scripts, &err), -DS_ERR_ARG);
        assert_null(scripts);
        if (strstr(err.message, cases[i].message) == NULL)
            fail_msg("case %zu: have '%s' expect '%s'", i, err.message,
                     cases[i].message);
    }
}

static void test_guest_script__stages(void **state)
{
    static const char *const all[] = { "all" };
    static const char *const names[] = {
        "10-network.sh",      "20-drivers.sh",       "30-boot.sh",
        "40-tools-remove.sh", "50-tools-install.sh", "60-power-off.sh"
    };
    const struct ds_guest_script_request staged = {
        .guest = "linux",
        .source = "vmware",
        .target = "kvm",
        .tasks = all,
        .task_count = 1,
        .stage = DS_SCRIPT_STAGED,
    };
    const struct ds_guest_script_request offline = {
        .guest = "linux",
        .source = "vmware",
        .target = "kvm",
        .stage = DS_SCRIPT_OFFLINE,
    };
    struct ds_guest_scripts *scripts;
    struct ds_error err;

    (void)state;
    assert_int_equal(make(&staged, &scripts, &err), 0);
    assert_int_equal(ds_guest_scripts_count(scripts), COUNT(names));
    for (size_t i = 0; i < COUNT(names); i++)
        assert_string_equal(ds_guest_scripts_at(scripts, i)->name, names[i]);
    assert_null(ds_guest_scripts_at(scripts, COUNT(names)));
    /* What is not its task is not in it. */
    assert_null(strstr(ds_guest_scripts_at(scripts, 0)->text,
                       "element_tools_remove_vmware"));
    assert_non_null(strstr(ds_guest_scripts_at(scripts, 3)->text,
                           "element_tools_remove_vmware"));
    assert_null(strstr(ds_guest_scripts_at(scripts, 3)->text,
                       "element_tools_remove_xen"));
    ds_guest_scripts_free(scripts);
    assert_int_equal(make(&offline, &scripts, &err), 0);
    assert_int_equal(ds_guest_scripts_count(scripts), 1);
    assert_string_equal(ds_guest_scripts_at(scripts, 0)->name, "offline.sh");
    assert_string_equal(ds_guest_scripts_at(scripts, 0)->task, "all");
    assert_int_equal(strlen(ds_guest_scripts_at(scripts, 0)->text),
                     ds_guest_scripts_at(scripts, 0)->length_bytes);
    ds_guest_scripts_free(scripts);
}

static void test_guest_script__list(void **state)
{
    struct ds_guest_elements *elements = NULL;
    const struct ds_guest_element *element;
    struct ds_error err = DS_ERROR_INIT;
    size_t linux_count = 0;

    (void)state;
    assert_int_equal(ds_guest_elements_open(NULL, &elements, &err), 0);
    for (size_t i = 0; (element = ds_guest_elements_at(elements, i)) != NULL;
         i++)
        linux_count += strcmp(element->guest, "linux") == 0;
    assert_true(linux_count > 20);
    ds_guest_elements_close(elements);
    elements = NULL;
    assert_int_equal(ds_guest_elements_open("/nonexistent", &elements, &err),
                     -DS_ERR_ARG);
    assert_null(elements);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guest_script__bad_elements),
        cmocka_unit_test(test_guest_script__bad_powershell),
        cmocka_unit_test(test_guest_script__good_elements),
        cmocka_unit_test(test_guest_script__shell_literals),
        cmocka_unit_test(test_guest_script__powershell_literals),
        cmocka_unit_test(test_guest_script__carried_text),
        cmocka_unit_test(test_guest_script__requests),
        cmocka_unit_test(test_guest_script__stages),
        cmocka_unit_test(test_guest_script__list),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
