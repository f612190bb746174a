package probe;

import java.util.HexFormat;
import org.apache.catalina.ha.ClusterManager;
import org.apache.catalina.ha.session.BackupManager;
import org.apache.catalina.ha.session.ClusterSessionListener;
import org.apache.catalina.ha.session.DeltaManager;
import org.apache.catalina.ha.session.JvmRouteBinderValve;
import org.apache.catalina.ha.tcp.ReplicationValve;
import org.apache.catalina.ha.tcp.SimpleTcpCluster;
import org.apache.catalina.tribes.ChannelInterceptor;
import org.apache.catalina.tribes.group.GroupChannel;
import org.apache.catalina.tribes.group.interceptors.MessageDispatchInterceptor;
import org.apache.catalina.tribes.group.interceptors.StaticMembershipInterceptor;
import org.apache.catalina.tribes.group.interceptors.TcpFailureDetector;
import org.apache.catalina.tribes.group.interceptors.TcpPingInterceptor;
import org.apache.catalina.tribes.membership.McastService;
import org.apache.catalina.tribes.membership.StaticMember;
import org.apache.catalina.tribes.membership.StaticMembershipService;
import org.apache.catalina.tribes.transport.nio.NioReceiver;
import org.apache.tomcat.util.IntrospectionUtils;

/** Builds the cluster that the settings ask for, as server.xml would. */
final class Clusters {
    private Clusters() {}

    static SimpleTcpCluster cluster(Settings settings) throws Exception {
        SimpleTcpCluster cluster = new SimpleTcpCluster();
        cluster.setChannelSendOptions(settings.sendOptions);
        GroupChannel channel = new GroupChannel();
        NioReceiver receiver = new NioReceiver();
        receiver.setAddress(settings.clusterHost);
        receiver.setPort(settings.clusterPort);
        receiver.setAutoBind(1);
        channel.setChannelReceiver(receiver);
        for (String description : settings.interceptors.split(";")) {
            if (!description.isBlank()) {
                channel.addInterceptor(extra(description));
            }
        }
        switch (settings.membership) {
            case "mcast" -> multicast(settings, channel);
            case "static" -> {
                cluster.setChannelStartOptions(3);
                staticInterceptors(settings, channel);
            }
            default -> staticService(settings, channel);
        }
        cluster.setChannel(channel);
        if (settings.jvmRouteValve) {
            cluster.addValve(new JvmRouteBinderValve());
        }
        cluster.addValve(new ReplicationValve());
        cluster.addClusterListener(new ClusterSessionListener());
        cluster.setManagerTemplate(manager(settings));
        return cluster;
    }

    private static ClusterManager manager(Settings settings) {
        if (settings.manager.equals("backup")) {
            BackupManager manager = new BackupManager();
            manager.setMapSendOptions(settings.mapSendOptions);
            manager.setProcessExpiresFrequency(settings.expireFrequency);
            return manager;
        }
        DeltaManager manager = new DeltaManager();
        manager.setProcessExpiresFrequency(settings.expireFrequency);
        if (settings.stateBlock > 0) {
            manager.setSendAllSessions(false);
            manager.setSendAllSessionsSize(settings.stateBlock);
            manager.setSendAllSessionsWaitTime(10);
        }
        return manager;
    }

    private static ChannelInterceptor extra(String description) throws Exception {
        String[] parts = description.trim().split(",");
        Class<?> type =
                Class.forName("org.apache.catalina.tribes.group.interceptors." + parts[0].trim());
        Object interceptor = type.getDeclaredConstructor().newInstance();
        for (int i = 1; i < parts.length; i++) {
            int at = parts[i].indexOf('=');
            String name = at < 0 ? parts[i] : parts[i].substring(0, at);
            if (at < 0
                    || !IntrospectionUtils.setProperty(
                            interceptor, name.trim(), parts[i].substring(at + 1))) {
                throw new Settings.Nonsense(
                        "PROBE_INTERCEPTORS", parts[0] + " has no attribute `" + name + "`");
            }
        }
        return (ChannelInterceptor) interceptor;
    }

    private static void multicast(Settings settings, GroupChannel channel) {
        McastService service = new McastService();
        service.setAddress(settings.mcastAddress);
        service.setPort(settings.mcastPort);
        service.setFrequency(settings.mcastFrequency);
        service.setDropTime(settings.mcastDrop);
        service.setDomain(settings.domain);
        service.setSoTimeout(settings.mcastFrequency);
        service.setTtl(0);
        if (!settings.mcastBind.isEmpty()) {
            service.setBind(settings.mcastBind);
        }
        channel.setMembershipService(service);
        channel.addInterceptor(new MessageDispatchInterceptor());
        channel.addInterceptor(new TcpFailureDetector());
    }

    private static void staticInterceptors(Settings settings, GroupChannel channel) throws Exception {
        channel.addInterceptor(new MessageDispatchInterceptor());
        TcpPingInterceptor ping = new TcpPingInterceptor();
        ping.setUseThread(true);
        ping.setInterval(1000);
        ping.setStaticOnly(true);
        channel.addInterceptor(ping);
        channel.addInterceptor(new TcpFailureDetector());
        StaticMembershipInterceptor members = new StaticMembershipInterceptor();
        members.setLocalMember(member(settings, localPeer(settings)));
        for (Settings.Peer peer : settings.peers) {
            members.addStaticMember(member(settings, peer));
        }
        channel.addInterceptor(members);
    }

    private static void staticService(Settings settings, GroupChannel channel) throws Exception {
        StaticMembershipService service = new StaticMembershipService();
        service.setLocalMember(member(settings, localPeer(settings)));
        for (Settings.Peer peer : settings.peers) {
            service.addStaticMember(member(settings, peer));
        }
        channel.setMembershipService(service);
        channel.addInterceptor(new MessageDispatchInterceptor());
        channel.addInterceptor(new TcpFailureDetector());
    }

    private static Settings.Peer localPeer(Settings settings) {
        if (settings.uniqueId.length == 0) {
            throw new Settings.Nonsense("PROBE_UNIQUE_ID", "static membership needs it");
        }
        return new Settings.Peer(settings.clusterHost, settings.clusterPort, settings.uniqueId);
    }

    private static StaticMember member(Settings settings, Settings.Peer peer) throws Exception {
        StaticMember member = new StaticMember(peer.host(), peer.port(), 0);
        StringBuilder id = new StringBuilder("{");
        for (byte b : peer.uniqueId()) {
            id.append(id.length() > 1 ? "," : "").append(b);
        }
        member.setUniqueId(id.append('}').toString());
        member.setDomain(settings.domain);
        return member;
    }

    static String hex(byte[] bytes) {
        return HexFormat.of().formatHex(bytes);
    }
}
