package peers.feed;

import peers.Options;

/** What stands around a job: its events, its topics, its output. */
public final class Feed {
    private Feed() {}

    public static void run(String what, Options options) throws Exception {
        switch (what) {
            case "generate" -> Generate.run(options);
            case "topics" -> Topics.run(options);
            case "to-kafka" -> ToKafka.run(options);
            case "to-edge" -> ToEdge.run(options);
            case "output" -> Output.run(options);
            default -> throw new IllegalArgumentException(what + ": no such program");
        }
    }
}
