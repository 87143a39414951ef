/* SPDX-License-Identifier: BSD-2-Clause */
/* Identity files of shims, and the records that are appended to them. */
#include "unit/unit.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/str.h"
#include "node/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

struct files {
    int state;
    struct shim_identity id;
};

static void open_files(struct files *f)
{
    struct err err = ERR_INIT;

    *f = (struct files){ .id.fd = -1 };
    f->state = open(unit_tmpdir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(f->state >= 0);
    CHECK_OK(shim_identity_renew(&f->id, f->state, &err), &err);
}

static void close_files(struct files *f)
{
    shim_identity_drop(&f->id, f->state);
    close(f->state);
}

static void claim(const struct files *f, int64_t job)
{
    struct attempt_key key = { job, 1, 0 };
    struct buf path = BUF_INIT;

    attempt_prefix(&key, &path);
    buf_append_str(&path, ".claim");
    CHECK(attempt_make_folder(f->state, &key) == 0);
    CHECK(linkat(f->state, f->id.path, f->state, buf_data(&path), 0) == 0);
    buf_fini(&path);
}

/* Its exit code, or - its state. */
static int fate(const struct files *f, int64_t job)
{
    struct attempt_key key = { job, 1, 0 };
    struct attempt_end end;
    enum attempt_state state;
    struct err err = ERR_INIT;

    CHECK_OK(attempt_inspect(f->state, &key, ATTEMPT_LEAVE, &state, &end, NULL, &err), &err);
    return state == ATTEMPT_ENDED ? end.code : -(int)state;
}

static int append(struct files *f, int64_t job, int code)
{
    struct attempt_end end = { .key = { job, 1, 7 }, .outcome = ATTEMPT_EXITED, .code = code };
    struct buf b = BUF_INIT;
    int sys;

    attempt_end_encode(&end, &b);
    sys = shim_identity_append(&f->id, buf_data(&b), buf_len(&b));
    buf_fini(&b);
    return sys;
}

TEST(records_of_all_attempts_in_one_file)
{
    struct files f;

    open_files(&f);
    for (int job = 1; job <= 50; job++) {
        claim(&f, job);
        CHECK_INT(fate(&f, job), -ATTEMPT_ALIVE);
        CHECK_INT(append(&f, job, job), 0);
    }
    for (int job = 1; job <= 50; job++)
        CHECK_INT(fate(&f, job), job);
    CHECK_INT(lseek(f.id.fd, 0, SEEK_END), f.id.size);
    claim(&f, 51);
    shim_identity_drop(&f.id, f.state);
    CHECK_INT(fate(&f, 50), 50);
    CHECK_INT(fate(&f, 51), -ATTEMPT_DEAD);
    close_files(&f);
}

/* The older file goes with its last claim, and keeps its records. */
TEST(renewal)
{
    struct err err = ERR_INIT;
    struct files f;
    char *old;

    open_files(&f);
    claim(&f, 1);
    CHECK_INT(append(&f, 1, 11), 0);
    claim(&f, 2);
    old = mem_strdup(f.id.path);
    CHECK_OK(shim_identity_renew(&f.id, f.state, &err), &err);
    CHECK(strcmp(old, f.id.path) != 0);
    CHECK(faccessat(f.state, old, F_OK, 0) != 0);
    CHECK_INT(fate(&f, 1), 11);
    CHECK_INT(fate(&f, 2), -ATTEMPT_DEAD);
    claim(&f, 3);
    CHECK_INT(append(&f, 3, 13), 0);
    CHECK_INT(fate(&f, 3), 13);
    CHECK_INT(fate(&f, 1), 11);
    free(old);
    close_files(&f);
}

/* A file of that name can only be of a process before the machine's last start. */
TEST(a_namesake_keeps_its_records)
{
    struct err err = ERR_INIT;
    struct files f, g = { .id.fd = -1 };

    open_files(&f);
    claim(&f, 1);
    CHECK_INT(append(&f, 1, 11), 0);
    g.state = f.state;
    CHECK_OK(shim_identity_renew(&g.id, g.state, &err), &err);
    CHECK_STR(g.id.path, f.id.path);
    CHECK_INT(fate(&f, 1), 11);
    claim(&g, 2);
    CHECK_INT(fate(&g, 2), -ATTEMPT_ALIVE);
    shim_identity_drop(&g.id, g.state);
    close_files(&f);
}

static void limit(const struct files *f, int64_t more)
{
    struct rlimit r;

    CHECK(getrlimit(RLIMIT_FSIZE, &r) == 0);
    r.rlim_cur = more < 0 ? r.rlim_max : (rlim_t)(f->id.size + more);
    CHECK(setrlimit(RLIMIT_FSIZE, &r) == 0);
}

TEST(no_room_at_any_byte)
{
    struct files f;
    struct stat st;
    int tried = 0, sys = 1;
    int64_t before;

    signal(SIGXFSZ, SIG_IGN);
    open_files(&f);
    claim(&f, 1);
    claim(&f, 2);
    CHECK_INT(append(&f, 1, 11), 0);
    before = f.id.size;
    for (; sys != 0; tried++) {
        limit(&f, tried);
        sys = append(&f, 2, 12);
        limit(&f, -1);
        CHECK(sys == 0 || sys == ENOSPC || sys == EFBIG);
        CHECK(fstat(f.id.fd, &st) == 0);
        CHECK_INT(st.st_size, f.id.size);
        CHECK_INT(fate(&f, 1), 11);
        CHECK_INT(fate(&f, 2), sys == 0 ? 12 : -ATTEMPT_ALIVE);
    }
    CHECK(tried > 100);
    CHECK_INT(f.id.size, before + tried - 1);
    close_files(&f);
}

/* What can't be taken back at once is taken back before anything else is written. */
TEST(a_piece_that_stays_for_a_while)
{
    struct files f;

    open_files(&f);
    claim(&f, 1);
    claim(&f, 2);
    CHECK(write(f.id.fd, "hive-exit 1\njob=1\natt", 21) == 21);
    f.id.cut = true;
    CHECK_INT(fate(&f, 1), -ATTEMPT_ALIVE);
    CHECK_INT(append(&f, 2, 12), 0);
    CHECK_INT(fate(&f, 2), 12);
    CHECK_INT(append(&f, 1, 11), 0);
    CHECK_INT(fate(&f, 1), 11);
    CHECK_INT(lseek(f.id.fd, 0, SEEK_END), f.id.size);
    close_files(&f);
}
