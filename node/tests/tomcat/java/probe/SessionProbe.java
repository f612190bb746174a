package probe;

import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.catalina.Context;
import org.apache.catalina.connector.Connector;
import org.apache.catalina.core.StandardContext;
import org.apache.catalina.core.StandardHost;
import org.apache.catalina.ha.context.ReplicatedContext;
import org.apache.catalina.ha.tcp.SimpleTcpCluster;
import org.apache.catalina.startup.Tomcat;

/** An embedded Tomcat that offers every session operation over HTTP. */
public final class SessionProbe {
    private SessionProbe() {}

    public static void main(String[] args) throws Exception {
        System.setErr(System.out);
        Tomcat tomcat;
        try {
            tomcat = tomcat(new Settings());
        } catch (Settings.Nonsense e) {
            System.out.println("session probe: " + e.getMessage());
            System.exit(2);
            return;
        }
        Runtime.getRuntime().addShutdownHook(new Thread(() -> stop(tomcat)));
        tomcat.start();
        System.out.println("session probe: serving");
        tomcat.getServer().await();
    }

    private static void stop(Tomcat tomcat) {
        int status = 0;
        try {
            tomcat.stop();
            tomcat.destroy();
        } catch (Exception e) {
            e.printStackTrace(System.out);
            status = 1;
        }
        System.out.println("session probe: stopped");
        System.out.flush();
        Runtime.getRuntime().halt(status);
    }

    private static Tomcat tomcat(Settings settings) throws Exception {
        Path base = Path.of(settings.nodeDir).toAbsolutePath();
        Files.createDirectories(base.resolve("webapps"));
        Tomcat tomcat = new Tomcat();
        tomcat.setBaseDir(base.toString());
        tomcat.setSilent(true);
        tomcat.getEngine().setJvmRoute(settings.name);
        tomcat.getEngine().setBackgroundProcessorDelay(settings.backgroundDelay);
        Connector connector = new Connector();
        connector.setProperty("address", settings.httpHost);
        connector.setPort(settings.httpPort);
        connector.setProperty("maxThreads", "32");
        connector.setProperty("minSpareThreads", "4");
        connector.setProperty("maxKeepAliveRequests", "-1");
        tomcat.setConnector(connector);
        StandardHost host = (StandardHost) tomcat.getHost();
        host.setAutoDeploy(false);
        host.setDeployOnStartup(false);
        SimpleTcpCluster cluster = null;
        if (!settings.manager.equals("none")) {
            cluster = Clusters.cluster(settings);
            tomcat.getEngine().setCluster(cluster);
        }
        for (String name : settings.contexts) {
            StandardContext context =
                    settings.replicatedContext ? new ReplicatedContext() : new StandardContext();
            String path = name.equals("ROOT") ? "" : "/" + name;
            context.setName(path);
            context.setPath(path);
            File docBase = base.resolve("webapps").resolve(name).toFile();
            Files.createDirectories(docBase.toPath());
            context.setDocBase(docBase.getPath());
            context.addLifecycleListener(new Tomcat.FixContextListener());
            context.setDistributable(true);
            context.setSessionTimeout(30);
            context.setClearReferencesStopThreads(false);
            addServlet(context, new ProbeServlet(settings, context, cluster));
            host.addChild(context);
        }
        return tomcat;
    }

    private static void addServlet(Context context, ProbeServlet servlet) {
        Tomcat.addServlet(context, "probe", servlet).addMapping("/");
    }
}
