//! JSON whose text may hold what no Rust string can: a lone surrogate, which a Java string may have.

use std::fmt;
use std::ops::Index;

/// A JSON value. Numbers stay as they are written: some are longs, some are doubles.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Json {
    Null,
    Flag(bool),
    Number(String),
    Text(Text),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// UTF-16, as Java has it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) units: Vec<u16>,
    /// The same, if there is no lone surrogate in it.
    string: Option<String>,
}

impl Json {
    /// Reads a whole document.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { rest: text };
        let value = parser.value().map_err(|what| {
            let line = text[..text.len() - parser.rest.len()].lines().count();
            format!("line {line}: {what}")
        })?;
        parser.blanks();
        if parser.rest.is_empty() {
            Ok(value)
        } else {
            Err("more than one value".to_owned())
        }
    }

    /// The member of that name, if this is an object that has it.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        let members = self.as_object()?;
        members
            .iter()
            .find_map(|(key, value)| (key == name).then_some(value))
    }

    pub(crate) fn is_null(&self) -> bool {
        *self == Self::Null
    }

    pub(crate) fn as_bool(&self) -> Option<bool> {
        if let Self::Flag(flag) = self {
            Some(*flag)
        } else {
            None
        }
    }

    /// An integer that is written without fraction and exponent.
    pub(crate) fn as_i64(&self) -> Option<i64> {
        if let Self::Number(digits) = self {
            digits.parse().ok()
        } else {
            None
        }
    }

    /// Text without lone surrogates.
    pub(crate) fn as_str(&self) -> Option<&str> {
        self.as_text()?.string.as_deref()
    }

    pub(crate) fn as_text(&self) -> Option<&Text> {
        if let Self::Text(text) = self {
            Some(text)
        } else {
            None
        }
    }

    pub(crate) fn as_list(&self) -> Option<&[Self]> {
        if let Self::List(list) = self {
            Some(list)
        } else {
            None
        }
    }

    /// The members in the order they are written.
    pub(crate) fn as_object(&self) -> Option<&[(String, Self)]> {
        if let Self::Object(members) = self {
            Some(members)
        } else {
            None
        }
    }
}

impl Index<&str> for Json {
    type Output = Self;

    /// The member of that name, or null.
    fn index(&self, name: &str) -> &Self {
        self.get(name).unwrap_or(&Self::Null)
    }
}

impl Text {
    fn new(units: Vec<u16>) -> Self {
        let string = String::from_utf16(&units).ok();
        Self { units, string }
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf16_lossy(&self.units))
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Number(digits) => f.write_str(digits),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::List(list) => f.debug_list().entries(list).finish(),
            Self::Object(members) => {
                let members = members.iter().map(|(name, value)| (name, value));
                f.debug_map().entries(members).finish()
            }
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// Takes `token` if it is next, after blanks.
    fn takes(&mut self, token: &str) -> bool {
        self.blanks();
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn value(&mut self) -> Result<Json, String> {
        for (word, value) in [
            ("null", Json::Null),
            ("true", Json::Flag(true)),
            ("false", Json::Flag(false)),
        ] {
            if self.takes(word) {
                return Ok(value);
            }
        }
        if self.takes("\"") {
            return self.text().map(Json::Text);
        }
        if self.takes("[") {
            let mut list = vec![];
            while !self.takes("]") {
                self.separator(list.is_empty())?;
                list.push(self.value()?);
            }
            return Ok(Json::List(list));
        }
        if self.takes("{") {
            let mut members = vec![];
            while !self.takes("}") {
                self.separator(members.is_empty())?;
                members.push(self.member()?);
            }
            return Ok(Json::Object(members));
        }
        let is_number = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
        let end = self.rest.find(|c| !is_number(c)).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        match digits.parse::<f64>() {
            Ok(_) => Ok(Json::Number(digits.to_owned())),
            Err(_) => Err("a value is missing".to_owned()),
        }
    }

    fn separator(&mut self, first: bool) -> Result<(), String> {
        let comma = first || self.takes(",");
        comma
            .then_some(())
            .ok_or_else(|| "a comma is missing".to_owned())
    }

    fn member(&mut self) -> Result<(String, Json), String> {
        if !self.takes("\"") {
            return Err("a name is missing".to_owned());
        }
        let name = self.text()?.string.ok_or("a name is not text")?;
        if !self.takes(":") {
            return Err("a colon is missing".to_owned());
        }
        Ok((name, self.value()?))
    }

    /// What follows the opening quote.
    fn text(&mut self) -> Result<Text, String> {
        let mut units = vec![];
        loop {
            let end = self.rest.find(['"', '\\']).ok_or("text does not end")?;
            units.extend(self.rest[..end].encode_utf16());
            let ends = self.rest[end..].starts_with('"');
            self.rest = &self.rest[end + 1..];
            if ends {
                return Ok(Text::new(units));
            }
            let escape = self.rest.chars().next().ok_or("text does not end")?;
            self.rest = &self.rest[escape.len_utf8()..];
            units.push(match escape {
                'u' => {
                    let digits = self.rest.get(..4).ok_or("an escape is cut off")?;
                    let unit =
                        u16::from_str_radix(digits, 16).map_err(|error| error.to_string())?;
                    self.rest = &self.rest[4..];
                    unit
                }
                'n' => 0x0a,
                't' => 0x09,
                'r' => 0x0d,
                'b' => 0x08,
                'f' => 0x0c,
                '"' | '\\' | '/' => escape as u16,
                other => return Err(format!("unknown escape {other}")),
            });
        }
    }
}
