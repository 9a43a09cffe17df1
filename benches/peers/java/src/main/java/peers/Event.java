package peers;

import java.nio.ByteBuffer;

/** An event whose code is resolved. */
public final class Event {
    public static final byte SCAN = 1;
    public static final byte ORDER = 2;

    /** What the code is. */
    public static final byte NONE = 0;
    public static final byte GUIDE = 1;
    public static final byte ITEM = 2;
    public static final byte UNKNOWN = 3;
    public static final byte FORGED = 4;

    public byte action;
    public byte[] shopper;
    public byte[] id;
    public long time;
    public long received;
    public byte kind;
    /** Of a guide's code the guide, of an item code its name: batch (high 32 bits) and serial. */
    public long code;
    /** Index of the store that the event names, or -1. */
    public int store;
    public long amount;
    public byte[] order;

    private static final int FIXED = 1 + 8 + 8 + 1 + 8 + 4 + 8 + 3;

    /** The event as bytes, for the shuffle of Flink. Texts have at most 64 bytes. */
    public byte[] encode() {
        int orderLength = order == null ? 0 : order.length;
        ByteBuffer out = ByteBuffer.allocate(FIXED + shopper.length + id.length + orderLength);
        out.put((byte) shopper.length).put(shopper).put(action).putLong(time).putLong(received).put(kind).putLong(code);
        out.putInt(store).putLong(amount).put((byte) id.length).put(id).put((byte) orderLength);
        if (orderLength > 0) {
            out.put(order);
        }
        return out.array();
    }

    public static byte[] shopperOf(byte[] encoded) {
        byte[] shopper = new byte[encoded[0]];
        System.arraycopy(encoded, 1, shopper, 0, shopper.length);
        return shopper;
    }

    public void decode(byte[] encoded) {
        ByteBuffer in = ByteBuffer.wrap(encoded);
        shopper = text(in);
        action = in.get();
        time = in.getLong();
        received = in.getLong();
        kind = in.get();
        code = in.getLong();
        store = in.getInt();
        amount = in.getLong();
        id = text(in);
        order = text(in);
    }

    private static byte[] text(ByteBuffer in) {
        byte[] text = new byte[in.get()];
        in.get(text);
        return text;
    }
}
