//! A reader of trace documents, written from their description in docs/simulation.md alone.

use std::collections::BTreeMap;

use serde_json::Value;

pub(crate) struct Event {
    pub(crate) at: u64,
    pub(crate) node: u16,
    pub(crate) kind: String,
    pub(crate) peer: Option<u16>,
    pub(crate) len: usize,
    pub(crate) text: String,
}

pub(crate) struct Message {
    pub(crate) sent: usize,
    pub(crate) received: Option<usize>,
    pub(crate) from: u16,
    pub(crate) to: u16,
    pub(crate) kind: String,
    pub(crate) len: usize,
}

/// Event, node, path, value.
type Change = (usize, usize, Vec<String>, Option<String>);

pub(crate) struct Document {
    pub(crate) complete: bool,
    pub(crate) events: Vec<Event>,
    pub(crate) messages: Vec<Message>,
    pub(crate) story: Vec<String>,
    changes: Vec<Change>,
}

fn numbers(column: &Value) -> Vec<i64> {
    let column = column.as_array().expect("a column");
    column
        .iter()
        .map(|number| number.as_i64().expect("a number"))
        .collect()
}

fn sums(column: &Value) -> Vec<i64> {
    let mut last = 0;
    let steps = numbers(column).into_iter();
    steps
        .map(|step| {
            last += step;
            last
        })
        .collect()
}

fn texts(list: &Value) -> Vec<String> {
    let list = list.as_array().expect("a list").iter();
    list.map(|text| text.as_str().expect("a text").to_owned())
        .collect()
}

impl Document {
    pub(crate) fn read(document: &Value) -> Self {
        assert_eq!(document["format"], "folkmoot-trace");
        assert_eq!(document["version"], 1);
        let strings = texts(&document["strings"]);
        let string = |number: i64| match usize::try_from(number) {
            Ok(number) => strings[number].clone(),
            Err(_) => String::new(),
        };
        let events = &document["events"];
        let (kinds, at) = (texts(&events["kinds"]), sums(&events["at"]));
        let column = |name: &str| numbers(&events[name]);
        let (node, kind, peer) = (column("node"), column("kind"), column("peer"));
        let (len, text, conn) = (column("len"), column("text"), column("conn"));
        assert!([&node, &kind, &peer, &len, &text, &conn].map(Vec::len) == [at.len(); 6]);
        let events = (0..at.len()).map(|i| Event {
            at: at[i] as u64,
            node: node[i] as u16,
            kind: kinds[kind[i] as usize].clone(),
            peer: u16::try_from(peer[i]).ok(),
            len: len[i] as usize,
            text: string(text[i]),
        });
        let messages = &document["messages"];
        let (names, sent) = (texts(&messages["kinds"]), sums(&messages["sent"]));
        let column = |name: &str| numbers(&messages[name]);
        let (received, from, to) = (column("received"), column("from"), column("to"));
        let (kind, len) = (column("kind"), column("len"));
        let (session, text) = (column("session"), column("text"));
        let columns = [&received, &from, &to, &kind, &len, &session, &text];
        assert!(columns.map(Vec::len) == [sent.len(); 7]);
        let messages = (0..sent.len()).map(|i| Message {
            sent: sent[i] as usize,
            received: usize::try_from(received[i]).ok(),
            from: from[i] as u16,
            to: to[i] as u16,
            kind: names[kind[i] as usize].clone(),
            len: len[i] as usize,
        });
        let paths: Vec<Vec<String>> = document["paths"]
            .as_array()
            .expect("paths")
            .iter()
            .map(texts)
            .collect();
        let changes = &document["changes"];
        let event = sums(&changes["event"]);
        let column = |name: &str| numbers(&changes[name]);
        let (node, path, value) = (column("node"), column("path"), column("value"));
        let changes = (0..event.len()).map(|i| {
            let value = (value[i] >= 0).then(|| string(value[i]));
            let path = paths[path[i] as usize].clone();
            (event[i] as usize, node[i] as usize, path, value)
        });
        let story = document["story"].as_array().expect("a story").iter();
        Self {
            complete: document["run"]["complete"].as_bool().expect("a word"),
            events: events.collect(),
            messages: messages.collect(),
            story: story
                .map(|line| line["text"].as_str().unwrap().to_owned())
                .collect(),
            changes: changes.collect(),
        }
    }

    /// What a node knows after an event.
    pub(crate) fn state_at(&self, node: usize, event: usize) -> State {
        self.player().state_at(node, event).clone()
    }

    /// Before the first event.
    pub(crate) fn player(&self) -> Player<'_> {
        Player {
            changes: &self.changes,
            states: BTreeMap::new(),
        }
    }
}

/// What one node knows, by path.
pub(crate) type State = BTreeMap<Vec<String>, String>;

/// Goes through a document from its beginning.
pub(crate) struct Player<'a> {
    changes: &'a [Change],
    states: BTreeMap<usize, State>,
}

impl Player<'_> {
    /// What a node knows after an event, which is none before the last one asked for.
    pub(crate) fn state_at(&mut self, node: usize, event: usize) -> &State {
        while let [(at, of, path, value), rest @ ..] = self.changes
            && *at <= event
        {
            let state = self.states.entry(*of).or_default();
            match value {
                Some(value) => state.insert(path.clone(), value.clone()),
                None => state.remove(path),
            };
            self.changes = rest;
        }
        self.states.entry(node).or_default()
    }
}
