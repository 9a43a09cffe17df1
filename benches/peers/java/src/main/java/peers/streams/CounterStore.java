package peers.streams;

import java.util.Map;
import org.apache.kafka.streams.processor.StateStore;
import org.apache.kafka.streams.processor.StateStoreContext;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.processor.internals.InternalProcessorContext;
import org.apache.kafka.streams.processor.internals.ProcessorNode;
import org.apache.kafka.streams.query.Position;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.internals.CacheFlushListener;
import org.apache.kafka.streams.state.internals.CachedStateStore;
import peers.Counters;
import peers.Messages;
import peers.Rules;

/**
 * Sums that are sent as deltas when Streams commits, before it flushes its producer: so they are in the same transaction as the offsets
 * of the events that they count. This is how Streams' own record cache does it, and needs no changelog, because nothing is left after a
 * commit.
 */
final class CounterStore implements StateStore, CachedStateStore<byte[], byte[]> {
    private final String name;
    final Counters counters;
    private final Position position = Position.emptyPosition();
    private InternalProcessorContext<byte[], byte[]> context;
    private ProcessorNode<?, ?, ?, ?> node;
    private String sink;
    private boolean open;

    private CounterStore(String name, Rules rules) {
        this.name = name;
        this.counters = new Counters(rules);
    }

    static StoreBuilder<CounterStore> builder(String name, Rules rules) {
        return new StoreBuilder<>() {
            @Override
            public StoreBuilder<CounterStore> withCachingEnabled() {
                return this;
            }

            @Override
            public StoreBuilder<CounterStore> withCachingDisabled() {
                return this;
            }

            @Override
            public StoreBuilder<CounterStore> withLoggingEnabled(Map<String, String> config) {
                return this;
            }

            @Override
            public StoreBuilder<CounterStore> withLoggingDisabled() {
                return this;
            }

            @Override
            public CounterStore build() {
                return new CounterStore(name, rules);
            }

            @Override
            public Map<String, String> logConfig() {
                return Map.of();
            }

            @Override
            public boolean loggingEnabled() {
                return false;
            }

            @Override
            public String name() {
                return name;
            }
        };
    }

    /** Says from which processor to which sink the sums go: called in the processor's `init`. */
    @SuppressWarnings("unchecked")
    void connect(ProcessorContext<byte[], byte[]> processor, String sinkName) {
        context = (InternalProcessorContext<byte[], byte[]>) processor;
        node = context.currentNode();
        sink = sinkName;
    }

    @Override
    public void flushCache() {
        if (!counters.isDirty()) {
            return;
        }
        ProcessorNode<?, ?, ?, ?> before = context.currentNode();
        context.setCurrentNode(node);
        try {
            long now = context.currentSystemTimeMs();
            counters.drain((key, delta) ->
                context.forward(new Record<>(Messages.text(key), Messages.number(delta), now), sink));
        } finally {
            context.setCurrentNode(before);
        }
    }

    @Override
    public void init(StateStoreContext storeContext, StateStore root) {
        storeContext.register(root, (key, value) -> { });
        open = true;
    }

    @Override
    public boolean setFlushListener(CacheFlushListener<byte[], byte[]> listener, boolean sendOldValues) {
        return false;
    }

    @Override
    public void clearCache() {
        counters.drain((key, delta) -> { });
    }

    @Override
    public String name() {
        return name;
    }

    @Override
    public void flush() {}

    @Override
    public void close() {
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

    @Override
    public Position getPosition() {
        return position;
    }
}
