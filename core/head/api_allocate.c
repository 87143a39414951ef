/* SPDX-License-Identifier: BSD-2-Clause */
/* Allocations: where an application is to open, and what becomes of it there. */
#include "head/api_priv.h"

#include "base/limits.h"
#include "head/head_allocate.h"

#define WORD_MAX 256

static void open_answer(struct jsonw *w, struct buf *b)
{
    jsonw_init(w, b);
    jsonw_obj_open(w, NULL);
    jsonw_int(w, "api", 1);
}

static void put_known(struct jsonw *w, const char *key, int64_t value)
{
    if (value < 0)
        jsonw_null(w, key);
    else
        jsonw_int(w, key, value);
}

static void put_choice(struct jsonw *w, const struct head *h, const struct head_allocated *a)
{
    const struct choose_rank *first = &a->result.ranks[0];
    const struct choose_host *host = &a->hosts[first->host];
    char id[24];

    snprintf(id, sizeof(id), "%lld", (long long)a->id);
    jsonw_obj_open(w, "allocation");
    jsonw_str(w, "id", a->id ? id : NULL);
    jsonw_str(w, "app", a->app);
    jsonw_str(w, "node", host->name);
    jsonw_str(w, "address", head_allocate_address(h, host->id));
    jsonw_str(w, "reason", first->why);
    jsonw_obj_close(w);
}

static void put_host(struct jsonw *w, const struct choose_host *host, const struct choose_rank *r)
{
    bool in = r->out == CHOOSE_IN;

    jsonw_obj_open(w, NULL);
    jsonw_str(w, "name", host->name);
    jsonw_str(w, "out", in ? NULL : choose_out_name(r->out));
    if (in)
        jsonw_int(w, "score", r->score);
    else
        jsonw_null(w, "score");
    jsonw_obj_open(w, "terms");
    for (int i = 0; i < CHOOSE_TERM_COUNT; i++)
        jsonw_int(w, choose_term_name((enum choose_term)i), r->term[i]);
    jsonw_obj_close(w);
    jsonw_str(w, "reason", r->why);
    jsonw_bool(w, "overloaded", r->overloaded);
    put_known(w, "memory_left_bytes", r->memory_left);
    if (r->cpu_left_milli < 0)
        jsonw_null(w, "cpu_left");
    else
        jsonw_double(w, "cpu_left", (double)r->cpu_left_milli / 1000);
    jsonw_obj_close(w);
}

static void reply_allocated(struct api_call *c, const struct head_allocated *a)
{
    struct buf b = BUF_INIT;
    struct jsonw w;

    open_answer(&w, &b);
    put_choice(&w, c->head, a);
    jsonw_arr_open(&w, "hosts");
    for (size_t i = 0; i < a->result.count; i++)
        put_host(&w, &a->hosts[a->result.ranks[i].host], &a->result.ranks[i]);
    jsonw_arr_close(&w);
    jsonw_obj_close(&w);
    api_reply(c->req, 200, &b);
}

/* The program is all that is wanted of either. */
static int read_command(yyjson_val *o, const char **command, struct err *err)
{
    yyjson_val *argv = NULL;

    if (jsonx_get_str(o, "", "command", LIMIT_JOB_SPEC, command, err) < 0 ||
        jsonx_get_array(o, "", "argv", LIMIT_JOB_ARGS, &argv, err) < 0)
        return -1;
    if (*command && argv)
        return err_set(err, ERR_INVALID, "expected either command or argv, not both");
    if (!*command && !argv)
        return err_set(err, ERR_INVALID, "command: missing; expected a command line, or argv");
    if (argv && !yyjson_is_str(yyjson_arr_get_first(argv)))
        return err_set(err, ERR_INVALID, "argv: expected a list of strings, the program first");
    if (argv)
        *command = yyjson_get_str(yyjson_arr_get_first(argv));
    return 0;
}

static int read_request(yyjson_val *o, struct head_allocate_request *r, struct err *err)
{
    static const char *const known[] = { "command", "argv", "host", "memory", "dry_run", NULL };

    if (!yyjson_is_obj(o))
        return err_set(err, ERR_INVALID, "expected an object with a command");
    if (jsonx_only_fields(o, "", known, err) != 0 || read_command(o, &r->command, err) != 0 ||
        jsonx_get_str(o, "", "host", WORD_MAX, &r->host, err) < 0 ||
        jsonx_get_size(o, "", "memory", &r->memory, err) < 0 ||
        jsonx_get_bool(o, "", "dry_run", &r->dry_run, err) < 0)
        return -1;
    return 0;
}

void api_allocate(struct api_call *c)
{
    struct head_allocate_request r = { 0 };
    struct head_allocated a = { 0 };
    struct err err = ERR_INIT;
    size_t len;
    const char *body = http_request_body(c->req, &len);
    yyjson_doc *doc = jsonx_parse(body, len, &err);

    if (!doc || read_request(yyjson_doc_get_root(doc), &r, &err) != 0 ||
        head_allocate(c->head, &r, &a, &err) != 0)
        api_reply_error(c->req, &err);
    else
        reply_allocated(c, &a);
    head_allocated_fini(&a);
    yyjson_doc_free(doc);
}

/* ---- afterwards ---- */

static void reply_done(struct api_call *c)
{
    struct buf b = BUF_INIT;
    struct jsonw w;

    open_answer(&w, &b);
    jsonw_obj_close(&w);
    api_reply(c->req, 200, &b);
}

/* "12_5" is the task of a job. */
static int check_id(const struct api_call *c, struct err *err)
{
    return c->task < 0 ? 0 : err_set(err, ERR_NOT_FOUND, "there is no such allocation");
}

/* A number with a fraction, 100 for one core. */
static int read_cpu(yyjson_val *o, int64_t *cpu_milli, struct err *err)
{
    yyjson_val *v = yyjson_obj_get(o, "cpu_percent");
    double percent = yyjson_get_num(v);

    if (!v || yyjson_is_null(v))
        return 0;
    if (!yyjson_is_num(v) || !(percent >= 0 && percent <= 1e8))
        return err_set(err, ERR_INVALID,
                       "cpu_percent: expected a number, 100 for one core all the time");
    *cpu_milli = (int64_t)(percent * 10 + 0.5);
    return 0;
}

static int read_report(yyjson_val *o, struct head_allocate_report *r, struct err *err)
{
    static const char *const known[] = { "pid", "memory_bytes", "cpu_percent", "ended", NULL };

    if (!yyjson_is_obj(o))
        return err_set(err, ERR_INVALID, "expected an object such as {\"pid\":1234}");
    if (jsonx_only_fields(o, "", known, err) != 0 ||
        jsonx_get_int(o, "", "pid", 1, INT32_MAX, &r->pid, err) < 0 ||
        jsonx_get_int(o, "", "memory_bytes", 0, INT64_MAX, &r->memory, err) < 0 ||
        jsonx_get_bool(o, "", "ended", &r->ended, err) < 0)
        return -1;
    return read_cpu(o, &r->cpu_milli, err);
}

void api_allocation_report(struct api_call *c)
{
    struct head_allocate_report r = { .memory = -1, .cpu_milli = -1 };
    struct err err = ERR_INIT;
    size_t len;
    const char *body = http_request_body(c->req, &len);
    yyjson_doc *doc = jsonx_parse(body, len, &err);

    if (!doc || read_report(yyjson_doc_get_root(doc), &r, &err) != 0 || check_id(c, &err) != 0 ||
        head_allocate_report(c->head, c->job, &r, &err) != 0)
        api_reply_error(c->req, &err);
    else
        reply_done(c);
    yyjson_doc_free(doc);
}

void api_allocation_drop(struct api_call *c)
{
    struct err err = ERR_INIT;

    if (check_id(c, &err) != 0 || head_allocate_drop(c->head, c->job, &err) != 0)
        api_reply_error(c->req, &err);
    else
        reply_done(c);
}
