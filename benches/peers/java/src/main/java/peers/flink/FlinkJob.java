package peers.flink;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Properties;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.datastream.SingleOutputStreamOperator;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;
import peers.Event;
import peers.EventReader;
import peers.Messages;
import peers.Options;
import peers.Progress;
import peers.Rules;

/** The job in Flink: one process, a cluster in miniature, state on the heap, checkpoints in a local directory. */
public final class FlinkJob {
    static final TypeInformation<byte[]> BYTES = PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO;

    private FlinkJob() {}

    public static void run(Options options) throws Exception {
        Rules rules = Rules.read(options.path("rules"));
        String prefix = options.text("prefix");
        StreamExecutionEnvironment env =
            StreamExecutionEnvironment.createLocalEnvironment(options.number("threads"), settings(options));
        KafkaSource<byte[]> source = KafkaSource.<byte[]>builder()
            .setBootstrapServers(options.text("kafka"))
            .setTopics(prefix + ".events")
            .setGroupId(prefix + ".job")
            .setStartingOffsets(OffsetsInitializer.earliest())
            .setDeserializer(new Events(rules))
            .setProperty("max.poll.records", "10000")
            .setProperty("max.partition.fetch.bytes", Integer.toString(4 << 20))
            .setProperty("fetch.min.bytes", options.text("fetch-bytes"))
            .build();
        SingleOutputStreamOperator<byte[]> scans = env.fromSource(source, WatermarkStrategy.noWatermarks(), "events", BYTES)
            .keyBy(event -> new String(event, 1, event[0], StandardCharsets.ISO_8859_1), Types.STRING)
            .process(new EventsByShopper(rules), BYTES);
        SingleOutputStreamOperator<Output> results = scans
            .keyBy(scan -> ByteBuffer.wrap(scan).getLong(), Types.LONG)
            .process(new ScansByCode(rules), Types.GENERIC(Output.class));
        sink(scans.getSideOutput(EventsByShopper.OUTPUTS), options, prefix, "shoppers");
        sink(results, options, prefix, "codes");
        Progress.print();
        System.out.println("state RUNNING");
        env.execute("peers");
    }

    private static Configuration settings(Options options) {
        Configuration settings = new Configuration();
        settings.setString("execution.checkpointing.interval", options.text("commit-ms") + "ms");
        settings.setString("execution.checkpointing.mode", "EXACTLY_ONCE");
        settings.setString("execution.checkpointing.dir", options.path("dir").toUri() + "checkpoints");
        settings.setString("execution.checkpointing.storage", "filesystem");
        settings.setString("state.backend.type", "hashmap");
        settings.setString("pipeline.object-reuse", "true");
        settings.setString("execution.buffer-timeout.interval", options.text("linger-ms") + "ms");
        settings.setString("taskmanager.numberOfTaskSlots", options.text("threads"));
        settings.setString("taskmanager.memory.network.min", "128mb");
        settings.setString("taskmanager.memory.network.max", "128mb");
        settings.setString("taskmanager.memory.managed.size", "8mb");
        settings.setString("io.tmp.dirs", options.text("dir"));
        return settings;
    }

    private static void sink(DataStream<Output> outputs, Options options, String prefix, String name) {
        Properties producer = new Properties();
        Options.producer(producer, "", options.number("linger-ms"));
        producer.put("transaction.timeout.ms", "600000");
        boolean exactly = options.text("guarantee").equals("exactly-once");
        outputs.sinkTo(KafkaSink.<Output>builder()
            .setBootstrapServers(options.text("kafka"))
            .setKafkaProducerConfig(producer)
            .setDeliveryGuarantee(exactly ? DeliveryGuarantee.EXACTLY_ONCE : DeliveryGuarantee.AT_LEAST_ONCE)
            .setTransactionalIdPrefix(prefix + "." + name)
            .setRecordSerializer(new Records(prefix))
            .build());
    }

    /** One record of an output topic. */
    public static final class Output {
        public String topic;
        public byte[] key;
        public byte[] value;

        public Output() {}

        Output(String topic, byte[] key, byte[] value) {
            this.topic = topic;
            this.key = key;
            this.value = value;
        }

        static Output counter(String key, long delta) {
            return new Output("counters", Messages.text(key), Messages.number(delta));
        }
    }

    /** Reads events where the source emits them, so that the shuffle moves their compact form. */
    private static final class Events implements KafkaRecordDeserializationSchema<byte[]> {
        private static final long serialVersionUID = 1;

        private final Rules rules;
        private transient EventReader reader;
        private transient Event event;

        Events(Rules rules) {
            this.rules = rules;
        }

        @Override
        public void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<byte[]> out) throws IOException {
            if (reader == null) {
                reader = new EventReader(rules);
                event = new Event();
            }
            if (reader.read(record.value(), record.timestamp(), event)) {
                out.collect(event.encode());
            }
        }

        @Override
        public TypeInformation<byte[]> getProducedType() {
            return BYTES;
        }
    }

    private static final class Records implements KafkaRecordSerializationSchema<Output> {
        private static final long serialVersionUID = 1;

        private final String prefix;

        Records(String prefix) {
            this.prefix = prefix + ".";
        }

        @Override
        public ProducerRecord<byte[], byte[]> serialize(Output output, KafkaSinkContext context, Long time) {
            return new ProducerRecord<>(prefix + output.topic, output.key, output.value);
        }
    }
}
