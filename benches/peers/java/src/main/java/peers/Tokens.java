package peers;

import java.nio.ByteBuffer;
import java.security.GeneralSecurityException;
import java.util.Arrays;
import javax.crypto.Cipher;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/** Reads the tokens of one batch: 20 characters of Crockford's base 32, batch (20 bits), tag (48), sealed serial (32). */
public final class Tokens {
    private static final byte[] DIGITS = new byte[128];

    static {
        Arrays.fill(DIGITS, (byte) -1);
        String alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        for (int i = 0; i < 32; i++) {
            DIGITS[alphabet.charAt(i)] = (byte) i;
            DIGITS[Character.toLowerCase(alphabet.charAt(i))] = (byte) i;
        }
        DIGITS['O'] = DIGITS['o'] = 0;
        DIGITS['I'] = DIGITS['i'] = DIGITS['L'] = DIGITS['l'] = 1;
    }

    private final int batch;
    private final long count;
    private final Cipher tagCipher;
    private final Cipher padCipher;
    private final byte[] plain = new byte[16];
    private final byte[] sealed = new byte[16];
    private final ByteBuffer in = ByteBuffer.wrap(plain);
    private final ByteBuffer out = ByteBuffer.wrap(sealed);
    private long serial;

    public Tokens(Rules rules) {
        batch = rules.batch;
        count = rules.batchCount;
        tagCipher = cipher(rules.batchSecret, "mashang code tag");
        padCipher = cipher(rules.batchSecret, "mashang code pad");
    }

    /** What a text is: ITEM, with `serial()`, FORGED, or UNKNOWN, which no token of this batch's number is. */
    public byte read(String text) {
        long head = 0;
        long tail = 0;
        int digits = 0;
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (c == '-') {
                continue;
            }
            int digit = c < 128 ? DIGITS[c] : -1;
            if (digit < 0 || digits == 20) {
                return Event.UNKNOWN;
            }
            if (digits++ < 10) {
                head = head << 5 | digit;
            } else {
                tail = tail << 5 | digit;
            }
        }
        // Fifty bits each: batch and 30 bits of the tag, then 18 bits of it and the serial.
        if (digits != 20 || head >>> 30 != batch) {
            return Event.UNKNOWN;
        }
        long tag = (head & 0x3FFF_FFFFL) << 18 | tail >>> 32;
        in.putLong(0, tag << 16 | batch >>> 16).putLong(8, (long) batch << 48);
        serial = (tail & 0xFFFF_FFFFL) ^ (encrypt(padCipher) >>> 32);
        in.putLong(0, (long) batch << 32 | serial >>> 32).putLong(8, serial << 32);
        return serial < count && encrypt(tagCipher) >>> 16 == tag ? Event.ITEM : Event.FORGED;
    }

    public long serial() {
        return serial;
    }

    /** The first 64 bits of the encrypted block. */
    private long encrypt(Cipher cipher) {
        try {
            cipher.update(plain, 0, 16, sealed, 0);
            return out.getLong(0);
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException(e);
        }
    }

    private static Cipher cipher(byte[] secret, String name) {
        try {
            Mac mac = Mac.getInstance("HmacSHA256");
            mac.init(new SecretKeySpec(secret, "HmacSHA256"));
            byte[] key = Arrays.copyOf(mac.doFinal(name.getBytes(java.nio.charset.StandardCharsets.US_ASCII)), 16);
            Cipher cipher = Cipher.getInstance("AES/ECB/NoPadding");
            cipher.init(Cipher.ENCRYPT_MODE, new SecretKeySpec(key, "AES"));
            return cipher;
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException(e);
        }
    }
}
