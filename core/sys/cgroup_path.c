/* SPDX-License-Identifier: BSD-2-Clause */
#include "sys/cgroup_path.h"

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"

#include <sys/stat.h>

/* True when `word` is one of the comma-separated words in list[0..len). */
static bool in_list(const char *list, size_t len, const char *word)
{
    size_t wlen = strlen(word);

    while (len > 0) {
        const char *comma = memchr(list, ',', len);
        size_t n = comma ? (size_t)(comma - list) : len;
        if (n == wlen && memcmp(list, word, n) == 0)
            return true;
        if (!comma)
            break;
        list += n + 1;
        len -= n + 1;
    }
    return false;
}

/* mountinfo writes blank, tab, newline and backslash as \ooo. */
static bool unescape(const char *s, size_t len, char *out, size_t size)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        char c = s[i];
        if (c == '\\' && i + 3 < len) {
            c = (char)(((s[i + 1] - '0') << 6) | ((s[i + 2] - '0') << 3) | (s[i + 3] - '0'));
            i += 3;
        }
        if (n + 1 >= size)
            return false;
        out[n++] = c;
    }
    out[n] = '\0';
    return true;
}

struct field {
    const char *s;
    size_t len;
};

/* Splits one line at blanks; returns how many fields were found, at most `max`. */
static size_t split(const char *line, size_t len, struct field *f, size_t max)
{
    size_t n = 0;

    while (len > 0 && n < max) {
        const char *blank = memchr(line, ' ', len);
        size_t flen = blank ? (size_t)(blank - line) : len;
        f[n++] = (struct field){ line, flen };
        if (!blank)
            break;
        line += flen + 1;
        len -= flen + 1;
    }
    return n;
}

static bool field_is(const struct field *f, const char *word)
{
    return f->len == strlen(word) && memcmp(f->s, word, f->len) == 0;
}

/* "36 25 0:32 ROOT MOUNTPOINT opts [tag…] - TYPE SOURCE SUPEROPTS" */
static bool parse_mount(const char *line, size_t len, const char *controller, char *root,
                        char *mount)
{
    struct field f[32];
    size_t n = split(line, len, f, ARRAY_LEN(f)), dash = 6;

    while (dash < n && !field_is(&f[dash], "-"))
        dash++;
    if (dash + 3 >= n)
        return false;
    if (controller) {
        if (!field_is(&f[dash + 1], "cgroup") ||
            !in_list(f[dash + 3].s, f[dash + 3].len, controller))
            return false;
    } else if (!field_is(&f[dash + 1], "cgroup2")) {
        return false;
    }
    return unescape(f[3].s, f[3].len, root, CGROUP_PATH_MAX) &&
           unescape(f[4].s, f[4].len, mount, CGROUP_PATH_MAX);
}

/* The path in the line of /proc/self/cgroup for this hierarchy: "4:memory:/a/b", "0::/a/b". */
static bool find_own(const char *text, const char *controller, char *own)
{
    while (*text) {
        size_t len = strcspn(text, "\n");
        const char *c1 = memchr(text, ':', len);
        const char *c2 = c1 ? memchr(c1 + 1, ':', len - (size_t)(c1 + 1 - text)) : NULL;
        if (c2) {
            size_t list = (size_t)(c2 - c1 - 1), plen = len - (size_t)(c2 + 1 - text);
            bool match = controller ? in_list(c1 + 1, list, controller)
                                    : (list == 0 && text[0] == '0' && c1 == text + 1);
            if (match && plen > 0 && plen < CGROUP_PATH_MAX) {
                memcpy(own, c2 + 1, plen);
                own[plen] = '\0';
                return true;
            }
        }
        text += len;
        text += *text == '\n';
    }
    return false;
}

static bool join_place(struct cgroup_place *p, const char *root, const char *path)
{
    size_t rlen = strlen(root);
    int n;

    if (str_eq(root, "/"))
        rlen = 0;
    /* Inside a container without a namespace of its own the mount shows a part of the hierarchy. */
    if (strncmp(path, root, rlen) != 0 || (path[rlen] != '/' && path[rlen] != '\0'))
        return false;
    path += rlen;
    if (str_eq(path, "/"))
        path = "";
    if (strstr(path, "/../") || str_ends(path, "/.."))
        return false; /* our group is outside of what this namespace shows */
    n = snprintf(p->own, sizeof p->own, "%s%s", p->mount, path);
    return n > 0 && (size_t)n < sizeof p->own;
}

bool cgroup_place_parse(const char *mountinfo, const char *cgroup, const char *controller,
                        struct cgroup_place *place)
{
    char root[CGROUP_PATH_MAX], path[CGROUP_PATH_MAX];

    if (!find_own(cgroup, controller, path))
        return false;
    while (*mountinfo) {
        size_t len = strcspn(mountinfo, "\n");
        if (parse_mount(mountinfo, len, controller, root, place->mount) &&
            join_place(place, root, path))
            return true;
        mountinfo += len;
        mountinfo += *mountinfo == '\n';
    }
    return false;
}

bool cgroup_place_find(const char *controller, struct cgroup_place *place)
{
    struct buf mounts = BUF_INIT, groups = BUF_INIT;
    struct stat st;
    bool ok = fs_read_file("/proc/self/mountinfo", 4u << 20, &mounts, NULL) == 0 &&
              fs_read_file("/proc/self/cgroup", 1u << 20, &groups, NULL) == 0 &&
              cgroup_place_parse(buf_data(&mounts), buf_data(&groups), controller, place) &&
              stat(place->own, &st) == 0 && S_ISDIR(st.st_mode);

    buf_fini(&mounts);
    buf_fini(&groups);
    return ok;
}
