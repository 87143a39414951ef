/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs commands through core/net/ssh_client, for tests/lab/ssh.t.
 *
 *   sshrun [OPTION...] [USER@]HOST COMMAND...
 *
 * Commands run at once, each in a channel of its own; the first gets our stdin if -i says so, their
 * output is ours. Says on stderr what became of each, and exits with the first one's status; 254:
 * lost or ended by a signal; 255: no connection.
 *
 *   -F FILE  ssh_config; default: the user's and the system's     -v  print what was agreed on
 *   -i       stdin to the first command                           -s  one command after another
 *   -a SECS  interval of keep-alive messages, of 2                -t SECS  all other deadlines
 *   -p TEXT  passphrase                                           -k NAME  signal on first output
 *   -c       close the first channel on its first output          -d HOST:PORT  dial instead
 *   -b       consume nothing until the window is full             -w  wait after the last command
 *   -e FILE  make FILE when the connection is ready                -P PORT
 */
#include "base/mem.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "ev/ev.h"
#include "net/ssh_client.h"

#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <unistd.h>

#define CHUNK 65536

struct run;

struct command {
    struct run *run;
    struct ssh_channel *channel;
    const char *text;
    int number, status;
    bool started, input, held;
};

struct run {
    struct ev_loop *loop;
    struct ssh_client *client;
    struct command *commands;
    int count, next, ended, status;
    bool verbose, input, sequential, close_early, hold, wait, failed;
    const char *signal, *dial, *passphrase, *ready_file;
};

/* libssh2 forgets a host's key where the handshake fails: see vendor/libssh2/README.md. */
#ifdef __SANITIZE_ADDRESS__
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:hostkey_method_ssh_rsa_init\n"
           "leak:hostkey_method_ssh_ecdsa_init\n"
           "leak:hostkey_method_ssh_ed25519_init\n"
           "leak:kex_method_diffie_hellman\n";
}
#endif

static void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
static void die(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fputs("sshrun: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(253);
}

static void show_error(const char *what, const struct err *err)
{
    fprintf(stderr, "%s: %s: %s\n", what, err_kind_name(err->kind), err->msg);
    if (err->hint[0])
        fprintf(stderr, "hint: %s\n", err->hint);
}

static void start_next(struct run *run);

/* --- one command ------------------------------------------------------------------------------ */

static void feed(struct command *cmd)
{
    static char data[CHUNK];

    while (cmd->input) {
        size_t room = ssh_channel_room(cmd->channel);
        ssize_t n;

        if (room == 0) {
            ssh_channel_write(cmd->channel, "x", 1); /* asks to be told */
            return;
        }
        n = read(0, data, room < sizeof data ? room : sizeof data);
        if (n < 0)
            die("stdin");
        if (n == 0) {
            cmd->input = false;
            ssh_channel_write_eof(cmd->channel);
            return;
        }
        if (ssh_channel_write(cmd->channel, data, (size_t)n) != (size_t)n)
            die("there was room for %zu bytes, and then there wasn't", room);
    }
}

static void pass_on(struct command *cmd, enum ssh_channel_stream stream)
{
    size_t len, done = 0;
    bool eof;
    const char *data = ssh_channel_output(cmd->channel, stream, &len, &eof);

    if (len > SSH_CHANNEL_WINDOW)
        die("%zu bytes of output are held: more than the window", len);
    if (cmd->run->hold && !cmd->held && len < SSH_CHANNEL_WINDOW && !eof)
        return;
    if (len == SSH_CHANNEL_WINDOW && !cmd->held && cmd->run->hold) {
        fprintf(stderr, "held: %zu\n", len);
        cmd->held = true;
    }
    while (done < len) {
        ssize_t n = write(stream == SSH_CHANNEL_OUT ? 1 : 2, data + done, len - done);

        if (n < 0)
            die("output");
        done += (size_t)n;
    }
    ssh_channel_consume(cmd->channel, stream, len);
    if (len > 0 && cmd->run->signal && cmd->number == 0) {
        struct err err = ERR_INIT;

        if (ssh_channel_signal(cmd->channel, cmd->run->signal, &err) != 0)
            die("signal: %s", err.msg);
        cmd->run->signal = NULL;
    }
}

static void ended(struct command *cmd)
{
    struct run *run = cmd->run;
    const struct ssh_channel_result *r = ssh_channel_result(cmd->channel);
    static const char *const text[] = { "running", "exited", "signalled", "lost" };

    cmd->status = r->end == SSH_CHANNEL_EXITED ? (int)r->code : 254;
    if (r->end == SSH_CHANNEL_EXITED)
        fprintf(stderr, "%d: %s %u\n", cmd->number, text[r->end], (unsigned)r->code);
    else if (r->end == SSH_CHANNEL_SIGNALED)
        fprintf(stderr, "%d: %s %s%s\n", cmd->number, text[r->end], r->signal,
                r->core_dumped ? " (core)" : "");
    else
        show_error("lost", &r->err);
    ssh_channel_close(cmd->channel);
    cmd->channel = NULL;
    run->ended++;
    if (run->sequential)
        start_next(run);
    if (run->ended == run->count && !run->wait)
        ssh_client_disconnect(run->client);
}

static void on_event(struct ssh_channel *channel, unsigned events, void *arg)
{
    struct command *cmd = arg;
    struct run *run = cmd->run;

    if (channel != cmd->channel)
        die("an event for another channel");
    if (events & SSH_CHANNEL_STARTED) {
        if (cmd->started)
            die("started twice");
        cmd->started = true;
        cmd->input = run->input && cmd->number == 0;
        if (!cmd->input)
            ssh_channel_write_eof(channel);
    }
    if (cmd->started)
        feed(cmd);
    if (events & (SSH_CHANNEL_OUTPUT | SSH_CHANNEL_ENDED)) {
        pass_on(cmd, SSH_CHANNEL_OUT);
        pass_on(cmd, SSH_CHANNEL_ERR);
        if (run->close_early && cmd->number == 0) {
            run->close_early = false;
            ssh_channel_close(channel);
            cmd->channel = NULL;
            fprintf(stderr, "0: closed\n");
            run->ended++;
            if (run->sequential)
                start_next(run);
            return;
        }
    }
    if (events & SSH_CHANNEL_ENDED)
        ended(cmd);
}

static void start_next(struct run *run)
{
    struct err err = ERR_INIT;
    struct command *cmd;
    char *host, *colon;

    if (run->next == run->count)
        return;
    cmd = &run->commands[run->next++];
    if (run->dial && cmd->number == 0) {
        host = mem_strdup(run->dial);
        colon = strrchr(host, ':');
        if (!colon)
            die("-d HOST:PORT");
        *colon = 0;
        cmd->channel = ssh_client_dial(run->client, host, (uint16_t)strtoul(colon + 1, NULL, 10),
                                       on_event, cmd, &err);
        free(host);
    } else {
        cmd->channel = ssh_client_exec(run->client, cmd->text, on_event, cmd, &err);
    }
    if (!cmd->channel) {
        show_error("error", &err);
        cmd->status = 254;
        run->ended++;
    }
}

/* --- the connection --------------------------------------------------------------------------- */

static void on_changed(struct ssh_client *client, void *arg)
{
    struct run *run = arg;

    switch (ssh_client_state(client)) {
    case SSH_CLIENT_READY:
        if (run->verbose) {
            fprintf(stderr, "server: %s\nmethods: %s\n%s", ssh_client_server(client),
                    ssh_client_methods(client), ssh_client_tried(client));
        }
        if (run->ready_file)
            close(open(run->ready_file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        break;
    case SSH_CLIENT_FAILED:
        show_error("error", ssh_client_error(client));
        if (ssh_client_needs_system(client))
            fprintf(stderr, "needs the system's ssh\n");
        fprintf(stderr, "%s", ssh_client_tried(client));
        run->failed = true;
        ev_stop(run->loop);
        break;
    case SSH_CLIENT_CLOSED:
        ev_stop(run->loop);
        break;
    case SSH_CLIENT_CONNECTING:
    case SSH_CLIENT_HANDSHAKE:
    case SSH_CLIENT_AUTH:
        die("told of a state that is none of ours");
    }
}

static ssize_t on_passphrase(void *arg, const char *name, unsigned attempt, char *out, size_t size,
                             struct err *err)
{
    const char *text = arg;

    (void)name;
    if (attempt > 0 || strlen(text) > size)
        return err_set(err, ERR_UNAUTH, "wrong passphrase");
    memcpy(out, text, strlen(text));
    return (ssize_t)strlen(text);
}

static int64_t seconds(const char *text)
{
    return (int64_t)(strtod(text, NULL) * NS_PER_S);
}

static void read_config(const char *target, uint16_t port, const char *file,
                        struct ssh_config *config)
{
    const struct passwd *pw = getpwuid(getuid());
    const char *at = strrchr(target, '@');
    char *user = at ? mem_strndup(target, (size_t)(at - target)) : NULL;
    struct ssh_config_input in = { .host = at ? at + 1 : target,
                                   .user = user,
                                   .port = port,
                                   .local_user = pw ? pw->pw_name : "root",
                                   .home = getenv("HOME"),
                                   .local_host = "client",
                                   .uid = getuid(),
                                   .file = file,
                                   .io = &ssh_config_files };
    struct err err = ERR_INIT;

    if (ssh_config_read(&in, config, &err) != 0)
        die("%s", err.msg);
    free(user);
}

static void run_all(struct run *run, const struct ssh_client_options *options)
{
    struct err err = ERR_INIT;

    run->loop = ev_loop_create(&clock_system, &err);
    if (!run->loop)
        die("%s", err.msg);
    run->client = ssh_client_open(run->loop, options, &err);
    if (!run->client)
        die("%s", err.msg);
    do
        start_next(run);
    while (!run->sequential && run->next < run->count);
    if (ev_run(run->loop, &err) != 0)
        die("%s", err.msg);
    ssh_client_destroy(run->client);
    ev_loop_destroy(run->loop);
}

static void set_option(struct run *run, struct ssh_client_options *o, int c)
{
    switch (c) {
    case 'a':
        o->alive_ns = seconds(optarg);
        o->alive_max = 2;
        break;
    case 't':
        o->connect_ns = o->handshake_ns = o->auth_ns = o->start_ns = seconds(optarg);
        break;
    case 'p':
        o->ask = (struct ssh_key_ask){ on_passphrase, optarg };
        break;
    case 'v':
        run->verbose = true;
        break;
    case 'i':
        run->input = true;
        break;
    case 's':
        run->sequential = true;
        break;
    case 'k':
        run->signal = optarg;
        break;
    case 'c':
        run->close_early = true;
        break;
    case 'd':
        run->dial = optarg;
        break;
    case 'b':
        run->hold = true;
        break;
    case 'w':
        run->wait = true;
        break;
    case 'e':
        run->ready_file = optarg;
        break;
    default:
        die("what is -%c?", optopt);
    }
}

int main(int argc, char **argv)
{
    struct ssh_client_options options = { 0 };
    struct ssh_config config = { 0 };
    struct run run = { 0 };
    const char *file = NULL;
    uint16_t port = 0;
    int c;

    signal(SIGPIPE, SIG_IGN);
    while ((c = getopt(argc, argv, "+F:P:a:t:p:vise:k:cd:bw")) != -1) {
        if (c == 'F')
            file = optarg;
        else if (c == 'P')
            port = (uint16_t)strtoul(optarg, NULL, 10);
        else
            set_option(&run, &options, c);
    }
    if (argc - optind < 1)
        die("which host?");
    read_config(argv[optind], port, file, &config);
    options.config = &config;
    options.name = strrchr(argv[optind], '@') ? strrchr(argv[optind], '@') + 1 : argv[optind];
    options.changed = on_changed;
    options.arg = &run;
    run.count = argc - optind - 1;
    run.commands = mem_alloc_array((size_t)run.count + 1, sizeof *run.commands);
    for (int i = 0; i < run.count; i++) {
        run.commands[i] =
            (struct command){ .run = &run, .text = argv[optind + 1 + i], .number = i };
    }
    run_all(&run, &options);
    c = run.failed ? 255 : run.commands[0].status;
    free(run.commands);
    ssh_config_fini(&config);
    return c;
}
