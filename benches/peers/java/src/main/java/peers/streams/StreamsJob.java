package peers.streams;

import java.io.IOException;
import java.time.Duration;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.processor.api.ProcessorSupplier;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;
import peers.Options;
import peers.Progress;
import peers.Rules;

/** The job as a topology of processors. */
public final class StreamsJob {
    private StreamsJob() {}

    public static void run(Options options) throws IOException, InterruptedException {
        Rules rules = Rules.read(options.path("rules"));
        String prefix = options.text("prefix");
        KafkaStreams streams = new KafkaStreams(topology(rules, prefix, options.has("by-code")), settings(options, prefix));
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        CountDownLatch ended = new CountDownLatch(1);
        streams.setStateListener((now, before) -> {
            System.out.println("state " + now);
            if (now == KafkaStreams.State.ERROR) {
                ended.countDown();
            }
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(30))));
        Progress.print();
        streams.start();
        ended.await();
        System.exit(1);
    }

    private static Topology topology(Rules rules, String prefix, boolean byCode) {
        ByteArrayDeserializer in = new ByteArrayDeserializer();
        ByteArraySerializer out = new ByteArraySerializer();
        Topology topology = new Topology();
        topology.addSource("events", in, in, prefix + ".events");
        if (byCode) {
            ProcessorSupplier<byte[], byte[], byte[], byte[]> desk = () -> new EventsByCode(rules);
            topology.addProcessor("desk", desk, "events");
            topology.addStateStore(store(Names.SHOPPERS), "desk");
            topology.addStateStore(store(Names.CODES), "desk");
            topology.addStateStore(CounterStore.builder(Names.COUNTS, rules), "desk");
            topology.addSink(Names.POSTINGS, prefix + ".postings", out, out, "desk");
            topology.addSink(Names.COUNTERS, prefix + ".counters", out, out, "desk");
            topology.addSink(Names.RESULTS, prefix + ".results", out, out, "desk");
            return topology;
        }
        ProcessorSupplier<byte[], byte[], byte[], byte[]> shoppers = () -> new EventsByShopper(rules);
        topology.addProcessor("shoppers", shoppers, "events");
        topology.addStateStore(store(Names.SHOPPERS), "shoppers");
        topology.addStateStore(CounterStore.builder(Names.COUNTS, rules), "shoppers");
        topology.addSink(Names.SCANS, prefix + ".scans", out, out, "shoppers");
        topology.addSink(Names.POSTINGS, prefix + ".postings", out, out, "shoppers");
        topology.addSink(Names.COUNTERS, prefix + ".counters", out, out, "shoppers");
        topology.addSource("scans-by-code", in, in, prefix + ".scans");
        ProcessorSupplier<byte[], byte[], byte[], byte[]> codes = () -> new ScansByCode(rules);
        topology.addProcessor("codes", codes, "scans-by-code");
        topology.addStateStore(store(Names.CODES), "codes");
        topology.addStateStore(CounterStore.builder(Names.CODE_COUNTS, rules), "codes");
        topology.addSink(Names.CODE_COUNTERS, prefix + ".counters", out, out, "codes");
        topology.addSink(Names.RESULTS, prefix + ".results", out, out, "codes");
        return topology;
    }

    /** No record cache: it would keep every state twice, and hardly any key comes twice between two commits. */
    private static StoreBuilder<KeyValueStore<Bytes, byte[]>> store(String name) {
        return Stores.keyValueStoreBuilder(HashStore.supplier(name), Serdes.Bytes(), Serdes.ByteArray()).withCachingDisabled();
    }

    private static Properties settings(Options options, String prefix) {
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, prefix + ".job");
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, options.text("kafka"));
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, options.text("guarantee"));
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, options.text("commit-ms"));
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, options.text("threads"));
        settings.put(StreamsConfig.STATE_DIR_CONFIG, options.text("dir"));
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, "0");
        settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, "1");
        settings.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, "10000");
        // Segments of a size that the broker's cleaner need not touch within minutes.
        settings.put(StreamsConfig.topicPrefix("segment.bytes"), Integer.toString(1 << 30));
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), "10000");
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG), Integer.toString(4 << 20));
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.FETCH_MIN_BYTES_CONFIG), options.text("fetch-bytes"));
        Options.producer(settings, StreamsConfig.PRODUCER_PREFIX, options.number("linger-ms"));
        return settings;
    }
}
