/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"
#include "unit/unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* "TMPDIR/name", in a few buffers in turn. */
static const char *in_tmp(const char *name)
{
    static char paths[4][512];
    static unsigned next;
    char *out = paths[next++ % 4];

    snprintf(out, 512, "%s/%s", unit_tmpdir(), name);
    return out;
}

static void write_text(const char *path, const char *text)
{
    struct err err = ERR_INIT;

    CHECK_OK(fs_write_file(path, text, strlen(text), 0644, false, &err), &err);
}

static mode_t mode_of(const char *path)
{
    struct stat st;

    CHECK_INT(lstat(path, &st), 0);
    return st.st_mode;
}

TEST(mkdir_p)
{
    struct err err = ERR_INIT;

    umask(0);
    CHECK_OK(fs_mkdir_p(in_tmp("a/b//c/"), 0750, &err), &err);
    CHECK_INT(mode_of(in_tmp("a/b/c")) & 07777, 0750);
    CHECK_OK(fs_mkdir_p(in_tmp("a/b/c"), 0700, &err), &err);
    CHECK_OK(fs_mkdir_p("/", 0700, &err), &err);
    CHECK_INT(chdir(unit_tmpdir()), 0);
    CHECK_OK(fs_mkdir_p("rel/x", 0700, &err), &err);
    write_text(in_tmp("file"), "x");
    CHECK_INT(fs_mkdir_p(in_tmp("file"), 0700, &err), -1);
    CHECK_INT(err.kind, ERR_CONFLICT);
    CHECK_INT(fs_mkdir_p(in_tmp("file/sub"), 0700, &err), -1);
    CHECK_INT(err.kind, ERR_CONFLICT);
}

TEST(write_and_read)
{
    struct buf b = BUF_INIT;
    struct err err = ERR_INIT;

    umask(077);
    CHECK_OK(fs_write_file(in_tmp("f"), "a\0b", 3, 0644, true, &err), &err);
    CHECK_INT(mode_of(in_tmp("f")) & 07777, 0644);
    buf_append_str(&b, "before ");
    CHECK_OK(fs_read_file(in_tmp("f"), 3, &b, &err), &err);
    CHECK_INT(buf_len(&b), 10);
    CHECK(memcmp(buf_data(&b), "before a\0b", 10) == 0);
    /* Over the limit: the buffer is as it was. */
    CHECK_INT(fs_read_file(in_tmp("f"), 2, &b, &err), -1);
    CHECK_INT(err.kind, ERR_TOO_LARGE);
    CHECK_INT(buf_len(&b), 10);
    CHECK_INT(fs_read_file("/dev/zero", 100000, &b, &err), -1);
    CHECK_INT(err.kind, ERR_TOO_LARGE);
    CHECK_INT(fs_read_file(in_tmp("missing"), 10, &b, &err), -1);
    CHECK_INT(err.kind, ERR_NOT_FOUND);
    CHECK_INT(fs_read_file(unit_tmpdir(), 10, &b, &err), -1);
    CHECK_INT(err.kind, ERR_IO);
    buf_fini(&b);
}

/* Names left in a folder besides the expected one, which must be there. */
static unsigned count_others(const char *dir, const char *expected)
{
    struct dirent **names;
    int n = scandir(dir, &names, NULL, NULL);
    unsigned others = 0, found = 0;

    CHECK(n >= 0);
    for (int i = 0; i < n; i++) {
        if (str_eq(names[i]->d_name, expected))
            found++;
        else if (!str_eq(names[i]->d_name, ".") && !str_eq(names[i]->d_name, ".."))
            others++;
        free(names[i]);
    }
    free(names);
    CHECK_INT(found, 1);
    return others;
}

TEST(write_replaces_atomically)
{
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;

    write_text(in_tmp("f"), "old");
    int fd = open(in_tmp("f"), O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_OK(fs_write_file(in_tmp("f"), "new text", 8, 0600, false, &err), &err);
    /* Who had the old one open still has all of it. */
    CHECK_OK(fs_read_fd(fd, "old", 100, &b, &err), &err);
    CHECK_STR(buf_data(&b), "old");
    close(fd);
    buf_clear(&b);
    CHECK_OK(fs_read_file(in_tmp("f"), 100, &b, &err), &err);
    CHECK_STR(buf_data(&b), "new text");
    CHECK_INT(count_others(unit_tmpdir(), "f"), 0);
    buf_fini(&b);
}

TEST(failed_write_leaves_nothing)
{
    struct err err = ERR_INIT;

    CHECK_INT(mkdir(in_tmp("d"), 0700), 0);
    write_text(in_tmp("d/x"), "x");
    CHECK_INT(fs_write_file(in_tmp("d"), "new", 3, 0600, true, &err), -1);
    CHECK_INT(count_others(unit_tmpdir(), "d"), 0);
    CHECK_INT(fs_write_file(in_tmp("none/x"), "new", 3, 0600, true, &err), -1);
    CHECK_INT(err.kind, ERR_NOT_FOUND);
    /* A full disk: no space for the content. */
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_INT(fs_write_all(fd, "x", 1), -1);
    close(fd);
}

TEST(remove_tree)
{
    struct err err = ERR_INIT;

    CHECK_OK(fs_mkdir_p(in_tmp("t/a/b/c"), 0700, &err), &err);
    CHECK_OK(fs_mkdir_p(in_tmp("t/.hive-rm-0/x/y"), 0700, &err), &err);
    CHECK_OK(fs_mkdir_p(in_tmp("keep/inside"), 0700, &err), &err);
    write_text(in_tmp("keep/inside/file"), "precious");
    write_text(in_tmp("t/a/b/c/file"), "x");
    write_text(in_tmp("t/.hive-rm-1"), "x");
    CHECK_INT(symlink(in_tmp("keep"), in_tmp("t/a/b/link")), 0);
    CHECK_INT(symlink("../keep", in_tmp("t/link")), 0);
    CHECK_INT(mkfifo(in_tmp("t/a/fifo"), 0600), 0);
    CHECK_OK(fs_remove_tree(AT_FDCWD, in_tmp("t"), &err), &err);
    CHECK_INT(count_others(unit_tmpdir(), "keep"), 0);
    CHECK_INT(access(in_tmp("keep/inside/file"), F_OK), 0);
    CHECK_OK(fs_remove_tree(AT_FDCWD, in_tmp("t"), &err), &err); /* missing is fine */
    int dir = open(unit_tmpdir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(dir >= 0);
    /* A link to a folder is only a link, also as the name itself. */
    CHECK_INT(symlink("keep", in_tmp("l")), 0);
    CHECK_OK(fs_remove_tree(dir, "l", &err), &err);
    CHECK_INT(access(in_tmp("keep/inside/file"), F_OK), 0);
    CHECK_OK(fs_remove_tree(dir, "keep", &err), &err);
    CHECK_INT(access(in_tmp("keep"), F_OK), -1);
    close(dir);
}

/* Deeper than there are descriptors, than a path may be long, and than a stack would like. */
TEST(remove_deep_tree)
{
    enum { DEPTH = 5000 };
    struct err err = ERR_INIT;
    int fd = open(unit_tmpdir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    CHECK(fd >= 0);
    for (int i = 0; i < DEPTH; i++) {
        CHECK_INT(mkdirat(fd, "deep", 0700), 0);
        int file = openat(fd, "file", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        CHECK(file >= 0);
        close(file);
        int next = openat(fd, "deep", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        CHECK(next >= 0);
        close(fd);
        fd = next;
    }
    close(fd);
    CHECK_OK(fs_remove_tree(AT_FDCWD, in_tmp("deep"), &err), &err);
    CHECK_INT(access(in_tmp("deep"), F_OK), -1);
}

/* As an ordinary user, whom permissions stop: folders that a job locked. */
TEST(remove_locked_tree)
{
    struct err err = ERR_INIT;
    int status;

    CHECK_OK(fs_mkdir_p(in_tmp("base"), 0777, &err), &err);
    CHECK_INT(chmod(unit_tmpdir(), 0755), 0);
    CHECK_INT(chmod(in_tmp("base"), 0777), 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
            _exit(3);
        CHECK_OK(fs_mkdir_p(in_tmp("base/t/a/b/c"), 0700, &err), &err);
        write_text(in_tmp("base/t/a/b/f"), "x");
        write_text(in_tmp("base/t/a/f"), "x");
        CHECK_OK(fs_mkdir_p(in_tmp("base/t/empty"), 0, &err), &err);
        CHECK_INT(chmod(in_tmp("base/t/a/b/c"), 0), 0);
        CHECK_INT(chmod(in_tmp("base/t/a/b"), 0500), 0);
        CHECK_INT(chmod(in_tmp("base/t/a"), 0), 0);
        CHECK_INT(chmod(in_tmp("base/t"), 0500), 0);
        CHECK_OK(fs_remove_tree(AT_FDCWD, in_tmp("base/t"), &err), &err);
        _exit(access(in_tmp("base/t"), F_OK) == 0 ? 4 : 0);
    }
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK_INT(status, 0);
}

static void check_join(const char *a, const char *b, const char *want)
{
    char *s = fs_join(a, b);

    CHECK_STR(s, want);
    free(s);
}

TEST(join_and_absolute)
{
    check_join("a", "b", "a/b");
    check_join("a/", "b", "a/b");
    check_join("a//", "b/c", "a/b/c");
    check_join("/", "b", "/b");
    check_join("a", "/b", "/b");
    check_join("", "b", "b");
    char *s = fs_absolute("/x/../y");
    CHECK_STR(s, "/x/../y");
    free(s);
    CHECK_INT(chdir("/"), 0);
    s = fs_absolute("x");
    CHECK_STR(s, "/x");
    free(s);
    CHECK_INT(mkdir(in_tmp("gone"), 0700), 0);
    CHECK_INT(chdir(in_tmp("gone")), 0);
    CHECK_INT(rmdir(in_tmp("gone")), 0);
    s = fs_absolute("x");
    CHECK_STR(s, "x");
    free(s);
}

static void check_place(char *(*place)(void), const char *want)
{
    char *s = place();

    CHECK_STR(s, want);
    free(s);
}

TEST(places_from_the_environment)
{
    CHECK_INT(clearenv(), 0);
    CHECK_INT(chdir("/"), 0);
    setenv("HIVE_STATE_DIR", "/s", 1);
    check_place(fs_state_dir, "/s");
    check_place(fs_runtime_dir, "/s/run");
    setenv("HIVE_STATE_DIR", "rel", 1);
    check_place(fs_state_dir, "/rel");
    setenv("HIVE_RUNTIME_DIR", "/r", 1);
    check_place(fs_runtime_dir, "/r");
    setenv("HIVE_CONFIG", "/c.conf", 1);
    check_place(fs_user_config, "/c.conf");
    check_place(fs_system_config, "");
    unsetenv("HIVE_CONFIG");
    check_place(fs_system_config, "/etc/hive/hive.conf");
    setenv("HOME", "/home/u", 1);
    check_place(fs_user_config, "/home/u/.config/hive/hive.conf");
    setenv("XDG_CONFIG_HOME", "/xdg", 1);
    check_place(fs_user_config, "/xdg/hive/hive.conf");
    setenv("XDG_CONFIG_HOME", "relative-is-ignored", 1);
    check_place(fs_user_config, "/home/u/.config/hive/hive.conf");
}

static void check_user_places(void)
{
    char want[64];

    CHECK_INT(clearenv(), 0);
    setenv("HOME", "/home/u", 1);
    check_place(fs_state_dir, "/home/u/.local/state/hive");
    snprintf(want, sizeof want, "/tmp/hive-%u", (unsigned)geteuid());
    check_place(fs_runtime_dir, want);
    setenv("XDG_STATE_HOME", "/xdg", 1);
    setenv("XDG_RUNTIME_DIR", "/run/user/1", 1);
    check_place(fs_state_dir, "/xdg/hive");
    check_place(fs_runtime_dir, "/run/user/1/hive");
}

TEST(places_of_users)
{
    int status;

    if (geteuid() != 0) {
        check_user_places();
        return;
    }
    CHECK_INT(clearenv(), 0);
    setenv("XDG_STATE_HOME", "/xdg", 1);
    check_place(fs_state_dir, "/var/lib/hive");
    check_place(fs_runtime_dir, "/run/hive");
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK_INT(setuid(65534), 0);
        check_user_places();
        _exit(0);
    }
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK_INT(status, 0);
}

TEST(private_dir)
{
    struct err err = ERR_INIT;

    umask(0);
    CHECK_OK(fs_private_dir(in_tmp("p/q/r"), &err), &err);
    CHECK_INT(mode_of(in_tmp("p/q/r")) & 07777, 0700);
    CHECK_INT(mode_of(in_tmp("p/q")) & 07777, 0700);
    CHECK_OK(fs_private_dir(in_tmp("p/q/r"), &err), &err);
    /* An empty one is closed; one in use is somebody's decision. */
    CHECK_INT(chmod(in_tmp("p/q/r"), 0755), 0);
    CHECK_OK(fs_private_dir(in_tmp("p/q/r"), &err), &err);
    CHECK_INT(mode_of(in_tmp("p/q/r")) & 07777, 0700);
    write_text(in_tmp("p/q/r/file"), "x");
    CHECK_OK(fs_private_dir(in_tmp("p/q/r"), &err), &err);
    CHECK_INT(chmod(in_tmp("p/q/r"), 0755), 0);
    CHECK_INT(fs_private_dir(in_tmp("p/q/r"), &err), -1);
    CHECK_INT(err.kind, ERR_DENIED);
    CHECK(str_starts(err.hint, "chmod 700 "));
    CHECK_INT(mode_of(in_tmp("p/q/r")) & 07777, 0755);
    CHECK_INT(symlink("p", in_tmp("link")), 0);
    CHECK_INT(fs_private_dir(in_tmp("link"), &err), -1);
    CHECK_INT(err.kind, ERR_DENIED);
    write_text(in_tmp("file"), "x");
    CHECK_INT(fs_private_dir(in_tmp("file"), &err), -1);
    CHECK_INT(err.kind, ERR_DENIED);
    if (geteuid() != 0)
        return;
    CHECK_INT(mkdir(in_tmp("theirs"), 0700), 0);
    CHECK_INT(chown(in_tmp("theirs"), 65534, 65534), 0);
    CHECK_INT(fs_private_dir(in_tmp("theirs"), &err), -1);
    CHECK_INT(err.kind, ERR_DENIED);
    CHECK(strstr(err.msg, "another user"));
}
