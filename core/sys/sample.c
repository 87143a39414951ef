/* SPDX-License-Identifier: BSD-2-Clause */
/* The sampler: which files, in which order. What they mean is elsewhere. */
#include "sys/sample.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"
#include "sys/sample_parse.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define FIRST_READ 16384
#define SLOW_NS (10 * NS_PER_S)
#define LOOK_AGAIN_NS (60 * NS_PER_S) /* an interface joins a bridge without changing its name */

static const char *const file_names[FILE_COUNT] = {
    [FILE_STAT] = "stat",
    [FILE_DISKSTATS] = "diskstats",
    [FILE_NET] = "net/dev",
    [FILE_MEMINFO] = "meminfo",
    [FILE_LOADAVG] = "loadavg",
    [FILE_UPTIME] = "uptime",
    [FILE_CPU_PRESSURE] = "pressure/cpu",
    [FILE_MEMORY_PRESSURE] = "pressure/memory",
    [FILE_IO_PRESSURE] = "pressure/io",
};

static int open_folder(int dirfd, const char *path)
{
    return openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int copy_folders(struct sampler *s, const char *const *folders, struct err *err)
{
    for (size_t i = 0; folders && folders[i]; i++) {
        if (i == SAMPLE_FOLDERS_MAX)
            return err_set(err, ERR_TOO_LARGE, "more than %d folders to watch", SAMPLE_FOLDERS_MAX);
        s->folders[i] = mem_strdup(folders[i]);
        s->sample.folders[i].path = s->folders[i];
        s->sample.folder_count = ++s->folder_count;
    }
    return 0;
}

struct sampler *sampler_create(const struct sampler_options *options, struct err *err)
{
    struct sampler *s = mem_alloc(sizeof *s);
    const char *root = options->root ? options->root : "/";

    s->rootfd = s->procfd = s->sysfd = -1;
    for (size_t i = 0; i < FILE_COUNT; i++)
        s->files[i] = -1;
    s->clock = options->clock ? options->clock : &clock_system;
    if (copy_folders(s, options->folders, err) != 0)
        goto fail;
    sample_reset(&s->sample);
    if (options->text)
        return s;
    s->rootfd = open_folder(AT_FDCWD, root);
    s->procfd = s->rootfd >= 0 ? open_folder(s->rootfd, "proc") : -1;
    if (s->procfd < 0) {
        err_sys(err, errno, "can't measure this machine: %s%sproc", root,
                root[0] && root[strlen(root) - 1] == '/' ? "" : "/");
        goto fail;
    }
    s->sysfd = open_folder(s->rootfd, "sys");
    ssize_t n = sampler_read_file(s, s->procfd, "sys/kernel/random/boot_id");
    if (n > 0)
        sample_parse_boot_id(s->text, (size_t)n, s->boot_id);
    return s;
fail:
    sampler_destroy(s);
    return NULL;
}

static void close_if(int fd)
{
    if (fd >= 0)
        close(fd);
}

void sampler_destroy(struct sampler *s)
{
    if (!s)
        return;
    close_if(s->rootfd);
    close_if(s->procfd);
    close_if(s->sysfd);
    for (size_t i = 0; i < FILE_COUNT; i++)
        close_if(s->files[i]);
    for (size_t i = 0; i < s->folder_count; i++)
        free(s->folders[i]);
    sample_counters_fini(&s->counters[0]);
    sample_counters_fini(&s->counters[1]);
    sample_kinds_fini(&s->disks);
    sample_kinds_fini(&s->nets);
    free(s->arrays.cores);
    free(s->arrays.interfaces);
    free(s->text);
    free(s);
}

static void more_room(struct sampler *s)
{
    size_t cap = s->text_cap ? s->text_cap * 2 : FIRST_READ;

    s->text_cap = cap < SAMPLE_FILE_MAX ? cap : SAMPLE_FILE_MAX;
    s->text = mem_resize(s->text, s->text_cap, 1);
}

/* All of an open file into s->text, from its beginning. Its length, or -1. */
static ssize_t read_all(struct sampler *s, int fd)
{
    size_t len = 0;

    while (len < SAMPLE_FILE_MAX) {
        ssize_t n;
        if (len == s->text_cap)
            more_room(s);
        n = pread(fd, s->text + len, s->text_cap - len, (off_t)len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    return (ssize_t)len;
}

/* A regular file, or -1. Doesn't wait for whoever writes a FIFO. */
static int open_file(int dirfd, const char *path)
{
    int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;

    if (fd >= 0 && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))) {
        close(fd);
        return -1;
    }
    return fd;
}

ssize_t sampler_read_file(struct sampler *s, int dirfd, const char *path)
{
    int fd = open_file(dirfd, path);
    ssize_t n = fd >= 0 ? read_all(s, fd) : -1;

    close_if(fd);
    return n;
}

/* One of those that stay open. Were it useless, the next sample would open it again. */
static ssize_t read_kept(struct sampler *s, enum sampler_file which)
{
    ssize_t n;

    if (s->files[which] < 0)
        s->files[which] = open_file(s->procfd, file_names[which]);
    if (s->files[which] < 0)
        return -1;
    n = read_all(s, s->files[which]);
    if (n < 0) {
        close(s->files[which]);
        s->files[which] = -1;
    }
    return n;
}

struct sample_counters *sampler_next(struct sampler *s)
{
    struct sample_counters *c = &s->counters[1 - s->current];

    sample_counters_clear(c);
    return c;
}

/* Files whose meaning goes into the sample itself, and into the counters. */
static void read_state(struct sampler *s, struct sample *out)
{
    ssize_t n;

    if ((n = read_kept(s, FILE_MEMINFO)) > 0)
        sample_parse_meminfo(s->text, (size_t)n, &out->memory);
    if ((n = read_kept(s, FILE_LOADAVG)) > 0)
        sample_parse_loadavg(s->text, (size_t)n, out);
    if ((n = read_kept(s, FILE_UPTIME)) > 0)
        out->uptime_ns = sample_parse_uptime_ns(s->text, (size_t)n);
    if ((n = read_kept(s, FILE_CPU_PRESSURE)) > 0)
        sample_parse_pressure(s->text, (size_t)n, &out->cpu_pressure);
    if ((n = read_kept(s, FILE_MEMORY_PRESSURE)) > 0)
        sample_parse_pressure(s->text, (size_t)n, &out->memory_pressure);
    if ((n = read_kept(s, FILE_IO_PRESSURE)) > 0)
        sample_parse_pressure(s->text, (size_t)n, &out->io_pressure);
}

static void read_counters(struct sampler *s, struct sample_counters *c)
{
    ssize_t n;

    if ((n = read_kept(s, FILE_STAT)) > 0)
        sample_parse_stat(s->text, (size_t)n, c);
    if ((n = read_kept(s, FILE_DISKSTATS)) > 0)
        sample_parse_diskstats(s->text, (size_t)n, c);
    if ((n = read_kept(s, FILE_NET)) > 0)
        sample_parse_net(s->text, (size_t)n, c);
}

/* Kinds cost some calls for each name and hardly ever change. */
static void look_at_kinds(struct sampler *s, const struct sample_counters *c, int64_t now_ns)
{
    uint64_t hash = c->disk_count;

    for (size_t i = 0; i < c->disk_count; i++)
        hash = hash * 31 + map_hash(c->disks[i].name, strlen(c->disks[i].name));
    for (size_t i = 0; i < c->net_count; i++)
        hash = hash * 31 + map_hash(c->nets[i].name, strlen(c->nets[i].name));
    if (s->any && hash == s->looked_names && now_ns - s->looked_ns < LOOK_AGAIN_NS)
        return;
    sample_kinds_look(s->sysfd, c, &s->disks, &s->nets);
    s->looked_names = hash;
    s->looked_ns = now_ns;
}

static bool process_alive(int64_t pid, void *arg)
{
    struct sampler *s = arg;
    char name[24];

    snprintf(name, sizeof name, "%lld", (long long)pid);
    if (faccessat(s->procfd, name, F_OK, 0) == 0)
        return true;
    /* Where others' processes are hidden (hidepid), it is there and not ours to signal. */
    return kill((pid_t)pid, 0) != 0 && errno == EPERM;
}

static void read_sessions(struct sampler *s, int fd, struct sample_users *u)
{
    DIR *dir = fdopendir(fd);
    struct dirent *e;
    size_t files = 0;

    if (!dir) {
        close(fd);
        return;
    }
    u->count = u->sessions = 0;
    while (files < SAMPLE_SESSIONS_MAX && (e = readdir(dir))) {
        ssize_t n;
        if (strchr(e->d_name, '.')) /* "3.ref" is a FIFO */
            continue;
        files++;
        if ((n = sampler_read_file(s, dirfd(dir), e->d_name)) > 0)
            sample_parse_session(s->text, (size_t)n, u);
    }
    closedir(dir);
}

static void read_users(struct sampler *s, struct sample_users *u)
{
    ssize_t n = sampler_read_file(s, s->rootfd, "run/utmp");
    int fd;

    if (n < 0)
        n = sampler_read_file(s, s->rootfd, "var/run/utmp");
    if (n > 0 && sample_parse_utmp(s->text, (size_t)n, process_alive, s, u))
        return;
    fd = open_folder(s->rootfd, "run/systemd/sessions");
    if (fd >= 0)
        read_sessions(s, fd, u);
}

static int64_t count_processes(int procfd)
{
    int fd = open_folder(procfd, ".");
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *e;
    int64_t count = 0;

    if (!dir) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    while ((e = readdir(dir)))
        count += isdigit((unsigned char)e->d_name[0]) != 0;
    closedir(dir);
    return count;
}

static int64_t times(uint64_t blocks, uint64_t size)
{
    uint64_t bytes;

    if (__builtin_mul_overflow(blocks, size, &bytes) || bytes > (uint64_t)SAMPLE_NUMBER_MAX)
        return SAMPLE_NUMBER_MAX;
    return (int64_t)bytes;
}

static void read_folder(struct sample_folder *f)
{
    struct statvfs v;
    int rc;

    do
        rc = statvfs(f->path, &v);
    while (rc != 0 && errno == EINTR);
    if (rc != 0)
        return;
    f->total = times(v.f_blocks, v.f_frsize);
    f->free = times(v.f_bavail, v.f_frsize);
    if (v.f_files > 0) {
        f->files = times(v.f_files, 1);
        f->files_free = times(v.f_favail, 1);
    }
}

/* What changes slowly and costs most. */
static void read_slow(struct sampler *s, struct sample_counters *c, int64_t now_ns)
{
    const struct sample_counters *prev = &s->counters[s->current];
    ssize_t n;

    if (s->any && now_ns - s->slow_ns < SLOW_NS) {
        memcpy(c->allowed, prev->allowed, sizeof c->allowed);
        c->allowed_count = prev->allowed_count;
        return;
    }
    s->slow_ns = now_ns;
    if ((n = sampler_read_file(s, s->procfd, "self/status")) > 0)
        sample_parse_allowed(s->text, (size_t)n, c);
    s->users.count = s->users.sessions = -1;
    read_users(s, &s->users);
    s->processes = count_processes(s->procfd);
}

const struct sample *sampler_take(struct sampler *s)
{
    struct sample *out = &s->sample;
    int64_t now_ns = clock_mono_ns(s->clock);
    struct sample_counters *c;

    if (s->procfd < 0 || (s->any && now_ns - out->taken_ns < SAMPLE_INTERVAL_MIN_NS))
        return out;
    c = sampler_next(s);
    sample_reset(out);
    /* The counters first and together: the time was taken for them. */
    read_counters(s, c);
    c->time_ns = out->taken_ns = now_ns;
    memcpy(out->boot_id, s->boot_id, sizeof out->boot_id);
    read_state(s, out);
    read_slow(s, c, now_ns);
    out->users = s->users;
    out->processes = s->processes;
    for (size_t i = 0; i < out->folder_count; i++)
        read_folder(&out->folders[i]);
    look_at_kinds(s, c, now_ns);
    sample_rates(s->any ? &s->counters[s->current] : NULL, c, &s->disks, &s->nets, &s->arrays, out);
    s->current = 1 - s->current;
    s->any = true;
    return out;
}
