//! The request URI as Tomcat sees it: decoded, normal, without path parameters.

use std::borrow::Cow;

/// Name of the path parameter that carries a session id where cookies do not.
pub(crate) const SESSION_PATH_PARAMETER: &str = "jsessionid";

/// The path with its parameters removed, `%xx` decoded and `//`, `/./` and `/../` resolved
/// (`CoyoteAdapter.postParseRequest`): what the replication filter is matched against.
///
/// Parameters go before decoding, so that `%3b` stays part of a segment. Bytes that are no UTF-8 after
/// decoding become U+FFFD; an incomplete `%` stays as it is; `/../` above the root is dropped.
pub(crate) fn decoded(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    for (at, segment) in path.split('/').enumerate() {
        if at > 0 {
            bytes.push(b'/');
        }
        let segment = segment.split(';').next().unwrap_or_default();
        percent_decode(segment, &mut bytes);
    }
    normal(&String::from_utf8_lossy(&bytes))
}

fn percent_decode(text: &str, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let decoded = match (first, after) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        out.push(decoded.unwrap_or(first));
        rest = if decoded.is_some() {
            after.get(2..).unwrap_or_default()
        } else {
            after
        };
    }
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

fn normal(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    let mut out = String::with_capacity(path.len());
    for segment in &kept {
        out.push('/');
        out.push_str(segment);
    }
    let directory = matches!(path.rsplit('/').next(), Some("" | "." | ".."));
    if directory || out.is_empty() {
        out.push('/');
    }
    out
}

/// The session id in the path parameter `;jsessionid=`, wherever in the path it stands, and the path
/// without that parameter. The last one wins, an empty one is none.
pub(crate) fn session_path_parameter(path: &str) -> (Cow<'_, str>, Option<&str>) {
    if !path.contains(';') {
        return (Cow::Borrowed(path), None);
    }
    let mut without = String::with_capacity(path.len());
    let mut found = None;
    for (at, segment) in path.split('/').enumerate() {
        if at > 0 {
            without.push('/');
        }
        let mut parameters = segment.split(';');
        without.push_str(parameters.next().unwrap_or_default());
        for parameter in parameters {
            match parameter.split_once('=') {
                Some((SESSION_PATH_PARAMETER, id)) => {
                    found = Some(id).filter(|id| !id.is_empty()).or(found);
                }
                _ => {
                    without.push(';');
                    without.push_str(parameter);
                }
            }
        }
    }
    (Cow::Owned(without), found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_filter_sees_the_decoded_path() {
        #[rustfmt::skip]
        let cases: &[(&str, &str)] = &[
            ("/",                               "/"),
            ("",                                "/"),
            ("/shop/cart",                      "/shop/cart"),
            ("/shop/cart/",                     "/shop/cart/"),
            ("/shop/logo.gif;jsessionid=A.n1",  "/shop/logo.gif"),
            ("/shop;v=1/cart;x;y=2",            "/shop/cart"),
            ("/caf%C3%A9",                      "/café"),
            ("/a%2Fb%3bc",                      "/a/b;c"),
            ("/a%2",                            "/a%2"),
            ("/a%zz%41",                        "/a%zzA"),
            ("/%ff",                            "/\u{fffd}"),
            ("//a//b/./c/../d",                 "/a/b/d"),
            ("/a/..",                           "/"),
            ("/../../a",                        "/a"),
            ("/a/.",                            "/a/"),
        ];
        for (path, expected) in cases {
            assert_eq!(&decoded(path), expected, "{path:?}");
        }
    }

    #[test]
    fn a_session_id_in_the_path_is_found_and_taken_out() {
        #[rustfmt::skip]
        let cases: &[(&str, &str, Option<&str>)] = &[
            ("/cart",                               "/cart",        None),
            ("/cart;jsessionid=A.n1",               "/cart",        Some("A.n1")),
            ("/shop;jsessionid=A.n1/cart",          "/shop/cart",   Some("A.n1")),
            ("/cart;v=1;jsessionid=A.n1;w",         "/cart;v=1;w",  Some("A.n1")),
            ("/cart;jsessionid=A;jsessionid=B",     "/cart",        Some("B")),
            ("/cart;jsessionid=",                   "/cart",        None),
            ("/cart;jsessionid",                    "/cart;jsessionid", None),
            ("/cart;JSESSIONID=A",                  "/cart;JSESSIONID=A", None),
        ];
        for (path, without, id) in cases {
            assert_eq!(
                session_path_parameter(path),
                (Cow::Borrowed(*without), *id),
                "{path:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_path_is_decoded_without_a_panic(path: String) {
            let decoded = decoded(&path);
            prop_assert!(decoded.starts_with('/'));
            prop_assert!(!decoded.contains("//"));
            session_path_parameter(&path);
        }
    }
}
