import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.catalina.Session;
import org.apache.catalina.connector.Connector;
import org.apache.catalina.core.StandardContext;
import org.apache.catalina.core.StandardHost;
import org.apache.catalina.ha.ClusterMessage;
import org.apache.catalina.ha.session.DeltaManager;
import org.apache.catalina.ha.session.SessionMessage;
import org.apache.catalina.ha.tcp.ReplicationValve;
import org.apache.catalina.ha.tcp.SimpleTcpCluster;
import org.apache.catalina.startup.Tomcat;
import org.apache.catalina.tribes.Member;
import org.apache.catalina.tribes.group.GroupChannel;
import org.apache.catalina.tribes.group.interceptors.MessageDispatchInterceptor;
import org.apache.catalina.tribes.group.interceptors.StaticMembershipInterceptor;
import org.apache.catalina.tribes.group.interceptors.TcpFailureDetector;
import org.apache.catalina.tribes.membership.StaticMember;
import org.apache.catalina.tribes.transport.nio.NioReceiver;

/**
 * An embedded Tomcat whose context {@code /shop} has a DeltaManager.
 *
 * <p>Arguments: own port, the other node's port, sessions to create, bytes in the attribute of each, a directory for
 * Tomcat, {@code channelSendOptions}, the port of an HTTP connector or 0. With no sessions to create it joins, and says how
 * long its manager took from asking for the sessions to having them; with -1 it only says when it has started and when the other node is
 * there. On standard input: {@code expect N} answers
 * {@code RECEIVED} when N more deltas have been applied; {@code deltas N SIZE} changes an attribute of one session N times.
 */
public final class TomcatNode {
    private TomcatNode() {}

    /** A DeltaManager that looks at the clock when it asks and when it is told that all has come. */
    public static final class TimedManager extends DeltaManager {
        private final CountDownLatch done = new CountDownLatch(1);
        private long askedAt;
        private long doneAt;

        @Override
        public synchronized void getAllClusterSessions() {
            askedAt = System.nanoTime();
            super.getAllClusterSessions();
        }

        @Override
        protected void handleALL_SESSION_TRANSFERCOMPLETE(SessionMessage message, Member sender) {
            super.handleALL_SESSION_TRANSFERCOMPLETE(message, sender);
            if (done.getCount() > 0) {
                doneAt = System.nanoTime();
                done.countDown();
            }
        }
    }

    public static void main(String[] args) throws Exception {
        PrintStream out = System.out;
        System.setOut(System.err);
        int port = Integer.parseInt(args[0]);
        int peer = Integer.parseInt(args[1]);
        int sessions = Integer.parseInt(args[2]);
        int size = Integer.parseInt(args[3]);

        int options = Integer.parseInt(args[5]);
        int httpPort = Integer.parseInt(args[6]);
        Path base = Path.of(args[4]);
        Path docBase = Files.createDirectories(base.resolve("webapps/shop"));
        Tomcat tomcat = new Tomcat();
        tomcat.setBaseDir(base.toString());
        tomcat.getEngine().setJvmRoute("n" + port);
        SimpleTcpCluster cluster = cluster(port, peer, options);
        tomcat.getEngine().setCluster(cluster);
        if (httpPort > 0) {
            Connector connector = new Connector();
            connector.setProperty("address", "127.0.0.1");
            connector.setPort(httpPort);
            tomcat.setConnector(connector);
        }
        StandardHost host = (StandardHost) tomcat.getHost();
        host.setAutoDeploy(false);
        host.setDeployOnStartup(false);
        StandardContext context = new StandardContext();
        context.setName("/shop");
        context.setPath("/shop");
        context.setDocBase(docBase.toString());
        context.setDistributable(true);
        context.addLifecycleListener(new Tomcat.FixContextListener());
        TimedManager manager = new TimedManager();
        context.setManager(manager);
        host.addChild(context);
        Tomcat.addServlet(context, "put", new Put(size));
        context.addServletMappingDecoded("/put", "put", false);
        tomcat.start();

        for (int i = 0; i < sessions; i++) {
            Session session = manager.createSession(null);
            // As many characters as bytes: the strings are ASCII.
            session.getSession().setAttribute("cart", String.format("%-" + size + "d", i));
        }
        if (sessions > 0) {
            out.println("READY " + manager.getActiveSessions());
        } else if (sessions < 0) {
            out.println("STARTED");
            while (cluster.getMembers().length == 0) {
                Thread.sleep(10);
            }
            out.println("READY");
        } else {
            // Somewhat longer than the manager itself waits.
            if (!manager.done.await(70, TimeUnit.SECONDS)) {
                manager.doneAt = System.nanoTime();
            }
            out.println("TRANSFERRED " + (manager.doneAt - manager.askedAt) + " " + manager.getActiveSessions());
        }
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        Session changed = null;
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.split(" ");
            switch (words[0]) {
                case "expect" -> {
                    long until = manager.getCounterReceive_EVT_SESSION_DELTA() + Long.parseLong(words[1]);
                    out.println("OK");
                    while (manager.getCounterReceive_EVT_SESSION_DELTA() < until) {
                        Thread.sleep(1);
                    }
                    out.println("RECEIVED 0 0");
                }
                case "deltas" -> {
                    if (changed == null) {
                        changed = manager.createSession(null);
                    }
                    long count = Long.parseLong(words[1]);
                    char[] value = new char[Integer.parseInt(words[2])];
                    java.util.Arrays.fill(value, 'x');
                    for (long i = 0; i < count; i++) {
                        value[(int) (i % value.length)]++;
                        changed.access();
                        changed.getSession().setAttribute("cart", new String(value));
                        ClusterMessage message = manager.requestCompleted(changed.getIdInternal());
                        if (message != null) {
                            cluster.send(message);
                        }
                        changed.endAccess();
                        value[(int) (i % value.length)] = 'x';
                    }
                    out.println("SENT 0 0");
                }
                default -> throw new IllegalArgumentException(line);
            }
        }
        tomcat.stop();
        tomcat.destroy();
        System.exit(0);
    }

    /** Changes an attribute in each request, as long as the argument says. */
    private static final class Put extends HttpServlet {
        private static final long serialVersionUID = 1;
        private final int size;
        private final java.util.concurrent.atomic.AtomicInteger number = new java.util.concurrent.atomic.AtomicInteger();

        Put(int size) {
            this.size = size;
        }

        @Override
        protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
            char[] value = new char[size];
            java.util.Arrays.fill(value, 'x');
            value[0] = (char) ('a' + (number.incrementAndGet() & 15));
            request.getSession().setAttribute("cart", new String(value));
            response.setContentType("text/plain");
            response.getWriter().print("ok");
        }
    }

    private static SimpleTcpCluster cluster(int port, int peer, int options) throws Exception {
        GroupChannel channel = new GroupChannel();
        NioReceiver receiver = new NioReceiver();
        receiver.setAddress("127.0.0.1");
        receiver.setPort(port);
        receiver.setAutoBind(1);
        channel.setChannelReceiver(receiver);
        channel.addInterceptor(new MessageDispatchInterceptor());
        channel.addInterceptor(new TcpFailureDetector());
        StaticMembershipInterceptor members = new StaticMembershipInterceptor();
        members.setLocalMember(member(port));
        members.addStaticMember(member(peer));
        channel.addInterceptor(members);
        SimpleTcpCluster cluster = new SimpleTcpCluster();
        cluster.setChannel(channel);
        cluster.setChannelStartOptions(3);
        cluster.setChannelSendOptions(options);
        cluster.addValve(new ReplicationValve());
        return cluster;
    }

    /** A member whose unique id is made of its port. */
    private static StaticMember member(int port) throws Exception {
        StaticMember member = new StaticMember("127.0.0.1", port, 0);
        StringBuilder id = new StringBuilder("{");
        for (int i = 0; i < 16; i++) {
            id.append(i > 0 ? "," : "").append(i == 14 ? (byte) (port >> 8) : i == 15 ? (byte) port : 1);
        }
        member.setUniqueId(id.append('}').toString());
        return member;
    }
}
