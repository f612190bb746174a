//! What holds for every Java stream, whatever is in it.

use folkmoot_core::java::{Content, Graph, JavaBytes, Limits, Next, ObjectInput, ObjectOutput};

use crate::support::{same, same_bytes};

/// The graph of a stream, which is encoded as it was read unless the writer gave up somewhere.
pub(crate) fn parsed(stream: &[u8]) -> Result<Graph, String> {
    let graph = Graph::parse(stream, &Limits::default()).map_err(|error| error.to_string())?;
    if !graph
        .contents()
        .iter()
        .any(|content| matches!(content, Content::Exception(_)))
    {
        same_bytes("bytes encoded from the graph", &graph.encode(), stream)?;
    }
    let (values, copied) = copied(stream)?;
    let (again, twice) = self::copied(&copied)?;
    same_bytes("bytes copied item by item twice", &twice, &copied)?;
    same("values copied item by item", again, values)?;
    Ok(graph)
}

/// Every item of a stream read, and written to another: only sharing between values is lost, and what its writer
/// gave up.
fn copied(stream: &[u8]) -> Result<(Vec<JavaBytes>, Vec<u8>), String> {
    let limits = Limits::default();
    let error = |error: folkmoot_core::java::JavaError| error.to_string();
    let mut input = ObjectInput::new(stream, &limits).map_err(error)?;
    let (mut output, mut values) = (ObjectOutput::new(), Vec::new());
    loop {
        match input.peek().map_err(error)? {
            Next::End => break,
            Next::Data => output.write_bytes(&input.read_bytes(1).map_err(error)?),
            _ => match input.read_object() {
                Ok(value) => {
                    let checked = JavaBytes::new(value.bytes().clone(), &limits);
                    same("a value read alone", checked, Ok(value.clone()))?;
                    output.write_object(&value).map_err(error)?;
                    values.push(value);
                }
                Err(error) if error.is_write_aborted() => {}
                Err(error) => return Err(error.to_string()),
            },
        }
    }
    input.finish().map_err(error)?;
    Ok((values, output.finish().to_vec()))
}
