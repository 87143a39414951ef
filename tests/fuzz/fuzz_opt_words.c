/* SPDX-License-Identifier: BSD-2-Clause */
/* A #HIVE line: split into words, which, quoted again, split into the same words; then parsed. */
#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/opt.h"
#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct args {
    bool flag;
    const char *name;
    int64_t number, size, time;
    struct opt_list list;
};

static const struct opt table[] = {
    { 'f', "flag", OPT_FLAG, NULL, "flag", .dest = offsetof(struct args, flag), .script = true },
    { 'n', "name", OPT_STR, "S", "text", .dest = offsetof(struct args, name), .script = true },
    { 't', "number", OPT_INT, "N", "number", .dest = offsetof(struct args, number), .min = 1,
      .max = 9, .script = true },
    { 'm', "size", OPT_SIZE, "S", "size", .dest = offsetof(struct args, size), .script = true },
    { 0, "time", OPT_DURATION, "T", "time", .dest = offsetof(struct args, time), .script = true },
    { 'e', "list", OPT_LIST, "L", "list", .dest = offsetof(struct args, list), .script = true },
    { 'x', "private", OPT_FLAG, NULL, "not in scripts", .dest = offsetof(struct args, flag) },
    OPT_END
};

static void require(bool ok)
{
    if (!ok)
        abort();
}

static void parse(char **words, int argc, unsigned flags)
{
    struct args args = { 0 };
    struct err err = ERR_INIT;
    bool dashdash;
    int first = -1;

    if (opt_parse(table, &args, argc, words, flags, &first, &dashdash, &err) == 0) {
        require(first >= 1 && first <= argc);
        require(args.number >= 0 && args.number <= 9 && args.size >= 0 && args.time >= 0);
    } else {
        require(err.kind == ERR_USAGE && str_is_utf8(err.msg, strlen(err.msg)));
    }
    for (size_t i = 0; i < args.list.count; i++)
        require(args.list.items[i] != NULL);
    opt_list_fini(&args.list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *line = mem_strndup((const char *)data, size);
    struct err err = ERR_INIT;
    struct buf again = BUF_INIT;
    int argc = 0, argc2 = 0;
    char **words = opt_split_words(line, &argc, &err);

    free(line);
    if (!words) {
        require(err.kind == ERR_USAGE || err.kind == ERR_TOO_LARGE);
        return 0;
    }
    require(argc >= 1 && argc <= LIMIT_JOB_ARGS + 1 && !words[argc]);
    for (int i = 1; i < argc; i++) {
        str_append_shell_quoted(&again, words[i]);
        buf_append_char(&again, ' ');
    }
    char **words2 = opt_split_words(buf_data(&again), &argc2, &err);
    require(words2 && argc2 == argc);
    for (int i = 0; i <= argc; i++)
        require(str_eq(words[i], words2[i]));
    /* opt_parse moves the pointers about, so each word is still freed once. */
    parse(words, argc, OPT_SCRIPT);
    parse(words2, argc, OPT_STOP_AT_ARG);
    opt_free_words(words);
    opt_free_words(words2);
    buf_fini(&again);
    return 0;
}
