/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "cmd/cmd.h"

#include "base/buf.h"
#include "base/conf.h"
#include "base/fs.h"
#include "base/jsonx.h"
#include "base/limits.h"
#include "base/str.h"
#include "cmd/later.h"
#include "cmd/table.h"

#include <stddef.h>
#include <sys/stat.h>

struct args {
    bool json, unset, for_all;
};

static const struct opt options[] = {
    { 0, "unset", OPT_FLAG, NULL, "remove KEY from the file: its default holds again",
      .dest = offsetof(struct args, unset) },
    { 0, "system", OPT_FLAG, NULL, "write /etc/hive/hive.conf instead of the user's file",
      .dest = offsetof(struct args, for_all) },
    { 0, "json", OPT_FLAG, NULL, "print JSON", .dest = offsetof(struct args, json) },
    OPT_END,
};

static void put_setting(struct jsonw *w, const struct conf *c, enum conf_key key)
{
    const struct conf_setting *s = conf_setting(key);
    jsonw_obj_open(w, NULL);
    jsonw_str(w, "key", s->key);
    jsonw_str(w, "value", conf_str(c, key));
    jsonw_str(w, "default", s->def);
    jsonw_str(w, "source", conf_source_name(conf_source(c, key)));
    jsonw_str(w, "help", s->help);
    jsonw_obj_close(w);
}

/* All settings, or `only` if that is a key. */
static void print_json(const struct conf *c, int only)
{
    struct buf b = BUF_INIT;
    struct jsonw w;
    jsonw_init(&w, &b);
    jsonw_obj_open(&w, NULL);
    jsonw_int(&w, "api", 1);
    jsonw_arr_open(&w, "settings");
    for (int key = 0; key < CONF_KEY_COUNT; key++)
        if (only < 0 || key == only)
            put_setting(&w, c, (enum conf_key)key);
    jsonw_arr_close(&w);
    jsonw_obj_close(&w);
    buf_append_char(&b, '\n');
    cmd_out(&b);
    buf_fini(&b);
}

static void print_table(const struct conf *c)
{
    static const struct table_column columns[] = {
        { .title = "KEY" },
        { .title = "VALUE", .min = 8 },
        { .title = "FROM", .min = 8 },
    };
    struct buf b = BUF_INIT;
    struct table t;
    table_init(&t, columns, ARRAY_LEN(columns));
    for (int i = 0; i < CONF_KEY_COUNT; i++) {
        enum conf_key key = (enum conf_key)i;
        bool set = conf_source(c, key) != CONF_FROM_DEFAULT;
        table_add_colored(&t, conf_setting(key)->key, set ? TABLE_BOLD : TABLE_PLAIN);
        table_add(&t, conf_str(c, key));
        table_add(&t, conf_source_name(conf_source(c, key)));
    }
    table_print(&t, &b, 0, cmd_width_limited() ? cmd_width() : 0, cmd_color());
    table_fini(&t);
    cmd_out(&b);
    buf_fini(&b);
}

static int unknown_key(const char *name)
{
    struct err err = ERR_INIT;
    const char *near = conf_near(name);
    if (later_has("config", name)) {
        later_err(&err, "config import");
        return cmd_fail(&err);
    }
    err_set(&err, ERR_USAGE, "config: there is no setting '%s'", name);
    if (near)
        err_hint(&err, "did you mean %s?", near);
    else
        err_hint(&err, "all settings: hive config");
    return cmd_fail(&err);
}

/* The folder of a file, made if missing. */
static int make_parent(const char *path, struct err *err)
{
    const char *slash = strrchr(path, '/');
    char *dir = mem_strndup(path, slash ? (size_t)(slash - path) : 0);
    int rc = dir[0] ? fs_mkdir_p(dir, 0755, err) : 0;
    free(dir);
    return rc;
}

/* A file that is a symbolic link stays one: what it points to is replaced. */
static char *real_path(char *path)
{
    char *target = realpath(path, NULL);
    if (!target)
        return path;
    free(path);
    return target;
}

static int edit_file(const char *path, const char *key, const char *value, struct err *err)
{
    struct buf old = BUF_INIT, new = BUF_INIT;
    struct stat st;
    mode_t mode = stat(path, &st) == 0 ? st.st_mode & 0777 : 0644;
    int rc = fs_read_file(path, LIMIT_CONFIG_FILE, &old, err);
    if (rc != 0 && err->kind == ERR_NOT_FOUND) {
        err_clear(err);
        rc = make_parent(path, err);
    }
    if (rc == 0)
        rc = conf_edit(buf_data(&old), buf_len(&old), key, value, &new, err);
    if (rc == 0)
        rc = fs_write_file(path, buf_data(&new), buf_len(&new), mode, true, err);
    buf_fini(&old);
    buf_fini(&new);
    return rc;
}

/* After the change: does something else win over it? */
static void warn_if_hidden(int key, bool for_all)
{
    struct conf *c = cmd_conf();
    enum conf_source source = conf_source(c, (enum conf_key)key);
    if (source == CONF_FROM_ENV || (for_all && source == CONF_FROM_USER))
        cmd_msg("warning: here %s comes from: %s, which wins over the file",
                conf_setting((enum conf_key)key)->key, conf_source_name(source));
}

static int change(int key, const char *value, const struct args *a)
{
    struct err err = ERR_INIT;
    const char *name = conf_setting((enum conf_key)key)->key;
    struct conf *scratch = conf_create();
    int rc = value ? conf_set(scratch, (enum conf_key)key, value, CONF_FROM_USER, &err) : 0;
    conf_destroy(scratch);
    if (rc != 0)
        return cmd_fail(&err);
    char *path = a->for_all ? fs_system_config() : fs_user_config();
    if (path[0] == '\0') {
        free(path);
        return cmd_fail(
            (err_set(&err, ERR_USAGE, "--system can't be used while HIVE_CONFIG is set"), &err));
    }
    path = real_path(path);
    rc = edit_file(path, name, value, &err);
    if (rc == 0) {
        cmd_msg("%s is %s %s; a running daemon takes it at its next start", name,
                value ? "set in" : "removed from", path);
        warn_if_hidden(key, a->for_all);
    } else {
        cmd_fail(&err);
    }
    free(path);
    return rc == 0 ? CMD_OK : err_exit_code(err.kind);
}

static int show_one(int key, bool json)
{
    struct buf b = BUF_INIT;
    struct conf *c = cmd_conf();
    if (json) {
        print_json(c, key);
        return CMD_OK;
    }
    buf_printf(&b, "%s\n", conf_str(c, (enum conf_key)key));
    cmd_out(&b);
    buf_fini(&b);
    return CMD_OK;
}

/* The command has no short options, so that one dash begins a value. */
static bool is_value(const char *key, const char *word)
{
    return conf_find(key) >= 0 && word[0] == '-' && word[1] != '\0' && word[1] != '-';
}

static int set_value(const struct cmd *cmd, int argc, char **argv)
{
    struct args a = { .json = false };
    int first, code;

    if (!cmd_parse(cmd, &a, argc - 1, argv, &first, NULL, &code))
        return code;
    if (a.unset || a.json || argc - 1 - first != 1)
        return cmd_usage(cmd, "one key and one value, and no option but --system with them");
    return change(conf_find(argv[first]), argv[argc - 1], &a);
}

static int run(const struct cmd *cmd, int argc, char **argv)
{
    struct args a = { .json = false };
    int first, code, key;

    if (argc > 2 && is_value(argv[argc - 2], argv[argc - 1]))
        return set_value(cmd, argc, argv);
    if (!cmd_parse(cmd, &a, argc, argv, &first, NULL, &code))
        return code;
    int count = argc - first;
    if (count > 2)
        return cmd_usage(cmd, "one key and one value at most; quote a value with blanks in it");
    if (a.unset && count != 1)
        return cmd_usage(cmd, "--unset needs one key and no value");
    if (a.for_all && count < 2 && !a.unset)
        return cmd_usage(cmd, "--system is for setting or removing a key");
    if (count == 0) {
        if (a.json)
            print_json(cmd_conf(), -1);
        else
            print_table(cmd_conf());
        return CMD_OK;
    }
    key = conf_find(argv[first]);
    if (key < 0)
        return unknown_key(argv[first]);
    if (count == 2 || a.unset)
        return change(key, count == 2 ? argv[first + 1] : NULL, &a);
    return show_one(key, a.json);
}

static const char *const synopsis[] = {
    "[--json]", "[--json] KEY", "[--system] KEY VALUE", "[--system] --unset KEY", NULL,
};

static const struct cmd_example examples[] = {
    { "hive config", "all settings, with where each comes from" },
    { "hive config daemon.listen", "one value" },
    { "hive config jobs.default-timeout 12h", "set it in the user's hive.conf" },
    { NULL, NULL },
};

const struct cmd cmd_config = {
    .name = "config",
    .group = CMD_GROUP_SETUP,
    .summary = "show and change settings",
    .synopsis = synopsis,
    .description = "Settings come from, first to last: options of a command, the environment "
                   "(HIVE_DAEMON_LISTEN for "
                   "daemon.listen), the user's hive.conf, /etc/hive/hive.conf, the default.\n\n"
                   "Setting a key checks the value and changes only its line in the file: comments "
                   "and order stay. "
                   "What the keys mean: hive help config.",
    .options = options,
    .examples = examples,
    .operands = "setting",
    .run = run,
};
