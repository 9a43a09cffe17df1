package peers.feed;

import java.util.Arrays;
import java.util.concurrent.locks.LockSupport;

/** When each batch of events is due, and how long results took since then. */
final class Pace {
    private final double rate;
    private final int skipped;
    private final int[] micros;
    private int count;
    private long begun;

    /** Results of the first `skipped` events are not measured. A rate of 0: everything is due now. */
    Pace(double rate, int skipped, int events) {
        this.rate = rate;
        this.skipped = skipped;
        this.micros = new int[events];
    }

    void begin() {
        begun = System.nanoTime();
    }

    /** Waits until the batch of an event is due. */
    void await(int event) {
        long due = due(event);
        for (long left = due - System.nanoTime(); left > 0; left = due - System.nanoTime()) {
            LockSupport.parkNanos(left);
        }
    }

    private long due(int event) {
        return rate == 0 ? begun : begun + (long) (event / Generate.BATCH * Generate.BATCH / rate * 1e9);
    }

    synchronized void readable(int event, long at) {
        if (event >= skipped && count < micros.length) {
            micros[count++] = (int) Math.min(Integer.MAX_VALUE, (at - due(event)) / 1000);
        }
    }

    /** The number of results, and percentiles in milliseconds. */
    synchronized String report() {
        int[] sorted = Arrays.copyOf(micros, count);
        Arrays.sort(sorted);
        if (count == 0) {
            return "latency 0 0 0";
        }
        return "latency " + count + " " + sorted[count / 2] / 1e3 + " " + sorted[(int) (count * 0.99)] / 1e3;
    }
}
