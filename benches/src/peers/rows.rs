//! What is measured, and what is to be reached.

use super::derived;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// `GroupChannel` with its default stack.
    Tribes,
    /// Ours, driven by mio, the driver that is chosen where nothing is said.
    Ours,
    /// The same, where the two drivers are compared.
    Mio,
    /// Ours, driven by io_uring.
    Uring,
    /// The same, with bundles of sends (`Tuning::ring_send`).
    Sends,
    /// As `Ours`, its callers being tasks of one thread, which does the driver's work while it waits.
    Tasks,
    /// As `Ours`, with a spin of 50 µs before the driver sleeps.
    Spin,
    /// Blocking loops over one socket: what is left without a protocol.
    Raw,
    /// The same with a thread for each caller, which sleeps until its answer is there.
    RawThreads,
    /// As `Raw`, both ends looking again and again instead of sleeping.
    RawSpin,
    /// io_uring over one socket, one way: bundles of sends, one multishot receive.
    Bundles,
    /// zenoh's `put` with `CongestionControl::Block`.
    Zenoh,
    /// Redis: `SET` and `WAIT 1`, with one replica.
    Redis,
    /// iperf3, one stream of 64 KiB writes.
    Iperf,
}

impl Side {
    /// For tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tribes => "Tribes",
            Self::Ours => "Folkmoot",
            Self::Mio => "Folkmoot, mio",
            Self::Uring => "Folkmoot, io_uring",
            Self::Sends => "Folkmoot, io_uring, ring_send",
            Self::Tasks => "Folkmoot, tasks",
            Self::Spin => "Folkmoot, spin",
            Self::Raw => "raw sockets",
            Self::RawThreads => "raw, a thread each",
            Self::RawSpin => "raw, spin",
            Self::Bundles => "raw io_uring",
            Self::Zenoh => "zenoh",
            Self::Redis => "Redis SET + WAIT 1",
            Self::Iperf => "iperf3",
        }
    }
}

/// On which processors the two ends run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Wherever the scheduler puts them.
    Free,
    /// Both on the first.
    OneCore,
    /// The sender on the first, the receivers on the second.
    OneEach,
}

/// What a row is to reach.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// The rate of `of`, at least so many times that of `against`.
    Rate {
        /// Who is judged.
        of: Side,
        /// Against whom.
        against: Side,
        /// How many times.
        times: f64,
    },
    /// CPU microseconds a message.
    Cpu {
        /// Who is judged.
        of: Side,
        /// At most so many.
        most: f64,
        /// What the raw loop took where this was derived.
        derived: f64,
    },
    /// The median latency in microseconds.
    Median {
        /// Who is judged.
        of: Side,
        /// At most so many.
        most: f64,
        /// Whose raw loop is the one to compare it with.
        raw: Side,
        /// What that took where this was derived.
        derived: f64,
    },
    /// The median latency, at most so many times that of the raw loop.
    MedianOfRaw(f64),
    /// No message overtaken by a later one.
    Order,
    /// The receivers' peak memory in MiB, at most.
    ReceiverMemory(f64),
    /// The sender's peak memory in MiB beyond the bytes that may wait, at most.
    SenderMemory(f64),
    /// Allocations a message at either end, at most.
    Allocations(f64),
    /// CPU microseconds of `of`, which is driven by io_uring, at most so many times those of mio.
    Uring {
        /// Who is judged.
        of: Side,
        /// Times.
        times: f64,
    },
    /// CPU microseconds, at most so many times those of the row of the same name to one member.
    CpuOfOne(f64),
}

/// One workload of messages.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// For tables, and to choose it.
    pub name: &'static str,
    /// Send options, as a number.
    pub options: u32,
    /// Bytes of a message.
    pub size: usize,
    /// Threads that send, or tasks.
    pub callers: u32,
    /// Whether our callers are tasks of one thread; the others' are threads, 16 of them.
    pub tasks: bool,
    /// Members that get each message.
    pub members: usize,
    /// Where the ends run.
    pub place: Place,
    /// Who is measured, besides us.
    pub sides: &'static [Side],
    /// What is to be reached.
    pub targets: &'static [Target],
}

/// What most rows have in common.
pub const BASE: Row = Row {
    name: "",
    options: 6,
    size: 512,
    callers: 1,
    tasks: false,
    members: 1,
    place: Place::Free,
    sides: &[],
    targets: &[],
};

const fn times(times: f64) -> Target {
    Target::Rate {
        of: Side::Ours,
        against: Side::Tribes,
        times,
    }
}

const fn ahead_of(against: Side, times: f64) -> Target {
    Target::Rate {
        of: Side::Ours,
        against,
        times,
    }
}

const fn cpu(most: f64, derived: f64) -> Target {
    Target::Cpu {
        of: Side::Ours,
        most,
        derived,
    }
}

/// Our callers' threads, tables and labels are counted too: some hundred a round.
const NO_ALLOCATIONS: Target = Target::Allocations(0.02);
/// What an idle member may take, besides what waits.
const MEMORY: Target = Target::SenderMemory(10.0);
/// io_uring never costs more than this.
const URING: Target = uring(Side::Uring, 1.05);
/// io_uring in streams: at least 15 % less.
const URING_STREAM: Target = uring(Side::Uring, 0.85);
/// The same where its streams are sent to in bundles.
const SENDS_STREAM: Target = uring(Side::Sends, 0.85);

const fn uring(of: Side, times: f64) -> Target {
    Target::Uring { of, times }
}

/// All of them.
pub const ROWS: &[Row] = &[
    Row {
        name: "sync 512 B, one caller, one core",
        place: Place::OneCore,
        sides: &[Side::Tribes, Side::Ours, Side::Uring, Side::Raw],
        targets: &[
            times(4.0),
            cpu(7.5, derived::PING_PONG),
            NO_ALLOCATIONS,
            URING,
        ],
        ..BASE
    },
    Row {
        name: "sync 512 B, one caller, a core each",
        place: Place::OneEach,
        sides: &[
            Side::Tribes,
            Side::Ours,
            Side::Spin,
            Side::Raw,
            Side::RawSpin,
            Side::Redis,
        ],
        targets: &[
            Target::MedianOfRaw(1.1),
            Target::Median {
                of: Side::Spin,
                most: 10.0,
                raw: Side::RawSpin,
                derived: derived::PING_PONG_SPINNING_P50,
            },
        ],
        ..BASE
    },
    Row {
        name: "sync 512 B, 16 callers",
        callers: 16,
        sides: &[
            Side::Tribes,
            Side::Ours,
            Side::Uring,
            Side::Tasks,
            Side::Spin,
            Side::Raw,
            Side::RawThreads,
            Side::Redis,
        ],
        targets: &[
            times(3.5),
            cpu(4.0, derived::WINDOW_OF_16),
            Target::Cpu {
                of: Side::Tasks,
                most: 4.0,
                derived: derived::WINDOW_OF_16,
            },
            ahead_of(Side::Redis, 3.0),
            Target::Rate {
                of: Side::Tasks,
                against: Side::Redis,
                times: 3.0,
            },
            Target::Rate {
                of: Side::Spin,
                against: Side::Tribes,
                times: 6.0,
            },
            NO_ALLOCATIONS,
            URING,
        ],
        ..BASE
    },
    Row {
        name: "sync 512 B, 256 tasks",
        callers: 256,
        tasks: true,
        sides: &[Side::Tribes, Side::Ours, Side::Raw],
        targets: &[times(15.0), cpu(1.0, derived::WINDOW_OF_256), MEMORY],
        ..BASE
    },
    Row {
        name: "none 64 B",
        options: 0,
        size: 64,
        sides: &[Side::Tribes, Side::Ours, Side::Raw],
        targets: &[
            times(10.0),
            cpu(0.7, derived::JOINED_64_B),
            Target::Order,
            NO_ALLOCATIONS,
        ],
        ..BASE
    },
    Row {
        name: "none 512 B",
        options: 0,
        sides: &[Side::Tribes, Side::Ours, Side::Uring, Side::Raw],
        targets: &[
            times(10.0),
            cpu(0.7, derived::JOINED_512_B),
            Target::Order,
            NO_ALLOCATIONS,
            URING,
        ],
        ..BASE
    },
    Row {
        name: "async 64 B",
        options: 8,
        size: 64,
        sides: &[Side::Tribes, Side::Ours, Side::Zenoh, Side::Raw],
        targets: &[
            times(10.0),
            cpu(0.7, derived::JOINED_64_B),
            Target::Order,
            MEMORY,
        ],
        ..BASE
    },
    Row {
        name: "async 512 B",
        options: 8,
        sides: &[Side::Tribes, Side::Ours, Side::Zenoh, Side::Raw],
        targets: &[
            times(10.0),
            cpu(0.7, derived::JOINED_512_B),
            Target::Order,
            ahead_of(Side::Zenoh, 1.0),
            NO_ALLOCATIONS,
            MEMORY,
        ],
        ..BASE
    },
    Row {
        name: "async 4 KiB",
        options: 8,
        size: 4096,
        sides: &[
            Side::Tribes,
            Side::Ours,
            Side::Uring,
            Side::Zenoh,
            Side::Raw,
        ],
        targets: &[
            times(4.0),
            cpu(3.0, derived::ONE_WAY_4_KIB),
            ahead_of(Side::Zenoh, 1.0),
            MEMORY,
            URING,
        ],
        ..BASE
    },
    Row {
        name: "64 KiB one-way",
        options: 0,
        size: 64 * 1024,
        sides: &[
            Side::Tribes,
            Side::Ours,
            Side::Uring,
            Side::Sends,
            Side::Iperf,
            Side::Raw,
        ],
        targets: &[
            times(2.0),
            ahead_of(Side::Iperf, 0.8),
            Target::Rate {
                of: Side::Uring,
                against: Side::Iperf,
                times: 1.0,
            },
            Target::Rate {
                of: Side::Sends,
                against: Side::Iperf,
                times: 1.0,
            },
            URING_STREAM,
            SENDS_STREAM,
        ],
        ..BASE
    },
    Row {
        name: "64 KiB sync",
        size: 64 * 1024,
        sides: &[Side::Tribes, Side::Ours, Side::Uring, Side::Raw],
        targets: &[times(2.0), cpu(70.0, derived::ANSWERED_64_KIB), URING],
        ..BASE
    },
    Row {
        name: "1 MiB one-way",
        options: 0,
        size: 1024 * 1024,
        sides: &[
            Side::Tribes,
            Side::Ours,
            Side::Uring,
            Side::Sends,
            Side::Raw,
        ],
        targets: &[
            times(2.5),
            cpu(500.0, derived::ONE_WAY_1_MIB),
            Target::ReceiverMemory(64.0),
            MEMORY,
            URING_STREAM,
            SENDS_STREAM,
        ],
        ..BASE
    },
    Row {
        name: "1 MiB sync",
        size: 1024 * 1024,
        sides: &[Side::Tribes, Side::Ours, Side::Uring, Side::Raw],
        targets: &[
            times(3.0),
            cpu(500.0, derived::ONE_WAY_1_MIB),
            Target::ReceiverMemory(64.0),
            URING,
        ],
        ..BASE
    },
    Row {
        name: "sync 512 B, one member",
        sides: &[Side::Tribes, Side::Ours],
        ..BASE
    },
    Row {
        name: "sync 512 B, three members",
        members: 3,
        sides: &[Side::Tribes, Side::Ours],
        targets: &[times(3.0), Target::CpuOfOne(3.6)],
        ..BASE
    },
];
