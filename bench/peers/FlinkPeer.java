import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple3;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.lineage.DefaultKafkaDatasetFacet;
import org.apache.flink.connector.kafka.lineage.DefaultKafkaDatasetIdentifier;
import org.apache.flink.connector.kafka.lineage.KafkaDatasetFacet;
import org.apache.flink.connector.kafka.lineage.KafkaDatasetFacetProvider;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.sink.TransactionNamingStrategy;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.core.execution.SavepointFormatType;
import org.apache.flink.streaming.api.datastream.AsyncDataStream;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.datastream.DataStreamUtils;
import org.apache.flink.streaming.api.datastream.SingleOutputStreamOperator;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.streaming.api.functions.async.ResultFuture;
import org.apache.flink.streaming.api.functions.async.RichAsyncFunction;
import org.apache.flink.util.Collector;
import org.apache.flink.util.OutputTag;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;
import sun.misc.Signal;

/**
 * The same job in Flink: exactly once, keyed state for the statuses, async I/O for those that are missing.
 *
 * All of it is one chain in one task: a record is not serialized between the source and the producer.
 */
public final class FlinkPeer {
    private static final String GROUP = System.getenv("BENCH_GROUP");
    private static final String SERVERS = System.getenv("BENCH_SERVERS");
    private static final String FOLDER = "file://" + System.getenv("BENCH_FOLDER");

    /** Topic, key, value. */
    private static final TypeInformation<Tuple3<String, byte[], byte[]>> RECORD = Types.TUPLE(
        Types.STRING, Types.PRIMITIVE_ARRAY(Types.BYTE), Types.PRIMITIVE_ARRAY(Types.BYTE));
    private static final OutputTag<Tuple3<String, byte[], byte[]>> MISSING = new OutputTag<>("missing", RECORD);

    public static void main(String[] arguments) throws Exception {
        StreamExecutionEnvironment flink = StreamExecutionEnvironment.createLocalEnvironment(
            1,
            Configuration.fromMap(Map.of(
                "pipeline.object-reuse", "true",
                "pipeline.auto-watermark-interval", "0 ms",
                "execution.checkpointing.interval", "100 ms",
                "execution.checkpointing.storage", "jobmanager",
                "state.backend.type", "hashmap",
                "restart-strategy.type", "disable")));
        KafkaSource<Tuple3<String, byte[], byte[]>> source = KafkaSource.<Tuple3<String, byte[], byte[]>>builder()
            .setBootstrapServers(SERVERS)
            .setGroupId(GROUP)
            .setTopics(System.getenv("BENCH_STATUSES"), System.getenv("BENCH_ACTIONS"))
            .setStartingOffsets(OffsetsInitializer.earliest())
            .setDeserializer(new Reading())
            .setProperty("isolation.level", "read_committed")
            .setProperty("max.poll.records", "2000")
            .build();
        DataStream<Tuple3<String, byte[], byte[]>> records =
            flink.fromSource(source, WatermarkStrategy.noWatermarks(), "records", RECORD);
        // One task has all keys: there is no need to send them through a network buffer.
        SingleOutputStreamOperator<Tuple3<String, byte[], byte[]>> known = DataStreamUtils
            .reinterpretAsKeyedStream(records, record -> new String(record.f1, StandardCharsets.UTF_8), Types.STRING)
            .process(new Join())
            .returns(RECORD);
        known.sinkTo(emails("known"));
        int atOnce = Integer.parseInt(System.getenv("BENCH_LOOKUPS"));
        // The client ends a request at its deadline, and closes its connection: Flink needs no timer besides.
        AsyncDataStream.unorderedWait(known.getSideOutput(MISSING), new Lookup(), 0, TimeUnit.MILLISECONDS, atOnce)
            .returns(RECORD)
            .sinkTo(emails("asked"));

        CountDownLatch ends = new CountDownLatch(1);
        Signal.handle(new Signal("TERM"), signal -> ends.countDown());
        JobClient job = flink.executeAsync("confirmations");
        job.getJobExecutionResult().whenComplete((result, error) -> {
            if (error != null) {
                error.printStackTrace();
                Runtime.getRuntime().halt(1);
            }
        });
        ends.await();
        // What is checkpointed is committed before it ends.
        job.stopWithSavepoint(false, FOLDER, SavepointFormatType.CANONICAL).get(10, TimeUnit.SECONDS);
        Runtime.getRuntime().halt(0);
    }

    private static KafkaSink<Tuple3<String, byte[], byte[]>> emails(String which) {
        return KafkaSink.<Tuple3<String, byte[], byte[]>>builder()
            .setBootstrapServers(SERVERS)
            .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
            .setTransactionalIdPrefix(GROUP + "-" + which)
            .setTransactionNamingStrategy(TransactionNamingStrategy.POOLING)
            .setRecordSerializer(new Writing())
            // Its default is an hour, which is more than brokers allow.
            .setProperty("transaction.timeout.ms", "60000")
            .setProperty("batch.size", "524288")
            .setProperty("linger.ms", "5")
            .build();
    }

    private static final class Reading implements KafkaRecordDeserializationSchema<Tuple3<String, byte[], byte[]>> {
        @Override
        public void deserialize(
            ConsumerRecord<byte[], byte[]> record, Collector<Tuple3<String, byte[], byte[]>> out) {
            out.collect(Tuple3.of(record.topic(), record.key(), record.value()));
        }

        @Override
        public TypeInformation<Tuple3<String, byte[], byte[]>> getProducedType() {
            return RECORD;
        }
    }

    /** Pooled names of transactions need to know the topics. */
    private static final class Writing
        implements KafkaRecordSerializationSchema<Tuple3<String, byte[], byte[]>>, KafkaDatasetFacetProvider {
        private final String topic = System.getenv("BENCH_EMAILS");

        @Override
        public ProducerRecord<byte[], byte[]> serialize(
            Tuple3<String, byte[], byte[]> record, KafkaSinkContext context, Long timestamp) {
            return new ProducerRecord<>(topic, record.f1, record.f2);
        }

        @Override
        public Optional<KafkaDatasetFacet> getKafkaDatasetFacet() {
            return Optional.of(
                new DefaultKafkaDatasetFacet(DefaultKafkaDatasetIdentifier.ofTopics(List.of(topic))));
        }
    }

    private static final class Join
        extends KeyedProcessFunction<String, Tuple3<String, byte[], byte[]>, Tuple3<String, byte[], byte[]>> {
        private final String statuses = System.getenv("BENCH_STATUSES");
        private transient ValueState<Boolean> subscribed;

        @Override
        public void open(OpenContext context) {
            subscribed = getRuntimeContext().getState(new ValueStateDescriptor<>("subscribed", Types.BOOLEAN));
        }

        @Override
        public void processElement(
            Tuple3<String, byte[], byte[]> record, Context context, Collector<Tuple3<String, byte[], byte[]>> out)
            throws IOException {
            if (statuses.equals(record.f0)) {
                subscribed.update(Job.subscribed(record.f2));
                return;
            }
            Boolean known = subscribed.value();
            if (known == null) {
                context.output(MISSING, record);
            } else {
                record.f2 = Job.splice(record.f2, known);
                out.collect(record);
            }
        }
    }

    /** Asks the lookup service of the action's organisation; whatever fails gives two buttons. */
    private static final class Lookup
        extends RichAsyncFunction<Tuple3<String, byte[], byte[]>, Tuple3<String, byte[], byte[]>> {
        /** By organisation; that of all others under "". */
        private final Map<String, String> urls = new HashMap<>();
        private transient HttpClient client;
        private transient Map<String, HttpRequest.Builder> requests;

        Lookup() {
            for (String one : System.getenv("BENCH_LOOKUP_URLS").split(",")) {
                String[] parts = one.split("=", 2);
                urls.put(parts[0], parts[1]);
            }
        }

        @Override
        public void open(OpenContext context) {
            // On its selector's own thread: handing each answer to a pool takes two fifths more CPU time.
            client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).executor(Runnable::run).build();
            Duration deadline = Duration.ofMillis(Long.parseLong(System.getenv("BENCH_LOOKUP_MILLISECONDS")));
            requests = new HashMap<>();
            urls.forEach((organisation, url) -> requests.put(
                organisation,
                HttpRequest.newBuilder(URI.create(url)).timeout(deadline).header("Content-Type", "application/json")));
        }

        @Override
        public void asyncInvoke(
            Tuple3<String, byte[], byte[]> record, ResultFuture<Tuple3<String, byte[], byte[]>> result)
            throws IOException {
            Job.Contact contact = Job.contact(record.f2);
            byte[] question = Job.MAPPER.writeValueAsBytes(
                Map.of("email", contact.email(), "contactRef", contact.reference()));
            String key = new String(record.f1, StandardCharsets.UTF_8);
            HttpRequest.Builder request =
                requests.getOrDefault(key.substring(0, key.indexOf(':')), requests.get(""));
            client
                .sendAsync(
                    request.POST(HttpRequest.BodyPublishers.ofByteArray(question)).build(),
                    HttpResponse.BodyHandlers.ofByteArray())
                .handle((answer, error) -> error == null && subscribed(answer))
                .thenAccept(yes -> result.complete(
                    List.of(Tuple3.of(record.f0, record.f1, Job.email(record.f2, yes)))));
        }

        private static boolean subscribed(HttpResponse<byte[]> answer) {
            try {
                JsonNode action = Job.MAPPER.readTree(answer.body()).path("action");
                return answer.statusCode() == 200 && action.path("privacy").path("optIn").asBoolean();
            } catch (IOException error) {
                return false;
            }
        }
    }
}
