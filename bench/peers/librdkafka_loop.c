/* The true limit: librdkafka in C with the same transactions, one for each fetched chunk of each partition.
 *
 * It decides nothing: every action gets one letter, and nothing is decoded or looked up. A thread and a
 * producer for each partition; what comes next is fetched while a transaction runs. What is used of librdkafka
 * is declared here: its package for Python brings the library, and no header.
 *
 * A broker refuses a transaction's first request while it still ends the one before (CONCURRENT_TRANSACTIONS).
 * librdkafka then waits for retry.backoff.ms, 100 by default, if that request is about offsets, and 20 ms, which
 * nothing can change, if it is about a partition. So the offsets go first here, with a short wait.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

typedef struct rd_kafka_s rd_kafka_t;
typedef struct rd_kafka_conf_s rd_kafka_conf_t;
typedef struct rd_kafka_topic_s rd_kafka_topic_t;
typedef struct rd_kafka_error_s rd_kafka_error_t;
typedef struct rd_kafka_group_s rd_kafka_group_t;

typedef struct {
    int err;
    rd_kafka_topic_t *topic;
    int32_t partition;
    void *payload;
    size_t len;
    void *key;
    size_t key_len;
    int64_t offset;
    void *private;
} rd_kafka_message_t;

typedef struct {
    char *topic;
    int32_t partition;
    int64_t offset;
    void *metadata;
    size_t metadata_size;
    void *opaque;
    int err;
    void *private;
} rd_kafka_place_t;

typedef struct {
    int count;
    int size;
    rd_kafka_place_t *places;
} rd_kafka_places_t;

enum { PRODUCER = 0, CONSUMER = 1, BEGINNING = -2, FREE_PAYLOAD = 1 };

rd_kafka_conf_t *rd_kafka_conf_new(void);
int rd_kafka_conf_set(rd_kafka_conf_t *, const char *, const char *, char *, size_t);
rd_kafka_t *rd_kafka_new(int, rd_kafka_conf_t *, char *, size_t);
rd_kafka_topic_t *rd_kafka_topic_new(rd_kafka_t *, const char *, void *);
int rd_kafka_consume_start(rd_kafka_topic_t *, int32_t, int64_t);
ssize_t rd_kafka_consume_batch(rd_kafka_topic_t *, int32_t, int, rd_kafka_message_t **, size_t);
void rd_kafka_message_destroy(rd_kafka_message_t *);
int rd_kafka_produce(rd_kafka_topic_t *, int32_t, int, void *, size_t, const void *, size_t, void *);
rd_kafka_error_t *rd_kafka_init_transactions(rd_kafka_t *, int);
rd_kafka_error_t *rd_kafka_begin_transaction(rd_kafka_t *);
rd_kafka_error_t *rd_kafka_commit_transaction(rd_kafka_t *, int);
rd_kafka_error_t *rd_kafka_send_offsets_to_transaction(
    rd_kafka_t *, const rd_kafka_places_t *, const rd_kafka_group_t *, int);
const char *rd_kafka_error_string(const rd_kafka_error_t *);
rd_kafka_group_t *rd_kafka_consumer_group_metadata_new(const char *);
rd_kafka_places_t *rd_kafka_topic_partition_list_new(int);
rd_kafka_place_t *rd_kafka_topic_partition_list_add(rd_kafka_places_t *, const char *, int32_t);

enum { CHUNK = 2500, WITHIN_MS = 30000, WAIT_MS = 200 };
static const char HEAD[] = "{\"variant\":\"one_button\",";
static char METADATA[65]; /* as long as this app's usually is */
static rd_kafka_topic_t *actions;

static const char *given(const char *name) {
    const char *value = getenv(name);
    if (value == NULL) {
        fprintf(stderr, "%s is not set\n", name);
        exit(2);
    }
    return value;
}

static void must(rd_kafka_error_t *error, const char *what) {
    if (error != NULL) {
        fprintf(stderr, "%s: %s\n", what, rd_kafka_error_string(error));
        exit(1);
    }
}

/* Options in pairs of name and value, NULL behind the last. */
static rd_kafka_t *connected(int type, const char *const *options) {
    char why[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    int wrong = rd_kafka_conf_set(conf, "bootstrap.servers", given("BENCH_SERVERS"), why, sizeof why);
    for (; !wrong && *options; options += 2) {
        wrong = rd_kafka_conf_set(conf, options[0], options[1], why, sizeof why);
    }
    rd_kafka_t *client = wrong ? NULL : rd_kafka_new(type, conf, why, sizeof why);
    if (client == NULL) {
        fprintf(stderr, "%s\n", why);
        exit(1);
    }
    return client;
}

static void write_one(rd_kafka_topic_t *emails, const rd_kafka_message_t *action) {
    size_t head = sizeof HEAD - 1, length = head + action->len - 1;
    char *email = malloc(length);
    if (email == NULL) {
        exit(1);
    }
    memcpy(email, HEAD, head);
    memcpy(email + head, (const char *)action->payload + 1, action->len - 1);
    if (rd_kafka_produce(emails, action->partition, FREE_PAYLOAD, email, length, action->key,
                         action->key_len, NULL) != 0) {
        fprintf(stderr, "an email was not taken\n");
        exit(1);
    }
}

static void *drain(void *argument) {
    int32_t partition = (int32_t)(intptr_t)argument;
    char id[300];
    snprintf(id, sizeof id, "%s-%d", given("BENCH_GROUP"), partition);
    /* A commit ends the linger. With a shorter back-off librdkafka's threads ask again and again. */
    const char *const options[] = {
        "transactional.id", id, "linger.ms", "50", "batch.size", "900000", "retry.backoff.ms", "5", NULL};
    rd_kafka_t *producer = connected(PRODUCER, options);
    rd_kafka_topic_t *emails = rd_kafka_topic_new(producer, given("BENCH_EMAILS"), NULL);
    rd_kafka_group_t *group = rd_kafka_consumer_group_metadata_new(given("BENCH_GROUP"));
    rd_kafka_places_t *offsets = rd_kafka_topic_partition_list_new(1);
    rd_kafka_place_t *offset = rd_kafka_topic_partition_list_add(offsets, given("BENCH_ACTIONS"), partition);
    offset->metadata = METADATA;
    offset->metadata_size = sizeof METADATA - 1;
    must(rd_kafka_init_transactions(producer, WITHIN_MS), "init_transactions");
    rd_kafka_message_t *chunk[CHUNK];
    for (;;) {
        /* The first is waited for; then what is there, since a batch is waited for until it is full. */
        ssize_t count = rd_kafka_consume_batch(actions, partition, WAIT_MS, chunk, 1);
        if (count == 1) {
            ssize_t more = rd_kafka_consume_batch(actions, partition, 0, chunk + 1, CHUNK - 1);
            count += more > 0 ? more : 0;
        }
        int64_t next = -1;
        for (ssize_t number = 0; number < count; number++) {
            next = chunk[number]->err == 0 ? chunk[number]->offset + 1 : next;
        }
        if (next >= 0) {
            offset->offset = next;
            must(rd_kafka_begin_transaction(producer), "begin_transaction");
            must(rd_kafka_send_offsets_to_transaction(producer, offsets, group, WITHIN_MS), "send_offsets");
            for (ssize_t number = 0; number < count; number++) {
                if (chunk[number]->err == 0) {
                    write_one(emails, chunk[number]);
                }
            }
            must(rd_kafka_commit_transaction(producer, WITHIN_MS), "commit_transaction");
        }
        for (ssize_t number = 0; number < count; number++) {
            rd_kafka_message_destroy(chunk[number]);
        }
    }
    return NULL;
}

int main(void) {
    const char *const options[] = {
        "isolation.level", "read_committed", "enable.auto.commit", "false", "auto.offset.reset", "earliest",
        "fetch.queue.backoff.ms", "10", "fetch.message.max.bytes", "4194304", NULL};
    memset(METADATA, 'x', sizeof METADATA - 1);
    actions = rd_kafka_topic_new(connected(CONSUMER, options), given("BENCH_ACTIONS"), NULL);
    int partitions = atoi(given("BENCH_PARTITIONS"));
    pthread_t thread;
    for (int partition = 0; partition < partitions; partition++) {
        if (rd_kafka_consume_start(actions, partition, BEGINNING) != 0 ||
            pthread_create(&thread, NULL, drain, (void *)(intptr_t)partition) != 0) {
            fprintf(stderr, "partition %d is not read\n", partition);
            return 1;
        }
    }
    pthread_join(thread, NULL);
    return 0;
}
