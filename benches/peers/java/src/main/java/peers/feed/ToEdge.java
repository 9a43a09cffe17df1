package peers.feed;

import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import peers.Options;

/** Sends events to Mashang's edge as NDJSON over 16 connections; at a rate it also asks the console for some of the results. */
final class ToEdge {
    /** One of so many item scans is asked for. */
    private static final int ASKED = 500;
    private static final int WAIT_MS = 5000;

    private final String host;
    private final int port;
    private final int consolePort;
    private final int batch;
    private final int rate;
    private final Pace pace;
    private final String merchant;
    private final ExecutorService asking = Executors.newFixedThreadPool(16);
    private final AtomicReference<Exception> failed = new AtomicReference<>();

    private ToEdge(Options options) {
        String[] address = options.text("edge").split(":");
        host = address[0];
        port = Integer.parseInt(address[1]);
        consolePort = options.has("console") ? Integer.parseInt(options.text("console").split(":")[1]) : 0;
        rate = options.number("rate");
        batch = rate == 0 ? options.number("batch") : Generate.BATCH;
        merchant = options.text("merchant");
        pace = new Pace(rate, options.number("skip"), options.number("events"));
    }

    static void run(Options options) throws Exception {
        new ToEdge(options).send(options);
    }

    private void send(Options options) throws Exception {
        List<List<byte[]>> lanes = new ArrayList<>();
        for (int lane = 0; lane < Generate.LANES; lane++) {
            lanes.add(new ArrayList<>());
        }
        int count = 0;
        try (Lines lines = new Lines(options.path("file"))) {
            for (byte[] line = lines.next(); line != null; line = lines.next()) {
                lanes.get(count++ / Generate.BATCH % Generate.LANES).add(line);
            }
        }
        pace.begin();
        List<Thread> threads = new ArrayList<>();
        for (int lane = 0; lane < Generate.LANES; lane++) {
            int number = lane;
            Thread thread = new Thread(() -> {
                try {
                    lane(number, lanes.get(number));
                } catch (Exception e) {
                    failed.set(e);
                }
            });
            thread.start();
            threads.add(thread);
        }
        if (options.number("skip") > 0) {
            pace.await(options.number("skip"));
            System.out.println("measured");
        }
        for (Thread thread : threads) {
            thread.join();
        }
        asking.shutdown();
        asking.awaitTermination(30, TimeUnit.SECONDS);
        if (failed.get() != null) {
            failed.get().printStackTrace();
            System.exit(1);
        }
        System.out.println("sent " + count);
        System.out.println(pace.report());
    }

    private void lane(int lane, List<byte[]> lines) throws IOException {
        try (Connection edge = new Connection(host, port)) {
            ByteArrayOutputStream body = new ByteArrayOutputStream();
            for (int from = 0; from < lines.size(); from += batch) {
                int to = Math.min(from + batch, lines.size());
                // The event's place in the file, from its place in the lane.
                int first = (from / Generate.BATCH * Generate.LANES + lane) * Generate.BATCH;
                pace.await(first);
                body.reset();
                lines.subList(from, to).forEach(body::writeBytes);
                String answer = edge.post("/v1/events", body.toByteArray());
                if (!answer.contains("\"accepted\":" + (to - from) + ",")) {
                    throw new IOException("the edge answered " + answer);
                }
                for (int i = from; i < to && consolePort != 0; i++) {
                    int event = first + i - from;
                    String id = Lines.field(lines.get(i), "id");
                    // Copies of earlier events are not asked for, nor what has no draw.
                    if (event % ASKED == 7 && Lines.number(id) == event && Lines.field(lines.get(i), "order") == null) {
                        String shopper = Lines.field(lines.get(i), "shopper");
                        asking.execute(() -> ask(event, id, shopper));
                    }
                }
            }
        }
    }

    private void ask(int event, String id, String shopper) {
        String path = "/v1/results/" + id + "?shopper=" + shopper + "&merchant=" + merchant + "&wait=" + WAIT_MS;
        try (Connection console = new Connection(host, consolePort)) {
            String answer = console.get(path);
            while (answer.contains("\"pending\"")) {
                answer = console.get(path);
            }
            pace.readable(event, System.nanoTime());
        } catch (IOException e) {
            failed.set(e);
        }
    }

    /** One connection of HTTP/1.1, one request at a time. */
    private static final class Connection implements AutoCloseable {
        private final Socket socket;
        private final InputStream in;
        private final OutputStream out;
        private final String host;

        Connection(String host, int port) throws IOException {
            this.host = host + ":" + port;
            socket = new Socket(host, port);
            socket.setTcpNoDelay(true);
            socket.setSoTimeout(60_000);
            in = new BufferedInputStream(socket.getInputStream());
            out = socket.getOutputStream();
        }

        String post(String path, byte[] body) throws IOException {
            String head = "POST " + path + " HTTP/1.1\r\nHost: " + host + "\r\nContent-Type: application/x-ndjson\r\nContent-Length: "
                + body.length + "\r\n\r\n";
            ByteArrayOutputStream request = new ByteArrayOutputStream(head.length() + body.length);
            request.writeBytes(head.getBytes(StandardCharsets.US_ASCII));
            request.writeBytes(body);
            out.write(request.toByteArray());
            return answer();
        }

        String get(String path) throws IOException {
            out.write(("GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n").getBytes(StandardCharsets.US_ASCII));
            return answer();
        }

        private String answer() throws IOException {
            String status = line();
            int length = 0;
            for (String header = line(); !header.isEmpty(); header = line()) {
                if (header.regionMatches(true, 0, "content-length:", 0, 15)) {
                    length = Integer.parseInt(header.substring(15).trim());
                }
            }
            String body = new String(in.readNBytes(length), StandardCharsets.UTF_8);
            if (!status.startsWith("HTTP/1.1 20")) {
                throw new IOException(status + ": " + body);
            }
            return body;
        }

        private String line() throws IOException {
            StringBuilder line = new StringBuilder();
            for (int c = in.read(); c != '\n'; c = in.read()) {
                if (c < 0) {
                    throw new IOException("the server has closed the connection");
                }
                if (c != '\r') {
                    line.append((char) c);
                }
            }
            return line.toString();
        }

        @Override
        public void close() throws IOException {
            socket.close();
        }
    }
}
