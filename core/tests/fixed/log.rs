//! A line for each event that is polled.

use std::cell::RefCell;
use std::fmt::Debug;
use std::time::Duration;

use folkmoot_core::wire::SendOptions;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::anyone::{KINDS, Net, config};

thread_local! {
    /// What the core of this thread's test has said.
    static LINES: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
}

/// Keeps the lines of the core, for each thread its own. It is the process's only subscriber: with one of the thread's own,
/// other tests could meanwhile find that nobody listens, which `tracing` remembers for all.
struct Lines;

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        assert_eq!(field.name(), "event");
        self.0 = format!("{value:?}");
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("folkmoot_core")
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        LINES.with_borrow_mut(|lines| lines.push((*event.metadata().level(), line.0)));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn every_event_has_one_line_of_its_weight() {
    tracing::subscriber::set_global_default(Lines).expect("the only one");
    for kind in KINDS {
        let sync = SendOptions::USE_ACK.union(SendOptions::SYNCHRONIZED_ACK);
        let mut net = Net::of(&[*kind], 2, sync);
        net.join_fixed(config(2, sync));
        net.run(Duration::from_secs(3));
        net.garbage(0);
        net.run(Duration::from_secs(1));
        let lines = LINES.take();
        let count = |level, what: &str| {
            let of = |line: &&(Level, String)| line.0 == level && line.1.contains(what);
            lines.iter().filter(of).count()
        };
        // Three nodes see two others each.
        assert_eq!(count(Level::INFO, "MemberAdded"), 6, "{kind:?}: {lines:?}");
        assert_eq!(count(Level::WARN, "BadInput"), 1, "{kind:?}: {lines:?}");
        assert_eq!(count(Level::INFO, "BadInput"), 0, "{kind:?}: {lines:?}");
    }
}
