/* SPDX-License-Identifier: BSD-2-Clause */
#include "faults/work.h"

#include "faults/client.h"

#include <yyjson.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINE_SIZE 37 /* "S 0000002a -0000001 00001 0000012345\n" */
#define BULK_MAX 6

uint32_t work_random(struct work *w, uint32_t below)
{
    /* splitmix64 */
    uint64_t z = (w->seed += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ (z >> 31)) % below);
}

/* ---- making it up ---- */

static void *grown(void *items, size_t *cap, size_t count, size_t size)
{
    if (count < *cap)
        return items;
    *cap = *cap ? *cap * 2 : 256;
    items = realloc(items, *cap * size);
    if (!items)
        abort();
    return items;
}

static enum kind random_kind(struct work *w)
{
    uint32_t n = work_random(w, 100);
    return n < 55   ? KIND_EXIT
           : n < 65 ? KIND_SIGNAL
           : n < 75 ? KIND_RETRY
           : n < 80 ? KIND_ARRAY
           : n < 87 ? KIND_CANCEL
           : n < 94 ? KIND_SLEEP
                    : KIND_LEAVE;
}

static void add_job(struct work *w)
{
    static const int signals[] = { SIGTERM, SIGKILL, SIGSEGV, SIGUSR1 };
    w->jobs = grown(w->jobs, &w->job_cap, w->job_count, sizeof(*w->jobs));
    struct job *j = &w->jobs[w->job_count++];
    memset(j, 0, sizeof(*j));
    j->kind = random_kind(w);
    j->tasks = 1;
    j->lost_allowed = w->lost_allowed;
    j->code = work_random(w, 2) ? 0 : (int)work_random(w, 125);
    j->ms = work_random(w, 2) ? 0 : (int)work_random(w, 50);
    if (j->kind == KIND_SIGNAL)
        j->code = signals[work_random(w, 4)];
    if (j->kind == KIND_RETRY) {
        j->code = 1 + (int)work_random(w, 100);
        j->retry = (int)work_random(w, 3);
        j->fails = (int)work_random(w, 4);
    }
    if (j->kind == KIND_ARRAY) {
        j->tasks = 1 + (int)work_random(w, 9);
        j->limit = (int)work_random(w, 4);
    }
    j->cancel_wanted = j->kind == KIND_CANCEL || j->kind == KIND_SLEEP;
    if (j->kind == KIND_RETRY)
        w->lines += 2 * (j->fails > j->retry ? j->retry + 1 : j->fails + 1);
    else if (!j->cancel_wanted)
        w->lines += 2 * j->tasks;
}

size_t work_new_request(struct work *w)
{
    w->requests = grown(w->requests, &w->request_cap, w->request_count, sizeof(*w->requests));
    struct request *r = &w->requests[w->request_count];
    r->first = w->job_count;
    r->count = work_random(w, 4) ? 1 : 1 + work_random(w, BULK_MAX);
    r->acked = false;
    for (size_t i = 0; i < r->count; i++)
        add_job(w);
    return w->request_count++;
}

static void put_job(const struct work *w, size_t index, FILE *f)
{
    const struct job *j = &w->jobs[index];
    fprintf(f,
            "{\"argv\":[\"%s\",\"job\",\"%s\",\"%zu\",\"%d\",\"%d\",\"%d\",\"%d\"],\"workdir\":\"/"
            "\",\"name\":\"t%zu\"",
            w->self, w->dir, index, (int)j->kind, j->code, j->ms, j->fails, index);
    if (j->retry)
        fprintf(f, ",\"retry\":%d", j->retry);
    if (j->kind == KIND_ARRAY && j->limit)
        fprintf(f, ",\"array\":\"1-%d%%%d\"", j->tasks, j->limit);
    else if (j->kind == KIND_ARRAY)
        fprintf(f, ",\"array\":\"1-%d\"", j->tasks);
    fprintf(f, "}");
}

char *work_request_body(const struct work *w, size_t request)
{
    const struct request *r = &w->requests[request];
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    if (!f)
        abort();
    if (r->count > 1)
        fprintf(f, "{\"jobs\":[");
    for (size_t i = 0; i < r->count; i++) {
        fprintf(f, i ? "," : "");
        put_job(w, r->first + i, f);
    }
    if (r->count > 1)
        fprintf(f, "]}");
    fclose(f);
    return text;
}

const char *work_request_target(const struct work *w, size_t request)
{
    return w->requests[request].count > 1 ? "/jobs/bulk" : "/jobs/submit";
}

void work_request_key(const struct work *w, size_t request, char key[32])
{
    (void)w;
    snprintf(key, 32, "request-%zu", request);
}

bool work_acked(struct work *w, size_t request, const char *body)
{
    struct request *r = &w->requests[request];
    yyjson_doc *doc = yyjson_read(body, strlen(body), 0);
    yyjson_val *root = yyjson_doc_get_root(doc);
    const char *first = yyjson_get_str(yyjson_obj_get(root, r->count > 1 ? "first_id" : "id"));
    int64_t count = r->count > 1 ? yyjson_get_sint(yyjson_obj_get(root, "count")) : 1;
    int64_t id = first ? strtoll(first, NULL, 10) : 0;
    bool good = id > 0 && count == (int64_t)r->count;
    for (size_t i = 0; good && i < r->count; i++)
        w->jobs[r->first + i].id = id + (int64_t)i;
    r->acked = good;
    yyjson_doc_free(doc);
    return good;
}

/* ---- the log ---- */

static char *log_path(const char *dir)
{
    char *path = NULL;
    if (asprintf(&path, "%s/log", dir) < 0)
        abort();
    return path;
}

int64_t work_lines(const struct work *w)
{
    struct stat st;
    char *path = log_path(w->dir);
    int64_t n = stat(path, &st) == 0 ? st.st_size / LINE_SIZE : 0;
    free(path);
    return n;
}

static void wrong(struct work *w, size_t job, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void wrong(struct work *w, size_t job, const char *format, ...)
{
    va_list ap;
    if (w->wrong++ >= 20)
        return;
    const struct job *j = &w->jobs[job];
    printf("# job %" PRId64 " (t%zu, kind %d, code %d, %d ms, retry %d, fails %d): ", j->id, job,
           (int)j->kind, j->code, j->ms, j->retry, j->fails);
    va_start(ap, format);
    vprintf(format, ap);
    va_end(ap);
    printf("\n");
}

static void note_line(struct work *w, char what, size_t tag, int task, int attempt)
{
    if (tag >= w->job_count || (task != -1 && (task < 1 || task > w->jobs[tag].tasks))) {
        printf("# the log has a line of nobody's: %c %zu %d %d\n", what, tag, task, attempt);
        w->wrong++;
        return;
    }
    struct seen *s = &w->jobs[tag].seen[task == -1 ? 0 : task - 1];
    if (what == 'E') {
        s->ends++;
        return;
    }
    if (s->starts++ && attempt <= s->last_attempt)
        s->doubled = true;
    s->last_attempt = attempt;
}

static void read_log(struct work *w)
{
    char line[128], what;
    size_t tag;
    int task, attempt;
    char *path = log_path(w->dir);
    FILE *f = fopen(path, "re");

    free(path);
    for (size_t i = 0; i < w->job_count; i++) {
        free(w->jobs[i].seen);
        w->jobs[i].seen = calloc((size_t)w->jobs[i].tasks, sizeof(struct seen));
    }
    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "%c %8zx %8d %5d", &what, &tag, &task, &attempt) == 4)
            note_line(w, what, tag, task, attempt);
    if (f)
        fclose(f);
}

/* ---- checking ---- */

struct told {
    char status[16];
    int code, signal; /* -1: none */
    int attempts;
};

/* A job as the daemon tells it; false when it doesn't know it. */
static bool read_told(yyjson_val *o, struct told *t)
{
    yyjson_val *code = yyjson_obj_get(o, "exit_code"), *sig = yyjson_obj_get(o, "signal");
    const char *status = yyjson_get_str(yyjson_obj_get(o, "status"));
    snprintf(t->status, sizeof(t->status), "%s", status ? status : "");
    t->code = yyjson_is_int(code) ? (int)yyjson_get_int(code) : -1;
    t->signal = yyjson_is_int(sig) ? (int)yyjson_get_int(sig) : -1;
    t->attempts = (int)yyjson_get_int(yyjson_obj_get(o, "attempts"));
    return status != NULL;
}

static bool is(const struct told *t, const char *status)
{
    return strcmp(t->status, status) == 0;
}

/* `runs`: how often it must have run when it wasn't lost or cancelled. */
static void check_one(struct work *w, size_t index, const struct seen *s, const struct told *t,
                      int code, int sig, int runs)
{
    struct job *j = &w->jobs[index];
    if (s->doubled)
        wrong(w, index, "an attempt began twice");
    if (s->starts > runs)
        wrong(w, index, "ran %d times, not %d", s->starts, runs);
    if (j->lost_allowed && is(t, "lost"))
        return;
    if (j->cancel_wanted && is(t, "cancelled")) {
        if (j->kind == KIND_SLEEP && s->ends)
            wrong(w, index, "was cancelled and yet came to its end");
        return;
    }
    if (j->kind == KIND_SLEEP) {
        wrong(w, index, "is %s, not cancelled", t->status);
        return;
    }
    if (s->starts != runs || s->ends != runs)
        wrong(w, index, "is %s, began %d and ended %d times, not %d", t->status, s->starts, s->ends,
              runs);
    if (t->attempts < runs)
        wrong(w, index, "counts %d attempts, ran %d times", t->attempts, runs);
    if (!is(t, code == 0 && sig == 0 ? "succeeded" : "failed"))
        wrong(w, index, "is %s", t->status);
    if (t->code != (sig ? -1 : code) || t->signal != (sig ? sig : -1))
        wrong(w, index, "exit code %d, signal %d; expected %d, %d", t->code, t->signal,
              sig ? -1 : code, sig ? sig : -1);
}

static void check_tasks(struct work *w, size_t index, yyjson_val *list)
{
    struct job *j = &w->jobs[index];
    yyjson_arr_iter it = yyjson_arr_iter_with(list);
    struct told t;

    if ((int)yyjson_arr_size(list) != j->tasks)
        wrong(w, index, "lists %zu tasks, not %d", yyjson_arr_size(list), j->tasks);
    for (yyjson_val *o; (o = yyjson_arr_iter_next(&it)) != NULL;) {
        int task = (int)yyjson_get_int(yyjson_obj_get(o, "task"));
        if (task < 1 || task > j->tasks || !read_told(o, &t)) {
            wrong(w, index, "lists a task %d", task);
            continue;
        }
        check_one(w, index, &j->seen[task - 1], &t, task % 3, 0, 1);
    }
}

static yyjson_doc *ask(const char *socket_path, const char *target)
{
    char *body = NULL;
    int status = client_call(socket_path, "GET", target, &body);
    yyjson_doc *doc = status == 200 ? yyjson_read(body, strlen(body), 0) : NULL;
    free(body);
    return doc;
}

static void check_job(struct work *w, size_t index, const char *socket_path)
{
    struct job *j = &w->jobs[index];
    char target[64];
    struct told t;

    snprintf(target, sizeof(target), "/jobs/%" PRId64, j->id);
    yyjson_doc *doc = ask(socket_path, target);
    if (!doc || !read_told(yyjson_doc_get_root(doc), &t)) {
        wrong(w, index, "is unknown: it was acknowledged, and lost");
    } else if (j->kind == KIND_ARRAY) {
        snprintf(target, sizeof(target), "/jobs?array=%" PRId64 "&limit=100", j->id);
        yyjson_doc *tasks = ask(socket_path, target);
        check_tasks(w, index, yyjson_obj_get(yyjson_doc_get_root(tasks), "jobs"));
        yyjson_doc_free(tasks);
        if (!j->lost_allowed && !is(&t, "failed")) /* its first task does */
            wrong(w, index, "the array is %s", t.status);
    } else if (j->kind == KIND_RETRY) {
        bool ends_well = j->fails <= j->retry;
        check_one(w, index, &j->seen[0], &t, ends_well ? 0 : j->code, 0,
                  ends_well ? j->fails + 1 : j->retry + 1);
    } else {
        bool sig = j->kind == KIND_SIGNAL;
        check_one(w, index, &j->seen[0], &t, sig ? 0 : j->code, sig ? j->code : 0, 1);
    }
    yyjson_doc_free(doc);
}

/* A request that was sent twice must not have made its jobs twice. */
static void check_count(struct work *w, const char *socket_path)
{
    static const char *const names[] = { "queued",    "running", "succeeded", "failed",
                                         "cancelled", "timeout", "oom",       "lost" };
    yyjson_doc *doc = ask(socket_path, "/jobs?limit=1");
    yyjson_val *counts = yyjson_obj_get(yyjson_doc_get_root(doc), "counts");
    int64_t total = 0;

    printf("#");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        int64_t n = yyjson_get_sint(yyjson_obj_get(counts, names[i]));
        printf(" %s %" PRId64, names[i], n);
        total += n;
    }
    printf("\n");
    if (total != (int64_t)w->job_count) {
        printf("# the daemon has %" PRId64 " jobs; %zu were submitted\n", total, w->job_count);
        w->wrong++;
    }
    yyjson_doc_free(doc);
}

void work_check(struct work *w, const char *socket_path)
{
    w->wrong = 0;
    read_log(w);
    check_count(w, socket_path);
    for (size_t i = 0; i < w->job_count; i++)
        check_job(w, i, socket_path);
}

void work_summary(const struct work *w)
{
    size_t kinds[KIND_COUNT] = { 0 }, tasks = 0, starts = 0;
    for (size_t i = 0; i < w->job_count; i++) {
        kinds[w->jobs[i].kind]++;
        tasks += (size_t)w->jobs[i].tasks;
        for (int k = 0; w->jobs[i].seen && k < w->jobs[i].tasks; k++)
            starts += (size_t)w->jobs[i].seen[k].starts;
    }
    printf("# %zu requests, %zu jobs with %zu tasks, %zu runs: plain %zu, by signal %zu, retried "
           "%zu, arrays %zu, "
           "cancelled %zu, leaving processes %zu\n",
           w->request_count, w->job_count, tasks, starts, kinds[KIND_EXIT], kinds[KIND_SIGNAL],
           kinds[KIND_RETRY], kinds[KIND_ARRAY], kinds[KIND_CANCEL] + kinds[KIND_SLEEP],
           kinds[KIND_LEAVE]);
}

/* ---- the jobs' program ---- */

static void append(const char *dir, char what, const char *tag)
{
    const char *task = getenv("HIVE_TASK_ID"), *attempt = getenv("HIVE_ATTEMPT");
    char line[64], *path = log_path(dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int n = snprintf(line, sizeof(line), "%c %08x %08d %05d %010d\n", what, (unsigned)atoi(tag),
                     task ? atoi(task) : -1, attempt ? atoi(attempt) : 0, (int)getpid());
    free(path);
    if (n != LINE_SIZE || fd < 0 || write(fd, line, (size_t)n) != n)
        _exit(99);
    close(fd);
}

static void pause_ms(int ms)
{
    struct timespec ts = { ms / 1000, ms % 1000 * 1000000L };
    nanosleep(&ts, NULL);
}

/* How often this job was run, this time included. */
static int count_runs(const char *dir, const char *tag)
{
    struct stat st;
    char *path = NULL;
    if (asprintf(&path, "%s/runs.%s", dir, tag) < 0)
        _exit(99);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    free(path);
    if (fd < 0 || write(fd, "x", 1) != 1 || fstat(fd, &st) != 0)
        _exit(99);
    close(fd);
    return (int)st.st_size;
}

static void leave_behind(void)
{
    pid_t pid = fork();
    if (pid != 0)
        return;
    setsid();
    if (fork() == 0)
        pause_ms(3600000);
    _exit(0);
}

int work_job_main(int argc, char **argv)
{
    struct rlimit no_core = { 0, 0 };
    if (argc != 8)
        return 98;
    const char *dir = argv[2], *tag = argv[3], *task = getenv("HIVE_TASK_ID");
    enum kind kind = (enum kind)atoi(argv[4]);
    int code = atoi(argv[5]), ms = atoi(argv[6]), fails = atoi(argv[7]);

    append(dir, 'S', tag);
    if (kind == KIND_LEAVE)
        leave_behind();
    pause_ms(kind == KIND_SLEEP ? 3600000 : ms);
    if (kind == KIND_ARRAY)
        code = task ? atoi(task) % 3 : 97;
    if (kind == KIND_RETRY)
        code = count_runs(dir, tag) > fails ? 0 : code;
    append(dir, 'E', tag);
    if (kind == KIND_SIGNAL) {
        setrlimit(RLIMIT_CORE, &no_core);
        signal(code, SIG_DFL);
        raise(code);
    }
    return code;
}
