package probe;

import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;

/** What the environment says, checked. */
final class Settings {
    /** Another node of a static membership. */
    record Peer(String host, int port, byte[] uniqueId) {}

    final String name = text("PROBE_NAME", "n1");
    final String httpHost = text("PROBE_HTTP_HOST", "127.0.0.1");
    final int httpPort = number("PROBE_HTTP_PORT", 8081);
    final String clusterHost = text("PROBE_CLUSTER_HOST", "127.0.0.1");
    final int clusterPort = number("PROBE_CLUSTER_PORT", 4000);
    final String membership = oneOf("PROBE_MEMBERSHIP", "mcast", "static", "static-svc");
    final String mcastAddress = text("PROBE_MCAST_ADDR", "228.0.0.4");
    final int mcastPort = number("PROBE_MCAST_PORT", 45564);
    final String mcastBind = text("PROBE_MCAST_BIND", "");
    final int mcastFrequency = number("PROBE_MCAST_FREQ_MS", 500);
    final int mcastDrop = number("PROBE_MCAST_DROP_MS", 3000);
    final String domain = text("PROBE_DOMAIN", "");
    final byte[] uniqueId = uniqueId("PROBE_UNIQUE_ID", text("PROBE_UNIQUE_ID", ""));
    final List<Peer> peers = peers();
    final String manager = oneOf("PROBE_MANAGER", "delta", "backup", "none");
    final String sendOptions = text("PROBE_SEND_OPTIONS", "8");
    final String mapSendOptions = text("PROBE_MAP_SEND_OPTIONS", "6");
    final String[] contexts = text("PROBE_CONTEXTS", "ROOT").split(" +");
    final boolean replicatedContext = yes("PROBE_CTX_REPLICATED", "no");
    final int backgroundDelay = number("PROBE_BG_DELAY_S", 1);
    final int expireFrequency = number("PROBE_EXPIRE_FREQ", 1);
    /** Sessions in one message of a state transfer; 0 for all. */
    final int stateBlock = number("PROBE_STATE_BLOCK", 0);
    final boolean jvmRouteValve = yes("PROBE_JVMROUTE_VALVE", "yes");
    final String interceptors = text("PROBE_INTERCEPTORS", "");
    final String nodeDir = text("PROBE_NODE_DIR", System.getProperty("java.io.tmpdir") + "/probe");

    /** A variable that makes no sense; the message names it. */
    static final class Nonsense extends RuntimeException {
        private static final long serialVersionUID = 1;

        Nonsense(String variable, String why) {
            super(variable + ": " + why);
        }
    }

    private static String text(String variable, String otherwise) {
        String value = System.getenv(variable);
        return value == null || value.isEmpty() ? otherwise : value;
    }

    private static int number(String variable, int otherwise) {
        String value = text(variable, String.valueOf(otherwise));
        try {
            return Integer.parseInt(value);
        } catch (NumberFormatException e) {
            throw new Nonsense(variable, "`" + value + "` is not a number");
        }
    }

    private static String oneOf(String variable, String... allowed) {
        String value = text(variable, allowed[0]);
        if (!List.of(allowed).contains(value)) {
            throw new Nonsense(variable, "`" + value + "` is none of " + List.of(allowed));
        }
        return value;
    }

    private static boolean yes(String variable, String otherwise) {
        String value = text(variable, otherwise);
        if (!value.equals("yes") && !value.equals("no")) {
            throw new Nonsense(variable, "`" + value + "` is neither yes nor no");
        }
        return value.equals("yes");
    }

    private static byte[] uniqueId(String variable, String hex) {
        try {
            byte[] id = HexFormat.of().parseHex(hex);
            if (id.length == 16 || id.length == 0) {
                return id;
            }
        } catch (IllegalArgumentException e) {
            // said below
        }
        throw new Nonsense(variable, "`" + hex + "` is not 32 hex digits");
    }

    private static List<Peer> peers() {
        List<Peer> out = new ArrayList<>();
        for (String peer : text("PROBE_STATIC_MEMBERS", "").split(",")) {
            if (peer.isBlank()) {
                continue;
            }
            String[] parts = peer.trim().split(":");
            if (parts.length != 3) {
                throw new Nonsense("PROBE_STATIC_MEMBERS", "`" + peer + "` is not host:port:idhex");
            }
            byte[] id = uniqueId("PROBE_STATIC_MEMBERS", parts[2]);
            out.add(new Peer(parts[0], Integer.parseInt(parts[1]), id));
        }
        return out;
    }
}
