//! The session cookie: reading `Cookie` headers and writing `Set-Cookie`.

use std::fmt;
use std::time::Duration;

/// Tomcat's name for the session cookie.
pub const SESSION_COOKIE_NAME: &str = "JSESSIONID";

/// The `name=value` pairs of one `Cookie` header, in order, as `Rfc6265CookieProcessor` reads them.
///
/// Never fails: a pair that is not one (a name that is no token, a value with a forbidden byte, an open
/// quote) is left out and reading goes on after the next semicolon. A name without `=` has an empty value.
/// A value in double quotes comes without them. White space around names, values and `=` does not count.
pub fn parse(header: &[u8]) -> Pairs<'_> {
    Pairs { rest: Some(header) }
}

/// Iterator over the pairs of a `Cookie` header; see [`parse`].
#[derive(Clone, Debug)]
pub struct Pairs<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.rest?;
            let end = end_of_pair(rest);
            let pair = rest.get(..end)?;
            self.rest = rest.get(end + 1..);
            if let Some(pair) = read_pair(pair) {
                return Some(pair);
            }
        }
    }
}

/// Where the pair that begins `header` ends: at a semicolon. Inside quotes a semicolon ends it, too: it is
/// not allowed there, so the pair is damaged and what follows is the next one.
fn end_of_pair(header: &[u8]) -> usize {
    let semicolon = header.iter().position(|&byte| byte == b';');
    semicolon.unwrap_or(header.len())
}

fn read_pair(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = pair.iter().position(|&byte| byte == b'=');
    let (name, value) = match equals {
        Some(at) => (pair.get(..at)?, pair.get(at + 1..)?),
        None => (pair, &[][..]),
    };
    let (name, value) = (trim(name), trim(value));
    let value = match value {
        [b'"', inner @ .., b'"'] => inner,
        plain => plain,
    };
    let whole = !name.is_empty() && name.iter().all(is_token) && value.iter().all(is_cookie_octet);
    whole.then_some((name, value))
}

fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// RFC 9110's `tchar`.
fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

/// RFC 6265's `cookie-octet`, and like Tomcat every byte above 127.
fn is_cookie_octet(byte: &u8) -> bool {
    *byte > b' ' && !matches!(byte, b'"' | b',' | b';' | b'\\' | 0x7f)
}

/// The session ids that a `Cookie` header offers under `name`, in order.
///
/// A browser sends several when it has cookies for nested paths. Names are compared exactly; empty values
/// and values that are no ASCII text are no session ids.
pub fn session_ids<'a>(header: &'a [u8], name: &'a str) -> impl Iterator<Item = &'a str> {
    parse(header)
        .filter(move |(found, _)| *found == name.as_bytes())
        .filter_map(|(_, value)| std::str::from_utf8(value).ok())
        .filter(|id| !id.is_empty() && id.is_ascii())
}

/// Whether the cookie travels with requests that other sites start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// Only with requests from the same site.
    Strict,
    /// Also when a link on another site is followed.
    Lax,
    /// Always; browsers then demand `Secure`.
    None,
}

/// How the session cookie is written: `<session-config><cookie-config>` and `CookieProcessor` of Tomcat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieConfig {
    /// Name of the cookie; `JSESSIONID`.
    pub name: String,
    /// `Path`; `None`, the default, is the context path (`/` for the root context).
    pub path: Option<String>,
    /// `Domain`; `None`, the default, is the host that was asked.
    pub domain: Option<String>,
    /// `HttpOnly`: scripts in the page do not see it; `true`.
    pub http_only: bool,
    /// `Secure`: only over HTTPS; `false`, as the cookie must also work behind a front that ends TLS
    /// and in development. Set it in production.
    pub secure: bool,
    /// `SameSite`; `None`, the default, leaves it to the browser (which takes `Lax`).
    pub same_site: Option<SameSite>,
    /// `Max-Age`; `None`, the default, is a cookie that ends with the browser.
    pub max_age: Option<Duration>,
}

impl Default for CookieConfig {
    fn default() -> Self {
        Self {
            name: SESSION_COOKIE_NAME.to_owned(),
            path: None,
            domain: None,
            http_only: true,
            secure: false,
            same_site: None,
            max_age: None,
        }
    }
}

/// Why a [`CookieConfig`] cannot be written as a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CookieConfigError {
    /// The name is empty or has a character that no cookie name may have.
    Name(String),
    /// The path does not begin with `/` or has a control character or a semicolon.
    Path(String),
    /// The domain is empty or has a control character or a semicolon.
    Domain(String),
    /// Browsers refuse `SameSite=None` without `Secure`.
    SameSiteNoneWithoutSecure,
}

impl fmt::Display for CookieConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(
                f,
                "the cookie name {name:?} is no token: use letters, digits, `-` and `_`, for example JSESSIONID"
            ),
            Self::Path(path) => write!(
                f,
                "the cookie path {path:?} must begin with `/` and have no `;` or control character"
            ),
            Self::Domain(domain) => write!(
                f,
                "the cookie domain {domain:?} must be a host name without `;` or control characters; leave it out \
                 for the host that was asked"
            ),
            Self::SameSiteNoneWithoutSecure => f.write_str(
                "browsers refuse SameSite=None without Secure: set `secure`, or use SameSite Lax",
            ),
        }
    }
}

impl std::error::Error for CookieConfigError {}

impl CookieConfig {
    /// Checks what cannot be seen from the types.
    pub fn validate(&self) -> Result<(), CookieConfigError> {
        if self.name.is_empty() || !self.name.bytes().all(|byte| is_token(&byte)) {
            return Err(CookieConfigError::Name(self.name.clone()));
        }
        if let Some(path) = &self.path
            && !(path.starts_with('/') && is_attribute(path))
        {
            return Err(CookieConfigError::Path(path.clone()));
        }
        if let Some(domain) = &self.domain
            && (domain.is_empty() || !is_attribute(domain))
        {
            return Err(CookieConfigError::Domain(domain.clone()));
        }
        if self.same_site == Some(SameSite::None) && !self.secure {
            return Err(CookieConfigError::SameSiteNoneWithoutSecure);
        }
        Ok(())
    }

    /// The value of the `Set-Cookie` header that gives the browser `id`.
    ///
    /// `context_path` is used where no path is configured; the root context may be `""` or `/`.
    pub fn set_cookie(&self, id: &str, context_path: &str) -> String {
        let path = self.path.as_deref().unwrap_or(context_path);
        let path = if path.is_empty() { "/" } else { path };
        let mut header = format!("{}={id}; Path={path}", self.name);
        if let Some(domain) = &self.domain {
            header.push_str("; Domain=");
            header.push_str(domain);
        }
        if let Some(max_age) = self.max_age {
            header.push_str(&format!("; Max-Age={}", max_age.as_secs()));
        }
        if self.secure {
            header.push_str("; Secure");
        }
        if self.http_only {
            header.push_str("; HttpOnly");
        }
        match self.same_site {
            Some(SameSite::Strict) => header.push_str("; SameSite=Strict"),
            Some(SameSite::Lax) => header.push_str("; SameSite=Lax"),
            Some(SameSite::None) => header.push_str("; SameSite=None"),
            None => {}
        }
        header
    }
}

fn is_attribute(text: &str) -> bool {
    text.bytes()
        .all(|byte| (b' '..0x7f).contains(&byte) && byte != b';')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(header: &str) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        parse(header.as_bytes())
            .map(|(name, value)| (text(name), text(value)))
            .collect()
    }

    #[test]
    fn a_cookie_header_is_read_as_tomcat_reads_it() {
        #[rustfmt::skip]
        let cases: &[(&str, &[(&str, &str)])] = &[
            ("",                            &[]),
            (";;; ;",                       &[]),
            ("a=b",                         &[("a", "b")]),
            ("a=b; c=d",                    &[("a", "b"), ("c", "d")]),
            ("a=b;c=d",                     &[("a", "b"), ("c", "d")]),
            (" \ta = b ;\tc\t=\td",         &[("a", "b"), ("c", "d")]),
            ("a=\"b\"",                     &[("a", "b")]),
            ("a=\"\"",                      &[("a", "")]),
            ("a=\"",                        &[]),
            ("a=\"b;c=d",                   &[("c", "d")]),
            ("a=x=y",                       &[("a", "x=y")]),
            ("a",                           &[("a", "")]),
            ("=b; c=d",                     &[("c", "d")]),
            ("a b=c; d=e",                  &[("d", "e")]),
            ("a=b c; d=e",                  &[("d", "e")]),
            ("a=b,c; d=e",                  &[("d", "e")]),
            ("a=\\; d=e",                   &[("d", "e")]),
            ("a=\u{1}; d=e",                &[("d", "e")]),
            ("a=é",                         &[("a", "é")]),
            ("é=a; b=c",                    &[("b", "c")]),
            ("$Version=1; a=b; $Path=/x",   &[("$Version", "1"), ("a", "b"), ("$Path", "/x")]),
        ];
        for (header, expected) in cases {
            let expected: Vec<_> = expected
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            assert_eq!(pairs(header), expected, "{header:?}");
        }
    }

    #[test]
    fn every_session_id_offered_is_found_in_order() {
        #[rustfmt::skip]
        let cases: &[(&str, &[&str])] = &[
            ("JSESSIONID=0A.n1",                            &["0A.n1"]),
            ("x=1; JSESSIONID=A.n1; JSESSIONID=B.n2; y=2",  &["A.n1", "B.n2"]),
            ("jsessionid=A.n1; JSESSIONIDSSO=B",            &[]),
            ("JSESSIONID=; JSESSIONID",                     &[]),
            ("JSESSIONID=é",                                &[]),
            ("JSESSIONID=\"A.n1\"",                         &["A.n1"]),
        ];
        for (header, expected) in cases {
            let ids: Vec<_> = session_ids(header.as_bytes(), SESSION_COOKIE_NAME).collect();
            assert_eq!(&ids, expected, "{header:?}");
        }
    }

    #[test]
    fn the_cookie_is_written_as_configured() {
        let plain = CookieConfig::default();
        #[rustfmt::skip]
        let cases: &[(CookieConfig, &str, &str)] = &[
            (plain.clone(), "", "JSESSIONID=A.n1; Path=/; HttpOnly"),
            (plain.clone(), "/", "JSESSIONID=A.n1; Path=/; HttpOnly"),
            (plain.clone(), "/shop", "JSESSIONID=A.n1; Path=/shop; HttpOnly"),
            (CookieConfig { path: Some("/".into()), ..plain.clone() }, "/shop", "JSESSIONID=A.n1; Path=/; HttpOnly"),
            (CookieConfig { http_only: false, name: "sid".into(), ..plain.clone() }, "", "sid=A.n1; Path=/"),
            (CookieConfig {
                domain: Some("example.org".into()), max_age: Some(Duration::from_secs(60)), secure: true,
                same_site: Some(SameSite::Strict), ..plain.clone()
            }, "", "JSESSIONID=A.n1; Path=/; Domain=example.org; Max-Age=60; Secure; HttpOnly; SameSite=Strict"),
        ];
        for (config, context, expected) in cases {
            assert_eq!(config.validate(), Ok(()), "{expected}");
            assert_eq!(&config.set_cookie("A.n1", context), expected);
        }
    }

    #[test]
    fn a_cookie_that_browsers_would_refuse_is_refused_first() {
        let plain = CookieConfig::default();
        #[rustfmt::skip]
        let cases: &[(CookieConfig, &str)] = &[
            (CookieConfig { name: "".into(), ..plain.clone() }, "JSESSIONID"),
            (CookieConfig { name: "a b".into(), ..plain.clone() }, "JSESSIONID"),
            (CookieConfig { path: Some("shop".into()), ..plain.clone() }, "begin with `/`"),
            (CookieConfig { path: Some("/a;b".into()), ..plain.clone() }, "no `;`"),
            (CookieConfig { domain: Some("a\r\nb".into()), ..plain.clone() }, "host name"),
            (CookieConfig { same_site: Some(SameSite::None), ..plain.clone() }, "set `secure`"),
        ];
        for (config, advice) in cases {
            let error = config.validate().expect_err(advice).to_string();
            assert!(error.contains(advice), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(header: Vec<u8>) {
            for (name, value) in parse(&header) {
                prop_assert!(!name.is_empty() && name.iter().all(is_token));
                prop_assert!(value.iter().all(is_cookie_octet));
            }
        }

        #[test]
        fn a_session_id_survives_among_other_cookies(
            before in "[a-z ,;=\"\\\\]{0,20}",
            id in "[0-9A-F]{32}\\.[a-z0-9]{1,8}",
            after in "[a-z ,;=\"\\\\]{0,20}",
        ) {
            let header = format!("{before}; JSESSIONID={id}; {after}");
            let found: Vec<_> = session_ids(header.as_bytes(), SESSION_COOKIE_NAME).collect();
            prop_assert_eq!(found, vec![id.as_str()]);
        }
    }
}
