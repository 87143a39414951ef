/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SSH client on the event loop: one connection to one host, logged in with a key, and commands that
 * run over it, several at once. For `hive link` and never for the daemon: looking up a name, asking
 * an agent and reading key files block, and libssh2 is better kept in a process of its own.
 *
 *     options.config  = &config;                 from ssh_config_read()
 *     options.changed = on_changed;
 *     client = ssh_client_open(loop, &options, &err);
 *     ... on_changed: ssh_client_state() is SSH_CLIENT_READY, or FAILED: ssh_client_error() ...
 *     channel = ssh_client_exec(client, "hive agent --stdio", on_event, arg, &err);
 *     ... on_event: SSH_CHANNEL_OUTPUT: ssh_channel_output(), ssh_channel_consume();
 *                   SSH_CHANNEL_ENDED: ssh_channel_result() ...
 *     ssh_channel_close(channel);
 *     ssh_client_destroy(client);
 *
 * Nothing waits for ever: connecting, the handshake, logging in, opening a channel and starting its
 * command have deadlines each, and a peer that falls silent is found out by messages that it has to
 * answer. A connection that failed stays failed; whoever wants another one makes another client.
 *
 * Callbacks come from the loop, and from ssh_client_disconnect(). In them, everything here may be
 * called, destroying the client included; a channel that was closed and a client that was destroyed
 * are never heard of again.
 *
 * Memory that a server can make us use: 8 MiB for libssh2, and for each channel 2 MiB of output
 * that is not consumed.
 */
#ifndef HIVE_NET_SSH_CLIENT_H
#define HIVE_NET_SSH_CLIENT_H

#include "base/err.h"
#include "net/ssh_connect.h"
#include "net/ssh_key.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ev_loop;
struct ssh_channel;
struct ssh_client;
struct ssh_config;
struct ssh_known_hosts;

#define SSH_CLIENT_MEMORY_MAX ((size_t)8 * 1024 * 1024) /* of libssh2 */
#define SSH_CLIENT_HELLO_MAX ((size_t)64 * 1024) /* from the server before its version; ssh's too */
#define SSH_CLIENT_CHANNELS_MAX 64               /* open at once, those being closed included */
#define SSH_CLIENT_KEYS_MAX 30                   /* keys that are tried */
#define SSH_CHANNEL_WINDOW ((size_t)2 * 1024 * 1024) /* unconsumed output */
#define SSH_CHANNEL_INPUT_MAX ((size_t)256 * 1024)   /* unsent input */
#define SSH_CHANNEL_COMMAND_MAX ((size_t)24 * 1024)  /* a message of SSH carries it in one piece */

/* --- connection --------------------------------------------------------------------------------- */

enum ssh_client_state {
    SSH_CLIENT_CONNECTING, /* looking up the name, TCP */
    SSH_CLIENT_HANDSHAKE,  /* versions, key exchange, the host's key */
    SSH_CLIENT_AUTH,
    SSH_CLIENT_READY,
    SSH_CLIENT_FAILED, /* ssh_client_error() says why; final */
    SSH_CLIENT_CLOSED  /* after ssh_client_disconnect(); final */
};

/* Zeros are right for all but config. */
struct ssh_client_options {
    const struct ssh_config *config; /* borrowed while the client lives */
    const char *name; /* the host as the user calls it, for messages; NULL: config's */

    /* A connected stream socket instead of dialling: of a jump host's channel, of a test. It is the
     * client's from then on, also when ssh_client_open() fails. */
    bool has_fd;
    int fd;
    ssh_connect_resolve_fn *resolve; /* as in ssh_connect.h */
    void *resolve_arg;

    const struct ssh_known_hosts *known; /* borrowed; NULL: the files that config names are read */
    struct ssh_key_ask ask; /* for passphrases, blocking; without it encrypted keys are left out */

    /* 0: the default. Zero values of config count as not set. */
    int64_t connect_ns;   /* TCP, all addresses together; ConnectTimeout, or 15 s */
    int64_t handshake_ns; /* 20 s */
    int64_t auth_ns;      /* 60 s, not counting the time that passphrases and the agent take */
    int64_t start_ns;     /* of a command, or of opening a channel; 30 s */
    int64_t alive_ns;     /* silence after which to ask; ServerAliveInterval, or 15 s */
    int alive_max;        /* intervals without an answer; ServerAliveCountMax, or 3 */
    int64_t agent_ns;     /* of one question to the agent, the user's confirmation included; 60 s */

    /* The state has changed to READY, FAILED or CLOSED. */
    void (*changed)(struct ssh_client *client, void *arg);
    void *arg;
};

/* Starts connecting. NULL only for what can't be right in any network (ERR_INVALID: no host, no
 * user); everything else is told by `changed`, from the loop. */
struct ssh_client *ssh_client_open(struct ev_loop *loop, const struct ssh_client_options *options,
                                   struct err *err);
/* Says goodbye if that can be done without waiting, and ends all. Channels become invalid. NULL is
 * legal. */
void ssh_client_destroy(struct ssh_client *client);
/* Says goodbye, waits up to 2 s for that to be sent, then CLOSED. Channels that run are lost. */
void ssh_client_disconnect(struct ssh_client *client);

enum ssh_client_state ssh_client_state(const struct ssh_client *client);
/* "connecting", "logging in", ... for people. */
const char *ssh_client_state_text(enum ssh_client_state state);
/* Why it failed, with what to do next; kind ERR_NONE before. Borrowed. Kinds: ERR_UNAVAILABLE
 * (unreachable, connection lost), ERR_TIMEOUT, ERR_NOT_FOUND (the name), ERR_DENIED (the host's
 * key), ERR_UNAUTH (our keys), ERR_UNPROCESS (nothing in common), ERR_CORRUPT (no SSH, or broken),
 * ERR_TOO_LARGE. */
const struct err *ssh_client_error(const struct ssh_client *client);
/* Whether the failure is one that the system's ssh would not have: security keys, certificates,
 * ProxyCommand, RSA keys over 4096 bits, servers that want other ways to log in or that have only
 * methods that hive doesn't speak. */
bool ssh_client_needs_system(const struct ssh_client *client);

/* The host's key, once it was checked or was the reason to fail; false before. Borrowed. */
bool ssh_client_host_key(const struct ssh_client *client, struct ssh_span *key);
/* What each key became of that was tried, or left out: a line each; "" before. Borrowed. */
const char *ssh_client_tried(const struct ssh_client *client);
/* "curve25519-sha256 ssh-ed25519 aes256-gcm@openssh.com -": key exchange, host key, cipher, MAC, as
 * agreed on; "" before. Borrowed. */
const char *ssh_client_methods(const struct ssh_client *client);
/* What the server calls itself: "OpenSSH_9.2p1 Debian-2+deb12u7"; "" before. Safe to show,
 * borrowed. */
const char *ssh_client_server(const struct ssh_client *client);
/* When something last came from the host (ev_now_ns). */
int64_t ssh_client_heard_ns(const struct ssh_client *client);

/* --- channels ----------------------------------------------------------------------------------- */

#define SSH_CHANNEL_STARTED 1u /* the command runs, or the connection stands */
#define SSH_CHANNEL_OUTPUT 2u  /* there is more output, or its end: ssh_channel_output() */
#define SSH_CHANNEL_ROOM 4u    /* ssh_channel_write() takes bytes again, after it took too few */
#define SSH_CHANNEL_ENDED 8u   /* ssh_channel_result(); what is unread can still be read */

typedef void ssh_channel_event_fn(struct ssh_channel *channel, unsigned events, void *arg);

/*
 * Runs a command, as `ssh HOST COMMAND`: the user's shell there gets it. May be called before the
 * client is ready: it starts when it is. NULL when the client has failed (its error),
 * SSH_CLIENT_CHANNELS_MAX are open (ERR_UNAVAILABLE), or the command is too long (ERR_TOO_LARGE).
 * Events come from the loop, never from this call.
 */
struct ssh_channel *ssh_client_exec(struct ssh_client *client, const char *command,
                                    ssh_channel_event_fn *event, void *arg, struct err *err);
/* A TCP connection from the host on (ProxyJump). Its end is SSH_CHANNEL_EXITED with 0, or LOST. */
struct ssh_channel *ssh_client_dial(struct ssh_client *client, const char *host, uint16_t port,
                                    ssh_channel_event_fn *event, void *arg, struct err *err);
/* Lets go of it: the host is told, a command that still runs there gets SIGHUP or nothing at all,
 * depending on the server. The pointer is invalid afterwards. NULL is legal. */
void ssh_channel_close(struct ssh_channel *channel);

/* Takes as much as there is room for and returns how many bytes; 0 after the end of input and when
 * the channel has ended. Taken bytes are sent as the host's window allows. */
size_t ssh_channel_write(struct ssh_channel *channel, const void *data, size_t len);
/* How many bytes ssh_channel_write() would take. */
size_t ssh_channel_room(const struct ssh_channel *channel);
/* The end of input comes after what was written. */
void ssh_channel_write_eof(struct ssh_channel *channel);

enum ssh_channel_stream { SSH_CHANNEL_OUT, SSH_CHANNEL_ERR };
/*
 * Output that has come: *len bytes, borrowed until the loop turns or ssh_channel_consume(). *eof:
 * no more will follow these. The host may send SSH_CHANNEL_WINDOW bytes, both streams together,
 * beyond what was consumed: who doesn't consume, stops it.
 */
const char *ssh_channel_output(const struct ssh_channel *channel, enum ssh_channel_stream stream,
                               size_t *len, bool *eof);
void ssh_channel_consume(struct ssh_channel *channel, enum ssh_channel_stream stream, size_t len);

/* Sends a signal to the command: "TERM", without SIG. OpenSSH since 7.9 and dropbear obey; nobody
 * answers. Only one at a time can be on its way: ERR_CONFLICT. */
int ssh_channel_signal(struct ssh_channel *channel, const char *name, struct err *err);

enum ssh_channel_end {
    SSH_CHANNEL_RUNNING,  /* not ended */
    SSH_CHANNEL_EXITED,   /* code */
    SSH_CHANNEL_SIGNALED, /* signal */
    SSH_CHANNEL_LOST      /* nobody knows, output may be missing, or it never started: err */
};

struct ssh_channel_result {
    enum ssh_channel_end end;
    uint32_t code;
    char signal[32]; /* without SIG, letters and digits: "KILL" */
    bool core_dumped;
    struct err err;
};

/* Borrowed until the channel is closed. A result is what the host said and never invented. */
const struct ssh_channel_result *ssh_channel_result(const struct ssh_channel *channel);

#endif
