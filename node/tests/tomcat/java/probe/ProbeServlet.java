package probe;

import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import jakarta.servlet.http.HttpSession;
import java.io.IOException;
import java.lang.reflect.Field;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.apache.catalina.Context;
import org.apache.catalina.ha.session.BackupManager;
import org.apache.catalina.ha.session.DeltaManager;
import org.apache.catalina.ha.session.DeltaSession;
import org.apache.catalina.ha.tcp.SimpleTcpCluster;
import org.apache.catalina.session.ManagerBase;
import org.apache.catalina.session.StandardSession;
import org.apache.catalina.tribes.Member;
import org.apache.catalina.tribes.tipis.AbstractReplicatedMap;

/** Every endpoint of the probe. */
final class ProbeServlet extends HttpServlet {
    private static final long serialVersionUID = 1;

    private final transient Settings settings;
    private final transient Context context;
    private final transient SimpleTcpCluster cluster;
    private final transient Random random = new Random();

    ProbeServlet(Settings settings, Context context, SimpleTcpCluster cluster) {
        this.settings = settings;
        this.context = context;
        this.cluster = cluster;
    }

    /** A request that cannot be answered: its status and what to say. */
    private static final class Refused extends RuntimeException {
        private static final long serialVersionUID = 1;
        final int status;

        Refused(int status, String why) {
            super(why);
            this.status = status;
        }
    }

    @Override
    protected void doGet(HttpServletRequest request, HttpServletResponse response)
            throws IOException {
        request.setCharacterEncoding("UTF-8");
        int status = 200;
        Map<String, Object> answer = new LinkedHashMap<>();
        answer.put("node", settings.name);
        try {
            status = answer(request, answer);
        } catch (Refused e) {
            status = e.status;
            answer.put("error", e.getMessage());
        } catch (RuntimeException e) {
            e.printStackTrace(System.out);
            status = 503;
            answer.put("error", e.toString());
        }
        byte[] body = Json.of(answer).getBytes(StandardCharsets.UTF_8);
        response.setStatus(status);
        response.setContentType("application/json");
        response.setContentLength(body.length);
        response.getOutputStream().write(body);
    }

    private int answer(HttpServletRequest request, Map<String, Object> answer) {
        String path = request.getServletPath();
        switch (path) {
            case "/s/ready":
                answer.put("ok", true);
                return 200;
            case "/m/state":
                state(request, answer);
                return 200;
            case "/m/session":
                try {
                    return peek(parameter(request, "id"), answer);
                } catch (IllegalStateException ended) {
                    // It ended while it was looked at.
                    answer.clear();
                    answer.put("node", settings.name);
                    answer.put("error", "the session has just ended: " + ended.getMessage());
                    return 404;
                }
            case "/c/get", "/c/set", "/c/remove":
                contextAttribute(path, request, answer);
                return 200;
            default:
                if (!path.startsWith("/s/")) {
                    throw new Refused(404, "there is no " + path);
                }
                session(path, request, answer);
                return 200;
        }
    }

    private void session(String path, HttpServletRequest request, Map<String, Object> answer) {
        boolean create = !"0".equals(request.getParameter("create"));
        HttpSession session = request.getSession(create && !path.equals("/s/invalidate"));
        answer.put("id", session == null ? null : session.getId());
        answer.put("isNew", session != null && session.isNew());
        switch (path) {
            case "/s/get" -> {
                String k = parameter(request, "k");
                answer.put("k", k);
                answer.putAll(Values.described(session == null ? null : session.getAttribute(k)));
            }
            case "/s/set" -> {
                String k = parameter(request, "k");
                Object v = value(parameter(request, "type"), parameter(request, "v"));
                String max = request.getParameter("max");
                if (session != null) {
                    if (max != null) {
                        session.setMaxInactiveInterval(number("max", max));
                    }
                    session.setAttribute(k, v);
                }
                answer.put("k", k);
                answer.putAll(Values.described(session == null ? null : v));
            }
            case "/s/remove" -> {
                String k = parameter(request, "k");
                answer.put("k", k);
                answer.put("was", Values.described(session == null ? null : session.getAttribute(k)));
                if (session != null) {
                    session.removeAttribute(k);
                }
            }
            case "/s/batch" -> {
                String[] ops = request.getParameterValues("op");
                for (String op : ops == null ? new String[0] : ops) {
                    batch(session, op);
                }
                answer.put("attributes", session == null ? Map.of() : attributes(session));
            }
            case "/s/dump" -> {
                answer.put("creation", session == null ? null : session.getCreationTime());
                answer.put("lastAccessed", session == null ? null : session.getLastAccessedTime());
                answer.put(
                        "maxInactiveInterval",
                        session == null ? null : session.getMaxInactiveInterval());
                answer.put("attributes", session == null ? Map.of() : attributes(session));
            }
            case "/s/maxinactive" -> {
                int max = number("max", parameter(request, "max"));
                if (session != null) {
                    session.setMaxInactiveInterval(max);
                }
                answer.put("maxInactiveInterval", max);
            }
            case "/s/invalidate" -> {
                answer.put("invalidated", session != null);
                if (session != null) {
                    session.invalidate();
                }
            }
            case "/s/changeid" -> {
                answer.put("old", session == null ? null : session.getId());
                answer.put("id", session == null ? null : request.changeSessionId());
            }
            case "/s/bench" -> {
                byte[] value = new byte[number("size", parameter(request, "size"))];
                random.nextBytes(value);
                if (session != null) {
                    session.setAttribute("b", value);
                }
                answer.remove("node");
                answer.remove("isNew");
            }
            case "/s/touchlist" -> touchList(session, request, answer);
            default -> throw new Refused(404, "there is no " + path);
        }
    }

    @SuppressWarnings("unchecked")
    private void touchList(
            HttpSession session, HttpServletRequest request, Map<String, Object> answer) {
        String k = parameter(request, "k");
        String v = parameter(request, "v");
        answer.put("k", k);
        if (session == null) {
            answer.putAll(Values.described(null));
            return;
        }
        if (session.getAttribute(k) == null) {
            session.setAttribute(k, new ArrayList<String>());
        }
        ((List<String>) session.getAttribute(k)).add(v);
        answer.putAll(Values.described(session.getAttribute(k)));
    }

    private void batch(HttpSession session, String op) {
        String[] parts = op.split(":", 4);
        if (parts[0].equals("set") && parts.length == 4) {
            Object v = value(parts[2], parts[3]);
            if (session != null) {
                session.setAttribute(parts[1], v);
            }
        } else if (parts[0].equals("rm") && parts.length == 2) {
            if (session != null) {
                session.removeAttribute(parts[1]);
            }
        } else if (parts[0].equals("sleep") && parts.length == 2) {
            try {
                Thread.sleep(number("op", parts[1]));
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        } else {
            throw new Refused(400, "op: `" + op + "` is neither set:k:type:v nor rm:k nor sleep:ms");
        }
    }

    private void contextAttribute(
            String path, HttpServletRequest request, Map<String, Object> answer) {
        String k = parameter(request, "k");
        Object was = getServletContext().getAttribute(k);
        answer.put("k", k);
        if (path.equals("/c/set")) {
            Object v = value(parameter(request, "type"), parameter(request, "v"));
            getServletContext().setAttribute(k, v);
            answer.putAll(Values.described(v));
        } else if (path.equals("/c/remove")) {
            getServletContext().removeAttribute(k);
            answer.put("was", Values.described(was));
        } else {
            answer.putAll(Values.described(was));
        }
    }

    private void state(HttpServletRequest request, Map<String, Object> answer) {
        List<Object> members = new ArrayList<>();
        for (Member member : cluster == null ? new Member[0] : cluster.getMembers()) {
            Map<String, Object> out = new LinkedHashMap<>();
            out.put("host", host(member.getHost()));
            out.put("port", member.getPort());
            out.put("uniqueId", Clusters.hex(member.getUniqueId()));
            out.put("alive", member.getMemberAliveTime());
            out.put("domain", new String(member.getDomain(), StandardCharsets.ISO_8859_1));
            members.add(out);
        }
        answer.put("members", members);
        ManagerBase manager = (ManagerBase) context.getManager();
        boolean backup = manager instanceof BackupManager;
        int full = backup ? ((BackupManager) manager).getActiveSessionsFull() : manager.getActiveSessions();
        answer.put("sessionCount", manager.getActiveSessions());
        answer.put("sessionCountFull", full);
        if ("1".equals(request.getParameter("ids"))) {
            List<String> ids = new ArrayList<>(sessions(manager).keySet());
            List<String> all = ids;
            if (backup) {
                all = new ArrayList<>(((BackupManager) manager).getSessionIdsFull());
            }
            Collections.sort(ids);
            Collections.sort(all);
            answer.put("sessions", ids);
            answer.put("sessionsFull", all);
        }
        if (manager instanceof DeltaManager delta) {
            answer.put("received", received(delta));
            answer.put("sent", sent(delta));
        }
    }

    private static Map<String, Object> received(DeltaManager manager) {
        Map<String, Object> out = new LinkedHashMap<>();
        out.put("EVT_SESSION_CREATED", manager.getCounterReceive_EVT_SESSION_CREATED());
        out.put("EVT_SESSION_DELTA", manager.getCounterReceive_EVT_SESSION_DELTA());
        out.put("EVT_SESSION_ACCESSED", manager.getCounterReceive_EVT_SESSION_ACCESSED());
        out.put("EVT_SESSION_EXPIRED", manager.getCounterReceive_EVT_SESSION_EXPIRED());
        out.put("EVT_CHANGE_SESSION_ID", manager.getCounterReceive_EVT_CHANGE_SESSION_ID());
        out.put("EVT_GET_ALL_SESSIONS", manager.getCounterReceive_EVT_GET_ALL_SESSIONS());
        out.put("EVT_ALL_SESSION_DATA", manager.getCounterReceive_EVT_ALL_SESSION_DATA());
        return out;
    }

    private static Map<String, Object> sent(DeltaManager manager) {
        Map<String, Object> out = new LinkedHashMap<>();
        out.put("EVT_SESSION_CREATED", manager.getCounterSend_EVT_SESSION_CREATED());
        out.put("EVT_SESSION_DELTA", manager.getCounterSend_EVT_SESSION_DELTA());
        out.put("EVT_SESSION_ACCESSED", manager.getCounterSend_EVT_SESSION_ACCESSED());
        out.put("EVT_SESSION_EXPIRED", manager.getCounterSend_EVT_SESSION_EXPIRED());
        out.put("EVT_CHANGE_SESSION_ID", manager.getCounterSend_EVT_CHANGE_SESSION_ID());
        out.put("EVT_GET_ALL_SESSIONS", manager.getCounterSend_EVT_GET_ALL_SESSIONS());
        out.put("EVT_ALL_SESSION_DATA", manager.getCounterSend_EVT_ALL_SESSION_DATA());
        return out;
    }

    /** One session as it lies here, without an access and without moving it. */
    private int peek(String id, Map<String, Object> answer) {
        ManagerBase manager = (ManagerBase) context.getManager();
        StandardSession session;
        String role;
        if (manager instanceof BackupManager) {
            AbstractReplicatedMap.MapEntry<?, ?> entry =
                    ((AbstractReplicatedMap<?, ?>) sessions(manager)).getInternal(id);
            session = entry == null ? null : (StandardSession) entry.getValue();
            role = entry == null ? null : role(entry);
            if (entry == null) {
                answer.put("error", "no session " + id + " here");
                return 404;
            }
        } else {
            session = (StandardSession) sessions(manager).get(id);
            if (session == null) {
                answer.put("error", "no session " + id + " here");
                return 404;
            }
            boolean primary = !(session instanceof DeltaSession delta) || delta.isPrimarySession();
            role = primary ? "primary" : "copy";
        }
        answer.put("id", id);
        answer.put("isNew", session != null && session.isNew());
        answer.put("role", role);
        if (session != null) {
            answer.put("lastAccessed", session.getLastAccessedTimeInternal());
            answer.put("maxInactiveInterval", session.getMaxInactiveInterval());
            answer.put("attributes", attributes(session));
        }
        return 200;
    }

    private static String role(AbstractReplicatedMap.MapEntry<?, ?> entry) {
        if (entry.isPrimary()) {
            return "primary";
        }
        if (entry.isBackup()) {
            return "backup";
        }
        return entry.isProxy() ? "proxy" : "copy";
    }

    @SuppressWarnings("unchecked")
    private static Map<String, ?> sessions(ManagerBase manager) {
        try {
            Field field = ManagerBase.class.getDeclaredField("sessions");
            field.setAccessible(true);
            return (Map<String, ?>) field.get(manager);
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(e);
        }
    }

    private static Map<String, Object> attributes(HttpSession session) {
        Map<String, Object> out = new TreeMap<>();
        for (String name : Collections.list(session.getAttributeNames())) {
            out.put(name, Values.described(session.getAttribute(name)));
        }
        return out;
    }

    private static String host(byte[] address) {
        List<String> parts = new ArrayList<>();
        for (byte b : address) {
            parts.add(String.valueOf(b & 0xff));
        }
        return String.join(".", parts);
    }

    private static String parameter(HttpServletRequest request, String name) {
        String value = request.getParameter(name);
        if (value == null) {
            throw new Refused(400, "parameter " + name + " is missing");
        }
        return value;
    }

    private static int number(String name, String value) {
        try {
            return Integer.parseInt(value);
        } catch (NumberFormatException e) {
            throw new Refused(400, "parameter " + name + ": `" + value + "` is not a number");
        }
    }

    private static Object value(String type, String v) {
        try {
            return Values.parse(type, v);
        } catch (RuntimeException e) {
            throw new Refused(400, "parameter v: `" + v + "` of type " + type + ": " + e.getMessage());
        }
    }
}
