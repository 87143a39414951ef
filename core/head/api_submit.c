/* SPDX-License-Identifier: BSD-2-Clause */
/* POST /jobs/submit and /jobs/bulk. */
#include "head/api_priv.h"

#include "base/conf.h"
#include "base/limits.h"
#include "base/str.h"
#include "net/tls_digest.h"

#include <inttypes.h>

/* A submit between staging and commit. The client may be gone by then: req is NULL. */
struct pending {
    struct head_op op;
    struct http_request *req;
    struct head_submit submit;
    bool bulk;
    struct buf warnings;
    char *user;
};

static void put_warnings(struct jsonw *w, const struct buf *warnings)
{
    jsonw_arr_open(w, "warnings");
    for (const char *p = buf_data(warnings); *p;) {
        size_t n = strcspn(p, "\n");
        jsonw_strn(w, NULL, p, n);
        p += n + (p[n] == '\n');
    }
    jsonw_arr_close(w);
}

static void put_id(struct jsonw *w, const char *key, int64_t id)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRId64, id);
    jsonw_str(w, key, text);
}

static void put_result(const struct pending *p, struct buf *b)
{
    struct jsonw w;
    jsonw_init(&w, b);
    jsonw_obj_open(&w, NULL);
    jsonw_int(&w, "api", 1);
    if (!p->bulk) {
        put_id(&w, "job_id", p->submit.first_id);
        put_id(&w, "id", p->submit.first_id);
        jsonw_str(&w, "message",
                  p->submit.existing ? "Job was already submitted" : "Job submitted successfully");
        jsonw_str(&w, "status", "queued");
    } else {
        jsonw_arr_open(&w, "job_ids");
        for (size_t i = 0; i < p->submit.count; i++)
            put_id(&w, NULL, p->submit.first_id + (int64_t)i);
        jsonw_arr_close(&w);
        put_id(&w, "first_id", p->submit.first_id);
        put_id(&w, "last_id", p->submit.first_id + (int64_t)p->submit.count - 1);
        jsonw_int(&w, "count", (int64_t)p->submit.count);
    }
    jsonw_bool(&w, "existing", p->submit.existing);
    put_warnings(&w, &p->warnings);
    jsonw_obj_close(&w);
}

static void on_done(struct head_op *op, const struct err *err)
{
    struct pending *p = CONTAINER_OF(op, struct pending, op);
    if (p->req && err) {
        api_reply_error(p->req, err);
    } else if (p->req) {
        struct buf b = BUF_INIT;
        put_result(p, &b);
        api_reply(p->req, 200, &b);
    }
    buf_fini(&p->warnings);
    free(p->user);
    free(p);
}

static void on_gone(struct http_request *req, void *data)
{
    (void)req;
    ((struct pending *)data)->req = NULL;
}

static void put_seconds(struct jsonw *w, const char *key, int64_t ns)
{
    if (ns)
        jsonw_double(w, key, (double)ns / 1e9);
    else
        jsonw_null(w, key);
}

/* Arrays: which tasks, and how many at once. */
static void put_dry_array(const struct spec *s, struct jsonw *w)
{
    if (!s->is_array) {
        jsonw_null(w, "array");
        return;
    }
    jsonw_int(w, "tasks", (s->last - s->first) / s->step + 1);
    jsonw_obj_open(w, "array");
    jsonw_int(w, "first", s->first);
    jsonw_int(w, "last", s->last);
    jsonw_int(w, "step", s->step);
    jsonw_int(w, "limit", s->limit);
    jsonw_int(w, "total", (s->last - s->first) / s->step + 1);
    jsonw_bool(w, "lines", s->lines != NULL);
    jsonw_obj_close(w);
}

static void put_dry_env(const struct spec *s, struct jsonw *w)
{
    yyjson_obj_iter it = yyjson_obj_iter_with(s->env);

    jsonw_obj_open(w, "env");
    for (yyjson_val *k; s->env && (k = yyjson_obj_iter_next(&it)) != NULL;)
        jsonw_str(w, yyjson_get_str(k), yyjson_get_str(yyjson_obj_iter_get_val(k)));
    jsonw_obj_close(w);
}

static void put_dry_after(const struct spec *s, struct jsonw *w)
{
    jsonw_arr_open(w, "after");
    for (size_t i = 0; i < s->dep_count; i++) {
        char text[48];
        snprintf(text, sizeof(text), "%" PRId64 ":%s", s->deps[i].job,
                 spec_dep_when_name(s->deps[i].when));
        jsonw_str(w, NULL, text);
    }
    jsonw_arr_close(w);
}

/* The job as it would be: all that was asked for, and the settings that fill gaps. */
static void put_dry_job(struct api_call *c, const struct spec *s, const struct pending *p,
                        struct jsonw *w)
{
    static const char *const on_lost[] = { NULL, "hold", "requeue" };
    struct buf text = BUF_INIT;

    jsonw_null(w, "id");
    if (s->name)
        buf_append_str(&text, s->name);
    else
        spec_default_name(s, &text);
    jsonw_str(w, "name", buf_data(&text));
    buf_clear(&text);
    spec_command_text(s, &text);
    jsonw_str(w, "command", buf_data(&text));
    buf_fini(&text);
    jsonw_str(w, "user", p->user);
    jsonw_int(w, "threads", s->threads);
    jsonw_int(w, "memory_bytes", s->memory);
    jsonw_int(w, "gpus", s->gpus);
    jsonw_int(w, "priority", s->priority);
    put_seconds(w, "timeout_seconds",
                s->timeout_ns ? s->timeout_ns : conf_int(c->api->conf, CONF_jobs_default_timeout));
    jsonw_int(w, "retries_left", s->retry);
    put_seconds(w, "retry_delay_seconds", s->retry_delay_ns);
    jsonw_str(w, "on_lost",
              s->on_lost ? on_lost[s->on_lost] : conf_str(c->api->conf, CONF_jobs_on_lost));
    jsonw_bool(w, "held", s->hold);
    jsonw_str(w, "node", s->node);
    jsonw_str(w, "workdir", s->workdir);
    jsonw_str(w, "stdout_path", s->stdout_path);
    jsonw_str(w, "stderr_path", s->stderr_path);
    put_dry_after(s, w);
    put_dry_env(s, w);
    put_dry_array(s, w);
}

static void reply_dry_run(struct api_call *c, const struct spec *s, const struct pending *p)
{
    struct buf b = BUF_INIT, text = BUF_INIT;
    struct jsonw w;

    jsonw_init(&w, &b);
    jsonw_obj_open(&w, NULL);
    jsonw_int(&w, "api", 1);
    jsonw_bool(&w, "dry_run", true);
    jsonw_obj_open(&w, "job");
    put_dry_job(c, s, p, &w);
    jsonw_obj_close(&w);
    head_forecast(c->head, s, p->user, &text);
    jsonw_str(&w, "reason", buf_data(&text));
    put_warnings(&w, &p->warnings);
    jsonw_obj_close(&w);
    buf_fini(&text);
    api_reply(c->req, 200, &b);
}

/* On failure, too, *specs holds *count of them. */
static int read_specs(struct api_call *c, yyjson_val *root, struct spec **specs, size_t *count,
                      struct pending *p, struct err *err)
{
    static const char *const known[] = { "jobs", "defaults", NULL };
    yyjson_val *list = root, *defaults = NULL;
    size_t want = 1;

    *specs = NULL;
    *count = 0;
    if (p->bulk) {
        list = NULL;
        if (!yyjson_is_obj(root))
            return err_set(err, ERR_INVALID, "expected an object with the field jobs");
        if (jsonx_only_fields(root, "", known, err) != 0 ||
            jsonx_get_array(root, "", "jobs", LIMIT_BULK_JOBS, &list, err) < 0 ||
            jsonx_get_object(root, "", "defaults", &defaults, err) < 0)
            return -1;
        if (!list || yyjson_arr_size(list) == 0)
            return err_set(err, ERR_INVALID, "jobs: expected a list with at least one job");
        want = yyjson_arr_size(list);
    }
    *specs = mem_alloc_array(want, sizeof(**specs));
    yyjson_val *v = p->bulk ? yyjson_arr_get_first(list) : root;
    for (size_t i = 0; i < want; i++, v = unsafe_yyjson_get_next(v)) {
        char where[40] = "";
        if (p->bulk)
            snprintf(where, sizeof(where), "jobs[%zu].", i);
        if (spec_read(&(*specs)[i], v, defaults, where, false, err) != 0)
            return -1;
        ++*count;
        if (head_check(c->head, &(*specs)[i], where, &p->warnings, err) != 0)
            return -1;
    }
    return 0;
}

static int read_key(struct api_call *c, struct head_submit *s,
                    unsigned char digest[DIGEST_SHA256_SIZE], const char *body, size_t len,
                    struct err *err)
{
    s->key = http_message_field(c->msg, "idempotency-key");
    if (!s->key)
        return 0;
    size_t n = strlen(s->key);
    if (n == 0 || n > LIMIT_IDEMPOTENCY_KEY || !str_is_utf8(s->key, n) ||
        http_message_field_count(c->msg, "idempotency-key") > 1)
        return err_set(err, ERR_INVALID, "Idempotency-Key: expected one value of 1 to %d bytes",
                       LIMIT_IDEMPOTENCY_KEY);
    digest_sha256(c->msg->path, strlen(c->msg->path) + 1, body, len, digest);
    s->digest = digest;
    return 0;
}

/* A request that was accepted before gets the same answer, whatever has changed since. */
static int stage(struct api_call *c, yyjson_val *root, struct spec **specs, size_t *count,
                 struct pending *p, struct err *err)
{
    unsigned char digest[DIGEST_SHA256_SIZE];
    char owner[16];
    size_t len;
    const char *body = http_request_body(c->req, &len);

    snprintf(owner, sizeof(owner), "%u", (unsigned)api_uid(c->req));
    p->submit.user = p->user;
    p->submit.owner = owner;
    if (read_key(c, &p->submit, digest, body, len, err) != 0)
        return -1;
    int known = head_known_key(c->head, &p->submit, err);
    if (known == 0) {
        if (read_specs(c, root, specs, count, p, err) != 0)
            return -1;
        p->submit.specs = *specs;
        p->submit.count = *count;
    }
    int rc = known < 0 ? -1 : head_submit(c->head, &p->submit, &p->op, err);
    p->submit.specs = NULL;
    p->submit.owner = NULL;
    p->submit.digest = NULL;
    return rc;
}

static void submit(struct api_call *c, bool bulk)
{
    struct err err = ERR_INIT;
    struct spec *specs = NULL;
    size_t len, count = 0;
    const char *body = http_request_body(c->req, &len);
    struct pending *p = mem_alloc(sizeof(*p));
    bool dry_run = !bulk && api_query_flag(c, "dry_run");
    int rc = -1;

    p->bulk = bulk;
    p->op.done = on_done;
    p->user = api_user(c);
    yyjson_doc *doc = jsonx_parse(body, len, &err);
    if (doc && dry_run) {
        rc = read_specs(c, yyjson_doc_get_root(doc), &specs, &count, p, &err);
        if (rc == 0) {
            reply_dry_run(c, &specs[0], p);
            buf_fini(&p->warnings);
            free(p->user);
            MEM_FREE(p);
        }
    } else if (doc) {
        rc = stage(c, yyjson_doc_get_root(doc), &specs, &count, p, &err);
    }
    for (size_t i = 0; i < count; i++)
        spec_fini(&specs[i]);
    free(specs);
    yyjson_doc_free(doc);
    if (rc != 0) {
        api_reply_error(c->req, &err);
        buf_fini(&p->warnings);
        free(p->user);
        free(p);
    } else if (p) {
        p->req = c->req;
        http_request_set_data(c->req, p, on_gone);
    }
}

void api_submit(struct api_call *c)
{
    submit(c, false);
}

void api_bulk(struct api_call *c)
{
    submit(c, true);
}
