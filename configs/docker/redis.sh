#!/bin/sh
# redis.sh CONFIG SECRET RUN [OPTION…]: starts Redis with a configuration and the password that a file holds.
#
# The default user is switched off, and the one user that is left may do what CardFlow's server needs, with its own keys.
# The password reaches neither a command line nor the environment; Redis is told its hash.
set -eu
config=$1 secret=$2 run=$3
shift 3

password=$(cat "$secret")
if [ -z "$password" ]; then
	echo "redis: $secret is empty: it has to hold the password, in one line" >&2
	exit 1
fi
hash=$(printf %s "$password" | sha256sum)

umask 077
{
	cat "$config"
	echo "user default off"
	echo "user cardflow on #${hash%% *} ~cardflow:* &cardflow:* -@all +@read +@write +@connection +@scripting +@pubsub +time -@dangerous"
} >"$run/redis.conf"
exec redis-server "$run/redis.conf" "$@"
