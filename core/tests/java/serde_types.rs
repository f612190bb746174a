//! Rust types to Java values and back.

use std::collections::{BTreeMap, HashMap};

use folkmoot_core::java::{
    ClassDescriptor, ClassRegistry, JavaBytes, Limits, Value, from_java, to_java, to_java_as,
};
use serde::{Deserialize, Serialize};

use crate::vectors::stream;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Color {
    #[serde(rename = "RED")]
    Red,
    #[serde(rename = "GREEN")]
    Green,
    #[serde(rename = "BLUE")]
    Blue,
}

/// `GenHa$Cart`, in other widths than its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Cart {
    owner: String,
    count: u64,
    total: f64,
    open: bool,
    lines: Vec<String>,
    color: Option<Color>,
    sig: Vec<u8>,
    mark: char,
    sh: i64,
    by: u8,
    fl: f32,
    lo: i64,
}

fn value(name: &str) -> JavaBytes {
    JavaBytes::new(stream(name).into(), &Limits::DEFAULT).unwrap()
}

#[test]
fn an_object_is_read_and_written_by_its_fields() {
    let java = value("values/custom_cart");
    let mut cart: Cart = from_java(&java).unwrap();
    assert_eq!(
        cart,
        Cart {
            owner: "alice".into(),
            count: 3,
            total: 9.75,
            open: true,
            lines: vec!["apple".into(), "pear".into()],
            color: Some(Color::Blue),
            sig: vec![1],
            mark: 'x',
            sh: -3,
            by: 7,
            fl: 1.5,
            lo: 1 << 40,
        }
    );
    let mut registry = ClassRegistry::new();
    registry.learn(&java).unwrap();
    let written = to_java_as("GenHa$Cart", &cart, &registry).unwrap();
    assert_eq!(
        written.as_bytes().escape_ascii().to_string(),
        java.as_bytes().escape_ascii().to_string()
    );
    cart.count = 4;
    cart.color = None;
    let written = to_java_as("GenHa$Cart", &cart, &registry).unwrap();
    assert_eq!(from_java::<Cart>(&written), Ok(cart.clone()));
    cart.count = 1 << 40;
    let error = to_java_as("GenHa$Cart", &cart, &registry).unwrap_err();
    assert_eq!(
        error.to_string(),
        "field count of GenHa$Cart: 1099511627776 does not fit a int"
    );
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Point,
    Circle(f64),
    Line(i32, i32),
    Box { width: u16, height: u16 },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Everything {
    a: i8,
    b: i16,
    c: i32,
    d: i64,
    e: u8,
    f: u16,
    g: u32,
    h: u64,
    i: f32,
    j: f64,
    k: bool,
    l: char,
    m: String,
    n: Option<Box<Everything>>,
    o: Vec<Shape>,
    p: BTreeMap<String, i32>,
    q: (i32, String),
    r: (),
    s: i128,
    t: HashMap<i32, bool>,
}

#[test]
fn what_is_written_is_read_back() {
    let make = |n| Everything {
        a: -1,
        b: -2,
        c: -3,
        d: i64::MIN,
        e: 255,
        f: 65_535,
        g: u32::MAX,
        h: i64::MAX as u64,
        i: 0.5,
        j: -1e300,
        k: true,
        l: '\u{1F600}',
        m: "text\0".into(),
        n,
        o: vec![
            Shape::Point,
            Shape::Circle(1.5),
            Shape::Line(1, 2),
            Shape::Box {
                width: 3,
                height: 4,
            },
        ],
        p: [("x".to_owned(), 1)].into(),
        q: (7, "seven".into()),
        r: (),
        s: i128::MIN,
        t: [(1, true)].into(),
    };
    let everything = make(Some(Box::new(make(None))));
    let java = to_java(&everything).unwrap();
    assert_eq!(java.class_name(), Some("java.util.HashMap".into()));
    assert_eq!(from_java::<Everything>(&java), Ok(everything));
    assert!(to_java(&u64::MAX).is_err());
    assert_eq!(to_java(&5_i32), Ok(JavaBytes::from(5)));
    assert_eq!(to_java("x"), Ok(JavaBytes::from("x")));
}

#[test]
fn java_values_fit_the_rust_types_one_expects() {
    assert_eq!(from_java::<u8>(&JavaBytes::from(200_i64)), Ok(200));
    assert_eq!(from_java::<f64>(&JavaBytes::from(3)), Ok(3.0));
    assert_eq!(from_java::<Option<i32>>(&JavaBytes::NULL), Ok(None));
    assert_eq!(
        from_java::<i64>(&value("values/date")),
        Ok(1_700_000_000_123)
    );
    assert_eq!(
        from_java::<String>(&value("values/uuid")),
        Ok("00112233-4455-6677-8899-aabbccddeeff".into())
    );
    assert_eq!(
        from_java::<String>(&value("values/biginteger")),
        Ok("-98765432109876543210".into())
    );
    assert_eq!(
        from_java::<String>(&value("values/bigdecimal")),
        Ok("12345678901234567890.123456789".into())
    );
    assert_eq!(
        from_java::<char>(&value("values/character")),
        Ok('\u{20ac}')
    );
    assert_eq!(
        from_java::<Color>(&value("values/enum_with_body")),
        Ok(Color::Green)
    );
    assert_eq!(
        from_java::<Vec<i32>>(&value("values/ints")),
        Ok(vec![1, -1, i32::MAX])
    );
    assert_eq!(
        from_java::<Vec<Vec<i32>>>(&value("values/ints2d")),
        Ok(vec![vec![1, 2], vec![], vec![3]])
    );
    assert_eq!(
        from_java::<Vec<u8>>(&value("values/bytes")),
        Ok(vec![0, 1, 2, 255])
    );
    assert_eq!(
        from_java::<Vec<bool>>(&value("values/booleans")),
        Ok(vec![true, false])
    );
    assert_eq!(
        from_java::<Vec<String>>(&value("values/treeset")),
        Ok(vec!["p".into(), "q".into()])
    );
    assert_eq!(
        from_java::<HashMap<String, i32>>(&value("values/treemap")),
        Ok([("a".into(), 1), ("b".into(), 2)].into())
    );
    assert_eq!(
        from_java::<serde_json::Value>(&value("values/nested")).map(|json| json.is_array()),
        Ok(true)
    );
}

#[test]
fn errors_name_the_class_and_the_field() {
    #[derive(Debug, Deserialize)]
    struct Wrong {
        #[serde(rename = "owner")]
        _owner: i32,
    }
    #[derive(Debug, Deserialize)]
    struct Small {
        #[serde(rename = "lo")]
        _lo: i8,
    }
    #[derive(Debug, Deserialize)]
    struct Missing {
        #[serde(rename = "price")]
        _price: i8,
    }
    let cart = value("values/custom_cart");
    let message = |error: folkmoot_core::java::ValueError| error.to_string();
    let wrong = message(from_java::<Wrong>(&cart).unwrap_err());
    assert!(
        wrong.starts_with("field owner of GenHa$Cart: invalid type: java.lang.String"),
        "{wrong}"
    );
    let small = message(from_java::<Small>(&cart).unwrap_err());
    assert!(
        small.starts_with("field lo of GenHa$Cart: invalid value: integer `1099511627776`"),
        "{small}"
    );
    let missing = message(from_java::<Missing>(&cart).unwrap_err());
    assert_eq!(missing, "GenHa$Cart: missing field `price`");
    let opaque = message(from_java::<Missing>(&value("values/custom_externalizable")).unwrap_err());
    assert!(opaque.contains("GenHa$Ext"), "{opaque}");
}

#[test]
fn a_struct_is_written_as_any_class_that_was_seen() {
    #[derive(Serialize)]
    struct User<'a> {
        name: &'a str,
        age: u8,
        level: &'a str,
        marks: [i32; 2],
        friends: Vec<User<'a>>,
        born: i64,
        tags: Vec<&'a str>,
    }
    let mut registry = ClassRegistry::new();
    registry.keep(ClassDescriptor::enumeration("lab.Level").into());
    registry.keep(
        ClassDescriptor::new("lab.User", 5)
            .with_field("name", "Ljava/lang/String;")
            .with_field("age", "Ljava/lang/Long;")
            .with_field("level", "Llab/Level;")
            .with_field("marks", "[J")
            .with_field("friends", "[Llab/User;")
            .with_field("born", "Ljava/util/Date;")
            .with_field("tags", "Ljava/util/Set;")
            .with_superclass(ClassDescriptor::new("lab.Base", 4).with_field("version", "I"))
            .into(),
    );
    let bea = User {
        name: "bea",
        age: 50,
        level: "ADMIN",
        marks: [3, 4],
        friends: vec![],
        born: 2,
        tags: vec![],
    };
    let ann = User {
        name: "ann",
        age: 40,
        level: "GUEST",
        marks: [1, 2],
        friends: vec![bea],
        born: 1,
        tags: vec!["t"],
    };
    let value = to_java_as("lab.User", &ann, &registry)
        .unwrap()
        .value()
        .unwrap();
    assert_eq!(value.class_name(), Some("lab.User".into()));
    assert_eq!(value.get("version"), Some(&Value::Int(0)));
    assert_eq!(value.get("age"), Some(&Value::Long(40)));
    assert_eq!(
        value.get("level"),
        Some(&Value::constant("lab.Level", "GUEST"))
    );
    assert_eq!(value.get("born"), Some(&Value::Date(1)));
    assert_eq!(value.get("tags"), Some(&Value::set([Value::from("t")])));
    assert_eq!(
        value.get("marks").and_then(Value::class_name),
        Some("[J".into())
    );
    let friends = value.get("friends").unwrap();
    assert_eq!(friends.class_name(), Some("[Llab.User;".into()));
    assert_eq!(
        friends.as_slice().unwrap()[0].get("name"),
        Some(&Value::from("bea"))
    );
    assert!(to_java_as("lab.Nobody", &ann, &registry).is_err());
    assert!(
        to_java_as("lab.Base", &ann, &registry)
            .unwrap_err()
            .to_string()
            .contains("lab.Base")
    );
}
