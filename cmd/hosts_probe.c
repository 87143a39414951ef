/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "cmd/hosts_probe.h"

#include "base/clock.h"
#include "base/str.h"
#include "cmd/hosts_jump.h"
#include "sys/getent.h"

#include <unistd.h>

#define SAID_MAX 200
#define COMMAND "exec true"

static void run_more(struct hosts_run *run);

const char *hosts_step_word(enum hosts_step step)
{
    static const char *const word[] = {
        [HOSTS_CONFIG] = "config",     [HOSTS_LOOKUP] = "lookup",
        [HOSTS_CONNECT] = "connect",   [HOSTS_HANDSHAKE] = "handshake",
        [HOSTS_HOST_KEY] = "host-key", [HOSTS_LOGIN] = "login",
        [HOSTS_COMMAND] = "command",   [HOSTS_OK] = "ok",
    };

    return word[step];
}

const char *hosts_known_word(enum ssh_known_status status)
{
    static const char *const word[] = {
        [SSH_KNOWN_UNKNOWN] = "unknown", [SSH_KNOWN_MATCH] = "known",
        [SSH_KNOWN_CHANGED] = "changed", [SSH_KNOWN_OTHER_TYPE] = "other-type",
        [SSH_KNOWN_REVOKED] = "revoked",
    };

    return word[status];
}

struct ssh_known_name hosts_known_name(const struct hosts_probe *p)
{
    struct ssh_known_name name = { .name = p->config.host, .port = p->config.port };

    if (p->config.host_key_alias) {
        name.name = p->config.host_key_alias;
        name.alias = true;
    }
    if (p->config.check_host_ip && p->address[0] && !str_eq(p->address, "?"))
        name.address = p->address;
    return name;
}

struct ssh_known_hosts *hosts_load_known(const struct ssh_config *config, struct err *err)
{
    const struct ssh_config_list *lists[] = { &config->user_known_hosts,
                                              &config->global_known_hosts };
    struct ssh_known_hosts *known = ssh_known_hosts_create();

    for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
        for (size_t i = 0; i < lists[l]->count; i++) {
            if (ssh_known_hosts_add_file(known, lists[l]->item[i], err) != 0) {
                ssh_known_hosts_destroy(known);
                return NULL;
            }
        }
    }
    return known;
}

int hosts_look_again(struct hosts_probe *p, struct err *err)
{
    struct ssh_known_name name = hosts_known_name(p);
    struct ssh_known_hosts *known = hosts_load_known(&p->config, err);

    if (!known)
        return -1;
    ssh_known_hosts_destroy(p->known);
    p->known = known;
    ssh_known_hosts_check(known, &name, p->key, p->key_len, &p->found);
    return 0;
}

/* --- the end of one ----------------------------------------------------------------------------- */

static void probe_keep(struct hosts_probe *p)
{
    struct ssh_span key;

    if (!p->client || p->server)
        return;
    p->server = mem_strdup(ssh_client_server(p->client));
    p->methods = mem_strdup(ssh_client_methods(p->client));
    p->tried = mem_strdup(ssh_client_tried(p->client));
    p->needs_system = p->needs_system || ssh_client_needs_system(p->client);
    if (ssh_client_host_key(p->client, &key)) {
        struct ssh_known_name name = hosts_known_name(p);

        p->key = mem_dup(key.data, key.len);
        p->key_len = key.len;
        ssh_known_hosts_check(p->known, &name, p->key, p->key_len, &p->found);
    }
}

static void probe_hang_up(struct hosts_probe *p)
{
    ev_timer_clear(&p->timer);
    resolve_cancel(p->lookup);
    p->lookup = NULL;
    ssh_connect_cancel(p->connect);
    p->connect = NULL;
    ssh_channel_close(p->channel);
    p->channel = NULL;
    ssh_client_destroy(p->client);
    p->client = NULL;
    hosts_jump_end(p->jump);
    p->jump = NULL;
}

/* At `step`, by `err`; NULL: as far as it should come. */
static void probe_end(struct hosts_probe *p, enum hosts_step step, const struct err *err)
{
    if (!p->running)
        return;
    p->running = false;
    p->step = step;
    if (err)
        p->err = *err;
    probe_keep(p);
    p->took_ns = clock_mono_ns(ev_clock(p->run->loop)) - p->started_ns;
    probe_hang_up(p);
    p->run->active--;
    run_more(p->run);
}

static void on_timeout(struct ev_timer *t)
{
    struct hosts_probe *p = CONTAINER_OF(t, struct hosts_probe, timer);
    enum hosts_step step = p->step;
    struct buf time = BUF_INIT;
    struct err err = ERR_INIT;
    struct ssh_span key;

    if (p->client && p->run->key_only && ssh_client_host_key(p->client, &key)) {
        probe_end(p, HOSTS_HOST_KEY, NULL);
        return;
    }
    if (p->client && ssh_client_state(p->client) == SSH_CLIENT_AUTH)
        step = HOSTS_LOGIN;
    str_format_duration(&time, p->run->timeout_ns);
    if (step == HOSTS_LOOKUP)
        err_set(&err, ERR_TIMEOUT, "%s: no answer about the name %s within %s", p->short_name,
                p->config.host, buf_data(&time));
    else if (step == HOSTS_COMMAND)
        err_set(&err, ERR_TIMEOUT, "%s: logged in, but `%s` did not end within %s", p->short_name,
                COMMAND, buf_data(&time));
    else
        err_set(&err, ERR_TIMEOUT, "%s: not done within %s: %s", p->short_name, buf_data(&time),
                p->client ? ssh_client_state_text(ssh_client_state(p->client)) : "connecting");
    err_hint(&err, "is it overloaded, or does --timeout need to be longer?");
    if (step == HOSTS_LOGIN && *ssh_client_tried(p->client))
        err_hint(&err, "until then: %.*s", (int)strcspn(ssh_client_tried(p->client), "\n"),
                 ssh_client_tried(p->client));
    buf_fini(&time);
    probe_end(p, step, &err);
}

/* --- a command there ---------------------------------------------------------------------------- */

static void take_output(struct hosts_probe *p, enum ssh_channel_stream stream)
{
    size_t len, room = SAID_MAX - buf_len(&p->said);
    bool eof;
    const char *data = ssh_channel_output(p->channel, stream, &len, &eof);

    buf_append(&p->said, data, len < room ? len : room);
    ssh_channel_consume(p->channel, stream, len);
}

/* The shell there ended otherwise than `true` does. */
static void command_failed(struct hosts_probe *p, const struct ssh_channel_result *r)
{
    struct err err = ERR_INIT;
    struct buf text = BUF_INIT;
    char *said = buf_take(&p->said, NULL);

    str_append_safe(&text, str_trim(said), SIZE_MAX);
    if (r->end == SSH_CHANNEL_LOST) {
        err = r->err;
    } else {
        if (r->end == SSH_CHANNEL_EXITED)
            err_set(&err, ERR_UNPROCESS,
                    "%s: logged in, but `%s` ended with status %u there%s%.300s", p->short_name,
                    COMMAND, (unsigned)r->code, buf_len(&text) ? ": " : "", buf_data(&text));
        else
            err_set(&err, ERR_UNPROCESS, "%s: logged in, but `%s` was ended by SIG%s there",
                    p->short_name, COMMAND, r->signal);
        err_hint(&err, "may %s run commands there? Look at its login shell, and try: ssh %s %s",
                 p->config.user, p->word, COMMAND);
    }
    free(said);
    buf_fini(&text);
    probe_end(p, HOSTS_COMMAND, &err);
}

static void on_channel(struct ssh_channel *channel, unsigned events, void *arg)
{
    struct hosts_probe *p = arg;
    const struct ssh_channel_result *r = ssh_channel_result(channel);

    if (events & SSH_CHANNEL_STARTED)
        ssh_channel_write_eof(channel);
    if (events & (SSH_CHANNEL_OUTPUT | SSH_CHANNEL_ENDED)) {
        take_output(p, SSH_CHANNEL_OUT);
        take_output(p, SSH_CHANNEL_ERR);
    }
    if (!(events & SSH_CHANNEL_ENDED))
        return;
    if (r->end == SSH_CHANNEL_EXITED && r->code == 0)
        probe_end(p, HOSTS_OK, NULL);
    else
        command_failed(p, r);
}

static void start_command(struct hosts_probe *p)
{
    struct err err = ERR_INIT;

    p->step = HOSTS_COMMAND;
    p->channel = ssh_client_exec(p->client, COMMAND, on_channel, p, &err);
    if (!p->channel)
        probe_end(p, HOSTS_COMMAND, &err);
}

/* --- SSH ---------------------------------------------------------------------------------------- */

static enum hosts_step failed_step(const struct hosts_probe *p)
{
    if (p->step == HOSTS_COMMAND)
        return HOSTS_COMMAND;
    if (!p->key)
        return HOSTS_HANDSHAKE;
    return p->found.status == SSH_KNOWN_MATCH ? HOSTS_LOGIN : HOSTS_HOST_KEY;
}

static void client_failed(struct hosts_probe *p)
{
    struct err err = *ssh_client_error(p->client);

    probe_keep(p);
    enum hosts_step step = failed_step(p);
    if (step == HOSTS_LOGIN && err.kind == ERR_UNAUTH && p->port && !p->needs_system)
        err_hint(&err, "check the user, or put a key there: ssh-copy-id -p %u %s@%s",
                 (unsigned)p->port, p->config.user, p->host);
    probe_end(p, step, &err);
}

static void on_changed(struct ssh_client *client, void *arg)
{
    struct hosts_probe *p = arg;
    enum ssh_client_state state = ssh_client_state(client);
    struct ssh_span key;

    if (p->run->key_only && ssh_client_host_key(client, &key))
        probe_end(p, HOSTS_HOST_KEY, NULL);
    else if (state == SSH_CLIENT_READY)
        start_command(p);
    else if (state == SSH_CLIENT_FAILED)
        client_failed(p);
}

static ssize_t on_passphrase(void *arg, const char *name, unsigned attempt, char *out, size_t size,
                             struct err *err)
{
    struct hosts_probe *p = arg;
    struct buf question = BUF_INIT;
    int64_t before = clock_mono_ns(ev_clock(p->run->loop));

    if (attempt > 0)
        buf_append_str(&question, "That was not it. ");
    buf_append_str(&question, "Passphrase of ");
    str_append_safe(&question, name, SIZE_MAX);
    buf_printf(&question, " (for %s): ", p->short_name);
    ssize_t len = hosts_tty_ask(buf_data(&question), true, out, size, err);
    buf_fini(&question);
    p->deadline_ns += clock_mono_ns(ev_clock(p->run->loop)) - before;
    ev_timer_set(p->run->loop, &p->timer, p->deadline_ns + NS_PER_S / 4);
    return len;
}

static void start_client(struct hosts_probe *p, int fd)
{
    struct ssh_client_options options = { .config = &p->config,
                                          .name = p->short_name,
                                          .has_fd = true,
                                          .fd = fd,
                                          .known = p->known,
                                          .changed = on_changed,
                                          .arg = p };
    struct ssh_known_name name = hosts_known_name(p);
    struct ssh_known_types types = { .count = 0 };
    struct err err = ERR_INIT;
    int64_t left = p->deadline_ns - clock_mono_ns(ev_clock(p->run->loop));

    if (left <= 0)
        left = 1;
    options.handshake_ns = options.auth_ns = options.start_ns = left;
    options.agent_ns = p->run->timeout_ns;
    if (p->run->ask)
        options.ask = (struct ssh_key_ask){ on_passphrase, p };
    if (p->run->key_only) {
        p->bare = p->config;
        p->bare.identity_files.count = 0;
        p->bare.agent = NULL;
        options.config = &p->bare;
        /* Where no key is known, whatever the server likes to show is fine. */
        ssh_known_hosts_types(p->known, &name, &types);
        if (types.count == 0)
            options.known = p->nothing_known = ssh_known_hosts_create();
    }
    p->step = HOSTS_HANDSHAKE;
    p->client = ssh_client_open(p->run->loop, &options, &err);
    if (!p->client)
        probe_end(p, HOSTS_CONFIG, &err);
}

/* --- the way there ------------------------------------------------------------------------------ */

static void on_connected(void *arg, int fd, const struct err *err)
{
    struct hosts_probe *p = arg;
    struct sockaddr_storage peer = { 0 };
    socklen_t len = sizeof peer;
    struct err why;

    p->connect = NULL;
    if (fd < 0) {
        why = *err;
        err_prefix(&why, "can't connect to %s", p->short_name);
        if (!why.hint[0])
            err_hint(&why, "is the machine on, and is the network between up?");
        probe_end(p, HOSTS_CONNECT, &why);
        return;
    }
    if (p->jump)
        snprintf(p->address, sizeof p->address, "through %s", hosts_jump_word(p->jump));
    else if (getpeername(fd, (struct sockaddr *)&peer, &len) == 0)
        ssh_connect_address_text(&peer, p->address, sizeof p->address);
    start_client(p, fd);
}

/* The addresses are found already. */
static int give_addresses(void *arg, const char *host, uint16_t port, int family,
                          struct resolve_address *out, struct err *err)
{
    const struct hosts_probe *p = arg;

    (void)host;
    (void)port;
    (void)family;
    (void)err;
    memcpy(out, p->addresses, p->address_count * sizeof *out);
    return (int)p->address_count;
}

static void start_connecting(struct hosts_probe *p)
{
    struct ssh_connect_target target = { .host = p->config.host,
                                         .port = p->config.port,
                                         .family = p->config.family,
                                         .bind_address = p->config.bind_address,
                                         .resolve = give_addresses,
                                         .resolve_arg = p };
    int64_t left = p->deadline_ns - clock_mono_ns(ev_clock(p->run->loop));

    p->step = HOSTS_CONNECT;
    p->connect = ssh_connect_start(p->run->loop, &target, left > 0 ? left : 1, on_connected, p);
}

static void lookup_failed(struct hosts_probe *p, const struct err *err)
{
    struct err why = *err;

    err_prefix(&why, "can't find %s", p->short_name);
    if (why.kind == ERR_NOT_FOUND || why.kind == ERR_INVALID)
        err_hint(&why, "check the name, or set HostName for it in ~/.ssh/config");
    else
        err_hint(&why, "check the network and its name server, or give HostName an address");
    probe_end(p, HOSTS_LOOKUP, &why);
}

static void on_found(void *arg, const struct resolve_address *found, size_t count,
                     const struct err *err)
{
    struct hosts_probe *p = arg;

    p->lookup = NULL;
    if (count == 0) {
        lookup_failed(p, err);
        return;
    }
    p->address_count = count < ARRAY_LEN(p->addresses) ? count : ARRAY_LEN(p->addresses);
    memcpy(p->addresses, found, p->address_count * sizeof *found);
    start_connecting(p);
}

static void start_lookup(struct hosts_probe *p)
{
    static const int family[] = {
        [SSH_FAMILY_ANY] = AF_UNSPEC, [SSH_FAMILY_INET] = AF_INET, [SSH_FAMILY_INET6] = AF_INET6
    };
    struct err err = ERR_INIT;

    p->step = HOSTS_LOOKUP;
    p->lookup = resolve_ask(p->run->getent, p->config.host, p->config.port,
                            family[p->config.family], on_found, p, &err);
    if (!p->lookup)
        lookup_failed(p, &err);
}

/* --- the beginning ------------------------------------------------------------------------------ */

static int read_port(const char *text, uint16_t *port, struct err *err)
{
    int64_t number;

    if (str_to_int(text, 1, 65535, "port", &number, err) != 0)
        return -1;
    *port = (uint16_t)number;
    return 0;
}

/* HOST, USER@HOST:PORT, [ADDRESS]:PORT, ssh://USER@HOST:PORT/ */
static int parse_word(struct hosts_probe *p, struct err *err)
{
    char *text = p->target, *at, *end, *port = NULL;

    if (str_starts(text, "ssh://")) {
        text += 6;
        end = text + strlen(text);
        if (end > text && end[-1] == '/')
            end[-1] = '\0';
    }
    at = strrchr(text, '@');
    if (at) {
        p->user = mem_strndup(text, (size_t)(at - text));
        text = at + 1;
    }
    p->short_name = text;
    if (text[0] == '[' && (end = strchr(text, ']')) && (end[1] == '\0' || end[1] == ':')) {
        p->host = mem_strndup(text + 1, (size_t)(end - text - 1));
        port = end[1] ? end + 2 : NULL;
    } else if ((end = strchr(text, ':')) && !strchr(end + 1, ':')) {
        p->host = mem_strndup(text, (size_t)(end - text));
        port = end + 1;
    } else {
        p->host = mem_strdup(text); /* more colons than one: an address */
    }
    if (!*p->host || (p->user && !*p->user)) {
        err_set(err, ERR_INVALID, "'%s' names no host", p->word);
        return err_hint(err, "write HOST, USER@HOST or USER@HOST:PORT");
    }
    if (port && read_port(port, &p->port, err) != 0) {
        err_prefix(err, "%s", p->word);
        return err_hint(err, "write HOST, USER@HOST or USER@HOST:PORT");
    }
    return 0;
}

static int read_config(struct hosts_probe *p, struct err *err)
{
    const struct hosts_run *run = p->run;
    struct ssh_config_input in = { .host = p->host,
                                   .user = p->user,
                                   .port = p->port,
                                   .local_user = run->me.name,
                                   .home = run->me.home,
                                   .local_host = run->local_host,
                                   .uid = run->me.uid,
                                   .io = &ssh_config_files };

    if (ssh_config_read(&in, &p->config, err) != 0)
        return -1;
    p->configured = true;
    if (p->config.needs_system) {
        err_set(err, ERR_UNPROCESS, "%s: only the system's ssh can do what is asked for: %s",
                p->short_name, p->config.why ? p->config.why : "see ssh_config");
    } else {
        p->known = hosts_load_known(&p->config, err);
        if (p->known)
            return 0;
        err_prefix(err, "%s", p->short_name);
        return err->hint[0] ? -1 : err_hint(err, "put that right: it says which keys to trust");
    }
    p->needs_system = true;
    return err_hint(err, "check it with the system's ssh: ssh %s %s", p->word, COMMAND);
}

static void start_jump(struct hosts_probe *p)
{
    struct err err = ERR_INIT;
    int64_t left = p->deadline_ns - clock_mono_ns(ev_clock(p->run->loop));

    p->step = HOSTS_CONNECT;
    p->jump = hosts_jump_start(p->run->loop, &p->config, left, on_connected, p, &err);
    if (!p->jump)
        probe_end(p, HOSTS_CONNECT, &err);
}

static void probe_start(struct hosts_probe *p)
{
    struct err err = ERR_INIT;

    p->running = true;
    p->run->active++;
    p->started_ns = clock_mono_ns(ev_clock(p->run->loop));
    p->deadline_ns = p->started_ns + p->run->timeout_ns;
    p->timer.fn = on_timeout;
    if (parse_word(p, &err) != 0 || read_config(p, &err) != 0) {
        probe_end(p, HOSTS_CONFIG, &err);
        return;
    }
    /* Later than the steps' own deadlines, which know more to say. */
    ev_timer_set(p->run->loop, &p->timer, p->deadline_ns + NS_PER_S / 4);
    if (p->config.jump_count > 0)
        start_jump(p);
    else
        start_lookup(p);
}

/* --- all of them -------------------------------------------------------------------------------- */

static void run_more(struct hosts_run *run)
{
    /* One that ends at once comes back to here; the loop below goes on then. */
    if (run->starting)
        return;
    run->starting = true;
    while (run->next < run->count && run->active < run->parallel)
        probe_start(&run->probes[run->next++]);
    run->starting = false;
    if (run->active == 0)
        ev_stop(run->loop);
}

void hosts_run_init(struct hosts_run *run, char **words, size_t count)
{
    run->probes = mem_alloc_array(count, sizeof *run->probes);
    run->count = count;
    for (size_t i = 0; i < count; i++) {
        run->probes[i].run = run;
        run->probes[i].word = words[i];
        run->probes[i].target = mem_strdup(words[i]);
        run->probes[i].short_name = run->probes[i].target;
    }
}

int hosts_run_all(struct hosts_run *run, struct err *err)
{
    struct getent_options options = { .timeout_ns = run->timeout_ns };

    if (nss_user_by_uid(getuid(), NULL, &run->me, err) != 0) {
        err_prefix(err, "who are you?");
        return err_hint(err, "your user has to be one that `getent passwd %ld` shows",
                        (long)getuid());
    }
    if (gethostname(run->local_host, sizeof run->local_host - 1) != 0)
        str_copy(run->local_host, sizeof run->local_host, "localhost");
    run->loop = ev_loop_create(&clock_system, err);
    if (!run->loop)
        return -1;
    run->getent = getent_create(run->loop, &options);
    run_more(run);
    int rc = ev_run(run->loop, err);
    for (size_t i = 0; i < run->count; i++)
        probe_hang_up(&run->probes[i]);
    getent_destroy(run->getent);
    ev_loop_destroy(run->loop);
    run->loop = NULL;
    return rc;
}

void hosts_run_fini(struct hosts_run *run)
{
    for (size_t i = 0; i < run->count; i++) {
        struct hosts_probe *p = &run->probes[i];

        free(p->target);
        free(p->user);
        free(p->host);
        free(p->server);
        free(p->methods);
        free(p->tried);
        free(p->key);
        buf_fini(&p->said);
        ssh_known_hosts_destroy(p->known);
        ssh_known_hosts_destroy(p->nothing_known);
        if (p->configured)
            ssh_config_fini(&p->config);
    }
    free(run->probes);
    run->probes = NULL;
    run->count = 0;
    nss_user_fini(&run->me);
}
