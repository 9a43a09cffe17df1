package peers.streams;

import java.util.List;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.processor.StateStore;
import org.apache.kafka.streams.processor.StateStoreContext;
import org.apache.kafka.streams.processor.internals.RecordBatchingStateRestoreCallback;
import org.apache.kafka.streams.query.Position;
import org.apache.kafka.streams.state.KeyValueBytesStoreSupplier;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;

/**
 * A store in a hash table. Kafka's own store in memory is a tree: the job asks for no ranges, and a tree compares some twenty keys for
 * each look-up. Streams wraps it with its changelog, from which it is restored as its own is.
 */
final class HashStore implements KeyValueStore<Bytes, byte[]> {
    private final String name;
    private Table table = new Table();
    private final Position position = Position.emptyPosition();
    private volatile boolean open;

    private HashStore(String name) {
        this.name = name;
    }

    static KeyValueBytesStoreSupplier supplier(String name) {
        return new KeyValueBytesStoreSupplier() {
            @Override
            public String name() {
                return name;
            }

            @Override
            public KeyValueStore<Bytes, byte[]> get() {
                return new HashStore(name);
            }

            @Override
            public String metricsScope() {
                return "in-memory";
            }
        };
    }

    @Override
    public void init(StateStoreContext context, StateStore root) {
        if (root != null) {
            context.register(root, (RecordBatchingStateRestoreCallback) records -> {
                for (ConsumerRecord<byte[], byte[]> record : records) {
                    put(Bytes.wrap(record.key()), record.value());
                }
            });
        }
        open = true;
    }

    @Override
    public String name() {
        return name;
    }

    @Override
    public byte[] get(Bytes key) {
        return table.get(key.get());
    }

    @Override
    public void put(Bytes key, byte[] value) {
        if (value == null) {
            table.remove(key.get());
        } else {
            table.put(key.get(), value);
        }
    }

    @Override
    public byte[] putIfAbsent(Bytes key, byte[] value) {
        byte[] before = get(key);
        if (before == null) {
            put(key, value);
        }
        return before;
    }

    @Override
    public void putAll(List<KeyValue<Bytes, byte[]>> entries) {
        entries.forEach(entry -> put(entry.key, entry.value));
    }

    @Override
    public byte[] delete(Bytes key) {
        return table.remove(key.get());
    }

    @Override
    public KeyValueIterator<Bytes, byte[]> range(Bytes from, Bytes to) {
        throw new UnsupportedOperationException("the job asks for no ranges");
    }

    @Override
    public KeyValueIterator<Bytes, byte[]> all() {
        throw new UnsupportedOperationException("the job asks for no ranges");
    }

    @Override
    public long approximateNumEntries() {
        return table.size();
    }

    @Override
    public Position getPosition() {
        return position;
    }

    @Override
    public void flush() {}

    @Override
    public void close() {
        table = new Table();
        open = false;
    }

    @Override
    public boolean persistent() {
        return false;
    }

    @Override
    public boolean isOpen() {
        return open;
    }
}
