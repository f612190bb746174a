//! Attributes as Rust values and as Java objects.

use std::sync::Arc;

use folkmoot_core::java::{
    ClassDescriptor, ClassRegistry, FieldDescriptor, JavaBytes, Object, Value,
};
use serde::{Deserialize, Serialize};

use super::memory::Memory;
use crate::SessionId;
use crate::web::Session;
use crate::web::exchange::RequestSession;

fn session() -> Session {
    let store = Memory::with(&["A.n1"]);
    Session::new(Arc::new(RequestSession::new(
        store,
        Some(SessionId::from("A.n1")),
    )))
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Cart {
    items: Vec<String>,
    total: f64,
    coupon: Option<String>,
}

#[test]
fn a_struct_comes_back_as_it_was() {
    let session = session();
    let cart = Cart {
        items: vec!["apple".into()],
        total: 1.5,
        coupon: None,
    };
    assert_eq!(session.get::<Cart>("cart").unwrap(), None);
    session.insert("cart", &cart).unwrap();
    assert_eq!(session.get::<Cart>("cart").unwrap(), Some(cart));
    assert_eq!(
        session
            .get_bytes("cart")
            .unwrap()
            .unwrap()
            .class_name()
            .unwrap(),
        *"java.util.HashMap"
    );
    assert_eq!(
        session.get_value("cart").unwrap().unwrap().get("total"),
        Some(&Value::Double(1.5))
    );
}

#[test]
fn a_value_of_another_shape_is_an_error_that_names_the_attribute() {
    let session = session();
    session.insert("cart", "a string").unwrap();
    let error = session.get::<Cart>("cart").unwrap_err().to_string();
    assert!(error.contains("\"cart\""), "{error}");
    assert_eq!(
        session.get::<String>("cart").unwrap().as_deref(),
        Some("a string")
    );
}

/// An object of a class that only Java nodes have: `shop.Item { int count; String name; }`.
fn item(name: &str, count: i32) -> JavaBytes {
    let field = |name: &str, signature: &str| FieldDescriptor {
        name: name.into(),
        signature: signature.into(),
    };
    let mut classes = ClassRegistry::new();
    classes.keep(Arc::new(ClassDescriptor {
        name: "shop.Item".into(),
        uid: 42,
        flags: 2,
        fields: vec![field("count", "I"), field("name", "Ljava/lang/String;")],
        superclass: None,
    }));
    let mut item = Object::new("shop.Item");
    item.set("count", count);
    item.set("name", name);
    Value::from(item).to_java(&classes).unwrap()
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Item {
    name: String,
    count: u32,
}

#[test]
fn a_java_object_is_read_by_field_and_written_back_as_its_class() {
    let session = session();
    session.set_bytes("item", item("apple", 1)).unwrap();
    let mut read: Item = session.get("item").unwrap().unwrap();
    assert_eq!(
        read,
        Item {
            name: "apple".into(),
            count: 1
        }
    );
    read.count = 2;
    session.insert("item", &read).unwrap();
    assert_eq!(
        session.get_bytes("item").unwrap().unwrap(),
        item("apple", 2),
        "byte for byte as Java writes it"
    );

    assert!(session.set_field("item", "name", "pear").unwrap());
    assert_eq!(session.get_bytes("item").unwrap().unwrap(), item("pear", 2));
    assert!(
        !session
            .set_field("no such attribute", "name", "pear")
            .unwrap()
    );
    let error = session
        .set_field("item", "colour", "red")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("colour") && error.contains("shop.Item"),
        "{error}"
    );

    session
        .insert_as(
            "shop.Item",
            "other",
            &Item {
                name: "plum".into(),
                count: 3,
            },
        )
        .unwrap();
    assert_eq!(
        session.get_bytes("other").unwrap().unwrap(),
        item("plum", 3)
    );
    let error = session
        .insert_as("shop.Unknown", "other", &read)
        .unwrap_err()
        .to_string();
    assert!(error.contains("shop.Unknown"), "{error}");

    // What is no struct takes the attribute over.
    session.insert("item", &7).unwrap();
    assert_eq!(session.get::<i64>("item").unwrap(), Some(7));
}

#[test]
fn nothing_is_an_attribute_removed() {
    let session = session();
    session.insert("k", &Some(1)).unwrap();
    session.remove("k").unwrap();
    assert_eq!(session.get::<i32>("k").unwrap(), None);
    assert!(session.attribute_names().unwrap().is_empty());
}
