package peers;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import javax.crypto.Mac;
import javax.crypto.ShortBufferException;
import javax.crypto.spec.SecretKeySpec;

/** Draws by odds: the first 8 bytes of HMAC-SHA256(secret, `draw` 1F campaign 1F name of the code) against the prizes' bounds. */
public final class Draw {
    private final Mac mac;
    private final byte[] head;
    private final long[] bounds;
    private final byte[] sum = new byte[32];
    private final ByteBuffer number = ByteBuffer.wrap(sum);

    public Draw(Rules rules) {
        head = ("draw\u001f" + rules.campaign + "\u001f").getBytes(StandardCharsets.UTF_8);
        bounds = rules.bounds.stream().mapToLong(Long::longValue).toArray();
        try {
            mac = Mac.getInstance("HmacSHA256");
            mac.init(new SecretKeySpec(rules.campaignSecret, "HmacSHA256"));
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException(e);
        }
    }

    /** The prize that a code draws, or -1. */
    public int prize(long code) {
        mac.update(head);
        mac.update(((code >>> 32) + ":" + (code & 0xFFFF_FFFFL)).getBytes(StandardCharsets.ISO_8859_1));
        try {
            mac.doFinal(sum, 0);
        } catch (ShortBufferException e) {
            throw new IllegalStateException(e);
        }
        long drawn = number.getLong(0);
        for (int prize = 0; prize < bounds.length; prize++) {
            if (Long.compareUnsigned(drawn, bounds[prize]) < 0) {
                return prize;
            }
        }
        return -1;
    }
}
