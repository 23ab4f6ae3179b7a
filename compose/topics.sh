#!/usr/bin/env bash
# Makes the topics. A worker would make them too; here they are there before anybody reads or writes them.
set -euo pipefail

make_topic() {
  local topic=$1
  shift
  /opt/kafka/bin/kafka-topics.sh --bootstrap-server kafka:19092 --create --if-not-exists \
    --topic "$topic" --partitions 8 --replication-factor 1 "$@"
}

make_topic actions
make_topic supporter-status --config cleanup.policy=compact
make_topic confirmation-emails
make_topic actions.dlq --config max.message.bytes=2097176 --config retention.ms=2592000000
make_topic confirmation-streams-rekeyed-actions --config max.message.bytes=2097176
make_topic confirmation-streams-supporter-status-changelog --config cleanup.policy=compact
# Only used with STREAMS_DUPLICATE_WINDOW.
make_topic confirmation-streams-letter-marks --config cleanup.policy=compact,delete --config retention.ms=604800000
# The mailer's own dead letters.
make_topic confirmation-emails.dlq
