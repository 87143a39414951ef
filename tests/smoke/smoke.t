#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The SSH and TLS glue against OpenSSH and OpenSSL, as `make smoke` does it.
cd "$(dirname "$0")/../.." || exit 1
exec tests/smoke/run-smoke build/dev/smoke
