#!/bin/sh
# Makes the secrets that this overlay reads, each of 256 random bits, in secrets/ beside it (git ignores it). One that is
# there is left as it is: the data in the store stays readable.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
for name in store-password gcs-password ray-token http-token; do
  [ -s "secrets/$name" ] || head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"secrets/$name"
done
