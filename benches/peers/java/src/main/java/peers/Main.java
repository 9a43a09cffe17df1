package peers;

import peers.feed.Feed;
import peers.flink.FlinkJob;
import peers.streams.StreamsJob;

/** Every program of the comparison: the first word says which. */
public final class Main {
    private Main() {}

    public static void main(String[] args) throws Exception {
        Options options = new Options(args, 1);
        switch (args[0]) {
            case "streams" -> StreamsJob.run(options);
            case "flink" -> FlinkJob.run(options);
            default -> Feed.run(args[0], options);
        }
    }
}
