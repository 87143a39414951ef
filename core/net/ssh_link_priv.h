/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Private to the link process: ssh_link.c (life, clients), ssh_link_conn.c (the connection: attempts
 * and states), ssh_link_way.c (settings, jump hosts), ssh_link_pump.c (one command or connection: its
 * channel and its descriptors), ssh_link_system.c (the system's ssh instead of ours).
 */
#ifndef HIVE_NET_SSH_LINK_PRIV_H
#define HIVE_NET_SSH_LINK_PRIV_H

#include "base/buf.h"
#include "base/list.h"
#include "ev/ev.h"
#include "net/ssh_client.h"
#include "net/ssh_config.h"
#include "net/ssh_link.h"
#include "net/ssh_link_client.h"
#include "net/ssh_link_msg.h"
#include "net/ssh_link_stream.h"
#include "sys/nss_user.h"

#define LINK_WAIT_NS (15 * NS_PER_S)  /* of a command for the connection, by default */
#define LINK_FRESH_NS (5 * NS_PER_S)  /* an attempt that is younger isn't repeated for a command */
#define LINK_ORPHAN_NS (2 * NS_PER_S) /* from SIGHUP to closing the channel */
#define LINK_HOPELESS_NS (60 * NS_PER_S) /* between attempts that waiting doesn't help */
#define LINK_SCRATCH ((size_t)64 * 1024)

struct link_system;

struct link_client {
    struct list link;
    struct ssh_link *owner;
    struct ev_io io;
    struct list unsent; /* struct link_packet */
    size_t unsent_count;
    bool greeted, watches, closing; /* closing: when all is sent */
};

struct link_pump {
    struct list link;
    struct ssh_link *owner;
    struct link_client *client; /* NULL: gone, or let go of */
    uint32_t id;
    bool dial;
    char *text; /* command, or host */
    uint16_t port;
    int64_t deadline_ns; /* of waiting for the connection */
    int64_t again_ns;    /* it was refused: when to try again; 0: no */
    int64_t orphaned_ns; /* client is NULL since */
    int64_t linger_ns;   /* dial: when to close what the host doesn't close; 0: no */
    unsigned refusals;
    int fds[SSH_LINK_FDS];            /* until it begins; -1: none */
    struct link_stream in, out[2];    /* of a dial out[1] isn't open */
    struct ssh_channel *channel;      /* NULL: waiting, or ended */
    bool started, piped, input_ended; /* piped: nobody reads its output */
    struct buf rest[2];               /* output of one that has ended */
    struct ssh_link_result result;
    pid_t pid; /* of the system's ssh */
    int pidfd;
    struct ev_io child;
};

struct ssh_link {
    struct ev_loop *loop;
    struct ssh_link_options opt;
    char *word, *runtime_dir, *name; /* name: of the last host, for messages */
    char *path;                      /* of the socket */
    struct nss_user me;
    char local_host[256];
    struct ev_io listen;
    struct list clients, pumps;
    size_t client_count, pump_count;
    struct ev_timer idle;
    struct ev_hook hook;
    struct buf packet;
    char *scratch; /* only while something moves */
    bool stopping, ended;

    /* the connection */
    enum ssh_link_state state, told_state;
    struct err err;
    bool hopeless;              /* the error is one that waiting doesn't mend */
    int64_t since_ns, retry_ns; /* wall */
    int64_t tried_ns, up_ns;    /* mono; up_ns 0: never */
    unsigned tries;
    struct ev_timer retry, clear, late;
    struct ssh_config config;
    bool configured, by_system; /* by_system: through the system's ssh */
    char *jump_word;            /* of the link to go through, or NULL */
    struct ssh_client *client;
    struct ssh_link_client *jump;
    bool jump_ended, doubt; /* doubt: `err` is why it failed, unless the jump host says more */
    struct link_system *sys;
};

/* --- ssh_link.c --- */
/* Sends a message, or keeps it; what it doesn't read for too long ends a client. NULL is legal. */
void link_tell(struct link_client *c, const struct ssh_link_msg *m);
char *link_scratch(struct ssh_link *link);
/* Once more than nothing is left to do. */
void link_ended(struct ssh_link *link);

/* --- ssh_link_conn.c --- */
void link_conn_init(struct ssh_link *link);
/* Begins an attempt unless one is under way or the connection stands. */
void link_conn_now(struct ssh_link *link);
/* For a command that came: the same, unless the last attempt is a moment old. */
void link_conn_wanted(struct ssh_link *link);
void link_conn_message(const struct ssh_link *link, struct ssh_link_msg *m);
/* The state as it is now: phases of connecting are not told by the client. */
enum ssh_link_state link_conn_state(const struct ssh_link *link);
void link_conn_stop(struct ssh_link *link);
void link_conn_fini(struct ssh_link *link);
/* Told by the system's ssh: it is up. */
void link_conn_up(struct ssh_link *link);
/* The attempt, or the connection, has failed. */
void link_conn_failed(struct ssh_link *link, const struct err *err);

/* --- ssh_link_way.c --- */
/* Reads ssh_config for the link's host into link->config, and finds link->jump_word. */
int link_way_find(struct ssh_link *link, struct err *err);

/* --- ssh_link_pump.c --- */
void link_pump_create(struct link_client *c, const struct ssh_link_msg *m, int fds[SSH_LINK_FDS]);
struct link_pump *link_pump_find(struct link_client *c, uint32_t id);
void link_pump_signal(struct link_pump *p, const char *name);
/* Its client is gone, or has let go of it. */
void link_pump_orphan(struct link_pump *p);
/* The connection stands: those that wait begin. */
void link_pumps_begin(struct ssh_link *link);
/* An attempt has failed: those that can't wait for the next one end. */
void link_pumps_failed(struct ssh_link *link);
/* All end, with that error. */
void link_pumps_end(struct ssh_link *link, const struct err *err);
void link_pumps_late(struct ssh_link *link);
void link_pump_free(struct link_pump *p);
/* Its descriptors are delivered and closed: tells the client, and frees it. */
void link_pump_finish(struct link_pump *p);

/* --- ssh_link_system.c --- */
/* Begins to connect: link_conn_up() or link_conn_failed() follow, from the loop. */
int link_system_open(struct ssh_link *link, struct err *err);
void link_system_close(struct ssh_link *link);
/* Runs one; link_pump_finish() follows. */
int link_system_run(struct link_pump *p, struct err *err);
void link_system_kill(struct link_pump *p, const char *signal_name);
void link_system_forget(struct link_pump *p);

#endif
