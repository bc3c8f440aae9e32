#!/bin/sh
# Starts a Redis with the password in $REDIS_PASSWORD (from a Secret): it is on no command line and in no ConfigMap.
# Arguments go to redis-server. $REDIS_CONF and $REDIS_RUN are set by tests alone.
set -eu
REDIS_PASSWORD="${REDIS_PASSWORD:-}"
case "$REDIS_PASSWORD" in
*[!A-Za-z0-9_-]*)
  echo "the password may hold letters, digits, - and _ only (it is a part of a URL), and no newline at its end" >&2
  exit 78
  ;;
esac
if [ "${#REDIS_PASSWORD}" -lt 24 ]; then
  echo "the password is missing or shorter than 24 characters: make one with secrets.sh of the example overlay" >&2
  exit 78
fi
run="${REDIS_RUN:-/run/redis}"
umask 077
printf 'requirepass %s\n' "$REDIS_PASSWORD" >"$run/password.conf"
exec redis-server "${REDIS_CONF:-/etc/redis/redis.conf}" --include "$run/password.conf" "$@"
