/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/mem.h"

#include "net/ssh_key_der.h"

int der_peek(struct ssh_span in)
{
    return in.len > 0 ? in.data[0] : -1;
}

bool der_take(struct ssh_span *in, enum der_tag tag, struct ssh_span *content)
{
    const unsigned char *p = in->data;
    size_t head = 2, len;

    if (in->len < head || p[0] != tag)
        return false;
    len = p[1];
    if (len >= 0x80) {
        size_t bytes = len & 0x7f;

        if (bytes == 0 || bytes > 3 || in->len - head < bytes)
            return false;
        len = 0;
        for (size_t i = 0; i < bytes; i++)
            len = len << 8 | p[head + i];
        head += bytes;
        if (len < 0x80 || (bytes > 1 && p[2] == 0))
            return false;
    }
    if (len > in->len - head)
        return false;
    *content = (struct ssh_span){ p + head, len };
    *in = (struct ssh_span){ p + head + len, in->len - head - len };
    return true;
}

bool der_take_number(struct ssh_span *in, struct ssh_span *number)
{
    struct ssh_span rest = *in, n;

    if (!der_take(&rest, DER_INTEGER, &n) || n.len == 0 || (n.data[0] & 0x80) != 0)
        return false;
    if (n.len > 1 && n.data[0] == 0) {
        if ((n.data[1] & 0x80) == 0)
            return false;
        n.data++;
        n.len--;
    }
    *in = rest;
    *number = n;
    return true;
}

bool der_take_small(struct ssh_span *in, uint32_t max, uint32_t *value)
{
    struct ssh_span rest = *in, n;
    uint32_t v = 0;

    if (!der_take_number(&rest, &n) || n.len > 4)
        return false;
    for (size_t i = 0; i < n.len; i++)
        v = v << 8 | n.data[i];
    if (v > max)
        return false;
    *in = rest;
    *value = v;
    return true;
}

bool der_take_bits(struct ssh_span *in, struct ssh_span *bytes)
{
    struct ssh_span rest = *in, s;

    if (!der_take(&rest, DER_BIT_STRING, &s) || s.len == 0 || s.data[0] != 0)
        return false;
    *bytes = (struct ssh_span){ s.data + 1, s.len - 1 };
    *in = rest;
    return true;
}
