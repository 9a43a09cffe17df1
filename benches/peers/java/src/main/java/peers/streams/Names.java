package peers.streams;

/** Names of stores and sinks. */
final class Names {
    static final String SHOPPERS = "shopper-states";
    static final String CODES = "code-states";
    static final String COUNTS = "counts";
    static final String CODE_COUNTS = "code-counts";
    static final String SCANS = "to-scans";
    static final String POSTINGS = "to-postings";
    static final String COUNTERS = "to-counters";
    static final String CODE_COUNTERS = "code-counters";
    static final String RESULTS = "to-results";

    private Names() {}
}
