package peers.flink;

import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.util.Collector;
import org.apache.flink.util.OutputTag;
import peers.Event;
import peers.Messages;
import peers.Progress;
import peers.Rules;
import peers.ShopperDesk;

/** A shopper's events. Scans of item codes go on to the code's owner; postings and sums are an output of their own. */
final class EventsByShopper extends Counting<String, byte[]> implements ShopperDesk.Effects {
    private static final long serialVersionUID = 1;
    static final OutputTag<FlinkJob.Output> OUTPUTS = new OutputTag<>("outputs", Types.GENERIC(FlinkJob.Output.class));

    private transient ShopperDesk desk;
    private transient Event event;
    private transient Context context;
    private transient Collector<byte[]> out;

    EventsByShopper(Rules rules) {
        super(rules);
    }

    @Override
    public void open(OpenContext open) {
        super.open(open);
        desk = new ShopperDesk(rules, counters);
        event = new Event();
    }

    @Override
    public void processElement(byte[] encoded, Context now, Collector<byte[]> collector) throws Exception {
        context = now;
        out = collector;
        event.decode(encoded);
        byte[] after = desk.apply(event, state.value(), this);
        if (after != null) {
            state.update(after);
        }
        counted(now);
        Progress.EVENTS.increment();
    }

    @Override
    public void scan(Event scan, boolean again) {
        Progress.SENT_BY_CODE.increment();
        out.collect(Messages.scan(scan, again));
    }

    @Override
    public void posting(Event order, int guide, long amount) {
        context.output(OUTPUTS, new FlinkJob.Output("postings", order.shopper, Messages.posting(order, guide, amount)));
    }

    @Override
    void send(FlinkJob.Output output, Context now, Collector<byte[]> collector) {
        now.output(OUTPUTS, output);
    }
}
