/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "cmd/cmd.h"

#include "assets.h"
#include "base/buf.h"
#include "base/jsonx.h"
#include "version.h"

#include <stddef.h>

#if defined(__clang__)
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

#if defined(__GLIBC__)
#define LIBC "glibc"
#else
#define LIBC "musl"
#endif

#if defined(__x86_64__)
#define MACHINE "x86_64"
#elif defined(__aarch64__)
#define MACHINE "aarch64"
#else
#define MACHINE "other"
#endif

struct args {
    bool json;
};

static const struct opt options[] = {
    { 0, "json", OPT_FLAG, NULL, "print JSON, with the third-party code hive is built from",
      .dest = offsetof(struct args, json) },
    OPT_END,
};

static void print_json(struct buf *b)
{
    struct jsonw w;
    jsonw_init(&w, b);
    jsonw_obj_open(&w, NULL);
    jsonw_int(&w, "api", 1);
    jsonw_str(&w, "version", HIVE_VERSION);
    jsonw_obj_open(&w, "build");
    jsonw_str(&w, "machine", MACHINE);
    jsonw_str(&w, "libc", LIBC);
    jsonw_str(&w, "compiler", COMPILER);
    jsonw_obj_close(&w);
    /* A JSON list already; a NUL follows it. */
    jsonw_raw(&w, "vendor", (const char *)asset_vendor_lock);
    jsonw_obj_close(&w);
    buf_append_char(b, '\n');
}

static int run(const struct cmd *cmd, int argc, char **argv)
{
    struct args a = { .json = false };
    struct buf b = BUF_INIT;
    int first, code;

    if (!cmd_parse(cmd, &a, argc, argv, &first, NULL, &code))
        return code;
    if (first < argc)
        return cmd_usage(cmd, "takes no argument");
    if (a.json)
        print_json(&b);
    else
        buf_append_str(&b, "hive " HIVE_VERSION " (" MACHINE ", " LIBC ", " COMPILER ")\n");
    cmd_out(&b);
    buf_fini(&b);
    return CMD_OK;
}

static const char *const synopsis[] = { "[--json]", NULL };

static const struct cmd_example examples[] = {
    { "hive version", "one line" },
    { "hive version --json", "with names, versions, licences and checksums of what is inside" },
    { NULL, NULL },
};

const struct cmd cmd_version = {
    .name = "version",
    .group = CMD_GROUP_HELP,
    .summary = "show the version and what hive is built from",
    .synopsis = synopsis,
    .description = "`hive --version` prints the version alone.",
    .options = options,
    .examples = examples,
    .run = run,
};
