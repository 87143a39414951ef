/* SPDX-License-Identifier: BSD-2-Clause */
/* `hive hosts`: which hosts are nodes, can they be used, and are their keys known? */
#include "base/mem.h"

#include "cmd/cmd.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/jsonx.h"
#include "base/str.h"
#include "cmd/hosts.h"
#include "cmd/hosts_probe.h"
#include "cmd/table.h"

#include <stddef.h>
#include <unistd.h>

static const struct opt options[] = {
    { 'n', "name", OPT_STR, "NAME", "add: what it is called in listings and by --node",
      .dest = offsetof(struct hosts_args, name) },
    { 0, "any", OPT_FLAG, NULL,
      "add: it takes jobs that don't ask for it too; for hosts that share their folders with this "
      "machine",
      .dest = offsetof(struct hosts_args, any) },
    { 't', "threads", OPT_INT, "N", "add: threads that jobs may use there (default: all)",
      .dest = offsetof(struct hosts_args, threads), .min = 1, .max = 65536 },
    { 'm', "memory", OPT_SIZE, "SIZE", "add: memory that jobs may use there (default: all)",
      .dest = offsetof(struct hosts_args, memory) },
    { 0, "no-wait", OPT_FLAG, NULL, "add, import: don't wait until it is up",
      .dest = offsetof(struct hosts_args, no_wait) },
    { 0, "timeout", OPT_DURATION, "TIME",
      "give up on a host after this time (default 15s; add and import wait for 60s)",
      .dest = offsetof(struct hosts_args, timeout_ns) },
    { 0, "ask", OPT_FLAG, NULL,
      "check: ask on the terminal for passphrases of keys, one host after another",
      .dest = offsetof(struct hosts_args, ask) },
    { 'y', "yes", OPT_FLAG, NULL, "trust: don't ask; the fingerprint was compared by other means",
      .dest = offsetof(struct hosts_args, yes) },
    { 0, "replace", OPT_FLAG, NULL, "trust: accept a changed key in place of the ones known",
      .dest = offsetof(struct hosts_args, replace) },
    { 0, "json", OPT_FLAG, NULL, "print JSON", .dest = offsetof(struct hosts_args, json) },
    OPT_END,
};

/* --- for both words ----------------------------------------------------------------------------- */

void hosts_append_error(struct buf *out, const struct err *err)
{
    buf_append_str(out, "hive: ");
    str_append_safe(out, err->msg, SIZE_MAX);
    buf_append_char(out, '\n');
    if (err->hint[0]) {
        buf_append_str(out, "  ");
        str_append_safe(out, err->hint, SIZE_MAX);
        buf_append_char(out, '\n');
    }
}

void hosts_say(struct buf *text)
{
    /* Nobody is left to be told when stderr is gone too. */
    (void)!fs_write_all(STDERR_FILENO, buf_data(text), buf_len(text));
    buf_clear(text);
}

void hosts_key_text(const unsigned char *key, size_t len, char *type, char *print)
{
    type[0] = print[0] = '\0';
    if (!key)
        return;
    if (!ssh_key_blob_type(key, len, type))
        str_copy(type, SSH_KEY_TYPE_MAX, "unknown");
    ssh_key_fingerprint(key, len, print);
}

static void put_text(struct jsonw *w, const char *key, const char *text)
{
    jsonw_str(w, key, text && *text ? text : NULL);
}

void hosts_put_error(struct jsonw *w, const struct err *err)
{
    put_text(w, "error", err->msg);
    jsonw_str(w, "error_kind", err->kind == ERR_NONE ? NULL : err_kind_name(err->kind));
    put_text(w, "hint", err->hint);
}

void hosts_put_host(struct jsonw *w, const struct hosts_probe *p)
{
    char type[SSH_KEY_TYPE_MAX], print[SSH_FINGERPRINT_SIZE];

    hosts_key_text(p->key, p->key_len, type, print);
    put_text(w, "user", p->configured ? p->config.user : NULL);
    put_text(w, "host", p->configured ? p->config.host : NULL);
    if (p->configured)
        jsonw_int(w, "port", p->config.port);
    else
        jsonw_null(w, "port");
    put_text(w, "address", p->address);
    put_text(w, "host_key_type", type);
    put_text(w, "host_key_fingerprint", print);
    jsonw_str(w, "host_key", p->key ? hosts_known_word(p->found.status) : NULL);
    put_text(w, "server", p->server);
}

/* --- check -------------------------------------------------------------------------------------- */

/* The n-th word of "KEX HOST-KEY CIPHER MAC" without what follows an '@', or "". */
static char *method(const char *methods, unsigned n)
{
    const char *p = methods ? methods : "";

    while (n-- > 0) {
        p += strcspn(p, " ");
        p += *p == ' ';
    }
    return mem_strndup(p, strcspn(p, " "));
}

static void put_methods(struct jsonw *w, const struct hosts_probe *p)
{
    static const char *const names[] = { "key_exchange", "host_key", "cipher", "mac" };

    if (!p->methods || !*p->methods) {
        jsonw_null(w, "methods");
        return;
    }
    jsonw_obj_open(w, "methods");
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        char *word = method(p->methods, i);

        jsonw_str(w, names[i], str_eq(word, "-") ? NULL : word);
        free(word);
    }
    jsonw_obj_close(w);
}

static void put_lines(struct jsonw *w, const char *key, const char *text)
{
    jsonw_arr_open(w, key);
    for (const char *p = text ? text : ""; *p;) {
        size_t len = strcspn(p, "\n");

        jsonw_strn(w, NULL, p, len);
        p += len + (p[len] == '\n');
    }
    jsonw_arr_close(w);
}

static void print_json(const struct hosts_run *run)
{
    struct buf b = BUF_INIT;
    struct jsonw w;

    jsonw_init(&w, &b);
    jsonw_obj_open(&w, NULL);
    jsonw_int(&w, "api", 1);
    jsonw_arr_open(&w, "hosts");
    for (size_t i = 0; i < run->count; i++) {
        const struct hosts_probe *p = &run->probes[i];

        jsonw_obj_open(&w, NULL);
        jsonw_str(&w, "name", p->word);
        jsonw_str(&w, "status", hosts_step_word(p->step));
        hosts_put_error(&w, &p->err);
        hosts_put_host(&w, p);
        put_methods(&w, p);
        put_lines(&w, "keys", p->tried);
        jsonw_arr_open(&w, "notes");
        for (size_t n = 0; p->configured && n < p->config.notes.count; n++)
            jsonw_str(&w, NULL, p->config.notes.item[n]);
        jsonw_arr_close(&w);
        jsonw_bool(&w, "needs_system_ssh", p->needs_system);
        jsonw_int(&w, "milliseconds", p->took_ns / NS_PER_MS);
        jsonw_obj_close(&w);
    }
    jsonw_arr_close(&w);
    jsonw_obj_close(&w);
    buf_append_char(&b, '\n');
    cmd_out(&b);
    buf_fini(&b);
}

static void add_row(struct table *t, const struct hosts_probe *p)
{
    char *kex = method(p->methods, 0), *cipher = method(p->methods, 2);
    struct buf cell = BUF_INIT;

    table_add(t, p->word);
    table_add_colored(t, hosts_step_word(p->step), p->step == HOSTS_OK ? TABLE_GREEN : TABLE_RED);
    buf_append(&cell, p->server ? p->server : "", strcspn(p->server ? p->server : "", " "));
    table_add_buf(t, &cell);
    if (*kex)
        buf_printf(&cell, "%.*s %.*s", (int)strcspn(kex, "@"), kex, (int)strcspn(cipher, "@"),
                   cipher);
    table_add_buf(t, &cell);
    str_format_duration(&cell, p->took_ns);
    table_add_buf(t, &cell);
    buf_fini(&cell);
    free(kex);
    free(cipher);
}

static void print_table(const struct hosts_run *run)
{
    static const struct table_column columns[] = {
        { .title = "NAME", .min = 12 },     { .title = "STATE" },
        { .title = "SERVER", .min = 12 },   { .title = "METHOD", .min = 12 },
        { .title = "TIME", .right = true },
    };
    struct buf b = BUF_INIT;
    struct table t;

    table_init(&t, columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < run->count; i++)
        add_row(&t, &run->probes[i]);
    table_print(&t, &b, 0, cmd_width_limited() ? cmd_width() : 0, cmd_color());
    table_fini(&t);
    cmd_out(&b);
    buf_fini(&b);
}

static void say_failure(const struct hosts_probe *p, struct buf *b)
{
    hosts_append_error(b, &p->err);
    /* The message names the keys, as long as there is room for them. */
    if (p->step == HOSTS_LOGIN && strlen(p->err.msg) + 1 >= sizeof p->err.msg) {
        for (const char *s = p->tried; *s;) {
            size_t len = strcspn(s, "\n");

            buf_append_str(b, "  ");
            str_append_safe(b, s, len);
            buf_append_char(b, '\n');
            s += len + (s[len] == '\n');
        }
    }
    if (p->needs_system && !strstr(p->err.msg, "system's ssh") &&
        !strstr(p->err.hint, "system's ssh"))
        buf_append_str(b, "  the system's ssh can do more than hive here\n");
}

int hosts_check(const struct hosts_args *a, char **words, size_t count)
{
    struct hosts_run run = { .timeout_ns = a->timeout_ns,
                             .parallel = a->ask ? 1 : HOSTS_PARALLEL,
                             .ask = a->ask };
    struct err err = ERR_INIT;
    struct buf text = BUF_INIT;
    int code = CMD_OK;

    if (a->ask && !hosts_tty_exists()) {
        err_set(&err, ERR_USAGE, "hosts check --ask: there is no terminal to ask on");
        err_hint(&err, "without one, keys have to be in an agent: ssh-add");
        return cmd_fail(&err);
    }
    hosts_run_init(&run, words, count);
    if (hosts_run_all(&run, &err) != 0) {
        cmd_fail(&err);
        hosts_run_fini(&run);
        return CMD_FAILED;
    }
    if (a->json)
        print_json(&run);
    else
        print_table(&run);
    for (size_t i = 0; i < count; i++) {
        if (run.probes[i].step == HOSTS_OK)
            continue;
        code = CMD_FAILED;
        if (!a->json)
            say_failure(&run.probes[i], &text);
    }
    hosts_say(&text);
    buf_fini(&text);
    hosts_run_fini(&run);
    return code;
}

/* --- the command -------------------------------------------------------------------------------- */

#define CHECK_TIMEOUT_NS (15 * NS_PER_S)

static int check_or_trust(const struct hosts_args *args, char **words, size_t count,
                          int (*fn)(const struct hosts_args *a, char **words, size_t count))
{
    struct hosts_args a = *args;

    if (a.timeout_ns < 0)
        a.timeout_ns = CHECK_TIMEOUT_NS;
    return fn(&a, words, count);
}

static int run_check(const struct hosts_args *a, char **words, size_t count)
{
    return check_or_trust(a, words, count, hosts_check);
}

static int run_trust(const struct hosts_args *a, char **words, size_t count)
{
    return check_or_trust(a, words, count, hosts_trust);
}

enum { ADD, REMOVE, LIST, IMPORT, CHECK, TRUST, WORDS };

static const struct {
    const char *word;
    int (*run)(const struct hosts_args *a, char **words, size_t count);
    size_t least, most; /* operands */
    const char *want;
} verbs[WORDS] = {
    [ADD] = { "add", hosts_add, 1, SIZE_MAX, "which hosts? Names as ssh knows them" },
    [REMOVE] = { "remove", hosts_remove, 1, SIZE_MAX, "which nodes? hive hosts list shows them" },
    [LIST] = { "list", hosts_list, 0, 0, "list takes no names" },
    [IMPORT] = { "import", hosts_import, 1, 1, "one file, with a host in each line" },
    [CHECK] = { "check", run_check, 1, SIZE_MAX, "which hosts? Names as ssh knows them" },
    [TRUST] = { "trust", run_trust, 1, SIZE_MAX, "which hosts? Names as ssh knows them" },
};

/* NULL, or an option that was given and isn't for this word, with whose it is. */
static const char *misplaced(const struct hosts_args *a, int verb)
{
    if (a->ask && verb != CHECK)
        return "--ask is for check";
    if ((a->yes || a->replace) && verb != TRUST)
        return a->yes ? "--yes is for trust" : "--replace is for trust";
    if (a->name && verb != ADD)
        return "--name is for add";
    if ((a->any || a->threads || a->memory || a->no_wait) && verb != ADD && verb != IMPORT)
        return a->any       ? "--any is for add"
               : a->threads ? "--threads is for add"
               : a->memory  ? "--memory is for add"
                            : "--no-wait is for add";
    return NULL;
}

static int find_verb(const struct cmd *cmd, const char *word, int *code)
{
    const char *words[WORDS + 1] = { NULL }, *near;

    for (int i = 0; i < WORDS; i++) {
        if (str_eq(word, verbs[i].word))
            return i;
        words[i] = verbs[i].word;
    }
    near = str_did_you_mean(word, words);
    if (near)
        *code = cmd_usage(cmd, "there is no '%s'; did you mean %s?", word, near);
    else
        *code = cmd_usage(cmd, "there is no '%s', only add, remove, list, import, check and trust",
                          word);
    return -1;
}

static int run(const struct cmd *cmd, int argc, char **argv)
{
    struct hosts_args a = { .timeout_ns = -1 };
    int first, code, verb;
    const char *wrong;
    size_t count;

    if (!cmd_parse(cmd, &a, argc, argv, &first, NULL, &code))
        return code;
    if (first == argc)
        return cmd_usage(cmd, "add, remove, list, import, check or trust?");
    if ((verb = find_verb(cmd, argv[first++], &code)) < 0)
        return code;
    count = (size_t)(argc - first);
    if (count < verbs[verb].least || count > verbs[verb].most)
        return cmd_usage(cmd, "%s", verbs[verb].want);
    if (a.timeout_ns >= 0 && a.timeout_ns < NS_PER_MS)
        return cmd_usage(cmd, "--timeout has to be longer");
    if ((wrong = misplaced(&a, verb)) != NULL)
        return cmd_usage(cmd, "%s", wrong);
    if (a.name && count > 1)
        return cmd_usage(cmd, "--name is for one host");
    return verbs[verb].run(&a, argv + first, count);
}

static const char *const synopsis[] = {
    "add [-n NAME] [--any] [-t N] [-m SIZE] [--timeout TIME] HOST…",
    "remove NAME…",
    "list [--json]",
    "import [--any] [-t N] [-m SIZE] [--timeout TIME] FILE",
    "check [--timeout TIME] [--ask] [--json] HOST…",
    "trust [--timeout TIME] [-y] [--replace] [--json] HOST…",
    NULL,
};

static const struct cmd_example examples[] = {
    { "hive hosts add big.local", "make it a node; nothing needs to be installed there" },
    { "hive hosts list", "which are nodes, and what is in the way of others" },
    { "hive hosts check build1 build2", "can they be reached, and may you run commands there?" },
    { "hive hosts trust build1", "look at its key, and put it into ~/.ssh/known_hosts" },
    { "hive hosts trust --replace ann@build1:2222", "it was installed anew and has another key" },
    { NULL, NULL },
};

const struct cmd cmd_hosts = {
    .name = "hosts",
    .group = CMD_GROUP_MACHINES,
    .summary = "make hosts you can ssh into nodes; check and trust them",
    .synopsis = synopsis,
    .description =
        "A HOST is a name as ssh knows it, USER@HOST, USER@HOST:PORT or ssh://USER@HOST:PORT. What "
        "~/.ssh/config and /etc/ssh/ssh_config say about it holds here too.\n\n"
        "add makes a host a node: the daemon connects to it, copies hive there (into "
        "~/.cache/hive), and runs jobs on it. Waits until it is up; a host that can't be reached "
        "stays added, and is tried again. A job gets there only with --node, because its folders "
        "are not those of this machine; where the folder it was submitted in doesn't exist there, "
        "it runs in the home folder. A host with --any takes all jobs. Output is copied back while "
        "it comes, so that hive logs shows it.\n\n"
        "remove takes what was copied away again. It is refused while jobs run there. list shows "
        "the hosts, and what is in the way of those that are not up. import adds the hosts of a "
        "file with one in each line, like Beowulf's ~/.beowulf/hosts.\n\n"
        "check goes all the way: configuration, name, connection, host key, login with your keys, "
        "and a command that does nothing. STATE is ok, or the step that failed: config, lookup, "
        "connect, handshake, host-key, login or command; what went wrong and what to do about it "
        "follows. Keys with a passphrase are used if an agent has them, or with --ask. The exit "
        "code is 0 when all hosts are ok, else 1.\n\n"
        "trust connects, shows the key that the host proves to own, and asks whether to trust it; "
        "compare the fingerprint with what the host's owner says, or with what "
        "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub prints there. The key then stands in "
        "your known_hosts file, for ssh too. Where another key is known, somebody may have put a "
        "machine of their own in between: it is replaced with --replace only. A revoked key is "
        "never trusted.",
    .options = options,
    .examples = examples,
    .operands = "=add remove list import check trust",
    .run = run,
};
