//! A line for each event that is polled.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use folkmoot_core::wire::SendOptions;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::anyone::{KINDS, Net, config};

/// Keeps the lines of the core.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<(Level, String)>>>);

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
        let mut lines = self.0.lock().unwrap();
        lines.push((*event.metadata().level(), line.0));
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
    for kind in KINDS {
        let lines = Lines::default();
        let sync = SendOptions::USE_ACK.union(SendOptions::SYNCHRONIZED_ACK);
        tracing::subscriber::with_default(lines.clone(), || {
            let mut net = Net::of(&[*kind], 2, sync);
            net.join_fixed(config(2, sync));
            net.run(Duration::from_secs(3));
            net.garbage(0);
            net.run(Duration::from_secs(1));
        });
        let lines = lines.0.lock().unwrap();
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
