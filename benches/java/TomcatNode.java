import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.CountDownLatch;
import org.apache.catalina.Session;
import org.apache.catalina.core.StandardContext;
import org.apache.catalina.core.StandardHost;
import org.apache.catalina.ha.session.DeltaManager;
import org.apache.catalina.ha.session.SessionMessage;
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
 * An embedded Tomcat without a connector whose context {@code /shop} has a DeltaManager.
 *
 * <p>Arguments: own port, the other node's port, sessions to create, bytes in the attribute of each, a directory for
 * Tomcat. With no sessions to create it joins, and says how long its manager took from asking for the sessions to having
 * them.
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

        Path base = Path.of(args[4]);
        Path docBase = Files.createDirectories(base.resolve("webapps/shop"));
        Tomcat tomcat = new Tomcat();
        tomcat.setBaseDir(base.toString());
        tomcat.getEngine().setJvmRoute("n" + port);
        tomcat.getEngine().setCluster(cluster(port, peer));
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
        tomcat.start();

        for (int i = 0; i < sessions; i++) {
            Session session = manager.createSession(null);
            // As many characters as bytes: the strings are ASCII.
            session.getSession().setAttribute("cart", String.format("%-" + size + "d", i));
        }
        if (sessions > 0) {
            out.println("READY " + manager.getActiveSessions());
        } else {
            manager.done.await();
            out.println("TRANSFERRED " + (manager.doneAt - manager.askedAt) + " " + manager.getActiveSessions());
        }
        while (System.in.read() >= 0) {
            // until told to go
        }
        tomcat.stop();
        tomcat.destroy();
        System.exit(0);
    }

    private static SimpleTcpCluster cluster(int port, int peer) throws Exception {
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
