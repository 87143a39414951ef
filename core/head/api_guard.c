/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who may ask. Over the Unix socket and loopback TCP: the daemon's own user and root, by the uid
 * the kernel tells. Against browsers that are led here by foreign pages: Host must name this
 * machine (DNS rebinding), Origin must be our own (cross-site requests), bodies must be JSON (forms
 * can't send that without asking first).
 */
#include "head/api_priv.h"

#include "base/conf.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <unistd.h>

/* "name:port" or "[::1]:port" → name without brackets; false when malformed. */
static bool host_name(const char *text, char *name, size_t size)
{
    const char *end, *port;
    if (*text == '[') {
        text++;
        end = strchr(text, ']');
        if (!end)
            return false;
        port = end + 1;
    } else {
        port = end = text + strcspn(text, ":");
    }
    if (*port && (*port != ':' || port[1 + strspn(port + 1, "0123456789")]))
        return false;
    size_t len = (size_t)(end - text);
    if (len == 0 || len >= size)
        return false;
    memcpy(name, text, len);
    name[len] = '\0';
    return true;
}

static bool host_allowed(const struct api *a, const char *host)
{
    char name[256];
    struct in_addr v4;
    struct in6_addr v6;

    if (!host || !host_name(host, name, sizeof(name)))
        return false;
    if (str_eq_nocase(name, "localhost"))
        return true;
    if (inet_pton(AF_INET, name, &v4) == 1)
        return (ntohl(v4.s_addr) >> 24) == 127;
    if (inet_pton(AF_INET6, name, &v6) == 1)
        return IN6_IS_ADDR_LOOPBACK(&v6);
    size_t len = strlen(name);
    for (const char *p = conf_str(a->conf, CONF_daemon_hosts); *p;) {
        p += strspn(p, " \t,");
        size_t n = strcspn(p, " \t,");
        if (n == len && strncasecmp(p, name, n) == 0)
            return true;
        p += n;
    }
    return false;
}

/* A browser names the page's origin; only a page that we served ourselves may go on. */
static bool origin_allowed(const char *origin, const char *host)
{
    const char *sep = origin ? strstr(origin, "://") : NULL;
    if (!origin)
        return true;
    return sep && str_starts(origin, "http") && str_eq_nocase(sep + 3, host);
}

static int check_browser(const struct api *a, const struct http_message *m, bool tcp,
                         struct err *err)
{
    const char *host = http_message_field(m, "host");
    const char *origin = http_message_field(m, "origin");
    const char *site = http_message_field(m, "sec-fetch-site");

    if (tcp && !host_allowed(a, host)) {
        err_set(err, ERR_DENIED, "the Host '%s' is not a name of this daemon", host ? host : "");
        return err_hint(err, "use localhost, or add the name to daemon.hosts");
    }
    if (!origin_allowed(origin, host ? host : "") || http_message_field_count(m, "origin") > 1 ||
        (site && (str_eq_nocase(site, "cross-site") || str_eq_nocase(site, "same-site"))))
        return err_set(err, ERR_DENIED, "requests from pages of other sites are refused");
    return 0;
}

static int check_user(struct http_request *req, bool tcp, struct err *err)
{
    uid_t uid;
    if (http_request_uid(req, &uid, NULL) == 0 && (uid == getuid() || uid == 0))
        return 0;
    err_set(err, tcp ? ERR_UNAUTH : ERR_DENIED, "this daemon serves only the user who runs it");
    return err_hint(err, "run your own: hive daemon --listen none");
}

static bool is_json(const char *type)
{
    return type && strncasecmp(type, "application/json", 16) == 0 &&
           (type[16] == '\0' || type[16] == ';' || type[16] == ' ');
}

bool api_guard(struct api *a, struct http_request *req)
{
    const struct http_message *m = http_request_message(req);
    bool tcp = http_request_kind(req) == HTTP_TCP;
    struct err err = ERR_INIT;

    if (check_browser(a, m, tcp, &err) != 0 || check_user(req, tcp, &err) != 0) {
        api_reply_error(req, &err);
        return false;
    }
    bool has_body = m->chunked || m->content_length > 0;
    if (has_body && !is_json(http_message_field(m, "content-type"))) {
        struct buf b = BUF_INIT;
        buf_append_str(&b, "{\"api\":1,\"error\":{\"kind\":\"invalid\",\"message\":\"a request "
                           "body must be JSON\","
                           "\"hint\":\"send the header Content-Type: application/json\"}}\n");
        api_reply(req, 415, &b);
        return false;
    }
    return true;
}
