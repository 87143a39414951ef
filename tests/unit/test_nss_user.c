/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "unit/unit.h"

#include "unit/names_rig.h"

#include "sys/nss_user.h"

struct answer {
    int calls;
    char text[256]; /* "NAME UID GID HOME SHELL" */
    struct err err;
};

static void format(const struct nss_user *u, char *out, size_t size)
{
    snprintf(out, size, "%s %u %u %s %s", u->name, (unsigned)u->uid, (unsigned)u->gid, u->home,
             u->shell);
}

static void on_user(void *arg, const struct nss_user *user, const struct err *err)
{
    struct answer *a = arg;

    a->calls++;
    CHECK((user == NULL) == (err != NULL));
    if (user)
        format(user, a->text, sizeof a->text);
    else
        a->err = *err;
}

static bool answered(void *arg)
{
    return ((struct answer *)arg)->calls > 0;
}

/* By name, or with NULL by uid. */
static void look_up(struct rig *rig, const char *name, uid_t uid, struct answer *a)
{
    struct nss_user_request *r;

    *a = (struct answer){ 0 };
    r = name ? nss_user_ask_name(rig->getent, name, on_user, a, &a->err)
             : nss_user_ask_uid(rig->getent, uid, on_user, a, &a->err);
    CHECK_INT(a->calls, 0);
    if (r)
        rig_until(rig, answered, a);
}

TEST(lines)
{
    static const struct {
        const char *line, *text; /* NULL: refused */
    } rows[] = {
        { "root:x:0:0:root:/root:/bin/bash", "root 0 0 /root /bin/bash" },
        { "a:*:1:2:::", "a 1 2 / /bin/sh" },
        { "CORP\\b c:x:4294967294:4294967295:G:/h i:/s",
          "CORP\\b c 4294967294 4294967295 /h i /s" },
        { "a:x:4294967295:0:::", NULL }, /* uid -1 */
        { "a:x:4294967296:0:::", NULL },
        { "a:x:-1:0:::", NULL },
        { "a:x:+1:0:::", NULL },
        { "a:x: 1:0:::", NULL },
        { "a:x:1:::/:/", NULL },
        { "a:x:1:2::/", NULL },
        { "a:x:1:2::/:/:", NULL },
        { ":x:1:2::/:/", NULL },
        { "-a:x:1:2::/:/", NULL },
        { "+a:x:1:2::/:/", NULL },
        { "+::::::", NULL },
        { "a:x:1:2::home:/bin/sh", NULL },
        { "a:x:1:2::/:sh", NULL },
        { "a:x:1:2:\t:/:/", NULL },
        { "a\r:x:1:2::/:/", NULL },
        { "", NULL },
    };
    struct nss_user u;
    char text[256];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool ok = nss_user_parse(rows[i].line, strlen(rows[i].line), &u, NULL) == 0;
        if (ok != (rows[i].text != NULL))
            unit_fail(__FILE__, __LINE__, "%s", rows[i].line);
        if (ok) {
            format(&u, text, sizeof text);
            CHECK_STR(text, rows[i].text);
        }
        nss_user_fini(&u);
    }
    char *line = mem_alloc(NSS_USER_LINE_MAX + 2);
    memset(line, 'c', NSS_USER_LINE_MAX + 1);
    memcpy(line, "a:x:1:2:", 8);
    memcpy(line + NSS_USER_LINE_MAX - 4, ":/:/", 4);
    CHECK_INT(nss_user_parse(line, NSS_USER_LINE_MAX, &u, NULL), 0);
    nss_user_fini(&u);
    CHECK_INT(nss_user_parse(line, NSS_USER_LINE_MAX + 1, &u, NULL), -1);
    free(line);
}

TEST(files)
{
    static const char text[] = "+@group::::::\n"
                               "bad:x:1\n"
                               "alice:x:1:1::/a:/a\n"
                               "alice2:x:2:1::/a2:/a\n"
                               "twin:x:1:1::/t:/t\n"
                               "alice:x:3:1::/later:/a\n"
                               "last:x:9:9::/l:/l";
    struct nss_user u;

    CHECK_INT(nss_user_scan(text, strlen(text), "alice", 0, &u, NULL), 0);
    CHECK_STR(u.home, "/a");
    nss_user_fini(&u);
    CHECK_INT(nss_user_scan(text, strlen(text), NULL, 1, &u, NULL), 0);
    CHECK_STR(u.name, "alice");
    nss_user_fini(&u);
    CHECK_INT(nss_user_scan(text, strlen(text), "last", 0, &u, NULL), 0);
    CHECK_INT(u.uid, 9);
    nss_user_fini(&u);
    CHECK_INT(nss_user_scan(text, strlen(text), "ali", 0, &u, NULL), -1);
    CHECK_INT(nss_user_scan(text, strlen(text), "bad", 0, &u, NULL), -1);
    CHECK_INT(nss_user_scan(text, strlen(text), NULL, 77, &u, NULL), -1);
    CHECK_INT(nss_user_scan("", 0, NULL, 0, &u, NULL), -1);
}

TEST(the_file_first)
{
    struct rig *rig = rig_create(NULL);
    struct answer a;

    look_up(rig, "root", 0, &a);
    CHECK_STR(a.text, "root 0 0 /root /bin/sh");
    look_up(rig, NULL, 0, &a);
    CHECK_STR(a.text, "root 0 0 /root /bin/sh");
    CHECK_STR(rig_calls(rig), "");
    struct nss_user_request *r = nss_user_ask_name(rig->getent, "root", on_user, &a, NULL);
    a.calls = 0;
    nss_user_cancel(r);
    rig_turns(rig, 3);
    CHECK_INT(a.calls, 0);
    rig_destroy(rig);
}

TEST(then_getent)
{
    struct rig *rig = rig_create(NULL);
    struct answer a;

    for (int i = 0; i < 2; i++) {
        look_up(rig, "alice", 0, &a);
        CHECK_STR(a.text, "alice 1500 1501 /home/alice /bin/bash");
        look_up(rig, NULL, 1500, &a);
        CHECK_STR(a.text, "alice 1500 1501 /home/alice /bin/bash");
        look_up(rig, "CORP\\bob smith", 0, &a);
        CHECK_STR(a.text, "CORP\\bob smith 1700 1700 / /bin/sh");
        look_up(rig, "nobody-here", 0, &a);
        CHECK_INT(a.err.kind, ERR_NOT_FOUND);
    }
    CHECK_INT(rig_calls_count(rig), 4); /* the second time they were known */
    look_up(rig, "bad", 0, &a);
    CHECK_INT(a.err.kind, ERR_IO);
    look_up(rig, NULL, 1600, &a); /* answers with somebody else */
    CHECK_INT(a.err.kind, ERR_IO);
    struct nss_user_request *r = nss_user_ask_name(rig->getent, "slow.example", on_user, &a, NULL);
    a.calls = 0;
    rig_until(rig, rig_one_runs, rig);
    nss_user_cancel(r);
    rig_turns(rig, 3);
    CHECK_INT(a.calls, 0);
    rig_destroy(rig);
}

TEST(names_are_checked_first)
{
    static const char *const bad[] = { "", "-x", "+x", "a:b", "a\nb", "\x1B[0m" };
    struct rig *rig = rig_create(NULL);
    struct answer a;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        look_up(rig, bad[i], 0, &a);
        CHECK_INT(a.err.kind, ERR_INVALID);
    }
    look_up(rig, NULL, (uid_t)-1, &a);
    CHECK_INT(a.err.kind, ERR_INVALID);
    look_up(rig, "1500", 0, &a); /* getent would take it for a uid */
    CHECK_INT(a.err.kind, ERR_NOT_FOUND);
    CHECK_STR(rig_calls(rig), "");
    rig_destroy(rig);
}

TEST(without_getent)
{
    struct rig *rig = rig_create(&(struct getent_options){ .program = "" });
    struct answer a;

    look_up(rig, "alice", 0, &a);
    CHECK_INT(a.err.kind, ERR_NOT_FOUND);
    look_up(rig, "root", 0, &a);
    CHECK_STR(a.text, "root 0 0 /root /bin/sh");
    rig_destroy(rig);
}

TEST(waiting)
{
    struct rig *rig = rig_create(NULL); /* for its getent */
    struct getent_options o = { .program = rig->program,
                                .helper = "",
                                .passwd = getent_passwd_file(rig->getent),
                                .timeout_ns = NS_PER_S / 10 };
    struct nss_user u;
    struct err err = ERR_INIT;

    CHECK_OK(nss_user_by_name("alice", &o, &u, &err), &err);
    CHECK_STR(u.home, "/home/alice");
    nss_user_fini(&u);
    CHECK_OK(nss_user_by_uid(1500, &o, &u, &err), &err);
    CHECK_STR(u.name, "alice");
    nss_user_fini(&u);
    CHECK_OK(nss_user_by_uid(0, &o, &u, &err), &err);
    nss_user_fini(&u);
    CHECK_INT(nss_user_by_name("slow.example", &o, &u, &err), -1);
    CHECK_INT(err.kind, ERR_TIMEOUT);
    CHECK_INT(nss_user_by_uid(4242, &o, &u, &err), -1);
    CHECK_INT(err.kind, ERR_NOT_FOUND);
    CHECK(u.name == NULL);
    rig_destroy(rig);
}
