/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A hostile or damaged hive.db: opening it, and using it when it opens, never crashes. What follows
 * the marker HIVE-WAL in the input is put in hive.db-wal.
 */
#include "base/err.h"
#include "base/fs.h"
#include "base/mem.h"
#include "store/store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARKER "HIVE-WAL"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static bool look_at_job(void *arg, const struct store_job *j)
{
    size_t *bytes = arg;

    *bytes += strlen(j->user) + (j->name ? strlen(j->name) : 0) + (j->spec ? strlen(j->spec) : 0);
    return true;
}

static bool look_at_attempt(void *arg, const struct store_attempt *a)
{
    size_t *bytes = arg;

    *bytes += a->message ? strlen(a->message) : 0;
    return true;
}

static void look_at_use(void *arg, const char *user, double thread_seconds, int64_t wall_ns)
{
    size_t *bytes = arg;

    (void)thread_seconds;
    (void)wall_ns;
    *bytes += strlen(user);
}

static void read_all(struct store *s)
{
    const struct store_filter filters[] = {
        { .limit = 100 },
        { .limit = 100, .with_tasks = true },
        { .limit = 100, .by_finish = true },
        { .limit = 100, .array_id = 2 },
        { .limit = 100, .name_like = "e" },
    };
    unsigned char digest[32];
    size_t bytes = 0;
    int64_t a, b;
    char *line = NULL;

    for (size_t i = 0; i < ARRAY_LEN(filters); i++)
        store_job_list(s, &filters[i], look_at_job, &bytes, NULL);
    store_job_each_live(s, 2, true, look_at_job, &bytes, NULL);
    store_attempt_each_open(s, look_at_attempt, &bytes, NULL);
    store_attempt_each(s, 1, look_at_attempt, &bytes, NULL);
    store_use_each(s, look_at_use, &bytes, NULL);
    store_key_get(s, "ann", "nightly", digest, &a, &b, NULL);
    store_line_get(s, 2, 1, &line, NULL);
    free(line);
    store_check(s, NULL);
}

static void change_some(struct store *s)
{
    int64_t id, removed;

    if (store_begin(s, NULL) != 0)
        return;
    struct store_job j = { .id = 1, .status = 3, .finished_ns = 5, .user = "eve", .spec = "{}" };
    if (store_job_update(s, &j, NULL) != 0 || store_next_ids(s, 1, &id, NULL) != 0)
        return;
    j.id = id;
    if (store_job_insert(s, &j, NULL) == 0 &&
        store_attempt_insert(s, &(struct store_attempt){ .job = id, .number = 1 }, NULL) == 0)
        store_commit(s, NULL);
    if (store_begin(s, NULL) == 0 &&
        store_prune(s, 2, INT64_MAX, 0, INT64_MAX, 1000, NULL, NULL, &removed, NULL) == 0)
        store_commit(s, NULL);
}

static char dir[64];

static void remove_dir(void)
{
    rmdir(dir);
}

/* A folder for this process, in memory where there is such a place. */
static const char *state_dir(void)
{
    if (!dir[0]) {
        snprintf(dir, sizeof dir, "%s/hive-fuzz-store-%d",
                 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", (int)getpid());
        if (mkdir(dir, 0700) != 0)
            abort();
        atexit(remove_dir);
    }
    return dir;
}

static void put(const char *name, const unsigned char *data, size_t size)
{
    char *path = fs_join(state_dir(), name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0 || fs_write_all(fd, data, size) != 0)
        abort();
    close(fd);
    free(path);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    const unsigned char *marker = size ? memmem(data, size, MARKER, strlen(MARKER)) : NULL;
    size_t db_size = marker ? (size_t)(marker - data) : size;

    put("hive.db", data, db_size);
    if (marker)
        put("hive.db-wal", marker + strlen(MARKER), size - db_size - strlen(MARKER));
    struct store *s = store_open(state_dir(), NULL, NULL);
    if (s) {
        read_all(s);
        change_some(s);
        read_all(s);
        store_close(s);
    }
    int parent = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0 || fs_remove_tree(parent, dir + 1, NULL) != 0 || mkdir(dir, 0700) != 0)
        abort();
    close(parent);
    return 0;
}
