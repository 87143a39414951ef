/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "cmd/cmd.h"
#include "cmd/submit.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/str.h"
#include "cmd/client.h"
#include "cmd/follow.h"
#include "cmd/job_view.h"
#include "cmd/job_wait.h"
#include "cmd/later.h"
#include "cmd/submit_script.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

/* How long a daemon that seems to have crashed may take to come back. */
#define CRASHED_WAIT_NS (3 * NS_PER_S)

static int parse_on_lost(void *base, const char *value, struct err *err)
{
    struct submit_args *a = base;
    if (!str_eq(value, "hold") && !str_eq(value, "requeue"))
        return err_set(err, ERR_USAGE, "expected hold or requeue, not '%s'", value);
    a->on_lost = value;
    return 0;
}

/* The key becomes a header line. */
static int parse_key(void *base, const char *value, struct err *err)
{
    struct submit_args *a = base;
    size_t len = strlen(value);
    for (size_t i = 0; i < len; i++)
        if (value[i] <= ' ' || value[i] > '~')
            len = 0;
    if (len == 0 || len > LIMIT_IDEMPOTENCY_KEY)
        return err_set(err, ERR_USAGE, "expected 1 to %d printable ASCII characters without blanks",
                       LIMIT_IDEMPOTENCY_KEY);
    a->key = value;
    return 0;
}

#define DEST(field) offsetof(struct submit_args, field)

const struct opt submit_options[] = {
    { 'n', "name", OPT_STR, "NAME", "name of the job (default: its program's)", .dest = DEST(name),
      .script = true },
    { 't', "threads", OPT_INT, "N", "threads to reserve (default 1)", .dest = DEST(threads),
      .min = 1, .max = LIMIT_JOB_THREADS, .script = true },
    { 'm', "memory", OPT_SIZE, "SIZE", "memory to reserve and not to exceed, such as 512M or 8G",
      .dest = DEST(memory), .script = true },
    { 'g', "gpus", OPT_INT, "N", "GPUs to reserve (default 0)", .dest = DEST(gpus),
      .max = LIMIT_JOB_GPUS, .script = true },
    { 'p', "priority", OPT_INT, "N", "higher numbers start first (default 0)",
      .dest = DEST(priority), .min = -LIMIT_JOB_PRIORITY, .max = LIMIT_JOB_PRIORITY,
      .script = true },
    { 0, "after", OPT_LIST, "ID[:WHEN]",
      "start when job ID has ended; WHEN: ok (default), any or fail; several: 12,13:any",
      .dest = DEST(after), .complete = "job", .script = true },
    { 0, "array", OPT_STR, "A-B[:S][%L]",
      "one task for each number from A to B, in steps of S, at most L at once", .dest = DEST(array),
      .script = true },
    { 0, "each-line", OPT_STR, "FILE", "one task for each line of FILE (- is standard input)",
      .dest = DEST(each_line), .complete = "file", .script = true },
    { 0, "env", OPT_LIST, "NAME[=VALUE]",
      "set a variable for the job; without VALUE as it is set here", .dest = DEST(env),
      .script = true },
    { 0, "workdir", OPT_STR, "DIR", "folder to run in (default: the current one)",
      .dest = DEST(workdir), .complete = "dir", .script = true },
    { 'o', "output", OPT_STR, "PATH",
      "file for the output; %j is the job's id, %a the task's number, %% a percent sign (default: "
      "kept by hive)",
      .dest = DEST(stdout_path), .complete = "file", .script = true },
    { 'e', "error", OPT_STR, "PATH", "file for the error output, as for --output",
      .dest = DEST(stderr_path), .complete = "file", .script = true },
    { 0, "timeout", OPT_DURATION, "TIME", "end the job after this time, such as 90s or 1h30m",
      .dest = DEST(timeout_ns), .script = true },
    { 0, "retry", OPT_INT, "N", "run it again up to N times if it fails (default 0)",
      .dest = DEST(retry), .max = LIMIT_JOB_RETRIES, .script = true },
    { 0, "retry-delay", OPT_DURATION, "TIME", "wait this long before running it again",
      .dest = DEST(retry_delay_ns), .script = true },
    { 0, "on-lost", OPT_CALL, "WHAT",
      "if its fate is unknown after a crash: hold (end it as lost) or requeue (run it again)",
      .parse = parse_on_lost, .complete = "=hold requeue", .script = true },
    { 0, "hold", OPT_FLAG, NULL, "keep it queued until: hive release JOB", .dest = DEST(hold),
      .script = true },
    { 0, "node", OPT_STR, "NAME", "run on this machine only", .dest = DEST(node),
      .complete = "node", .script = true },
    { 'w', "wait", OPT_FLAG, NULL, "wait for its end, with its exit code", .dest = DEST(wait) },
    { 'f', "follow", OPT_FLAG, NULL,
      "show its output live and wait for its end, with its exit code", .dest = DEST(follow) },
    { 'q', "quiet", OPT_FLAG, NULL, "print the job's id alone", .dest = DEST(quiet) },
    { 0, "json", OPT_FLAG, NULL, "print the answer as JSON; with --wait the finished job",
      .dest = DEST(json) },
    { 0, "dry-run", OPT_FLAG, NULL, "check everything and say what would happen, submit nothing",
      .dest = DEST(dry_run) },
    { 0, "idempotency-key", OPT_CALL, "KEY",
      "submitting again with the same key gives the same job (default: a random one)",
      .parse = parse_key },
    OPT_END,
};

/* Everything of one call. */
struct submit {
    const struct cmd *cmd;
    struct submit_args args;
    struct submit_work work;
    struct script script;
    char key[40];
};

/* Options of #HIVE lines, then those of the command line over them. */
static int read_script_options(struct submit *s, const char *path, int argc, char **argv,
                               struct err *err)
{
    struct submit_args a;
    int first;
    submit_args_init(&a);
    for (size_t i = 0; i < s->script.count; i++) {
        struct script_line *l = &s->script.lines[i];
        if (opt_parse(submit_options, &a, l->argc, l->argv, OPT_SCRIPT, &first, NULL, err) != 0)
            later_option(s->cmd, l->argc, l->argv, err);
        else if (first < l->argc)
            err_set(err, ERR_USAGE, "'%s' is no option", l->argv[first]);
        if (err->kind == ERR_NONE)
            continue;
        submit_args_fini(&a);
        return err_prefix(err, "%s:%u: #HIVE", path, l->number);
    }
    if (s->args.after.count > 0)
        opt_list_fini(&a.after);
    opt_parse(submit_options, &a, argc, argv, s->cmd->opt_flags, &first, NULL, err);
    submit_args_fini(&s->args);
    s->args = a;
    return err->kind == ERR_NONE ? 0 : -1;
}

/* "hive submit 'a && b' --wait": the option would be an argument of a program named "a && b". */
static int check_program(const char *program, const char *next, struct err *err)
{
    if (next[0] != '-' || !strpbrk(program, " \t\n;|&<>$`\"'()") || access(program, F_OK) == 0)
        return 0;
    err_set(err, ERR_USAGE, "submit: '%s' stands after the command", next);
    return err_hint(err, "options come first: hive submit [OPTIONS] 'SHELL COMMAND'");
}

/* Decides what the operands are: a script, a shell command, or a program with arguments. */
static int find_work(struct submit *s, int argc, char **argv, int first, bool dashdash,
                     struct err *err)
{
    char *text = NULL;
    size_t len = 0;
    int count = argc - first;
    int is_script = dashdash ? 0
                             : script_find(argv[first], count == 1 ? script_is : script_has_options,
                                           &text, &len, err);
    if (is_script < 0)
        return -1;
    if (is_script) {
        if (script_parse(&s->script, argv[first], text, len, err) != 0)
            return -1;
        if (s->script.late_line)
            cmd_msg("warning: %s:%u: this #HIVE line is ignored, it stands after the first command",
                    argv[first], s->script.late_line);
        s->work.script = s->script.text;
        s->work.argv = argv + first + 1;
        s->work.argc = count - 1;
        if (read_script_options(s, argv[first], argc, argv, err) != 0)
            return -1;
        if (!s->args.name) {
            const char *slash = strrchr(argv[first], '/');
            s->args.name = slash ? slash + 1 : argv[first];
        }
        return 0;
    }
    if (count == 1 && !dashdash) {
        s->work.command = argv[first];
        return 0;
    }
    s->work.argv = argv + first;
    s->work.argc = count;
    return dashdash ? 0 : check_program(argv[first], argv[first + 1], err);
}

static int make_key(struct submit *s, struct err *err)
{
    unsigned char bytes[16];
    if (s->args.key)
        return 0;
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        return err_sys(err, errno, "no random bytes for the idempotency key");
    str_hex(bytes, sizeof(bytes), s->key);
    s->args.key = s->key;
    return 0;
}

/* Sends the job, again over a new connection if one breaks: the key makes sure that it becomes
 * one job. */
static yyjson_doc *post(struct client *c, struct submit *s, const struct buf *body,
                        struct buf *answer, struct err *err)
{
    struct client_request r = {
        .method = "POST",
        .path = s->args.dry_run ? "/api/v1/jobs/submit?dry_run=true" : "/api/v1/jobs/submit",
        .body = body,
        .idempotency_key = s->args.dry_run ? NULL : s->args.key,
        .timeout_ns = 60 * NS_PER_S,
    };
    int64_t until = clock_mono_ns(&clock_system) + CLIENT_RETRY_SUBMIT_NS;
    while (client_call(c, &r, answer, err) != 0) {
        if (!c->lost)
            return NULL;
        buf_clear(answer);
        if (err->kind == ERR_UNAVAILABLE && clock_mono_ns(&clock_system) < until &&
            client_reconnect(c, until, err) == 0)
            continue;
        if (!s->args.dry_run)
            err_hint(err,
                     "it is not known whether the job was accepted; to submit it only if it was "
                     "not, repeat the command with --idempotency-key %s",
                     s->args.key);
        return NULL;
    }
    yyjson_doc *doc = yyjson_read(buf_data(answer), buf_len(answer), 0);
    if (!doc)
        err_set(err, ERR_CORRUPT, "the daemon's answer can't be read");
    return doc;
}

static void print_json(const struct buf *json)
{
    struct buf out = BUF_INIT;
    buf_append(&out, buf_data(json), buf_len(json));
    if (buf_len(&out) == 0 || buf_data(&out)[buf_len(&out) - 1] != '\n')
        buf_append_char(&out, '\n');
    cmd_out(&out);
    buf_fini(&out);
}

static void print_warnings(yyjson_val *root)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_obj_get(root, "warnings"));
    for (yyjson_val *v; (v = yyjson_arr_iter_next(&it)) != NULL;)
        if (yyjson_is_str(v))
            cmd_msg("warning: %s", yyjson_get_str(v));
}

/* "label:      VALUE", foreign text made safe; nothing for an empty value, which is emptied. */
static void dry_line(struct buf *out, const char *label, struct buf *value)
{
    if (buf_len(value) == 0)
        return;
    buf_printf(out, "%s:%*s", label, (int)(11 - strlen(label)), "");
    str_append_safe(out, buf_data(value), buf_len(value));
    buf_append_char(out, '\n');
    buf_clear(value);
}

static void dry_str(struct buf *out, const char *label, const char *value)
{
    struct buf b = BUF_INIT;
    buf_append_str(&b, value);
    dry_line(out, label, &b);
    buf_fini(&b);
}

static void dry_array(struct buf *out, yyjson_val *array)
{
    struct buf b = BUF_INIT;
    int64_t total = view_int(array, "total", 0), step = view_int(array, "step", 1);
    int64_t limit = view_int(array, "limit", 0);
    if (!array)
        return;
    buf_printf(&b, "%" PRId64 ", ", total);
    if (yyjson_get_bool(yyjson_obj_get(array, "lines")))
        buf_append_str(&b, "one for each line");
    else
        buf_printf(&b, "numbers %" PRId64 " to %" PRId64, view_int(array, "first", 0),
                   view_int(array, "last", 0));
    if (step > 1)
        buf_printf(&b, " in steps of %" PRId64, step);
    if (limit > 0)
        buf_printf(&b, ", at most %" PRId64 " at once", limit);
    dry_line(out, "tasks", &b);
    buf_fini(&b);
}

static void dry_resources(struct buf *out, const struct job_view *v)
{
    struct buf b = BUF_INIT;
    buf_printf(&b, "%d thread%s", (int)v->threads, v->threads == 1 ? "" : "s");
    if (v->memory > 0) {
        buf_append_str(&b, ", ");
        str_format_size(&b, v->memory);
        buf_append_str(&b, " memory");
    }
    if (v->gpus > 0)
        buf_printf(&b, ", %d GPU%s", (int)v->gpus, v->gpus == 1 ? "" : "s");
    dry_line(out, "reserves", &b);
    if (v->priority != 0)
        buf_printf(&b, "%" PRId64, v->priority);
    dry_line(out, "priority", &b);
    if (v->timeout_ns > 0)
        str_format_duration(&b, v->timeout_ns);
    dry_line(out, "time limit", &b);
    buf_fini(&b);
}

static void dry_again(struct buf *out, const struct job_view *v, bool on_lost)
{
    struct buf b = BUF_INIT;
    double delay = view_num(v->json, "retry_delay_seconds", 0);
    if (v->retries_left > 0)
        buf_printf(&b, "%" PRId64, v->retries_left);
    if (v->retries_left > 0 && delay > 0 && delay < 9e9) {
        buf_append_str(&b, ", each after ");
        str_format_duration(&b, (int64_t)(delay * 1e9));
    }
    dry_line(out, "retries", &b);
    bool requeue = str_eq(view_str(v->json, "on_lost"), "requeue");
    if (on_lost || requeue)
        dry_str(out, "if lost", requeue ? "it is run again" : "it ends as lost");
    buf_fini(&b);
}

static void dry_lists(struct buf *out, yyjson_val *job)
{
    struct buf b = BUF_INIT;
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_obj_get(job, "after"));
    for (yyjson_val *v; (v = yyjson_arr_iter_next(&it)) != NULL;)
        buf_printf(&b, "%s%s", buf_len(&b) ? ", " : "", yyjson_is_str(v) ? yyjson_get_str(v) : "?");
    dry_line(out, "after", &b);
    yyjson_obj_iter oit = yyjson_obj_iter_with(yyjson_obj_get(job, "env"));
    for (yyjson_val *k; (k = yyjson_obj_iter_next(&oit)) != NULL;) {
        buf_printf(&b, "%s=%s", yyjson_get_str(k),
                   view_str(yyjson_obj_get(job, "env"), yyjson_get_str(k)));
        dry_line(out, "variable", &b);
    }
    buf_fini(&b);
}

static void print_dry_run(const struct submit *s, yyjson_val *root)
{
    struct buf b = BUF_INIT;
    struct job_view v;
    job_view_read(&v, yyjson_obj_get(root, "job"));
    dry_str(&b, "command", v.command);
    dry_str(&b, "name", v.name);
    dry_str(&b, "folder", v.workdir);
    dry_resources(&b, &v);
    dry_str(&b, "node", v.node);
    dry_array(&b, v.array);
    dry_again(&b, &v, s->args.on_lost != NULL);
    dry_lists(&b, v.json);
    dry_str(&b, "output", v.stdout_path);
    dry_str(&b, "errors", v.stderr_path);
    dry_str(&b, "then", view_str(root, "reason"));
    buf_append_str(&b, "Nothing was submitted.\n");
    cmd_out(&b);
    buf_fini(&b);
}

static void print_submitted(const struct submit *s, const char *id, const struct buf *answer)
{
    struct buf b = BUF_INIT;
    if (s->args.json) {
        if (!s->args.wait)
            print_json(answer);
    } else if (s->args.quiet) {
        if (!s->args.follow)
            buf_printf(&b, "%s\n", id);
    } else if (s->args.follow) {
        cmd_msg("job %s is submitted", id);
    } else {
        buf_printf(&b, "Submitted job %s\n", id);
    }
    cmd_out(&b);
    buf_fini(&b);
}

/* The second stream has a process of its own, which ends with this one. */
static pid_t follow_stderr(const char *id)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    struct client c;
    struct follow f = {
        .id = id, .from_stderr = true, .live = true, .tail = -1, .attempt = -1, .fd = STDERR_FILENO
    };
    signal(SIGINT, SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent && client_open(&c, NULL) == 0)
        follow_run(&c, &f, NULL);
    _exit(0);
}

static void follow_job(struct client *c, const char *id)
{
    struct err err = ERR_INIT;
    struct follow f = { .id = id, .live = true, .tail = -1, .attempt = -1, .fd = STDOUT_FILENO };
    pid_t pid = follow_stderr(id);
    if (pid < 0)
        cmd_msg("warning: the job's error output can't be shown: %s", strerror(errno));
    if (follow_run(c, &f, &err) != 0)
        cmd_msg("warning: the job's output can't be shown further: %s", err.msg);
    if (pid > 0)
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
}

static int wait_for_end(struct client *c, struct submit *s, const char *id)
{
    struct err err = ERR_INIT;
    struct buf b = BUF_INIT;
    struct job_view v;
    yyjson_doc *doc;

    job_wait_detach_on_interrupt(id);
    if (s->args.follow)
        follow_job(c, id);
    if (cmd_out_failed())
        return CMD_HIVE_ERROR;
    doc = job_wait(c, id, 0, &err);
    if (!doc) {
        cmd_fail(&err);
        return CMD_HIVE_ERROR;
    }
    job_view_read(&v, yyjson_doc_get_root(doc));
    int code = job_view_exit_code(&v);
    if (s->args.json) {
        char *text = yyjson_val_write(v.json, YYJSON_WRITE_NOFLAG, NULL);
        buf_append_str(&b, text ? text : "{}");
        free(text);
        print_json(&b);
    } else if (code != CMD_OK && !s->args.quiet) {
        job_view_ending(&v, &b);
        cmd_msg("job %s %s", id, buf_data(&b));
    }
    buf_fini(&b);
    yyjson_doc_free(doc);
    return code;
}

/* A socket nobody listens on was left by a daemon that crashed; it may be about to start again. */
static int connect_daemon(struct client *c, struct err *err)
{
    if (client_open(c, err) == 0)
        return 0;
    if (err->kind != ERR_UNAVAILABLE || access(c->socket_path, F_OK) != 0)
        return -1;
    return client_reconnect(c, clock_mono_ns(&clock_system) + CRASHED_WAIT_NS, err);
}

static int submit(struct submit *s, const struct buf *body)
{
    struct err err = ERR_INIT;
    struct buf answer = BUF_INIT;
    struct client c;
    int code = CMD_OK;
    yyjson_doc *doc = connect_daemon(&c, &err) == 0 ? post(&c, s, body, &answer, &err) : NULL;
    yyjson_val *root = yyjson_doc_get_root(doc);
    const char *id = view_str(root, "id");

    if (!doc) {
        code = cmd_fail(&err);
    } else {
        print_warnings(root);
        bool wait = s->args.wait || s->args.follow;
        if (s->args.dry_run && s->args.json)
            print_json(&answer);
        else if (s->args.dry_run)
            print_dry_run(s, root);
        else
            print_submitted(s, id, &answer);
        if (wait && s->args.hold && !s->args.dry_run)
            cmd_msg("job %s is held; it starts after: hive release %s", id, id);
        if (wait && !s->args.dry_run)
            code = wait_for_end(&c, s, id);
    }
    yyjson_doc_free(doc);
    buf_fini(&answer);
    client_close(&c);
    return code;
}

static int prepare_and_submit(struct submit *s, int argc, char **argv, int first, bool dashdash)
{
    struct err err = ERR_INIT;
    struct buf body = BUF_INIT;
    int code;
    if (find_work(s, argc, argv, first, dashdash, &err) != 0 ||
        submit_spec(&s->args, &s->work, &body, &err) != 0 || make_key(s, &err) != 0)
        code = cmd_fail(&err);
    else
        code = submit(s, &body);
    buf_fini(&body);
    return code;
}

static int run(const struct cmd *cmd, int argc, char **argv)
{
    struct submit s = { .cmd = cmd };
    bool dashdash;
    int first, code;

    submit_args_init(&s.args);
    if (!cmd_parse(cmd, &s.args, argc, argv, &first, &dashdash, &code)) {
        submit_args_fini(&s.args);
        return code;
    }
    if (first == argc)
        code = cmd_usage(cmd, "no command is given");
    else if (argv[first][0] == '\0')
        code = cmd_usage(cmd, "the command is empty");
    else if (s.args.follow && s.args.json)
        code = cmd_usage(cmd, "--follow and --json both want standard output; use --wait --json");
    else
        code = prepare_and_submit(&s, argc, argv, first, dashdash);
    script_fini(&s.script);
    submit_args_fini(&s.args);
    return code;
}

static const char *const synopsis[] = {
    "[OPTIONS] 'SHELL COMMAND'",
    "[OPTIONS] [--] PROGRAM ARGUMENT…",
    "[OPTIONS] SCRIPT [ARGUMENT…]",
    NULL,
};

static const struct cmd_example examples[] = {
    { "hive submit 'sleep 10 && echo Hello World'", "a shell command" },
    { "hive submit -t 4 -m 8G --timeout 2h -- ./simulate --seed 7",
      "a program with its arguments, 4 threads, 8 GB of memory, two hours" },
    { "hive submit night.sh", "a script; its #HIVE lines are options, see: hive help scripts" },
    { "hive submit --array 1-100%8 'convert in-$HIVE_TASK_ID.png out-$HIVE_TASK_ID.jpg'",
      "100 tasks, 8 at once" },
    { "ls *.wav | hive submit --each-line - -- flac {}", "one task for each file" },
    { "hive submit --follow make check", "as if it ran here: output, exit code" },
    { "id=$(hive submit -q ./prepare) && hive submit --after $id ./compute",
      "one after the other" },
    { NULL, NULL },
};

const struct cmd cmd_submit = {
    .name = "submit",
    .group = CMD_GROUP_JOBS,
    .summary = "queue a command to run when there is room for it",
    .synopsis = synopsis,
    .description = "Puts a job into the queue and prints its id. When the id is printed the job is "
                   "on disk: it "
                   "survives a crash of the daemon and of the machine.\n\n"
                   "One word is a shell command, run by /bin/sh -c. Several words, or any after "
                   "--, are a program "
                   "and its arguments, passed on exactly as they are. If the first word names a "
                   "text file - with a "
                   "slash in it, or not found in PATH - that has #HIVE lines, or stands alone and "
                   "begins with #!, it "
                   "is a script: hive takes a copy of it, so that it may be changed afterwards, "
                   "and its #HIVE lines "
                   "are options (those of the command line win). To run the file itself where it "
                   "is: hive submit -- "
                   "./file.\n\n"
                   "The job runs in the current folder with a small environment of its own, in "
                   "which HIVE_JOB_ID, "
                   "HIVE_TASK_ID, HIVE_NODE, HIVE_THREADS, HIVE_GPUS and HIVE_ATTEMPT are set. Its "
                   "output is kept by "
                   "hive (hive logs JOB) unless --output says where it is to go.\n\n"
                   "With --each-line {} in the command stands for the line, which else becomes its "
                   "last argument; "
                   "empty lines are left out. --array %8 together with --each-line limits how many "
                   "run at once.\n\n"
                   "With --wait or --follow the exit code is the job's own: 124 when it was over "
                   "its time limit, 126 "
                   "or 127 when it could not be run, 128 plus the number of a signal, 125 when "
                   "hive failed after the "
                   "job was accepted. Ctrl-C ends the waiting, not the job.",
    .options = submit_options,
    .examples = examples,
    .operands = "command",
    .opt_flags = OPT_STOP_AT_ARG,
    .run = run,
};
