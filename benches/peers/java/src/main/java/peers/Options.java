package peers;

import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.producer.ProducerConfig;

/** Options of a command line: `--name value` each. */
public final class Options {
    private final Map<String, String> values = new HashMap<>();

    public Options(String[] args, int from) {
        for (int i = from; i < args.length; i += 2) {
            if (!args[i].startsWith("--") || i + 1 == args.length) {
                throw new IllegalArgumentException(args[i] + ": --name value is wanted");
            }
            values.put(args[i].substring(2), args[i + 1]);
        }
    }

    public String text(String name) {
        String value = values.get(name);
        if (value == null) {
            throw new IllegalArgumentException("--" + name + " is missing");
        }
        return value;
    }

    public boolean has(String name) {
        return values.containsKey(name);
    }

    public int number(String name) {
        return Integer.parseInt(text(name));
    }

    public Path path(String name) {
        return Path.of(text(name));
    }

    /** A producer for few and large requests: what every program here uses. */
    public static void producer(Properties settings, String prefix, int lingerMs) {
        settings.put(prefix + ProducerConfig.ACKS_CONFIG, "all");
        settings.put(prefix + ProducerConfig.COMPRESSION_TYPE_CONFIG, "lz4");
        settings.put(prefix + ProducerConfig.LINGER_MS_CONFIG, Integer.toString(lingerMs));
        settings.put(prefix + ProducerConfig.BATCH_SIZE_CONFIG, Integer.toString(512 << 10));
        settings.put(prefix + ProducerConfig.BUFFER_MEMORY_CONFIG, Long.toString(128 << 20));
    }
}
