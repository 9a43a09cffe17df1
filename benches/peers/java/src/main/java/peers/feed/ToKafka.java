package peers.feed;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import peers.Options;

/** Sends events to a topic, a record each, at a rate or as fast as they go; at a rate it also reads the results. */
final class ToKafka {
    private ToKafka() {}

    static void run(Options options) throws Exception {
        String prefix = options.text("prefix");
        boolean byCode = options.has("by-code");
        int rate = options.number("rate");
        Pace pace = new Pace(rate, options.number("skip"), rate == 0 ? 0 : options.number("to"));
        Properties settings = new Properties();
        settings.put("bootstrap.servers", options.text("kafka"));
        Options.producer(settings, "", options.number("linger-ms"));
        Results results = rate == 0 ? null : new Results(options, prefix, pace);
        ByteArraySerializer bytes = new ByteArraySerializer();
        try (Lines lines = new Lines(options.path("file")); var producer = new KafkaProducer<>(settings, bytes, bytes)) {
            producer.partitionsFor(prefix + ".events");
            pace.begin();
            int from = options.number("from");
            int to = options.number("to");
            for (int passed = 0; passed < from; passed++) {
                lines.next();
            }
            int count = from;
            for (byte[] line = lines.next(); line != null && count < to; line = lines.next()) {
                if (rate > 0 && count % Generate.BATCH == 0) {
                    pace.await(count);
                }
                if (count == options.number("skip")) {
                    System.out.println("measured");
                }
                String code = byCode ? Lines.field(line, "code") : null;
                String key = code == null || code.startsWith("GUIDE-") ? Lines.field(line, "shopper") : code;
                producer.send(new ProducerRecord<>(prefix + ".events", key.getBytes(StandardCharsets.ISO_8859_1), line),
                    (metadata, error) -> {
                        if (error != null) {
                            error.printStackTrace();
                            System.exit(1);
                        }
                    });
                count++;
            }
            producer.flush();
            System.out.println("sent " + (count - from));
        }
        if (results != null) {
            results.finish();
            System.out.println(pace.report());
        }
    }

    /** Reads the results as a consumer of the job's output would: of committed transactions alone where the job has them. */
    private static final class Results {
        private final Thread thread;
        private volatile boolean ended;

        Results(Options options, String prefix, Pace pace) {
            Properties settings = new Properties();
            settings.put("bootstrap.servers", options.text("kafka"));
            settings.put("isolation.level", options.text("isolation"));
            settings.put("auto.offset.reset", "earliest");
            settings.put("fetch.max.wait.ms", "20");
            ByteArrayDeserializer bytes = new ByteArrayDeserializer();
            KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings, bytes, bytes);
            List<TopicPartition> partitions = consumer.partitionsFor(prefix + ".results").stream()
                .map(info -> new TopicPartition(info.topic(), info.partition())).toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            thread = new Thread(() -> {
                while (!ended) {
                    var records = consumer.poll(Duration.ofMillis(50));
                    long now = System.nanoTime();
                    records.forEach(record -> pace.readable(
                        Lines.number(new String(record.value(), 6, record.value().length - 6, StandardCharsets.ISO_8859_1)), now));
                }
                consumer.close();
            });
            thread.start();
        }

        void finish() throws InterruptedException {
            Thread.sleep(5000);
            ended = true;
            thread.join();
        }
    }
}
