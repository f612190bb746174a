//! What browsers send.

use folkmoot::web::cookie;

/// A `Cookie` header.
pub fn web_cookie(input: &[u8]) {
    let mut bytes = 0;
    for (name, value) in cookie::parse(input) {
        assert!(!name.is_empty());
        assert!(
            !name
                .iter()
                .chain(value)
                .any(|byte| matches!(byte, b';' | b' '))
        );
        bytes += name.len() + value.len();
    }
    assert!(bytes <= input.len());
    for id in cookie::session_ids(input, cookie::SESSION_COOKIE_NAME) {
        assert!(!id.is_empty() && id.is_ascii());
    }
}
