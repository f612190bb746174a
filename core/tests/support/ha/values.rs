//! Single values, each a stream of its own.

use folkmoot_core::java::{ClassDescriptor, JavaBytes, Limits, ObjectInput, ObjectOutput};

use super::OK;
use super::build::{Builder, NotBuilt};
use super::compare::{same_plain, same_value};
use super::streams::parsed;
use crate::support::vector::Vector;
use crate::support::{Checked, same, same_bytes};

/// A value whose fields are all shown.
pub(crate) fn value(vector: &Vector) -> Checked {
    alone(vector)?;
    let graph = parsed(vector.whole()?)?;
    let json = &vector.fields["value"];
    same_value("the value", json, &graph, graph.root())?;
    let mut builder = Builder::new(&graph);
    match builder.value(json, graph.root()) {
        Ok(built) => {
            builder.graph.push(built);
            same_bytes(
                "bytes built from the fields",
                &builder.graph.encode(),
                vector.whole()?,
            )?;
        }
        // A class name says nothing of what its objects hold.
        Err(NotBuilt::Undetermined) => {}
        Err(NotBuilt::Wrong(what)) => return Err(what),
    }
    OK
}

/// The stream is one value, and that value written alone is the stream.
fn alone(vector: &Vector) -> Result<(), String> {
    let stream = vector.whole()?;
    let limits = Limits::default();
    let mut input = ObjectInput::new(stream, &limits).map_err(|error| error.to_string())?;
    let value = input.read_object().map_err(|error| error.to_string())?;
    input.finish().map_err(|error| error.to_string())?;
    same_bytes("the value read alone", value.as_bytes(), stream)?;
    let mut output = ObjectOutput::new();
    output
        .write_object(&value)
        .map_err(|error| error.to_string())?;
    same_bytes("the value written alone", &output.finish(), stream)?;
    same(
        "the value",
        JavaBytes::new(stream.to_vec().into(), &limits),
        Ok(value),
    )
}

/// An object of Tomcat's authenticators; some of its fields are shown, by name.
pub(crate) fn auth(vector: &Vector) -> Checked {
    alone(vector)?;
    let graph = parsed(vector.whole()?)?;
    let root = graph.root().ok_or("null")?;
    for (name, shown) in vector.fields.as_object().unwrap_or_default() {
        same_plain(name, shown, &graph, root)?;
    }
    let class = graph.class_name(root).to_string_lossy().into_owned();
    let known = ClassDescriptor::well_known(&class);
    same(
        "the descriptor of its class",
        graph.class_descriptor(root),
        known,
    )?;
    same("a class", class.starts_with("org.apache.catalina."), true)?;
    OK
}
