package peers.feed;

import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.SplittableRandom;
import peers.Options;

/**
 * Writes the events of a run as NDJSON: 80 of 100 are scans of item codes (one of 100 of these by a shopper who scanned the code
 * before), 8 scans of guides' codes, 10 orders, three of five of which are of a shopper who scanned a guide's code before, and 2 are
 * copies of an event before. Depends on `--seed` alone.
 *
 * Each 50 events are of shoppers of one lane, the same for each 16 batches of 50: so 16 connections keep each shopper's order.
 */
final class Generate {
    static final int BATCH = 50;
    static final int LANES = 16;
    private static final int ROUND = BATCH * LANES;
    private static final int ROUNDS_BACK = 50;
    private static final int KEPT = ROUND * ROUNDS_BACK;
    private static final int TOKEN = 20;
    private static final int PER_MILLE = 1000;

    private final String[] lines = new String[KEPT];
    private final byte[] kinds = new byte[KEPT];
    private final int[] shoppers = new int[KEPT];
    private final long[] codes = new long[KEPT];
    private final SplittableRandom random;
    private final byte[] tokens;
    private final int shopperCount;
    private final int guideCount;
    private final int storeCount;
    private final String merchant;
    private final long begin;

    private Generate(Options options) throws IOException {
        random = new SplittableRandom(options.number("seed"));
        tokens = Files.readAllBytes(options.path("codes"));
        shopperCount = options.number("shoppers");
        guideCount = options.number("guides");
        storeCount = options.number("stores");
        merchant = options.text("merchant");
        begin = Long.parseLong(options.text("begin-ms"));
    }

    static void run(Options options) throws IOException {
        Generate generate = new Generate(options);
        long count = options.number("events");
        try (OutputStream out = new BufferedOutputStream(Files.newOutputStream(options.path("out")), 1 << 20)) {
            for (long i = 0; i < count; i++) {
                out.write(generate.line(i).getBytes(StandardCharsets.ISO_8859_1));
            }
        }
    }

    private String line(long i) {
        int at = (int) (i % KEPT);
        int lane = (int) (i / BATCH % LANES);
        int kind = random.nextInt(PER_MILLE);
        int earlier = i < KEPT ? -1 : (int) ((i - (long) ROUND * (1 + random.nextInt(ROUNDS_BACK - 1))) % KEPT);
        kinds[at] = 'o';
        if (kind < 20 && earlier >= 0) {
            shoppers[at] = shoppers[earlier];
            return lines[at] = lines[earlier];
        }
        int shopper = random.nextInt(shopperCount / LANES) * LANES + lane;
        if (kind < 120) {
            if (kind < 80) {
                shopper = guided(i, shopper);
            }
            return lines[at] = order(i, shoppers[at] = shopper);
        }
        if (kind < 200) {
            kinds[at] = 'g';
            return lines[at] = event(i, "scan", shoppers[at] = shopper) + ",\"code\":\"GUIDE-" + random.nextInt(guideCount) + "\"}\n";
        }
        kinds[at] = 'i';
        long code = random.nextInt(tokens.length / (TOKEN + 1));
        if (kind < 208 && earlier >= 0 && kinds[earlier] == 'i') {
            shopper = shoppers[earlier];
            code = codes[earlier];
        }
        shoppers[at] = shopper;
        codes[at] = code;
        String token = new String(tokens, (int) code * (TOKEN + 1), TOKEN, StandardCharsets.ISO_8859_1);
        return lines[at] = event(i, "scan", shopper) + ",\"code\":\"" + token + "\"}\n";
    }

    /** A shopper of the same lane who scanned a guide's code before, if some tries find one. */
    private int guided(long i, int otherwise) {
        for (int tries = 0; i >= KEPT && tries < 30; tries++) {
            int before = (int) ((i - (long) ROUND * (1 + random.nextInt(ROUNDS_BACK - 1))) % KEPT);
            if (kinds[before] == 'g') {
                return shoppers[before];
            }
        }
        return otherwise;
    }

    private String order(long i, int shopper) {
        String store = random.nextBoolean() ? ",\"store\":\"s-" + random.nextInt(storeCount) + "\"" : "";
        int amount = 1000 + random.nextInt(99_000);
        return event(i, "order", shopper) + store + ",\"order\":\"o-" + Long.toString(i, 36) + "\",\"amount\":" + amount + "}\n";
    }

    private String event(long i, String action, int shopper) {
        String hex = Long.toHexString(0x1_0000_0000L + i).substring(1);
        String digits = Integer.toString(10_000_000 + shopper).substring(1);
        return "{\"id\":\"p-" + hex + "\",\"action\":\"" + action + "\",\"shopper\":\"u-" + digits + "\",\"merchant\":\"" + merchant
            + "\",\"time\":" + (begin + i);
    }
}
