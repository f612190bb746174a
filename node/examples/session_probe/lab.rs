//! The classes of an imaginary application, written from Rust as Java would write them.

use std::sync::Arc;

use folkmoot::java::{
    ClassDescriptor, ClassRegistry, FieldDescriptor, Graph, JavaBytes, JavaString, Object, Part,
    Value,
};

const USER: &str = "lab.LabUser";
const LEVEL: &str = "lab.LabUser$Level";
const EXT: &str = "lab.LabExt";

/// Flags of a class descriptor: plain fields; data of its own in blocks.
const SERIALIZABLE: u8 = 0x02;
const EXTERNALIZABLE_BLOCKS: u8 = 0x0c;

/// A constant of `lab.LabUser$Level`.
pub(crate) fn level(name: &str) -> Option<Value> {
    ["GUEST", "MEMBER", "ADMIN"]
        .contains(&name)
        .then(|| Value::constant(LEVEL, name))
}

/// The `lab.LabUser` that `name:age[:boss:age]` makes; `None` if that is not its form.
pub(crate) fn user(text: &str) -> Option<Result<JavaBytes, String>> {
    let parts: Vec<&str> = text.split(':').collect();
    let user = match parts[..] {
        [name, age] => one_user(name, age.parse().ok()?, Value::Null),
        [name, age, boss, boss_age] => one_user(
            name,
            age.parse().ok()?,
            one_user(boss, boss_age.parse().ok()?, Value::Null),
        ),
        _ => return None,
    };
    let mut classes = ClassRegistry::new();
    classes.keep(Arc::new(user_class()));
    Some(user.to_java(&classes).map_err(|error| error.to_string()))
}

fn one_user(name: &str, age: i32, boss: Value) -> Value {
    let mut user = Object::new(USER);
    user.set("name", name);
    user.set("age", age);
    user.set("created", 1_700_000_000_000 + i64::from(age));
    user.set("active", true);
    user.set("score", f64::from(age) / 4.0);
    user.set("level", Value::constant(LEVEL, "MEMBER"));
    user.set(
        "roles",
        Value::list([format!("r-{name}").into(), "all".into()]),
    );
    user.set("marks", Value::ints([1, 2, 3]));
    user.set("boss", boss);
    user.into()
}

/// The fields as they stand in the stream: primitive ones by name, then the others by name.
fn user_class() -> ClassDescriptor {
    #[rustfmt::skip]
    let fields = [
        ("active", "Z"), ("age", "I"), ("created", "J"), ("score", "D"),
        ("boss", "Llab/LabUser;"), ("level", "Llab/LabUser$Level;"), ("marks", "[I"),
        ("name", "Ljava/lang/String;"), ("roles", "Ljava/util/List;"),
    ];
    class(USER, 42, SERIALIZABLE, &fields)
}

/// The `lab.LabExt` that `text:n` makes: `writeInt(n)`, `writeUTF(text)`; `None` if that is not its form.
pub(crate) fn ext(v: &str) -> Option<Result<JavaBytes, String>> {
    let (text, n) = v.split_once(':')?;
    let n: i32 = n.parse().ok()?;
    let text = JavaString::from(text);
    let text = text.as_modified_utf8();
    let Ok(len) = u16::try_from(text.len()) else {
        return Some(Err("the text is longer than writeUTF can write".to_owned()));
    };
    let mut data = n.to_be_bytes().to_vec();
    data.extend_from_slice(&len.to_be_bytes());
    data.extend_from_slice(text);
    let mut graph = Graph::new();
    let class = graph.add_class(&class(EXT, 7, EXTERNALIZABLE_BLOCKS, &[]));
    let object = graph.add_object(class, &[Part::Data(&data), Part::End]);
    Some(Ok(graph.value_bytes(Some(object))))
}

fn class(name: &str, uid: i64, flags: u8, fields: &[(&str, &str)]) -> ClassDescriptor {
    let fields = fields.iter().map(|(name, signature)| FieldDescriptor {
        name: (*name).into(),
        signature: (*signature).into(),
    });
    ClassDescriptor {
        name: name.into(),
        uid,
        flags,
        fields: fields.collect(),
        superclass: None,
    }
}
