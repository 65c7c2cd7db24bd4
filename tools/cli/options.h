/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line. One table of options drives parsing, help and the words
 * that shell completion offers.
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <diskshift/diskshift.h>

#include "sandbox.h"

/* A bit for each verb that an option may belong to. */
enum verb_bit {
    VERB_INFO = 1,
    VERB_MAP = 2,
    VERB_PLAN = 4,
    VERB_CONVERT = 8,
    VERB_VERIFY = 16,
    VERB_CHECK = 32,
    VERB_MEASURE = 64,
    VERB_COMPARE = 128,
    VERB_POINTS = 256,
    VERB_STORAGE = 512,
    VERB_ALL = 1023, /* the verbs that open disks or look at places of them */
    VERB_GUEST = 1024
};

#define PROGRESS_FD_NONE (-1)
#define GROWTH_PERCENT_STANDARD 10u
#define GROWTH_PERCENT_MAX 1000u

/* How one image is to be opened; of SOURCE, or of the other disk. */
struct open_words {
    const char *format;
    const char *snapshot;
    const char *key_file;
    const char *member;
};

/* What --resize asks for. */
struct resize {
    bool given;
    bool relative; /* +SIZE */
    uint64_t bytes;
};

/* What guest-script is told. */
struct guest_words {
    const char *guest;
    const char *source;
    const char *target;
    const char *job;
    const char *elements;
    const char *output;
    const char *iso;
    bool list;
    enum ds_script_stage stage;
    const char **tasks; /* freed with it, as the strings are */
    size_t task_count;
};

struct options {
    unsigned verb; /* its bit */
    enum sandbox_mode sandbox;
    struct open_words source;
    struct open_words other;   /* verify, compare: of the second disk */
    const char *target_format; /* -O */
    const char *allow_refs;
    bool no_refs;
    bool json;
    bool help;
    bool option_help; /* -o help */
    bool ops;
    bool chain;
    bool probe;
    bool strict;
    bool force;
    bool no_verify;
    bool trust_clones; /* --verify=metadata */
    bool require_clone;
    bool share_source_file;
    bool warn_copy;
    bool stats;
    bool quiet;
    bool progress; /* draw the bar even where stderr is no terminal */
    int progress_fd;
    enum ds_strategy strategy;
    struct ds_clone_via_options via; /* name NULL: not given */
    unsigned growth_percent;
    struct resize resize;
    struct ds_limits limits;
    uint64_t output_bytes_max; /* 0: the library's */

    /* Each key=value of -o, in order; a target's options are a slice of it.
     * The strings are freed with it. */
    const char **target_options;
    size_t target_option_count;
    /* From --to, or from TARGET once target_resolve was called. */
    struct ds_target_spec *targets;
    size_t target_count;
    const char **operands;
    size_t operand_count;
    struct guest_words guest; /* guest-script */
    size_t source_count; /* of the operands, the first; 1 but for targets that
                            hold several disks */
    bool all_members;    /* those take all disks of a container */
};

struct option_rule {
    const char *name;       /* long name, without the dashes */
    char letter;            /* or 0 */
    const char *argument;   /* "FMT"; NULL: a flag */
    bool argument_optional; /* only as --name=ARGUMENT */
    unsigned verbs;
    const char *words; /* for completion: "a b c", or "@formats", "@writable",
                          "@directory", "@file"; NULL: nothing to offer */
    const char *summary;
    /* One of these takes the value. */
    size_t member; /* offset of a bool (flag) or const char * */
    int (*apply)(struct options *options, const char *value,
                 struct ds_error *err);
};

/** The table; NULL past the end. */
const struct option_rule *option_rule_at(size_t index);

/** Parse what follows the verb. Options and operands may be mixed; "--" ends
 * the options. The strings stay argv's. Call options_free always. */
int options_parse(struct options *options, unsigned verb, int argc,
                  char *const *argv, struct ds_error *err);
void options_free(struct options *options);

/** -DS_ERR_SYSTEM, ENOMEM. */
int memory_error(struct ds_error *err);

/** -DS_ERR_ARG with a message: the caller's words are wrong. */
int usage_error(struct ds_error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
