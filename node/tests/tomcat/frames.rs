//! Byte for byte: the session messages that a Rust node sends are those that a Tomcat sends when
//! the same visitor does the same things.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::client::{Client, quoted};
use crate::support::cluster::{Cluster, Membership, Setup};
use crate::support::probe::Kind::{self, Rust, Tomcat};
use crate::support::recorder::{Recorded, Recorder};
use crate::support::value_types::readable;
use crate::support::wait::{SOON, until};

scenarios! {
    fn rust_sends_the_bytes_that_tomcat_sends(name) {
        let tomcat = recorded(&format!("{name}-tomcat"), Tomcat);
        let rust = recorded(&format!("{name}-rust"), Rust);
        let mut differences = Vec::new();
        for (step, theirs) in &tomcat {
            let ours = &rust[step];
            if ours != theirs {
                differences.push(format!("{step}:\n  rust   {ours:?}\n  tomcat {theirs:?}"));
            }
        }
        assert!(
            differences.is_empty(),
            "{} of {} steps differ:\n{}",
            differences.len(),
            tomcat.len(),
            differences.join("\n")
        );
    }

    fn control_tomcat_sends_the_same_bytes_twice(name) {
        let first = recorded(&format!("{name}-first"), Tomcat);
        assert_eq!(first, recorded(&format!("{name}-second"), Tomcat));
        assert!(first.values().all(|sent| !sent.is_empty()), "each step sends something");
    }
}

/// The messages of each step of one visit, with ids and times made equal.
fn recorded(name: &str, kind: Kind) -> BTreeMap<String, Vec<Recorded>> {
    let from_ms = unix_ms();
    let setup = Setup::new(Membership::Multicast, 6);
    let mut cluster = Cluster::new(name, &[kind], &setup);
    cluster.nodes[0].start();
    let recorder = Recorder::join(([127, 0, 0, 99], 4000).into());
    until("the recorder is a member", SOON, || {
        match cluster.nodes[0].members() {
            members if members == ["127.0.0.99:4000"] => Ok(()),
            members => Err(members),
        }
    });
    let mut visitor = Client::new();
    let mut steps = BTreeMap::new();
    let mut ids = Vec::new();
    for (number, path) in visit().into_iter().enumerate() {
        let before = recorder.messages().len();
        let answer = visitor.get(cluster.http(0), &path);
        // Options 6: whatever the request sends is acknowledged before it is answered.
        let mut sent = recorder.messages().split_off(before);
        ids.extend(answer.get("id").as_str().map(str::to_owned));
        ids.extend(answer.get("old").as_str().map(str::to_owned));
        ids.sort();
        ids.dedup();
        // Of two messages about one session within a millisecond ours gives the second the next one's time.
        let times = from_ms..=unix_ms() + 1000;
        for sent in &mut sent {
            neutral(&mut sent.message, &ids, &times);
        }
        let path: String = path.chars().take(70).collect();
        steps.insert(format!("{number:02} {path}"), sent);
    }
    steps
}

fn visit() -> Vec<String> {
    let mut paths = vec!["/s/get?k=none".to_owned()];
    // Two objects of one class share its constants and literals in Java. Only its own code can know that, so the bytes
    // of such a value are the application's, not ours.
    let rows = readable().into_iter().filter(|row| !row.v.contains("boss"));
    for (index, row) in rows.enumerate() {
        paths.push(format!(
            "/s/set?k=a{index}&type={}&v={}",
            row.word,
            quoted(row.v)
        ));
    }
    for path in [
        "/s/set?k=ext&type=ext&v=deep:77",
        "/s/set?k=a0&type=string&v=changed&max=900",
        "/s/remove?k=a0",
        "/s/remove?k=never",
        "/s/maxinactive?max=1200",
        "/s/batch?op=set:x:int:1&op=set:y:long:2&op=set:x:int:3&op=rm:a3",
        "/s/batch?op=set:u:list:a,b&op=set:v:list:c&op=set:w:uuid:0f14d0ab-9605-4a62-a9e4-5ed26688389b",
        "/s/changeid",
        "/s/set?k=after&type=bool&v=true",
        "/s/invalidate",
        "/s/set?k=first&type=string&v=with-the-session",
    ] {
        paths.push(path.to_owned());
    }
    paths
}

fn unix_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock after 1970");
    u64::try_from(since.as_millis()).expect("before the year 584 million")
}

/// Session ids become zeros, as do the times of this test: longs, and decimals in a text.
fn neutral(message: &mut [u8], ids: &[String], times: &std::ops::RangeInclusive<u64>) {
    for id in ids {
        let hex = &id.as_bytes()[..32];
        while let Some(at) = message.windows(32).position(|window| window == hex) {
            message[at..at + 32].fill(b'0');
        }
    }
    for at in 0..message.len().saturating_sub(8) {
        let long = message[at..at + 8]
            .try_into()
            .map(u64::from_be_bytes)
            .expect("eight bytes");
        if times.contains(&long) {
            message[at..at + 8].fill(0);
        }
        let text = message
            .get(at..at + 13)
            .and_then(|digits| str::from_utf8(digits).ok());
        if text
            .and_then(|text| text.parse().ok())
            .is_some_and(|ms| times.contains(&ms))
        {
            message[at..at + 13].fill(b'0');
        }
    }
}
