import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
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
    private static final ObjectMapper MAPPER = new ObjectMapper();
    private static final JsonFactory FACTORY = new JsonFactory();
    private static final byte[] ONE = "{\"variant\":\"one_button\",".getBytes(StandardCharsets.US_ASCII);
    private static final byte[] TWO = "{\"variant\":\"two_button\",".getBytes(StandardCharsets.US_ASCII);

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
            "splice".equals(System.getenv("BENCH_TRICK")) ? KafkaStreamsPeer::splice : KafkaStreamsPeer::parse;
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

    private static boolean subscribed(byte[] status) throws IOException {
        return status != null && MAPPER.readTree(status).get("subscribed").asBoolean();
    }

    /** As one writes it first: everything becomes objects, and text again. */
    private static byte[] parse(byte[] action, byte[] status) {
        try {
            ObjectNode node = (ObjectNode) MAPPER.readTree(action);
            node.put("variant", subscribed(status) ? "one_button" : "two_button");
            return MAPPER.writeValueAsBytes(node);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    /** As this app does it: read over everything but what decides, and put the variant before the rest. */
    private static byte[] splice(byte[] action, byte[] status) {
        try (JsonParser parser = FACTORY.createParser(action)) {
            boolean asks = false;
            boolean known = false;
            parser.nextToken();
            while (parser.nextToken() == JsonToken.FIELD_NAME) {
                String name = parser.currentName();
                parser.nextToken();
                switch (name) {
                    case "stage" -> asks = "supporter_confirm".equals(parser.getText());
                    case "contact" -> known = reference(parser) != null;
                    default -> parser.skipChildren();
                }
            }
            if (!asks || !known) {
                throw new IOException("no action that asks for a confirmation");
            }
            byte[] head = subscribed(status) ? ONE : TWO;
            byte[] email = new byte[head.length + action.length - 1];
            System.arraycopy(head, 0, email, 0, head.length);
            System.arraycopy(action, 1, email, head.length, action.length - 1);
            return email;
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    private static String reference(JsonParser parser) throws IOException {
        String found = null;
        while (parser.nextToken() == JsonToken.FIELD_NAME) {
            String name = parser.currentName();
            parser.nextToken();
            if ("contactRef".equals(name) || "ref".equals(name)) {
                found = parser.getText();
            } else {
                parser.skipChildren();
            }
        }
        return found;
    }
}
