import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.Externalizable;
import java.io.IOException;
import java.io.ObjectInput;
import java.io.ObjectInputStream;
import java.io.ObjectOutput;
import java.io.ObjectOutputStream;
import java.io.ObjectStreamClass;
import java.io.ObjectStreamField;
import java.io.Serializable;
import java.lang.reflect.Array;
import java.lang.reflect.Field;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.sql.Timestamp;
import java.time.Instant;
import java.util.*;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;

/**
 * Makes random object streams and says what is in them, then reads streams and says what is in those.
 *
 * <p>Arguments: a seed and how many streams to make. Output: for each a length and the stream, a length and the
 * description; then, for each stream from standard input (a length and the bytes), a length and the description.
 */
public class Streams {
    enum Level { GUEST, MEMBER { @Override public String toString() { return "m"; } }, ADMIN }

    static class Plain { int lost; }

    static class Base extends Plain implements Serializable {
        private static final long serialVersionUID = 1;
        int number; String text; Object any;
    }

    static class Derived extends Base {
        private static final long serialVersionUID = 2;
        byte b; char c; double d; float f; long j; short s; boolean z; Level level; int[] marks; List<Object> list; Derived next; String text;
        transient Object gone = new Object();
    }

    record Point(int x, String label, Object inside) implements Serializable {}

    static class Custom implements Serializable {
        private static final long serialVersionUID = 3;
        int kept; Object inner;
        transient byte[] extra; transient Object more;

        private void writeObject(ObjectOutputStream out) throws IOException {
            out.defaultWriteObject();
            out.writeInt(extra.length);
            out.write(extra);
            out.writeObject(more);
            out.writeUTF("end");
        }

        private void readObject(ObjectInputStream in) throws IOException, ClassNotFoundException {
            in.defaultReadObject();
            extra = new byte[in.readInt()];
            in.readFully(extra);
            more = in.readObject();
            if (!in.readUTF().equals("end")) throw new IOException("no end");
        }
    }

    /** Writes something before its fields. */
    static class Late implements Serializable {
        private static final long serialVersionUID = 4;
        long number; String text;

        private void writeObject(ObjectOutputStream out) throws IOException {
            out.writeInt(7);
            out.defaultWriteObject();
        }

        private void readObject(ObjectInputStream in) throws IOException, ClassNotFoundException {
            if (in.readInt() != 7) throw new IOException("not seven");
            in.defaultReadObject();
        }
    }

    public static class Ext implements Externalizable {
        private static final long serialVersionUID = 5;
        Object inner; byte[] data = {};

        @Override public void writeExternal(ObjectOutput out) throws IOException {
            out.writeObject(inner);
            out.writeInt(data.length);
            out.write(data);
        }

        @Override public void readExternal(ObjectInput in) throws IOException, ClassNotFoundException {
            inner = in.readObject();
            data = new byte[in.readInt()];
            in.readFully(data);
        }
    }

    // ---- making

    final Random random;
    final List<Object> made = new ArrayList<>();
    final boolean late;

    Streams(Random random) {
        this.random = random;
        this.late = random.nextInt(8) == 0;
    }

    String text() {
        int kind = random.nextInt(40);
        int length = kind == 0 ? 22_000 + random.nextInt(50_000) : random.nextInt(12);
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < length; i++) {
            switch (random.nextInt(kind == 1 ? 5 : 3)) {
                case 0, 1 -> text.append((char) ('a' + random.nextInt(26)));
                case 2 -> text.append((char) random.nextInt(0x800));
                case 3 -> text.append((char) (0xD800 + random.nextInt(0x800)));
                default -> text.appendCodePoint(0x10000 + random.nextInt(0x10000));
            }
        }
        return text.toString();
    }

    byte[] bytes(int below) {
        byte[] bytes = new byte[random.nextInt(below)];
        random.nextBytes(bytes);
        return bytes;
    }

    Object key() {
        return random.nextBoolean() ? (Object) text() : (Object) random.nextInt();
    }

    Object value(int depth) {
        if (!made.isEmpty() && random.nextInt(6) == 0) {
            return made.get(random.nextInt(made.size()));
        }
        int kind = random.nextInt(depth > 0 ? 46 : 19);
        int size = random.nextInt(4);
        return switch (kind) {
            case 0 -> null;
            case 1, 2 -> text();
            case 3 -> random.nextInt();
            case 4 -> random.nextInt(256) - 128;
            case 5 -> random.nextLong();
            case 6 -> (long) random.nextInt(300);
            case 7 -> (short) random.nextInt();
            case 8 -> (byte) random.nextInt();
            case 9 -> (char) random.nextInt();
            case 10 -> random.nextBoolean();
            case 11 -> Float.intBitsToFloat(random.nextInt() & 0xFF7FFFFF);
            case 12 -> random.nextGaussian();
            case 13 -> new Date(random.nextLong());
            case 14 -> new BigInteger(random.nextInt(200), random).multiply(BigInteger.valueOf(random.nextInt(3) - 1));
            case 15 -> new BigDecimal(new BigInteger(random.nextInt(200), random), random.nextInt(40) - 20);
            case 16 -> new UUID(random.nextLong(), random.nextLong());
            case 17 -> Instant.ofEpochSecond(random.nextInt(), random.nextInt(1_000_000_000));
            case 18 -> Level.values()[random.nextInt(3)];
            case 19 -> keep(bytes(2000));
            case 20 -> keep(random.ints(size).toArray());
            case 21 -> keep(random.longs(size).toArray());
            case 22 -> keep(text().toCharArray());
            case 23 -> keep(new boolean[] {true, false});
            case 24 -> keep(new short[size]);
            case 25 -> keep(random.doubles(size).toArray());
            case 26 -> keep(new float[] {1.5f, -0f});
            case 27 -> keep(new int[][] {{1, 2}, {}, null});
            case 28 -> {
                Object[] array = keep(new Object[size]);
                for (int i = 0; i < size; i++) array[i] = value(depth - 1);
                yield array;
            }
            case 29 -> {
                String[] array = keep(new String[size]);
                for (int i = 0; i < size; i++) array[i] = random.nextInt(4) == 0 ? null : text();
                yield array;
            }
            case 30, 31 -> fill(keep(new ArrayList<>()), size, depth);
            case 32 -> fill(keep(new LinkedList<>()), size, depth);
            case 33 -> fill(keep(new Vector<>()), size, depth);
            case 34 -> keep(new ArrayDeque<>(List.of(text(), 1, Level.GUEST)));
            case 35 -> {
                Map<Object, Object> map = keep(switch (random.nextInt(4)) {
                    case 0 -> new HashMap<>();
                    case 1 -> new LinkedHashMap<>();
                    case 2 -> new Hashtable<>();
                    default -> new ConcurrentHashMap<>();
                });
                for (int i = 0; i < size * 5; i++) {
                    Object value = value(depth - 1);
                    map.put(key(), value == null ? "null" : value);
                }
                yield map;
            }
            case 36 -> {
                Map<Object, Object> map = keep(new TreeMap<>());
                for (int i = 0; i < size; i++) map.put(text(), value(depth - 1));
                yield map;
            }
            case 37 -> {
                Set<Object> set = keep(random.nextBoolean() ? new HashSet<>() : new LinkedHashSet<>());
                for (int i = 0; i < size * 5; i++) set.add(key());
                yield set;
            }
            case 38 -> keep(new TreeSet<>(List.of("a" + text(), "b")));
            case 39 -> keep(switch (random.nextInt(5)) {
                case 0 -> List.of("a", 1);
                case 1 -> Set.of("x", "y");
                case 2 -> Map.of("k", 5L);
                case 3 -> Collections.unmodifiableList(new ArrayList<>(List.of(text())));
                default -> new CopyOnWriteArrayList<>(List.of(text(), 2.5));
            });
            case 40 -> {
                Base base = keep(new Base());
                fill(base, depth);
                yield base;
            }
            case 41, 42 -> derived(depth);
            // Nothing that may lead back to the record: Java reads a reference to one that is not made yet as null.
            case 43 -> keep(new Point(random.nextInt(), text(), random.nextBoolean() ? text() : bytes(20)));
            case 44 -> {
                if (late) {
                    Late object = keep(new Late());
                    object.number = random.nextLong();
                    object.text = random.nextInt(3) == 0 ? null : text();
                    yield object;
                }
                Custom custom = keep(new Custom());
                custom.kept = random.nextInt();
                custom.inner = value(depth - 1);
                custom.extra = bytes(3000);
                custom.more = value(depth - 1);
                yield custom;
            }
            default -> {
                Ext ext = keep(new Ext());
                ext.inner = value(depth - 1);
                ext.data = bytes(2000);
                yield ext;
            }
        };
    }

    <T> T keep(T object) {
        made.add(object);
        return object;
    }

    Object fill(Collection<Object> list, int size, int depth) {
        for (int i = 0; i < size; i++) list.add(value(depth - 1));
        return list;
    }

    void fill(Base base, int depth) {
        base.number = random.nextInt();
        base.text = text();
        base.any = value(depth - 1);
    }

    Object derived(int depth) {
        Derived object = keep(new Derived());
        fill(object, depth);
        object.b = (byte) random.nextInt();
        object.c = (char) random.nextInt();
        object.d = random.nextDouble();
        object.f = random.nextFloat();
        object.j = random.nextLong();
        object.s = (short) random.nextInt();
        object.z = random.nextBoolean();
        object.level = Level.values()[random.nextInt(3)];
        object.marks = random.nextBoolean() ? null : new int[] {1, -1};
        object.list = new ArrayList<>();
        fill(object.list, 2, depth);
        for (Object other : made) {
            if (other instanceof Derived derived && random.nextInt(3) == 0) object.next = derived;
        }
        return object;
    }

    /** A stream, and what is in it. */
    byte[][] stream() throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        Describer describer = new Describer();
        try (ObjectOutputStream out = new ObjectOutputStream(bytes)) {
            for (int items = 1 + random.nextInt(5); items > 0; items--) {
                switch (random.nextInt(8)) {
                    case 0 -> {
                        byte[] block = bytes(2600);
                        out.write(block);
                        describer.block(block, block.length);
                    }
                    case 1 -> {
                        out.reset();
                        describer.reset();
                        made.clear();
                    }
                    default -> {
                        Object value = value(4);
                        out.writeObject(value);
                        describer.object(value);
                    }
                }
            }
        }
        return new byte[][] {bytes.toByteArray(), describer.finish()};
    }

    // ---- describing

    static class Describer {
        final StringBuilder out = new StringBuilder();
        final StringBuilder block = new StringBuilder();
        final IdentityHashMap<Object, Integer> numbers = new IdentityHashMap<>();
        int next;

        void block(byte[] bytes, int length) {
            hex(block, bytes, length);
        }

        void reset() {
            numbers.clear();
        }

        void object(Object value) {
            endBlock();
            value(out, value);
            out.append('\n');
        }

        void endBlock() {
            if (block.length() > 0) out.append("block ").append(block).append('\n');
            block.setLength(0);
        }

        byte[] finish() {
            endBlock();
            return out.toString().getBytes(StandardCharsets.UTF_8);
        }

        static void hex(StringBuilder out, byte[] bytes, int length) {
            for (int i = 0; i < length; i++) {
                out.append(Character.forDigit(bytes[i] >> 4 & 15, 16)).append(Character.forDigit(bytes[i] & 15, 16));
            }
        }

        static String units(String text) {
            StringBuilder out = new StringBuilder("\"");
            for (char unit : text.toCharArray()) {
                if (unit > 32 && unit < 127 && unit != '"' && unit != '\\') out.append(unit);
                else out.append('\\').append((int) unit).append(';');
            }
            return out.append('"').toString();
        }

        static String simple(Object value) {
            if (value == null) return "null";
            if (value instanceof String text) return units(text);
            if (value instanceof Character unit) return "C" + (int) unit;
            if (value instanceof Boolean flag) return "Z" + (flag ? 1 : 0);
            if (value instanceof Byte number) return "B" + number;
            if (value instanceof Short number) return "S" + number;
            if (value instanceof Integer number) return "I" + number;
            if (value instanceof Long number) return "J" + number;
            if (value instanceof Float number) return "F" + Integer.toHexString(Float.floatToRawIntBits(number));
            if (value instanceof Double number) return "D" + Long.toHexString(Double.doubleToRawLongBits(number));
            if (value instanceof Enum<?> constant) return "enum " + constant.getDeclaringClass().getName() + "." + constant.name();
            if (value instanceof Date date) return "date " + date.getTime();
            if (value instanceof BigInteger number) return "big " + number;
            if (value instanceof BigDecimal number) return "big " + number.unscaledValue() + " scale " + number.scale();
            if (value instanceof UUID uuid) return "uuid " + uuid.toString().replace("-", "");
            if (value instanceof Instant instant) return "instant " + instant.getEpochSecond() + " " + instant.getNano();
            return null;
        }

        void value(StringBuilder out, Object value) {
            String simple = simple(value);
            if (simple != null) {
                out.append(simple);
                return;
            }
            Integer number = numbers.get(value);
            if (number != null) {
                out.append('#').append(number);
                return;
            }
            numbers.put(value, next);
            out.append(next++).append('=');
            Class<?> type = value.getClass();
            if (type.isArray()) {
                out.append(type.getName()).append('[');
                for (int i = 0; i < Array.getLength(value); i++) {
                    if (i > 0) out.append(' ');
                    value(out, Array.get(value, i));
                }
                out.append(']');
            } else if (type.getName().equals("java.util.Collections$UnmodifiableRandomAccessList")) {
                elements(out, "java.util.Collections$UnmodifiableList", (List<?>) value, false);
            } else if (type.getName().startsWith("java.util.ImmutableCollections")) {
                if (value instanceof Map<?, ?> map) entries(out, "java.util.CollSer", map);
                else elements(out, "java.util.CollSer", (Collection<?>) value, value instanceof Set);
            } else if (value instanceof Map<?, ?> map) {
                entries(out, type.getName(), map);
            } else if (value instanceof Collection<?> list) {
                elements(out, type.getName(), list, value instanceof Set);
            } else {
                fields(out, value, type);
            }
        }

        void elements(StringBuilder out, String type, Collection<?> elements, boolean set) {
            List<Object> all = new ArrayList<>(elements);
            if (set) all.sort(Comparator.comparing(Describer::simple));
            out.append(type).append('(');
            for (Object element : all) {
                value(out, element);
                out.append(' ');
            }
            out.append(')');
        }

        void entries(StringBuilder out, String type, Map<?, ?> map) {
            List<Map.Entry<?, ?>> all = new ArrayList<>(map.entrySet());
            all.sort(Comparator.comparing(entry -> simple(entry.getKey())));
            out.append(type).append('(');
            for (Map.Entry<?, ?> entry : all) {
                value(out, entry.getKey());
                out.append(':');
                value(out, entry.getValue());
                out.append(' ');
            }
            out.append(')');
        }

        void fields(StringBuilder out, Object object, Class<?> type) {
            out.append(type.getName()).append('{');
            List<Class<?>> chain = new ArrayList<>();
            for (Class<?> c = type; c != null && Serializable.class.isAssignableFrom(c); c = c.getSuperclass()) chain.add(0, c);
            for (Class<?> c : chain) {
                for (ObjectStreamField described : ObjectStreamClass.lookup(c).getFields()) {
                    try {
                        Field field = c.getDeclaredField(described.getName());
                        field.setAccessible(true);
                        out.append(described.getName()).append('=');
                        value(out, field.get(object));
                        out.append(' ');
                    } catch (ReflectiveOperationException error) {
                        throw new IllegalStateException(error);
                    }
                }
            }
            out.append('}');
        }
    }

    static byte[] read(byte[] stream) {
        Describer describer = new Describer();
        try (ObjectInputStream in = new ObjectInputStream(new ByteArrayInputStream(stream))) {
            byte[] buffer = new byte[4096];
            while (true) {
                while (in.available() > 0) {
                    describer.block(buffer, in.read(buffer));
                }
                try {
                    describer.object(in.readObject());
                } catch (EOFException end) {
                    return describer.finish();
                }
            }
        } catch (Exception error) {
            return ("refused: " + error).getBytes(StandardCharsets.UTF_8);
        }
    }

    static void put(DataOutputStream out, byte[] bytes) throws IOException {
        out.writeInt(bytes.length);
        out.write(bytes);
    }

    public static void main(String[] args) throws IOException {
        long seed = Long.parseLong(args[0]);
        DataOutputStream out = new DataOutputStream(new java.io.BufferedOutputStream(System.out, 1 << 16));
        for (int i = 0; i < Integer.parseInt(args[1]); i++) {
            for (byte[] part : new Streams(new Random(seed + i)).stream()) put(out, part);
        }
        out.flush();
        DataInputStream in = new DataInputStream(new java.io.BufferedInputStream(System.in));
        while (true) {
            byte[] stream;
            try {
                stream = new byte[in.readInt()];
            } catch (EOFException end) {
                break;
            }
            in.readFully(stream);
            put(out, read(stream));
            out.flush();
        }
    }
}
