//! One vector as its file has it.

use std::fs;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::json::Json;
use super::{hex, same, same_bytes};

/// A named recording: decoded fields and, mostly, the bytes.
pub(crate) struct Vector {
    /// Unique in its file; what it begins with is its kind.
    pub(crate) name: String,
    /// What the recorder read or was given.
    pub(crate) fields: Json,
    /// The bytes, or what identifies them.
    pub(crate) bytes: Bytes,
}

/// How a file gives the bytes of a vector.
pub(crate) enum Bytes {
    /// There are none: a record of behaviour.
    None,
    /// All of them.
    Whole(Vec<u8>),
    /// Too many: the fields say how to make them.
    Summary {
        head: Vec<u8>,
        tail: Vec<u8>,
        length: usize,
        sha256: String,
    },
}

/// The vectors of a file: a list, or an object that has one under `vectors`.
pub(crate) fn load(file: &Path) -> Vec<Vector> {
    let text =
        fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let root = Json::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let list = root.get("vectors").unwrap_or(&root).as_list();
    let list = list.unwrap_or_else(|| panic!("{}: no list of vectors", file.display()));
    list.iter().map(|vector| read(file, vector)).collect()
}

fn read(file: &Path, vector: &Json) -> Vector {
    let name = vector["name"]
        .as_str()
        .unwrap_or_else(|| panic!("{}: a vector has no name", file.display()));
    let bytes = |key: &str| {
        vector.get(key).and_then(Json::as_str).map(|text| {
            hex::decode(text)
                .unwrap_or_else(|| panic!("{}: {name}: {key} is not hex", file.display()))
        })
    };
    Vector {
        name: name.to_owned(),
        fields: vector["fields"].clone(),
        bytes: match (bytes("hex"), vector.get("sha256").and_then(Json::as_str)) {
            (Some(whole), _) => Bytes::Whole(whole),
            (None, Some(sha256)) => Bytes::Summary {
                head: bytes("hex_head").unwrap_or_default(),
                tail: bytes("hex_tail").unwrap_or_default(),
                length: vector["length"].as_i64().unwrap() as usize,
                sha256: sha256.to_owned(),
            },
            (None, None) => Bytes::None,
        },
    }
}

impl Vector {
    /// The bytes; an error if the file has not all of them.
    pub(crate) fn whole(&self) -> Result<&[u8], String> {
        match &self.bytes {
            Bytes::Whole(bytes) => Ok(bytes),
            _ => Err("the vector has no hex".to_owned()),
        }
    }

    /// The bytes, or `built`, which is equal, if the file has not all of them.
    pub(crate) fn bytes_or<'a>(&'a self, built: &'a [u8]) -> &'a [u8] {
        match &self.bytes {
            Bytes::Whole(bytes) => bytes,
            _ => built,
        }
    }

    /// Compares `built` with the bytes, however the file gives them.
    pub(crate) fn same_bytes(&self, built: &[u8]) -> Result<(), String> {
        match &self.bytes {
            Bytes::None => Err("the vector has no bytes to compare with".to_owned()),
            Bytes::Whole(bytes) => same_bytes("built bytes", built, bytes),
            Bytes::Summary {
                head,
                tail,
                length,
                sha256,
            } => {
                same_bytes("first bytes", &built[..head.len().min(built.len())], head)?;
                same_bytes(
                    "last bytes",
                    &built[built.len().saturating_sub(tail.len())..],
                    tail,
                )?;
                same("length", built.len(), *length)?;
                same("SHA-256", sha256_hex(built), sha256.as_str())
            }
        }
    }

    /// The field of that name, or an error.
    pub(crate) fn field(&self, name: &str) -> Result<&Json, String> {
        self.fields
            .get(name)
            .ok_or_else(|| format!("the vector has no field {name}"))
    }

    /// Whether the field is there and not null.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields.get(name).is_some_and(|value| !value.is_null())
    }

    /// A number, given as such or as decimal text.
    pub(crate) fn int(&self, name: &str) -> Result<i64, String> {
        int(self.field(name)?).ok_or_else(|| format!("field {name} is not an integer"))
    }

    /// Text.
    pub(crate) fn text(&self, name: &str) -> Result<&str, String> {
        self.field(name)?
            .as_str()
            .ok_or_else(|| format!("field {name} is not text"))
    }

    /// True or false.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, String> {
        self.field(name)?
            .as_bool()
            .ok_or_else(|| format!("field {name} is not true or false"))
    }

    /// Bytes in hexadecimal.
    pub(crate) fn hex(&self, name: &str) -> Result<Vec<u8>, String> {
        hex::decode(self.text(name)?).ok_or_else(|| format!("field {name} is not hexadecimal"))
    }

    /// A list.
    pub(crate) fn list(&self, name: &str) -> Result<&[Json], String> {
        let list = self.field(name)?.as_list();
        list.ok_or_else(|| format!("field {name} is not a list"))
    }

    /// A list of bytes in hexadecimal.
    pub(crate) fn hexes(&self, name: &str) -> Result<Vec<Vec<u8>>, String> {
        let text = |value: &Json| value.as_str().and_then(hex::decode);
        let bytes = self.list(name)?.iter().map(text).collect::<Option<_>>();
        bytes.ok_or_else(|| format!("field {name} is not a list of hexadecimal texts"))
    }

    /// The bytes of the field, or those that `<name>_len`, `_mul` and `_add` describe: byte i is
    /// i × mul + add.
    pub(crate) fn bytes_or_pattern(&self, name: &str) -> Result<Vec<u8>, String> {
        if self.has(name) {
            return self.hex(name);
        }
        let [len, mul, add] = ["len", "mul", "add"].map(|part| self.int(&format!("{name}_{part}")));
        let (len, mul, add) = (len?, mul?, add?);
        let bytes: Vec<u8> = (0..len)
            .map(|i| (i.wrapping_mul(mul).wrapping_add(add)) as u8)
            .collect();
        let digest = format!("{name}_sha256");
        if self.has(&digest) {
            same(&digest, sha256_hex(&bytes), self.text(&digest)?)?;
        }
        Ok(bytes)
    }
}

/// A number, given as such or as decimal text.
pub(crate) fn int(value: &Json) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

/// The digest in hexadecimal.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(&Sha256::digest(bytes))
}
