package peers;

import java.nio.ByteBuffer;

/**
 * What one shopper's events do: duplicates, counts, touches, entries, orders and their commission. The state of a shopper is one
 * array of bytes, so that an event is one read and one write, and one record of the changelog:
 * four counts (u16), then deliveries (hash 16, minute 4), touches (time 8, rank 1, guide 2, store 2), entries (code 8), and
 * orders (hash 16, time 8, amount 8, guide 2, posted 8).
 */
public final class ShopperDesk {
    /** What an event leads to beside counts. */
    public interface Effects {
        /** A scan of an item code, for the code's owner: a first entry of this shopper, or `again`. */
        void scan(Event event, boolean again);

        void posting(Event event, int guide, long amount);
    }

    private static final int HEAD = 8;
    private static final int DELIVERY = 20;
    private static final int TOUCH = 13;
    private static final int ENTRY = 8;
    private static final int ORDER = 42;
    private static final int RANK_GUIDE = 5;
    private static final int RANK_ITEM = 0;

    private final Rules rules;
    private final Counters counters;
    private final Keys keys;

    public ShopperDesk(Rules rules, Counters counters) {
        this.rules = rules;
        this.counters = counters;
        this.keys = new Keys(rules.merchant);
    }

    /** The state after an event; `null` if it is a duplicate, which changes nothing. */
    public byte[] apply(Event event, byte[] state, Effects effects) {
        ByteBuffer old = ByteBuffer.wrap(state == null ? new byte[HEAD] : state);
        int deliveries = old.getShort(0);
        int touches = old.getShort(2);
        int entries = old.getShort(4);
        int orders = old.getShort(6);
        int touchesAt = HEAD + deliveries * DELIVERY;
        int entriesAt = touchesAt + touches * TOUCH;
        int ordersAt = entriesAt + entries * ENTRY;

        keys.of(event);
        long high = keys.high;
        long low = keys.low;
        int minute = (int) (event.received / Rules.MINUTE);
        int oldDeliveries = 0;
        for (int at = HEAD; at < touchesAt; at += DELIVERY) {
            boolean past = minute - old.getInt(at + 16) >= Rules.HORIZON_MINUTES;
            if (past) {
                oldDeliveries++;
            } else if (old.getLong(at) == high && old.getLong(at + 8) == low) {
                counters.merchant(event.time, Counters.Metric.duplicates, 1);
                return null;
            }
        }

        boolean item = event.action == Event.SCAN && event.kind == Event.ITEM;
        boolean touch = item || event.action == Event.SCAN && event.kind == Event.GUIDE;
        boolean again = false;
        for (int at = entriesAt; item && at < ordersAt && !again; at += ENTRY) {
            again = old.getLong(at) == event.code;
        }
        boolean entry = item && !again;
        boolean order = event.action == Event.ORDER;
        int oldTouches = 0;
        while (touch && oldTouches < touches
                && (touches - oldTouches >= Rules.TOUCHES_MAX
                    || old.getLong(touchesAt + oldTouches * TOUCH) < event.received - Rules.WINDOW - Rules.LATE)) {
            oldTouches++;
        }

        int size = HEAD + (deliveries - oldDeliveries + 1) * DELIVERY + (touches - oldTouches + (touch ? 1 : 0)) * TOUCH
            + (entries + (entry ? 1 : 0)) * ENTRY + (orders + (order ? 1 : 0)) * ORDER;
        ByteBuffer now = ByteBuffer.allocate(size);
        now.putShort((short) (deliveries - oldDeliveries + 1));
        now.putShort((short) (touches - oldTouches + (touch ? 1 : 0)));
        now.putShort((short) (entries + (entry ? 1 : 0)));
        now.putShort((short) (orders + (order ? 1 : 0)));
        for (int at = HEAD; at < touchesAt; at += DELIVERY) {
            if (minute - old.getInt(at + 16) < Rules.HORIZON_MINUTES) {
                now.put(old.array(), at, DELIVERY);
            }
        }
        now.putLong(high).putLong(low).putInt(minute);
        now.put(old.array(), touchesAt + oldTouches * TOUCH, (touches - oldTouches) * TOUCH);
        if (touch) {
            boolean guide = event.kind == Event.GUIDE;
            int by = guide ? (int) event.code : -1;
            int store = event.store >= 0 ? event.store : guide ? rules.guideStores.get(by) : -1;
            now.putLong(event.time).put((byte) (guide ? RANK_GUIDE : RANK_ITEM)).putShort((short) by).putShort((short) store);
        }
        now.put(old.array(), entriesAt, entries * ENTRY);
        if (entry) {
            now.putLong(event.code);
        }
        now.put(old.array(), ordersAt, orders * ORDER);
        count(event, item, entry);
        if (order) {
            order(event, now, old, touchesAt, entriesAt, effects);
        }
        if (item) {
            effects.scan(event, again);
        }
        return now.array();
    }

    private void count(Event event, boolean item, boolean entry) {
        if (event.action != Event.SCAN) {
            return;
        }
        if (event.kind == Event.FORGED) {
            counters.merchant(event.time, Counters.Metric.forged, 1);
            return;
        }
        int store = event.store;
        counters.merchant(event.time, Counters.Metric.scans, 1);
        if (event.kind == Event.GUIDE) {
            int guide = (int) event.code;
            counters.guide(guide, event.time, Counters.Metric.scans, 1);
            store = store >= 0 ? store : rules.guideStores.get(guide);
        }
        counters.store(store, event.time, Counters.Metric.scans, 1);
        if (event.kind == Event.UNKNOWN) {
            counters.merchant(event.time, Counters.Metric.unknown, 1);
        }
        if (item) {
            scanned(counters, event, entry);
        }
    }

    /** Counts that a scan of an item code has beside those of every scan. */
    static void scanned(Counters counters, Event event, boolean entry) {
        counters.campaign(event.time, Counters.Metric.scans, 1);
        counters.merchant(event.time, Counters.Metric.interactions, 1);
        counters.campaign(event.time, Counters.Metric.interactions, 1);
        counters.store(event.store, event.time, Counters.Metric.interactions, 1);
        if (entry) {
            counters.merchant(event.time, Counters.Metric.entries, 1);
            counters.campaign(event.time, Counters.Metric.entries, 1);
            counters.store(event.store, event.time, Counters.Metric.entries, 1);
        }
    }

    /** Gives an order to the last touch of the highest rank within the window, and posts the commission of its guide. */
    private void order(Event event, ByteBuffer now, ByteBuffer old, int touchesAt, int entriesAt, Effects effects) {
        counters.merchant(event.time, Counters.Metric.orders, 1);
        counters.merchant(event.time, Counters.Metric.gmv, event.amount);
        counters.store(event.store, event.time, Counters.Metric.orders, 1);
        counters.store(event.store, event.time, Counters.Metric.gmv, event.amount);
        int best = -1;
        for (int at = touchesAt; at < entriesAt; at += TOUCH) {
            long time = old.getLong(at);
            boolean within = time <= event.time && time > event.time - Rules.WINDOW;
            if (within && (best < 0 || old.get(at + 8) > old.get(best + 8)
                    || old.get(at + 8) == old.get(best + 8) && time >= old.getLong(best))) {
                best = at;
            }
        }
        int guide = best < 0 ? -1 : old.getShort(best + 9);
        long amount = 0;
        if (best >= 0) {
            int store = old.getShort(best + 11);
            amount = guide < 0 ? 0 : Math.multiplyExact(event.amount, rules.ppm) / 1_000_000;
            credit(guide, store, event, amount);
        }
        if (amount > 0) {
            effects.posting(event, guide, amount);
        }
        keys.of(event.order);
        now.putLong(keys.high).putLong(keys.low).putLong(event.time).putLong(event.amount).putShort((short) guide).putLong(amount);
    }

    private void credit(int guide, int store, Event event, long amount) {
        if (guide >= 0) {
            counters.guide(guide, event.time, Counters.Metric.credited_orders, 1);
            counters.guide(guide, event.time, Counters.Metric.credited_net, event.amount);
            counters.guide(guide, event.time, Counters.Metric.commission, amount);
        }
        counters.store(store, event.time, Counters.Metric.credited_orders, 1);
        counters.store(store, event.time, Counters.Metric.credited_net, event.amount);
        counters.store(store, event.time, Counters.Metric.commission, amount);
    }
}
