package peers;

import java.util.concurrent.atomic.LongAdder;

/** How far the job is, as lines on standard output, from which peers.py knows when to read processor times. */
public final class Progress {
    public static final LongAdder EVENTS = new LongAdder();
    public static final LongAdder SENT_BY_CODE = new LongAdder();
    public static final LongAdder READ_BY_CODE = new LongAdder();
    private static final long INTERVAL_MS = 100;

    private Progress() {}

    public static void print() {
        Thread thread = new Thread(() -> {
            try {
                for (;;) {
                    System.out.println("progress " + EVENTS.sum() + " " + (SENT_BY_CODE.sum() - READ_BY_CODE.sum()));
                    Thread.sleep(INTERVAL_MS);
                }
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }, "progress");
        thread.setDaemon(true);
        thread.start();
    }
}
