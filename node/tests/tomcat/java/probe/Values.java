package probe;

import java.math.BigInteger;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Date;
import java.util.HashMap;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.UUID;
import lab.LabExt;
import lab.LabUser;

/** The value types of the probe: from a request's words to a Java value, and to JSON. */
final class Values {
    private Values() {}

    /** The value that {@code v} of {@code type} names; throws IllegalArgumentException if none. */
    static Object parse(String type, String v) {
        switch (type) {
            case "string":
                return v;
            case "int":
                return Integer.valueOf(v);
            case "long":
                return Long.valueOf(v);
            case "double":
                return Double.valueOf(v);
            case "float":
                return Float.valueOf(v);
            case "short":
                return Short.valueOf(v);
            case "byte":
                return Byte.valueOf(v);
            case "bool":
                if (!v.equals("true") && !v.equals("false")) {
                    throw new IllegalArgumentException("is neither true nor false");
                }
                return Boolean.valueOf(v);
            case "char":
                if (v.length() != 1) {
                    throw new IllegalArgumentException("is not one UTF-16 character");
                }
                return v.charAt(0);
            case "bytes":
                return HexFormat.of().parseHex(v);
            case "list":
                return new ArrayList<>(items(v));
            case "set":
                return new HashSet<>(items(v));
            case "map":
                HashMap<String, String> map = new HashMap<>();
                for (String pair : items(v)) {
                    int at = pair.indexOf('=');
                    if (at < 0) {
                        throw new IllegalArgumentException("is not k=v,k=v");
                    }
                    map.put(pair.substring(0, at), pair.substring(at + 1));
                }
                return map;
            case "date":
                return new Date(Long.parseLong(v));
            case "strarr":
                return items(v).toArray(new String[0]);
            case "intarr":
                return items(v).stream().mapToInt(Integer::parseInt).toArray();
            case "bigint":
                return new BigInteger(v);
            case "uuid":
                return UUID.fromString(v);
            case "instant":
                return Instant.parse(v);
            case "enum":
                return LabUser.Level.valueOf(v);
            case "custom":
                return LabUser.parse(v);
            case "ext":
                return LabExt.parse(v);
            case "big":
                return "x".repeat(Integer.parseInt(v));
            default:
                throw new IllegalArgumentException("type " + type + " is unknown");
        }
    }

    private static List<String> items(String v) {
        return v.isEmpty() ? List.of() : Arrays.asList(v.split(",", -1));
    }

    /** {@code type} and {@code value} of an attribute, as every answer carries them. */
    static Map<String, Object> described(Object value) {
        Map<String, Object> out = new LinkedHashMap<>();
        out.put("type", value == null ? null : value.getClass().getName());
        out.put("value", json(value));
        return out;
    }

    private static Object json(Object value) {
        if (value instanceof byte[] bytes) {
            return HexFormat.of().formatHex(bytes);
        }
        if (value instanceof int[] ints) {
            return Arrays.stream(ints).boxed().toList();
        }
        if (value instanceof Object[] array) {
            return all(Arrays.asList(array));
        }
        if (value instanceof HashSet<?> set) {
            return all(new TreeSet<>(set));
        }
        if (value instanceof Collection<?> list) {
            return all(list);
        }
        if (value instanceof Map<?, ?> map) {
            Map<Object, Object> out = new TreeMap<>();
            map.forEach((key, item) -> out.put(key, json(item)));
            return out;
        }
        if (value instanceof Date date) {
            return date.getTime();
        }
        if (value instanceof BigInteger || value instanceof Enum) {
            return value.toString();
        }
        if (value instanceof LabUser user) {
            Map<String, Object> out = new LinkedHashMap<>();
            out.put("name", user.name);
            out.put("age", user.age);
            out.put("created", user.created);
            out.put("active", user.active);
            out.put("score", user.score);
            out.put("level", user.level == null ? null : user.level.name());
            out.put("roles", json(user.roles));
            out.put("marks", json(user.marks));
            out.put("boss", json(user.boss));
            return out;
        }
        if (value instanceof LabExt ext) {
            Map<String, Object> out = new LinkedHashMap<>();
            out.put("text", ext.text);
            out.put("n", ext.n);
            return out;
        }
        return value;
    }

    private static List<Object> all(Collection<?> items) {
        List<Object> out = new ArrayList<>();
        items.forEach(item -> out.add(json(item)));
        return out;
    }
}
