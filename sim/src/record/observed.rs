//! What a node says it knows.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{Display, Write as _};

use folkmoot_core::time::Instant;

use crate::clock::Clock;

/// A longer text is shown by its beginning.
const TEXT_MAX: usize = 160;

/// Texts and paths by number. The maps are only asked, never walked: no hash order reaches anything.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(crate) strings: Vec<String>,
    by_string: HashMap<String, u32>,
    pub(crate) paths: Vec<Vec<String>>,
    by_path: HashMap<String, u32>,
    scratch: String,
}

impl Tables {
    /// The number of a text, which is kept.
    pub(crate) fn string(&mut self, text: &str) -> u32 {
        if let Some(number) = self.by_string.get(text) {
            return *number;
        }
        let number = self.strings.len() as u32;
        self.strings.push(text.to_owned());
        self.by_string.insert(text.to_owned(), number);
        number
    }

    fn path(&mut self, path: &[&str]) -> u32 {
        self.scratch.clear();
        for part in path {
            // No part holds this byte: names of attributes may hold any other.
            let _ = write!(self.scratch, "{part}\u{1f}");
        }
        if let Some(number) = self.by_path.get(&self.scratch) {
            return *number;
        }
        let number = self.paths.len() as u32;
        self.paths
            .push(path.iter().map(|part| (*part).to_owned()).collect());
        self.by_path.insert(self.scratch.clone(), number);
        number
    }

    fn value(&mut self, value: impl Display) -> u32 {
        let mut text = std::mem::take(&mut self.scratch);
        text.clear();
        let _ = write!(text, "{value}");
        if text.len() > TEXT_MAX {
            // What tells long values apart is mostly at one of their ends.
            let head: String = text.chars().take(TEXT_MAX / 2).collect();
            let mut tail: Vec<char> = text.chars().rev().take(TEXT_MAX / 4).collect();
            tail.reverse();
            let tail: String = tail.into_iter().collect();
            let len = text.len();
            text = format!("{head}… {len} bytes …{tail}");
        }
        let number = self.string(&text);
        self.scratch = text;
        number
    }
}

/// What a node knows at one moment: facts by path. The first part of a path is the section: `node`, `members`,
/// `sessions`, `queues`, `timers`, `links`, `counters`.
#[derive(Debug)]
pub struct Observed<'a> {
    tables: &'a mut Tables,
    clock: Clock,
    known: BTreeMap<u32, u32>,
}

impl<'a> Observed<'a> {
    pub(super) fn new(tables: &'a mut Tables, clock: Clock) -> Self {
        let known = BTreeMap::new();
        #[rustfmt::skip]
        let observed = Self { tables, clock, known };
        observed
    }

    /// Something that the node knows.
    pub fn fact(&mut self, path: &[&str], value: impl Display) {
        let path = self.tables.path(path);
        let value = self.tables.value(value);
        self.known.insert(path, value);
    }

    /// A count that is only worth a line if it is not zero.
    pub fn count(&mut self, path: &[&str], count: u64) {
        if count > 0 {
            self.fact(path, count);
        }
    }

    /// When something is due, by the node's clock: shown as virtual time.
    pub fn timer(&mut self, name: &str, at: Instant) {
        let at = self.clock.world(at);
        self.fact(&["timers", name], at);
    }

    pub(super) fn into_known(self) -> BTreeMap<u32, u32> {
        self.known
    }
}
