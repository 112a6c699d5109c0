#!/bin/sh
# Starts the one Kafka node that a settings file describes, formatting its storage the first time.
#
#     start.sh SERVER.PROPERTIES
#
# KAFKA_HOME has Apache Kafka's jars in libs/, and log4j2.properties from beside this file. KAFKA_JAVA_OPTIONS are
# Java's own. Everything is logged on standard output; SIGTERM ends the node cleanly.
set -eu

[ $# = 1 ] && [ -f "$1" ] || { echo "usage: start.sh SERVER.PROPERTIES" >&2; exit 2; }
: "${KAFKA_HOME:=/opt/kafka}"
: "${KAFKA_JAVA_OPTIONS:=-Xms256m -Xmx512m -XX:+UseSerialGC -XX:+ExitOnOutOfMemoryError}"

run() {
    class=$1
    shift
    # shellcheck disable=SC2086 # options are words
    exec java $KAFKA_JAVA_OPTIONS "-Dlog4j2.configurationFile=$KAFKA_HOME/log4j2.properties" \
        -cp "$KAFKA_HOME/libs/*" "$class" "$@"
}

# The node is alone, so any id of a cluster will do: 16 bytes in base64.
(run kafka.tools.StorageTool format --ignore-formatted --cluster-id dmVybWlsaW9uLWRlbW8tMQ --config "$1")
run kafka.Kafka "$1"
