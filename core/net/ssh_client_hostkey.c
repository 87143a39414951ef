/* SPDX-License-Identifier: BSD-2-Clause */
/* Which methods to offer to this host, and whether the key that it shows is the one we know. */
#include "base/mem.h"

#include "base/str.h"
#include "net/ssh_client_priv.h"

#include <sys/socket.h>

#define HOST_KEY_MAX 8192

static struct ssh_known_name known_name(const struct ssh_client *c, char *address, size_t size)
{
    const struct ssh_config *config = c->opt.config;
    struct sockaddr_storage peer = { 0 };
    socklen_t len = sizeof peer;
    struct ssh_known_name name = { .name = config->host, .port = config->port };

    if (config->host_key_alias) {
        name.name = config->host_key_alias;
        name.alias = true;
    }
    if (config->check_host_ip && address && c->fd >= 0 &&
        getpeername(c->fd, (struct sockaddr *)&peer, &len) == 0 &&
        (peer.ss_family == AF_INET || peer.ss_family == AF_INET6)) {
        ssh_connect_address_text(&peer, address, size);
        name.address = address;
    }
    return name;
}

int client_load_known(struct ssh_client *c)
{
    const struct ssh_config_list *lists[] = { &c->opt.config->user_known_hosts,
                                              &c->opt.config->global_known_hosts };
    struct err err = ERR_INIT;

    c->known = c->opt.known;
    if (c->known)
        return 0;
    c->known = c->own_known = ssh_known_hosts_create();
    for (size_t l = 0; l < ARRAY_LEN(lists); l++)
        for (size_t i = 0; i < lists[l]->count; i++)
            if (ssh_known_hosts_add_file(c->own_known, lists[l]->item[i], &err) != 0)
                return client_fail(c, &err);
    return 0;
}

/* The host key algorithms with which the server shows a key that we know come first. */
static char *order_host_keys(const char *offer, const struct ssh_known_types *types)
{
    struct buf first = BUF_INIT, out = BUF_INIT;

    buf_append_char(&first, '^');
    for (size_t i = 0; i < types->count; i++)
        buf_printf(&first, "%s%s", i ? "," : "",
                   str_eq(types->name[i], "ssh-rsa") ? "rsa-sha2-512,rsa-sha2-256"
                                                     : types->name[i]);
    ssh_method_offer(offer, buf_data(&first), &out);
    buf_fini(&first);
    return buf_take(&out, NULL);
}

int client_choose_methods(struct ssh_client *c)
{
    const struct ssh_config *config = c->opt.config;
    const char *const wish[SSH_METHOD_COUNT] = { config->kex_algorithms,
                                                 config->host_key_algorithms, config->ciphers,
                                                 config->macs };
    struct ssh_known_name name = known_name(c, NULL, 0);
    struct ssh_known_types types = { .count = 0 };
    bool authority = ssh_known_hosts_types(c->known, &name, &types);
    struct err err = ERR_INIT;

    if (authority && types.count == 0) {
        c->needs_system = true;
        err_set(&err, ERR_UNPROCESS,
                "%s: known_hosts has a @cert-authority for it and no key; hive can't check "
                "certificates",
                c->name);
        err_hint(&err, "use the system's ssh for this host, or: hive hosts trust %s", c->name);
        return client_fail(c, &err);
    }
    for (size_t i = 0; i < SSH_METHOD_COUNT; i++) {
        struct buf out = BUF_INIT;

        ssh_method_offer(ssh_method_all((enum ssh_method)i), wish[i], &out);
        if (buf_len(&out) == 0) {
            buf_fini(&out);
            c->needs_system = true;
            err_set(&err, ERR_UNPROCESS, "%s: ssh_config wants no %s that hive has: %.100s",
                    c->name, ssh_method_noun((enum ssh_method)i), wish[i]);
            err_hint(&err, "use the system's ssh for this host");
            return client_fail(c, &err);
        }
        c->offer[i] = buf_take(&out, NULL);
        if (i == SSH_METHOD_HOST_KEY && !wish[i] && types.count > 0) {
            char *ordered = order_host_keys(c->offer[i], &types);

            free(c->offer[i]);
            c->offer[i] = ordered;
        }
        c->hello.offer[i] = c->offer[i];
    }
    return 0;
}

static int client_refuse_key(struct ssh_client *c, const struct ssh_known_found *found)
{
    char type[SSH_KEY_TYPE_MAX], print[SSH_FINGERPRINT_SIZE];
    struct err err = ERR_INIT;

    if (!ssh_key_blob_type(c->host_key, c->host_key_len, type))
        str_copy(type, sizeof type, "unknown");
    ssh_key_fingerprint(c->host_key, c->host_key_len, print);
    switch (found->status) {
    case SSH_KNOWN_REVOKED:
        err_set(&err, ERR_DENIED, "%s shows a revoked host key (%s %s), see %s:%d", c->name, type,
                print, found->file, found->line);
        err_hint(&err, "don't use it; ask who runs the machine for a new host key");
        break;
    case SSH_KNOWN_CHANGED:
        err_set(&err, ERR_DENIED,
                "the host key of %s has changed: it shows %s %s, and %s:%d knows another%s",
                c->name, type, print, found->file, found->line,
                found->by_address ? " for its address" : "");
        err_hint(&err,
                 "somebody may be in between; if you know that it was changed: "
                 "hive hosts trust --replace %s",
                 c->name);
        break;
    case SSH_KNOWN_OTHER_TYPE:
        err_set(&err, ERR_DENIED,
                "the host key of %s is not known: it shows %s %s, and %s:%d knows one of another "
                "type",
                c->name, type, print, found->file, found->line);
        err_hint(&err, "compare the fingerprint, then: hive hosts trust %s", c->name);
        break;
    case SSH_KNOWN_UNKNOWN:
    case SSH_KNOWN_MATCH:
        if (found->authority) {
            c->needs_system = true;
            err_set(&err, ERR_UNPROCESS,
                    "%s is known by a @cert-authority only, and hive can't check certificates; it "
                    "shows %s %s",
                    c->name, type, print);
            err_hint(&err, "use the system's ssh for this host, or: hive hosts trust %s", c->name);
            break;
        }
        err_set(&err, ERR_DENIED, "the host key of %s is not known: it shows %s %s", c->name, type,
                print);
        err_hint(&err, "compare the fingerprint, then: hive hosts trust %s", c->name);
        break;
    }
    return client_fail(c, &err);
}

/* Bits of an RSA key, 0 for others. */
static size_t rsa_bits(struct ssh_span blob)
{
    struct ssh_cursor c = ssh_cursor(blob.data, blob.len);
    struct ssh_span type = ssh_get_string(&c), n;
    size_t bits;

    ssh_get_mpint(&c);
    n = ssh_get_mpint(&c);
    if (!ssh_span_is(type, "ssh-rsa") || !ssh_cursor_done(&c) || n.len == 0)
        return 0;
    bits = n.len * 8;
    for (unsigned char top = n.data[0]; !(top & 0x80); top = (unsigned char)(top << 1))
        bits--;
    return bits;
}

int client_check_host_key(struct ssh_client *c)
{
    struct ssh_known_found found;
    char address[80];
    size_t len = 0;
    const char *key = libssh2_session_hostkey(c->session, &len, NULL);
    struct ssh_known_name name = known_name(c, address, sizeof address);
    struct err err = ERR_INIT;
    size_t bits;

    if (!key || len == 0 || len > HOST_KEY_MAX) {
        err_set(&err, ERR_CORRUPT, "%s shows no host key that could be one", c->name);
        return client_fail(c, &err);
    }
    c->host_key = mem_dup(key, len);
    c->host_key_len = len;
    ssh_known_hosts_check(c->known, &name, key, len, &found);
    if (found.status != SSH_KNOWN_MATCH)
        return client_refuse_key(c, &found);
    bits = rsa_bits((struct ssh_span){ c->host_key, len });
    if (bits > 0 && (int)bits < c->opt.config->required_rsa_size) {
        err_set(&err, ERR_DENIED, "%s has an RSA host key of %zu bits; RequiredRSASize says %d",
                c->name, bits, c->opt.config->required_rsa_size);
        return client_fail(c, &err);
    }
    return 0;
}

bool client_host_key_same(const struct ssh_client *c)
{
    size_t len = 0;
    const char *key = libssh2_session_hostkey(c->session, &len, NULL);

    return !key || (len == c->host_key_len && memcmp(key, c->host_key, len) == 0);
}
