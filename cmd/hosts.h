/* SPDX-License-Identifier: BSD-2-Clause */
/* Private to `hive hosts`: its words are files of their own. */
#ifndef HIVE_CMD_HOSTS_H
#define HIVE_CMD_HOSTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct err;
struct hosts_probe;
struct jsonw;

struct hosts_args {
    int64_t timeout_ns; /* negative: the word's own */
    const char *name;
    int64_t threads, memory;
    bool json, ask, yes, replace, any, no_wait;
};

int hosts_add(const struct hosts_args *a, char **words, size_t count);
int hosts_remove(const struct hosts_args *a, char **words, size_t count);
int hosts_list(const struct hosts_args *a, char **words, size_t count);
int hosts_import(const struct hosts_args *a, char **words, size_t count);

int hosts_check(const struct hosts_args *a, char **words, size_t count);
int hosts_trust(const struct hosts_args *a, char **words, size_t count);

/* "hive: message", "  hint" to be written to stderr; made safe. */
void hosts_append_error(struct buf *out, const struct err *err);
/* Writes it to stderr, and empties it. */
void hosts_say(struct buf *text);
/* The fields that both words have: where it is, its key, what is known of it. */
void hosts_put_host(struct jsonw *w, const struct hosts_probe *p);
void hosts_put_error(struct jsonw *w, const struct err *err);
/* Type and fingerprint of a key, "" and "" without one. */
void hosts_key_text(const unsigned char *key, size_t len, char *type, char *print);

#endif
