/* SPDX-License-Identifier: BSD-2-Clause */
/* The keywords of ssh_config(5), as tables. */
#include "base/mem.h"

#include "net/ssh_config_priv.h"

#include "base/str.h"
#include "net/ssh_pattern.h"

#include <limits.h>

static const struct ssh_config_word yes_no[] = {
    { "yes", 1 }, { "true", 1 }, { "no", 0 }, { "false", 0 }, { NULL, 0 }
};
static const struct ssh_config_word strict[] = { { "ask", SSH_STRICT_ASK },
                                                 { "yes", SSH_STRICT_YES },
                                                 { "true", SSH_STRICT_YES },
                                                 { "no", SSH_STRICT_NO },
                                                 { "false", SSH_STRICT_NO },
                                                 { "off", SSH_STRICT_NO },
                                                 { "accept-new", SSH_STRICT_ACCEPT_NEW },
                                                 { NULL, 0 } };
static const struct ssh_config_word family[] = { { "any", SSH_FAMILY_ANY },
                                                 { "inet", SSH_FAMILY_INET },
                                                 { "inet6", SSH_FAMILY_INET6 },
                                                 { NULL, 0 } };
static const struct ssh_config_word canonicalize[] = { { "yes", 1 },    { "true", 1 },
                                                       { "always", 1 }, { "no", 0 },
                                                       { "false", 0 },  { NULL, 0 } };
static const struct ssh_config_word pubkey[] = { { "yes", 1 },     { "true", 1 },
                                                 { "unbound", 1 }, { "host-bound", 1 },
                                                 { "no", 0 },      { "false", 0 },
                                                 { NULL, 0 } };

#define FLAG(name, opt)                                                                            \
    {                                                                                              \
        name, K_WORD, opt, yes_no, "yes or no", 0, 0                                               \
    }
#define TEXT(name, opt)                                                                            \
    {                                                                                              \
        name, K_TEXT, opt, NULL, NULL, 0, 0                                                        \
    }
#define SPECIAL(name, kind, opt)                                                                   \
    {                                                                                              \
        name, kind, opt, NULL, NULL, 0, 0                                                          \
    }
#define INT(name, opt, min, max)                                                                   \
    {                                                                                              \
        name, K_INT, opt, NULL, NULL, min, max                                                     \
    }

/* clang-format off */
static const struct ssh_config_keyword keywords[] = {
    { "AddressFamily", K_WORD, O_ADDRESS_FAMILY, family, "any, inet or inet6", 0, 0 },
    FLAG("BatchMode", O_BATCH_MODE),
    TEXT("BindAddress", O_BIND_ADDRESS),
    TEXT("BindInterface", O_BIND_INTERFACE),
    { "CanonicalizeHostname", K_WORD, O_CANONICALIZE, canonicalize, "yes, no or always", 0, 0 },
    TEXT("CertificateFile", O_CERTIFICATE),
    FLAG("ChallengeResponseAuthentication", O_KBDINT_AUTH),
    FLAG("CheckHostIP", O_CHECK_HOST_IP),
    TEXT("Ciphers", O_CIPHERS),
    SPECIAL("ConnectTimeout", K_TIME, O_CONNECT_TIMEOUT),
    FLAG("DSAAuthentication", O_PUBKEY_AUTH),
    SPECIAL("GlobalKnownHostsFile", K_PATHS, O_GLOBAL_KNOWN_HOSTS),
    FLAG("HashKnownHosts", O_HASH_KNOWN_HOSTS),
    SPECIAL("Host", K_HOST, O_COUNT),
    TEXT("HostKeyAlgorithms", O_HOST_KEY_ALGORITHMS),
    TEXT("HostKeyAlias", O_HOST_KEY_ALIAS),
    TEXT("HostName", O_HOST_NAME),
    FLAG("IdentitiesOnly", O_IDENTITIES_ONLY),
    TEXT("IdentityAgent", O_IDENTITY_AGENT),
    SPECIAL("IdentityFile", K_IDENTITY, O_COUNT),
    SPECIAL("IdentityFile2", K_IDENTITY, O_COUNT),
    TEXT("IgnoreUnknown", O_IGNORE_UNKNOWN),
    SPECIAL("Include", K_INCLUDE, O_COUNT),
    FLAG("KbdInteractiveAuthentication", O_KBDINT_AUTH),
    TEXT("KexAlgorithms", O_KEX_ALGORITHMS),
    SPECIAL("KnownHostsCommand", K_REST, O_KNOWN_HOSTS_COMMAND),
    TEXT("MACs", O_MACS),
    SPECIAL("Match", K_MATCH, O_COUNT),
    FLAG("PasswordAuthentication", O_PASSWORD_AUTH),
    TEXT("PKCS11Provider", O_PKCS11_PROVIDER),
    INT("Port", O_PORT, 1, 65535),
    TEXT("PreferredAuthentications", O_PREFERRED_AUTH),
    SPECIAL("ProxyCommand", K_REST, O_PROXY_COMMAND),
    SPECIAL("ProxyJump", K_JUMP, O_PROXY_JUMP),
    { "PubkeyAuthentication", K_WORD, O_PUBKEY_AUTH, pubkey, "yes, no, unbound or host-bound",
      0, 0 },
    SPECIAL("RefuseConnection", K_REST, O_REFUSE_CONNECTION),
    INT("RequiredRSASize", O_REQUIRED_RSA_SIZE, 0, 65536),
    TEXT("RevokedHostKeys", O_REVOKED_HOST_KEYS),
    TEXT("SecurityKeyProvider", O_SECURITY_KEY_PROVIDER),
    INT("ServerAliveCountMax", O_SERVER_ALIVE_COUNT, 0, INT_MAX),
    SPECIAL("ServerAliveInterval", K_TIME, O_SERVER_ALIVE_INTERVAL),
    TEXT("SmartcardDevice", O_PKCS11_PROVIDER),
    { "StrictHostKeyChecking", K_WORD, O_STRICT, strict, "yes, no, ask, accept-new or off", 0, 0 },
    TEXT("User", O_USER),
    SPECIAL("UserKnownHostsFile", K_PATHS, O_USER_KNOWN_HOSTS),
};
/* clang-format on */

/* Keywords that ssh knows, or knew, and that decide nothing here. */
static const char ignored[] =
    "addkeystoagent,afstokenpassing,canonicaldomains,canonicalizefallbacklocal,"
    "canonicalizemaxdots,canonicalizepermittedcnames,casignaturealgorithms,channeltimeout,cipher,"
    "clearallforwardings,compression,compressionlevel,connectionattempts,controlmaster,controlpath,"
    "controlpersist,dynamicforward,enableescapecommandline,enablesshkeysign,escapechar,"
    "exitonforwardfailure,fallbacktorsh,fingerprinthash,forkafterauthentication,forwardagent,"
    "forwardx11,forwardx11timeout,forwardx11trusted,gatewayports,globalknownhostsfile2,gssapi*,"
    "hostbasedacceptedalgorithms,hostbasedauthentication,hostbasedkeytypes,ipqos,"
    "kbdinteractivedevices,keepalive,kerberosauthentication,kerberostgtpassing,localcommand,"
    "localforward,loglevel,logverbose,nohostauthenticationforlocalhost,numberofpasswordprompts,"
    "obscurekeystroketiming,permitlocalcommand,permitremoteopen,protocol,protocolkeepalives,"
    "proxyusefdpass,pubkeyacceptedalgorithms,pubkeyacceptedkeytypes,rekeylimit,remotecommand,"
    "remoteforward,requesttty,rhostsauthentication,rhostsrsaauthentication,rsaauthentication,"
    "sendenv,sessiontype,setenv,setuptimeout,skeyauthentication,stdinnull,"
    "streamlocalbindmask,streamlocalbindunlink,syslogfacility,tag,tcpkeepalive,"
    "tisauthentication,tunnel,tunneldevice,updatehostkeys,useprivilegedport,userknownhostsfile2,"
    "userroaming,usersh,verifyhostkeydns,versionaddendum,visualhostkey,warnweakcrypto,"
    "xauthlocation";

const struct ssh_config_keyword *ssh_config_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(keywords); i++)
        if (str_eq_nocase(keywords[i].name, name))
            return &keywords[i];
    return NULL;
}

bool ssh_config_is_ignored(const char *name)
{
    return ssh_pattern_list_match(name, ignored, strlen(ignored), true) == 1;
}
