package peers.feed;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import peers.Messages;
import peers.Options;
import peers.Rules;

/** Prints what a job's output topics hold, added up: `name value` a line, for peers.py to compare. */
final class Output {
    private final Rules rules;
    private final Map<String, Long> sums = new TreeMap<>();
    private final Set<String> ids = new HashSet<>();

    private Output(Rules rules) {
        this.rules = rules;
    }

    static void run(Options options) throws Exception {
        Output output = new Output(Rules.read(options.path("rules")));
        Properties settings = new Properties();
        settings.put("bootstrap.servers", options.text("kafka"));
        settings.put("isolation.level", options.text("isolation"));
        String prefix = options.text("prefix");
        ByteArrayDeserializer bytes = new ByteArrayDeserializer();
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings, bytes, bytes)) {
            for (String topic : List.of("counters", "results", "postings")) {
                output.read(consumer, prefix + "." + topic, topic);
            }
        }
        output.sums.forEach((name, value) -> System.out.println(name + " " + value));
    }

    private void read(KafkaConsumer<byte[], byte[]> consumer, String topic, String what) {
        List<TopicPartition> partitions = consumer.partitionsFor(topic).stream()
            .map(info -> new TopicPartition(topic, info.partition())).toList();
        consumer.assign(partitions);
        consumer.seekToBeginning(partitions);
        Map<TopicPartition, Long> ends = new HashMap<>(consumer.endOffsets(partitions));
        while (!ends.isEmpty()) {
            for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                switch (what) {
                    case "counters" -> add("counter|" + text(record.key(), 0, record.key().length), Messages.number(record.value()));
                    case "results" -> result(record.value());
                    default -> posting(record.value());
                }
            }
            ends.entrySet().removeIf(end -> consumer.position(end.getKey()) >= end.getValue());
        }
    }

    private void result(byte[] value) {
        add("scans", 1);
        add("codes", ByteBuffer.wrap(value).getInt(2) == 1 ? 1 : 0);
        if (value[0] == Messages.PRIZE) {
            add("prize|" + rules.prizes.get(value[1]), 1);
        }
        if (!ids.add(text(value, 6, value.length - 6))) {
            add("results that came twice", 1);
        }
    }

    private void posting(byte[] value) {
        ByteBuffer in = ByteBuffer.wrap(value);
        String guide = rules.guides.get(in.getShort());
        add("posted|" + guide, in.getLong());
        add("postings|" + guide, 1);
    }

    private void add(String name, long by) {
        sums.merge(name, by, Long::sum);
    }

    private static String text(byte[] bytes, int from, int length) {
        return new String(bytes, from, length, StandardCharsets.UTF_8);
    }
}
