package peers.streams;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
import java.util.Arrays;

/**
 * A hash table from bytes to bytes: open addressing, linear probing, at most half full. A key costs its array and 16 bytes, where
 * `HashMap` has an entry and a wrapper for each, and the hash of `Bytes` maps numbers that differ in their last bytes onto few values.
 */
final class Table {
    private static final VarHandle LONG = MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);
    private static final long K = 0x9E3779B97F4A7C15L;

    /** Key and value beside each other, for one cache line. */
    private byte[][] cells = new byte[2 << 16][];
    private int[] hashes = new int[1 << 16];
    private int count;

    byte[] get(byte[] key) {
        return cells[2 * find(key, hash(key)) + 1];
    }

    void put(byte[] key, byte[] value) {
        int hash = hash(key);
        int at = find(key, hash);
        if (cells[2 * at] == null) {
            if (2 * (count + 1) > hashes.length) {
                grow();
                at = find(key, hash);
            }
            cells[2 * at] = key;
            hashes[at] = hash;
            count++;
        }
        cells[2 * at + 1] = value;
    }

    byte[] remove(byte[] key) {
        int hole = find(key, hash(key));
        byte[] value = cells[2 * hole + 1];
        if (cells[2 * hole] == null) {
            return null;
        }
        count--;
        // What follows moves up, unless it would come before its own place.
        int mask = hashes.length - 1;
        for (int at = (hole + 1) & mask; cells[2 * at] != null; at = (at + 1) & mask) {
            if (((at - hashes[at]) & mask) >= ((at - hole) & mask)) {
                cells[2 * hole] = cells[2 * at];
                cells[2 * hole + 1] = cells[2 * at + 1];
                hashes[hole] = hashes[at];
                hole = at;
            }
        }
        cells[2 * hole] = null;
        cells[2 * hole + 1] = null;
        return value;
    }

    int size() {
        return count;
    }

    /** The place of a key, or the empty one where it belongs. */
    private int find(byte[] key, int hash) {
        int mask = hashes.length - 1;
        int at = hash & mask;
        while (cells[2 * at] != null && (hashes[at] != hash || !Arrays.equals(cells[2 * at], key))) {
            at = (at + 1) & mask;
        }
        return at;
    }

    private void grow() {
        byte[][] old = cells;
        int[] oldHashes = hashes;
        cells = new byte[2 * old.length][];
        hashes = new int[2 * oldHashes.length];
        int mask = hashes.length - 1;
        for (int from = 0; from < oldHashes.length; from++) {
            if (old[2 * from] == null) {
                continue;
            }
            int at = oldHashes[from] & mask;
            while (cells[2 * at] != null) {
                at = (at + 1) & mask;
            }
            cells[2 * at] = old[2 * from];
            cells[2 * at + 1] = old[2 * from + 1];
            hashes[at] = oldHashes[from];
        }
    }

    private static int hash(byte[] key) {
        long hash = key.length;
        int at = 0;
        for (; at + 8 <= key.length; at += 8) {
            hash = mix(hash ^ (long) LONG.get(key, at));
        }
        for (; at < key.length; at++) {
            hash = hash * 257 + key[at];
        }
        return (int) mix(hash);
    }

    private static long mix(long value) {
        return Math.multiplyHigh(value, K) ^ value * K;
    }
}
