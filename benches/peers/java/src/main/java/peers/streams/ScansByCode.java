package peers.streams;

import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import peers.CodeDesk;
import peers.Event;
import peers.Messages;
import peers.Progress;
import peers.Rules;

/** Counts the scans of each code, gives it to its first shopper, and draws. */
final class ScansByCode implements Processor<byte[], byte[], byte[], byte[]> {
    private final Rules rules;
    private final Event event = new Event();
    private ProcessorContext<byte[], byte[]> context;
    private KeyValueStore<Bytes, byte[]> states;
    private CodeDesk desk;

    ScansByCode(Rules rules) {
        this.rules = rules;
    }

    @Override
    public void init(ProcessorContext<byte[], byte[]> processor) {
        context = processor;
        states = processor.getStateStore(Names.CODES);
        CounterStore counts = processor.getStateStore(Names.CODE_COUNTS);
        counts.connect(processor, Names.CODE_COUNTERS);
        desk = new CodeDesk(rules, counts.counters);
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
        boolean again = Messages.readScan(record.value(), event);
        Bytes code = Bytes.wrap(record.key());
        states.put(code, desk.scan(event, again, states.get(code)));
        byte[] result = Messages.result(desk.result, desk.prize, desk.scans, event.id);
        context.forward(new Record<>(event.shopper, result, event.received), Names.RESULTS);
        Progress.READ_BY_CODE.increment();
    }
}
