/* SPDX-License-Identifier: Apache-2.0 */
#include "option_values.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Which of `words` the value is, its place in *index. */
static int choose(const char *name, const char *value, const char *const *words,
                  size_t count, size_t *index, struct ds_error *err)
{
    char expected[128] = "";
    size_t used = 0;

    for (*index = 0; *index < count; ++*index)
        if (strcmp(value, words[*index]) == 0)
            return 0;
    for (size_t i = 0; i < count && used < sizeof(expected); i++)
        used +=
            (size_t)snprintf(expected + used, sizeof(expected) - used, "%s%s",
                             i == 0          ? ""
                             : i + 1 < count ? ", "
                                             : " or ",
                             words[i]);
    return usage_error(err, "--%s: have %s expect %s", name, value, expected);
}

int apply_strategy(struct options *options, const char *value,
                   struct ds_error *err)
{
    static const char *const words[] = { "auto", "range", "graft" };
    static const enum ds_strategy strategies[] = { DS_STRATEGY_AUTO,
                                                   DS_STRATEGY_RANGE,
                                                   DS_STRATEGY_GRAFT };
    size_t index;
    int result = choose("strategy", value, words, 3, &index, err);

    if (result == 0)
        options->strategy = strategies[index];
    return result;
}

int apply_verify(struct options *options, const char *value,
                 struct ds_error *err)
{
    static const char *const words[] = { "content", "metadata" };
    size_t index;
    int result = choose("verify", value, words, 2, &index, err);

    options->trust_clones = result == 0 && index == 1;
    return result;
}

int apply_sandbox(struct options *options, const char *value,
                  struct ds_error *err)
{
    static const char *const words[] = { "auto", "require", "off" };
    static const enum sandbox_mode modes[] = { SANDBOX_AUTO, SANDBOX_REQUIRE,
                                               SANDBOX_OFF };
    size_t index;
    int result = choose("sandbox", value, words, 3, &index, err);

    if (result == 0)
        options->sandbox = modes[index];
    return result;
}

static int parse_number(const char *name, const char *text, unsigned max,
                        unsigned *out, struct ds_error *err)
{
    unsigned long number;
    char *end;

    errno = 0;
    number = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 ||
        number > max)
        return usage_error(err, "--%s: have %s expect a number from 0 to %u",
                           name, text, max);
    *out = (unsigned)number;
    return 0;
}

int apply_growth(struct options *options, const char *value,
                 struct ds_error *err)
{
    return parse_number("growth", value, GROWTH_PERCENT_MAX,
                        &options->growth_percent, err);
}

int apply_progress(struct options *options, const char *value,
                   struct ds_error *err)
{
    unsigned descriptor = 0;
    int result;

    if (value == NULL) {
        options->progress = true;
        return 0;
    }
    result = parse_number("progress", value, 65535, &descriptor, err);
    if (result != 0)
        return result;
    if (descriptor == 0 ||
        (fcntl((int)descriptor, F_GETFL) & O_ACCMODE) == O_RDONLY)
        return usage_error(err,
                           "--progress: descriptor %u is not open to "
                           "write",
                           descriptor);
    if (fcntl((int)descriptor, F_GETFD) < 0)
        return usage_error(err, "--progress: descriptor %u is not open",
                           descriptor);
    options->progress_fd = (int)descriptor;
    return 0;
}

/* The number of bytes one suffix stands for; 0 for none that we know. */
static uint64_t suffix_bytes(const char *suffix)
{
    static const char letters[] = "kMGT";
    const char *at;

    if (*suffix == '\0')
        return 1;
    at = strchr(letters, *suffix == 'K' ? 'k' : *suffix);
    if (at == NULL || suffix[1] != '\0')
        return 0;
    return UINT64_C(1) << (10 * (at - letters + 1));
}

static bool parse_size(const char *digits, uint64_t *bytes)
{
    unsigned long long number;
    uint64_t unit;
    char *end;

    errno = 0;
    number = strtoull(digits, &end, 10);
    unit = suffix_bytes(end);
    return digits[0] >= '0' && digits[0] <= '9' && errno == 0 && unit != 0 &&
           !__builtin_mul_overflow((uint64_t)number, unit, bytes);
}

/* 0 would be the standard; nobody can mean it. */
static int parse_limit(const char *name, const char *value, uint64_t *out,
                       struct ds_error *err)
{
    if (parse_size(value, out) && *out > 0)
        return 0;
    return usage_error(err,
                       "--%s: have %s expect a number above 0, or one with k, "
                       "M, G or T",
                       name, value);
}

int apply_max_memory(struct options *options, const char *value,
                     struct ds_error *err)
{
    return parse_limit("max-memory", value, &options->limits.memory_bytes, err);
}

int apply_max_virtual_size(struct options *options, const char *value,
                           struct ds_error *err)
{
    return parse_limit("max-virtual-size", value,
                       &options->limits.virtual_size_bytes, err);
}

int apply_max_key_rounds(struct options *options, const char *value,
                         struct ds_error *err)
{
    return parse_limit("max-key-rounds", value, &options->limits.key_rounds,
                       err);
}

int apply_max_output(struct options *options, const char *value,
                     struct ds_error *err)
{
    return parse_limit("max-output", value, &options->output_bytes_max, err);
}

int apply_resize(struct options *options, const char *value,
                 struct ds_error *err)
{
    bool relative = value[0] == '+';
    uint64_t bytes;

    if (!parse_size(value + relative, &bytes))
        return usage_error(err,
                           "--resize: have %s expect SIZE or +SIZE, a number "
                           "of bytes or one with k, M, G or T",
                           value);
    options->resize = (struct resize){ true, relative, bytes };
    return 0;
}

/* What stands before the next comma, where two of them are one that belongs to
 * the value: as qemu-img has it. *text goes on behind it, or is NULL. */
static char *take_piece(const char **text)
{
    const char *at = *text;
    char *piece = malloc(strlen(at) + 1);
    size_t used = 0;

    if (piece == NULL)
        return NULL;
    for (; *at != '\0' && (at[0] != ',' || at[1] == ','); at++) {
        piece[used++] = *at;
        at += *at == ',';
    }
    piece[used] = '\0';
    *text = *at == ',' ? at + 1 : NULL;
    return piece;
}

/* As qemu-img has it. A guest's script lists its own with --list. */
static bool asks_for_help(const struct options *options, const char *piece)
{
    return (options->verb & VERB_GUEST) == 0 &&
           (strcmp(piece, "help") == 0 || strcmp(piece, "?") == 0);
}

int apply_option(struct options *options, const char *value,
                 struct ds_error *err)
{
    const char *rest = value;

    while (rest != NULL) {
        char *piece = take_piece(&rest);

        if (piece == NULL)
            return memory_error(err);
        options->target_options[options->target_option_count++] = piece;
        if (options->target_count > 0)
            options->targets[options->target_count - 1].option_count++;
        if (asks_for_help(options, piece))
            options->option_help = true;
        else if (strchr(piece, '=') == NULL || piece[0] == '=')
            return usage_error(err,
                               "-o %s: have '%s' expect key=value, several of "
                               "them with a comma between, and ,, for a comma "
                               "in a value",
                               value, piece);
    }
    return 0;
}

int apply_to(struct options *options, const char *value, struct ds_error *err)
{
    const char *equals = strchr(value, '=');
    struct ds_target_spec *target = &options->targets[options->target_count];
    char *format;

    if (equals == NULL || equals == value || equals[1] == '\0')
        return usage_error(err, "--to: have %s expect FORMAT=PATH", value);
    if (options->target_count == 0 && options->target_option_count > 0)
        return usage_error(err,
                           "-o %s: it stands before the first --to, "
                           "expect it after the target it is for",
                           options->target_options[0]);
    format = strndup(value, (size_t)(equals - value));
    if (format == NULL)
        return memory_error(err);
    target->format = format;
    target->path = equals + 1;
    target->options = options->target_options + options->target_option_count;
    options->target_count++;
    return 0;
}

int apply_stage(struct options *options, const char *value,
                struct ds_error *err)
{
    static const char *const words[] = { "first", "staged", "offline" };
    static const enum ds_script_stage stages[] = { DS_SCRIPT_FIRST,
                                                   DS_SCRIPT_STAGED,
                                                   DS_SCRIPT_OFFLINE };
    size_t index;
    int result = choose("stage", value, words, 3, &index, err);

    if (result == 0)
        options->guest.stage = stages[index];
    return result;
}

int apply_task(struct options *options, const char *value, struct ds_error *err)
{
    const char *rest = value;

    while (rest != NULL) {
        char *piece = take_piece(&rest);

        if (piece == NULL)
            return memory_error(err);
        options->guest.tasks[options->guest.task_count++] = piece;
    }
    return 0;
}
