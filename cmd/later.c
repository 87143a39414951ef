/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "cmd/later.h"

#include "base/str.h"
#include "cmd/cmd.h"

static const struct {
    const char *command;
    const char *option; /* NULL: the command itself */
} later[] = {
    { "launch", "cli" },        { "launch", "silent" },    { "token", NULL },
    { "drain", NULL },          { "resume", NULL },        { "top", NULL },
    { "desktop", NULL },        { "service", NULL },       { "install", NULL },
    { "config", "import" },     { "daemon", "head" },      { "daemon", "join" },
    { "submit", "gpu-memory" }, { "submit", "retry-oom" }, { "submit", "nodes" },
    { "submit", "torchrun" },   { "submit", "image" },     { "submit", "send" },
    { "submit", "fetch" },
};

bool later_has(const char *command, const char *option)
{
    for (size_t i = 0; i < ARRAY_LEN(later); i++)
        if (str_eq(later[i].command, command) && str_eq(later[i].option, option))
            return true;
    return false;
}

int later_err(struct err *err, const char *what)
{
    return err_set(err, ERR_USAGE, "%s is not in this version of hive", what);
}

void later_option(const struct cmd *cmd, int argc, char **argv, struct err *err)
{
    char *word = cmd_unknown_option(cmd, argc, argv);

    if (word && later_has(cmd->name, word + 2)) {
        later_err(err, word);
        err_hint(err, "options: hive %s --help", cmd->name);
    }
    free(word);
}
