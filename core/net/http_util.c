/* SPDX-License-Identifier: BSD-2-Clause */
/* The part of http_parser.h that is no state machine: fields, queries, escapes, reason phrases. */
#include "net/http_parser.h"

#include "base/mem.h"

const char *http_message_field(const struct http_message *m, const char *name)
{
    for (size_t i = 0; i < m->field_count; i++)
        if (strcmp(m->fields[i].name, name) == 0)
            return m->fields[i].value;
    return NULL;
}

size_t http_message_field_count(const struct http_message *m, const char *name)
{
    size_t n = 0;

    for (size_t i = 0; i < m->field_count; i++)
        n += strcmp(m->fields[i].name, name) == 0;
    return n;
}

static int hex_value(char c)
{
    const char *digits = "0123456789abcdef";
    char lower = (char)(c >= 'A' && c <= 'F' ? c | 0x20 : c);
    const char *at = lower ? strchr(digits, lower) : NULL;

    return at ? (int)(at - digits) : -1;
}

static void append_decoded(struct buf *b, const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        int hi = s[i] == '%' && len - i > 2 ? hex_value(s[i + 1]) : -1;
        int lo = hi >= 0 ? hex_value(s[i + 2]) : -1;
        if (lo >= 0 && hi + lo > 0) {
            buf_append_char(b, (char)(hi * 16 + lo));
            i += 2;
        } else {
            buf_append_char(b, s[i] == '+' ? ' ' : s[i]);
        }
    }
}

char *http_query_get(const char *query, const char *key)
{
    struct buf name = BUF_INIT;
    char *found = NULL;

    while (*query && !found) {
        size_t len = strcspn(query, "&");
        size_t name_len = strcspn(query, "=&");
        buf_clear(&name);
        append_decoded(&name, query, name_len);
        if (strcmp(buf_data(&name), key) == 0) {
            struct buf value = BUF_INIT;
            if (name_len < len)
                append_decoded(&value, query + name_len + 1, len - name_len - 1);
            found = buf_take(&value, NULL);
        }
        query += len;
        query += *query == '&';
    }
    buf_fini(&name);
    return found;
}

void http_append_encoded(struct buf *b, const char *s)
{
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (alnum || strchr("-._~", c))
            buf_append_char(b, (char)c);
        else
            buf_printf(b, "%%%02X", c);
    }
}

const char *http_status_text(int status)
{
    static const struct {
        int status;
        const char *text;
    } table[] = {
        { 100, "Continue" },
        { 101, "Switching Protocols" },
        { 200, "OK" },
        { 201, "Created" },
        { 202, "Accepted" },
        { 204, "No Content" },
        { 206, "Partial Content" },
        { 301, "Moved Permanently" },
        { 302, "Found" },
        { 303, "See Other" },
        { 304, "Not Modified" },
        { 307, "Temporary Redirect" },
        { 308, "Permanent Redirect" },
        { 400, "Bad Request" },
        { 401, "Unauthorized" },
        { 403, "Forbidden" },
        { 404, "Not Found" },
        { 405, "Method Not Allowed" },
        { 406, "Not Acceptable" },
        { 408, "Request Timeout" },
        { 409, "Conflict" },
        { 410, "Gone" },
        { 411, "Length Required" },
        { 412, "Precondition Failed" },
        { 413, "Content Too Large" },
        { 414, "URI Too Long" },
        { 415, "Unsupported Media Type" },
        { 416, "Range Not Satisfiable" },
        { 421, "Misdirected Request" },
        { 422, "Unprocessable Content" },
        { 426, "Upgrade Required" },
        { 428, "Precondition Required" },
        { 429, "Too Many Requests" },
        { 431, "Request Header Fields Too Large" },
        { 500, "Internal Server Error" },
        { 501, "Not Implemented" },
        { 502, "Bad Gateway" },
        { 503, "Service Unavailable" },
        { 504, "Gateway Timeout" },
        { 505, "HTTP Version Not Supported" },
        { 507, "Insufficient Storage" },
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (table[i].status == status)
            return table[i].text;
    return "Unknown";
}
