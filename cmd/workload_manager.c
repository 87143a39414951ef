/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "cmd/cmd.h"
#include "cmd/workload_manager.h"

#include "base/buf.h"
#include "base/conf.h"
#include "base/fs.h"
#include "base/jsonx.h"
#include "base/limits.h"
#include "base/str.h"
#include "cmd/daemon.h"

#include <inttypes.h>
#include <stddef.h>

static const char *const known_keys[] = {
    "role", "listen_port", "max_threads", "head_node_address", "worker_nodes", NULL,
};

struct file {
    const char *path, *text;
    size_t len;
    yyjson_val *root;
    struct buf *warnings;
    struct err *err;
};

/* The line a key stands in: the parser keeps no positions, but a key is found again as a string
 * before a colon. */
static unsigned line_of(const struct file *f, const char *key)
{
    char *quoted = mem_printf("\"%s\"", key);
    size_t n = strlen(quoted);
    const char *end = f->text + f->len, *hit = NULL;
    for (const char *p = f->text; (p = memmem(p, (size_t)(end - p), quoted, n)) != NULL; p += n) {
        const char *q = p + n;
        while (q < end && (*q == ' ' || *q == '\t' || *q == '\r' || *q == '\n'))
            q++;
        if (q < end && *q == ':') {
            hit = p;
            break;
        }
    }
    free(quoted);
    unsigned line = 1;
    for (const char *p = f->text; hit && p < hit; p++)
        line += *p == '\n';
    return line;
}

static int at(const struct file *f, const char *key)
{
    return err_prefix(f->err, "%s:%u", f->path, line_of(f, key));
}

static void warn(const struct file *f, const char *key, const char *text)
{
    buf_printf(f->warnings, "%s:%u: %s\n", f->path, line_of(f, key), text);
}

static void warn_unknown(const struct file *f)
{
    yyjson_obj_iter it = yyjson_obj_iter_with(f->root);
    for (yyjson_val *k; (k = yyjson_obj_iter_next(&it)) != NULL;) {
        const char *key = yyjson_get_str(k);
        bool known = false;
        for (size_t i = 0; known_keys[i] && !known; i++)
            known = str_eq(key, known_keys[i]);
        if (known)
            continue;
        const char *near = str_did_you_mean(key, known_keys);
        char *safe = str_safe(key);
        char *text = near ? mem_printf("unknown key '%s', did you mean '%s'?", safe, near)
                          : mem_printf("unknown key '%s' is ignored", safe);
        warn(f, key, text);
        free(text);
        free(safe);
    }
}

/* Readers disagree on which of two equal keys counts. */
static int check_twice(const struct file *f)
{
    for (size_t i = 0; known_keys[i]; i++) {
        unsigned count = 0;
        yyjson_obj_iter it = yyjson_obj_iter_with(f->root);
        for (yyjson_val *k; (k = yyjson_obj_iter_next(&it)) != NULL;)
            count += str_eq(yyjson_get_str(k), known_keys[i]);
        if (count > 1) {
            err_set(f->err, ERR_INVALID, "%s is given twice", known_keys[i]);
            return at(f, known_keys[i]);
        }
    }
    return 0;
}

static int read_role(const struct file *f)
{
    static const char *const roles[] = { "head", "worker", "standalone", NULL };
    const char *role = "standalone";
    if (jsonx_get_str(f->root, "", "role", 64, &role, f->err) < 0)
        return at(f, "role");
    if (str_eq(role, "standalone"))
        return 0;
    if (str_eq(role, "head") || str_eq(role, "worker")) {
        err_set(f->err, ERR_UNPROCESS,
                "role \"%s\" is not in this version of hive, which runs standalone only", role);
        err_hint(f->err,
                 "write \"role\": \"standalone\": it queues jobs and runs them on this machine");
        return at(f, "role");
    }
    const char *near = str_did_you_mean(role, roles);
    char *safe = str_safe(role);
    err_set(f->err, ERR_INVALID,
            "role: expected \"standalone\", \"head\" or \"worker\", not \"%s\"", safe);
    if (near)
        err_hint(f->err, "did you mean \"%s\"?", near);
    free(safe);
    return at(f, "role");
}

/* The Go manager listened on every address; hive serves only this machine without TLS and a
 * token. */
static int read_port(const struct file *f, struct conf *conf)
{
    int64_t port = 8080;
    if (jsonx_get_int(f->root, "", "listen_port", 0, 65535, &port, f->err) < 0)
        return at(f, "listen_port");
    char *listen = mem_printf("127.0.0.1:%" PRId64, port);
    int rc = conf_set(conf, CONF_daemon_listen, listen, CONF_FROM_FLAG, f->err);
    free(listen);
    return rc == 0 ? 0 : at(f, "listen_port");
}

static int read_threads(const struct file *f, struct conf *conf)
{
    char text[24];
    int64_t threads = 0;
    int rc = jsonx_get_int(f->root, "", "max_threads", 0, LIMIT_JOB_THREADS, &threads, f->err);
    if (rc < 0)
        return at(f, "max_threads");
    snprintf(text, sizeof(text), "%" PRId64, threads);
    if (rc && conf_set(conf, CONF_daemon_threads, text, CONF_FROM_FLAG, f->err) != 0)
        return at(f, "max_threads");
    return 0;
}

/* Keys of the other roles: checked, since a typo there is a mistake too, and named as without
 * effect. */
static int read_others(const struct file *f)
{
    const char *head = "";
    yyjson_val *workers = NULL;
    if (jsonx_get_str(f->root, "", "head_node_address", 512, &head, f->err) < 0)
        return at(f, "head_node_address");
    if (head[0])
        warn(f, "head_node_address", "head_node_address has no effect for a standalone node");
    if (jsonx_get_array(f->root, "", "worker_nodes", 100000, &workers, f->err) < 0)
        return at(f, "worker_nodes");
    yyjson_arr_iter it = yyjson_arr_iter_with(workers);
    for (yyjson_val *v; (v = yyjson_arr_iter_next(&it)) != NULL;)
        if (!yyjson_is_str(v)) {
            err_set(f->err, ERR_INVALID, "worker_nodes: expected a list of strings \"ip:port\"");
            return at(f, "worker_nodes");
        }
    if (yyjson_arr_size(workers) > 0)
        warn(f, "worker_nodes", "worker_nodes has no effect for a standalone node");
    return 0;
}

static int read_values(const struct file *f, struct conf *conf)
{
    if (!yyjson_is_obj(f->root))
        return err_set(f->err, ERR_INVALID, "%s:1: expected a JSON object {…}", f->path);
    warn_unknown(f);
    if (check_twice(f) != 0 || read_role(f) != 0 || read_port(f, conf) != 0 ||
        read_threads(f, conf) != 0 || read_others(f) != 0)
        return -1;
    return conf_set(conf, CONF_daemon_role, "standalone", CONF_FROM_FLAG, f->err);
}

int workload_manager_read(struct conf *conf, const char *path, const char *text, size_t len,
                          struct buf *warnings, struct err *err)
{
    yyjson_doc *doc = jsonx_parse(text, len, err);
    if (!doc)
        return err_prefix(err, "%s", path);
    struct file f = { path, text, len, yyjson_doc_get_root(doc), warnings, err };
    int rc = read_values(&f, conf);
    yyjson_doc_free(doc);
    return rc;
}

struct args {
    const char *config;
};

static const struct opt options[] = {
    { 'c', "config", OPT_STR, "FILE", "the configuration, JSON",
      .dest = offsetof(struct args, config), .complete = "file" },
    OPT_END,
};

/* Go's flags take one dash or two. */
static void accept_one_dash(int argc, char **argv, char **owned)
{
    for (int i = 1; i < argc && !*owned; i++)
        if (str_eq(argv[i], "-config") || str_starts(argv[i], "-config="))
            argv[i] = *owned = mem_printf("-%s", argv[i]);
}

static int load(struct conf *conf, const char *path, struct err *err)
{
    struct buf text = BUF_INIT, warnings = BUF_INIT;
    int rc = fs_read_file(path, LIMIT_CONFIG_FILE, &text, err);
    if (rc == 0)
        rc = workload_manager_read(conf, path, buf_data(&text), buf_len(&text), &warnings, err);
    for (const char *p = buf_data(&warnings); *p;) {
        size_t len = strcspn(p, "\n");
        cmd_msg("warning: %.*s", (int)len, p);
        p += len + (p[len] == '\n');
    }
    buf_fini(&text);
    buf_fini(&warnings);
    return rc;
}

static int run(const struct cmd *cmd, int argc, char **argv)
{
    struct args a = { .config = NULL };
    struct err err = ERR_INIT;
    char *owned = NULL;
    int first, code;

    if (argc > 1 && (str_eq(argv[argc - 1], "-config") || str_eq(argv[argc - 1], "--config")))
        return cmd_usage(cmd, "%s needs a value: the JSON file", argv[argc - 1]);
    accept_one_dash(argc, argv, &owned);
    if (!cmd_parse(cmd, &a, argc, argv, &first, NULL, &code))
        ;
    else if (first < argc)
        code = cmd_usage(cmd, "unexpected argument '%s'", argv[first]);
    else if (!a.config)
        code = cmd_usage(cmd, "-config FILE.json is needed");
    else if (load(cmd_conf(), a.config, &err) != 0)
        code = cmd_fail(&err);
    else
        code = daemon_run(cmd_conf());
    free(owned);
    return code;
}

static const char *const synopsis[] = { "-config FILE.json", NULL };

static const struct cmd_example examples[] = {
    { "workload-manager -config standalone.json",
      "as the Go cluster workload manager was started" },
    { NULL, NULL },
};

const struct cmd cmd_workload_manager = {
    .name = "workload-manager",
    .group = CMD_GROUP_DAEMON,
    .summary = "start the daemon with the configuration of the Go manager",
    .synopsis = synopsis,
    .description =
        "Starts hive's daemon with the settings of a configuration file of the Go cluster workload "
        "manager: role, listen_port (8080), max_threads (the CPUs), head_node_address, "
        "worker_nodes. Its "
        "REST API is served under the same paths, on 127.0.0.1: other machines are not served "
        "without "
        "encryption and a token. This version runs role \"standalone\".",
    .options = options,
    .examples = examples,
    .operands = "file",
    .hidden = true,
    .seed = true,
    .run = run,
};
