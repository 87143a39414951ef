/* SPDX-License-Identifier: BSD-2-Clause */
/* Copying hive to a host: the scripts, in all shells there are, and the steps. */
#include "unit/deploy_rig.h"

#include <dirent.h>
#include <time.h>

/* --- hosts -------------------------------------------------------------------------------------- */

static void check_agent(const struct rig *rig, const char *folder, bool copied)
{
    char *path = mem_printf("%s/hive", folder);

    if (rig->r.kind != SSH_DEPLOY_AGENT)
        unit_fail(__FILE__, __LINE__, "no agent: %s", rig->r.err.msg);
    CHECK_STR(rig->file, path);
    CHECK(rig->r.copied == copied);
    CHECK(str_starts(rig->command, "exec ") && str_ends(rig->command, " agent --stdio"));
    CHECK(access(path, X_OK) == 0);
    free(path);
}

static size_t entries(const char *folder)
{
    DIR *dir = opendir(folder);
    size_t n = 0;

    CHECK(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        n += e->d_name[0] != '.' || strlen(e->d_name) > 2;
    closedir(dir);
    return n;
}

static void append(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);

    CHECK(fd >= 0 && fs_write_all(fd, text, strlen(text)) == 0);
    close(fd);
}

static void overwrite_end(const char *path)
{
    struct stat st;
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    CHECK(fd >= 0 && fstat(fd, &st) == 0);
    CHECK(pwrite(fd, "x", 1, st.st_size - 1) == 1);
    close(fd);
}

struct removal {
    bool done;
    struct ssh_deploy_removed r;
    char *left, *stuck;
};

static void on_removed(const struct ssh_deploy_removed *r, void *arg)
{
    struct removal *m = arg;

    m->done = true;
    m->r = *r;
    m->left = mem_strdup(r->left);
    m->stuck = mem_strdup(r->stuck);
}

static int remove_all(struct rig *rig, bool all, const char *left)
{
    struct removal m = { 0 };
    struct ssh_deploy_remove_options o = {
        .program = rig->program, .all = all, .done = on_removed, .arg = &m
    };
    struct err err = ERR_INIT;

    CHECK(ssh_deploy_remove(rig->loop, rig->client, &o, &err));
    while (!m.done)
        rig_turn(rig);
    CHECK_OK(m.r.err.kind != ERR_NONE, &m.r.err);
    CHECK_STR(m.left, left);
    CHECK_STR(m.stuck, "");
    free(m.left);
    free(m.stuck);
    return m.r.removed;
}

/* All that there is to it, with one login shell */
static void try_shell(const char *shell)
{
    struct rig rig = { .shell = shell, .home = fs_join(unit_tmpdir(), shell) };
    char *cache, *folder, *file;

    rig_open(&rig);
    cache = fs_join(rig.home, ".cache/hive");
    folder = rig_folder(&rig, cache);
    file = fs_join(folder, "hive");
    rig_deploy(&rig);
    check_agent(&rig, folder, true);
    CHECK_INT(rig.r.err.kind, ERR_NONE);
    CHECK_INT(rig.r.sent_bytes, rig.program->own.size);
    CHECK_STR(rig.home_there, rig.home);
    CHECK_INT(rig.r.uid, getuid());
    rig_deploy(&rig);
    check_agent(&rig, folder, false);
    CHECK_INT(rig.r.sent_bytes, 0);
    append(file, "x");
    rig_deploy(&rig);
    check_agent(&rig, folder, true);
    overwrite_end(file);
    rig_deploy(&rig);
    check_agent(&rig, folder, true);
    CHECK(chmod(file, 0600) == 0);
    rig_deploy(&rig);
    check_agent(&rig, folder, true);
    CHECK_INT(entries(folder), 1);
    CHECK_INT(remove_all(&rig, false, ""), 1);
    CHECK(!rig_exists(cache));
    rig_close(&rig);
    free(cache);
    free(folder);
    free(file);
}

static bool can_run(const char *const *argv)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);

        dup2(null, 1);
        dup2(null, 2);
        execvp(argv[0], (char *const *)argv);
        _exit(127);
    }
    return waitpid(pid, &status, 0) == pid && status == 0;
}

static void try_shell_if_there(const char *shell)
{
    const char *const argv[] = { shell, str_eq(shell, "busybox") ? "true" : "-c",
                                 str_eq(shell, "busybox") ? NULL : "exit 0", NULL };

    if (can_run(argv))
        try_shell(shell);
    else
        fprintf(stderr, "# there is no %s here\n", shell);
}

TEST(with_sh)
{
    try_shell("sh");
}

#define WITH(shell)                                                                                \
    TEST(with_##shell)                                                                             \
    {                                                                                              \
        try_shell_if_there(#shell);                                                                \
    }
WITH(bash)
WITH(busybox)
WITH(zsh)
WITH(fish)
WITH(tcsh)
WITH(csh)
WITH(mksh)
WITH(ksh)

TEST(a_home_with_an_odd_name)
{
    struct rig rig = { .home = rig_path("a b $x `y` \"q\" caf\xC3\xA9"), .shell = "bash" };
    char *cache, *folder;

    rig_open(&rig);
    cache = fs_join(rig.home, ".cache/hive");
    folder = rig_folder(&rig, cache);
    rig_deploy(&rig);
    check_agent(&rig, folder, true);
    rig_close(&rig);
    free(cache);
    free(folder);
}

TEST(a_home_with_a_name_that_cannot_be_passed_on)
{
    struct rig rig = { .home = rig_path("it's"), .runtime_dir = rig_path("run") };
    char *place, *folder;

    rig_open(&rig);
    place = fs_join(rig.runtime_dir, "hive");
    folder = rig_folder(&rig, place);
    rig_deploy(&rig);
    check_agent(&rig, folder, true);
    CHECK(strstr(rig.r.err.msg, "a folder with an odd name"));
    rig_close(&rig);
    free(place);
    free(folder);
}

TEST(a_cache_that_cannot_be_written_to)
{
    struct rig rig = { .cache = mem_strdup("/proc/nowhere"), .runtime_dir = rig_path("run") };
    char *place, *folder;

    rig_open(&rig);
    place = fs_join(rig.runtime_dir, "hive");
    folder = rig_folder(&rig, place);
    rig_deploy(&rig);
    check_agent(&rig, folder, true);
    CHECK(strstr(rig.r.err.msg, "/proc/nowhere/hive: "));
    CHECK(!rig.r.noexec);
    rig_close(&rig);
    free(place);
    free(folder);
}

TEST(greetings)
{
    struct rig rig = { .rc = "echo Welcome; echo @end; echo oops >&2" };

    rig_open(&rig);
    rig_deploy(&rig);
    CHECK_INT(rig.r.kind, SSH_DEPLOY_AGENT);
    rig_deploy(&rig);
    CHECK_INT(rig.r.kind, SSH_DEPLOY_AGENT);
    CHECK(!rig.r.copied);
    rig_close(&rig);
}

TEST(a_greeting_without_end)
{
    struct rig rig = { .rc = "yes" };

    rig_open(&rig);
    rig_deploy(&rig);
    CHECK_INT(rig.r.kind, SSH_DEPLOY_FAILED);
    CHECK_INT(rig.r.err.kind, ERR_TOO_LARGE);
    rig_close(&rig);
}

/* What a login script leaves running has the output open. */
TEST(a_login_script_that_leaves_something_running)
{
    struct rig rig = { .rc = "sleep 20 & echo $! >\"$HOME/pid\"" };
    struct buf b = BUF_INIT;
    int64_t pid;
    char *file;

    rig_open(&rig);
    rig.opt.shell_only = true;
    rig_deploy(&rig);
    CHECK_INT(rig.r.kind, SSH_DEPLOY_SHELL);
    CHECK_INT(rig.r.err.kind, ERR_NONE);
    CHECK_INT(entries(rig.home), 1);
    file = fs_join(rig.home, "pid");
    CHECK(fs_read_file(file, 100, &b, NULL) == 0);
    buf_truncate(&b, buf_len(&b) - 1);
    CHECK(str_to_int(buf_data(&b), 2, INT32_MAX, "", &pid, NULL) == 0);
    kill((pid_t)pid, SIGKILL);
    rig_close(&rig);
    buf_fini(&b);
    free(file);
}

TEST(no_shell_at_all)
{
    struct rig rig = { .rc = "echo This account is not available.; exit 1" };

    rig_open(&rig);
    rig_deploy(&rig);
    CHECK_INT(rig.r.kind, SSH_DEPLOY_FAILED);
    CHECK_INT(rig.r.err.kind, ERR_UNPROCESS);
    CHECK(strstr(rig.r.err.msg, "it says: This account is not available."));
    rig_close(&rig);
}

TEST(a_shell_that_says_nothing)
{
    struct rig rig = { .rc = "exit 3" };

    rig_open(&rig);
    rig_deploy(&rig);
    CHECK(strstr(rig.r.err.msg, "(exit status 3)"));
    rig_close(&rig);
}

TEST(a_shell_that_waits)
{
    struct rig rig = { .rc = "exec sleep 5" };

    rig_open(&rig);
    rig.opt.answer_ns = NS_PER_S / 5;
    rig_deploy(&rig);
    CHECK_INT(rig.r.kind, SSH_DEPLOY_FAILED);
    CHECK_INT(rig.r.err.kind, ERR_TIMEOUT);
    CHECK(strstr(rig.r.err.hint, "login script"));
    rig_close(&rig);
}

TEST(a_link_that_does_not_answer)
{
    struct rig rig = { .fault = RIG_SILENT };

    rig_open(&rig);
    rig.opt.answer_ns = rig.opt.wait_ns = NS_PER_S / 5;
    rig_deploy(&rig);
    CHECK_INT(rig.r.err.kind, ERR_TIMEOUT);
    CHECK(strstr(rig.r.err.hint, "link process"));
    rig_close(&rig);
}

/* --- copies that are cut ------------------------------------------------------------------------ */

TEST(a_copy_that_is_cut)
{
    struct rig rig = { .fault = RIG_CUTS,
                       .runtime_dir = rig_path("run"),
                       .cache = mem_strdup("/proc/nowhere") };

    rig_open(&rig);
    rig.opt.version = "x";
    rig_deploy(&rig);
    /* Where it goes next depends on this machine; nothing of it is left in either case. */
    CHECK(rig.r.kind != SSH_DEPLOY_FAILED || rig.r.err.kind != ERR_NONE);
    CHECK(strstr(rig.r.err.msg, "the file was cut on its way"));
    CHECK_INT(entries(rig.runtime_dir), 0);
    rig_close(&rig);
}

/* What was left by an earlier attempt of the same id goes; what another one is just writing stays. */
TEST(leftovers)
{
    static const char *const names[] = { ".new.9f86d081884c7d65.77", ".new.0123456789abcdef.77" };
    struct rig rig = { 0 };
    char *cache, *folder, *files[2];

    rig_open(&rig);
    cache = fs_join(rig.home, ".cache/hive");
    folder = rig_folder(&rig, cache);
    rig_mkdir(folder);
    for (size_t i = 0; i < 2; i++) {
        files[i] = fs_join(folder, names[i]);
        rig_write(files[i], "half", 0600);
    }
    rig_deploy(&rig);
    check_agent(&rig, folder, true);
    CHECK(!rig_exists(files[0]));
    CHECK(rig_exists(files[1]));
    rig_close(&rig);
    free(cache);
    free(folder);
    free(files[0]);
    free(files[1]);
}

TEST(a_link_process_that_dies)
{
    struct rig rig = { .fault = RIG_DIES };
    char *cache, *folder;
    int64_t until = clock_mono_ns(&clock_system) + 10 * NS_PER_S;

    rig_open(&rig);
    cache = fs_join(rig.home, ".cache/hive");
    folder = rig_folder(&rig, cache);
    rig_deploy(&rig);
    CHECK_INT(rig.r.kind, SSH_DEPLOY_FAILED);
    CHECK_INT(rig.r.err.kind, ERR_UNAVAILABLE);
    /* The shell still has the file, here; it comes to an end by itself. */
    while (rig_exists(folder) && entries(folder) != 1 && clock_mono_ns(&clock_system) < until)
        poll(NULL, 0, 5);
    rig_hang_up(&rig);
    rig.fault = RIG_FINE;
    rig_open(&rig);
    rig_deploy(&rig);
    CHECK_INT(rig.r.kind, SSH_DEPLOY_AGENT);
    CHECK_INT(entries(folder), 1);
    rig_close(&rig);
    free(cache);
    free(folder);
}

TEST(cancelling)
{
    struct rig rig = { 0 };
    struct ssh_deploy *d;

    rig_open(&rig);
    ssh_deploy_cancel(NULL);
    ssh_deploy_cancel(rig_start(&rig));
    for (int turns = 1; turns < 40; turns++) {
        d = rig_start(&rig);
        for (int i = 0; i < turns && !rig.done; i++)
            rig_turn(&rig);
        if (!rig.done)
            ssh_deploy_cancel(d);
    }
    rig_deploy(&rig);
    CHECK_INT(rig.r.kind, SSH_DEPLOY_AGENT);
    rig_close(&rig);
}

static void count_done(const struct ssh_deploy_result *r, void *arg)
{
    int *left = arg;

    CHECK_INT(r->kind, SSH_DEPLOY_AGENT);
    --*left;
}

TEST(many_at_once)
{
    struct rig rig = { 0 };
    char *cache, *folder;
    int left = 6;

    rig_open(&rig);
    cache = fs_join(rig.home, ".cache/hive");
    folder = rig_folder(&rig, cache);
    rig.opt.done = count_done;
    rig.opt.progress = NULL;
    rig.opt.arg = &left;
    for (int i = 0; i < 6; i++) {
        rig.opt.id = i & 1 ? NULL : i == 2 ? "two" : i == 4 ? "four" : "zero";
        rig_start(&rig);
    }
    while (left > 0)
        rig_turn(&rig);
    CHECK_INT(entries(folder), 1);
    rig_close(&rig);
    free(cache);
    free(folder);
}

/* --- other systems ------------------------------------------------------------------------------ */

/* A folder for PATH where uname says something else */
static char *other_uname(const char *os, const char *arch)
{
    char *bin = rig_path("bin"), *file = fs_join(bin, "uname");
    char *text =
        mem_printf("#!/bin/sh\ncase $1 in -s) echo '%s' ;; *) echo '%s' ;; esac\n", os, arch);
    char *path = mem_printf("%s:/usr/bin:/bin", bin);

    rig_mkdir(bin);
    rig_write(file, text, 0755);
    free(bin);
    free(file);
    free(text);
    return path;
}

TEST(another_architecture)
{
    struct rig rig = { .path = other_uname("Linux", "vax") };

    rig_open(&rig);
    rig_deploy(&rig);
    CHECK_INT(rig.r.kind, SSH_DEPLOY_SHELL);
    CHECK(strstr(rig.r.err.msg, "it is vax, and this hive is for "));
    CHECK(rig.r.err.hint[0]);
    CHECK_INT(entries(rig.home), 0);
    rig_close(&rig);
}

TEST(another_system)
{
    struct rig rig = { .path = other_uname("FreeBSD", "amd64") };

    rig_open(&rig);
    rig_deploy(&rig);
    CHECK_INT(rig.r.kind, SSH_DEPLOY_SHELL);
    CHECK(strstr(rig.r.err.msg, "it runs FreeBSD, and hive is for Linux"));
    CHECK_INT(entries(rig.home), 0);
    rig_close(&rig);
}

static void copy_self(const char *to)
{
    struct buf b = BUF_INIT;
    struct err err = ERR_INIT;

    CHECK_OK(fs_read_file("/proc/self/exe", SSH_DEPLOY_FILE_MAX, &b, &err), &err);
    CHECK_OK(fs_write_file(to, buf_data(&b), buf_len(&b), 0755, false, &err), &err);
    buf_fini(&b);
}

TEST(a_hive_that_somebody_installed)
{
    struct rig rig = { .path = other_uname("Linux", "vax") };
    char *file = rig_path("bin/hive");

    rig_open(&rig);
    copy_self(file);
    rig_deploy(&rig);
    CHECK_INT(rig.r.kind, SSH_DEPLOY_AGENT);
    CHECK(rig.r.own && !rig.r.copied);
    CHECK_STR(rig.file, file);
    CHECK(strstr(rig.r.err.msg, "it is vax"));
    rig.opt.version = "1.2";
    rig_deploy(&rig);
    CHECK_INT(rig.r.kind, SSH_DEPLOY_SHELL);
    rig_close(&rig);
    free(file);
}

/* Another program of that name is not run. */
TEST(a_hive_that_is_something_else)
{
    struct rig rig = { .path = other_uname("Linux", "vax") };
    char *file = rig_path("bin/hive"), *trace = rig_path("ran");
    char *text = mem_printf("#!/bin/sh\n>%s\necho hive " RIG_VERSION " x\n", trace);

    rig_open(&rig);
    rig_write(file, text, 0755);
    rig_deploy(&rig);
    CHECK_INT(rig.r.kind, SSH_DEPLOY_SHELL);
    CHECK(!rig_exists(trace));
    rig_close(&rig);
    free(file);
    free(trace);
    free(text);
}

/* --- other versions ----------------------------------------------------------------------------- */

/* A copy of another version, asked for so many days ago */
static char *old_copy(const char *bin, char letter, int days)
{
    char name[DEPLOY_SHA256_HEX + 1] = { 0 };
    struct timespec times[2] = { { .tv_sec = time(NULL) - days * 86400 } };
    char *folder, *file;

    memset(name, letter, DEPLOY_SHA256_HEX);
    folder = fs_join(bin, name);
    file = fs_join(folder, "hive");
    rig_mkdir(folder);
    copy_self(file);
    times[1] = times[0];
    CHECK(utimensat(AT_FDCWD, folder, times, 0) == 0);
    free(folder);
    return file;
}

TEST(copies_of_other_versions)
{
    struct rig rig = { 0 };
    char *state, *left, *bin, *old, *young, *running, *other;
    pid_t pid;

    rig_open(&rig);
    bin = fs_join(rig.home, ".cache/hive/bin");
    old = old_copy(bin, '0', 33);
    young = old_copy(bin, '1', 29);
    running = old_copy(bin, '2', 33);
    other = old_copy(bin, '3', 33);
    pid = fork();
    if (pid == 0) {
        execl(running, running, "wait", (char *)NULL);
        _exit(1);
    }
    /* Not the name that it was started by, but the file that it is */
    char *exe = mem_printf("/proc/%d/exe", (int)pid);
    struct stat a, b;
    CHECK(stat(running, &b) == 0);
    while (stat(exe, &a) == 0 && a.st_ino != b.st_ino)
        poll(NULL, 0, 5);
    rig_deploy(&rig);
    CHECK_INT(rig.r.kind, SSH_DEPLOY_AGENT);
    CHECK(!rig_exists(old) && !rig_exists(other));
    CHECK(rig_exists(young) && rig_exists(running));
    CHECK_INT(entries(bin), 3);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);

    state = getuid() == 0 ? mem_strdup("/var/lib/hive/agent")
                          : fs_join(rig.home, ".local/state/hive/agent");
    if (getuid() != 0)
        rig_mkdir(state);
    left = mem_printf("%s\n", state);
    CHECK_INT(remove_all(&rig, false, rig_exists(state) ? left : ""), 1);
    CHECK(rig_exists(young) && rig_exists(running));
    CHECK_INT(remove_all(&rig, true, rig_exists(state) ? left : ""), 2);
    CHECK(!rig_exists(bin));
    rig_close(&rig);
    free(bin);
    free(old);
    free(young);
    free(running);
    free(other);
    free(exe);
    free(state);
    free(left);
}
