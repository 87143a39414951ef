/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files ssh_config*.c share, and nobody else includes. */
#ifndef HIVE_NET_SSH_CONFIG_PRIV_H
#define HIVE_NET_SSH_CONFIG_PRIV_H

#include "base/buf.h"
#include "net/ssh_config.h"

/* --- words (ssh_config_words.c) --------------------------------------------------------------- */

/*
 * Splits "KEYWORD value", "KEYWORD=value" (blanks around either): *rest is where the value begins
 * within `line`. malloc'd; NULL for a blank line or a comment.
 */
char *ssh_config_keyword(const char *line, const char **rest);

/* The words of a value, by ssh's rules: '…' and "…" quote, \ escapes quotes, itself and, unquoted,
 * a blank; # begins a comment where a word could begin. -1 for a quote that isn't closed. */
int ssh_config_words(const char *value, struct ssh_config_list *words);

/* The next word of a Match line, whose rules are older: only "…" quotes, '=' separates, too.
 * malloc'd, "" for an empty word; NULL at the end, or with *bad for a quote that isn't closed. */
char *ssh_config_match_word(const char **at, bool *bad);

/* sshd_config(5), TIME FORMATS: "90", "1m30s"; in seconds, at most INT_MAX. False: malformed. */
bool ssh_config_time(const char *text, int64_t *seconds);

/* The beginning of a text, safe to show in a message. malloc'd. */
char *ssh_config_show(const char *text);

void ssh_config_list_add(struct ssh_config_list *list, const char *item);
void ssh_config_list_fini(struct ssh_config_list *list);

/* Whether the text can be a host, and a user: what ssh(1) takes on its command line. */
bool ssh_config_valid_host(const char *host);
bool ssh_config_valid_user(const char *user);

/* --- reading (ssh_config_parse.c) ------------------------------------------------------------- */

enum ssh_config_opt {
    O_ADDRESS_FAMILY,
    O_BATCH_MODE,
    O_BIND_ADDRESS,
    O_BIND_INTERFACE,
    O_CANONICALIZE,
    O_CERTIFICATE,
    O_CHECK_HOST_IP,
    O_CIPHERS,
    O_CONNECT_TIMEOUT,
    O_GLOBAL_KNOWN_HOSTS,
    O_HASH_KNOWN_HOSTS,
    O_HOST_KEY_ALGORITHMS,
    O_HOST_KEY_ALIAS,
    O_HOST_NAME,
    O_IDENTITIES_ONLY,
    O_IDENTITY_AGENT,
    O_IGNORE_UNKNOWN,
    O_KBDINT_AUTH,
    O_KEX_ALGORITHMS,
    O_KNOWN_HOSTS_COMMAND,
    O_MACS,
    O_PASSWORD_AUTH,
    O_PKCS11_PROVIDER,
    O_PORT,
    O_PREFERRED_AUTH,
    O_PROXY_COMMAND,
    O_PROXY_JUMP,
    O_PUBKEY_AUTH,
    O_REFUSE_CONNECTION,
    O_REQUIRED_RSA_SIZE,
    O_REVOKED_HOST_KEYS,
    O_SECURITY_KEY_PROVIDER,
    O_SERVER_ALIVE_COUNT,
    O_SERVER_ALIVE_INTERVAL,
    O_STRICT,
    O_USER,
    O_USER_KNOWN_HOSTS,
    O_COUNT
};

/* --- keywords (ssh_config_keywords.c) --------------------------------------------------------- */

enum ssh_config_kind {
    K_WORD,     /* one of a few words */
    K_INT,      /* a number */
    K_TIME,     /* a time, or none */
    K_TEXT,     /* one word, whatever it is */
    K_PATHS,    /* words */
    K_REST,     /* the rest of the line */
    K_JUMP,     /* ProxyJump */
    K_IDENTITY, /* IdentityFile */
    K_HOST,
    K_MATCH,
    K_INCLUDE
};

struct ssh_config_word {
    const char *name;
    int value;
};

struct ssh_config_keyword {
    const char *name; /* as ssh_config(5) writes it */
    enum ssh_config_kind kind;
    enum ssh_config_opt opt;
    const struct ssh_config_word *words; /* K_WORD */
    const char *expected;                /* the same as a sentence */
    int64_t min, max;                    /* K_INT */
};

/* By name, in any case; NULL for those that decide nothing here. */
const struct ssh_config_keyword *ssh_config_find(const char *name);
/* Whether ssh knows, or knew, such a keyword, and it decides nothing here. */
bool ssh_config_is_ignored(const char *name);

/* --- state ------------------------------------------------------------------------------------ */

/* The first value of a keyword. */
struct ssh_config_value {
    bool set;
    int64_t num;
    char *text;                   /* keywords with one word */
    struct ssh_config_list words; /* keywords with several */
    char *origin;                 /* "FILE:LINE" */
};

/* What is read so far. */
struct ssh_config_state {
    const struct ssh_config_input *in;
    struct ssh_config_value v[O_COUNT];
    struct ssh_config_list identities, identity_origins;
    char *host;      /* that Host lines are compared with */
    bool final;      /* this is the second pass */
    bool want_final; /* somebody asked for one (Match final) */
    int includes;
    struct buf why; /* why the system's ssh is needed; empty: it isn't */
    struct ssh_config_list notes;
};

/* Whether lines count: those behind a Match that can't be decided here may. */
enum ssh_config_active { ACTIVE_NO, ACTIVE_MAYBE, ACTIVE_YES };

/* Where the reader is. */
struct ssh_config_place {
    const char *file;
    int line;
    bool user; /* not the system's configuration */
    int depth;
    enum ssh_config_active limit; /* of the block that includes this file */
    enum ssh_config_active active;
    char *undecided; /* the Match line behind ACTIVE_MAYBE, as a reason; owned */
};

/* Reads a file and those that it includes. ERR_NOT_FOUND when it is missing. `opened` (may be NULL)
 * says whether it could be read at all. */
int ssh_config_read_file(struct ssh_config_state *s, const char *path, bool user, bool check_owner,
                         bool *opened, struct err *err);

/* Takes note of a reason for the system's ssh; the first three are kept. */
void ssh_config_need_system(struct ssh_config_state *s, const char *why);

/* ERR_INVALID "FILE:LINE: KEYWORD: WHAT". */
int ssh_config_bad(const struct ssh_config_place *at, const char *keyword, struct err *err,
                   const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* --- Host and Match (ssh_config_match.c): set at->active -------------------------------------- */

int ssh_config_host(struct ssh_config_state *s, struct ssh_config_place *at,
                    const struct ssh_config_list *patterns, struct err *err);
int ssh_config_match(struct ssh_config_state *s, struct ssh_config_place *at, const char *value,
                     struct err *err);

/* --- tokens and jumps (ssh_config_expand.c) --------------------------------------------------- */

/* What tokens stand for (ssh_config(5), TOKENS). NULL ones are not allowed. */
struct ssh_config_tokens {
    const char *host, *original_host, *port, *user;           /* %h %n %p %r: everywhere */
    const char *alias, *local_user, *home, *local_host, *uid; /* %k %u %d %l %L %i: in paths */
};

enum ssh_config_expand { EXPAND_TILDE = 1, EXPAND_ENV = 2 };

/*
 * Appends `text` with tokens and, as the flags say, a leading "~" and "${VARIABLES}" replaced.
 * %C and %j depend on the version of ssh: *unsure is set (never cleared) and the text is of no use.
 */
int ssh_config_expand(const struct ssh_config_input *in, const struct ssh_config_tokens *tokens,
                      const char *text, unsigned flags, const char *origin, struct buf *out,
                      bool *unsure, struct err *err);

/* HostName's own tokens: %h is the host as typed. malloc'd or NULL. */
char *ssh_config_expand_host(const struct ssh_config_input *in, const char *text,
                             const char *origin, struct err *err);

/* "~" and "~NAME" at the start of a path: malloc'd, or NULL with err set when there is no such
 * user. */
char *ssh_config_tilde(const struct ssh_config_input *in, const char *path, const char *origin,
                       struct err *err);

/* "[ssh://][USER@]HOST[:PORT]". False when malformed. */
bool ssh_config_parse_jump(const char *text, size_t len, struct ssh_config_jump *jump);
void ssh_config_jump_fini(struct ssh_config_jump *jump);

#endif
