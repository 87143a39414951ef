/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/hosts_file.h"

#include "unit/unit.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"

/* --- hosts ------------------------------------------------------------------------------------- */

/* Hosts as hosts_entry_format() has them, each with a blank behind it, then the warnings. */
static void check_hosts_n(const char *text, size_t len, const char *hosts, const char *warnings)
{
    struct hosts_file f;
    struct buf got = BUF_INIT, warned = BUF_INIT;
    struct err err = ERR_INIT;

    CHECK_OK(hosts_file_parse("hosts", text, len, &f, &warned, &err), &err);
    for (size_t i = 0; i < f.count; i++) {
        hosts_entry_format(&f.entries[i], &got);
        buf_append_char(&got, ' ');
    }
    CHECK_STR(buf_data(&got), hosts);
    CHECK_STR(buf_data(&warned), warnings);
    CHECK((f.bad > 0) == (*warnings != '\0'));
    hosts_file_fini(&f);
    buf_fini(&got);
    buf_fini(&warned);
}

static void check_hosts(const char *text, const char *hosts, const char *warnings)
{
    check_hosts_n(text, strlen(text), hosts, warnings);
}

TEST(hosts_as_beowulf_has_them)
{
    check_hosts("# my machines\n"
                "localhost:22\n"
                "\n"
                "host1.local\n"
                "  host2.local:2222  \n"
                "#host3.local\n",
                "localhost:22 host1.local host2.local:2222 ", "");
    check_hosts("", "", "");
    check_hosts("a", "a ", "");
    check_hosts("#", "", "");
    check_hosts("\n\n \t\n", "", "");
}

TEST(hosts_as_people_write_them)
{
    check_hosts("\xef\xbb\xbfone\r\ntwo:1\r\n", "one two:1 ", "");
    check_hosts("a # the big one\nb\t#c\n", "a b ", "");
    check_hosts("alice@a:65535\nalice.b+c@a\n", "alice@a:65535 alice.b+c@a ", "");
    check_hosts("192.168.1.2\n192.168.1.3:22\n", "192.168.1.2 192.168.1.3:22 ", "");
    check_hosts("::1\n2001:db8::1\n[2001:db8::1]:22\nfe80::1%eth0\n[::2]\nu@::3\n",
                "[::1] [2001:db8::1] [2001:db8::1]:22 [fe80::1%eth0] [::2] u@[::3] ", "");
    check_hosts("my_host\nA.B\n[c]:2\n", "my_host A.B c:2 ", "");
    /* One machine by two ports, or as two users, is two entries. */
    check_hosts("a\na:22\nb@a\n", "a a:22 b@a ", "");
}

TEST(hosts_bad_lines_are_named_and_hide_nothing)
{
    static const struct {
        const char *line, *warning;
    } rows[] = {
        { "a b", "there is more than one word; write one host or host:port a line" },
        { "a 22", "there is more than one word; write one host or host:port a line" },
        { "-oProxyCommand=x", "the host name starts with '-'; write host or host:port" },
        { "-l@a", "the user name starts with '-'; write host or host:port" },
        { "u@-oX", "the host name starts with '-'; write host or host:port" },
        { "[-a]:1", "the address starts with '-'; write host or host:port" },
        { "a;b", "the host name has a ';' in it; write host or host:port" },
        { "a$(b)", "the host name has a '$' in it; write host or host:port" },
        { "a\033[2J", "the host name has a '\\e' in it; write host or host:port" },
        { "h\xc3\xb6st", "the host name has a '\xc3\xb6' in it; write host or host:port" },
        { "h\xff", "the host name has a '\\xff' in it; write host or host:port" },
        { "a:", NULL },
        { "a:0", NULL },
        { "a:65536", NULL },
        { "a:ssh", NULL },
        { "a:+1", NULL },
        { ":22", "the host name is missing; write host or host:port" },
        { "@a", "the user name is missing; write host or host:port" },
        { "u@", "the host name is missing; write host or host:port" },
        { "[::1", "'[' without ']' or ']:PORT' behind the address; write host or host:port" },
        { "[::1]22", "'[' without ']' or ']:PORT' behind the address; write host or host:port" },
        { "[]", "the address is missing; write host or host:port" },
        { "ssh://a", NULL },
        { "[%]", "the address has a '%' in it; write host or host:port" },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf text = BUF_INIT, warned = BUF_INIT;
        struct hosts_file f;
        buf_printf(&text, "before\n%s\nafter", rows[i].line);
        CHECK_INT(hosts_file_parse("~/.beowulf/hosts", buf_data(&text), buf_len(&text), &f, &warned,
                                   NULL),
                  0);
        CHECK_INT(f.count, 2);
        CHECK_INT(f.bad, 1);
        CHECK_STR(f.entries[0].host, "before");
        CHECK_STR(f.entries[1].host, "after");
        CHECK_INT(f.entries[1].line, 3);
        CHECK(str_starts(buf_data(&warned), "~/.beowulf/hosts:2: "));
        if (rows[i].warning) {
            buf_consume(&warned, strlen("~/.beowulf/hosts:2: "));
            buf_truncate(&warned, buf_len(&warned) - 1);
            CHECK_STR(buf_data(&warned), rows[i].warning);
        }
        hosts_file_fini(&f);
        buf_fini(&text);
        buf_fini(&warned);
    }
    check_hosts("a:99999\n", "",
                "hosts:1: the port must be a whole number from 1 to 65535, not '99999'; "
                "write host or host:port\n");
    check_hosts("a\nb\nA\n", "a b ", "hosts:3: A is in line 1 already; one of them can go\n");
}

TEST(hosts_limits)
{
    struct buf text = BUF_INIT;
    struct hosts_file f;
    struct err err = ERR_INIT;

    for (int i = 0; i < HOSTS_COUNT_MAX + 200; i++)
        buf_printf(&text, "h%d\n", i);
    struct buf warned = BUF_INIT;
    CHECK_OK(hosts_file_parse("f", buf_data(&text), buf_len(&text), &f, &warned, &err), &err);
    CHECK_INT(f.count, HOSTS_COUNT_MAX);
    CHECK_INT(f.bad, 200);
    size_t lines = 0;
    for (const char *p = buf_data(&warned); (p = strchr(p, '\n')); p++)
        lines++;
    CHECK_INT(lines, HOSTS_WARNINGS_MAX);
    CHECK(str_starts(buf_data(&warned), "f:4097: there are more than 4096 hosts\n"));
    hosts_file_fini(&f);
    buf_fini(&warned);
    /* A long line, with a newline and without; a long comment is fine. */
    for (int i = 0; i < 3; i++) {
        size_t bad = i < 2;
        buf_clear(&text);
        buf_append_str(&text, i == 2 ? "#" : "");
        while (buf_len(&text) <= HOSTS_LINE_MAX)
            buf_append_char(&text, ' ');
        buf_append_str(&text, i == 1 ? "" : "\na");
        char *exact = mem_dup(buf_data(&text), buf_len(&text));
        CHECK_OK(hosts_file_parse("f", exact, buf_len(&text), &f, NULL, &err), &err);
        CHECK_INT(f.bad, bad);
        CHECK_INT(f.count, i == 1 ? 0 : 1);
        free(exact);
        hosts_file_fini(&f);
    }
    buf_clear(&text);
    for (size_t i = 0; i <= HOSTS_NAME_MAX; i++)
        buf_append_char(&text, 'a');
    CHECK_OK(hosts_file_parse("f", buf_data(&text), HOSTS_NAME_MAX, &f, NULL, &err), &err);
    CHECK_INT(f.count, 1);
    hosts_file_fini(&f);
    CHECK_OK(hosts_file_parse("f", buf_data(&text), HOSTS_NAME_MAX + 1, &f, NULL, &err), &err);
    CHECK_INT(f.count, 0);
    hosts_file_fini(&f);
    buf_fini(&text);

    char *big = mem_alloc(HOSTS_FILE_MAX + 1);
    memset(big, '\n', HOSTS_FILE_MAX + 1);
    CHECK_OK(hosts_file_parse("f", big, HOSTS_FILE_MAX, &f, NULL, &err), &err);
    hosts_file_fini(&f);
    CHECK_INT(hosts_file_parse("f", big, HOSTS_FILE_MAX + 1, &f, NULL, &err), -1);
    CHECK_INT(err.kind, ERR_TOO_LARGE);
    CHECK_INT(f.count, 0);
    free(big);
    CHECK_INT(hosts_file_parse("f", "a\0b", 3, &f, NULL, &err), -1);
    CHECK_STR(err.msg, "f is no text file (it has NUL bytes)");
}

/* --- beowulfdrc -------------------------------------------------------------------------------- */

static struct beowulf_rc rc_of(const char *text, const char *warnings)
{
    struct beowulf_rc rc;
    struct buf warned = BUF_INIT;
    struct err err = ERR_INIT;

    CHECK_OK(beowulf_rc_parse("rc", text, strlen(text), &rc, &warned, &err), &err);
    CHECK_STR(buf_data(&warned), warnings);
    CHECK((rc.bad > 0) == (*warnings != '\0'));
    buf_fini(&warned);
    return rc;
}

TEST(rc_as_beowulf_has_it)
{
    struct beowulf_rc rc = rc_of("# settings\n"
                                 "polling_interval = 5\n"
                                 "sticky.firefox = host1.local\n"
                                 "sticky.gimp=host2.local:2222 # the one with memory\n",
                                 "");
    CHECK_INT(rc.interval_ns, 5 * NS_PER_S);
    CHECK_INT(rc.count, 2);
    CHECK_STR(beowulf_rc_sticky(&rc, "firefox")->host, "host1.local");
    CHECK_STR(beowulf_rc_sticky(&rc, "gimp")->host, "host2.local");
    CHECK_INT(beowulf_rc_sticky(&rc, "gimp")->port, 2222);
    CHECK_INT(beowulf_rc_sticky(&rc, "gimp")->line, 4);
    CHECK(!beowulf_rc_sticky(&rc, "htop"));
    beowulf_rc_fini(&rc);
    rc = rc_of("", "");
    CHECK_INT(rc.interval_ns, 10 * NS_PER_S);
    CHECK_INT(rc.count, 0);
    beowulf_rc_fini(&rc);
}

TEST(rc_as_people_write_it)
{
    static const struct {
        const char *text;
        int64_t interval_ns;
    } rows[] = {
        { "polling_interval=10.0", 10 * NS_PER_S },
        { "polling_interval = 0.5\r\n", NS_PER_S / 2 },
        { "polling_interval = 90s", 90 * NS_PER_S },
        { "polling_interval = \"7\"", 7 * NS_PER_S },
        { "[beowulfd]\npolling_interval = 3 # s\n", 3 * NS_PER_S },
        { "polling_interval = 3\npolling_interval = 4\n", 4 * NS_PER_S },
        { "\tpolling_interval\t=\t86400", 86400 * NS_PER_S },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct beowulf_rc rc = rc_of(rows[i].text, "");
        CHECK_INT(rc.interval_ns, rows[i].interval_ns);
        beowulf_rc_fini(&rc);
    }
    /* By the name that launches go by; the last one counts. */
    struct beowulf_rc rc = rc_of("sticky.firefox = a\nsticky.firefox-esr = 'b'\n", "");
    CHECK_INT(rc.count, 1);
    CHECK_STR(beowulf_rc_sticky(&rc, "firefox")->host, "b");
    beowulf_rc_fini(&rc);
}

TEST(rc_bad_lines)
{
    struct beowulf_rc rc =
        rc_of("poling_interval = 5\n"
              "polling_interval = soon\n"
              "polling_interval = 0\n"
              "polling_interval = -3\n"
              "polling_interval = 86401\n"
              "polling_interval = nan\n"
              "polling_interval\n"
              "sticky. = a\n"
              "sticky.x\033 = a\n"
              "sticky.firefox = -oProxyCommand=x\n"
              "sticky.firefox =\n"
              "colour = blue\n"
              "sticky.gimp = fine\n",
              "rc:1: unknown key 'poling_interval'; did you mean 'polling_interval'?\n"
              "rc:2: polling_interval must be a number of seconds, not 'soon'; write: "
              "polling_interval = 10\n"
              "rc:3: polling_interval must be from 0.1 to 86400 seconds; write: "
              "polling_interval = 10\n"
              "rc:4: polling_interval must be a number of seconds, not '-3'; write: "
              "polling_interval = 10\n"
              "rc:5: polling_interval must be from 0.1 to 86400 seconds; write: "
              "polling_interval = 10\n"
              "rc:6: polling_interval must be a number of seconds, not 'nan'; write: "
              "polling_interval = 10\n"
              "rc:7: there is no '=' in it; write: key = value\n"
              "rc:8: 'sticky.' must be followed by the name of an application; write: "
              "sticky.firefox = HOST\n"
              "rc:9: 'sticky.' must be followed by the name of an application; write: "
              "sticky.firefox = HOST\n"
              "rc:10: the host name starts with '-'; write host or host:port\n"
              "rc:11: the host name is missing; write host or host:port\n"
              "rc:12: unknown key 'colour'; keys are polling_interval and sticky.APP\n");
    CHECK_INT(rc.interval_ns, 10 * NS_PER_S);
    CHECK_INT(rc.bad, 12);
    CHECK_INT(rc.count, 1);
    beowulf_rc_fini(&rc);
}

/* --- names of applications --------------------------------------------------------------------- */

TEST(app_names)
{
    static const struct {
        const char *command, *name;
    } rows[] = {
        { "firefox", "firefox" },
        { "firefox-esr", "firefox" },
        { "/usr/bin/firefox-esr %u", "firefox" },
        { "  gimp a.png", "gimp" },
        { "./my-app/run --x", "run" },
        { "\"/opt/My App/start-it\" now", "start" },
        { "'/opt/a b'", "a b" },
        { "\"unclosed word", "unclosed word" },
        { "-foo", "-foo" },
        { "/bin/", "bin" },
        { "/", "" },
        { "", "" },
        { "  ", "" },
        { "\"\"", "" },
        { "a\tb", "a" },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char *name = hosts_app_name(rows[i].command);
        CHECK_STR(name, rows[i].name);
        free(name);
    }
    char *lengthy = mem_alloc(1000);
    memset(lengthy, 'x', 999);
    char *name = hosts_app_name(lengthy);
    CHECK_INT(strlen(name), HOSTS_NAME_MAX);
    free(name);
    free(lengthy);
}
