package peers.streams;

import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import peers.CodeDesk;
import peers.Event;
import peers.EventReader;
import peers.Messages;
import peers.Progress;
import peers.Rules;
import peers.ShopperDesk;

/**
 * Reads events of which the producer has sent those of item codes by code and all others by shopper, so that nothing is shuffled.
 * A scan of an item code is then no touch and comes under no limit of its shopper, because the shopper's owner does not see it.
 */
final class EventsByCode implements Processor<byte[], byte[], byte[], byte[]>, ShopperDesk.Effects {
    private final Rules rules;
    private final EventReader reader;
    private final Event event = new Event();
    private ProcessorContext<byte[], byte[]> context;
    private KeyValueStore<Bytes, byte[]> shoppers;
    private KeyValueStore<Bytes, byte[]> codes;
    private ShopperDesk shopperDesk;
    private CodeDesk codeDesk;

    EventsByCode(Rules rules) {
        this.rules = rules;
        this.reader = new EventReader(rules);
    }

    @Override
    public void init(ProcessorContext<byte[], byte[]> processor) {
        context = processor;
        shoppers = processor.getStateStore(Names.SHOPPERS);
        codes = processor.getStateStore(Names.CODES);
        CounterStore counts = processor.getStateStore(Names.COUNTS);
        counts.connect(processor, Names.COUNTERS);
        shopperDesk = new ShopperDesk(rules, counts.counters);
        codeDesk = new CodeDesk(rules, counts.counters);
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
        if (reader.read(record.value(), record.timestamp(), event)) {
            boolean item = event.action == Event.SCAN && event.kind == Event.ITEM;
            Bytes key = Bytes.wrap(item ? Messages.number(event.code) : event.shopper);
            KeyValueStore<Bytes, byte[]> states = item ? codes : shoppers;
            byte[] before = states.get(key);
            byte[] after = item ? codeDesk.apply(event, before) : shopperDesk.apply(event, before, this);
            if (after != null) {
                states.put(key, after);
                if (item) {
                    byte[] result = Messages.result(codeDesk.result, codeDesk.prize, codeDesk.scans, event.id);
                    context.forward(new Record<>(event.shopper, result, event.received), Names.RESULTS);
                }
            }
        }
        Progress.EVENTS.increment();
    }

    @Override
    public void scan(Event scan, boolean again) {
        throw new IllegalStateException("scans of item codes come by code");
    }

    @Override
    public void posting(Event order, int guide, long amount) {
        byte[] posting = Messages.posting(order, guide, amount);
        context.forward(new Record<>(order.shopper, posting, order.received), Names.POSTINGS);
    }
}
