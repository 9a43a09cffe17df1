package peers;

import java.io.IOException;
import java.io.Serializable;
import java.math.BigInteger;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;

/** What the job knows of its one merchant: the same as the TOML file that peers.py gives to Mashang, as lines of words. */
public final class Rules implements Serializable {
    public static final long MINUTE = 60_000;
    public static final long DAY = 24 * 60 * MINUTE;
    /** Defaults of the rules: horizon of duplicates, window of attribution, lateness. */
    public static final long HORIZON_MINUTES = 3 * 24 * 60;
    public static final long WINDOW = 15 * DAY;
    public static final long LATE = 2 * DAY;
    public static final int TOUCHES_MAX = 256;

    public String merchant;
    public String campaign;
    public byte[] campaignSecret;
    public int batch;
    public long batchCount;
    public byte[] batchSecret;
    /** Commission in millionths. */
    public long ppm;
    /** Distance of the merchant's days from UTC, in milliseconds. */
    public long zone;
    public final List<String> stores = new ArrayList<>();
    public final List<String> guides = new ArrayList<>();
    public final List<Integer> guideStores = new ArrayList<>();
    public final List<String> prizes = new ArrayList<>();
    /** Prize j is drawn by a number below bound j, compared as unsigned; the first such j counts. */
    public final List<Long> bounds = new ArrayList<>();
    public final Map<String, Integer> guideCodes = new HashMap<>();
    public final Map<String, Integer> storeIndex = new HashMap<>();

    public static Rules read(Path file) throws IOException {
        Rules rules = new Rules();
        BigInteger numerator = BigInteger.ZERO;
        for (String line : Files.readAllLines(file)) {
            String[] word = line.split(" ");
            switch (word[0]) {
                case "merchant" -> rules.merchant = word[1];
                case "zone" -> rules.zone = Long.parseLong(word[1]);
                case "commission" -> rules.ppm = Long.parseLong(word[1]);
                case "campaign" -> {
                    rules.campaign = word[1];
                    rules.campaignSecret = HexFormat.of().parseHex(word[2]);
                }
                case "batch" -> {
                    rules.batch = Integer.parseInt(word[1]);
                    rules.batchCount = Long.parseLong(word[2]);
                    rules.batchSecret = HexFormat.of().parseHex(word[3]);
                }
                case "store" -> {
                    rules.storeIndex.put(word[1], rules.stores.size());
                    rules.stores.add(word[1]);
                }
                case "guide" -> {
                    rules.guideCodes.put(word[3], rules.guides.size());
                    rules.guides.add(word[1]);
                    rules.guideStores.add(rules.storeIndex.get(word[2]));
                }
                case "prize" -> {
                    // Odds are in millionths here, so that their sums are exact.
                    numerator = numerator.add(new BigInteger(word[2]));
                    rules.prizes.add(word[1]);
                    rules.bounds.add(numerator.shiftLeft(64).divide(BigInteger.valueOf(1_000_000)).longValue());
                }
                default -> throw new IOException(file + ": unknown line: " + line);
            }
        }
        return rules;
    }

    public long day(long time) {
        return Math.floorDiv(time + zone, DAY);
    }
}
