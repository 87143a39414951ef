/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/buf.h"
#include "base/clock.h"
#include "base/conf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/str.h"
#include "unit/unit.h"

static const char *write_conf(const char *text, size_t len)
{
    static char path[512];
    struct err err = ERR_INIT;

    snprintf(path, sizeof path, "%s/hive.conf", unit_tmpdir());
    CHECK_OK(fs_write_file(path, text, len, 0600, false, &err), &err);
    return path;
}

/* Every row makes sense in itself: the default is valid, the key is section.name, help is there. */
TEST(table)
{
    struct conf *c = conf_create();

    for (int i = 0; i < CONF_KEY_COUNT; i++) {
        enum conf_key key = (enum conf_key)i;
        const struct conf_setting *s = conf_setting(key);
        struct err err = ERR_INIT;
        if (conf_set(c, key, s->def, CONF_FROM_DEFAULT, &err) != 0)
            unit_fail(__FILE__, __LINE__, "default of %s: %s", s->key, err.msg);
        CHECK_INT(conf_find(s->key), i);
        CHECK(strchr(s->key, '.') && strlen(s->help) > 10);
        CHECK_INT(s->words != NULL, s->type == CONF_ENUM);
        CHECK(s->type == CONF_STR || s->type == CONF_ENUM || s->type == CONF_BOOL ||
              s->type == CONF_PATH || s->max > s->min);
        CHECK_STR(conf_str(c, key), s->def);
        CHECK_INT(conf_source(c, key), CONF_FROM_DEFAULT);
    }
    CHECK_INT(conf_find("no.such"), -1);
    conf_destroy(c);
    conf_destroy(NULL);
}

TEST(set_and_get)
{
    struct conf *c = conf_create();
    struct err err = ERR_INIT;

    CHECK_OK(conf_set(c, CONF_daemon_threads, "16", CONF_FROM_USER, &err), &err);
    CHECK_INT(conf_int(c, CONF_daemon_threads), 16);
    CHECK_STR(conf_str(c, CONF_daemon_threads), "16");
    CHECK_INT(conf_source(c, CONF_daemon_threads), CONF_FROM_USER);
    CHECK_STR(conf_source_name(CONF_FROM_USER), "user file");
    CHECK_OK(conf_set(c, CONF_daemon_memory, "8G", CONF_FROM_USER, &err), &err);
    CHECK_INT(conf_int(c, CONF_daemon_memory), INT64_C(8) << 30);
    CHECK_OK(conf_set(c, CONF_jobs_default_timeout, "1h", CONF_FROM_USER, &err), &err);
    CHECK_INT(conf_int(c, CONF_jobs_default_timeout), 3600 * NS_PER_S);
    CHECK_OK(conf_set(c, CONF_ui_color, "never", CONF_FROM_FLAG, &err), &err);
    CHECK_STR(conf_str(c, CONF_ui_color), "never");
    CHECK(!conf_bool(c, CONF_jobs_kill_grace));
    /* The flag stays, whatever is read later; a bad value is bad all the same. */
    CHECK_OK(conf_set(c, CONF_ui_color, "auto", CONF_FROM_ENV, &err), &err);
    CHECK_STR(conf_str(c, CONF_ui_color), "never");
    CHECK_INT(conf_set(c, CONF_ui_color, "blue", CONF_FROM_ENV, &err), -1);
    conf_destroy(c);
}

static void check_refused(enum conf_key key, const char *value, const char *msg)
{
    struct conf *c = conf_create();
    struct err err = ERR_INIT;

    CHECK_INT(conf_set(c, key, value, CONF_FROM_FLAG, &err), -1);
    CHECK_INT(err.kind, ERR_INVALID);
    CHECK_STR(err.msg, msg);
    CHECK_STR(conf_str(c, key), conf_setting(key)->def);
    CHECK_INT(conf_source(c, key), CONF_FROM_DEFAULT);
    conf_destroy(c);
}

TEST(bad_values)
{
    check_refused(CONF_daemon_threads, "many",
                  "daemon.threads must be a whole number from 0 to 65536, not 'many'");
    check_refused(CONF_daemon_role, "king",
                  "daemon.role must be one of standalone, head, worker, not 'king'");
    check_refused(CONF_daemon_role, "stand",
                  "daemon.role must be one of standalone, head, worker, not 'stand'");
    check_refused(CONF_daemon_role, "",
                  "daemon.role must be one of standalone, head, worker, not ''");
    check_refused(CONF_daemon_role, "head|worker",
                  "daemon.role must be one of standalone, head, worker, not 'head|worker'");
    check_refused(CONF_daemon_memory, "8", "daemon.memory: the size '8' has no unit");
    check_refused(CONF_jobs_kill_grace, "2h", "jobs.kill-grace must be at most 1h, not '2h'");
    check_refused(CONF_jobs_fair_share_half_life, "10ms",
                  "jobs.fair-share-half-life must be at least 1s, not '10ms'");
    check_refused(CONF_daemon_listen, "a\nb",
                  "daemon.listen must be text without control characters, not 'a\\nb'");
    check_refused(CONF_daemon_listen, "\xff", "daemon.listen must be valid UTF-8, not '\\xff'");
}

TEST(file)
{
    static const char text[] = "\xef\xbb\xbf# a comment\n"
                               "; another\r\n"
                               "[daemon]\r\n"
                               "listen = 127.0.0.1:9090\r\n"
                               "\tthreads=8\n"
                               "node-name: \"  spaced ; # name \"\n"
                               "hosts = a b ; c # d\n"
                               "  [ui]\n"
                               "color = never\n"
                               "color = always";
    struct conf *c = conf_create();
    struct buf warnings = BUF_INIT;
    struct err err = ERR_INIT;

    CHECK_OK(conf_load_file(c, write_conf(text, strlen(text)), CONF_FROM_USER, &warnings, &err),
             &err);
    CHECK_STR(buf_data(&warnings), "");
    CHECK_STR(conf_str(c, CONF_daemon_listen), "127.0.0.1:9090");
    CHECK_INT(conf_int(c, CONF_daemon_threads), 8);
    CHECK_STR(conf_str(c, CONF_daemon_node_name), "  spaced ; # name ");
    CHECK_STR(conf_str(c, CONF_daemon_hosts), "a b ; c # d");
    CHECK_STR(conf_str(c, CONF_ui_color), "always");
    CHECK_INT(conf_source(c, CONF_ui_color), CONF_FROM_USER);
    conf_destroy(c);
    buf_fini(&warnings);
}

TEST(near_is_what_has_nearly_the_same_name)
{
    CHECK_STR(conf_near("daemon.thrads"), "daemon.threads");
    CHECK_STR(conf_near("deamon.listen"), "daemon.listen");
    CHECK_STR(conf_near("jobs.back"), "jobs.backfill-window");
    CHECK_STR(conf_near("ui.colour"), "ui.color");
    CHECK(!conf_near("daemon.foo")); /* three letters from daemon.role */
    CHECK(!conf_near("daemon.x"));
    CHECK(!conf_near("stray"));
    CHECK(!conf_near(""));
}

TEST(warnings_name_file_and_line)
{
    static const char text[] = "stray = 1\n"
                               "[deamon]\n"
                               "listen = x\n"
                               "[daemon]\n"
                               "threads = many\n"
                               "listen\n"
                               "thraeds = 4\n"
                               "[ui\n"
                               "color = never\n"
                               "[]\n"
                               "color = never\n"
                               "[daemon]\n"
                               "log-level = debug\n"
                               "evil\x1b[31m = 1\n"
                               "foo = 1\n"
                               "no \x1bline\n";
    struct conf *c = conf_create();
    struct buf warnings = BUF_INIT, want = BUF_INIT;
    struct err err = ERR_INIT;
    const char *f = write_conf(text, strlen(text));

    CHECK_OK(conf_load_file(c, f, CONF_FROM_USER, &warnings, &err), &err);
    buf_printf(&want, "%s:8: a section is written [name]\n", f);
    buf_printf(&want, "%s:10: a section is written [name]\n", f);
    buf_printf(&want, "%s:1: unknown key 'stray'\n", f);
    buf_printf(&want, "%s:3: unknown key 'deamon.listen', did you mean 'daemon.listen'?\n", f);
    buf_printf(&want, "%s:5: daemon.threads must be a whole number from 0 to 65536, not 'many'\n",
               f);
    buf_printf(&want, "%s:6: daemon.listen has no value: write listen = VALUE\n", f);
    buf_printf(&want, "%s:7: unknown key 'daemon.thraeds', did you mean 'daemon.threads'?\n", f);
    buf_printf(&want, "%s:14: unknown key 'daemon.evil\\e[31m'\n", f);
    buf_printf(&want, "%s:15: unknown key 'daemon.foo'\n", f);
    buf_printf(&want, "%s:16: expected key = value, not 'no \\eline'\n", f);
    CHECK_STR(buf_data(&warnings), buf_data(&want));
    CHECK_STR(conf_str(c, CONF_ui_color), "auto");
    CHECK_STR(conf_str(c, CONF_daemon_log_level), "debug");
    CHECK_INT(conf_int(c, CONF_daemon_threads), 0);
    /* Without a place for warnings, too. */
    CHECK_OK(conf_load_file(c, f, CONF_FROM_USER, NULL, &err), &err);
    conf_destroy(c);
    buf_fini(&warnings);
    buf_fini(&want);
}

TEST(hostile_files)
{
    struct conf *c = conf_create();
    struct buf text = BUF_INIT, warnings = BUF_INIT;
    struct err err = ERR_INIT;

    CHECK_INT(conf_load_file(c, write_conf("a\0b", 3), CONF_FROM_USER, NULL, &err), -1);
    CHECK_INT(err.kind, ERR_INVALID);
    CHECK(strstr(err.msg, "hive.conf: not a text file"));
    CHECK_INT(conf_load_file(c, "/no/such/file", CONF_FROM_USER, NULL, &err), -1);
    CHECK_INT(err.kind, ERR_NOT_FOUND);
    buf_printf(&text, "[daemon]\nlisten = %*s\nthreads = 4\n", LIMIT_CONFIG_LINE, "x");
    const char *f = write_conf(buf_data(&text), buf_len(&text));
    CHECK_OK(conf_load_file(c, f, CONF_FROM_USER, &warnings, &err), &err);
    CHECK(str_ends(buf_data(&warnings), ":2: the line is too long\n"));
    CHECK_INT(conf_int(c, CONF_daemon_threads), 4);
    memset(buf_reserve(&text, LIMIT_CONFIG_FILE), '\n', LIMIT_CONFIG_FILE);
    buf_added(&text, LIMIT_CONFIG_FILE);
    f = write_conf(buf_data(&text), buf_len(&text));
    CHECK_INT(conf_load_file(c, f, CONF_FROM_USER, NULL, &err), -1);
    CHECK_INT(err.kind, ERR_TOO_LARGE);
    conf_destroy(c);
    buf_fini(&text);
    buf_fini(&warnings);
}

TEST(order_of_sources)
{
    struct conf *c = conf_create();
    struct err err = ERR_INIT;
    static const char text[] = "[daemon]\nlog-level = error\nnode-name = file\nthreads = 2\n";

    clearenv();
    setenv("HIVE_CONFIG", write_conf(text, strlen(text)), 1);
    setenv("HIVE_DAEMON_LOG_LEVEL", "debug", 1);
    setenv("HIVE_DAEMON_THREADS", "3", 1);
    CHECK_OK(conf_set(c, CONF_daemon_threads, "4", CONF_FROM_FLAG, &err), &err);
    CHECK_OK(conf_load(c, NULL, &err), &err);
    CHECK_STR(conf_str(c, CONF_daemon_node_name), "file");
    CHECK_STR(conf_str(c, CONF_daemon_log_level), "debug");
    CHECK_INT(conf_source(c, CONF_daemon_log_level), CONF_FROM_ENV);
    CHECK_INT(conf_int(c, CONF_daemon_threads), 4);
    CHECK_STR(conf_str(c, CONF_daemon_role), "standalone");
    setenv("HIVE_DAEMON_ROLE", "king", 1);
    CHECK_INT(conf_load(c, NULL, &err), -1);
    CHECK_STR(err.msg, "environment variable HIVE_DAEMON_ROLE: "
                       "daemon.role must be one of standalone, head, worker, not 'king'");
    unsetenv("HIVE_DAEMON_ROLE");
    setenv("HIVE_CONFIG", "/no/such/file", 1);
    CHECK_OK(conf_load(c, NULL, &err), &err);
    setenv("HIVE_CONFIG", unit_tmpdir(), 1); /* a folder: there, but can't be read */
    CHECK_INT(conf_load(c, NULL, &err), -1);
    CHECK_INT(conf_load(c, NULL, NULL), -1);
    conf_destroy(c);
}

static void check_edit(const char *text, const char *key, const char *value, const char *want)
{
    struct err err = ERR_INIT;
    struct buf out = BUF_INIT;

    buf_append_str(&out, ">");
    CHECK_OK(conf_edit(text, strlen(text), key, value, &out, &err), &err);
    CHECK_STR(buf_data(&out) + 1, want);
    buf_fini(&out);
}

TEST(edit_replaces)
{
    check_edit("[a]\nx = 1\ny = 2\n", "a.x", "9", "[a]\nx = 9\ny = 2\n");
    check_edit("[a]\n\t x=1", "a.x", "9", "[a]\n\t x=9");
    check_edit("[a]\r\nx = 1\r\n", "a.x", "9", "[a]\r\nx = 9\r\n");
    check_edit("[a]\nx: 1\n", "a.x", "9", "[a]\nx: 9\n");
    check_edit("[a]\nx\ny = 1\n", "a.x", "9", "[a]\nx = 9\ny = 1\n");
    check_edit("[a]\nx =\n", "a.x", "9", "[a]\nx =9\n");
    check_edit("[a]\nx = 1\n", "a.x", "", "[a]\nx = \n");
    check_edit("[b]\nx = 1\n[a]\nx = 1\n[b]\nx = 2\n", "a.x", "9",
               "[b]\nx = 1\n[a]\nx = 9\n[b]\nx = 2\n");
    /* The last one counts when reading. */
    check_edit("[a]\nx = 1\nx = 2\n[a]\nx = 3\n", "a.x", "9", "[a]\nx = 1\nx = 2\n[a]\nx = 9\n");
    /* A commented line is no setting. */
    check_edit("[a]\n#x = 1\nx = 2 # no comment\n", "a.x", "9", "[a]\n#x = 1\nx = 9\n");
    check_edit("\xef\xbb\xbf[a]\nx = 1\n", "a.x", "9", "\xef\xbb\xbf[a]\nx = 9\n");
    check_edit("[a]\nx = 1\n", "a.x", " b ", "[a]\nx = \" b \"\n");
    check_edit("[a]\nx = 1\n", "a.x", "\"b\"", "[a]\nx = \"\"b\"\"\n");
    check_edit("[a]\nx = 1\n", "a.x", "b ; c # d = e", "[a]\nx = b ; c # d = e\n");
    check_edit("[a.b]\nx = 1\n", "a.b.x", "2", "[a.b]\nx = 2\n");
}

TEST(edit_adds)
{
    check_edit("", "a.x", "9", "[a]\nx = 9\n");
    check_edit("# top", "a.x", "9", "# top\n\n[a]\nx = 9\n");
    check_edit("[b]\ny = 1\n", "a.x", "9", "[b]\ny = 1\n\n[a]\nx = 9\n");
    check_edit("[b]\r\ny = 1", "a.x", "9", "[b]\r\ny = 1\r\n\r\n[a]\r\nx = 9\r\n");
    check_edit("[a]\ny = 1\n\n[b]\nz = 1\n", "a.x", "9", "[a]\ny = 1\nx = 9\n\n[b]\nz = 1\n");
    check_edit("[a]\ny = 1", "a.x", "9", "[a]\ny = 1\nx = 9\n");
    check_edit("[a]", "a.x", "9", "[a]\nx = 9\n");
    check_edit("[a]\n\n# about b\n[b]\n", "a.x", "9", "[a]\nx = 9\n\n# about b\n[b]\n");
    check_edit("[a]\n# x = 1\n\n[b]\n", "a.x", "9", "[a]\n# x = 1\nx = 9\n\n[b]\n");
    check_edit("[a]\n# last", "a.x", "9", "[a]\n# last\nx = 9\n");
    check_edit("[a]\ny = 1\n[b]\n[a]\nz = 1\n[c]\n", "a.x", "9",
               "[a]\ny = 1\n[b]\n[a]\nz = 1\nx = 9\n[c]\n");
    check_edit("\xef\xbb\xbf", "a.x", "9", "\xef\xbb\xbf[a]\nx = 9\n");
    check_edit("[a\nx = 1\n", "a.x", "9", "[a\nx = 1\n\n[a]\nx = 9\n");
}

TEST(edit_removes)
{
    check_edit("[a]\nx = 1\ny = 2\n", "a.x", NULL, "[a]\ny = 2\n");
    check_edit("[a]\nx = 1\n# c\n[b]\nx = 1\n[a]\n x=2", "a.x", NULL,
               "[a]\n# c\n[b]\nx = 1\n[a]\n");
    check_edit("[a]\ny = 1", "a.x", NULL, "[a]\ny = 1");
    check_edit("", "a.x", NULL, "");
    check_edit("\xef\xbb\xbf[a]\r\nx = 1\r\n", "a.x", NULL, "\xef\xbb\xbf[a]\r\n");
}

TEST(edit_refuses)
{
    static const char *const bad_keys[] = { "x", ".x", "a.", "a b.x", "A.x", "a].x", "a=.x", "" };
    struct err err = ERR_INIT;
    struct buf out = BUF_INIT;
    char big[LIMIT_CONFIG_LINE + 1];

    buf_append_str(&out, "kept");
    for (size_t i = 0; i < ARRAY_LEN(bad_keys); i++) {
        CHECK_INT(conf_edit("", 0, bad_keys[i], "1", &out, &err), -1);
        CHECK_INT(err.kind, ERR_INVALID);
    }
    CHECK_INT(conf_edit("", 0, "a.x", "1\n[b]", &out, &err), -1);
    memset(big, 'x', sizeof big);
    big[sizeof big - 1] = '\0';
    CHECK_INT(conf_edit("", 0, "a.x", big, &out, &err), -1);
    CHECK_INT(conf_edit("a\0b", 3, "a.x", "1", &out, &err), -1);
    CHECK_STR(err.msg, "not a text file: it has NUL bytes");
    /* Not even when the line to be removed is the one with the NUL. */
    CHECK_INT(conf_edit("[a]\nx=\0\n", 8, "a.x", NULL, &out, &err), -1);
    CHECK_STR(buf_data(&out), "kept");
    buf_fini(&out);
}
