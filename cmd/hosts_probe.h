/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * For `hive hosts check` and `hive hosts trust`: goes to hosts as the user's ssh would, step by
 * step, several at once on one event loop, and keeps what became of each.
 *
 *     struct hosts_run run = { .timeout_ns = ..., .parallel = 16 };
 *     hosts_run_init(&run, words, count);
 *     if (hosts_run_all(&run, &err) != 0) ...      the loop itself failed
 *     ... run.probes[i].step, .err, .server ...
 *     hosts_run_fini(&run);
 */
#ifndef HIVE_CMD_HOSTS_PROBE_H
#define HIVE_CMD_HOSTS_PROBE_H

#include "base/buf.h"
#include "base/err.h"
#include "ev/ev.h"
#include "net/resolve.h"
#include "net/ssh_client.h"
#include "net/ssh_config.h"
#include "net/ssh_connect.h"
#include "net/ssh_known_hosts.h"
#include "sys/nss_user.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HOSTS_PARALLEL 16

/* How far it came; of one that failed, the step that did. */
enum hosts_step {
    HOSTS_CONFIG,
    HOSTS_LOOKUP,
    HOSTS_CONNECT,
    HOSTS_HANDSHAKE,
    HOSTS_HOST_KEY,
    HOSTS_LOGIN,
    HOSTS_COMMAND,
    HOSTS_OK
};

struct hosts_probe {
    const char *word;       /* as typed, borrowed */
    const char *short_name; /* the same without "ssh://" and user; part of `target` */
    enum hosts_step step;
    struct err err; /* ERR_NONE: it came as far as was asked for */
    bool needs_system;
    int64_t took_ns;
    char *user, *host; /* as typed; user may be NULL. host is NULL when the word names none */
    uint16_t port;     /* as typed, or 0 */
    bool configured;   /* config is filled */
    struct ssh_config config;
    char address[80]; /* that it is connected to, or "" */
    char *server, *methods, *tried;
    unsigned char *key; /* the host's, which it has proved to own; NULL: it came to none */
    size_t key_len;
    struct ssh_known_found found; /* with a key: what is known of it */

    /* private */
    struct hosts_run *run;
    char *target;
    bool running;
    int64_t started_ns, deadline_ns;
    struct ev_timer timer;
    struct resolve_address addresses[SSH_CONNECT_ADDRESSES_MAX];
    size_t address_count;
    struct resolve_request *lookup;
    struct ssh_connect *connect;
    struct hosts_jump *jump; /* instead of all three */
    struct ssh_known_hosts *known, *nothing_known;
    struct ssh_config bare; /* `config` without keys to log in with; borrows all of it */
    struct ssh_client *client;
    struct ssh_channel *channel;
    struct buf said;
};

struct hosts_run {
    /* set by the caller */
    int64_t timeout_ns; /* for each host, without the time that questions take */
    size_t parallel;    /* at most HOSTS_PARALLEL */
    bool key_only;      /* come as far as the host's key */
    bool ask;           /* for passphrases, on the terminal; parallel has to be 1 */

    struct hosts_probe *probes;
    size_t count;

    /* private */
    struct ev_loop *loop;
    struct getent *getent;
    struct nss_user me;
    char local_host[256];
    size_t next, active;
    bool starting;
};

/* `words` are borrowed. */
void hosts_run_init(struct hosts_run *run, char **words, size_t count);
/* Returns when all hosts have ended, well or badly. -1: nothing can be done at all. */
int hosts_run_all(struct hosts_run *run, struct err *err);
void hosts_run_fini(struct hosts_run *run);

/* "lookup", "host-key", ...; "ok". */
const char *hosts_step_word(enum hosts_step step);
/* "unknown", "known", "changed", "other-type", "revoked". */
const char *hosts_known_word(enum ssh_known_status status);
/* How known_hosts names it. `probe` has a config; borrowed. */
struct ssh_known_name hosts_known_name(const struct hosts_probe *probe);
/* All known_hosts files of the host; NULL with an error when one can't be read. */
struct ssh_known_hosts *hosts_load_known(const struct ssh_config *config, struct err *err);
/* Reads them again and fills probe->found anew. The probe has ended, with a key. */
int hosts_look_again(struct hosts_probe *probe, struct err *err);

/* hosts_tty.c: true when there is a terminal to ask on. */
bool hosts_tty_exists(void);
/* Shows `question` (safe already) there and reads a line, without echo if `secret`, into out
 * without its end. How many bytes, or -1: ERR_UNAVAILABLE without a terminal, ERR_UNAUTH at the end
 * of input, ERR_TOO_LARGE. */
ssize_t hosts_tty_ask(const char *question, bool secret, char *out, size_t size, struct err *err);

#endif
