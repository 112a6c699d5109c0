#!/bin/bash
# start.sh [SERVER.PROPERTIES]: formats the storage where it is fresh, and becomes the broker.
# start.sh check: whether the broker takes connections.
set -euo pipefail
here=$(dirname "$0")
if [ "${1:-}" = check ]; then
    exec 3<>/dev/tcp/127.0.0.1/9092
    exit
fi
settings=${1:-}
if [ -z "$settings" ]; then
    settings=/tmp/server.properties
    sed "s|@ADVERTISED@|${KAFKA_ADVERTISED}|" "$here/server.properties" >"$settings"
fi
data=$(sed -n 's/^log.dirs=//p' "$settings")
java=(java "-Xms${KAFKA_HEAP:-256m}" "-Xmx${KAFKA_HEAP:-256m}" -XX:+UseSerialGC
    "-Dlog4j2.configurationFile=$here/log4j2.properties" -cp "$(echo "$here"/versions/*/libs)/*")
if [ ! -e "$data/meta.properties" ]; then
    "${java[@]}" kafka.tools.StorageTool format -t "$("${java[@]}" kafka.tools.StorageTool random-uuid)" -c "$settings"
fi
exec "${java[@]}" kafka.Kafka "$settings"
