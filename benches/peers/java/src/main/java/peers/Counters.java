package peers;

import java.util.HashMap;
import java.util.Map;

/** Sums that are not sent yet, by day: an array by scope and metric, because all stores, guides and campaigns are known. */
public final class Counters {
    public enum Metric {
        scans, interactions, entries, duplicates, orders, gmv, credited_orders, credited_net, commission, wins, forged, unknown
    }

    /** Takes one sum: `scope`, key, day and metric, joined by `|`. */
    public interface Sink {
        void add(String key, long delta);
    }

    private static final int METRICS = Metric.values().length;
    private static final int MERCHANT = 0;
    private static final int CAMPAIGN = 1;

    private final Rules rules;
    private final Map<Long, long[]> days = new HashMap<>();
    private final int dimensions;
    private long lastDay = Long.MIN_VALUE;
    private long[] last;
    private boolean dirty;

    public Counters(Rules rules) {
        this.rules = rules;
        dimensions = 2 + rules.stores.size() + rules.guides.size();
    }

    public void merchant(long time, Metric metric, long by) {
        add(MERCHANT, time, metric, by);
    }

    public void campaign(long time, Metric metric, long by) {
        add(CAMPAIGN, time, metric, by);
    }

    /** Nothing for a store of -1. */
    public void store(int store, long time, Metric metric, long by) {
        if (store >= 0) {
            add(2 + store, time, metric, by);
        }
    }

    public void guide(int guide, long time, Metric metric, long by) {
        add(2 + rules.stores.size() + guide, time, metric, by);
    }

    private void add(int dimension, long time, Metric metric, long by) {
        long day = rules.day(time);
        if (day != lastDay) {
            lastDay = day;
            last = days.computeIfAbsent(day, none -> new long[dimensions * METRICS]);
        }
        last[dimension * METRICS + metric.ordinal()] += by;
        dirty = true;
    }

    public boolean isDirty() {
        return dirty;
    }

    /** Gives every sum that is not zero to `sink`, and begins anew. */
    public void drain(Sink sink) {
        if (!dirty) {
            return;
        }
        for (Map.Entry<Long, long[]> day : days.entrySet()) {
            long[] sums = day.getValue();
            for (int i = 0; i < sums.length; i++) {
                if (sums[i] != 0) {
                    sink.add(scope(i / METRICS) + "|" + day.getKey() + "|" + Metric.values()[i % METRICS], sums[i]);
                    sums[i] = 0;
                }
            }
        }
        // Days that pass are forgotten, and the present one is made again.
        if (days.size() > 8) {
            days.clear();
            lastDay = Long.MIN_VALUE;
        }
        dirty = false;
    }

    private String scope(int dimension) {
        if (dimension == MERCHANT) {
            return "merchant|*";
        }
        if (dimension == CAMPAIGN) {
            return "campaign|" + rules.campaign;
        }
        int store = dimension - 2;
        int guide = store - rules.stores.size();
        return guide < 0 ? "store|" + rules.stores.get(store) : "guide|" + rules.guides.get(guide);
    }
}
