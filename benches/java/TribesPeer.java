import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.Serializable;
import java.nio.ByteBuffer;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.catalina.tribes.ByteMessage;
import org.apache.catalina.tribes.Channel;
import org.apache.catalina.tribes.ChannelException;
import org.apache.catalina.tribes.ChannelListener;
import org.apache.catalina.tribes.Member;
import org.apache.catalina.tribes.group.GroupChannel;
import org.apache.catalina.tribes.membership.MemberImpl;
import org.apache.catalina.tribes.transport.nio.NioReceiver;

/**
 * One end of a Tribes channel with its default stack, told what to do on standard input.
 *
 * <p>A message begins with the number of its sending thread (4 bytes) and its number there (8 bytes); the receiver ticks
 * every one off, so that a lost, doubled or overtaken one shows.
 *
 * <p>Arguments: own port, the ports of the members that messages go to.
 */
public final class TribesPeer implements ChannelListener {
    private static final int THREADS_MAX = 64;
    /** Per mille of the latencies that are reported. */
    private static final int[] PER_MILLE = {1, 10, 100, 250, 500, 750, 900, 990, 999, 1000};

    private final PrintStream out;
    private final Lane[] lanes = new Lane[THREADS_MAX];
    private final AtomicLong left = new AtomicLong();
    private final AtomicLong foreign = new AtomicLong();

    /** What has come from one sending thread. */
    private static final class Lane {
        final long[] seen;
        long next;
        long overtaken;
        long doubled;

        Lane(long messages) {
            seen = new long[(int) (messages / 64) + 1];
        }

        synchronized boolean tick(long number) {
            int word = (int) (number / 64);
            long bit = 1L << (number % 64);
            if (number < 0 || word >= seen.length || (seen[word] & bit) != 0) {
                doubled++;
                return false;
            }
            seen[word] |= bit;
            if (number < next) {
                overtaken++;
            } else {
                next = number + 1;
            }
            return true;
        }
    }

    private TribesPeer(PrintStream out) {
        this.out = out;
    }

    public static void main(String[] args) throws Exception {
        PrintStream out = System.out;
        System.setOut(System.err);
        int port = Integer.parseInt(args[0]);
        Member[] peers = new Member[args.length - 1];
        for (int i = 0; i < peers.length; i++) {
            peers[i] = new MemberImpl("127.0.0.1", Integer.parseInt(args[i + 1]), 0);
        }
        GroupChannel channel = new GroupChannel();
        NioReceiver receiver = new NioReceiver();
        receiver.setAddress("127.0.0.1");
        receiver.setPort(port);
        receiver.setAutoBind(1);
        channel.setChannelReceiver(receiver);
        TribesPeer me = new TribesPeer(out);
        channel.addChannelListener(me);
        channel.start(Channel.SND_RX_SEQ | Channel.SND_TX_SEQ);
        out.println("READY");
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.split(" ");
            switch (words[0]) {
                case "receive" -> {
                    me.expect(Integer.parseInt(words[1]), Long.parseLong(words[2]));
                    out.println("OK");
                }
                case "send" ->
                        out.println(
                                send(
                                        channel,
                                        peers,
                                        Integer.parseInt(words[1]),
                                        Long.parseLong(words[2]),
                                        Integer.parseInt(words[3]),
                                        Integer.parseInt(words[4])));
                default -> throw new IllegalArgumentException(line);
            }
        }
        channel.stop(Channel.SND_RX_SEQ | Channel.SND_TX_SEQ);
        System.exit(0);
    }

    private void expect(int threads, long each) {
        for (int i = 0; i < THREADS_MAX; i++) {
            lanes[i] = i < threads ? new Lane(each) : null;
        }
        foreign.set(0);
        left.set(threads * each);
    }

    @Override
    public boolean accept(Serializable message, Member sender) {
        return message instanceof ByteMessage;
    }

    @Override
    public void messageReceived(Serializable message, Member sender) {
        ByteBuffer bytes = ByteBuffer.wrap(((ByteMessage) message).getMessage());
        int thread = bytes.getInt();
        long number = bytes.getLong();
        Lane lane = thread >= 0 && thread < THREADS_MAX ? lanes[thread] : null;
        if (lane == null) {
            foreign.incrementAndGet();
        } else if (lane.tick(number) && left.decrementAndGet() == 0) {
            report();
        }
    }

    private void report() {
        long overtaken = 0;
        long doubled = foreign.get();
        for (Lane lane : lanes) {
            if (lane != null) {
                synchronized (lane) {
                    overtaken += lane.overtaken;
                    doubled += lane.doubled;
                }
            }
        }
        out.println("RECEIVED " + overtaken + " " + doubled);
    }

    private static String send(
            GroupChannel channel, Member[] peers, int threads, long each, int size, int options)
            throws InterruptedException {
        AtomicLong faulty = new AtomicLong();
        boolean waits = (options & Channel.SEND_OPTIONS_USE_ACK) != 0;
        Thread[] senders = new Thread[threads];
        Latencies[] latencies = new Latencies[threads];
        for (int thread = 0; thread < threads; thread++) {
            int lane = thread;
            Latencies took = new Latencies();
            latencies[thread] = took;
            senders[thread] =
                    new Thread(
                            () -> {
                                for (long number = 0; number < each; number++) {
                                    byte[] bytes = new byte[size];
                                    ByteBuffer.wrap(bytes).putInt(lane).putLong(number);
                                    long began = waits ? System.nanoTime() : 0;
                                    try {
                                        channel.send(peers, new ByteMessage(bytes), options);
                                    } catch (ChannelException e) {
                                        faulty.incrementAndGet();
                                    }
                                    if (waits) {
                                        took.add(System.nanoTime() - began);
                                    }
                                }
                            });
            senders[thread].start();
        }
        for (Thread sender : senders) {
            sender.join();
        }
        StringBuilder said = new StringBuilder("SENT ").append(faulty.get()).append(" 0");
        if (waits) {
            Latencies all = new Latencies();
            for (Latencies took : latencies) {
                all.add(took);
            }
            for (int perMille : PER_MILLE) {
                said.append(' ').append(all.at(perMille));
            }
        }
        return said.toString();
    }

    /** Counts of nanoseconds in classes of 1/16 of a power of two, as the Rust side's. */
    private static final class Latencies {
        private final long[] counts = new long[16 * 64];
        private long total;
        private long most;

        void add(long nanos) {
            long value = Math.max(nanos, 16);
            int octave = 63 - Long.numberOfLeadingZeros(value);
            counts[octave * 16 + (int) (value >> (octave - 4) & 15)]++;
            total++;
            most = Math.max(most, nanos);
        }

        void add(Latencies other) {
            for (int i = 0; i < counts.length; i++) {
                counts[i] += other.counts[i];
            }
            total += other.total;
            most = Math.max(most, other.most);
        }

        long at(int perMille) {
            long wanted = (total * perMille + 999) / 1000;
            long seen = 0;
            for (int i = 0; i < counts.length; i++) {
                seen += counts[i];
                if (seen >= wanted && seen > 0) {
                    int octave = i / 16;
                    long upper = octave < 4 ? most : (long) (16 + i % 16 + 1) << (octave - 4);
                    return Math.min(upper, most);
                }
            }
            return most;
        }
    }
}
