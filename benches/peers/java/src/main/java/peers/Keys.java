package peers;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;

/** 128-bit hashes of an event's identity: (merchant, shopper, action, id). Cheaper than SHA-256, which only codes and draws need. */
public final class Keys {
    private static final VarHandle LONG = MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);
    private static final long K1 = 0x9E3779B97F4A7C15L;
    private static final long K2 = 0xD6E8FEB86659FD93L;

    private final byte[] merchant;
    private byte[] text = new byte[512];
    public long high;
    public long low;

    public Keys(String merchant) {
        this.merchant = merchant.getBytes(java.nio.charset.StandardCharsets.UTF_8);
    }

    /** Sets `high` and `low` to the hash of an event. */
    public void of(Event event) {
        int at = append(merchant, 0);
        at = append(event.shopper, at);
        text[at++] = event.action;
        text[at++] = 0x1F;
        at = append(event.id, at);
        hash(at);
    }

    /** Sets `high` and `low` to the hash of a text. */
    public void of(byte[] one) {
        hash(append(one, 0));
    }

    private int append(byte[] part, int at) {
        System.arraycopy(part, 0, text, at, part.length);
        text[at + part.length] = 0x1F;
        return at + part.length + 1;
    }

    private void hash(int length) {
        // Whole words: what follows the text is zeroed.
        LONG.set(text, length, 0L);
        long one = length * K1;
        long two = length ^ K2;
        for (int at = 0; at < length; at += 8) {
            long word = (long) LONG.get(text, at);
            one = mix(one ^ word, K1);
            two = mix(two + word, K2);
        }
        high = mix(one, K2 ^ two);
        low = mix(two, K1 ^ one);
    }

    private static long mix(long value, long by) {
        return (value * by) ^ Math.multiplyHigh(value, by) ^ Long.rotateLeft(value, 29);
    }
}
