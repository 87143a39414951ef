/* SPDX-License-Identifier: BSD-2-Clause */
/* The REST API over a real socket, with a head on a clock and a disk of the test's own. */
#include "unit/head_check.h"

#include "assets.h"
#include "base/fs.h"
#include "base/limits.h"
#include "head/api.h"
#include "head/api_priv.h"
#include "net/sock.h"

#include <fcntl.h>
#include <sys/socket.h>

static struct rig r;
static struct api *api;
static char *socket_path;

static void on_job_changed(struct rig *rig, int64_t job, bool final)
{
    (void)rig;
    api_job_changed(api, job, final);
}

static void begin(const char *threads)
{
    struct err err = ERR_INIT;

    rig_init(&r, threads);
    api = api_create(r.loop, &r.log, r.conf, &err);
    CHECK(api);
    socket_path = mem_printf("%s/s", unit_tmpdir());
    int fd = sock_listen_unix(socket_path, SOCK_STREAM, &err);
    CHECK(fd >= 0);
    CHECK_OK(api_listen_unix(api, fd, &err), &err);
    api_set_head(api, r.head);
    r.changed = on_job_changed;
}

static void end(void)
{
    api_destroy(api);
    free(socket_path);
    rig_fini(&r);
}

/* --- a client --------------------------------------------------------------------------------- */

static int dial(void)
{
    struct err err = ERR_INIT;
    int fd = sock_connect_unix(socket_path, SOCK_STREAM, NS_PER_S, &err);

    CHECK(fd >= 0);
    CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    return fd;
}

static void send_request(int fd, const char *method, const char *path, const char *fields,
                         const char *body)
{
    char *type =
        body ? mem_printf("Content-Type: application/json\r\nContent-Length: %zu\r\n", strlen(body))
             : mem_strdup("");
    char *text = mem_printf("%s /api/v1%s HTTP/1.1\r\nHost: localhost\r\n%s%s\r\n%s", method, path,
                            fields, type, body ? body : "");
    for (char *p = strstr(text, "\r\n\r\n"); *p; p++)
        if (*p == '\'')
            *p = '"';
    CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    free(type);
    free(text);
}

/* Reads what is there. False at the end of the connection. */
static bool receive(int fd, struct buf *b)
{
    for (;;) {
        ssize_t n = read(fd, buf_reserve(b, 65536), 65536);
        if (n <= 0)
            return n < 0 && errno == EAGAIN;
        buf_added(b, (size_t)n);
    }
}

static void some_turns(int fd, struct buf *b)
{
    for (int i = 0; i < 6; i++) {
        rig_report();
        rig_turn(&r);
        receive(fd, b);
    }
}

/* The body of the only answer; *status its status. malloc'd. */
static char *answer_of(const struct buf *b, int *status)
{
    const char *text = buf_data(b), *end_of_header = strstr(text, "\r\n\r\n");

    if (!end_of_header)
        unit_fail(__FILE__, __LINE__, "no answer: %s", text);
    CHECK(str_starts(text, "HTTP/1.1 "));
    *status = (int)strtol(text + 9, NULL, 10);
    return mem_strdup(end_of_header + 4);
}

static char *call(const char *method, const char *path, const char *fields, const char *body,
                  int *status)
{
    struct buf b = BUF_INIT;
    int fd = dial();

    send_request(fd, method, path, fields, body);
    some_turns(fd, &b);
    char *answer = answer_of(&b, status);
    buf_fini(&b);
    close(fd);
    rig_turn(&r);
    return answer;
}

static void expect(const char *method, const char *path, const char *body, int status,
                   const char *part)
{
    int got;
    char *answer = call(method, path, "", body, &got);

    if (got != status || (part && !strstr(answer, part)))
        unit_fail(__FILE__, __LINE__, "%s %s: %d %s", method, path, got, answer);
    free(answer);
}

static void end_job(int64_t id, int code)
{
    rig_end(rig_shim(id, 0), ATTEMPT_EXITED, code);
    rig_turns(&r);
}

/* --- routes ----------------------------------------------------------------------------------- */

/* Names, separated by blanks, in their order. */
static void query_params(yyjson_val *operation, struct buf *out)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_obj_get(operation, "parameters"));

    for (yyjson_val *v; (v = yyjson_arr_iter_next(&it)) != NULL;)
        if (str_eq(yyjson_get_str(yyjson_obj_get(v, "in")), "query"))
            buf_printf(out, "%s%s", buf_len(out) ? " " : "",
                       yyjson_get_str(yyjson_obj_get(v, "name")));
}

TEST(every_route_is_described_and_nothing_else)
{
    static const struct {
        const char *method, *path, *params;
    } routes[] = {
#define ROUTE(method, path, fn, params) { method, path, params },
#include "head/routes.def"
#undef ROUTE
    };
    size_t described = 0;
    yyjson_doc *doc =
        yyjson_read((const char *)asset_head_openapi_json, asset_head_openapi_json_len, 0);

    CHECK(doc);
    yyjson_val *paths = yyjson_obj_get(yyjson_doc_get_root(doc), "paths");
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        yyjson_val *path = yyjson_obj_get(paths, routes[i].path);
        const char *method = str_eq(routes[i].method, "GET")      ? "get"
                             : str_eq(routes[i].method, "DELETE") ? "delete"
                                                                  : "post";
        if (!yyjson_obj_get(path, method))
            unit_fail(__FILE__, __LINE__, "%s %s", method, routes[i].path);
        struct buf params = BUF_INIT;
        query_params(yyjson_obj_get(path, method), &params);
        CHECK_STR(routes[i].params, buf_data(&params));
        buf_fini(&params);
    }
    yyjson_obj_iter it = yyjson_obj_iter_with(paths);
    for (yyjson_val *k; (k = yyjson_obj_iter_next(&it)) != NULL;) {
        yyjson_val *path = yyjson_obj_iter_get_val(k);
        described += (yyjson_obj_get(path, "get") != NULL) +
                     (yyjson_obj_get(path, "post") != NULL) +
                     (yyjson_obj_get(path, "delete") != NULL);
    }
    CHECK_INT(described, ARRAY_LEN(routes));
    yyjson_doc_free(doc);
}

TEST(ids_that_are_none)
{
    static const char *const ids[] = { "0",  "-1",  "x",   "1x", "1_",    "_1",   "1_2_3",
                                       "+1", "%31", "1.0", " 1", "1%002", "1_-1", "0x1" };

    begin("2");
    rig_submit(&r, "{}");
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        int status;
        char *path = mem_printf("/jobs/%s", ids[i]);
        if (str_eq(ids[i], "%31")) { /* that is a 1 */
            expect("GET", path, NULL, 200, "\"id\":\"1\"");
        } else if (!strchr(path, ' ')) {
            char *answer = call("GET", path, "", NULL, &status);
            if (status != 404 && status != 400)
                unit_fail(__FILE__, __LINE__, "%s: %d %s", path, status, answer);
            free(answer);
        }
        free(path);
    }
    expect("GET", "/jobs/9223372036854775807", NULL, 404, "there is no job 9223372036854775807");
    expect("GET", "/jobs/9223372036854775808", NULL, 404, "ids look like");
    expect("GET", "/jobs/1_9223372036854775807", NULL, 404,
           "there is no task 1_9223372036854775807: job 1 is no array");
    expect("GET", "/jobs/1_9223372036854775808", NULL, 404, "ids look like");
    expect("POST", "/jobs/1_9223372036854775807/cancel", NULL, 404, NULL);
    expect("GET", "/jobs/11111111111111111111111111111111111111111111111111111111111111", NULL, 404,
           "ids look like");
    end();
}

TEST(paths_and_methods)
{
    begin("2");
    expect("GET", "/nowhere", NULL, 404, "openapi.json");
    expect("GET", "/jobs/", NULL, 200, "\"jobs\":[]");
    expect("GET", "/health/", NULL, 200, NULL);
    expect("GET", "/health/x", NULL, 404, NULL);
    expect("DELETE", "/jobs/1", NULL, 405, "this path takes GET");
    expect("GET", "/jobs/1/cancel", NULL, 405, "this path takes POST");
    api_set_head(api, NULL);
    expect("GET", "/jobs", NULL, 503, "starting");
    api_set_head(api, r.head);
    end();
}

/* A HEAD is answered at once, also where a GET would stream or wait, and leaves the connection in
 * order. */
TEST(head_has_no_body)
{
    static const char *const paths[] = { "/jobs/1",       "/jobs",
                                         "/events",       "/jobs/1/logs?follow=true",
                                         "/events?job=1", "/health" };

    begin("2");
    rig_submit(&r, "{}");
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct buf b = BUF_INIT;
        int fd = dial();
        send_request(fd, "HEAD", paths[i], "", NULL);
        send_request(fd, "GET", "/health", "", NULL);
        some_turns(fd, &b);
        const char *first = strstr(buf_data(&b), "\r\n\r\n");
        if (!first || !str_starts(first + 4, "HTTP/1.1 200") || !strstr(first, "\"ok\""))
            unit_fail(__FILE__, __LINE__, "%s: %s", paths[i], buf_data(&b));
        buf_fini(&b);
        close(fd);
    }
    rig_turns(&r);
    CHECK(list_empty(&api->watchers) && list_empty(&api->followers));
    end();
}

/* --- submitting ------------------------------------------------------------------------------- */

TEST(one_key_twice_in_one_turn)
{
    struct buf a = BUF_INIT, b = BUF_INIT;
    int sa, sb;

    begin("2");
    int one = dial(), two = dial();
    send_request(one, "POST", "/jobs/submit", "Idempotency-Key: k\r\n", "{'argv':['true']}");
    send_request(two, "POST", "/jobs/submit", "Idempotency-Key: k\r\n", "{'argv':['true']}");
    some_turns(one, &a);
    some_turns(two, &b);
    char *x = answer_of(&a, &sa), *y = answer_of(&b, &sb);
    CHECK_INT(sa, 200);
    CHECK_INT(sb, 200);
    CHECK(strstr(x, "\"job_id\":\"1\"") && strstr(y, "\"job_id\":\"1\""));
    CHECK((strstr(x, "\"existing\":true") != NULL) != (strstr(y, "\"existing\":true") != NULL));
    free(x);
    free(y);
    x = call("POST", "/jobs/submit", "Idempotency-Key: k\r\n", "{'argv':['false']}", &sa);
    CHECK_INT(sa, 422);
    free(x);
    x = call("POST", "/jobs/submit", "Idempotency-Key: k\r\nIdempotency-Key: l\r\n", "{}", &sa);
    CHECK_INT(sa, 400);
    CHECK_INT(rig_world.ordered, 1);
    free(x);
    buf_fini(&a);
    buf_fini(&b);
    close(one);
    close(two);
    end();
}

/* Sent again after its answer was lost; by then the folder it ran in is gone. */
TEST(a_known_key_is_not_checked_again)
{
    char *dir = mem_printf("%s/work", unit_tmpdir());
    char *body = mem_printf("{'argv':['true'],'workdir':'%s'}", dir);

    begin("2");
    CHECK(mkdir(dir, 0700) == 0);
    for (int i = 0; i < 2; i++) {
        int status;
        char *answer = call("POST", "/jobs/submit", "Idempotency-Key: k\r\n", body, &status);
        CHECK_INT(status, 200);
        CHECK(strstr(answer, "\"job_id\":\"1\""));
        free(answer);
        rmdir(dir);
    }
    expect("POST", "/jobs/submit", body, 422, "workdir");
    free(dir);
    free(body);
    end();
}

TEST(a_full_disk_is_507_and_nothing_else_suffers)
{
    begin("1");
    rig_submit(&r, "{}");
    rig_disk.fail_writes = SQLITE_FULL;
    expect("POST", "/jobs/submit", "{'command':'true'}", 507, "\"kind\":\"no_space\"");
    expect("POST", "/jobs/1/cancel", NULL, 507, "\"kind\":\"no_space\"");
    expect("GET", "/jobs/1", NULL, 200, "\"status\":\"running\"");
    expect("GET", "/jobs/2", NULL, 404, NULL);
    rig_disk.fail_writes = 0;
    expect("POST", "/jobs/submit", "{'command':'true'}", 200, "\"job_id\":\"2\"");
    rig_turns(&r);
    check_head(&r);
    end();
}

TEST(a_bulk_is_taken_as_a_whole)
{
    begin("1");
    expect("POST", "/jobs/bulk", "{'jobs':[{'argv':['a']},{'argv':['b'],'threads':9}]}", 422,
           "jobs[1]");
    expect("POST", "/jobs/bulk", "{'jobs':[]}", 400, "at least one job");
    expect("POST", "/jobs/bulk", "[]", 400, "an object");
    expect("POST", "/jobs/bulk", "{'defaults':{'name':'d'},'jobs':[{'argv':['a']},{'argv':['b']}]}",
           200, "\"first_id\":\"1\",\"last_id\":\"2\",\"count\":2");
    expect("GET", "/jobs/2", NULL, 200, "\"name\":\"d\"");
    expect("POST", "/jobs/submit?dry_run=true", "{'argv':['a']}", 200, "\"reason\":\"would wait");
    expect("GET", "/jobs/3", NULL, 404, NULL);
    end();
}

/* The client is gone before the commit: the job is there all the same. */
TEST(a_client_that_does_not_wait_for_its_answer)
{
    begin("1");
    int fd = dial();
    send_request(fd, "POST", "/jobs/submit", "", "{'argv':['true']}");
    close(fd);
    rig_turns(&r);
    rig_turns(&r);
    CHECK_INT(map_count(&r.head->jobs), 1);
    check_head(&r);
    end();
}

/* --- lists ------------------------------------------------------------------------------------ */

TEST(tasks_show_what_their_array_has)
{
    begin("2");
    rig_submit(&r, "{'array':'1-3','command':'echo hi','name':'n','env':{'A':'b'}}");
    expect("GET", "/jobs?array=1", NULL, 200,
           "\"id\":\"1_2\",\"job_id\":\"1_2\",\"name\":\"n\","
           "\"command\":\"echo hi\"");
    expect("GET", "/jobs/1_1", NULL, 200, "\"name\":\"n\",\"command\":\"echo hi\"");
    expect("GET", "/jobs?order=queue", NULL, 200,
           "\"id\":\"1_1\",\"job_id\":\"1_1\",\"name\":\"n\"");
    expect("GET", "/jobs/1_1/explain", NULL, 200, "\"name\":\"n\"");
    expect("GET", "/jobs/1_3", NULL, 404, "has not started yet");
    expect("GET", "/jobs/2", NULL, 404, NULL); /* the row of a task */
    end();
}

TEST(a_task_that_has_not_started_is_explained)
{
    begin("2");
    rig_submit(&r, "{'array':'1-9:2','name':'n'}");
    expect("GET", "/jobs/1_9/explain", NULL, 200,
           "\"id\":\"1_9\",\"job_id\":\"1_9\",\"name\":\"n\"");
    expect("GET", "/jobs/1_9/explain", NULL, 200, "\"status\":\"queued\"");
    expect("GET", "/jobs/1_9/explain", NULL, 200, "\"reason\":\"has not started; array 1: needs ");
    expect("GET", "/jobs/1_9/explain", NULL, 200, "\"attempts\":[]");
    expect("GET", "/jobs/1_3/explain", NULL, 200, "\"attempts\":[{\"number\":1");
    expect("GET", "/jobs/1_2/explain", NULL, 404, "1_1, 1_3 and so on in steps of 2 to 1_9");
    expect("GET", "/jobs/1_11/explain", NULL, 404, "there is no task 1_11");
    expect("GET", "/jobs/1_0/explain", NULL, 404, "there is no task 1_0");
    expect("GET", "/jobs/7_1/explain", NULL, 404, "there is no job 7");
    expect("GET", "/jobs/2_1/explain", NULL, 404, "there is no job 2"); /* the row of a task */
    expect("POST", "/jobs/1/cancel", NULL, 200, NULL);
    rig_turns(&r);
    expect("GET", "/jobs/1_9/explain", NULL, 200, "\"status\":\"cancelled\"");
    expect("GET", "/jobs/1_9", NULL, 404, "was never started");
    end();
}

TEST(parameters_that_are_none)
{
    begin("1");
    expect("GET", "/jobs?stats=queued", NULL, 400, "no parameter 'stats' here");
    expect("GET", "/jobs?stats=queued", NULL, 400, "status user q limit before array order");
    expect("GET", "/jobs?status=queued&&limit=3&x", NULL, 400, "'x'");
    expect("GET", "/jobs?=1", NULL, 400, "''");
    expect("GET", "/jobs?statu", NULL, 400, "'statu'");
    expect("GET", "/jobs?st%61tus=queued&_=123&_x", NULL, 200, "\"jobs\"");
    expect("GET", "/health?a%20b%1b=1", NULL, 400, "this path takes none");
    expect("POST", "/jobs/bulk?dry_run=true", "{'jobs':[{'command':'true'}]}", 400, "'dry_run'");
    expect("GET", "/jobs/1", NULL, 404, NULL);
    end();
}

TEST(a_dry_run_says_all_that_was_asked_for)
{
    static const char spec[] =
        "{'command':'true','threads':1,'array':'1-10:3%2','after':['1:any'],'priority':5,"
        "'timeout':'1h','retry':3,'retry_delay':'10s','on_lost':'requeue','hold':true,"
        "'env':{'A':'b'},'stdout_path':'o%j','stderr_path':'e%%'}";
    static const char *const parts[] = {
        "\"priority\":5,\"timeout_seconds\":3600,\"retries_left\":3,\"retry_delay_seconds\":10,"
        "\"on_lost\":\"requeue\",\"held\":true,\"node\":null",
        "\"stdout_path\":\"o%j\",\"stderr_path\":\"e%%\",\"after\":[\"1:any\"],"
        "\"env\":{\"A\":\"b\"},\"tasks\":4,"
        "\"array\":{\"first\":1,\"last\":10,\"step\":3,\"limit\":2,\"total\":4,\"lines\":false}",
    };

    begin("1");
    rig_submit(&r, "{}");
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        expect("POST", "/jobs/submit?dry_run=true", spec, 200, parts[i]);
    expect("POST", "/jobs/submit?dry_run=true", "{'command':'true'}", 200,
           "\"timeout_seconds\":null,\"retries_left\":0,\"retry_delay_seconds\":null,"
           "\"on_lost\":\"hold\",\"held\":false");
    end();
}

static void expect_totals(int queued, int running, int completed)
{
    char *part = mem_printf("\"queued_jobs\":%d,\"running_jobs\":%d,\"completed_jobs\":%d,", queued,
                            running, completed);
    expect("GET", "/status", NULL, 200, part);
    expect("GET", "/cluster/status", NULL, 200, part);
    free(part);
}

/* The Go manager has no arrays: each task is a job to its clients. */
TEST(tasks_are_counted_one_by_one_in_its_status)
{
    struct err err = ERR_INIT;

    begin("2");
    expect_totals(0, 0, 0);
    rig_submit(&r, "{'array':'1-9:2','command':'a'}");
    expect_totals(3, 2, 0);
    rig_submit(&r, "{'hold':true}");
    expect_totals(4, 2, 0);
    end_job(2, 0); /* the rows of the first tasks */
    end_job(3, 1);
    expect_totals(2, 2, 2);
    expect("POST", "/jobs/1_9/cancel", NULL, 200, NULL);
    expect_totals(1, 2, 3);
    expect("POST", "/jobs/1/cancel", NULL, 200, NULL);
    rig_end(rig_shim(5, 0), ATTEMPT_CANCELLED, -1); /* 4 is the held job */
    rig_end(rig_shim(6, 0), ATTEMPT_CANCELLED, -1);
    rig_turns(&r);
    expect_totals(1, 0, 5);
    expect("POST", "/jobs/1/retry", NULL, 200, NULL);
    rig_turns(&r);
    expect_totals(3, 2, 1);
    expect("GET", "/cluster/status", NULL, 200, "\"total_jobs\":6");
    CHECK_OK(store_check(r.head->store, &err), &err);
    end();
}

TEST(who_is_lined_up_has_not_begun)
{
    rig_world.ahead = "6ms";
    begin("1");
    for (int i = 0; i < 4; i++)
        rig_submit(&r, "{}");
    r.mono_ns += NS_PER_MS;
    end_job(1, 0);
    expect("GET", "/jobs/4", NULL, 200, "\"reason\":\"starts the moment job 3 ends\"");
    expect("GET", "/jobs?order=queue&status=running", NULL, 200, "\"total\":3");
    expect("GET", "/nodes", NULL, 200, "\"running_jobs\":1");
    end();
}

TEST(a_queue_says_how_long_it_is)
{
    begin("2");
    rig_submit(&r, "{'array':'1-5','command':'a'}");
    rig_submit(&r, "{'hold':true}");
    rig_submit(&r, "{}");
    expect("GET", "/jobs?order=queue&limit=1", NULL, 200, "\"total\":5");
    expect("GET", "/jobs?order=queue&limit=1&status=running", NULL, 200, "\"total\":2");
    expect("GET", "/jobs?order=queue&limit=1&status=queued", NULL, 200, "\"total\":3");
    expect("GET", "/jobs?order=queue&limit=1&user=nobody-here", NULL, 200, "\"total\":0");
    expect("GET", "/nodes", NULL, 200, "\"running_jobs\":2");
    end();
}

static void take_next(const char *answer, char *next, size_t size)
{
    const char *p = strstr(answer, "\"next\":\"");

    next[0] = '\0';
    if (p && str_copy(next, size, p + 8))
        return;
    next[strcspn(next, "\"")] = '\0';
}

static void page_through(const char *order, const char *want)
{
    struct buf seen = BUF_INIT;
    char next[64] = "";
    int status;

    for (int i = 0; i < 20; i++) {
        char *path = mem_printf("/jobs?limit=2&order=%s%s%s", order, *next ? "&before=" : "", next);
        char *answer = call("GET", path, "", NULL, &status);
        CHECK_INT(status, 200);
        for (const char *p = answer; (p = strstr(p, "\"job_id\":\"")) != NULL; p++)
            buf_append(&seen, p + 10, strcspn(p + 10, "\""));
        take_next(answer, next, sizeof(next));
        free(answer);
        free(path);
        if (!*next)
            break;
    }
    CHECK_STR(buf_data(&seen), want);
    buf_fini(&seen);
}

TEST(pages_of_a_list)
{
    begin("8");
    for (int i = 0; i < 7; i++)
        rig_submit(&r, "{}");
    page_through("id", "7654321");
    for (int i = 0; i < 7; i++) /* some in the same moment */
        rig_end(rig_shim((i * 3) % 7 + 1, 1), ATTEMPT_EXITED, 0);
    rig_turns(&r);
    page_through("finished", "7654321");
    expect("GET", "/jobs?order=finished&before=12", NULL, 400, "before");
    expect("GET", "/jobs?limit=0", NULL, 400, "limit");
    expect("GET", "/jobs?limit=10001", NULL, 400, "limit");
    expect("GET", "/jobs?status=queud", NULL, 400, "did you mean 'queued'");
    end();
}

/* --- waiting ---------------------------------------------------------------------------------- */

TEST(a_long_poll_ends_with_the_job_or_in_time)
{
    struct buf a = BUF_INIT, b = BUF_INIT;

    begin("2");
    int64_t id = rig_submit(&r, "{}");
    int one = dial(), two = dial(), gone = dial();
    send_request(one, "GET", "/jobs/1?wait=300", "", NULL);
    send_request(two, "GET", "/jobs/1?wait=5", "", NULL);
    send_request(gone, "GET", "/jobs/1?wait=300", "", NULL);
    some_turns(one, &a);
    some_turns(two, &b);
    CHECK_INT(buf_len(&a) + buf_len(&b), 0);
    CHECK_INT(check_list(&api->waits), 3);
    close(gone);
    rig_turns(&r);
    CHECK_INT(check_list(&api->waits), 2);
    rig_pass(&r, 6 * NS_PER_S);
    some_turns(two, &b);
    CHECK(strstr(buf_data(&b), "\"status\":\"running\""));
    end_job(id, 0);
    some_turns(one, &a);
    CHECK(strstr(buf_data(&a), "\"status\":\"succeeded\""));
    CHECK(list_empty(&api->waits));
    expect("GET", "/jobs/1?wait=300", NULL, 200, "succeeded");
    expect("GET", "/jobs/1?wait=301", NULL, 400, "wait");
    buf_fini(&a);
    buf_fini(&b);
    close(one);
    close(two);
    end();
}

/* --- output ----------------------------------------------------------------------------------- */

static void write_output(int64_t job, int attempt, const void *data, size_t len)
{
    char *dir = mem_printf("%s/attempts/0", r.state_dir);
    char *path = mem_printf("%s/%d.%d.out", dir, (int)job, attempt);
    struct err err = ERR_INIT;

    CHECK_OK(fs_mkdir_p(dir, 0700, &err), &err);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && fs_write_all(fd, data, len) == 0);
    close(fd);
    free(dir);
    free(path);
}

static void output(int64_t job, int attempt, const char *text)
{
    write_output(job, attempt, text, strlen(text));
}

/* A chunked body put together again; *ended tells whether it is complete. malloc'd. */
static char *unchunk(const struct buf *b, bool *ended)
{
    const char *p = strstr(buf_data(b), "\r\n\r\n"), *stop = buf_data(b) + buf_len(b);
    struct buf out = BUF_INIT;

    *ended = false;
    for (p = p ? p + 4 : stop; p < stop;) {
        char *rest;
        size_t n = strtoul(p, &rest, 16);
        if (n == 0) {
            *ended = true;
            break;
        }
        buf_append(&out, rest + 2, n);
        p = rest + 2 + n + 2;
    }
    return buf_take(&out, NULL);
}

static void check_stream(const struct buf *b, const char *want, bool complete)
{
    bool ended;
    char *text = unchunk(b, &ended);

    CHECK_STR(text, want);
    CHECK_INT(ended, complete);
    free(text);
}

TEST(a_follower_sees_all_attempts_in_their_order)
{
    struct buf b = BUF_INIT;

    begin("1");
    int64_t blocker = rig_submit(&r, "{}"), id = rig_submit(&r, "{'retry':2}");
    int fd = dial();
    send_request(fd, "GET", "/jobs/2/logs?follow=true", "", NULL);
    some_turns(fd, &b);
    check_stream(&b, "", false);
    end_job(blocker, 0);
    output(id, 1, "one\n");
    end_job(id, 1); /* before the follower has looked */
    output(id, 2, "two");
    rig_pass(&r, NS_PER_S / 5);
    some_turns(fd, &b);
    check_stream(&b, "one\ntwo", false);
    output(id, 2, " more\n");
    rig_pass(&r, NS_PER_S / 5);
    some_turns(fd, &b);
    end_job(id, 1);
    end_job(id, 0); /* this one wrote nothing */
    for (int i = 0; i < 5; i++) {
        rig_pass(&r, NS_PER_S / 5);
        some_turns(fd, &b);
    }
    check_stream(&b, "one\ntwo more\n", true);
    CHECK(list_empty(&api->followers));
    buf_fini(&b);
    close(fd);
    end();
}

TEST(a_follower_that_goes_away)
{
    struct buf b = BUF_INIT;

    begin("1");
    int64_t id = rig_submit(&r, "{}");
    output(id, 1, "x");
    int fd = dial();
    send_request(fd, "GET", "/jobs/1/logs?follow=true", "", NULL);
    some_turns(fd, &b);
    check_stream(&b, "x", false);
    close(fd);
    rig_turns(&r);
    CHECK(list_empty(&api->followers));
    end_job(id, 0);
    buf_fini(&b);
    end();
}

TEST(which_output)
{
    begin("1");
    int64_t id = rig_submit(&r, "{'retry':1}");
    output(id, 1, "1\n2\n3\n");
    end_job(id, 1);
    output(id, 2, "a\nb\nc");
    end_job(id, 0);
    expect("GET", "/jobs/1/logs?attempt=1&tail=2", NULL, 200, "2\n3\n");
    expect("GET", "/jobs/1/logs?tail=1", NULL, 200, "1\r\nc\r\n0");
    expect("GET", "/jobs/1/logs?tail=3", NULL, 200, "5\r\na\nb\nc\r\n0");
    expect("GET", "/jobs/1/logs?tail=4", NULL, 200, "5\r\na\nb\nc\r\n0");
    expect("GET", "/jobs/1/logs?tail=0", NULL, 200, "0\r\n\r\n");
    expect("GET", "/jobs/1/logs?offset=4", NULL, 200, "1\r\nc\r\n0");
    expect("GET", "/jobs/1/logs?offset=9223372036854775807", NULL, 200, "0\r\n\r\n");
    expect("GET", "/jobs/1/logs?offset=9223372036854775808", NULL, 400, "offset");
    expect("GET", "/jobs/1/logs?attempt=0", NULL, 400, "attempt");
    expect("GET", "/jobs/1/logs?attempt=3", NULL, 404, "no attempt 3");
    expect("GET", "/jobs/1/logs?attempt=3&follow=true", NULL, 404, "no attempt 3");
    expect("GET", "/jobs/1/logs?attempt=2147483648", NULL, 400, "attempt");
    expect("GET", "/jobs/1/logs?tail=-1", NULL, 400, "tail");
    expect("GET", "/jobs/1/logs?stream=x", NULL, 400, "stdout or stderr");
    end();
}

/* However long the lines are, no turn reads much of a file. */
TEST(a_tail_of_a_huge_file_takes_several_turns)
{
    enum { SIZE = 24 << 20 };
    struct buf b = BUF_INIT;
    char *data = mem_alloc(SIZE);
    int turns = 0;
    bool ended = false;

    begin("1");
    int64_t id = rig_submit(&r, "{}");
    memset(data, 'x', SIZE);
    data[SIZE / 2] = '\n';
    write_output(id, 1, data, SIZE);
    end_job(id, 0);
    int fd = dial();
    send_request(fd, "GET", "/jobs/1/logs?tail=1", "", NULL);
    for (; !ended && turns < 20000; turns++) {
        rig_turn(&r);
        receive(fd, &b);
        if (turns < 2)
            CHECK(buf_len(&b) < 1000);
        ended = buf_len(&b) > 5 && str_eq(buf_data(&b) + buf_len(&b) - 5, "0\r\n\r\n");
    }
    char *text = unchunk(&b, &ended);
    CHECK(ended);
    CHECK_INT(strlen(text), SIZE / 2 - 1);
    free(text);
    free(data);
    buf_fini(&b);
    close(fd);
    end();
}

/* --- events ----------------------------------------------------------------------------------- */

TEST(events_of_one_job_end_with_it)
{
    struct buf b = BUF_INIT;

    begin("1");
    int64_t id = rig_submit(&r, "{}"), other = rig_submit(&r, "{}");
    int fd = dial();
    send_request(fd, "GET", "/events?job=1", "", NULL);
    some_turns(fd, &b);
    CHECK_INT(rig_change(&r, HEAD_CANCEL, other, -1), ERR_NONE);
    some_turns(fd, &b);
    check_stream(&b, ": hive\n\n", false);
    rig_pass(&r, 16 * NS_PER_S);
    end_job(id, 0);
    some_turns(fd, &b);
    bool ended;
    char *text = unchunk(&b, &ended);
    CHECK(ended && strstr(text, ": alive") && strstr(text, "\"status\":\"succeeded\""));
    free(text);
    expect("GET", "/events?job=1", NULL, 200, "\"status\":\"succeeded\"");
    expect("GET", "/events?job=99", NULL, 404, NULL);
    expect("GET", "/events?job=x", NULL, 400, NULL);
    CHECK(list_empty(&api->watchers));
    buf_fini(&b);
    close(fd);
    end();
}

TEST(a_slow_watcher_is_told_what_it_missed)
{
    struct buf b = BUF_INIT, c = BUF_INIT;
    bool ended;

    begin("1");
    int64_t last = rig_submit(&r, "{}");
    int fd = dial(), one = dial();
    send_request(fd, "GET", "/events", "", NULL);
    send_request(one, "GET", "/events?job=1", "", NULL);
    rig_turns(&r);
    for (int i = 0; i < 4000; i++) { /* nobody reads */
        rig_submit(&r, "{'hold':true,'name':'nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn'}");
        if (i % 4 == 0)
            CHECK_INT(rig_change(&r, HEAD_CANCEL, last, -1), ERR_NONE);
    }
    end_job(last, 1);
    for (int i = 0; i < 200; i++) {
        rig_turn(&r);
        receive(fd, &b);
        receive(one, &c);
    }
    char *text = unchunk(&b, &ended);
    CHECK(!ended && strstr(text, "event: missed"));
    CHECK(strlen(text) < 4 * 1024 * 1024);
    free(text);
    text = unchunk(&c, &ended);
    CHECK(ended && strstr(text, "\"status\":\"cancelled\""));
    free(text);
    rig_submit(&r, "{'hold':true,'name':'after'}");
    buf_clear(&b);
    some_turns(fd, &b);
    CHECK(strstr(buf_data(&b), "\"name\":\"after\""));
    close(fd);
    close(one);
    rig_turns(&r);
    CHECK(list_empty(&api->watchers));
    buf_fini(&b);
    buf_fini(&c);
    end();
}
