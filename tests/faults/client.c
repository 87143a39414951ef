/* SPDX-License-Identifier: BSD-2-Clause */
#include "faults/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CALL_MS 60000

bool client_open(struct client *c, const char *socket_path)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };

    memset(c, 0, sizeof(*c));
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", socket_path);
    if (c->fd >= 0 && connect(c->fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
        return true;
    client_close(c);
    return false;
}

void client_close(struct client *c)
{
    if (c->fd >= 0)
        close(c->fd);
    free(c->out);
    free(c->in);
    memset(c, 0, sizeof(*c));
    c->fd = -1;
}

bool client_send(struct client *c, const char *method, const char *target, const char *key,
                 const char *body)
{
    free(c->out);
    c->out = NULL;
    int n = asprintf(&c->out,
                     "%s /api/v1%s HTTP/1.1\r\nHost: localhost\r\n%s%s%s"
                     "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                     method, target, key ? "Idempotency-Key: " : "", key ? key : "",
                     key ? "\r\n" : "", body ? strlen(body) : 0, body ? body : "");
    if (n < 0)
        abort();
    c->out_len = (size_t)n;
    c->out_at = c->in_len = 0;
    c->waiting = true;
    return client_poll(c) >= 0;
}

static bool flush(struct client *c)
{
    while (c->out_at < c->out_len) {
        ssize_t n = send(c->fd, c->out + c->out_at, c->out_len - c->out_at, MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN;
        c->out_at += (size_t)n;
    }
    return true;
}

/* False at the end of the stream. */
static bool fill(struct client *c)
{
    for (;;) {
        if (c->in_cap - c->in_len < 4096) {
            c->in_cap = c->in_cap ? c->in_cap * 2 : 16384;
            c->in = realloc(c->in, c->in_cap);
            if (!c->in)
                abort();
        }
        ssize_t n = recv(c->fd, c->in + c->in_len, c->in_cap - c->in_len - 1, 0);
        if (n < 0)
            return errno == EAGAIN;
        if (n == 0)
            return false;
        c->in_len += (size_t)n;
    }
}

/* 1: a whole answer, 0: a part of one, -1: nonsense. */
static int parse(struct client *c)
{
    char *length, *end;

    if (c->in_len == 0)
        return 0;
    c->in[c->in_len] = '\0';
    end = strstr(c->in, "\r\n\r\n");
    if (!end)
        return 0;
    length = strcasestr(c->in, "\r\nContent-Length:");
    if (sscanf(c->in, "HTTP/1.1 %3d", &c->status) != 1 || !length || length > end)
        return -1;
    c->body = end + 4;
    return c->in_len >= (size_t)(c->body - c->in) + strtoul(length + 17, NULL, 10);
}

int client_poll(struct client *c)
{
    bool open = flush(c) && fill(c);
    int got = parse(c);

    if (got == 1) {
        c->waiting = false;
        return 1;
    }
    if (got == 0 && open)
        return 0;
    client_close(c);
    return -1;
}

int client_call(const char *socket_path, const char *method, const char *target, char **body)
{
    struct client c;
    int got = 0, status = -1;

    *body = NULL;
    if (!client_open(&c, socket_path) || !client_send(&c, method, target, NULL, NULL))
        return -1;
    while ((got = client_poll(&c)) == 0) {
        struct pollfd p = { .fd = c.fd,
                            .events = (short)(c.out_at < c.out_len ? POLLIN | POLLOUT : POLLIN) };
        if (poll(&p, 1, CALL_MS) <= 0)
            break;
    }
    if (got == 1) {
        status = c.status;
        *body = strdup(c.body);
    }
    client_close(&c);
    return status;
}
