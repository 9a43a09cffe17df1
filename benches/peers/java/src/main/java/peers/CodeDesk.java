package peers;

import java.nio.ByteBuffer;

/**
 * What scans do to an item code: its count, its first scan, and the draw of the first entry. State: number of scans 4, time of the
 * first 8, result 1, prize 1, and the shopper who has the code, 16 bytes of hash, once there is an entry.
 *
 * Where events come by code (`apply`), a code also keeps the deliveries (hash 16, minute 4) and the shoppers who entered (hash 16).
 */
public final class CodeDesk {
    private static final int HEAD = 30;
    private static final int DELIVERY = 20;
    private static final int ENTRY = 16;

    private final Counters counters;
    private final Draw draw;
    private final Keys keys;
    /** What the last scan led to. */
    public byte result;
    public int prize;
    public int scans;

    public CodeDesk(Rules rules, Counters counters) {
        this.counters = counters;
        this.draw = new Draw(rules);
        this.keys = new Keys(rules.merchant);
    }

    /** A scan that is no duplicate; `again` if this shopper entered with this code before. */
    public byte[] scan(Event event, boolean again, byte[] state) {
        ByteBuffer now = ByteBuffer.wrap(state == null ? new byte[HEAD] : state.clone());
        decide(event, again, now);
        return now.array();
    }

    private void decide(Event event, boolean again, ByteBuffer now) {
        scans = now.getInt(0) + 1;
        now.putInt(0, scans);
        if (scans == 1) {
            now.putLong(4, event.received);
        }
        byte drawn = now.get(12);
        if (again) {
            keys.of(event.shopper);
            boolean holder = now.getLong(14) == keys.high && now.getLong(22) == keys.low;
            result = holder ? Messages.AGAIN : Messages.CLAIMED;
            prize = holder ? now.get(13) : -1;
        } else if (drawn != 0) {
            result = Messages.CLAIMED;
            prize = -1;
        } else {
            keys.of(event.shopper);
            prize = draw.prize(event.code);
            result = prize < 0 ? Messages.THANKS : Messages.PRIZE;
            now.put(12, result).put(13, (byte) prize).putLong(14, keys.high).putLong(22, keys.low);
            if (prize >= 0) {
                counters.merchant(event.received, Counters.Metric.wins, 1);
                counters.campaign(event.received, Counters.Metric.wins, 1);
            }
        }
    }

    /** The same for an event that comes by code, with the questions that a shopper's desk answers otherwise; `null`: a duplicate. */
    public byte[] apply(Event event, byte[] state) {
        ByteBuffer old = ByteBuffer.wrap(state == null ? new byte[HEAD + 4] : state);
        int deliveries = old.getShort(HEAD);
        int entries = old.getShort(HEAD + 2);
        int deliveriesAt = HEAD + 4;
        int entriesAt = deliveriesAt + deliveries * DELIVERY;
        keys.of(event);
        long high = keys.high;
        long low = keys.low;
        int minute = (int) (event.received / Rules.MINUTE);
        int kept = 0;
        for (int at = deliveriesAt; at < entriesAt; at += DELIVERY) {
            if (minute - old.getInt(at + 16) < Rules.HORIZON_MINUTES) {
                if (old.getLong(at) == high && old.getLong(at + 8) == low) {
                    counters.merchant(event.time, Counters.Metric.duplicates, 1);
                    return null;
                }
                kept++;
            }
        }
        keys.of(event.shopper);
        boolean again = false;
        for (int at = entriesAt; at < entriesAt + entries * ENTRY && !again; at += ENTRY) {
            again = old.getLong(at) == keys.high && old.getLong(at + 8) == keys.low;
        }
        int more = again ? 0 : 1;
        ByteBuffer now = ByteBuffer.allocate(deliveriesAt + (kept + 1) * DELIVERY + (entries + more) * ENTRY);
        now.put(old.array(), 0, HEAD).putShort((short) (kept + 1)).putShort((short) (entries + more));
        for (int at = deliveriesAt; at < entriesAt; at += DELIVERY) {
            if (minute - old.getInt(at + 16) < Rules.HORIZON_MINUTES) {
                now.put(old.array(), at, DELIVERY);
            }
        }
        now.putLong(high).putLong(low).putInt(minute).put(old.array(), entriesAt, entries * ENTRY);
        if (!again) {
            now.putLong(keys.high).putLong(keys.low);
        }
        counters.merchant(event.time, Counters.Metric.scans, 1);
        counters.store(event.store, event.time, Counters.Metric.scans, 1);
        ShopperDesk.scanned(counters, event, !again);
        decide(event, again, now);
        return now.array();
    }
}
