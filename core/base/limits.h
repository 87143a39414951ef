/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every limit on what comes from outside, in one place. A limit that is hit gives an error that
 * names it; raising one is a decision made here, not at the call site.
 */
#ifndef HIVE_BASE_LIMITS_H
#define HIVE_BASE_LIMITS_H

/* HTTP (core/net/http*) */
#define LIMIT_HTTP_LINE 8192  /* request line and each header line, bytes      -> 414, 431 */
#define LIMIT_HTTP_HEADERS 64 /* header fields in a message                    -> 431 */
#define LIMIT_HTTP_HEADER_BYTES 32768 /* all header lines together                     -> 431 */
#define LIMIT_HTTP_BODY                                                                            \
    (64 * 1024 * 1024)              /* request body                                  -> 413 */
#define LIMIT_HTTP_CONNECTIONS 1024 /* open at once; over it the listener pauses */
#define LIMIT_HTTP_IDLE_S 60        /* keep-alive without a request */
#define LIMIT_HTTP_HEADER_S 10      /* from first byte to end of headers             -> 408 */
#define LIMIT_HTTP_BODY_S 120       /* a body that stops arriving for this long      -> 408 */
#define LIMIT_HTTP_WRITE_S 60       /* peer takes no byte for this long: closed */
#define LIMIT_HTTP_OUT (256 * 1024) /* unsent bytes of one connection before its source is paused */

/* JSON */
#define LIMIT_JSON_DEPTH 32

/* Jobs */
#define LIMIT_JOB_SPEC (128 * 1024) /* command, arguments, environment and script of a job, bytes */
#define LIMIT_JOB_NAME 255
#define LIMIT_JOB_ARGS 4096
#define LIMIT_JOB_ENV 1024
#define LIMIT_JOB_PATH 4000
#define LIMIT_JOB_DEPS 60
#define LIMIT_JOB_THREADS 65536
#define LIMIT_JOB_GPUS 1024
#define LIMIT_JOB_RETRIES 1000
#define LIMIT_JOB_PRIORITY 1000000 /* priorities run from -this to +this */
#define LIMIT_ARRAY_TASKS 10000000 /* tasks of one array */
#define LIMIT_ARRAY_LINE 65536     /* one line of --each-line */
#define LIMIT_BULK_JOBS 100000     /* jobs in one bulk submit */
#define LIMIT_QUEUED_JOBS 5000000  /* live jobs a head accepts  -> 503 */
#define LIMIT_IDEMPOTENCY_KEY 255
#define LIMIT_PAGE_JOBS 10000 /* jobs in one page of a listing */

/* Files */
#define LIMIT_CONFIG_FILE (1024 * 1024)
#define LIMIT_CONFIG_LINE 8192
#define LIMIT_SCRIPT_FILE (96 * 1024)

#endif
