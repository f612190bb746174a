//! The nine steps of Tomcat's cluster how-to: start, fail over, come back, invalidate, expire.

use serde_json::{Value, json};

use crate::support::client::{Answer, Client, quoted};
use crate::support::cluster::{Cluster, Membership, Setup};
use crate::support::probe::Kind::{self, Rust, Tomcat};
use crate::support::value_types::lab_user;
use Membership::{Multicast, Static};

scenarios! {
    fn control_two_tomcats_multicast_8(name) { play(name, &[Tomcat, Tomcat], Multicast, 8); }
    fn control_two_tomcats_static_6(name) { play(name, &[Tomcat, Tomcat], Static, 6); }

    fn rust_as_a_multicast_8(name) { play(name, &[Rust, Tomcat], Multicast, 8); }
    fn rust_as_a_multicast_6(name) { play(name, &[Rust, Tomcat], Multicast, 6); }
    fn rust_as_a_static_8(name) { play(name, &[Rust, Tomcat], Static, 8); }
    fn rust_as_a_static_6(name) { play(name, &[Rust, Tomcat], Static, 6); }

    fn rust_as_b_multicast_8(name) { play(name, &[Tomcat, Rust], Multicast, 8); }
    fn rust_as_b_multicast_6(name) { play(name, &[Tomcat, Rust], Multicast, 6); }
    fn rust_as_b_static_8(name) { play(name, &[Tomcat, Rust], Static, 8); }
    fn rust_as_b_static_6(name) { play(name, &[Tomcat, Rust], Static, 6); }

    fn two_rust_one_tomcat_multicast_8(name) { play(name, &[Rust, Tomcat, Rust], Multicast, 8); }
    fn two_rust_one_tomcat_multicast_6(name) { play(name, &[Rust, Rust, Tomcat], Multicast, 6); }
    fn two_rust_one_tomcat_static_8(name) { play(name, &[Rust, Rust, Tomcat], Static, 8); }
    fn two_rust_one_tomcat_static_6(name) { play(name, &[Tomcat, Rust, Rust], Static, 6); }

    fn one_rust_two_tomcats_multicast_8(name) { play(name, &[Tomcat, Tomcat, Rust], Multicast, 8); }
    fn one_rust_two_tomcats_multicast_6(name) { play(name, &[Rust, Tomcat, Tomcat], Multicast, 6); }
    fn one_rust_two_tomcats_static_8(name) { play(name, &[Tomcat, Rust, Tomcat], Static, 8); }
    fn one_rust_two_tomcats_static_6(name) { play(name, &[Tomcat, Tomcat, Rust], Static, 6); }

    // The nodes above are driven by mio. By io_uring, which takes what brings much; and by a ring that does all it can:
    fn rust_as_a_multicast_8_io_uring(name) { play_with(name, &[Rust, Tomcat], Multicast, 8, IO_URING); }
    fn rust_as_b_static_6_io_uring(name) { play_with(name, &[Tomcat, Rust], Static, 6, IO_URING); }
    fn two_rust_one_tomcat_multicast_6_ring(name) { play_with(name, &[Rust, Rust, Tomcat], Multicast, 6, RING); }
    fn one_rust_two_tomcats_static_8_ring(name) { play_with(name, &[Tomcat, Rust, Tomcat], Static, 8, RING); }
    fn rust_as_a_static_6_ring(name) { play_with(name, &[Rust, Tomcat], Static, 6, RING); }
}

/// How a node of ours is driven: variables of its environment.
type Driven = &'static [(&'static str, &'static str)];

const MIO: Driven = &[("PROBE_DRIVER", "mio")];
const IO_URING: Driven = &[("PROBE_DRIVER", "io_uring")];
const RING: Driven = &[("PROBE_DRIVER", "io_uring"), ("PROBE_RING", "yes")];

const A: usize = 0;
const B: usize = 1;

fn play(name: &str, kinds: &[Kind], membership: Membership, options: u32) {
    play_with(name, kinds, membership, options, MIO);
}

/// Plays all nine steps, with our nodes so driven. Further nodes start with B and must agree with it all the way.
fn play_with(name: &str, kinds: &[Kind], membership: Membership, options: u32, driven: Driven) {
    let mut setup = Setup::new(membership, options);
    for (variable, value) in driven {
        setup = setup.with(variable, value);
    }
    let mut cluster = Cluster::new(name, kinds, &setup);

    // 1. A starts up.
    cluster.nodes[A].start();
    assert_eq!(cluster.nodes[A].members(), [""; 0], "1: A is alone");

    // 2. B starts up and asks for state.
    for node in B..kinds.len() {
        cluster.nodes[node].start();
    }
    cluster.await_members();

    // 3. A gets a request: session S1 is created, then filled.
    let mut visitor = Client::new();
    let created = visitor.get(cluster.http(A), "/s/get?k=who");
    let s1 = created.id().to_owned();
    assert!(
        created.is_new() && s1.ends_with(".n1"),
        "3: {}",
        created.json
    );
    assert_eq!(
        created.set_cookie.as_deref(),
        Some(s1.as_str()),
        "3: its cookie"
    );
    cluster.await_attributes(&s1, &json!({}));
    for (k, word, v) in TEN {
        visitor.get(cluster.http(A), &set(k, word, v));
    }
    cluster.await_attributes(&s1, &ten());
    let creation = dump(&mut visitor, &cluster, A).get("creation").clone();

    // 4. A crashes: the others notice.
    cluster.nodes[A].crash();
    cluster.await_members();

    // 5. B gets the request: same session, its own route, a new cookie.
    let served = dump(&mut visitor, &cluster, B);
    let s1_on_b = s1.replace(".n1", ".n2");
    assert!(!served.is_new(), "5: not new: {}", served.json);
    assert_eq!(served.get("attributes"), &ten(), "5: with every attribute");
    assert_eq!(
        served.get("creation"),
        &creation,
        "5: created when it was created"
    );
    assert_eq!(
        visitor.cookie.as_deref(),
        Some(s1_on_b.as_str()),
        "5: the cookie follows"
    );
    visitor.get(cluster.http(B), &set("i", "int", "7"));
    let removed = visitor.get(cluster.http(B), "/s/remove?k=b");
    assert_eq!(
        removed.get("was")["value"],
        json!(true),
        "5: {}",
        removed.json
    );
    visitor.get(cluster.http(B), &set("new", "string", "from-B"));
    let mut changed = ten();
    changed["i"] = described("java.lang.Integer", json!(7));
    changed["new"] = described("java.lang.String", json!("from-B"));
    changed.as_object_mut().expect("an object").remove("b");
    cluster.await_attributes(&s1_on_b, &changed);
    cluster.await_gone(&s1);

    // 6. A starts again and gets the state from B.
    cluster.nodes[A].start();
    cluster.await_members();
    assert_eq!(
        cluster.nodes[A].session_ids(),
        [s1_on_b.as_str()],
        "6: A has S1 when it serves"
    );
    assert_eq!(
        cluster.nodes[A].attributes(&s1_on_b),
        changed,
        "6: as B left it"
    );

    // 7. A gets a request for S1, takes the route back, and invalidates.
    let served = dump(&mut visitor, &cluster, A);
    assert!(!served.is_new() && served.id() == s1, "7: {}", served.json);
    assert_eq!(
        served.get("attributes"),
        &changed,
        "7: with every attribute"
    );
    assert_eq!(
        served.get("creation"),
        &creation,
        "7: created when it was created"
    );
    cluster.await_attributes(&s1, &changed);
    cluster.await_gone(&s1_on_b);
    let invalidated = visitor.get(cluster.http(A), "/s/invalidate");
    assert_eq!(
        invalidated.get("invalidated"),
        &json!(true),
        "7: {}",
        invalidated.json
    );
    cluster.await_gone(&s1);
    let asked = visitor.get(cluster.http(B), "/s/get?k=new&create=0");
    assert_eq!(
        asked.get("id"),
        &Value::Null,
        "7: B has no such session: {}",
        asked.json
    );

    // 8. B gets a request for a new session S2.
    let mut other = Client::new();
    let created = other.get(cluster.http(B), "/s/get?k=who");
    let s2 = created.id().to_owned();
    assert!(
        created.is_new() && s2.ends_with(".n2"),
        "8: {}",
        created.json
    );
    cluster.await_attributes(&s2, &json!({}));
    other.get(
        cluster.http(B),
        "/s/set?k=who&type=string&v=two-alpha&max=3",
    );
    cluster.on_every_node("8: S2 with its timeout", |node| {
        let session = node
            .peek(&s2)
            .map(|session| session.json)
            .unwrap_or_default();
        let who = described("java.lang.String", json!("two-alpha"));
        match (
            session["attributes"]["who"] == who,
            &session["maxInactiveInterval"],
        ) {
            (true, interval) if interval == &json!(3) => Ok(()),
            _ => Err(session),
        }
    });

    // 9. S2 expires by inactivity, everywhere.
    cluster.await_gone(&s2);
    for node in cluster.running() {
        assert_eq!(
            cluster.nodes[node].session_ids(),
            [""; 0],
            "9: no session left"
        );
    }
    cluster.await_members();
}

fn dump(visitor: &mut Client, cluster: &Cluster, node: usize) -> Answer {
    visitor.get(cluster.http(node), "/s/dump")
}

fn set(k: &str, word: &str, v: &str) -> String {
    format!("/s/set?k={k}&type={word}&v={}", quoted(v))
}

#[rustfmt::skip]
const TEN: [(&str, &str, &str); 10] = [
    ("who", "string", "alpha"), ("i", "int", "1005"), ("l", "long", "5000000005"),
    ("d", "double", "2.5"), ("b", "bool", "true"), ("by", "bytes", "00ff1005"),
    ("li", "list", "alpha,b,c"), ("m", "map", "x=alpha,y=2"), ("da", "date", "1700000000005"),
    ("cu", "custom", "alpha:45:boss:60"),
];

fn described(class: &str, value: Value) -> Value {
    json!({"type": class, "value": value})
}

/// The attributes of S1 after step 3.
fn ten() -> Value {
    json!({
        "who": described("java.lang.String", json!("alpha")),
        "i": described("java.lang.Integer", json!(1005)),
        "l": described("java.lang.Long", json!(5_000_000_005_i64)),
        "d": described("java.lang.Double", json!(2.5)),
        "b": described("java.lang.Boolean", json!(true)),
        "by": described("[B", json!("00ff1005")),
        "li": described("java.util.ArrayList", json!(["alpha", "b", "c"])),
        "m": described("java.util.HashMap", json!({"x": "alpha", "y": "2"})),
        "da": described("java.util.Date", json!(1_700_000_000_005_i64)),
        "cu": described("lab.LabUser", lab_user("alpha", 45, lab_user("boss", 60, Value::Null))),
    })
}
