/* SPDX-License-Identifier: BSD-2-Clause */
/* Which disks and interfaces are real, so that nothing is counted twice. The rules are in sample.h;
 * SAMPLE_SCRIPT has the same ones in shell. */
#include "sys/sample_parse.h"

#include "base/mem.h"
#include "base/str.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

void sample_kinds_clear(struct sample_kinds *k)
{
    k->known = false;
    k->count = 0;
}

void sample_kinds_fini(struct sample_kinds *k)
{
    free(k->items);
    *k = (struct sample_kinds){ 0 };
}

static int compare_kinds(const void *a, const void *b)
{
    const struct sample_kind_entry *x = a, *y = b;

    return strcmp(x->name, y->name);
}

void sample_kinds_add(struct sample_kinds *k, const char *name, size_t len, enum sample_kind kind)
{
    struct sample_kind_entry *e;

    if (len == 0 || len >= sizeof e->name || k->count >= SAMPLE_DISKS_MAX)
        return;
    if (k->count == k->cap) {
        k->cap = k->cap ? k->cap * 2 : 32;
        k->items = mem_resize(k->items, k->cap, sizeof *k->items);
    }
    e = &k->items[k->count++];
    memset(e, 0, sizeof *e);
    memcpy(e->name, name, len);
    e->kind = kind;
}

void sample_kinds_sort(struct sample_kinds *k)
{
    if (k->count > 1)
        qsort(k->items, k->count, sizeof *k->items, compare_kinds);
}

static const struct sample_kind_entry *find(const struct sample_kinds *k, const char *name)
{
    struct sample_kind_entry key = { .name = "" };

    if (k->count == 0 || !str_copy(key.name, sizeof key.name, name))
        return NULL;
    return bsearch(&key, k->items, k->count, sizeof key, compare_kinds);
}

static bool all_of(const char *s, int (*is)(int))
{
    if (!*s)
        return false;
    for (; *s; s++) {
        if (!is((unsigned char)*s))
            return false;
    }
    return true;
}

/* "nvme0n1", "mmcblk0": digits between words, and nothing behind the last. */
static bool is_numbered(const char *name, const char *word, const char *second)
{
    size_t n = strlen(word);

    if (!str_starts(name, word) || !isdigit((unsigned char)name[n]))
        return false;
    while (isdigit((unsigned char)name[n]))
        n++;
    if (!second)
        return name[n] == '\0';
    return str_starts(name + n, second) && all_of(name + n + strlen(second), isdigit);
}

static bool is_disk_name(const char *name)
{
    static const char *const lettered[] = { "sd", "vd", "xvd", "hd", "dasd" };

    for (size_t i = 0; i < ARRAY_LEN(lettered); i++) {
        if (str_starts(name, lettered[i]) && all_of(name + strlen(lettered[i]), islower))
            return true;
    }
    return is_numbered(name, "nvme", "n") || is_numbered(name, "mmcblk", NULL) ||
           is_numbered(name, "cciss!c", "d") || is_numbered(name, "rbd", NULL) ||
           is_numbered(name, "nbd", NULL) || is_numbered(name, "pmem", NULL);
}

static bool is_stacked_net_name(const char *name)
{
    static const char *const prefixes[] = { "veth", "docker",  "br-",   "virbr", "tun",  "tap",
                                            "ifb",  "dummy",   "bond",  "team",  "wg",   "cni",
                                            "cali", "flannel", "vxlan", "lxcbr", "vmbr", "podman" };

    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
        if (str_starts(name, prefixes[i]))
            return true;
    }
    return strchr(name, '.') != NULL; /* "eth0.5" */
}

enum sample_kind sample_disk_kind(const struct sample_kinds *k, const char *name)
{
    const struct sample_kind_entry *e = find(k, name);

    if (k->known)
        return e ? e->kind : SAMPLE_KIND_OVER;
    return is_disk_name(name) ? SAMPLE_KIND_DEVICE : SAMPLE_KIND_OVER;
}

enum sample_kind sample_net_kind(const struct sample_kinds *k, const char *name)
{
    const struct sample_kind_entry *e = find(k, name);

    if (str_eq(name, "lo"))
        return SAMPLE_KIND_OVER;
    if (e && e->kind != SAMPLE_KIND_NAME)
        return e->kind;
    return is_stacked_net_name(name) ? SAMPLE_KIND_OVER : SAMPLE_KIND_PLAIN;
}

static bool there(int dirfd, const char *name, const char *what)
{
    char path[64];

    snprintf(path, sizeof path, "%s/%s", name, what);
    return faccessat(dirfd, path, F_OK, 0) == 0;
}

/* Whether it stands on another interface of this network namespace. */
static bool has_lower(int dirfd, const char *name)
{
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *e;
    bool found = false;

    if (!dir) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    while (!found && (e = readdir(dir)))
        found = str_starts(e->d_name, "lower_");
    closedir(dir);
    return found;
}

static enum sample_kind look_at_net(int dirfd, const char *name)
{
    if (there(dirfd, name, "device"))
        return there(dirfd, name, "master/device") ? SAMPLE_KIND_OVER : SAMPLE_KIND_DEVICE;
    if (!there(dirfd, name, "."))
        return SAMPLE_KIND_NAME;
    if (there(dirfd, name, "bridge") || there(dirfd, name, "brport") ||
        there(dirfd, name, "tun_flags") || has_lower(dirfd, name))
        return SAMPLE_KIND_OVER;
    return SAMPLE_KIND_PLAIN;
}

void sample_kinds_look(int sysfd, const struct sample_counters *c, struct sample_kinds *disks,
                       struct sample_kinds *nets)
{
    int dir = sysfd < 0 ? -1 : openat(sysfd, "block", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    sample_kinds_clear(disks);
    sample_kinds_clear(nets);
    disks->known = dir >= 0;
    for (size_t i = 0; dir >= 0 && i < c->disk_count; i++) {
        if (there(dir, c->disks[i].name, "device"))
            sample_kinds_add(disks, c->disks[i].name, strlen(c->disks[i].name), SAMPLE_KIND_DEVICE);
    }
    if (dir >= 0)
        close(dir);
    dir = sysfd < 0 ? -1 : openat(sysfd, "class/net", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    nets->known = dir >= 0;
    for (size_t i = 0; dir >= 0 && i < c->net_count; i++)
        sample_kinds_add(nets, c->nets[i].name, strlen(c->nets[i].name),
                         look_at_net(dir, c->nets[i].name));
    if (dir >= 0)
        close(dir);
    sample_kinds_sort(disks);
    sample_kinds_sort(nets);
}
