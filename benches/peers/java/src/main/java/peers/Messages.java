package peers;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;

/** The records that the job writes beside its states: compact, in the order of the fields that the methods name. */
public final class Messages {
    public static final byte THANKS = 1;
    public static final byte PRIZE = 2;
    public static final byte CLAIMED = 3;
    public static final byte AGAIN = 4;

    private Messages() {}

    public static byte[] number(long value) {
        return ByteBuffer.allocate(8).putLong(0, value).array();
    }

    public static long number(byte[] value) {
        return ByteBuffer.wrap(value).getLong();
    }

    public static byte[] text(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** A scan on its way to the code's owner: code, again, time, received, shopper, id. */
    public static byte[] scan(Event event, boolean again) {
        ByteBuffer out = ByteBuffer.allocate(8 + 1 + 8 + 8 + 2 + event.shopper.length + event.id.length);
        out.putLong(event.code).put((byte) (again ? 1 : 0)).putLong(event.time).putLong(event.received);
        out.put((byte) event.shopper.length).put(event.shopper).put((byte) event.id.length).put(event.id);
        return out.array();
    }

    /** Reads a scan into `event`; returns whether it is `again`. */
    public static boolean readScan(byte[] value, Event event) {
        ByteBuffer in = ByteBuffer.wrap(value);
        event.code = in.getLong();
        boolean again = in.get() == 1;
        event.time = in.getLong();
        event.received = in.getLong();
        event.shopper = new byte[in.get()];
        in.get(event.shopper);
        event.id = new byte[in.get()];
        in.get(event.id);
        return again;
    }

    /** What became of a scan: result, prize (-1 for none), number of scans of this code so far, id. */
    public static byte[] result(byte result, int prize, int scans, byte[] id) {
        return ByteBuffer.allocate(6 + id.length).put(result).put((byte) prize).putInt(scans).put(id).array();
    }

    /** Commission of an order: guide, amount, time of the approval, length of the order's number, it, id of the cause. */
    public static byte[] posting(Event event, int guide, long amount) {
        ByteBuffer out = ByteBuffer.allocate(2 + 8 + 8 + 1 + event.order.length + event.id.length);
        out.putShort((short) guide).putLong(amount).putLong(Math.max(event.received, event.time));
        return out.put((byte) event.order.length).put(event.order).put(event.id).array();
    }
}
