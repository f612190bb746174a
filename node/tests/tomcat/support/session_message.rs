//! Session messages made by hand, as Tomcat writes them.

/// Event types of `SessionMessageImpl`.
pub(crate) const EVT_SESSION_CREATED: i32 = 1;

/// A `SessionMessageImpl` as Tomcat writes it.
pub(crate) fn session_message(event: i32, context: &str, id: &str, payload: &[u8]) -> Vec<u8> {
    written(event, context, id, payload, true)
}

/// The same in which nothing is shared, as a writer other than Java might write it.
pub(crate) fn unshared(event: i32, context: &str, id: &str, payload: &[u8]) -> Vec<u8> {
    written(event, context, id, payload, false)
}

/// Stands for the second and third time that the signature of a string is written.
const SHARED: &str = "shared";

fn written(event: i32, context: &str, id: &str, payload: &[u8], shared: bool) -> Vec<u8> {
    let mut out = b"\xac\xed\x00\x05s".to_vec();
    class(
        &mut out,
        "org.apache.catalina.ha.session.SessionMessageImpl",
        2,
        2,
        7,
    );
    for (code, name, signature) in [
        (b'I', "mEvtType", ""),
        (b'J', "serializationTimestamp", ""),
        (b'Z', "timestampSet", ""),
        (b'L', "mContextName", "Ljava/lang/String;"),
        (b'[', "mSession", "[B"),
        (b'L', "mSessionID", SHARED),
        (b'L', "uniqueId", SHARED),
    ] {
        out.push(code);
        utf(&mut out, name);
        match signature {
            "" => {}
            SHARED if shared => out.extend(b"\x71\x00\x7e\x00\x01"),
            SHARED => string(&mut out, "Ljava/lang/String;"),
            signature => string(&mut out, signature),
        }
    }
    out.push(0x78);
    class(
        &mut out,
        "org.apache.catalina.ha.ClusterMessageBase",
        1,
        2,
        1,
    );
    out.push(b'J');
    utf(&mut out, "timestamp");
    out.extend(b"\x78\x70");
    out.extend([0; 8]);
    out.extend(event.to_be_bytes());
    out.extend(1_700_000_000_000_u64.to_be_bytes());
    out.push(1);
    string(&mut out, context);
    if payload.is_empty() {
        out.push(0x70);
    } else {
        out.push(0x75);
        class(&mut out, "[B", -5_984_413_125_824_719_648, 2, 0);
        out.extend(b"\x78\x70");
        out.extend(
            u32::try_from(payload.len())
                .expect("a small payload")
                .to_be_bytes(),
        );
        out.extend(payload);
    }
    string(&mut out, id);
    string(&mut out, "forged");
    out
}

/// A class descriptor up to and with its number of fields.
pub(crate) fn class(out: &mut Vec<u8>, name: &str, uid: i64, flags: u8, fields: u16) {
    out.push(0x72);
    utf(out, name);
    out.extend(uid.to_be_bytes());
    out.push(flags);
    out.extend(fields.to_be_bytes());
}

pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(0x74);
    utf(out, text);
}

pub(crate) fn utf(out: &mut Vec<u8>, text: &str) {
    out.extend(
        u16::try_from(text.len())
            .expect("a short text")
            .to_be_bytes(),
    );
    out.extend(text.as_bytes());
}
