/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/str.h"
#include "unit/ssh_rig.h"

#include <inttypes.h>

#define PASS "correct horse"

/* --- loading -------------------------------------------------------------------------------- */

static struct ssh_key *load(const char *name)
{
    struct err err = ERR_INIT;
    struct ssh_key *key = ssh_key_load(rig_path(name), &err);

    if (!key)
        unit_fail(__FILE__, __LINE__, "%s", err.msg);
    return key;
}

static void check_load_fails(const char *name, enum err_kind kind, const char *part)
{
    struct err err = ERR_INIT;
    struct ssh_key *key = ssh_key_load(rig_path(name), &err);

    if (key || err.kind != kind || !strstr(err.msg, part))
        unit_fail(__FILE__, __LINE__, "%s: wanted '%s': %s: %s", name, part,
                  err_kind_name(err.kind), key ? "loaded" : err.msg);
}

static void check_parse_fails(const char *text, enum err_kind kind, const char *part)
{
    struct err err = ERR_INIT;
    struct ssh_key *key = ssh_key_parse(text, strlen(text), "k", &err);

    if (key || err.kind != kind || !strstr(err.msg, part))
        unit_fail(__FILE__, __LINE__, "wanted '%s': %s: %s", part, err_kind_name(err.kind),
                  key ? "parsed" : err.msg);
    CHECK(str_starts(err.msg, "k: "));
}

/* Signs, has the signature judged, and damaged ones too. */
static void check_sign(const struct ssh_key *key, enum ssh_sign_alg alg)
{
    struct buf data = BUF_INIT, sig = BUF_INIT;
    struct err err = ERR_INIT;
    struct ssh_span pub, inner;

    rig_sshsig_data(&data, "hello");
    CHECK(ssh_key_public(key, &pub));
    CHECK_OK(ssh_sign(key, alg, buf_data(&data), buf_len(&data), &sig, &err), &err);
    if (!rig_verifies(pub, buf_data(&sig), buf_len(&sig), "hello"))
        unit_fail(__FILE__, __LINE__, "%s: ssh-keygen refuses the %s signature", ssh_key_name(key),
                  ssh_sign_alg_name(alg));
    CHECK(!rig_verifies(pub, buf_data(&sig), buf_len(&sig), "hullo"));

    struct ssh_span blob = { (const unsigned char *)buf_data(&sig), buf_len(&sig) };
    CHECK_OK(ssh_sign_split(blob, alg, &inner, &err), &err);
    CHECK(inner.data + inner.len == blob.data + blob.len);
    blob.len--;
    CHECK(ssh_sign_split(blob, alg, &inner, &err) != 0);
    buf_fini(&data);
    buf_fini(&sig);
}

static void check_sign_all(const struct ssh_key *key)
{
    for (unsigned a = SSH_SIGN_NONE + 1; a < SSH_SIGN_ALG_COUNT; a++) {
        struct buf sig = BUF_INIT;

        if (ssh_sign_alg_key((enum ssh_sign_alg)a) == ssh_key_type(key))
            check_sign(key, (enum ssh_sign_alg)a);
        else
            CHECK(ssh_sign(key, (enum ssh_sign_alg)a, "x", 1, &sig, NULL) != 0);
        CHECK_INT(buf_len(&sig), 0);
        buf_fini(&sig);
    }
}

static void check_locked(struct ssh_key *key)
{
    struct err err = ERR_INIT;
    struct buf sig = BUF_INIT;

    CHECK(ssh_key_locked(key));
    CHECK(ssh_sign(key, SSH_SIGN_ED25519, "x", 1, &sig, &err) != 0);
    CHECK_INT(err.kind, ERR_CONFLICT);
    CHECK(ssh_key_unlock_with(key, "wrong horse", 11, &err) != 0);
    CHECK_INT(err.kind, ERR_UNAUTH);
    CHECK(strstr(err.msg, "wrong passphrase"));
    CHECK(ssh_key_unlock_with(key, "", 0, &err) != 0);
    CHECK_INT(err.kind, ERR_UNAUTH);
    CHECK(ssh_key_locked(key));
    CHECK_OK(ssh_key_unlock_with(key, PASS, strlen(PASS), &err), &err);
    CHECK(!ssh_key_locked(key));
}

/* Loads `name`, whose public key is that of the file `pub`, and signs with it. */
static void check_key(const char *name, const char *pub_name, bool encrypted)
{
    struct ssh_key *key = load(name);
    struct ssh_pubkey pub;
    struct err err = ERR_INIT;
    struct ssh_span blob;

    if (encrypted)
        check_locked(key);
    CHECK(!ssh_key_locked(key));
    CHECK_OK(ssh_pubkey_load(rig_path(pub_name), &pub, &err), &err);
    CHECK(ssh_key_public(key, &blob));
    CHECK(ssh_span_eq(blob, (struct ssh_span){ pub.blob, pub.blob_len }));
    CHECK_INT(pub.type, ssh_key_type(key));
    CHECK(!pub.why_not);
    CHECK_STR(pub.name, ssh_key_type_name(pub.type));
    CHECK_STR(pub.comment, "a comment");
    ssh_pubkey_fini(&pub);
    check_sign_all(key);
    ssh_key_destroy(key);
}

/* Writes the key in the file `key` once more, in another form, and reads that. */
static void check_form(const char *options, bool encrypted)
{
    char *script = mem_printf("cp key form && ssh-keygen -q -p -P '' -N '%s' -a 3 %s -f form "
                              ">/dev/null 2>&1",
                              encrypted ? PASS : "", options);

    rig_run(script);
    free(script);
    check_key("form", "key.pub", encrypted);
}

static void check_pem_forms(void)
{
    check_form("-m PEM", false);
    check_form("-m PEM", true);
    check_form("-m PKCS8", false);
    check_form("-m PKCS8", true);
}

static void check_openssl_form(const char *command, bool encrypted)
{
    char *script =
        mem_printf("cp key plain && ssh-keygen -q -p -P '' -N '' -m PEM -f plain >/dev/null && "
                   "openssl %s -in plain -out form 2>/dev/null && chmod 600 form",
                   command);

    rig_run(script);
    free(script);
    check_key("form", "key.pub", encrypted);
}

static void make_key(const char *options)
{
    char *script =
        mem_printf("rm -f key key.pub; ssh-keygen -q -N '' -C 'a comment' -f key %s", options);

    rig_run(script);
    free(script);
}

TEST(ed25519)
{
    if (!rig_has("ssh-keygen"))
        return;
    make_key("-t ed25519");
    check_key("key", "key.pub", false);
    check_form("-Z aes256-ctr", true);
    check_form("-Z aes256-cbc", true);
    check_form("-Z aes256-gcm@openssh.com", true);
    check_form("-Z aes128-ctr", true);
    check_form("-Z aes192-ctr", true);
    check_form("-Z aes128-cbc", true);
    check_form("-Z aes192-cbc", true);
    check_form("-Z aes128-gcm@openssh.com", true);
}

TEST(ed25519_by_openssl)
{
    struct buf der = BUF_INIT;
    struct ssh_span blob;

    if (!rig_has("ssh-keygen") || !rig_has("openssl"))
        return;
    rig_run("openssl genpkey -algorithm ed25519 -out key && chmod 600 key && "
            "openssl pkey -in key -pubout -outform DER -out der && "
            "openssl pkcs8 -topk8 -in key -out form -v2 aes-256-cbc -passout 'pass:" PASS "'");
    struct ssh_key *plain = load("key"), *locked = load("form");
    CHECK(!ssh_key_public(locked, &blob));
    CHECK_INT(ssh_key_type(locked), SSH_KEY_OTHER);
    check_locked(locked);
    CHECK(ssh_key_public(plain, &blob));
    rig_read("der", &der);
    CHECK(buf_len(&der) > 32 && blob.len > 32);
    CHECK(memcmp(buf_data(&der) + buf_len(&der) - 32, blob.data + blob.len - 32, 32) == 0);
    check_sign_all(plain);
    check_sign_all(locked);
    ssh_key_destroy(plain);
    ssh_key_destroy(locked);
    buf_fini(&der);
}

static void check_ecdsa(const char *bits)
{
    if (!rig_has("ssh-keygen") || !rig_has("openssl"))
        return;
    char *options = mem_printf("-t ecdsa -b %s", bits);
    make_key(options);
    free(options);
    check_key("key", "key.pub", false);
    check_form("", true);
    check_pem_forms();
    check_openssl_form("ec -aes256 -passout 'pass:" PASS "'", true);
    check_openssl_form("ec -no_public", false);
    /* With a block of parameters in front, as `openssl ecparam -genkey` writes it. */
    check_openssl_form("ec -aes-192-cbc -passout 'pass:" PASS "'", true);
}

TEST(ecdsa_256)
{
    check_ecdsa("256");
    rig_run("{ openssl ecparam -name prime256v1; cat plain; } >key && chmod 600 key");
    check_key("key", "key.pub", false);
}

TEST(ecdsa_384)
{
    check_ecdsa("384");
}

TEST(ecdsa_521)
{
    check_ecdsa("521");
}

/* Short numbers with leading zeros happen once in 256 keys and signatures. */
TEST(ecdsa_short_numbers)
{
    struct err err = ERR_INIT;

    for (unsigned t = SSH_KEY_ECDSA_256; t <= SSH_KEY_ECDSA_521; t++) {
        struct ssh_key *key = mem_alloc(sizeof *key);
        unsigned char d[2] = { 0, 7 };
        struct ssh_span none = { NULL, 0 };

        CHECK_OK(ssh_key_make_ec(key, (enum ssh_key_type)t, (struct ssh_span){ d, 2 }, none, &err),
                 &err);
        key->name = mem_strdup("k");
        if (rig_has("ssh-keygen"))
            check_sign_all(key);
        size_t bytes = 0;
        ssh_key_curve((enum ssh_key_type)t, &bytes);
        for (unsigned i = 0; i < 600; i++) {
            struct buf sig = BUF_INIT;
            enum ssh_sign_alg alg;
            struct ssh_span inner;

            CHECK_OK(ssh_sign_pick((enum ssh_key_type)t, NULL, &alg, &err), &err);
            CHECK_OK(ssh_sign(key, alg, &i, sizeof i, &sig, &err), &err);
            CHECK_OK(ssh_sign_split(
                         (struct ssh_span){ (const unsigned char *)buf_data(&sig), buf_len(&sig) },
                         alg, &inner, &err),
                     &err);
            buf_fini(&sig);
            if (t != SSH_KEY_ECDSA_256 && i > 20)
                break;
        }
        ssh_key_destroy(key);
    }
}

TEST(rsa_2048)
{
    if (!rig_has("ssh-keygen") || !rig_has("openssl"))
        return;
    make_key("-t rsa -b 2048");
    check_key("key", "key.pub", false);
    check_form("", true);
    check_pem_forms();
    check_openssl_form("rsa -traditional -aes256 -passout 'pass:" PASS "'", true);
    check_openssl_form("rsa -traditional -aes192 -passout 'pass:" PASS "'", true);
    check_openssl_form("pkcs8 -topk8 -nocrypt", false);
    check_openssl_form("pkcs8 -topk8 -v2 aes128 -v2prf hmacWithSHA1 -passout 'pass:" PASS "'",
                       true);
    check_openssl_form("pkcs8 -topk8 -v2 aes192 -v2prf hmacWithSHA384 -passout 'pass:" PASS "'",
                       true);
    check_openssl_form("pkcs8 -topk8 -v2 aes256 -v2prf hmacWithSHA512 -iter 5000 "
                       "-passout 'pass:" PASS "'",
                       true);
}

TEST(rsa_3072)
{
    if (!rig_has("ssh-keygen"))
        return;
    make_key("-t rsa -b 3072");
    check_key("key", "key.pub", false);
    check_pem_forms();
}

TEST(rsa_4096)
{
    if (!rig_has("ssh-keygen"))
        return;
    make_key("-t rsa -b 4096");
    check_key("key", "key.pub", false);
    check_form("", true);
    check_form("-m PEM", true);
    check_form("-m PKCS8", false);
}

/* p < q, an odd number of bits, and the smallest exponent. */
TEST(rsa_unusual)
{
    if (!rig_has("ssh-keygen") || !rig_has("openssl"))
        return;
    for (unsigned i = 0; i < 3; i++) {
        rig_run("openssl genrsa -traditional -3 2049 >key 2>/dev/null && chmod 600 key && "
                "ssh-keygen -y -f key | sed 's/$/ a comment/' >key.pub");
        check_key("key", "key.pub", false);
    }
}

/* --- refusals ------------------------------------------------------------------------------- */

TEST(access)
{
    if (!rig_has("ssh-keygen"))
        return;
    make_key("-t ed25519");
    rig_run("cp key open && chmod 640 open; cp key write && chmod 602 write; mkdir folder; "
            "mkfifo fifo; chmod 600 fifo; ln -s key link; cp key strict; chmod 400 strict; "
            "head -c 70000 /dev/zero >large; chmod 600 large");
    check_load_fails("open", ERR_DENIED, "can be used by others (mode 0640)");
    check_load_fails("write", ERR_DENIED, "can be used by others");
    check_load_fails("folder", ERR_INVALID, "not a regular file");
    check_load_fails("fifo", ERR_INVALID, "not a regular file");
    check_load_fails("large", ERR_TOO_LARGE, "larger than any key file");
    check_load_fails("missing", ERR_NOT_FOUND, "missing");
    ssh_key_destroy(load("link"));
    ssh_key_destroy(load("strict"));

    struct err err = ERR_INIT;
    CHECK(!ssh_key_load(rig_path("open"), &err));
    CHECK(str_starts(err.hint, "run: chmod 600 "));
    if (geteuid() == 0) {
        rig_run("cp key alien && chown 12345 alien");
        check_load_fails("alien", ERR_DENIED, "belongs to another user (uid 12345)");
    } else {
        fprintf(stderr, "# skipped: only root can give files away\n");
    }
}

TEST(refused_kinds)
{
    if (!rig_has("ssh-keygen") || !rig_has("openssl"))
        return;
    rig_run("ssh-keygen -q -t rsa -b 1024 -N '' -f weak; "
            "ssh-keygen -q -t rsa -b 1024 -N '' -m PEM -f weakpem; "
            "openssl ecparam -name secp256k1 -genkey -noout -out koblitz; "
            "openssl ecparam -name prime256v1 -genkey -noout -param_enc explicit -out spelled; "
            "openssl genpkey -algorithm x25519 -out x25519; "
            "openssl genrsa -traditional -out r 2048 2>/dev/null; "
            "openssl rsa -traditional -des3 -passout pass:x -in r -out des3 2>/dev/null; "
            "openssl pkcs8 -topk8 -v2 des3 -passout pass:x -in r -out pbes2des; "
            "openssl pkcs8 -topk8 -v1 PBE-SHA1-3DES -passout pass:x -in r -out pbes1; "
            "openssl pkcs8 -topk8 -scrypt -passout pass:x -in r -out scrypt; "
            "openssl pkcs8 -topk8 -iter 2000001 -v2 aes256 -passout pass:x -in r -out slow; "
            "ssh-keygen -q -t ed25519 -N x -Z chacha20-poly1305@openssh.com -f chacha; "
            "chmod 600 *");
    check_load_fails("weak", ERR_UNPROCESS, "1024 bits is too weak");
    check_load_fails("weakpem", ERR_UNPROCESS, "1024 bits is too weak");
    check_load_fails("koblitz", ERR_UNPROCESS, "curve that SSH doesn't have");
    check_load_fails("spelled", ERR_UNPROCESS, "curve spelled out");
    check_load_fails("x25519", ERR_UNPROCESS, "type that the builtin SSH doesn't have");
    check_load_fails("des3", ERR_UNPROCESS, "another cipher");
    check_load_fails("pbes2des", ERR_UNPROCESS, "not AES-CBC");
    check_load_fails("pbes1", ERR_UNPROCESS, "not PBES2");
    check_load_fails("scrypt", ERR_UNPROCESS, "not PBKDF2");
    check_load_fails("slow", ERR_UNPROCESS, "2000001 KDF iterations");
    check_load_fails("chacha", ERR_UNPROCESS, "chacha20-poly1305@openssh.com");
    check_load_fails("chacha.pub", ERR_INVALID, "a public key instead");
    if (rig_try("ssh-keygen -q -t dsa -N '' -f dsa 2>/dev/null && "
                "ssh-keygen -q -t dsa -N '' -m PEM -f dsapem",
                "/dev/null")) {
        check_load_fails("dsa", ERR_UNPROCESS, "DSA keys are no longer accepted");
        check_load_fails("dsapem", ERR_UNPROCESS, "DSA keys are no longer accepted");
    }
}

/* An openssh-key-v1 file of parts; "kdf" with that many rounds. */
static char *openssh_file(struct ssh_span pub, const char *cipher, const char *kdf, uint32_t rounds,
                          unsigned count)
{
    struct buf file = BUF_INIT, text = BUF_INIT, options = BUF_INIT;
    static const char section[32] = "";

    if (rounds != 0) {
        ssh_put_text(&options, "0123456789abcdef");
        ssh_put_u32(&options, rounds);
    }
    buf_append(&file, "openssh-key-v1", 15);
    ssh_put_text(&file, cipher);
    ssh_put_text(&file, kdf);
    ssh_put_string(&file, buf_data(&options), buf_len(&options));
    ssh_put_u32(&file, count);
    ssh_put_string(&file, pub.data, pub.len);
    ssh_put_string(&file, section, sizeof section);
    rig_armor(&text, "OPENSSH PRIVATE KEY", buf_data(&file), buf_len(&file));
    buf_fini(&file);
    buf_fini(&options);
    return buf_take(&text, NULL);
}

static void check_openssh_fails(struct ssh_span pub, const char *cipher, const char *kdf,
                                uint32_t rounds, unsigned count, enum err_kind kind,
                                const char *part)
{
    char *text = openssh_file(pub, cipher, kdf, rounds, count);

    check_parse_fails(text, kind, part);
    free(text);
}

static void put_rsa(struct buf *out, unsigned bits)
{
    unsigned char n[1024];

    memset(n, 0xff, sizeof n);
    buf_clear(out);
    ssh_put_text(out, "ssh-rsa");
    ssh_put_mpint(out, (const unsigned char *)"\3", 1);
    ssh_put_mpint(out, n, bits / 8);
}

static struct ssh_span span_of(const struct buf *b)
{
    return (struct ssh_span){ (const unsigned char *)buf_data(b), buf_len(b) };
}

TEST(refused_openssh)
{
    struct buf pub = BUF_INIT;
    unsigned char zeros[32] = { 0 };

    put_rsa(&pub, 4104);
    check_openssh_fails(span_of(&pub), "none", "none", 0, 1, ERR_UNPROCESS,
                        "4104 bits is too large for the builtin SSH");
    buf_clear(&pub);
    ssh_put_text(&pub, "sk-ssh-ed25519@openssh.com");
    ssh_put_string(&pub, zeros, 32);
    ssh_put_text(&pub, "ssh:");
    check_openssh_fails(span_of(&pub), "none", "none", 0, 1, ERR_UNPROCESS,
                        "security keys need the system's ssh");
    buf_clear(&pub);
    ssh_put_text(&pub, "ssh-ed25519-cert-v01@openssh.com");
    check_openssh_fails(span_of(&pub), "none", "none", 0, 1, ERR_UNPROCESS, "certificates need");
    buf_clear(&pub);
    ssh_put_text(&pub, "ssh-new");
    check_openssh_fails(span_of(&pub), "none", "none", 0, 1, ERR_UNPROCESS, "doesn't know");
    buf_clear(&pub);
    ssh_put_text(&pub, "ssh-ed25519");
    ssh_put_string(&pub, zeros, 31);
    check_openssh_fails(span_of(&pub), "none", "none", 0, 1, ERR_INVALID, "damaged");
    buf_clear(&pub);
    ssh_put_text(&pub, "ssh-ed25519");
    ssh_put_string(&pub, zeros, 32);
    check_openssh_fails(span_of(&pub), "none", "none", 0, 2, ERR_INVALID, "exactly one key");
    check_openssh_fails(span_of(&pub), "none", "none", 0, 1, ERR_INVALID, "doesn't begin as one");
    check_openssh_fails(span_of(&pub), "none", "bcrypt", 16, 1, ERR_INVALID, "isn't encrypted but");
    check_openssh_fails(span_of(&pub), "aes256-ctr", "none", 16, 1, ERR_INVALID, "unknown KDF");
    check_openssh_fails(span_of(&pub), "aes256-ctr", "bcrypt", 0, 1, ERR_INVALID, "KDF options");
    check_openssh_fails(span_of(&pub), "aes256-ctr", "bcrypt", 1025, 1, ERR_UNPROCESS,
                        "1025 KDF rounds; at most 1024");
    check_openssh_fails(span_of(&pub), "aes256-ctr", "bcrypt", 0xffffffff, 1, ERR_UNPROCESS,
                        "4294967295 KDF rounds");
    check_openssh_fails(span_of(&pub), "aes256-gcm@openssh.com", "bcrypt", 16, 1, ERR_INVALID,
                        "wrong size");
    check_openssh_fails(span_of(&pub), "3des-cbc\x1b[2J", "bcrypt", 16, 1, ERR_UNPROCESS,
                        "3des-cbc\\e[2J");
    buf_fini(&pub);
}

TEST(refused_texts)
{
    check_parse_fails("", ERR_INVALID, "no private key in it");
    check_parse_fails("PuTTY-User-Key-File-3: ssh-ed25519\n", ERR_UNPROCESS, "PuTTY");
    check_parse_fails("SSH PRIVATE KEY FILE FORMAT 1.1\n", ERR_UNPROCESS, "protocol 1");
    check_parse_fails("ssh-rsa AAAA\n", ERR_INVALID, "public key");
    check_parse_fails("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", ERR_INVALID,
                      "something else");
    check_parse_fails("-----BEGIN PRIVATE KEY-----\nAAAA\n", ERR_INVALID, "no line \"-----END");
    check_parse_fails("-----BEGIN PRIVATE KEY-----\nAAA\n-----END PRIVATE KEY-----", ERR_INVALID,
                      "base64");
    check_parse_fails("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----",
                      ERR_INVALID, "no line \"-----END");
    check_parse_fails("-----BEGIN RSA PRIVATE KEY-----\nMAA=\n-----END RSA PRIVATE KEY-----",
                      ERR_INVALID, "damaged: not an RSA key");
    check_parse_fails("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMAA=\n"
                      "-----END RSA PRIVATE KEY-----",
                      ERR_UNPROCESS, "another cipher");
    check_parse_fails("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
                      "DEK-Info: AES-128-CBC,00\n\nMAA=\n-----END RSA PRIVATE KEY-----",
                      ERR_INVALID, "DEK-Info");
    check_parse_fails("-----BEGIN EC PARAMETERS-----\nAAAA\n-----END EC PARAMETERS-----\n",
                      ERR_INVALID, "no private key in it");

    struct err err = ERR_INIT;
    char *large = mem_alloc(SSH_KEY_FILE_MAX + 1);
    CHECK(!ssh_key_parse(large, SSH_KEY_FILE_MAX + 1, "k", &err));
    CHECK_INT(err.kind, ERR_TOO_LARGE);
    CHECK(!ssh_key_parse(large, SSH_KEY_FILE_MAX, "k", &err));
    CHECK_INT(err.kind, ERR_INVALID);
    free(large);
}

/* --- damage --------------------------------------------------------------------------------- */

/* Each of every `step` bytes is changed: what is still accepted is the same key, whole. */
static void check_damage(const char *name, size_t step, size_t least)
{
    struct buf text = BUF_INIT;
    struct err err = ERR_INIT;
    struct ssh_span good, pub;
    size_t refused = 0, tried = 0;

    rig_read(name, &text);
    struct ssh_key *key = ssh_key_parse(buf_data(&text), buf_len(&text), name, &err);
    CHECK(key && ssh_key_public(key, &good));

    struct ssh_span rest = span_of(&text), line;
    char *base64 = mem_alloc(buf_len(&text)), *label = NULL;
    size_t len = 0;
    while (ssh_next_line(&rest, &line)) {
        if (line.data[0] != '-') {
            memcpy(base64 + len, line.data, line.len);
            len += line.len;
        } else if (!label) {
            label = mem_strndup((const char *)line.data + 11, line.len - 16);
        }
    }
    unsigned char *der = mem_alloc(len);
    CHECK(ssh_base64_decode(base64, len, der, &len));
    for (size_t i = 0; i < len; i += step) {
        static const unsigned char flips[] = { 0x01, 0x80, 0xff };

        for (size_t f = 0; f < ARRAY_LEN(flips); f++) {
            struct buf bad = BUF_INIT;

            der[i] ^= flips[f];
            rig_armor(&bad, label, der, len);
            struct ssh_key *other = ssh_key_parse(buf_data(&bad), buf_len(&bad), "bad", &err);
            der[i] ^= flips[f];
            tried++;
            refused += !other;
            if (other && ssh_key_public(other, &pub))
                CHECK(ssh_span_eq(pub, good));
            if (other) {
                struct buf sig1 = BUF_INIT, sig2 = BUF_INIT;
                enum ssh_sign_alg alg;

                CHECK_OK(ssh_sign_pick(ssh_key_type(key), NULL, &alg, &err), &err);
                CHECK_OK(ssh_sign(key, alg, "x", 1, &sig1, &err), &err);
                CHECK_OK(ssh_sign(other, alg, "x", 1, &sig2, &err), &err);
                CHECK(ssh_span_eq(span_of(&sig1), span_of(&sig2)));
                buf_fini(&sig1);
                buf_fini(&sig2);
            }
            ssh_key_destroy(other);
            buf_fini(&bad);
        }
    }
    /* Accepted may be what is in check ints' or comments' places, nothing more. */
    fprintf(stderr, "# %s: %zu of %zu damaged ones refused\n", name, refused, tried);
    CHECK(refused * 100 >= tried * least);
    free(der);
    free(base64);
    free(label);
    ssh_key_destroy(key);
    buf_fini(&text);
}

TEST(damaged_ed25519)
{
    if (!rig_has("ssh-keygen"))
        return;
    make_key("-t ed25519");
    check_damage("key", 1, 90);
}

TEST(damaged_ecdsa)
{
    if (!rig_has("ssh-keygen"))
        return;
    make_key("-t ecdsa -b 384");
    check_damage("key", 5, 90);
    make_key("-t ecdsa -b 256 -m PEM");
    check_damage("key", 1, 100);
    make_key("-t ecdsa -b 256 -m PKCS8");
    check_damage("key", 1, 99); /* version 1 instead of 0 is as good */
}

TEST(damaged_rsa)
{
    if (!rig_has("ssh-keygen"))
        return;
    make_key("-t rsa -b 2048");
    check_damage("key", 11, 95);
    make_key("-t rsa -b 2048 -m PEM");
    check_damage("key", 11, 100);
}

TEST(cut_off)
{
    struct buf text = BUF_INIT;

    if (!rig_has("ssh-keygen"))
        return;
    make_key("-t ed25519");
    rig_read("key", &text);
    for (size_t i = 0; i < buf_len(&text) - 1; i++) {
        char *exact = mem_dup(buf_data(&text), i);

        CHECK(!ssh_key_parse(exact, i, "cut", NULL));
        free(exact);
    }
    buf_fini(&text);
}

/* --- passphrases ---------------------------------------------------------------------------- */

struct answers {
    const char *const *text;
    unsigned asked;
};

static ssize_t answer(void *arg, const char *name, unsigned attempt, char *out, size_t size,
                      struct err *err)
{
    struct answers *a = arg;

    CHECK_INT(attempt, a->asked);
    CHECK(str_ends(name, "/key"));
    CHECK_INT(size, SSH_KEY_PASSPHRASE_MAX);
    const char *text = a->text[a->asked++];
    if (!text)
        return err_set(err, ERR_UNAVAILABLE, "nobody there");
    str_copy(out, size, text);
    return (ssize_t)strlen(text);
}

TEST(passphrases)
{
    static const char *const second[] = { "no", PASS }, *const never[] = { "a", "b", "", PASS },
                             *const gone[] = { "a", NULL };
    struct err err = ERR_INIT;
    struct answers a = { .text = never };
    struct ssh_key_ask ask = { answer, &a };
    struct ssh_span pub;

    if (!rig_has("ssh-keygen"))
        return;
    rig_run("ssh-keygen -q -t ed25519 -a 2 -N '" PASS "' -f key");
    struct ssh_key *key = load("key");
    CHECK(ssh_key_locked(key));
    CHECK(ssh_key_public(key, &pub));
    CHECK_INT(ssh_key_type(key), SSH_KEY_ED25519);
    CHECK(ssh_key_unlock(key, &ask, &err) != 0);
    CHECK_INT(err.kind, ERR_UNAUTH);
    CHECK_INT(a.asked, SSH_KEY_ATTEMPTS);
    a = (struct answers){ .text = gone };
    CHECK(ssh_key_unlock(key, &ask, &err) != 0);
    CHECK_INT(err.kind, ERR_UNAVAILABLE);
    CHECK_INT(a.asked, 2);
    a = (struct answers){ .text = second };
    CHECK_OK(ssh_key_unlock(key, &ask, &err), &err);
    CHECK_INT(a.asked, 2);
    CHECK_OK(ssh_key_unlock(key, &ask, &err), &err);
    CHECK_INT(a.asked, 2);
    check_sign_all(key);
    ssh_key_destroy(key);
}

/* The clear public key of a file was changed: seen once the private one can be read. */
TEST(locked_key_with_a_foreign_public_part)
{
    struct err err = ERR_INIT;

    if (!rig_has("ssh-keygen"))
        return;
    rig_run("ssh-keygen -q -t ed25519 -a 2 -N '" PASS "' -f key");
    struct ssh_key *key = load("key");
    key->pub[key->pub_len - 1] ^= 1;
    CHECK(ssh_key_unlock_with(key, PASS, strlen(PASS), &err) != 0);
    CHECK_INT(err.kind, ERR_INVALID);
    CHECK(strstr(err.msg, "doesn't belong"));
    CHECK(ssh_key_locked(key));
    ssh_key_destroy(key);
}

/* --- what is left in memory ----------------------------------------------------------------- */

#define MASK 0x5a

/* How often `needle` (kept masked, so that it doesn't find itself) is anywhere in our writable
 * memory, freed or not. */
__attribute__((no_sanitize("address", "undefined"))) static size_t traces(
    const unsigned char *needle, size_t len)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512];
    size_t found = 0;

    CHECK(maps);
    while (fgets(line, sizeof line, maps)) {
        uintptr_t from, to;
        char mode[5];

        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s", &from, &to, mode) != 3 ||
            mode[0] != 'r' || mode[1] != 'w' || to - from > (uintptr_t)1 << 28)
            continue; /* of that size are only the sanitizer's own */
        const volatile unsigned char *p = (const volatile unsigned char *)from;
        for (size_t i = 0; i + len <= to - from; i++) {
            size_t n = 0;

            while (n < len && (p[i + n] ^ MASK) == needle[n])
                n++;
            found += n == len;
        }
    }
    fclose(maps);
    return found;
}

static void mask(unsigned char *out, const volatile unsigned char *in, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = in[i] ^ MASK;
}

static void check_wiped(const char *name, bool rsa)
{
    unsigned char needle[16], text[16], file[400];
    int fd = open(rig_path(name), O_RDONLY | O_CLOEXEC);

    /* Some base64 of the private part, which is at the end. */
    CHECK(lseek(fd, -120, SEEK_END) > 0 && read(fd, file, 120) == 120);
    mask(text, file, sizeof text);
    explicit_bzero(file, sizeof file);
    close(fd);
    CHECK_INT(traces(text, sizeof text), 0);
    struct ssh_key *key = load(name);
    CHECK_OK(ssh_key_unlock_with(key, PASS, strlen(PASS), NULL), &(struct err)ERR_INIT);
    mask(needle, rsa ? key->secret.rsa.p.d : key->secret.ed25519, sizeof needle);
    CHECK(traces(needle, sizeof needle) > 0);
    check_sign_all(key);
    ssh_key_destroy(key);
    CHECK_INT(traces(needle, sizeof needle), 0);
    CHECK_INT(traces(text, sizeof text), 0);
}

TEST(wiped)
{
    if (!rig_has("ssh-keygen"))
        return;
    make_key("-t ed25519");
    check_wiped("key", false);
    make_key("-t rsa -b 2048 -m PEM");
    check_wiped("key", true);
    rig_run("ssh-keygen -q -p -P '' -N '" PASS "' -a 2 -f key >/dev/null");
    check_wiped("key", true);
}

/* --- public keys ---------------------------------------------------------------------------- */

static void check_pub_fails(const char *text)
{
    struct ssh_pubkey pub;
    struct err err = ERR_INIT;

    if (ssh_pubkey_parse_text(text, strlen(text), "f.pub", &pub, &err) == 0)
        unit_fail(__FILE__, __LINE__, "accepted: %s", text);
    CHECK_INT(err.kind, ERR_INVALID);
    CHECK(str_starts(err.msg, "f.pub: "));
}

#define ED "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"

TEST(pub_files)
{
    struct ssh_pubkey pub;
    struct err err = ERR_INIT;
    const char *text = "# mine\r\n\r\n" ED "   two words\x1b \r\n\n";

    CHECK_OK(ssh_pubkey_parse_text(text, strlen(text), "f", &pub, &err), &err);
    CHECK_STR(pub.comment, "two words\\e");
    CHECK_INT(pub.blob_len, 51);
    CHECK_INT(pub.blob[50], 31);
    ssh_pubkey_fini(&pub);
    CHECK_OK(ssh_pubkey_parse_text(ED, strlen(ED), "f", &pub, &err), &err);
    CHECK_STR(pub.comment, "");
    ssh_pubkey_fini(&pub);
    check_pub_fails("");
    check_pub_fails("ssh-ed25519");
    check_pub_fails(ED "A");
    check_pub_fails(ED "AAAA");
    check_pub_fails(ED "\n" ED "\n");
    check_pub_fails("ssh-rsa");
    check_pub_fails("ssh-dss AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f");
    check_pub_fails("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n");
    CHECK(ssh_pubkey_load(rig_path("missing"), &pub, &err) != 0);
    CHECK_INT(err.kind, ERR_NOT_FOUND);
}

TEST(pub_certificate)
{
    struct ssh_pubkey pub;
    struct err err = ERR_INIT;

    if (!rig_has("ssh-keygen"))
        return;
    make_key("-t ed25519");
    rig_run("ssh-keygen -q -t ed25519 -N '' -f ca && ssh-keygen -q -s ca -I me -n me key.pub");
    CHECK_OK(ssh_pubkey_load(rig_path("key-cert.pub"), &pub, &err), &err);
    CHECK_INT(pub.type, SSH_KEY_OTHER);
    CHECK_STR(pub.name, "ssh-ed25519-cert-v01@openssh.com");
    CHECK_STR(pub.why_not, "certificates need the system's ssh");
    ssh_pubkey_fini(&pub);
}

TEST(pub_rsa_sizes)
{
    static const struct {
        unsigned bits;
        const char *why;
    } sizes[] = { { 2040, "too weak" }, { 2048, NULL }, { 4096, NULL }, { 4104, "too large" } };
    struct buf blob = BUF_INIT;

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct ssh_pubkey pub;
        struct err err = ERR_INIT;

        put_rsa(&blob, sizes[i].bits);
        CHECK_OK(ssh_pubkey_parse(span_of(&blob), (struct ssh_span){ NULL, 0 }, &pub, &err), &err);
        CHECK(sizes[i].why ? strstr(pub.why_not, sizes[i].why) != NULL : !pub.why_not);
        CHECK_INT(pub.type, sizes[i].why ? SSH_KEY_OTHER : SSH_KEY_RSA);
        CHECK_STR(pub.name, "ssh-rsa");
        ssh_pubkey_fini(&pub);
    }
    buf_fini(&blob);
}

/* --- signing -------------------------------------------------------------------------------- */

static const char *picked(enum ssh_key_type type, const char *list)
{
    enum ssh_sign_alg alg = SSH_SIGN_NONE;

    return ssh_sign_pick(type, list, &alg, NULL) == 0 ? ssh_sign_alg_name(alg) : "none";
}

TEST(pick)
{
    CHECK_STR(picked(SSH_KEY_RSA, NULL), "rsa-sha2-256");
    CHECK_STR(picked(SSH_KEY_RSA, "rsa-sha2-256,ssh-ed25519,rsa-sha2-512"), "rsa-sha2-512");
    CHECK_STR(picked(SSH_KEY_RSA, "ssh-ed25519,rsa-sha2-256"), "rsa-sha2-256");
    CHECK_STR(picked(SSH_KEY_RSA, "ssh-rsa,ssh-ed25519"), "none");
    CHECK_STR(picked(SSH_KEY_RSA, ""), "none");
    CHECK_STR(picked(SSH_KEY_RSA, "rsa-sha2-5121,x-rsa-sha2-512,,"), "none");
    CHECK_STR(picked(SSH_KEY_ED25519, "rsa-sha2-256"), "ssh-ed25519");
    CHECK_STR(picked(SSH_KEY_ECDSA_384, NULL), "ecdsa-sha2-nistp384");
    CHECK_STR(picked(SSH_KEY_OTHER, NULL), "none");
}

static void put_userauth(struct buf *b, const char *alg)
{
    buf_clear(b);
    ssh_put_text(b, "0123456789abcdef0123456789abcdef");
    buf_append_char(b, 50);
    ssh_put_text(b, "me");
    ssh_put_text(b, "ssh-connection");
    ssh_put_text(b, "publickey");
    buf_append_char(b, 1);
    ssh_put_text(b, alg);
    ssh_put_text(b, "blob");
}

TEST(userauth)
{
    struct buf b = BUF_INIT;
    struct err err = ERR_INIT;
    enum ssh_sign_alg alg;

    put_userauth(&b, "rsa-sha2-512");
    CHECK_OK(ssh_sign_userauth_alg(buf_data(&b), buf_len(&b), &alg, &err), &err);
    CHECK_INT(alg, SSH_SIGN_RSA_SHA512);
    for (size_t i = 0; i < buf_len(&b); i++)
        CHECK(ssh_sign_userauth_alg(buf_data(&b), i, &alg, &err) != 0);
    buf_append_char(&b, 0);
    CHECK(ssh_sign_userauth_alg(buf_data(&b), buf_len(&b), &alg, &err) != 0);
    put_userauth(&b, "ssh-rsa");
    CHECK(ssh_sign_userauth_alg(buf_data(&b), buf_len(&b), &alg, &err) != 0);
    CHECK_INT(err.kind, ERR_UNPROCESS);
    CHECK(strstr(err.msg, "SHA-1"));
    put_userauth(&b, "nothing");
    CHECK(ssh_sign_userauth_alg(buf_data(&b), buf_len(&b), &alg, &err) != 0);
    buf_fini(&b);
}

/* --- small parts ---------------------------------------------------------------------------- */

TEST(base64)
{
    static const char *const bad[] = { "A",    "AA",    "AAA",   "A===", "====",     "AA=A", "AB==",
                                       "AAB=", "AA AA", "AAA\n", "AAA-", "AAAA=AAA", "=AAA" };
    unsigned char out[64];
    size_t n;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (ssh_base64_decode(bad[i], strlen(bad[i]), out, &n))
            unit_fail(__FILE__, __LINE__, "accepted: %s", bad[i]);
    }
    CHECK(ssh_base64_decode("", 0, out, &n) && n == 0);
    CHECK(ssh_base64_decode("+/8=", 4, out, &n) && n == 2 && out[0] == 0xfb && out[1] == 0xff);
    CHECK(ssh_base64_decode("Zg==", 4, out, &n) && n == 1 && out[0] == 'f');
    CHECK(ssh_base64_decode("Zm9vYmFy", 8, out, &n) && n == 6 && memcmp(out, "foobar", 6) == 0);
}

TEST(cursor)
{
    static const unsigned char bytes[] = { 0, 0, 0, 2, 0, 0x80, 0xff, 0xff, 0xff, 0xff, 1 };
    struct ssh_cursor c = ssh_cursor(bytes, sizeof bytes);
    struct ssh_span s = ssh_get_mpint(&c);

    CHECK(s.len == 1 && s.data[0] == 0x80 && !c.bad);
    s = ssh_get_string(&c);
    CHECK(c.bad && s.len == 0 && !s.data && !ssh_cursor_done(&c));
    CHECK_INT(ssh_get_u8(&c), 0);
    CHECK_INT(ssh_get_u32(&c), 0);
    static const unsigned char odd[][6] = {
        { 0, 0, 0, 0 }, { 0, 0, 0, 1, 0 }, { 0, 0, 0, 1, 0x80 }, { 0, 0, 0, 2, 0, 0x7f }
    };
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        c = ssh_cursor(odd[i], sizeof odd[i]);
        ssh_get_mpint(&c);
        CHECK(c.bad);
    }
}
