/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Private to the SSH client: ssh_client.c (life, states, deadlines), ssh_client_hostkey.c,
 * ssh_client_io.c (the socket, libssh2's callbacks), ssh_client_auth.c (logging in),
 * ssh_client_channel.c.
 *
 * libssh2 never touches the socket. It reads from `in` and writes to `out`, and since `out` takes
 * everything, no call of it ever stops in the middle of sending: it could not be left for another
 * one then. Every event ends in client_run(), the only place from which libssh2 is called, and the
 * application after that.
 */
#ifndef HIVE_NET_SSH_CLIENT_PRIV_H
#define HIVE_NET_SSH_CLIENT_PRIV_H

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "ev/ev.h"
#include "net/ssh_agent.h"
#include "net/ssh_client.h"
#include "net/ssh_client_hello.h"
#include "net/ssh_config.h"
#include "net/ssh_known_hosts.h"
#include "vendor/libssh2/hive_bearssl_pool.h"

#include <libssh2.h>

#define CLIENT_IN_MAX (64 * 1024)
#define CLIENT_OUT_HIGH ((size_t)256 * 1024)     /* over it channels wait */
#define CLIENT_OUT_MAX ((size_t)4 * 1024 * 1024) /* over it the peer makes us talk, and is cut */

/* A key to try. */
struct client_key {
    struct list link;
    char *label;         /* "/home/ann/.ssh/id_ed25519", "agent's key COMMENT" */
    unsigned char *blob; /* NULL while locked and unknown */
    size_t blob_len;
    struct ssh_key *key; /* of a file; NULL: the agent signs */
};

struct client_auth {
    bool listed;       /* what ways there are is known */
    char methods[256]; /* "publickey,password": the last list of the server's */
    bool partial;      /* it wants one more way after this one */
    bool sig_algs_known;
    char sig_algs[1024];     /* RFC 8308 */
    struct list keys;        /* struct client_key, in the order to try */
    struct client_key *now;  /* being tried */
    size_t count;            /* tried */
    bool skipped_for_system; /* a key was left out that the system's ssh can use */
    struct ssh_agent *agent;
    struct err sign_err; /* of the sign callback; ERR_NONE: signed */
    struct buf tried;    /* lines for people */
};

enum channel_kind { CHANNEL_EXEC, CHANNEL_DIAL, CHANNEL_PING };

enum channel_phase {
    CHANNEL_WAITING,  /* for its turn to be opened */
    CHANNEL_OPENING,  /* libssh2 can open one at a time */
    CHANNEL_STARTING, /* the request for the command is out */
    CHANNEL_OPEN,
    CHANNEL_DONE /* ended */
};

struct ssh_channel {
    struct list link; /* client->channels */
    struct ssh_client *client;
    enum channel_kind kind;
    enum channel_phase phase;
    char *command;      /* exec */
    struct buf message; /* dial: what goes with the request to open */
    LIBSSH2_CHANNEL *lib;
    uint32_t id;           /* ours, as messages to us have it */
    bool closed;           /* by the application: to be freed when libssh2 lets go of it */
    int64_t deadline_ns;   /* of opening and starting */
    struct buf in, out[2]; /* to the host, from the host */
    bool eof_wanted, eof_sent, host_eof;
    uint32_t adjust;                  /* window adjustment that is under way */
    char signal[32];                  /* to be sent */
    unsigned events;                  /* to be told */
    bool told_full;                   /* a write was cut short */
    struct ssh_channel_result result; /* what the host said, shown once the channel has ended */
    enum ssh_channel_end said;
    ssh_channel_event_fn *event;
    void *arg;
};

struct ssh_client {
    struct hive_bearssl_pool pool; /* first: libssh2's `abstract` points to it */
    struct ev_loop *loop;
    struct ssh_client_options opt;
    char *name;
    enum ssh_client_state state;
    struct err err;
    bool needs_system;
    unsigned busy; /* inside client_run(): nothing is freed */
    bool doomed;
    bool tell;  /* `changed` is to be called */
    bool again; /* the application did something while busy */

    struct ssh_connect *connect;
    int fd;
    struct ev_io io;
    struct ev_timer deadline, alive, later;
    struct buf in, out;
    char *scratch;      /* for reading channels */
    size_t released;    /* bytes of `in` that libssh2 may have */
    bool peer_eof, cut; /* cut: libssh2 gets no more and sends no more */
    bool flooded;       /* it asks and doesn't read the answers; libssh2 doesn't pass that on */
    int io_errno;
    int64_t heard_ns;
    bool heard;
    int silent;   /* intervals */
    bool goodbye; /* disconnecting: closed when `out` is empty */

    struct ssh_hello hello;
    char *offer[SSH_METHOD_COUNT];
    struct ssh_known_hosts *own_known;
    const struct ssh_known_hosts *known;
    LIBSSH2_SESSION *session;
    unsigned char *host_key;
    size_t host_key_len;
    char methods[256];
    struct buf last_words; /* of the server's disconnect message */
    bool disconnected;

    struct client_auth auth;

    struct list channels;
    size_t channel_count;
    struct ssh_channel *opening;
    uint32_t opened_id; /* of the last answer to an opening */
    char refusal[160];  /* its reason, if it was refused */
    int64_t pinged_ns;
};

/* ssh_client.c */
/* Something may be possible now that wasn't. Not from within libssh2's callbacks. */
void client_run(struct ssh_client *c);
/* The same, later in this turn or in the next: for calls of the application. */
void client_run_soon(struct ssh_client *c);
/* Ends the connection. Returns -1. Only from client_run() and below. */
int client_fail(struct ssh_client *c, const struct err *err);
/* client_fail() with what libssh2 says, or the reason behind it. */
int client_fail_lib(struct ssh_client *c, const char *doing);
void client_set_deadline(struct ssh_client *c, int64_t timeout_ns);
void client_ready(struct ssh_client *c);

/* ssh_client_hostkey.c. Those that return int have called client_fail() when it isn't 0. */
int client_load_known(struct ssh_client *c);
int client_choose_methods(struct ssh_client *c);
/* After a key exchange. */
int client_check_host_key(struct ssh_client *c);
/* It may show another one when keys are exchanged anew. */
bool client_host_key_same(const struct ssh_client *c);

/* ssh_client_io.c */
int client_session_create(struct ssh_client *c, struct err *err);
void client_session_destroy(struct ssh_client *c);
void client_receive(struct ssh_client *c);
void client_flush(struct ssh_client *c);
/* Memory that libssh2 will free. */
void *client_lib_alloc(struct ssh_client *c, size_t size);

/* ssh_client_auth.c */
void client_auth_step(struct ssh_client *c);
void client_auth_fini(struct ssh_client *c);
/* EXT_INFO and USERAUTH_FAILURE as they came */
void client_auth_message(struct ssh_client *c, const unsigned char *data, size_t len);

/* ssh_client_channel.c */
/* Moves everything that can be moved; false when the connection has failed meanwhile. */
bool client_channels_step(struct ssh_client *c);
/* All end, for that reason. */
void client_channels_lost(struct ssh_client *c, const struct err *err);
/* Calls the application until there is nothing more to tell. */
void client_channels_tell(struct ssh_client *c);
/* Frees those that are closed; all of them if `all`. */
void client_channels_reap(struct ssh_client *c, bool all);
/* Whether something is on its way that the host must answer. */
bool client_channels_asking(const struct ssh_client *c);
void client_channels_ping(struct ssh_client *c);
int64_t client_channels_deadline(const struct ssh_client *c);
bool client_channels_expire(struct ssh_client *c);
void client_channel_message(struct ssh_client *c, const unsigned char *data, size_t len);

#endif
