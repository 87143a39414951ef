/* SPDX-License-Identifier: BSD-2-Clause */
/* The file that is copied, or those: what it is for, its size and its name. */
#include "base/mem.h"

#include "base/fs.h"
#include "base/str.h"
#include "net/ssh_deploy_priv.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEGMENTS_MAX 256
#define ELF_HEAD ((size_t)64 * 1024) /* program headers are at the beginning */

/* As uname -m says, and what else it says for the same. */
static const struct machine {
    uint16_t elf;
    int bits;  /* 0: any */
    int order; /* ELFDATA..., 0: any */
    const char *arch, *words;
} machines[] = {
    { EM_X86_64, 64, 0, "x86_64", "x86_64 amd64" },
    { EM_AARCH64, 64, ELFDATA2LSB, "aarch64", "aarch64 arm64" },
    { EM_386, 0, 0, "i686", "i686 i586 i486 i386" },
    { EM_ARM, 0, 0, "armv7l", "armv7l armv8l" },
    { EM_RISCV, 64, 0, "riscv64", "riscv64" },
    { EM_PPC64, 0, ELFDATA2LSB, "ppc64le", "ppc64le" },
    { EM_PPC64, 0, ELFDATA2MSB, "ppc64", "ppc64" },
    { EM_S390, 64, 0, "s390x", "s390x" },
    { 258, 64, 0, "loongarch64", "loongarch64" },
};

/* --- ELF ---------------------------------------------------------------------------------------- */

struct reader {
    const unsigned char *data;
    size_t len;
    bool big, wide;
};

/* 0 beyond the end: no field that counts may be 0 then. */
static uint64_t get(const struct reader *r, uint64_t at, size_t size)
{
    uint64_t v = 0;

    if (at > r->len || size > r->len - at)
        return 0;
    for (size_t i = 0; i < size; i++)
        v = v << 8 | r->data[at + (r->big ? i : size - 1 - i)];
    return v;
}

static bool has_loader(const struct reader *r)
{
    uint64_t at = r->wide ? get(r, offsetof(Elf64_Ehdr, e_phoff), 8)
                          : get(r, offsetof(Elf32_Ehdr, e_phoff), 4);
    uint64_t size =
        get(r, r->wide ? offsetof(Elf64_Ehdr, e_phentsize) : offsetof(Elf32_Ehdr, e_phentsize), 2);
    uint64_t count =
        get(r, r->wide ? offsetof(Elf64_Ehdr, e_phnum) : offsetof(Elf32_Ehdr, e_phnum), 2);

    /* Both kinds of header begin with the type. */
    for (uint64_t i = 0; i < count && i < SEGMENTS_MAX && at < r->len; i++, at += size)
        if (get(r, at, 4) == PT_INTERP)
            return true;
    return false;
}

bool deploy_read_elf(const unsigned char *head, size_t len, char arch[DEPLOY_WORD_MAX],
                     bool *dynamic)
{
    struct reader r = { .data = head, .len = len };
    uint64_t machine;
    int bits;

    if (len < sizeof(Elf32_Ehdr) || memcmp(head, ELFMAG, SELFMAG) != 0)
        return false;
    r.big = head[EI_DATA] == ELFDATA2MSB;
    r.wide = head[EI_CLASS] == ELFCLASS64;
    bits = r.wide ? 64 : 32;
    machine = get(&r, offsetof(Elf64_Ehdr, e_machine), 2);
    for (size_t i = 0; i < ARRAY_LEN(machines); i++) {
        const struct machine *m = &machines[i];

        if (m->elf == machine && (m->bits == 0 || m->bits == bits) &&
            (m->order == 0 || m->order == head[EI_DATA])) {
            str_copy(arch, DEPLOY_WORD_MAX, m->arch);
            *dynamic = has_loader(&r);
            return true;
        }
    }
    return false;
}

static const struct machine *machine_of(const char *word)
{
    size_t n = strlen(word);

    for (size_t i = 0; i < ARRAY_LEN(machines) && n > 0; i++) {
        for (const char *at = machines[i].words; (at = strstr(at, word)) != NULL; at += n)
            if ((at == machines[i].words || at[-1] == ' ') && (at[n] == '\0' || at[n] == ' '))
                return &machines[i];
    }
    return NULL;
}

const char *deploy_arch_words(const char *arch)
{
    const struct machine *m = machine_of(arch);

    return m ? m->words : arch;
}

/* --- files -------------------------------------------------------------------------------------- */

static int file_read(struct deploy_file *f, const char *path, bool dynamic, struct err *err)
{
    unsigned char digest[DIGEST_SHA256_SIZE];
    struct buf b = BUF_INIT;
    bool loader = false;
    size_t len;

    if (fs_read_fd(f->fd, path, SSH_DEPLOY_FILE_MAX, &b, err) != 0)
        return -1;
    len = buf_len(&b);
    f->size = (int64_t)len;
    digest_sha256(buf_data(&b), len, NULL, 0, digest);
    str_hex(digest, sizeof digest, f->sha256);
    if (!deploy_read_elf((const unsigned char *)buf_data(&b), len < ELF_HEAD ? len : ELF_HEAD,
                         f->arch, &loader)) {
        err_set(err, ERR_UNPROCESS, "%s is not a program for Linux, or for an unknown machine",
                path);
        f->size = -1;
    } else if (loader && !dynamic) {
        err_set(err, ERR_UNPROCESS, "%s needs libraries and can't be copied to other machines",
                path);
        err_hint(err, "build the static one: make static");
        f->size = -1;
    }
    buf_fini(&b);
    return f->size < 0 ? -1 : 0;
}

static int file_open(struct deploy_file *f, const char *path, bool dynamic, struct err *err)
{
    struct stat st;

    f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (f->fd < 0)
        return err_sys(err, errno, "cannot open %s", path);
    if (fstat(f->fd, &st) != 0 || !S_ISREG(st.st_mode))
        err_set(err, ERR_UNPROCESS, "%s is not a file", path);
    else if (file_read(f, path, dynamic, err) == 0)
        return 0;
    close(f->fd);
    f->fd = -1;
    return -1;
}

struct ssh_deploy_program *ssh_deploy_program_open(const char *path, const char *others,
                                                   bool dynamic, struct err *err)
{
    struct ssh_deploy_program *p = mem_alloc(sizeof *p);

    if (file_open(&p->own, path, dynamic, err) != 0) {
        free(p);
        return NULL;
    }
    p->others = mem_strdup(others);
    return p;
}

void ssh_deploy_program_close(struct ssh_deploy_program *p)
{
    if (!p)
        return;
    close(p->own.fd);
    for (size_t i = 0; i < p->other_count; i++)
        close(p->other[i].fd);
    free(p->others);
    free(p);
}

const char *ssh_deploy_program_arch(const struct ssh_deploy_program *p)
{
    return p->own.arch;
}

const char *ssh_deploy_program_sha256(const struct ssh_deploy_program *p)
{
    return p->own.sha256;
}

/* --- the file for a host ------------------------------------------------------------------------ */

static const struct deploy_file *open_other(struct ssh_deploy_program *p, const struct machine *m,
                                            struct err *err)
{
    char *path = mem_printf("%s/hive-%s", p->others, m->arch);
    struct deploy_file *f = &p->other[p->other_count];
    int rc = file_open(f, path, false, err);

    if (rc == 0 && machine_of(f->arch) != m) {
        rc = err_set(err, ERR_UNPROCESS, "%s is for %s", path, f->arch);
        close(f->fd);
    }
    free(path);
    if (rc != 0)
        return NULL;
    p->other_count++;
    return f;
}

const struct deploy_file *deploy_file_for(struct ssh_deploy_program *p, const char *arch,
                                          struct err *err)
{
    const struct machine *m = machine_of(arch);
    const struct deploy_file *f = NULL;
    struct err why = ERR_INIT;

    if (m && m == machine_of(p->own.arch))
        return &p->own;
    for (size_t i = 0; i < p->other_count; i++)
        if (m == machine_of(p->other[i].arch))
            return &p->other[i];
    if (m && p->others && p->other_count < DEPLOY_OTHERS_MAX)
        f = open_other(p, m, &why);
    if (f)
        return f;
    err_set(err, ERR_UNPROCESS, "it is %s, and this hive is for %s",
            *arch ? arch : "an unknown machine", p->own.arch);
    if (why.kind != ERR_NONE && why.kind != ERR_NOT_FOUND)
        err_hint(err, "%s", why.msg);
    else if (m && p->others)
        err_hint(err, "put a hive of this version for %s here: %s/hive-%s", m->arch, p->others,
                 m->arch);
    else
        err_hint(err, "install a hive of this version there, where its PATH leads to");
    return NULL;
}
