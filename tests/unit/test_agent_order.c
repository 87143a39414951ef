/* SPDX-License-Identifier: BSD-2-Clause */
/* Orders that leave some of it to the agent's machine. */
#include "unit/agent_rig.h"

/* The home folder of the agents: HOME says. */
static char *make_home(void)
{
    char *home = base_dir("home"), *sub = mem_printf("%s/project/x", home);

    CHECK(fs_mkdir_p(sub, 0700, NULL) == 0);
    CHECK(setenv("HOME", home, 1) == 0);
    free(sub);
    return home;
}

static char *output_of(struct far *f, int64_t job)
{
    char *path = mem_printf("%s/attempts/%lld/%lld.1.out", f->folder, (long long)(job / 1024),
                            (long long)job);
    char *text = file_text(path);

    free(path);
    return text;
}

static void check_output(struct far *f, struct link_msg *m, const char *want)
{
    char *text;

    say(f, m);
    CHECK_INT(expect_end(f, m->key.job).code, 0);
    text = output_of(f, m->key.job);
    CHECK_STR(text, want);
    free(text);
}

TEST(the_environment_is_that_of_the_machine)
{
    struct far f;
    const char *argv[] = { "sh", "-c", "echo $HOME; echo $LANG,$TZ,$MINE,$OTHERS", NULL };
    const char *env[] = { "MINE=1", "LANG=mine", "TZX=no", NULL };
    struct link_msg m = run_message(1, argv);
    char *home = make_home(), *want = mem_printf("%s\nmine,UTC,1,\n", home);

    setenv("LANG", "theirs", 1);
    setenv("TZ", "UTC", 1);
    setenv("OTHERS", "secret", 1);
    open_link(&f, NULL, 0);
    m.run.env = env;
    m.inherit_env = true;
    check_output(&f, &m, want);

    /* each one once, and those that are the user's */
    const char *all[] = { "env", NULL };
    m = run_message(2, all);
    m.run.env = env;
    m.inherit_env = true;
    say(&f, &m);
    expect_end(&f, 2);
    char *text = output_of(&f, 2), *user;
    const char *lang = strstr(text, "LANG=mine\n");
    CHECK(lang && !strstr(lang + 1, "LANG=") && strncmp(text, "HOME=", 5) == 0);
    user = sys_user_name(getuid());
    char *entry = mem_printf("\nUSER=%s\nLOGNAME=%s\nSHELL=/", user, user);
    CHECK(strstr(text, entry));
    CHECK(strstr(text, "\nPATH=") && strstr(text, "\nTZX=no\n"));

    /* unasked, it is what the order says */
    m = run_message(3, all);
    m.run.env = env;
    say(&f, &m);
    expect_end(&f, 3);
    free(text);
    text = output_of(&f, 3);
    CHECK(!strstr(text, "HOME=") && strstr(text, "MINE=1\n"));
    close_link(&f);
    free(text);
    free(user);
    free(entry);
    free(want);
    free(home);
}

TEST(the_working_folder_is_found_in_the_other_home)
{
    static const struct {
        const char *workdir, *head_home, *want; /* below the home folder; or as it is */
    } cases[] = {
        { "/usr", "/nowhere/anna", "/usr" },
        { "/nowhere/anna/project/x", "/nowhere/anna", "~/project/x" },
        { "/nowhere/anna/project/x", "/nowhere/anna/", "~/project/x" },
        { "/nowhere/anna", "/nowhere/anna", "~" },
        { "/nowhere/anna/project/y", "/nowhere/anna", "~" },
        { "/nowhere/annalena/project/x", "/nowhere/anna", "~" },
        { "/nowhere/else", NULL, "~" },
        { "/nowhere/project/x", "/", "~" },
        { "/etc/passwd", "/nowhere/anna", "~" },
    };
    const char *argv[] = { "pwd", NULL };
    char *home = make_home();
    struct far f;

    open_link(&f, NULL, 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct link_msg m = run_message((int64_t)i + 1, argv);
        bool in_home = cases[i].want[0] == '~';
        char *want = mem_printf("%s%s\n", in_home ? home : "", cases[i].want + in_home);
        m.run.workdir = cases[i].workdir;
        m.workdir_fallback = true;
        m.head_home = cases[i].head_home;
        check_output(&f, &m, want);
        free(want);
    }
    struct link_msg m = run_message(100, argv);
    m.run.workdir = "/nowhere/anna";
    say(&f, &m);
    CHECK_INT(expect_end(&f, 100).outcome, ATTEMPT_NOT_RUN);
    close_link(&f);
    free(home);
}

/* Its output is followed from the order on; what is in that file until the job opens it is of
 * somebody else. */
TEST(what_was_in_a_file_before_is_not_read)
{
    static const char old[] = "of a former job, and longer than what comes\n";
    const char *argv[] = { "echo", "new", NULL };
    struct far f;
    struct buf b = BUF_INIT;
    char *path = base_dir("out"), *go = base_dir("go");
    char *script = mem_printf("while [ ! -e %s ]; do sleep 0.01; done", go);
    struct link_msg m = run_message(2, argv);
    struct link_msg read = {
        .type = LINK_READ, .id = 1, .key = { 2, 1, 0 }, .follow = true, .path = path
    };

    CHECK(fs_write_file(path, old, strlen(old), 0600, false, NULL) == 0);
    open_link(&f, NULL, 0);
    order(&f, 1, script);
    m.run.after = (struct attempt_key){ 1, 1, 7 };
    m.run.stdout_path = path;
    say(&f, &m);
    say(&f, &read);
    CHECK(!next_within(&f, 300 * NS_PER_MS, false));
    close(open(go, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    for (int left = 3; left > 0;) {
        struct link_msg *got = next_within(&f, WAIT_S * NS_PER_S, false);
        CHECK(got && (got->type == LINK_ENDED || got->type == LINK_DATA));
        if (got->type == LINK_DATA)
            buf_append(&b, got->data, got->data_len);
        left -= got->type == LINK_ENDED || got->eof;
    }
    CHECK_STR(buf_data(&b), "new\n");
    about(&f, LINK_ACK, 1);
    about(&f, LINK_ACK, 2);
    buf_clear(&b);

    /* appended to, all of it counts; without an attempt that is known, too */
    m = run_message(3, argv);
    m.run.stdout_path = path;
    m.run.append = true;
    say(&f, &m);
    expect_end(&f, 3);
    read.id = 2;
    read.key.job = 3;
    say(&f, &read);
    collect_data(&f, 2, &b);
    CHECK_STR(buf_data(&b), "new\nnew\n");
    buf_fini(&b);
    close_link(&f);
    free(path);
    free(go);
    free(script);
}
