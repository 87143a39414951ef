/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "cmd/job_wait.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "cmd/client.h"
#include "cmd/cmd.h"
#include "cmd/job_view.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

/* The daemon is asked anew after this long. */
#define WAIT_STEP_S 120

/* A handler has nothing but globals to look at. */
static char detach_message[256];
static volatile sig_atomic_t detach_len;

static void on_interrupt(int signo)
{
    (void)!write(STDERR_FILENO, detach_message, (size_t)detach_len);
    /* The default action is back (SA_RESETHAND): the shell sees an end by SIGINT and stops its
     * loop. */
    raise(signo);
}

void job_wait_detach_on_interrupt(const char *id)
{
    struct sigaction sa = { .sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND };
    int n = snprintf(detach_message, sizeof(detach_message),
                     "\nhive: job %s goes on; wait again: hive wait %s, end it: hive cancel %s\n",
                     id, id, id);
    detach_len = n < (int)sizeof(detach_message) ? n : (int)sizeof(detach_message) - 1;
    sigaction(SIGINT, &sa, NULL);
}

static int timed_out(const char *id, struct err *err)
{
    err_set(err, ERR_TIMEOUT, "job %s has not ended yet", id);
    return err_hint(err, "wait again: hive wait %s", id);
}

/* One question, held by the daemon for a while. */
static yyjson_doc *ask(struct client *c, const char *id, int64_t deadline_ns, struct err *err)
{
    struct buf path = BUF_INIT;
    int64_t left = deadline_ns ? deadline_ns - clock_mono_ns(&clock_system) : INT64_MAX;
    int64_t step = left < WAIT_STEP_S * NS_PER_S ? (left + NS_PER_S - 1) / NS_PER_S : WAIT_STEP_S;
    struct client_request r = {
        .method = "GET",
        .timeout_ns = left < step * NS_PER_S ? left : (step + 30) * NS_PER_S,
    };
    if (left <= 0) {
        timed_out(id, err);
        return NULL;
    }
    client_job_path(&path, id, NULL);
    buf_printf(&path, "?wait=%d", (int)step);
    r.path = buf_data(&path);
    yyjson_doc *doc = client_call_json(c, &r, err);
    if (!doc && err->kind == ERR_TIMEOUT && deadline_ns &&
        clock_mono_ns(&clock_system) >= deadline_ns)
        timed_out(id, err);
    buf_fini(&path);
    return doc;
}

static int come_back(struct client *c, int64_t deadline_ns, bool *said, struct err *err)
{
    int64_t until = clock_mono_ns(&clock_system) + CLIENT_RETRY_WAIT_NS;
    if (deadline_ns && deadline_ns < until)
        until = deadline_ns;
    if (client_reconnect(c, clock_mono_ns(&clock_system) + 200 * NS_PER_MS, err) == 0)
        return 0;
    if (!*said)
        cmd_msg("the daemon is gone; waiting up to %d s for it to come back",
                (int)(CLIENT_RETRY_WAIT_NS / NS_PER_S));
    *said = true;
    return client_reconnect(c, until, err);
}

yyjson_doc *job_wait(struct client *c, const char *id, int64_t deadline_ns, struct err *err)
{
    bool said = false;
    for (;;) {
        int64_t asked_ns = clock_mono_ns(&clock_system);
        yyjson_doc *doc = ask(c, id, deadline_ns, err);
        if (doc) {
            struct job_view v;
            job_view_read(&v, yyjson_doc_get_root(doc));
            if (job_view_final(&v))
                return doc;
            yyjson_doc_free(doc);
            /* A daemon that answers at once although nothing happened is shutting down. */
            if (clock_mono_ns(&clock_system) - asked_ns < 20 * NS_PER_MS)
                nanosleep(&(struct timespec){ .tv_nsec = 50 * 1000 * 1000 }, NULL);
            continue;
        }
        if (err->kind != ERR_UNAVAILABLE || come_back(c, deadline_ns, &said, err) != 0)
            return NULL;
    }
}
