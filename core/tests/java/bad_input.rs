//! Streams that are cut off, changed, deep, cyclic or enormous.

use folkmoot_core::java::{
    Graph, JavaBytes, JavaErrorKind as E, Limits, Next, ObjectInput, ObjectOutput,
};
use proptest::prelude::*;

use crate::vectors::streams;

/// Reads everything as every reader does; what matters is that it comes back.
fn read_in_every_way(stream: &[u8]) {
    let limits = Limits {
        total_bytes: 1 << 20,
        ..Limits::DEFAULT
    };
    if let Ok(graph) = Graph::parse(stream, &limits) {
        let encoded = graph.encode();
        assert!(
            Graph::parse(&encoded, &limits).is_ok(),
            "{}",
            encoded.escape_ascii()
        );
        let _ = graph.value(graph.root());
    }
    let Ok(mut input) = ObjectInput::new(stream, &limits) else {
        return;
    };
    let mut output = ObjectOutput::new();
    loop {
        let done = match input.peek() {
            Ok(Next::End) | Err(_) => break,
            Ok(Next::Data) => input.read_bytes(1).map(|byte| output.write_bytes(&byte)),
            Ok(_) => input
                .read_object()
                .and_then(|value| output.write_object(&value)),
        };
        if done.is_err_and(|error| !error.is_write_aborted()) {
            break;
        }
    }
    let copied = output.finish();
    assert!(
        Graph::parse(&copied, &Limits::DEFAULT).is_ok(),
        "{}",
        copied.escape_ascii()
    );
}

#[test]
fn a_stream_cut_off_anywhere_is_refused_or_a_shorter_one() {
    for (name, bytes) in streams("") {
        let step = 1 + bytes.len() / 400;
        for cut in (0..bytes.len()).step_by(step) {
            let part = &bytes[..cut];
            // Streams of several items are whole between two of them.
            let single = ["values", "auth", "deploy", "session_message"]
                .iter()
                .any(|file| name.starts_with(file));
            if let (true, Ok(value)) = (
                single,
                JavaBytes::new(part.to_vec().into(), &Limits::DEFAULT),
            ) {
                panic!("{name} cut at {cut} is {value:?}");
            }
            read_in_every_way(part);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_with_bytes_changed_never_panics(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let all = streams("values");
        let (_, mut bytes) = all[which.index(all.len())].clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        read_in_every_way(&bytes);
    }

    #[test]
    fn type_codes_in_any_order_never_panic(codes in prop::collection::vec(prop_oneof![0x70_u8..0x7F, Just(0), Just(1), Just(0x7E)], 0..200)) {
        read_in_every_way(&[&[0xAC, 0xED, 0, 5], codes.as_slice()].concat());
    }
}

/// `java.lang.Object[]` of one element, without its end.
const ARRAY_OF_ONE: &[u8] = b"ur\0\x13[Ljava.lang.Object;\x90\xCEX\x9F\x10s)l\x02\0\0xp\0\0\0\x01";

fn refused(what: &str, stream: &[u8], limits: &Limits, kind: E) {
    let parsed = Graph::parse(stream, limits)
        .map(drop)
        .map_err(|error| error.kind);
    assert_eq!(parsed, Err(kind), "{what}");
    let read = ObjectInput::new(stream, limits).and_then(|mut input| input.read_object());
    assert_eq!(
        read.map(drop).map_err(|error| error.kind),
        Err(kind),
        "{what}"
    );
}

#[test]
fn what_exceeds_a_limit_is_refused() {
    let limits = Limits {
        depth: 100,
        objects: 1000,
        string_bytes: 50,
        array_elements: 50,
        total_bytes: 100_000,
    };
    let header = [0xAC, 0xED, 0, 5];
    let nested = |depth: usize| {
        let inside = b"uq\0~\0\0\0\0\0\x01".repeat(depth - 1);
        [&header, ARRAY_OF_ONE, &inside, b"p"].concat()
    };
    assert!(Graph::parse(&nested(100), &limits).is_ok());
    refused("deep", &nested(101), &limits, E::TooDeep);
    let strings = |count: usize| {
        [
            &header[..],
            b"ur\0\x13[Ljava.lang.Object;\x90\xCEX\x9F\x10s)l\x02\0\0xp",
            &50_u32.to_be_bytes(),
        ]
        .concat()
        .into_iter()
        .chain(b"t\0\0".repeat(count))
        .collect::<Vec<_>>()
    };
    assert!(Graph::parse(&strings(50), &limits).is_ok());
    refused("cut off", &strings(49), &limits, E::Truncated);
    refused(
        "a long string",
        &[&header[..], b"t\0\x33", &[b'x'; 51]].concat(),
        &limits,
        E::StringTooLong,
    );
    refused(
        "a long array",
        &[
            &header[..],
            b"ur\0\x02[BABCDEFGH\x02\0\0xp\0\0\0\x33",
            &[0; 51],
        ]
        .concat(),
        &limits,
        E::ArrayTooLong,
    );
    refused(
        "a long stream",
        &[&header[..], &b"p".repeat(100_000)].concat(),
        &limits,
        E::StreamTooLong,
    );
    let many = [&header[..], &b"t\0\0".repeat(1001)].concat();
    assert_eq!(
        Graph::parse(&many, &limits)
            .map(drop)
            .map_err(|error| error.kind),
        Err(E::TooManyObjects)
    );
}

#[test]
fn lies_are_refused_where_they_show() {
    let header: &[u8] = &[0xAC, 0xED, 0, 5];
    #[rustfmt::skip]
    let cases: &[(&str, &[u8], E)] = &[
        ("an array that cannot fit",       b"ur\0\x02[BABCDEFGH\x02\0\0xp\x7F\xFF\xFF\xFF", E::ArrayTooLong),
        ("an array that is not there",     b"ur\0\x02[BABCDEFGH\x02\0\0xp\0\0\x01\0abc", E::Truncated),
        ("a negative array",               b"ur\0\x02[BABCDEFGH\x02\0\0xp\xFF\xFF\xFF\xFF", E::NegativeLength),
        ("a string of many bytes",         b"|\0\0\0\x7F\0\0\0\0", E::StringTooLong),
        ("a string of negative length",    b"|\xFF\0\0\0\0\0\0\0", E::NegativeLength),
        ("a text that is none",            b"t\0\x02\xC3\x28", E::BadText),
        ("a handle that was not given",    b"q\0~\0\0", E::BadHandle(0x7E_0000)),
        ("a handle below the first",       b"q\0}\xFF\xFF", E::BadHandle(0x7D_FFFF)),
        ("an object without class",        b"sp", E::BadTypeCode(0x70)),
        ("an object of a string",          b"st\0\x01x", E::BadTypeCode(0x74)),
        ("a class that is its own super",  b"sr\0\x01AABCDEFGH\x02\0\0xq\0~\0\0", E::BadDescriptor),
        ("an object before its class is whole", b"sr\0\x01AABCDEFGH\x02\0\0sq\0~\0\0xp", E::BadDescriptor),
        ("an array of nothing",            b"ur\0\x01AABCDEFGH\x02\0\0xp\0\0\0\0", E::BadDescriptor),
        ("an enum with fields",            b"~r\0\x01AABCDEFGH\x12\0\x01I\0\x01axpt\0\x01B", E::BadDescriptor),
        ("both serializable and externalizable", b"sr\0\x01AABCDEFGH\x06\0\0xp", E::BadDescriptor),
        ("protocol 1",                     b"sr\0\x01AABCDEFGH\x04\0\0xp\x01\x02", E::UnknownExtent),
        ("fields out of order",            b"sr\0\x01AABCDEFGH\x02\0\x02L\0\x01at\0\x01LI\0\x01bxpp\0\0\0\0", E::BadDescriptor),
        ("a field of no type",             b"sr\0\x01AABCDEFGH\x02\0\x01Q\0\x01axp", E::BadDescriptor),
        ("the end of data at the top",     b"x", E::BadTypeCode(0x78)),
        ("a reset inside an object",       b"sr\0\x01AABCDEFGH\x02\0\x01L\0\x01at\0\x01Lxpy", E::BadTypeCode(0x79)),
        ("no type code",                   b"\x00", E::BadTypeCode(0)),
    ];
    for (what, body, kind) in cases {
        refused(what, &[header, body].concat(), &Limits::DEFAULT, *kind);
    }
    assert_eq!(
        Graph::parse(b"\xAC\xED\0\x04p", &Limits::DEFAULT)
            .map(drop)
            .map_err(|error| error.kind),
        Err(E::BadHeader)
    );
    assert_eq!(
        Graph::parse(b"", &Limits::DEFAULT)
            .map(drop)
            .map_err(|error| error.kind),
        Err(E::Truncated)
    );
}

#[test]
fn a_stream_that_refers_to_one_large_object_again_and_again_does_not_grow_without_bound() {
    let mut output = ObjectOutput::new();
    output
        .write_object(&JavaBytes::from(vec![7; 100_000]))
        .unwrap();
    let mut stream = output.finish().to_vec();
    stream.extend(b"q\0~\0\x01".repeat(1000));
    let limits = Limits {
        total_bytes: 1 << 20,
        ..Limits::DEFAULT
    };
    let mut input = ObjectInput::new(&stream, &limits).unwrap();
    let mut sum = 0;
    let error = loop {
        match input.read_object() {
            Ok(value) => sum += value.as_bytes().len(),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind, E::StreamTooLong);
    assert!(sum < 3 << 20, "{sum}");
}

#[test]
fn values_that_share_exponentially_are_refused_as_trees_and_carried_as_streams() {
    // Each list holds the next one twice: a few lines of stream, 2^64 values.
    let mut graph = Graph::new();
    let mut list = None;
    for _ in 0..64 {
        list = Some(graph.add_list("java.util.ArrayList", &[list, list]));
    }
    let value = graph.value_bytes(list);
    assert!(value.as_bytes().len() < 4000);
    assert!(value.value().is_err());
    let mut output = ObjectOutput::new();
    output.write_object(&value).unwrap();
    assert_eq!(&output.finish(), value.bytes());
}

#[test]
fn a_hierarchy_of_many_classes_is_refused() {
    let mut stream = b"\xAC\xED\0\x05s".to_vec();
    for _ in 0..100 {
        stream.extend(b"r\0\x01AABCDEFGH\x02\0\x01I\0\x01ax");
    }
    stream.push(b'p');
    stream.extend([0; 400]);
    refused("hierarchy", &stream, &Limits::DEFAULT, E::TooDeep);
}
