/* SPDX-License-Identifier: BSD-2-Clause */
#include "net/ssh_config.h"

#include "base/str.h"
#include "unit/ssh_program.h"

#include <fnmatch.h>
#include <pwd.h>
#include <sys/stat.h>

/* --- invented files --------------------------------------------------------------------------- */

struct fake_file {
    const char *path, *text;
    uid_t uid;
    bool others_write;
    enum err_kind fails;
};

static int fake_read(void *arg, const char *path, struct buf *out, struct ssh_config_file *file,
                     struct err *err)
{
    for (const struct fake_file *f = arg; f->path; f++)
        if (str_eq(f->path, path)) {
            if (f->fails)
                return err_set(err, f->fails, "can't open %s", path);
            buf_append_str(out, f->text);
            *file = (struct ssh_config_file){ f->uid, f->others_write };
            return 0;
        }
    return err_set(err, ERR_NOT_FOUND, "can't open %s", path);
}

/* The tables are sorted. */
static int fake_glob(void *arg, const char *pattern, bool (*found)(void *to, const char *path),
                     void *to, struct err *err)
{
    (void)err;
    for (const struct fake_file *f = arg; f->path; f++)
        if (fnmatch(pattern, f->path, FNM_PATHNAME | FNM_PERIOD) == 0 && !found(to, f->path))
            break;
    return 0;
}

static const char *fake_env(void *arg, const char *name)
{
    (void)arg;
    return str_eq(name, "SSH_AUTH_SOCK") ? "/run/agent"
           : str_eq(name, "OTHER_SOCK")  ? "/run/other"
                                         : NULL;
}

static char *fake_home_of(void *arg, const char *user)
{
    (void)arg;
    return str_eq(user, "bob") ? mem_strdup("/home/bob") : NULL;
}

static struct ssh_config_io io;

static struct ssh_config_input input(const struct fake_file *files, const char *host)
{
    io = (struct ssh_config_io){ fake_read, fake_glob, fake_env, fake_home_of,
                                 (void *)(uintptr_t)files };
    return (struct ssh_config_input){ .host = host,
                                      .local_user = "ann",
                                      .home = "/home/ann",
                                      .local_host = "desk.example.org",
                                      .uid = 1000,
                                      .io = &io };
}

#define USER_FILE "/home/ann/.ssh/config"
#define SYSTEM_FILE "/etc/ssh/ssh_config"

/* What the user's file says about a host. */
static struct ssh_config read_one(const char *text, const char *host)
{
    const struct fake_file files[] = { { .path = USER_FILE, .text = text }, { .path = NULL } };
    struct ssh_config_input in = input(files, host);
    struct ssh_config c;
    struct err err = ERR_INIT;

    CHECK_OK(ssh_config_read(&in, &c, &err), &err);
    return c;
}

static void check_error(const char *text, enum err_kind kind, const char *msg)
{
    const struct fake_file files[] = { { .path = USER_FILE, .text = text }, { .path = NULL } };
    struct ssh_config_input in = input(files, "h");
    struct ssh_config c;
    struct err err = ERR_INIT;

    if (ssh_config_read(&in, &c, &err) == 0)
        unit_fail(__FILE__, __LINE__, "accepted: %s", text);
    CHECK_INT(err.kind, kind);
    CHECK_STR(err.msg, msg);
    CHECK(!c.host && !c.user && c.identity_files.count == 0);
}

static char *joined(const struct ssh_config_list *list)
{
    struct buf b = BUF_INIT;

    for (size_t i = 0; i < list->count; i++)
        buf_printf(&b, "%s%s", i ? " " : "", list->item[i]);
    return buf_take(&b, NULL);
}

static void check_list(const struct ssh_config_list *list, const char *want)
{
    char *got = joined(list);

    CHECK_STR(got, want);
    free(got);
}

TEST(defaults)
{
    struct ssh_config c = read_one("", "Build1.Example.ORG");

    CHECK_STR(c.host, "build1.example.org");
    CHECK_INT(c.port, 22);
    CHECK_STR(c.user, "ann");
    CHECK(c.identity_defaults && !c.identities_only);
    check_list(&c.identity_files, "/home/ann/.ssh/id_rsa /home/ann/.ssh/id_ecdsa "
                                  "/home/ann/.ssh/id_ecdsa_sk /home/ann/.ssh/id_ed25519 "
                                  "/home/ann/.ssh/id_ed25519_sk");
    check_list(&c.user_known_hosts, "/home/ann/.ssh/known_hosts /home/ann/.ssh/known_hosts2");
    check_list(&c.global_known_hosts, "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2");
    CHECK_STR(c.agent, "/run/agent");
    CHECK_INT(c.strict, SSH_STRICT_ASK);
    CHECK(!c.hash_known_hosts && !c.check_host_ip && !c.batch_mode);
    CHECK(c.password_auth && c.kbdint_auth && c.pubkey_auth);
    CHECK_INT(c.jump_count, 0);
    CHECK(!c.proxy_command && !c.host_key_alias && !c.bind_address);
    CHECK_INT(c.connect_timeout_s, 0);
    CHECK_INT(c.server_alive_interval_s, 0);
    CHECK_INT(c.server_alive_count_max, 3);
    CHECK(!c.needs_system && !c.why);
    CHECK_INT(c.notes.count, 0);
    ssh_config_fini(&c);
    ssh_config_fini(&c);
}

/* What was typed wins over every file; the user's file over the system's. */
TEST(order_of_sources)
{
    const struct fake_file files[] = {
        { .path = SYSTEM_FILE, .text = "Port 3\nUser sys\nIdentityFile /sys\nConnectTimeout 9" },
        { .path = USER_FILE, .text = "Port 2\nUser own\nIdentityFile ~/own" },
        { .path = NULL }
    };
    struct ssh_config_input in = input(files, "h");
    struct ssh_config c;
    struct err err = ERR_INIT;

    CHECK_OK(ssh_config_read(&in, &c, &err), &err);
    CHECK_INT(c.port, 2);
    CHECK_STR(c.user, "own");
    check_list(&c.identity_files, "/home/ann/own /sys");
    CHECK_INT(c.connect_timeout_s, 9);
    ssh_config_fini(&c);
    in.port = 1;
    in.user = "typed";
    CHECK_OK(ssh_config_read(&in, &c, &err), &err);
    CHECK_INT(c.port, 1);
    CHECK_STR(c.user, "typed");
    ssh_config_fini(&c);
    /* As -F: nothing else is read. */
    in = input(files, "h");
    in.file = SYSTEM_FILE;
    CHECK_OK(ssh_config_read(&in, &c, &err), &err);
    CHECK_INT(c.port, 3);
    ssh_config_fini(&c);
    in.file = "none";
    CHECK_OK(ssh_config_read(&in, &c, &err), &err);
    CHECK_INT(c.port, 22);
    ssh_config_fini(&c);
    in.file = "/missing";
    CHECK_INT(ssh_config_read(&in, &c, &err), -1);
    CHECK_INT(err.kind, ERR_NOT_FOUND);
}

TEST(tokens)
{
    struct ssh_config c = read_one("Host b*\n"
                                   "HostName %h.example.com\n"
                                   "User root\nPort 2200\nHostKeyAlias al\n"
                                   "IdentityFile %d/%h_%n_%p_%r_%u_%i_%k_%L_%l_%%\n"
                                   "IdentityFile ~/x\nIdentityFile ~bob/y\n"
                                   "UserKnownHostsFile ${OTHER_SOCK}/%h none\n"
                                   "GlobalKnownHostsFile /g%h\n"
                                   "ProxyJump %r@gate-%n:23,z\n",
                                   "build");

    CHECK_STR(c.host, "build.example.com");
    check_list(&c.identity_files,
               "/home/ann/build.example.com_build_2200_root_ann_1000_al_desk_desk.example.org_% "
               "/home/ann/x /home/bob/y");
    CHECK(!c.identity_defaults);
    check_list(&c.user_known_hosts, "/run/other/build.example.com");
    check_list(&c.global_known_hosts, "/g%h");
    CHECK_INT(c.jump_count, 2);
    CHECK_STR(c.jump[0].user, "root");
    CHECK_STR(c.jump[0].host, "gate-build");
    CHECK_INT(c.jump[0].port, 23);
    CHECK(!c.jump[1].user && c.jump[1].port == 0);
    CHECK_STR(c.jump[1].host, "z");
    CHECK(!c.needs_system);
    ssh_config_fini(&c);

    c = read_one("IdentityFile ~/%C", "h");
    CHECK(c.needs_system);
    ssh_config_fini(&c);
    check_error("IdentityFile ~/%q", ERR_INVALID,
                USER_FILE ":1: %q means nothing here (write %% for a %)");
    check_error("\nIdentityFile ~/%", ERR_INVALID, USER_FILE ":2: a lone % (write %%)");
    check_error("HostName %p", ERR_INVALID,
                USER_FILE ":1: %p means nothing here (write %% for a %)");
    check_error("IdentityFile ${NOPE}", ERR_INVALID,
                USER_FILE ":1: the environment has no variable NOPE");
    check_error("IdentityFile ${NOPE", ERR_INVALID, USER_FILE ":1: a variable is written ${NAME}");
    check_error("IdentityFile ~carl/x", ERR_INVALID,
                USER_FILE ":1: there is no user \"carl\" here");
}

TEST(agent)
{
    static const struct {
        const char *text, *agent;
    } row[] = { { "IdentityAgent none", NULL },
                { "IdentityAgent SSH_AUTH_SOCK", "/run/agent" },
                { "IdentityAgent $OTHER_SOCK", "/run/other" },
                { "IdentityAgent $MISSING", NULL },
                { "IdentityAgent ${OTHER_SOCK}", "/run/other" },
                { "IdentityAgent \"~/a b/%r\"", "/home/ann/a b/ann" } };

    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        struct ssh_config c = read_one(row[i].text, "h");
        CHECK_STR(c.agent, row[i].agent);
        ssh_config_fini(&c);
    }
    check_error("IdentityAgent $a-b", ERR_INVALID,
                USER_FILE ":1: IdentityAgent: \"$\" begins no variable");
}

TEST(none)
{
    struct ssh_config c = read_one("IdentityFile none\nUserKnownHostsFile none\nProxyJump none\n"
                                   "ProxyJump j\nProxyCommand none\nGlobalKnownHostsFile none\n"
                                   "PKCS11Provider none\nSecurityKeyProvider internal\n"
                                   "CanonicalizeHostname no\nKnownHostsCommand none\n",
                                   "h");

    CHECK_INT(c.identity_files.count, 0);
    CHECK(!c.identity_defaults);
    CHECK_INT(c.user_known_hosts.count, 0);
    CHECK_INT(c.global_known_hosts.count, 0);
    /* None is a value. */
    CHECK(!c.proxy_command && c.jump_count == 0 && !c.needs_system);
    ssh_config_fini(&c);
}

TEST(needs_system)
{
    static const struct {
        const char *text, *why; /* NULL: not needed */
    } row[] = {
        { "ProxyCommand nc %h %p", USER_FILE ":1: ProxyCommand is set" },
        { "CertificateFile ~/c", USER_FILE ":1: CertificateFile is set" },
        { "PKCS11Provider /p.so", USER_FILE ":1: PKCS11Provider is set" },
        { "SecurityKeyProvider /s.so", USER_FILE ":1: SecurityKeyProvider is set" },
        { "KnownHostsCommand /x", USER_FILE ":1: KnownHostsCommand is set" },
        { "RevokedHostKeys /x", USER_FILE ":1: RevokedHostKeys is set" },
        { "BindInterface e", USER_FILE ":1: BindInterface is set" },
        { "CanonicalizeHostname yes", USER_FILE ":1: CanonicalizeHostname is set" },
        { "User %u", USER_FILE ":1: User with a token is set" },
        { "ProxyCommand x\nCertificateFile y",
          USER_FILE ":1: ProxyCommand is set; " USER_FILE ":2: CertificateFile is set" },
        { "Match exec \"test -f /x\"\nPort 3", USER_FILE ":1: Match exec decides about it" },
        { "Match host h exec true\nIdentityFile x", USER_FILE ":1: Match exec decides about it" },
        { "Match localnetwork 10.0.0.0/8\nProxyJump x",
          USER_FILE ":1: Match localnetwork decides about it" },
        /* It doesn't matter where it decides about nothing, or about what is settled. */
        { "Match exec true\nForwardX11 yes\nSendEnv X", NULL },
        { "Match host other exec true\nPort 3", NULL },
        { "Match exec true host other\nPort 3", NULL },
        { "Port 4\nMatch exec true\nPort 3", NULL },
        { "Match exec true\nHost h\nPort 3", NULL },
        { "Match exec true\nHost *\nPort 3\nMatch all\nUser x", NULL },
        { "Host other\nProxyCommand x", NULL },
        { "GSSAPIAuthentication yes\nHostbasedAuthentication yes", NULL },
    };

    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        struct ssh_config c = read_one(row[i].text, "h");
        CHECK_STR(c.why, row[i].why);
        CHECK_INT(c.needs_system, row[i].why != NULL);
        ssh_config_fini(&c);
    }
}

TEST(bad_values)
{
    static const struct {
        const char *text, *msg;
    } row[] = {
        { "Host x\nPort abc",
          USER_FILE ":2: Port: expected a number from 1 to 65535, not \"abc\"" },
        { "port 65536", USER_FILE ":1: Port: expected a number from 1 to 65535, not \"65536\"" },
        { "Port 0", USER_FILE ":1: Port: expected a number from 1 to 65535, not \"0\"" },
        { "Port", USER_FILE ":1: Port: the value is missing" },
        { "Port 1 2", USER_FILE ":1: Port: there is more than one value: \"2\"" },
        { "BatchMode perhaps", USER_FILE ":1: BatchMode: expected yes or no, not \"perhaps\"" },
        { "StrictHostKeyChecking x", USER_FILE ":1: StrictHostKeyChecking: expected yes, no, ask, "
                                               "accept-new or off, not \"x\"" },
        { "AddressFamily ipv4",
          USER_FILE ":1: AddressFamily: expected any, inet or inet6, not \"ipv4\"" },
        { "ConnectTimeout -1",
          USER_FILE ":1: ConnectTimeout: expected a time like 30 or 2m, not \"-1\"" },
        { "ConnectTimeout 5y",
          USER_FILE ":1: ConnectTimeout: expected a time like 30 or 2m, not \"5y\"" },
        { "User \"a", USER_FILE ":1: User: a quote is not closed" },
        { "User \"\"", USER_FILE ":1: User: the value is empty" },
        { "Host \"\"", USER_FILE ":1: Host: an empty pattern matches nothing" },
        { "Match", USER_FILE ":1: Match: expected a criterion" },
        { "Match host", USER_FILE ":1: Match: the last criterion has no argument" },
        { "Match host \"a", USER_FILE ":1: Match: a quote is not closed" },
        { "Match hostt a", USER_FILE ":1: Match: expected all, canonical, final, exec, host, "
                                     "originalhost, user or localuser, not \"hostt\"" },
        { "Match all host x",
          USER_FILE ":1: Match: \"all\" must stand alone, or behind canonical or final" },
        { "ProxyJump a,,b",
          USER_FILE ":1: ProxyJump: expected hosts like USER@HOST:PORT, separated "
                    "by commas, not \"\"" },
        { "ProxyJump -oProxyCommand=x",
          USER_FILE ":1: ProxyJump: expected hosts like USER@HOST:PORT, separated by commas, not "
                    "\"-oProxyCommand=x\"" },
        { "HostName -x", USER_FILE ":1: \"-x\" can't be a host" },
        { "User -x", USER_FILE ":1: \"-x\" can't be a user" },
        { "User a\x1b[31m;", USER_FILE ":1: \"a\\e[31m;\" can't be a user" },
    };

    for (size_t i = 0; i < ARRAY_LEN(row); i++)
        check_error(row[i].text, ERR_INVALID, row[i].msg);
    struct ssh_config_input in = input(NULL, "-oProxyCommand=x");
    struct ssh_config c;
    struct err err = ERR_INIT;
    CHECK_INT(ssh_config_read(&in, &c, &err), -1);
    CHECK_STR(err.msg, "\"-oProxyCommand=x\" can't be a host");
}

TEST(unknown_keywords)
{
    struct ssh_config c = read_one("Frob 1\nIgnoreUnknown Use*,Fo*\nUseKeychain yes\nforb x\n"
                                   "GSSAPIKexAlgorithms x\nForwardX11 yes\nfrob\n",
                                   "h");

    check_list(&c.notes, USER_FILE ":1: the keyword Frob is unknown and ignored " USER_FILE
                                   ":7: the keyword frob is unknown and ignored");
    ssh_config_fini(&c);
}

TEST(include)
{
    const struct fake_file files[] = {
        { .path = "/abs/one", .text = "Host h\nConnectTimeout 7" },
        { .path = "/etc/ssh/rel", .text = "User sys" },
        { .path = SYSTEM_FILE, .text = "Include rel" },
        { .path = "/home/ann/.ssh/c.d/.hidden", .text = "Port 9" },
        { .path = "/home/ann/.ssh/c.d/a", .text = "Host nobody\nPort 1\n" },
        { .path = "/home/ann/.ssh/c.d/b", .text = "Host h\nPort 2\n" },
        { .path = "/home/ann/.ssh/c.d/c", .text = "Port 3\n" },
        { .path = "/home/ann/.ssh/maybe", .text = "Match host h\nServerAliveInterval 5\n" },
        { .path = USER_FILE,
          .text = "Host other\nInclude /abs/one\nHost *\nInclude c.d/* /abs/nothing\n"
                  "# behind the include the block is the one before it\nBindAddress 1.2.3.4\n"
                  "Match exec x\nInclude ~/.ssh/maybe\n" },
        { .path = NULL }
    };
    struct ssh_config_input in = input(files, "h");
    struct ssh_config c;
    struct err err = ERR_INIT;

    CHECK_OK(ssh_config_read(&in, &c, &err), &err);
    CHECK_INT(c.port, 2);
    CHECK_STR(c.user, "sys");
    CHECK_STR(c.bind_address, "1.2.3.4");
    /* A block in a file that is included by a block that doesn't match never matches. */
    CHECK_INT(c.connect_timeout_s, 0);
    CHECK_INT(c.server_alive_interval_s, 0);
    CHECK_STR(c.why, USER_FILE ":7: Match exec decides about it");
    ssh_config_fini(&c);
}

TEST(include_limits)
{
    const struct fake_file loop[] = { { .path = USER_FILE, .text = "Include config" },
                                      { .path = NULL } };
    const struct fake_file home[] = { { .path = SYSTEM_FILE, .text = "Include ~/x" },
                                      { .path = NULL } };
    struct fake_file many[70];
    char names[64][40];
    struct ssh_config_input in = input(loop, "h");
    struct ssh_config c;
    struct err err = ERR_INIT;

    CHECK_INT(ssh_config_read(&in, &c, &err), -1);
    CHECK_STR(err.msg, USER_FILE ":1: Include: files include each other more than 16 deep");
    in = input(home, "h");
    CHECK_INT(ssh_config_read(&in, &c, &err), -1);
    CHECK_STR(err.msg, SYSTEM_FILE ":1: Include: \"~\" is nobody's home in the system's file");
    /* 64 files are allowed. */
    memset(many, 0, sizeof many);
    for (int i = 0; i < 64; i++) {
        snprintf(names[i], sizeof names[i], "/d/%02d", i);
        many[i] = (struct fake_file){ .path = names[i], .text = "Port 5" };
    }
    many[64] = (struct fake_file){ .path = USER_FILE, .text = "Include /d/*" };
    in = input(many, "h");
    CHECK_OK(ssh_config_read(&in, &c, &err), &err);
    CHECK_INT(c.port, 5);
    ssh_config_fini(&c);
    many[64].text = "Include /d/*\nInclude /d/00";
    CHECK_INT(ssh_config_read(&in, &c, &err), -1);
    CHECK_STR(err.msg, USER_FILE ":2: Include: more than 64 files");
}

TEST(owners)
{
    struct fake_file files[] = { { .path = USER_FILE, .text = "Include /inc", .uid = 1000 },
                                 { .path = "/inc", .text = "Port 4" },
                                 { .path = NULL } };
    struct ssh_config_input in = input(files, "h");
    struct ssh_config c;
    struct err err = ERR_INIT;

    CHECK_OK(ssh_config_read(&in, &c, &err), &err);
    CHECK_INT(c.port, 4);
    ssh_config_fini(&c);
    files[1].others_write = true;
    CHECK_INT(ssh_config_read(&in, &c, &err), -1);
    CHECK_INT(err.kind, ERR_DENIED);
    CHECK_STR(err.msg, "others can write /inc");
    files[1].others_write = false;
    files[0].uid = 1001;
    CHECK_INT(ssh_config_read(&in, &c, &err), -1);
    CHECK_STR(err.msg, USER_FILE " belongs to another user (uid 1001)");
    /* The system's file is the system's business. */
    files[0] =
        (struct fake_file){ .path = SYSTEM_FILE, .text = "Port 6", .uid = 5, .others_write = true };
    CHECK_OK(ssh_config_read(&in, &c, &err), &err);
    CHECK_INT(c.port, 6);
    ssh_config_fini(&c);
    /* One that can't be read is noted, any other failure is one. */
    files[0].fails = ERR_DENIED;
    CHECK_OK(ssh_config_read(&in, &c, &err), &err);
    check_list(&c.notes, "can't open " SYSTEM_FILE);
    ssh_config_fini(&c);
    files[0].fails = ERR_IO;
    CHECK_INT(ssh_config_read(&in, &c, &err), -1);
    CHECK_INT(err.kind, ERR_IO);
}

TEST(lines)
{
    struct buf b = BUF_INIT;

    buf_append_str(&b, "Port ");
    while (buf_len(&b) < SSH_CONFIG_LINE_MAX - 1)
        buf_append_char(&b, ' ');
    buf_append_str(&b, "7");
    struct ssh_config c = read_one(buf_data(&b), "h");
    CHECK_INT(c.port, 7);
    ssh_config_fini(&c);
    buf_append_str(&b, "7");
    check_error(buf_data(&b), ERR_TOO_LARGE, USER_FILE ":1: the line is longer than 8192 bytes");
    buf_fini(&b);
    c = read_one("  port\t=\t8  # no\r\nUSER=\"x y\"\r\n\f\nHostKeyAlias a#b # c", "h");
    CHECK_INT(c.port, 8);
    CHECK_STR(c.user, "x y");
    CHECK_STR(c.host_key_alias, "a#b");
    ssh_config_fini(&c);
}

/* --- compared with ssh ------------------------------------------------------------------------ */

struct row {
    const char *text; /* "@T@" stands for a folder */
    const char *host, *user, *port;
};

static const struct row rows[] = {
    { "", "plain", NULL, NULL },
    { "", "UPPER.Example.COM", NULL, NULL },
    { "", "user-given", "carl", "2222" },
    { "", "127.1", NULL, NULL },
    { "", "0::1", NULL, NULL },
    { "", "::FFFF:1.2.3.4", NULL, NULL },
    { "HostName 0::2", "x", NULL, NULL },
    { "Host a b\nPort 2\nHost *\nPort 3", "a", NULL, NULL },
    { "Host a b\nPort 2\nHost *\nPort 3", "c", NULL, NULL },
    { "Host * !a\nPort 2", "a", NULL, NULL },
    { "Host * !a\nPort 2", "b", NULL, NULL },
    { "Host !a\nPort 2", "b", NULL, NULL },
    { "Host FOO\nPort 2", "foo", NULL, NULL },
    { "Host foo\nPort 2", "FOO", NULL, NULL },
    { "Host f?o*r\nPort 2", "foobar", NULL, NULL },
    { "Host f?o*r\nPort 2", "fobar", NULL, NULL },
    { "Host **a**b\nPort 2", "xaxaxb", NULL, NULL },
    { "Host a,b\nPort 2", "a", NULL, NULL },
    { "Host \"a\" 'b' c\\ d\nPort 2", "b", NULL, NULL },
    { "Host a # b\nPort 2", "b", NULL, NULL },
    { "Host=a\nPort=2", "a", NULL, NULL },
    { "Host = a\n Port =2", "a", NULL, NULL },
    { "\tHost\ta\r\n\tPort\t2\r\n", "a", NULL, NULL },
    { "port 2\nPORT 3\nuSeR joe", "a", NULL, NULL },
    { "User joe\nUser jim", "a", "cmd", NULL },
    { "Port 22x", "a", NULL, NULL },
    { "Port 0x16", "a", NULL, NULL },
    { "Port 99999", "a", NULL, NULL },
    { "Port 1 # one", "a", NULL, NULL },
    { "Port 1 2", "a", NULL, NULL },
    { "Port \"2", "a", NULL, NULL },
    { "Port", "a", NULL, NULL },
    { "Host b\nPort bad", "a", NULL, NULL },
    { "HostName %h.example.com", "a", NULL, NULL },
    { "HostName %%h", "a", NULL, NULL },
    { "HostName Big.%h.Example", "Abc", NULL, NULL },
    { "Host a\nHostName b\nHost b\nPort 9", "a", NULL, NULL },
    { "Host a\nHostName b\nMatch host b\nPort 9", "a", NULL, NULL },
    { "Host a\nHostName b\nMatch originalhost a\nPort 9", "a", NULL, NULL },
    { "Host a\nHostName b\nMatch originalhost b\nPort 9", "a", NULL, NULL },
    { "Host a\nHostName b\nMatch final\nUser fin\nMatch host b\nPort 9\nHost b\nConnectTimeout 5",
      "a", NULL, NULL },
    { "Match final host b\nUser fin\nHost a\nHostName b\nPort 7", "a", NULL, NULL },
    { "Match canonical\nUser can\nMatch final all\nConnectTimeout 4", "a", NULL, NULL },
    { "Match canonical\nUser can", "a", NULL, NULL },
    { "Match !canonical\nUser can", "a", NULL, NULL },
    { "Match !final\nUser nofin", "a", NULL, NULL },
    { "Match !final\nUser nofin\nMatch final\nPort 9\nIdentityFile /f\nMatch all\nIdentityFile /f",
      "a", NULL, NULL },
    { "Match all\nPort 9", "a", NULL, NULL },
    { "Match !all\nPort 9", "a", NULL, NULL },
    { "Match all host a\nPort 9", "a", NULL, NULL },
    { "Match host a all\nPort 9", "a", NULL, NULL },
    { "Match all # c\nPort 9", "a", NULL, NULL },
    { "Match host A,x\nPort 9", "a", NULL, NULL },
    { "Match host *,!a\nPort 9", "a", NULL, NULL },
    { "Match !host b user joe\nPort 9", "a", "joe", NULL },
    { "User joe\nMatch user joe\nPort 9", "a", NULL, NULL },
    { "Match user JOE\nPort 9", "a", "joe", NULL },
    { "Match user joe\nPort 9\nMatch all\nUser joe", "a", NULL, NULL },
    { "Match localuser *\nPort 9", "a", NULL, NULL },
    { "Match localuser !*\nPort 9", "a", NULL, NULL },
    { "Match host=a user=\"joe\"\nPort 9", "a", "joe", NULL },
    { "Match host", "a", NULL, NULL },
    { "Match", "a", NULL, NULL },
    { "Match nonsense a", "a", NULL, NULL },
    { "Match host \"a", "a", NULL, NULL },
    { "IdentityFile ~/.ssh/a\nIdentityFile /b\nIdentityFile ~/.ssh/a\nIdentitiesOnly yes", "a",
      NULL, NULL },
    { "Host a\nIdentityFile /1\nHost *\nIdentityFile /2", "a", NULL, NULL },
    { "IdentityFile none", "a", NULL, NULL },
    { "IdentityFile \"/a b\"", "a", NULL, NULL },
    { "IdentityFile /a /b", "a", NULL, NULL },
    { "UserKnownHostsFile ~/k1 /k2 \"/k 3\"\nUserKnownHostsFile /k4", "a", NULL, NULL },
    { "UserKnownHostsFile ~/k_%h_%n_%p_%r_%u_%i_%d_%k_%l_%L_%%\nHostKeyAlias al", "a", "joe",
      "44" },
    { "HostName zz\nUserKnownHostsFile /k_%h_%n_%k", "A", NULL, NULL },
    { "UserKnownHostsFile ${HOME}/k", "a", NULL, NULL },
    { "UserKnownHostsFile ${SURELY_NOT_SET}/k", "a", NULL, NULL },
    { "UserKnownHostsFile /%q", "a", NULL, NULL },
    { "GlobalKnownHostsFile /g1 /g2", "a", NULL, NULL },
    { "ProxyJump j", "a", NULL, NULL },
    { "ProxyJump u@j:23", "a", NULL, NULL },
    { "ProxyJump u@j:23,k,l@m", "a", NULL, NULL },
    { "ProxyJump [::1]:24", "a", NULL, NULL },
    { "ProxyJump ssh://u@j:25", "a", NULL, NULL },
    { "ProxyJump none\nProxyJump j", "a", NULL, NULL },
    { "ProxyJump none\nProxyCommand x", "a", NULL, NULL },
    { "ProxyJump j\nProxyCommand x", "a", NULL, NULL },
    { "ProxyCommand x\nProxyJump j", "a", NULL, NULL },
    { "ProxyCommand none\nProxyJump j", "a", NULL, NULL },
    { "ProxyCommand = nc -x \"a b\" %h # no comment", "a", NULL, NULL },
    { "ProxyJump j # comment", "a", NULL, NULL },
    { "ProxyJump =j", "a", NULL, NULL },
    { "ProxyJump @j", "a", NULL, NULL },
    { "ProxyJump j:0", "a", NULL, NULL },
    { "ProxyJump j,", "a", NULL, NULL },
    { "ProxyJump :22", "a", NULL, NULL },
    { "ConnectTimeout 1m30s\nServerAliveInterval 2h\nServerAliveCountMax 7", "a", NULL, NULL },
    { "ConnectTimeout none\nConnectTimeout 5", "a", NULL, NULL },
    { "ConnectTimeout 5\nConnectTimeout none", "a", NULL, NULL },
    { "ConnectTimeout x", "a", NULL, NULL },
    { "ConnectTimeout 99999999999", "a", NULL, NULL },
    { "ServerAliveInterval 1M2S\nServerAliveCountMax 0", "a", NULL, NULL },
    { "ServerAliveCountMax -1", "a", NULL, NULL },
    { "StrictHostKeyChecking accept-new\nHashKnownHosts TRUE\nCheckHostIP yes", "a", NULL, NULL },
    { "StrictHostKeyChecking off", "a", NULL, NULL },
    { "StrictHostKeyChecking Yes\nAddressFamily INET6\nBindAddress ::1", "a", NULL, NULL },
    { "StrictHostKeyChecking maybe", "a", NULL, NULL },
    { "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPubkeyAuthentication no", "a",
      NULL, NULL },
    { "BatchMode perhaps", "a", NULL, NULL },
    { "IdentityAgent none", "a", NULL, NULL },
    { "HostKeyAlias x\nHostKeyAlias y", "a", NULL, NULL },
    { "User a\\b", "a", NULL, NULL },
    { "User \"a\\\"b\"", "a", NULL, NULL },
    { "CanonicalizeHostname none\nHostName A", "a", NULL, NULL },
    { "IgnoreUnknown Zz*\nZzTop 1\nPort 5", "a", NULL, NULL },
    { "Include @T@/inc-a", "a", NULL, NULL },
    { "Host b\nInclude @T@/inc-a\nPort 3", "a", NULL, NULL },
    { "Host a\nInclude @T@/inc-*\nServerAliveInterval 3", "a", NULL, NULL },
    { "Include @T@/nothing* @T@/inc-b\nServerAliveInterval 3", "a", NULL, NULL },
    { "Include @T@/inc-loop", "a", NULL, NULL },
    { "Include @T@/bad-mode", "a", NULL, NULL },
    { "Include @T@/group-mode", "a", NULL, NULL },
    { "Include @T@/folder", "a", NULL, NULL },
    { "Include \"@T@/inc-b\"\nInclude @T@/inc-a", "a", NULL, NULL },
    { "Include", "a", NULL, NULL },
};

static void write_includes(void)
{
    static const struct {
        const char *name, *text;
        mode_t mode;
    } file[] = { { "inc-a", "Host a\nPort 11\nHost *\nUser inc\n", 0600 },
                 { "inc-b", "Host nobody\n ConnectTimeout 12\n", 0644 },
                 { "bad-mode", "Port 13\n", 0666 },
                 { "group-mode", "Port 14\n", 0664 } };
    char path[512];

    for (size_t i = 0; i < ARRAY_LEN(file); i++) {
        snprintf(path, sizeof path, "%s/%s", unit_tmpdir(), file[i].name);
        write_text(path, file[i].text, file[i].mode);
    }
    snprintf(path, sizeof path, "%s/folder", unit_tmpdir());
    CHECK(mkdir(path, 0755) == 0);
}

/* A file that includes itself; inc-* finds it, too. */
static void write_loop(bool there)
{
    char path[512], text[600];

    snprintf(path, sizeof path, "%s/inc-loop", unit_tmpdir());
    unlink(path);
    snprintf(text, sizeof text, "Include %s\n", path);
    if (there)
        write_text(path, text, 0600);
}

static char *with_folder(const char *text)
{
    struct buf b = BUF_INIT;
    const char *at;

    while ((at = strstr(text, "@T@")) != NULL) {
        buf_append(&b, text, (size_t)(at - text));
        buf_append_str(&b, unit_tmpdir());
        text = at + 3;
    }
    buf_append_str(&b, text);
    return buf_take(&b, NULL);
}

/* The values of a key in what `ssh -G` prints, one after the other with ", " between. malloc'd. */
static char *ssh_says(const struct buf *out, const char *key)
{
    struct buf b = BUF_INIT;
    size_t len = strlen(key);

    for (const char *p = buf_data(out); *p; p += strcspn(p, "\n"), p += *p == '\n') {
        size_t n = strcspn(p, "\n");
        if (n <= len || strncmp(p, key, len) != 0 || p[len] != ' ')
            continue;
        char *value = mem_strndup(p + len + 1, n - len - 1);
        /* Keys that hive doesn't try, and the one that stands for none. */
        if (!str_ends(value, "/id_xmss") && !str_ends(value, "/id_dsa") &&
            !(str_ends(key, "file") && str_eq(value, "none")))
            buf_printf(&b, "%s%s", buf_len(&b) ? ", " : "", value);
        free(value);
    }
    return buf_take(&b, NULL);
}

struct compare {
    const struct row *row;
    const struct buf *ssh;
    const char *home;
    int different;
};

static void same(struct compare *c, const char *key, const char *ours)
{
    char *theirs = ssh_says(c->ssh, key);

    if (!str_eq(theirs, ours ? ours : "")) {
        fprintf(stderr, "# %s\n# host %s: %s is \"%s\", ssh says \"%s\"\n", c->row->text,
                c->row->host, key, ours ? ours : "", theirs);
        c->different++;
    }
    free(theirs);
}

static void same_number(struct compare *c, const char *key, int number, const char *zero)
{
    char text[16];

    snprintf(text, sizeof text, "%d", number);
    same(c, key, number == 0 && zero ? zero : text);
}

static void same_list(struct compare *c, const char *key, const struct ssh_config_list *list,
                      const char *separator)
{
    struct buf b = BUF_INIT;

    for (size_t i = 0; i < list->count; i++) {
        const char *item = list->item[i];
        size_t home = strlen(c->home);
        buf_append_str(&b, i ? separator : "");
        /* ssh prints this one as it was written. */
        if (str_eq(key, "identityfile") && strncmp(item, c->home, home) == 0)
            buf_printf(&b, "~%s", item + home);
        else
            buf_append_str(&b, item);
    }
    same(c, key, buf_data(&b));
    buf_fini(&b);
}

static void same_jumps(struct compare *c, const struct ssh_config *got)
{
    struct buf b = BUF_INIT;

    for (size_t i = 0; i < got->jump_count; i++) {
        const struct ssh_config_jump *j = &got->jump[i];
        bool v6 = strchr(j->host, ':') != NULL;
        buf_printf(&b, "%s%s%s%s%s%s", i ? "," : "", j->user ? j->user : "", j->user ? "@" : "",
                   v6 ? "[" : "", j->host, v6 ? "]" : "");
        if (j->port)
            buf_printf(&b, ":%u", j->port);
    }
    same(c, "proxyjump", buf_data(&b));
    buf_fini(&b);
}

static void same_all(struct compare *c, const struct ssh_config *got)
{
    static const char *const strict[] = { "ask", "true", "false", "accept-new" };
    static const char *const family[] = { "any", "inet", "inet6" };

    same(c, "hostname", got->host);
    same_number(c, "port", got->port, NULL);
    same(c, "user", got->user);
    same_list(c, "identityfile", &got->identity_files, ", ");
    same(c, "identitiesonly", got->identities_only ? "yes" : "no");
    same_list(c, "userknownhostsfile", &got->user_known_hosts, " ");
    same_list(c, "globalknownhostsfile", &got->global_known_hosts, " ");
    same_jumps(c, got);
    same(c, "proxycommand", got->proxy_command);
    same_number(c, "connecttimeout", got->connect_timeout_s, "none");
    same_number(c, "serveraliveinterval", got->server_alive_interval_s, NULL);
    same_number(c, "serveralivecountmax", got->server_alive_count_max, NULL);
    same(c, "stricthostkeychecking", strict[got->strict]);
    same(c, "addressfamily", family[got->family]);
    same(c, "bindaddress", got->bind_address);
    same(c, "hostkeyalias", got->host_key_alias);
    same(c, "hashknownhosts", got->hash_known_hosts ? "yes" : "no");
    same(c, "checkhostip", got->check_host_ip ? "yes" : "no");
    same(c, "batchmode", got->batch_mode ? "yes" : "no");
    same(c, "passwordauthentication", got->password_auth ? "yes" : "no");
    same(c, "kbdinteractiveauthentication", got->kbdint_auth ? "yes" : "no");
    same(c, "pubkeyauthentication", got->pubkey_auth ? "true" : "false");
}

/* One row through both. Returns whether they differ. */
static bool compare_row(const struct row *row, const struct passwd *pw, const char *local_host)
{
    char path[512];
    struct buf out = BUF_INIT;
    struct ssh_config got;
    struct err err = ERR_INIT;
    struct compare c = { .row = row, .ssh = &out, .home = pw->pw_dir };
    char *text = with_folder(row->text);

    snprintf(path, sizeof path, "%s/config", unit_tmpdir());
    write_text(path, text, 0600);
    free(text);
    write_loop(strstr(row->text, "inc-loop") != NULL);
    const char *argv[10] = { "ssh", "-G", "-F", path };
    int n = 4;
    if (row->user) {
        argv[n++] = "-l";
        argv[n++] = row->user;
    }
    if (row->port) {
        argv[n++] = "-p";
        argv[n++] = row->port;
    }
    argv[n] = row->host;
    struct ssh_config_input in = { .host = row->host,
                                   .user = row->user,
                                   .port = row->port ? (uint16_t)strtoul(row->port, NULL, 10) : 0,
                                   .local_user = pw->pw_name,
                                   .home = pw->pw_dir,
                                   .local_host = local_host,
                                   .uid = getuid(),
                                   .file = path,
                                   .io = &ssh_config_files };
    int status = run_program(argv, &out);
    int rc = ssh_config_read(&in, &got, &err);
    if ((status == 0) != (rc == 0)) {
        fprintf(stderr, "# %s\n# host %s: ssh %s, we %s: %s\n", row->text, row->host,
                status == 0 ? "takes it" : "refuses", rc == 0 ? "take it" : "refuse", err.msg);
        c.different++;
    } else if (rc == 0) {
        same_all(&c, &got);
    }
    ssh_config_fini(&got);
    buf_fini(&out);
    return c.different > 0;
}

static void compare_rows(const struct row *row, size_t count)
{
    struct passwd *pw = getpwuid(getuid());
    char local_host[256];
    int different = 0;

    CHECK(pw);
    CHECK(gethostname(local_host, sizeof local_host) == 0);
    write_includes();
    for (size_t i = 0; i < count; i++)
        different += compare_row(&row[i], pw, local_host);
    CHECK_INT(different, 0);
}

TEST(as_ssh)
{
    if (have_ssh())
        compare_rows(rows, ARRAY_LEN(rows));
}

/* Configurations put together by chance, always the same ones. */
TEST(as_ssh_random)
{
    static const char *const line[] = {
        "Host a",
        "Host b !a",
        "Host *",
        "Host !b *",
        "Host a.x b.x",
        "Host *.x",
        "Match host a",
        "Match host *.x",
        "Match !host a originalhost b",
        "Match user joe",
        "Match !user joe host b",
        "Match final",
        "Match final host b.x",
        "Match !final all",
        "Match all",
        "Match canonical host *",
        "HostName %h.x",
        "HostName B.X",
        "HostName b",
        "User joe",
        "User jim",
        "Port 1",
        "port=2",
        "IdentityFile ~/1",
        "IdentityFile /2",
        "IdentityFile none",
        "IdentitiesOnly yes",
        "ProxyJump j",
        "ProxyJump none",
        "ProxyJump u@j:1,k",
        "ProxyCommand nc %h",
        "ProxyCommand none",
        "UserKnownHostsFile ~/k%h /l%p",
        "UserKnownHostsFile none",
        "ConnectTimeout none",
        "ConnectTimeout 1m",
        "ServerAliveInterval 5",
        "StrictHostKeyChecking no",
        "HostKeyAlias al",
        "Include @T@/inc-a",
        "Include @T@/inc-a @T@/inc-b",
        "Include @T@/inc-?",
        "# comment",
        "",
    };
    static const char *const host[] = { "a", "b", "a.x", "b.x", "A", "c" };
    enum { COUNT = 300, LINES = 12 };
    struct row *row = mem_alloc_array(COUNT, sizeof *row);
    uint64_t seed = 20260101;

    if (!have_ssh()) {
        free(row);
        return;
    }
    for (int i = 0; i < COUNT; i++) {
        struct buf b = BUF_INIT;
        for (int k = 0; k < LINES; k++) {
            seed = seed * UINT64_C(6364136223846793005) + 1;
            buf_printf(&b, "%s\n", line[(seed >> 33) % ARRAY_LEN(line)]);
        }
        row[i].host = host[(seed >> 40) % ARRAY_LEN(host)];
        row[i].user = (seed >> 50) % 4 == 0 ? "joe" : NULL;
        row[i].text = buf_take(&b, NULL);
    }
    compare_rows(row, COUNT);
    for (int i = 0; i < COUNT; i++)
        free((char *)(uintptr_t)row[i].text);
    free(row);
}
