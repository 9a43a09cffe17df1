package peers.feed;

import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import peers.Options;

/** Makes the topics of a job, or deletes them with those that Streams has made. */
final class Topics {
    private Topics() {}

    static void run(Options options) throws Exception {
        String prefix = options.text("prefix");
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", options.text("kafka")))) {
            if (options.has("delete")) {
                Set<String> names = admin.listTopics().names().get();
                admin.deleteTopics(names.stream().filter(name -> name.startsWith(prefix + ".")).toList()).all().get();
                return;
            }
            int partitions = options.number("partitions");
            admin.createTopics(List.of(
                topic(prefix, "events", partitions), topic(prefix, "scans", partitions), topic(prefix, "results", partitions),
                topic(prefix, "postings", 1), topic(prefix, "counters", 1))).all().get();
        }
    }

    private static NewTopic topic(String prefix, String name, int partitions) {
        return new NewTopic(prefix + "." + name, partitions, (short) 1)
            .configs(Map.of("message.timestamp.type", "LogAppendTime"));
    }
}
