import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.ValueJoiner;
import org.apache.kafka.streams.state.Stores;

/** The same job in Kafka Streams: exactly_once_v2, a KTable joined to the stream. */
public final class KafkaStreamsPeer {
    public static void main(String[] arguments) {
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, System.getenv("BENCH_GROUP"));
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, System.getenv("BENCH_SERVERS"));
        settings.put(StreamsConfig.STATE_DIR_CONFIG, System.getenv("BENCH_FOLDER"));
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, System.getenv("BENCH_THREADS"));
        int session = Integer.parseInt(System.getenv("BENCH_SESSION_SECONDS")) * 1000;
        settings.put(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG, session);
        settings.put(ConsumerConfig.HEARTBEAT_INTERVAL_MS_CONFIG, Math.min(3000, session / 3));
        // Statuses come from their own topic, which is compacted: no second copy as a changelog.
        settings.put(StreamsConfig.TOPOLOGY_OPTIMIZATION_CONFIG, StreamsConfig.OPTIMIZE);
        settings.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        settings.put(ConsumerConfig.MAX_POLL_RECORDS_CONFIG, 2000);
        settings.put(ProducerConfig.BATCH_SIZE_CONFIG, 524288);
        settings.put(ProducerConfig.LINGER_MS_CONFIG, 5);

        ValueJoiner<byte[], byte[], byte[]> write =
            joiner("splice".equals(System.getenv("BENCH_TRICK")) ? Job::splice : Job::parse);
        StreamsBuilder builder = new StreamsBuilder();
        KTable<String, byte[]> statuses = builder.table(
            System.getenv("BENCH_STATUSES"),
            Consumed.with(Serdes.String(), Serdes.ByteArray()),
            Materialized.as(Stores.inMemoryKeyValueStore("statuses")));
        builder.stream(System.getenv("BENCH_ACTIONS"), Consumed.with(Serdes.String(), Serdes.ByteArray()))
            .leftJoin(statuses, write)
            .to(System.getenv("BENCH_EMAILS"), Produced.with(Serdes.String(), Serdes.ByteArray()));

        KafkaStreams streams = new KafkaStreams(builder.build(settings), settings);
        // By default a member that stops stays in the group until its session has ended.
        CloseOptions leaving =
            CloseOptions.groupMembershipOperation(CloseOptions.GroupMembershipOperation.LEAVE_GROUP);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(leaving)));
        streams.start();
    }

    private interface Write {
        byte[] email(byte[] action, boolean subscribed) throws IOException;
    }

    private static ValueJoiner<byte[], byte[], byte[]> joiner(Write write) {
        return (action, status) -> {
            try {
                return write.email(action, Job.subscribed(status));
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        };
    }
}
