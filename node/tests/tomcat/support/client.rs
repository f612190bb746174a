//! An HTTP client as a browser is one: it keeps its connections and its session cookie.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// One answer of a probe.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) json: Value,
    /// The session id of a `Set-Cookie`, if the answer had one.
    pub(crate) set_cookie: Option<String>,
}

impl Answer {
    /// A member of the JSON object; null when it is absent.
    pub(crate) fn get(&self, name: &str) -> &Value {
        self.json.get(name).unwrap_or(&Value::Null)
    }

    /// The session id that the answer names.
    pub(crate) fn id(&self) -> &str {
        self.get("id").as_str().unwrap_or_default()
    }

    /// Whether the node made the session in this request.
    pub(crate) fn is_new(&self) -> bool {
        self.get("isNew") == &Value::Bool(true)
    }
}

/// One visitor with one cookie, who may walk from node to node.
#[derive(Default)]
pub(crate) struct Client {
    /// The value of `JSESSIONID`.
    pub(crate) cookie: Option<String>,
    connections: HashMap<SocketAddr, BufReader<TcpStream>>,
}

impl Client {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Asks and demands a 200.
    pub(crate) fn get(&mut self, node: SocketAddr, path: &str) -> Answer {
        let answer = self.try_get(node, path);
        let answer = answer.unwrap_or_else(|error| panic!("http://{node}{path}: {error}"));
        assert_eq!(answer.status, 200, "http://{node}{path}: {}", answer.json);
        answer
    }

    /// Asks whatever the status may be.
    pub(crate) fn try_get(&mut self, node: SocketAddr, path: &str) -> io::Result<Answer> {
        let kept = self.connections.remove(&node);
        let mut request = format!("GET {path} HTTP/1.1\r\nHost: {node}\r\n");
        if let Some(id) = &self.cookie {
            request.push_str(&format!("Cookie: JSESSIONID={id}\r\n"));
        }
        request.push_str("\r\n");
        let answer = match kept.map(|stream| exchange(stream, &request)) {
            // The node may have closed an idle connection just now: ask again on a new one.
            Some(Err(_)) | None => exchange(connect(node)?, &request),
            Some(answer) => answer,
        };
        let (answer, stream) = answer?;
        if let Some(stream) = stream {
            self.connections.insert(node, stream);
        }
        if answer.set_cookie.is_some() {
            self.cookie.clone_from(&answer.set_cookie);
        }
        Ok(answer)
    }
}

fn connect(node: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect_timeout(&node, Duration::from_secs(5))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    Ok(BufReader::new(stream))
}

type Exchange = (Answer, Option<BufReader<TcpStream>>);

fn exchange(mut stream: BufReader<TcpStream>, request: &str) -> io::Result<Exchange> {
    stream.get_mut().write_all(request.as_bytes())?;
    let status_line = line(&mut stream)?;
    let status = status_line
        .split(' ')
        .nth(1)
        .and_then(|word| word.parse().ok());
    let status = status.ok_or_else(|| broken(&status_line))?;
    let (mut length, mut chunked, mut keep, mut set_cookie) = (None, false, true, None);
    loop {
        let header = line(&mut stream)?;
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(':').ok_or_else(|| broken(&header))?;
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok(),
            "transfer-encoding" => chunked = value.eq_ignore_ascii_case("chunked"),
            "connection" => keep = !value.eq_ignore_ascii_case("close"),
            "set-cookie" => {
                let pair = value.split(';').next().unwrap_or_default();
                set_cookie = pair.strip_prefix("JSESSIONID=").map(str::to_owned);
            }
            _ => {}
        }
    }
    let body = match (chunked, length) {
        (true, _) => chunks(&mut stream)?,
        (false, Some(length)) => bytes(&mut stream, length)?,
        (false, None) => return Err(broken("an answer without a length")),
    };
    let json = serde_json::from_slice(&body).map_err(|error| broken(&error.to_string()))?;
    Ok((
        Answer {
            status,
            json,
            set_cookie,
        },
        keep.then_some(stream),
    ))
}

fn line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

fn bytes(stream: &mut BufReader<TcpStream>, length: usize) -> io::Result<Vec<u8>> {
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(body)
}

fn chunks(stream: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = line(stream)?;
        let size = usize::from_str_radix(&size, 16).map_err(|_| broken(&size))?;
        body.extend(bytes(stream, size)?);
        line(stream)?;
        if size == 0 {
            return Ok(body);
        }
    }
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// `text` as a value in a query.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
