package peers.flink;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.runtime.state.FunctionInitializationContext;
import org.apache.flink.runtime.state.FunctionSnapshotContext;
import org.apache.flink.streaming.api.checkpoint.CheckpointedFunction;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;
import peers.Counters;
import peers.Messages;
import peers.Rules;

/** A function with a state of bytes for each key, and sums: these are sent every half second, and those not sent are in each checkpoint. */
abstract class Counting<K, O> extends KeyedProcessFunction<K, byte[], O> implements CheckpointedFunction {
    private static final long serialVersionUID = 1;
    private static final long INTERVAL_MS = 500;

    final Rules rules;
    transient Counters counters;
    transient ValueState<byte[]> state;
    private transient ListState<String> saved;
    private transient List<FlinkJob.Output> unsent;
    private transient boolean awaited;

    Counting(Rules rules) {
        this.rules = rules;
    }

    abstract void send(FlinkJob.Output output, Context context, Collector<O> out);

    @Override
    public void open(OpenContext context) {
        state = getRuntimeContext().getState(new ValueStateDescriptor<>("state", FlinkJob.BYTES));
    }

    /** After each event: sees to it that its sums are sent. */
    void counted(Context context) {
        if (!awaited && (counters.isDirty() || !unsent.isEmpty())) {
            context.timerService().registerProcessingTimeTimer(context.timerService().currentProcessingTime() + INTERVAL_MS);
            awaited = true;
        }
    }

    @Override
    public void onTimer(long time, OnTimerContext context, Collector<O> out) {
        awaited = false;
        counters.drain((key, delta) -> unsent.add(FlinkJob.Output.counter(key, delta)));
        unsent.forEach(output -> send(output, context, out));
        unsent.clear();
    }

    @Override
    public void snapshotState(FunctionSnapshotContext context) throws Exception {
        counters.drain((key, delta) -> unsent.add(FlinkJob.Output.counter(key, delta)));
        List<String> lines = new ArrayList<>();
        for (FlinkJob.Output output : unsent) {
            lines.add(new String(output.key, StandardCharsets.UTF_8) + " " + Messages.number(output.value));
        }
        saved.update(lines);
    }

    @Override
    public void initializeState(FunctionInitializationContext context) throws Exception {
        counters = new Counters(rules);
        unsent = new ArrayList<>();
        saved = context.getOperatorStateStore().getListState(new ListStateDescriptor<>("unsent", Types.STRING));
        for (String line : saved.get()) {
            int blank = line.lastIndexOf(' ');
            unsent.add(FlinkJob.Output.counter(line.substring(0, blank), Long.parseLong(line.substring(blank + 1))));
        }
    }
}
