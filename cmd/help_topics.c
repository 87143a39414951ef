/* SPDX-License-Identifier: BSD-2-Clause */
/* The texts of `hive help TOPIC`. */
#include "base/mem.h"

#include "cmd/cmd.h"

#include "base/str.h"

static const char start[] =
    "Getting started\n"
    "\n"
    "Start the daemon and leave it running, in another terminal or in the background:\n"
    "\n"
    "    hive daemon &\n"
    "\n"
    "Queue commands; each gets an id, and starts when there is room for it:\n"
    "\n"
    "    hive submit 'sleep 10 && echo Hello World'\n"
    "    hive submit -t 4 -m 8G -- ./simulate --seed 7\n"
    "\n"
    "See what goes on:\n"
    "\n"
    "    hive status             machines, running and queued jobs, the last that ended\n"
    "    hive status 2           everything about job 2\n"
    "    hive logs -f 2          its output, as it comes\n"
    "    hive explain 2          why it waits\n"
    "\n"
    "Change your mind:\n"
    "\n"
    "    hive cancel 2           end it, with everything it has started\n"
    "    hive hold 3             not yet; hive release 3 lets it start\n"
    "    hive retry 2            once more\n"
    "\n"
    "Wait for results in a script:\n"
    "\n"
    "    hive submit --wait make check || echo \"failed with $?\"\n"
    "    hive wait 2 3\n"
    "\n"
    "Jobs survive a restart of the daemon, and what was accepted is never lost. The same\n"
    "is there for programs: the REST API on http://127.0.0.1:8080/api/v1, described by\n"
    "/api/v1/openapi.json.\n";

static const char scripts[] =
    "Job scripts\n"
    "\n"
    "A script that is submitted may carry options in lines that begin with #HIVE:\n"
    "\n"
    "    #!/bin/sh\n"
    "    #HIVE --name night-run -t 4 -m 8G\n"
    "    #HIVE --timeout 6h --retry 2\n"
    "    #HIVE --env \"TITLE=two words\"\n"
    "    ./simulate --threads \"$HIVE_THREADS\" \"$@\"\n"
    "\n"
    "    hive submit night.sh\n"
    "    hive submit -m 16G night.sh first second\n"
    "\n"
    "#HIVE lines count up to the first command in the script. They take the options of\n"
    "hive submit that describe the job, written as on a command line, with '…', \"…\" and \\\n"
    "for blanks, but without variables. Options on the command line win. --env adds up.\n"
    "\n"
    "hive takes a copy of the script: changing the file afterwards does not matter, and $0\n"
    "is the copy. The line #! says what runs it, else it is /bin/sh. To run a file where it\n"
    "is, without looking into it: hive submit -- ./night.sh\n"
    "\n"
    "In the job:\n"
    "\n"
    "    HIVE_JOB_ID     its id                    HIVE_NODE      the machine\n"
    "    HIVE_TASK_ID    number of the array task  HIVE_THREADS   threads reserved\n"
    "    HIVE_ATTEMPT    1, 2 after a retry, ...   HIVE_GPUS      GPUs reserved\n"
    "    HIVE_LINE       the line of --each-line\n"
    "    HIVE_ATTEMPT_PREFIX   the files of this attempt are this and .out, .err, ...\n"
    "\n"
    "Its exit code decides: 0 is success, anything else is failure.\n";

const char *const cmd_topics[] = { "start", "scripts", "config", NULL };

const char *cmd_topic(const char *name)
{
    if (str_eq(name, "start"))
        return start;
    if (str_eq(name, "scripts"))
        return scripts;
    /* "config" is a command too; its help goes with the table of settings (help.c). */
    return NULL;
}
