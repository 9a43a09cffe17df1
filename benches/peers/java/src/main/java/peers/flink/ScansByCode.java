package peers.flink;

import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.util.Collector;
import peers.CodeDesk;
import peers.Event;
import peers.Messages;
import peers.Progress;
import peers.Rules;

/** Counts the scans of each code, gives it to its first shopper, and draws. */
final class ScansByCode extends Counting<Long, FlinkJob.Output> {
    private static final long serialVersionUID = 1;

    private transient CodeDesk desk;
    private transient Event event;

    ScansByCode(Rules rules) {
        super(rules);
    }

    @Override
    public void open(OpenContext open) {
        super.open(open);
        desk = new CodeDesk(rules, counters);
        event = new Event();
    }

    @Override
    public void processElement(byte[] scan, Context context, Collector<FlinkJob.Output> out) throws Exception {
        boolean again = Messages.readScan(scan, event);
        state.update(desk.scan(event, again, state.value()));
        byte[] result = Messages.result(desk.result, desk.prize, desk.scans, event.id);
        out.collect(new FlinkJob.Output("results", event.shopper, result));
        counted(context);
        Progress.READ_BY_CODE.increment();
    }

    @Override
    void send(FlinkJob.Output output, Context now, Collector<FlinkJob.Output> out) {
        out.collect(output);
    }
}
