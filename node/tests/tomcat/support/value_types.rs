//! Every value type of the probe, with what both kinds of node must make of it.

use serde_json::{Value, json};

/// One type of the probe: how a request names a value of it, and what an answer says about it.
pub(crate) struct ValueType {
    /// The word for `type=`.
    pub(crate) word: &'static str,
    /// A value for `v=`.
    pub(crate) v: &'static str,
    /// The Java class.
    pub(crate) class: &'static str,
    /// The value in JSON.
    pub(crate) value: Value,
}

impl ValueType {
    /// As an attribute of an answer.
    pub(crate) fn described(&self) -> Value {
        json!({"type": self.class, "value": self.value})
    }
}

/// `lab.LabUser` made from `name:age`.
pub(crate) fn lab_user(name: &str, age: i32, boss: Value) -> Value {
    json!({
        "name": name, "age": age, "created": 1_700_000_000_000_i64 + i64::from(age),
        "active": true, "score": f64::from(age) / 4.0, "level": "MEMBER",
        "roles": [format!("r-{name}"), "all"], "marks": [1, 2, 3], "boss": boss,
    })
}

/// One row for each type that both kinds of node can read. Sets and maps are named in the order in which Java's
/// hash tables iterate, so that both kinds write the same bytes.
#[rustfmt::skip]
pub(crate) fn readable() -> Vec<ValueType> {
    let row = |word, v, class, value| ValueType { word, v, class, value };
    vec![
        row("string", "alpha", "java.lang.String", json!("alpha")),
        row("string", "", "java.lang.String", json!("")),
        row("string", "zwölf \"Boxkämpfer\" \\ 日本 🦀", "java.lang.String", json!("zwölf \"Boxkämpfer\" \\ 日本 🦀")),
        row("int", "1005", "java.lang.Integer", json!(1005)),
        row("int", "-2147483648", "java.lang.Integer", json!(-2_147_483_648_i64)),
        row("long", "5000000005", "java.lang.Long", json!(5_000_000_005_i64)),
        row("long", "-9223372036854775808", "java.lang.Long", json!(i64::MIN)),
        row("double", "2.5", "java.lang.Double", json!(2.5)),
        row("float", "-0.25", "java.lang.Float", json!(-0.25)),
        row("short", "-32768", "java.lang.Short", json!(-32768)),
        row("byte", "-128", "java.lang.Byte", json!(-128)),
        row("bool", "true", "java.lang.Boolean", json!(true)),
        row("bool", "false", "java.lang.Boolean", json!(false)),
        row("char", "ß", "java.lang.Character", json!("ß")),
        row("bytes", "00ff1005", "[B", json!("00ff1005")),
        row("bytes", "", "[B", json!("")),
        row("list", "alpha,b,c", "java.util.ArrayList", json!(["alpha", "b", "c"])),
        row("set", "apple,pear,fig", "java.util.HashSet", json!(["apple", "fig", "pear"])),
        row("map", "x=alpha,y=2", "java.util.HashMap", json!({"x": "alpha", "y": "2"})),
        row("date", "1700000000005", "java.util.Date", json!(1_700_000_000_005_i64)),
        row("strarr", "one,two", "[Ljava.lang.String;", json!(["one", "two"])),
        row("intarr", "1,-2,2147483647", "[I", json!([1, -2, 2_147_483_647])),
        row("bigint", "-123456789012345678901234567890", "java.math.BigInteger", json!("-123456789012345678901234567890")),
        row("bigint", "0", "java.math.BigInteger", json!("0")),
        row("uuid", "0f14d0ab-9605-4a62-a9e4-5ed26688389b", "java.util.UUID", json!("0f14d0ab-9605-4a62-a9e4-5ed26688389b")),
        row("instant", "2026-11-21T10:15:30.123456789Z", "java.time.Instant", json!("2026-11-21T10:15:30.123456789Z")),
        row("instant", "1969-12-31T23:59:59Z", "java.time.Instant", json!("1969-12-31T23:59:59Z")),
        row("enum", "ADMIN", "lab.LabUser$Level", json!("ADMIN")),
        row("custom", "alpha:45:boss:60", "lab.LabUser", lab_user("alpha", 45, lab_user("boss", 60, Value::Null))),
        row("custom", "solo:7", "lab.LabUser", lab_user("solo", 7, Value::Null)),
        row("big", "70000", "java.lang.String", json!("x".repeat(70_000))),
    ]
}
