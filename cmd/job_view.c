/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "cmd/job_view.h"

#include "base/buf.h"
#include "base/clock.h"
#include "cmd/cmd.h"

#include <inttypes.h>
#include <time.h>

const char *view_str(yyjson_val *obj, const char *key)
{
    const char *s = yyjson_get_str(yyjson_obj_get(obj, key));
    return s ? s : "";
}

int64_t view_int(yyjson_val *obj, const char *key, int64_t none)
{
    yyjson_val *v = yyjson_obj_get(obj, key);
    return yyjson_is_int(v) ? yyjson_get_sint(v) : none;
}

double view_num(yyjson_val *obj, const char *key, double none)
{
    yyjson_val *v = yyjson_obj_get(obj, key);

    return yyjson_is_num(v) ? yyjson_get_num(v) : none;
}

int64_t view_time(yyjson_val *obj, const char *key)
{
    int64_t ns;
    const char *s = yyjson_get_str(yyjson_obj_get(obj, key));
    return s && clock_parse_rfc3339(s, &ns) ? ns : 0;
}

void view_append_time(struct buf *b, int64_t wall_ns)
{
    char text[32];
    struct tm tm;
    time_t t = (time_t)(wall_ns / NS_PER_S);
    if (wall_ns <= 0 || !localtime_r(&t, &tm) ||
        strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm) == 0)
        buf_append_char(b, '-');
    else
        buf_append_str(b, text);
}

static int64_t seconds_field(yyjson_val *obj, const char *key)
{
    yyjson_val *v = yyjson_obj_get(obj, key);
    double s = yyjson_is_num(v) ? yyjson_get_num(v) : 0.0;
    return s > 0.0 && s < 9e9 ? (int64_t)(s * 1e9) : 0;
}

void job_view_read(struct job_view *v, yyjson_val *json)
{
    yyjson_val *array = yyjson_obj_get(json, "array");
    *v = (struct job_view){
        .id = view_str(json, "id"),
        .name = view_str(json, "name"),
        .command = view_str(json, "command"),
        .status_text = view_str(json, "status"),
        .reason = view_str(json, "reason"),
        .user = view_str(json, "user"),
        .node = view_str(json, "node"),
        .workdir = view_str(json, "workdir"),
        .stdout_path = view_str(json, "stdout_path"),
        .stderr_path = view_str(json, "stderr_path"),
        .array_id = view_str(json, "array_id"),
        .status = job_status_from_name(view_str(json, "status")),
        .exit_code = view_int(json, "exit_code", -1),
        .signal = view_int(json, "signal", -1),
        .threads = view_int(json, "threads", -1),
        .memory = view_int(json, "memory_bytes", -1),
        .gpus = view_int(json, "gpus", -1),
        .priority = view_int(json, "priority", 0),
        .attempts = view_int(json, "attempts", 0),
        .retries_left = view_int(json, "retries_left", 0),
        .task = view_int(json, "task", -1),
        .timeout_ns = seconds_field(json, "timeout_seconds"),
        .submitted_ns = view_time(json, "submitted_at"),
        .started_ns = view_time(json, "started_at"),
        .finished_ns = view_time(json, "finished_at"),
        .held = yyjson_get_bool(yyjson_obj_get(json, "held")),
        .json = json,
        .array = yyjson_is_obj(array) ? array : NULL,
    };
}

bool job_view_final(const struct job_view *v)
{
    return v->status >= 0 && job_status_terminal((enum job_status)v->status);
}

int job_view_exit_code(const struct job_view *v)
{
    int by_signal = v->signal > 0 && v->signal < 128 ? (int)v->signal + 128 : -1;
    switch (v->status) {
    case JOB_SUCCEEDED:
        return CMD_OK;
    case JOB_TIMEOUT:
        return CMD_TIMEOUT;
    case JOB_FAILED:
        if (v->exit_code > 0 && v->exit_code < 256)
            return (int)v->exit_code;
        if (by_signal > 0)
            return by_signal;
        return v->array ? CMD_FAILED : CMD_HIVE_ERROR;
    case JOB_OOM:
        if (by_signal > 0)
            return by_signal;
        return v->exit_code > 0 && v->exit_code < 256 ? (int)v->exit_code : 128 + 9;
    default: /* cancelled, lost: there is no exit code, and none is made up */
        return by_signal > 0 && v->status == JOB_CANCELLED ? by_signal : CMD_HIVE_ERROR;
    }
}

static void append_signal(struct buf *b, int64_t signo)
{
    const char *name = signo > 0 && signo < 65 ? strsignal((int)signo) : NULL;
    buf_printf(b, "signal %" PRId64, signo);
    if (name)
        buf_printf(b, " (%s)", name);
}

static void append_cause(const struct job_view *v, struct buf *b)
{
    if (v->signal > 0) {
        buf_append_str(b, ": ended by ");
        append_signal(b, v->signal);
    } else if (v->exit_code > 0) {
        buf_printf(b, ": exit code %" PRId64, v->exit_code);
    }
}

void job_view_ending(const struct job_view *v, struct buf *b)
{
    buf_append_str(b, v->status_text);
    if (v->status == JOB_FAILED || v->status == JOB_OOM)
        append_cause(v, b);
    if (v->reason[0])
        buf_printf(
            b, v->status == JOB_FAILED && (v->signal > 0 || v->exit_code > 0) ? " (%s)" : ": %s",
            v->reason);
}
