#!/bin/sh
# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

# state.sh NODE_PORT SENTINEL_PORT MASTER_NAME: what the node and the Sentinel of this host are, without what changes by itself
# and without traces of being asked. What is not named here counts.
set -eu
node() { redis-cli -p "$node_port" "$@" | tr -d '\r'; }
sentinel() { redis-cli -p "$sentinel_port" "$@" | tr -d '\r'; }
node_port=$1 sentinel_port=$2 master_name=$3

by_itself='uptime_in_|hz:|lru_clock|server_time_usec|used_|mem_|allocator_|rss_|total_system_memory|active_defrag'
by_itself="$by_itself|master_repl_offset|slave_repl_offset|slave_read_repl_offset|repl_backlog_|master_last_io_seconds_ago"
asked='connected_clients|client_recent_|pubsub_|total_connections_|total_commands_|total_net_|total_reads_|total_writes_|instantaneous_'
asked="$asked|expire_cycle_cpu_|keyspace_misses|total_error_replies|errorstat_|latency_percentiles_|acl_access_denied_|reply_buffer_"
# A refused command has not run. These ask, subscribe, log in, queue, or are how replicas and Sentinels speak to each other.
questions='info|role|ping|auth|hello|multi|exec|discard|publish|subscribe|psubscribe|replconf|psync|pfcount|module.list|config.get|acl.dryrun'
questions="$questions|client.help|client.setname|client.setinfo|client.id|client.list|sentinel.(master|masters|replicas|slaves|sentinels|myid)"
questions="$questions|sentinel.(ckquorum|config|get-master-addr-by-name|is-master-down-by-addr)"
# A row is what a Sentinel knows of a server.
of_a_row='link-|last-|info-refresh=|role-reported-time=|slave-repl-offset='

info() {
    grep -Ev "^($by_itself|$asked|#)" | sed -E \
        -e 's/^(slave[0-9]+:.*),offset=.*/\1/' \
        -e "/^cmdstat_($questions):/d" \
        -e 's/^(cmdstat_[^:]+:calls=[0-9]+),.*failed_calls=([0-9]+).*/\1 failed=\2/' \
        -e '/^cmdstat_.*calls=([0-9]+) failed=\1$/d'
}

node INFO everything | info | sed 's/^/node /'
node CONFIG GET '*' | paste -d= - - | sort | sed 's/^/node config /'
sentinel INFO everything | info | sed 's/^/sentinel /'
sentinel SENTINEL CONFIG GET '*' | paste -d= - - | sort | sed 's/^/sentinel config /'
for rows in MASTER REPLICAS SENTINELS; do
    sentinel SENTINEL "$rows" "$master_name" | paste -d= - - | grep -Ev "^($of_a_row)" | sort | sed "s/^/sentinel $rows /"
done
# The time of its last change tells of a file that was written anew with the same words in it; a freed inode is used again.
stat -c 'file %n changed %z' /etc/redis/*.conf
sha256sum /etc/redis/*.conf
