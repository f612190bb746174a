//! Values as people see them: trees, fields, classes learned.

use folkmoot_core::java::{
    BigInteger, ClassDescriptor, ClassRegistry, Collection, JavaBytes, JavaString, Limits, Object,
    Value, ValueError,
};

use crate::vectors::{stream, streams};

fn value(name: &str) -> JavaBytes {
    JavaBytes::new(stream(name).into(), &Limits::DEFAULT).unwrap()
}

fn text(text: &str) -> Value {
    Value::from(text)
}

fn list(class: &str, items: &[Value]) -> Value {
    Value::List {
        class: class.into(),
        items: items.to_vec(),
    }
}

fn set(class: &str, items: &[Value]) -> Value {
    Value::Set {
        class: class.into(),
        items: items.to_vec(),
    }
}

fn map(class: &str, entries: &[(Value, Value)]) -> Value {
    Value::Map {
        class: class.into(),
        entries: entries.to_vec(),
    }
}

#[test]
fn recorded_values_are_what_they_say() {
    let strings = |items: &[&str]| items.iter().map(|&item| text(item)).collect::<Vec<_>>();
    #[rustfmt::skip]
    let cases: &[(&str, Value)] = &[
        ("null", Value::Null),
        ("string_ascii", text("hello world")),
        ("string_supplementary", text("smile \u{1F600} music \u{1D11E} end")),
        ("string_nul", text("a\0b")),
        ("integer", Value::Int(42)),
        ("long", Value::Long(1_234_567_890_123)),
        ("short", Value::Short(-32768)),
        ("byte", Value::Byte(-1)),
        ("character", Value::Char(8364)),
        ("boolean_true", Value::Bool(true)),
        ("double", Value::Double(core::f64::consts::PI)),
        ("float", Value::Float(1.25)),
        ("bytes", Value::from(&[0, 1, 2, 255][..])),
        ("ints", Value::ints([1, -1, i32::MAX])),
        ("date", Value::Date(1_700_000_000_123)),
        ("timestamp", Value::Date(1_700_000_000_123)),
        ("biginteger", Value::BigInteger("-98765432109876543210".parse().unwrap())),
        ("bigdecimal", Value::BigDecimal { unscaled: "12345678901234567890123456789".parse().unwrap(), scale: 9 }),
        ("uuid", Value::Uuid(0x00112233_4455_6677_8899_aabbccddeeff)),
        ("arraylist", list("java.util.ArrayList", &[text("x"), Value::Int(1), Value::Null, text("x")])),
        ("linkedlist", list("java.util.LinkedList", &[text("l1"), Value::Long(2)])),
        ("hashset", set("java.util.HashSet", &strings(&["e1", "e2"]))),
        ("treeset", set("java.util.TreeSet", &strings(&["p", "q"]))),
        ("treemap", map("java.util.TreeMap", &[(text("a"), Value::Int(1)), (text("b"), Value::Int(2))])),
        ("concurrenthashmap", map("java.util.concurrent.ConcurrentHashMap", &[(text("c"), text("d"))])),
        ("enum_with_body", Value::constant("GenHa$Color", "GREEN")),
        ("class_enum", Value::Class("GenHa$Color".into())),
        ("custom_externalizable", Value::Opaque("GenHa$Ext".into())),
    ];
    for (name, expected) in cases {
        assert_eq!(
            value(&format!("values/{name}")).value().as_ref(),
            Ok(expected),
            "{name}"
        );
    }
}

#[test]
fn collections_of_every_kind_are_looked_into() {
    #[rustfmt::skip]
    let cases = [
        ("vector", "list"), ("list_of", "list"), ("arrays_aslist", "list"), ("unmodifiable", "list"), ("emptylist", "list"),
        ("singleton", "list"), ("copyonwrite", "list"), ("arraydeque", "list"), ("set_of", "set"), ("linkedhashset", "set"),
        ("enumset", "set"), ("map_of", "map"), ("properties", "map"), ("synchronizedmap", "map"), ("enummap", "map"),
        ("hashtable", "map"), ("linkedhashmap", "map"), ("hashmap_empty", "map"),
    ];
    for (name, kind) in cases {
        let graph = value(&format!("values/{name}"))
            .decode(&Limits::DEFAULT)
            .unwrap();
        let found = match graph.collection(graph.root().unwrap()) {
            Some(Collection::List(_)) => "list",
            Some(Collection::Set(_)) => "set",
            Some(Collection::Map(_)) => "map",
            None => "none",
        };
        assert_eq!(found, kind, "{name}");
    }
    assert_eq!(
        value("values/unmodifiable")
            .value()
            .unwrap()
            .as_slice()
            .map(<[Value]>::len),
        Some(1)
    );
}

#[test]
fn every_recorded_value_is_a_tree_and_what_has_a_class_of_its_own_is_written_back_the_same() {
    let mut written = 0;
    for (name, bytes) in streams("values") {
        let value = JavaBytes::new(bytes.into(), &Limits::DEFAULT).unwrap();
        let tree = value
            .value()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut registry = ClassRegistry::new();
        registry.learn(&value).unwrap();
        // What cannot be written from a tree says so.
        let Ok(again) = tree.to_java(&registry) else {
            continue;
        };
        written += 1;
        // Classes that are no more than a way of writing others become the usual ones.
        if again.class_name() == value.class_name() {
            // One NaN is not equal to another.
            assert_eq!(
                format!("{:?}", again.value()),
                format!("{:?}", Ok::<_, ValueError>(tree)),
                "{name}"
            );
        }
    }
    assert!(written > 60, "{written}");
}

fn lab_user() -> ClassDescriptor {
    ClassDescriptor::new("lab.LabUser", 42)
        .with_field("name", "Ljava/lang/String;")
        .with_field("age", "I")
        .with_field("created", "J")
        .with_field("active", "Z")
        .with_field("score", "D")
        .with_field("level", "Llab/LabUser$Level;")
        .with_field("roles", "Ljava/util/List;")
        .with_field("marks", "[I")
        .with_field("boss", "Llab/LabUser;")
}

fn lab() -> ClassRegistry {
    let mut registry = ClassRegistry::new();
    registry.keep(lab_user().into());
    registry.keep(ClassDescriptor::enumeration("lab.LabUser$Level").into());
    registry
}

fn user(name: &str, age: i32) -> Object {
    let mut user = Object::new("lab.LabUser");
    user.set("name", name);
    user.set("age", age);
    user.set("created", 1_700_000_000_000 + i64::from(age));
    user.set("active", true);
    user.set("score", f64::from(age) / 4.0);
    user.set("level", Value::constant("lab.LabUser$Level", "MEMBER"));
    user.set(
        "roles",
        Value::list([text(&format!("r-{name}")), text("all")]),
    );
    user.set("marks", Value::ints([1, 2, 3]));
    user
}

#[test]
fn an_object_is_written_with_the_descriptor_of_its_class() {
    let mut ann = user("ann", 40);
    ann.set("boss", user("bea", 50));
    let written = Value::from(ann.clone()).to_java(&lab()).unwrap();
    assert_eq!(written.class_name(), Some("lab.LabUser".into()));
    let graph = written.decode(&Limits::DEFAULT).unwrap();
    assert_eq!(
        graph.class_descriptor(graph.root().unwrap()),
        Some(lab_user())
    );
    let names: Vec<_> = lab_user()
        .fields
        .iter()
        .map(|field| field.name.to_string())
        .collect();
    assert_eq!(
        names,
        [
            "active", "age", "created", "score", "boss", "level", "marks", "name", "roles"
        ]
    );
    let read = written.value().unwrap();
    assert_eq!(
        read.get("boss").and_then(|boss| boss.get("name")),
        Some(&text("bea"))
    );
    assert_eq!(read.get("marks"), Some(&Value::ints([1, 2, 3])));
    assert_eq!(read.get("secret"), None);
    for (name, value) in &ann.fields {
        if *name != "boss" {
            assert_eq!(read.get(&name.to_string()), Some(value), "{name}");
        }
    }
}

#[test]
fn changing_a_field_changes_nothing_else() {
    let written = Value::from(user("ann", 40)).to_java(&lab()).unwrap();
    let registry = ClassRegistry::new();
    let older = written
        .with_field("age", &Value::Int(41), &registry)
        .unwrap();
    let differ: Vec<_> = written
        .as_bytes()
        .iter()
        .zip(older.as_bytes())
        .filter(|(a, b)| a != b)
        .collect();
    assert_eq!(differ, [(&40, &41)]);
    assert_eq!(written.as_bytes().len(), older.as_bytes().len());
    // An object whose class has custom data, and one with an irregular layout.
    let custom = value("values/custom_writeobject")
        .with_field("kept", &Value::Byte(7), &registry)
        .unwrap();
    assert_eq!(custom.value().unwrap().get("kept"), Some(&Value::Int(7)));
    assert_eq!(
        custom.as_bytes().len(),
        stream("values/custom_writeobject").len()
    );
    let late = value("values_irregular/late_default")
        .with_field("s", &text("other"), &registry)
        .unwrap();
    assert_eq!(late.value().unwrap().get("s"), Some(&text("other")));
    assert_eq!(late.value().unwrap().get("after"), Some(&Value::Int(3)));

    let fails = [
        (
            "age",
            text("old"),
            "field age of lab.LabUser: a java.lang.String is no int",
        ),
        (
            "age",
            Value::Long(1 << 40),
            "field age of lab.LabUser: 1099511627776 does not fit a int",
        ),
        (
            "agee",
            Value::Int(1),
            "field agee of lab.LabUser: the object has no field of that name",
        ),
        (
            "name",
            Value::Int(1),
            "field name of lab.LabUser: a java.lang.Integer where a java.lang.String is expected",
        ),
        (
            "level",
            text("MEMBER"),
            "class lab.LabUser$Level has not been seen in any stream, so no object of it can be written",
        ),
    ];
    for (field, value, message) in fails {
        let registry = ClassRegistry::new();
        let error = written.with_field(field, &value, &registry).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    assert!(written.with_field("level", &text("ADMIN"), &lab()).is_ok());
}

#[test]
fn classes_are_learned_from_streams_and_forgotten_when_there_are_too_many() {
    let mut registry = ClassRegistry::with_bytes_max(4000);
    registry.learn(&value("values/custom_cart")).unwrap();
    assert!(
        registry
            .descriptor(&"GenHa$Cart".into())
            .is_some_and(|class| class.uid == 42 && class.fields.len() == 12)
    );
    assert!(
        registry
            .descriptor(&"GenHa$Color".into())
            .is_some_and(|class| class.is_enum())
    );
    assert!(
        registry.descriptor(&"java.util.ArrayList".into()).is_some(),
        "known from the start"
    );
    assert_eq!(registry.len(), 2);
    for number in 0..100 {
        registry.keep(ClassDescriptor::new(&format!("lab.C{number}"), number).into());
    }
    assert!(registry.descriptor(&"GenHa$Cart".into()).is_none());
    assert!(registry.descriptor(&"lab.C99".into()).is_some());
    assert!((10..40).contains(&registry.len()), "{}", registry.len());
}

#[test]
fn what_cannot_be_written_says_why() {
    let registry = lab();
    let mut wrong = user("ann", 1);
    wrong.set("marks", Value::Int(3));
    #[rustfmt::skip]
    let cases = [
        (Value::from(Object::new("lab.Other")), "class lab.Other has not been seen in any stream, so no object of it can be written"),
        (Value::from(Object::new("java.util.Vector")), "objects of class java.util.Vector have data that only the class can write; change an existing one"),
        (Value::Opaque("lab.LabExt".into()), "a cycle or an opaque object can only be carried as it is"),
        (Value::from(wrong), "field marks of lab.LabUser: a java.lang.Integer where a [I is expected"),
    ];
    for (value, message) in cases {
        assert_eq!(value.to_java(&registry).unwrap_err().to_string(), message);
    }
    let mut deep = Value::Null;
    for _ in 0..200 {
        deep = Value::list([deep]);
    }
    assert_eq!(deep.to_java(&registry), Err(ValueError::TooDeep));
}

#[test]
fn a_ring_of_objects_ends_where_it_closes() {
    let ring = value("values/custom_cycle").value().unwrap();
    let second = ring.get("next").unwrap();
    assert_eq!(second.get("name"), Some(&text("n2")));
    assert_eq!(second.get("next"), Some(&Value::Cycle));
}

#[test]
fn rust_values_are_the_streams_java_writes() {
    #[rustfmt::skip]
    let cases: &[(&str, JavaBytes)] = &[
        ("integer", JavaBytes::from(42)),
        ("long", JavaBytes::from(1_234_567_890_123_i64)),
        ("short", JavaBytes::from(-32768_i16)),
        ("byte", JavaBytes::from(-1_i8)),
        ("boolean_true", JavaBytes::from(true)),
        ("double", JavaBytes::from(core::f64::consts::PI)),
        ("float", JavaBytes::from(1.25_f32)),
        ("string_nul", JavaBytes::from("a\0b")),
        ("bytes", JavaBytes::from(&[0_u8, 1, 2, 255][..])),
        ("null", JavaBytes::NULL),
        ("date", Value::Date(1_700_000_000_123).to_java(&ClassRegistry::new()).unwrap()),
        ("strings", Value::Array { class: "[Ljava.lang.String;".into(), items: vec![text("a"), Value::Null, text("b"), text("a")] }.to_java(&ClassRegistry::new()).unwrap()),
        ("ints", Value::ints([1, -1, i32::MAX]).to_java(&ClassRegistry::new()).unwrap()),
        ("biginteger", Value::BigInteger(BigInteger::from(-98_765_432_109_876_543_210_i128)).to_java(&ClassRegistry::new()).unwrap()),
        ("uuid", Value::Uuid(0x00112233_4455_6677_8899_aabbccddeeff).to_java(&ClassRegistry::new()).unwrap()),
        ("hashset", set("java.util.HashSet", &[text("e1"), text("e2")]).to_java(&ClassRegistry::new()).unwrap()),
        ("enum_plain", Value::constant("GenHa$Color", "RED").to_java(&ClassRegistry::new()).unwrap()),
    ];
    for (name, made) in cases {
        let recorded = stream(&format!("values/{name}"));
        // A literal used twice is one string in Java.
        if *name != "strings" {
            assert_eq!(
                made.as_bytes().escape_ascii().to_string(),
                recorded.escape_ascii().to_string(),
                "{name}"
            );
        }
        assert_eq!(
            made.value(),
            value(&format!("values/{name}")).value(),
            "{name}"
        );
    }
}

#[test]
fn strings_are_utf16_and_order_as_java_orders_them() {
    let lone = JavaString::from_utf16(&[0x61, 0xD83D, 0x62]);
    assert_eq!(lone.to_str(), None);
    assert_eq!(lone.to_string(), "a\u{FFFD}b");
    assert_eq!(lone.utf16().collect::<Vec<_>>(), [0x61, 0xD83D, 0x62]);
    for text in [
        "",
        "plain",
        "P\u{159}\u{ed}li\u{161}",
        "\u{4f60}\u{597d}",
        "a\0b",
        "\u{1F600}",
    ] {
        let java = JavaString::from(text);
        assert_eq!(java.to_str().as_deref(), Some(text));
        assert_eq!(
            java,
            JavaString::from_utf16(&text.encode_utf16().collect::<Vec<_>>())
        );
        assert!(java == text, "{text}");
        assert_eq!(
            JavaString::from_modified_utf8(java.bytes().clone()),
            Some(java)
        );
    }
    for bad in [
        &b"\xC0"[..],
        b"\xFF",
        b"\xE0\x80",
        b"\xF0\x9F\x98\x80",
        b"a\x80",
    ] {
        assert_eq!(
            JavaString::from_modified_utf8(bad.to_vec().into()),
            None,
            "{}",
            bad.escape_ascii()
        );
    }
}
