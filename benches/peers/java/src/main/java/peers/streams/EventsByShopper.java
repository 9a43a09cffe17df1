package peers.streams;

import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import peers.Event;
import peers.EventReader;
import peers.Messages;
import peers.Progress;
import peers.Rules;
import peers.ShopperDesk;

/** Reads events, which come by shopper. */
final class EventsByShopper implements Processor<byte[], byte[], byte[], byte[]>, ShopperDesk.Effects {
    private final Rules rules;
    private final EventReader reader;
    private final Event event = new Event();
    private ProcessorContext<byte[], byte[]> context;
    private KeyValueStore<Bytes, byte[]> states;
    private ShopperDesk desk;

    EventsByShopper(Rules rules) {
        this.rules = rules;
        this.reader = new EventReader(rules);
    }

    @Override
    public void init(ProcessorContext<byte[], byte[]> processor) {
        context = processor;
        states = processor.getStateStore(Names.SHOPPERS);
        CounterStore counts = processor.getStateStore(Names.COUNTS);
        counts.connect(processor, Names.COUNTERS);
        desk = new ShopperDesk(rules, counts.counters);
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
        if (reader.read(record.value(), record.timestamp(), event)) {
            Bytes shopper = Bytes.wrap(event.shopper);
            byte[] after = desk.apply(event, states.get(shopper), this);
            if (after != null) {
                states.put(shopper, after);
            }
        }
        Progress.EVENTS.increment();
    }

    @Override
    public void scan(Event scan, boolean again) {
        Progress.SENT_BY_CODE.increment();
        context.forward(new Record<>(Messages.number(scan.code), Messages.scan(scan, again), scan.received), Names.SCANS);
    }

    @Override
    public void posting(Event order, int guide, long amount) {
        byte[] posting = Messages.posting(order, guide, amount);
        context.forward(new Record<>(order.shopper, posting, order.received), Names.POSTINGS);
    }
}
