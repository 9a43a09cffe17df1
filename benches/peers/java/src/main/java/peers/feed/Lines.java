package peers.feed;

import java.io.IOException;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** Lines of a file of events, one after another. */
final class Lines implements AutoCloseable {
    private final FileChannel file;
    private final MappedByteBuffer bytes;

    Lines(Path path) throws IOException {
        file = FileChannel.open(path, StandardOpenOption.READ);
        bytes = file.map(FileChannel.MapMode.READ_ONLY, 0, file.size());
    }

    /** The next line with its end, or `null`. */
    byte[] next() {
        int from = bytes.position();
        int at = from;
        while (at < bytes.limit() && bytes.get(at) != '\n') {
            at++;
        }
        if (at == bytes.limit()) {
            return null;
        }
        byte[] line = new byte[at + 1 - from];
        bytes.get(line);
        return line;
    }

    /** A field's text, without its quotes; `null` if the line does not have it. */
    static String field(byte[] line, String name) {
        String text = new String(line, StandardCharsets.ISO_8859_1);
        String head = "\"" + name + "\":\"";
        int from = text.indexOf(head);
        return from < 0 ? null : text.substring(from + head.length(), text.indexOf('"', from + head.length()));
    }

    /** The number of the event that an id names, see `Generate`. */
    static int number(String id) {
        return Integer.parseUnsignedInt(id, 2, id.length(), 16);
    }

    @Override
    public void close() throws IOException {
        file.close();
    }
}
