package peers;

import com.alibaba.fastjson2.JSONReader;
import com.alibaba.fastjson2.util.Fnv;
import java.nio.charset.StandardCharsets;

/**
 * Reads events from JSON. fastjson2's reader goes over the bytes once and gives each field's name as a hash, without a tree and
 * without binding: of the parsers for Java that stream, it does the least for an object as flat as this. It checks the form of JSON
 * and the fields that the job needs, and not all that Mashang's edge refuses.
 */
public final class EventReader {
    private static final long ID = Fnv.hashCode64("id");
    private static final long ACTION = Fnv.hashCode64("action");
    private static final long SHOPPER = Fnv.hashCode64("shopper");
    private static final long MERCHANT = Fnv.hashCode64("merchant");
    private static final long TIME = Fnv.hashCode64("time");
    private static final long CODE = Fnv.hashCode64("code");
    private static final long STORE = Fnv.hashCode64("store");
    private static final long ORDER = Fnv.hashCode64("order");
    private static final long AMOUNT = Fnv.hashCode64("amount");

    private final Rules rules;
    private final Tokens tokens;

    public EventReader(Rules rules) {
        this.rules = rules;
        this.tokens = new Tokens(rules);
    }

    /** Reads one object into `event`; false if it is no event of this merchant. */
    public boolean read(byte[] json, long received, Event event) {
        String code = null;
        String merchant = null;
        event.action = 0;
        event.shopper = event.id = event.order = null;
        event.time = event.received = received;
        event.store = -1;
        event.amount = -1;
        JSONReader in = JSONReader.of(json, 0, json.length, StandardCharsets.UTF_8);
        if (!in.nextIfObjectStart()) {
            return false;
        }
        while (!in.nextIfObjectEnd()) {
            long name = in.readFieldNameHashCode();
            if (name == ID) {
                event.id = bytes(in);
            } else if (name == ACTION) {
                event.action = action(in.readString());
            } else if (name == SHOPPER) {
                event.shopper = bytes(in);
            } else if (name == MERCHANT) {
                merchant = in.readString();
            } else if (name == TIME) {
                event.time = in.readInt64Value();
            } else if (name == CODE) {
                code = in.readString();
            } else if (name == STORE) {
                event.store = rules.storeIndex.getOrDefault(in.readString(), -1);
            } else if (name == ORDER) {
                event.order = bytes(in);
            } else if (name == AMOUNT) {
                event.amount = in.readInt64Value();
            } else {
                in.skipValue();
            }
        }
        if (event.action == 0 || !fits(event.shopper) || !fits(event.id) || !rules.merchant.equals(merchant)) {
            return false;
        }
        if (event.action == Event.ORDER && (!fits(event.order) || event.amount < 0)) {
            return false;
        }
        // A clock that is more than five minutes ahead is not believed.
        if (event.time > received + 5 * Rules.MINUTE) {
            event.time = received;
        }
        resolve(code, event);
        return true;
    }

    private void resolve(String code, Event event) {
        event.code = 0;
        if (code == null) {
            event.kind = Event.NONE;
            return;
        }
        Integer guide = rules.guideCodes.get(code);
        if (guide != null) {
            event.kind = Event.GUIDE;
            event.code = guide;
            return;
        }
        event.kind = tokens.read(code);
        if (event.kind == Event.ITEM) {
            event.code = (long) rules.batch << 32 | tokens.serial();
        }
    }

    private static byte action(String name) {
        return switch (name) {
            case "scan" -> Event.SCAN;
            case "order" -> Event.ORDER;
            default -> 0;
        };
    }

    private static boolean fits(byte[] text) {
        return text != null && text.length > 0 && text.length <= 64;
    }

    private static byte[] bytes(JSONReader in) {
        return in.readString().getBytes(StandardCharsets.UTF_8);
    }
}
