//! Against a real JVM: streams that Java makes are understood as Java means them, and Java understands what is made
//! here.
//!
//! Java 17 with its compiler is needed. `FOLKMOOT_JVM_STREAMS` is how many streams are made (default 2000),
//! `FOLKMOOT_SEED` the first seed (default 1).
#![cfg(feature = "alloc")]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use folkmoot_core::java::{
    BigInteger, Boxed, ClassRegistry, Collection, Content, FieldValue, Graph, JavaBytes,
    JavaString, Limits, Next, NodeId, NodeKind, ObjectInput, ObjectOutput, Slot,
};

/// The Java program under way.
struct Jvm {
    child: Child,
    to: Option<ChildStdin>,
    from: ChildStdout,
    classes: PathBuf,
}

impl Jvm {
    fn start(seed: u64, streams: usize) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jvm/Streams.java");
        let classes =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("jvm-{}", std::process::id()));
        let compiled = Command::new("javac")
            .arg("-d")
            .arg(&classes)
            .arg(&source)
            .status();
        match compiled {
            Ok(status) if status.success() => {}
            Ok(status) => panic!("javac failed on {}: {status}", source.display()),
            Err(error) => {
                panic!("this test needs Java 17 (openjdk-17-jdk-headless): javac: {error}")
            }
        }
        let child = Command::new("java")
            .arg("-Xshare:auto")
            .arg("-Xmx256m")
            .arg("-cp")
            .arg(&classes)
            .arg("Streams")
            .args([seed.to_string(), streams.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.unwrap_or_else(|error| {
            panic!("this test needs Java 17 (openjdk-17-jdk-headless): java: {error}")
        });
        Self {
            to: child.stdin.take(),
            from: child.stdout.take().unwrap(),
            child,
            classes,
        }
    }

    /// The next thing Java says.
    fn next(&mut self) -> Vec<u8> {
        let mut len = [0; 4];
        self.from.read_exact(&mut len).expect("Java ended early");
        let mut bytes = vec![0; u32::from_be_bytes(len) as usize];
        self.from.read_exact(&mut bytes).expect("Java ended early");
        bytes
    }

    fn text(&mut self) -> String {
        String::from_utf8(self.next()).unwrap()
    }

    /// What Java makes of a stream.
    fn read(&mut self, stream: &[u8]) -> String {
        let to = self.to.as_mut().unwrap();
        to.write_all(&(stream.len() as u32).to_be_bytes()).unwrap();
        to.write_all(stream).unwrap();
        to.flush().unwrap();
        self.text()
    }
}

impl Drop for Jvm {
    fn drop(&mut self) {
        drop(self.to.take());
        // It ends with its input; killing is for a test that failed halfway.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.classes);
    }
}

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is {text:?}, should be a number")),
        Err(_) => default,
    }
}

#[test]
fn java_and_this_crate_understand_each_other() {
    let (seed, count) = (
        setting("FOLKMOOT_SEED", 1),
        setting("FOLKMOOT_JVM_STREAMS", 2000) as usize,
    );
    let mut jvm = Jvm::start(seed, count);
    let limits = Limits::default();
    let mut streams = Vec::new();
    for number in 0..count {
        let name = format!("stream of seed {}", seed + number as u64);
        let (stream, meant) = (jvm.next(), jvm.text());
        let graph =
            Graph::parse(&stream, &limits).unwrap_or_else(|error| panic!("{name}: {error}"));
        same(&name, &describe(&graph), &meant);
        assert!(graph.encode() == stream, "{name}: encoded otherwise");
        streams.push((name, stream));
    }
    let mut written = 0;
    for (name, stream) in &streams {
        let (copy, values) = copied(stream);
        let graph =
            Graph::parse(&copy, &limits).unwrap_or_else(|error| panic!("{name}, copied: {error}"));
        same(
            &format!("{name}, copied"),
            &jvm.read(&copy),
            &describe(&graph),
        );
        for value in values {
            let mut registry = ClassRegistry::new();
            registry.learn(&value).unwrap();
            // Cycles and custom data are not for trees.
            let Ok(made) = value.value().and_then(|tree| tree.to_java(&registry)) else {
                continue;
            };
            let graph = made.decode(&limits).unwrap();
            same(
                &format!("{name}, {value:?} from a tree"),
                &jvm.read(made.as_bytes()),
                &describe(&graph),
            );
            written += 1;
        }
    }
    assert!(
        written >= count / 2,
        "only {written} values could be made from trees"
    );
}

fn same(what: &str, got: &str, wanted: &str) {
    if got == wanted {
        return;
    }
    let at = got
        .bytes()
        .zip(wanted.bytes())
        .take_while(|(got, wanted)| got == wanted)
        .count();
    let near = |text: &str| {
        String::from_utf8_lossy(
            &text.as_bytes()[at.saturating_sub(80).min(text.len())..text.len().min(at + 120)],
        )
        .into_owned()
    };
    panic!(
        "{what} differs at {at}:\n..{}\nshould be\n..{}",
        near(got),
        near(wanted)
    );
}

/// Every item read and written again, and the values among them.
fn copied(stream: &[u8]) -> (Vec<u8>, Vec<JavaBytes>) {
    let mut input = ObjectInput::new(stream, &Limits::DEFAULT).unwrap();
    let (mut output, mut values) = (ObjectOutput::new(), Vec::new());
    loop {
        match input.peek().unwrap() {
            Next::End => return (output.finish().to_vec(), values),
            Next::Data => output.write_bytes(&input.read_bytes(1).unwrap()),
            _ => {
                let value = input.read_object().unwrap();
                output.write_object(&value).unwrap();
                values.push(value);
            }
        }
    }
}

/// What is in a stream, in the words of the Java program.
fn describe(graph: &Graph) -> String {
    let (mut out, mut block) = (String::new(), String::new());
    let mut describer = Describer {
        graph,
        numbers: HashMap::new(),
    };
    for content in graph.contents() {
        match *content {
            Content::Block(data) => graph
                .block(data)
                .iter()
                .for_each(|byte| write!(block, "{byte:02x}").unwrap()),
            Content::Value(slot) => {
                end_block(&mut out, &mut block);
                describer.value(&mut out, slot);
                out.push('\n');
            }
            _ => {}
        }
    }
    end_block(&mut out, &mut block);
    out
}

fn end_block(out: &mut String, block: &mut String) {
    if !block.is_empty() {
        writeln!(out, "block {block}").unwrap();
        block.clear();
    }
}

struct Describer<'g> {
    graph: &'g Graph,
    numbers: HashMap<NodeId, usize>,
}

fn units(text: &JavaString) -> String {
    let mut out = String::from("\"");
    for unit in text.utf16() {
        match u8::try_from(unit) {
            Ok(byte @ 33..127) if byte != b'"' && byte != b'\\' => out.push(char::from(byte)),
            _ => write!(out, "\\{unit};").unwrap(),
        }
    }
    out.push('"');
    out
}

fn boxed(value: Boxed) -> String {
    match value {
        Boxed::Boolean(value) => format!("Z{}", u8::from(value)),
        Boxed::Byte(value) => format!("B{value}"),
        Boxed::Character(value) => format!("C{value}"),
        Boxed::Short(value) => format!("S{value}"),
        Boxed::Integer(value) => format!("I{value}"),
        Boxed::Long(value) => format!("J{value}"),
        Boxed::Float(value) => format!("F{:x}", value.to_bits()),
        Boxed::Double(value) => format!("D{:x}", value.to_bits()),
    }
}

impl Describer<'_> {
    fn simple(&self, slot: Slot) -> Option<String> {
        let Some(node) = slot else {
            return Some("null".to_owned());
        };
        let graph = self.graph;
        let integer = |node| {
            graph
                .big_integer(node)
                .map(|(sign, magnitude)| BigInteger::new(sign < 0, magnitude))
        };
        if let Some(text) = graph.text(node) {
            return Some(units(&text));
        }
        if let Some(value) = graph.boxed(node) {
            return Some(boxed(value));
        }
        if let Some(name) = graph.enum_name(node) {
            return Some(format!("enum {}.{name}", graph.class_name(node)));
        }
        if let Some(ms) = graph.date_ms(node) {
            return Some(format!("date {ms}"));
        }
        if let Some(value) = integer(node) {
            return Some(format!("big {value}"));
        }
        if let Some((unscaled, scale)) = graph.big_decimal(node) {
            return Some(format!("big {} scale {scale}", integer(unscaled)?));
        }
        if let Some(uuid) = graph.uuid(node) {
            return Some(format!("uuid {uuid:032x}"));
        }
        graph
            .instant(node)
            .map(|(seconds, nanos)| format!("instant {seconds} {nanos}"))
    }

    fn value(&mut self, out: &mut String, slot: Slot) {
        if let Some(simple) = self.simple(slot) {
            return out.push_str(&simple);
        }
        let node = slot.unwrap();
        let next = self.numbers.len();
        if let Some(number) = self.numbers.get(&node) {
            return write!(out, "#{number}").unwrap();
        }
        self.numbers.insert(node, next);
        write!(out, "{next}={}", self.graph.class_name(node)).unwrap();
        if self.graph.kind(node) == Some(NodeKind::Array) {
            return self.array(out, node);
        }
        match self.graph.collection(node) {
            Some(Collection::List(elements)) => self.elements(out, &elements),
            Some(Collection::Set(mut elements)) => {
                elements.sort_by_key(|slot| sorted(self.simple(*slot)));
                self.elements(out, &elements);
            }
            Some(Collection::Map(mut entries)) => {
                entries.sort_by_key(|(key, _)| sorted(self.simple(*key)));
                out.push('(');
                for (key, value) in entries {
                    self.value(out, key);
                    out.push(':');
                    self.value(out, value);
                    out.push(' ');
                }
                out.push(')');
            }
            None => self.fields(out, node),
        }
    }

    fn array(&mut self, out: &mut String, node: NodeId) {
        out.push('[');
        match self.graph.object_array(node) {
            Some(elements) => {
                for (at, slot) in elements.into_iter().enumerate() {
                    if at > 0 {
                        out.push(' ');
                    }
                    self.value(out, slot);
                }
            }
            None => out.push_str(&self.primitives(node).join(" ")),
        }
        out.push(']');
    }

    fn primitives(&self, node: NodeId) -> Vec<String> {
        let bytes = self.graph.primitive_array(node).unwrap();
        let class = self.graph.class_name(node).to_string();
        let width = bytes.len() / self.graph.array_len(node).unwrap().max(1);
        let element = |bytes: &[u8]| match class.as_str() {
            "[Z" => Boxed::Boolean(bytes[0] != 0),
            "[B" => Boxed::Byte(bytes[0] as i8),
            "[C" => Boxed::Character(u16::from_be_bytes(bytes.try_into().unwrap())),
            "[S" => Boxed::Short(i16::from_be_bytes(bytes.try_into().unwrap())),
            "[I" => Boxed::Integer(i32::from_be_bytes(bytes.try_into().unwrap())),
            "[J" => Boxed::Long(i64::from_be_bytes(bytes.try_into().unwrap())),
            "[F" => Boxed::Float(f32::from_be_bytes(bytes.try_into().unwrap())),
            "[D" => Boxed::Double(f64::from_be_bytes(bytes.try_into().unwrap())),
            other => panic!("{other}"),
        };
        bytes
            .chunks(width.max(1))
            .map(|bytes| boxed(element(bytes)))
            .collect()
    }

    fn elements(&mut self, out: &mut String, elements: &[Slot]) {
        out.push('(');
        for slot in elements {
            self.value(out, *slot);
            out.push(' ');
        }
        out.push(')');
    }

    fn fields(&mut self, out: &mut String, node: NodeId) {
        out.push('{');
        for field in self.graph.fields(node) {
            write!(out, "{}=", field.name).unwrap();
            match field.value {
                FieldValue::Primitive(value) => out.push_str(&boxed(value)),
                FieldValue::Reference(slot) => self.value(out, slot),
            }
            out.push(' ');
        }
        out.push('}');
    }
}

/// Java compares texts by UTF-16 units; these have only ASCII.
fn sorted(simple: Option<String>) -> String {
    simple.expect("keys are simple")
}
