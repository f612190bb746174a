//! The recorded streams, without what they mean.

use std::fs;
use std::path::Path;

/// The bytes of every stream in the files of this crate's vectors whose names begin with `beginning`.
pub(crate) fn streams(beginning: &str) -> Vec<(String, Vec<u8>)> {
    let mut streams = Vec::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/ha");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    for file in files {
        let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
        if !stem.starts_with(beginning) {
            continue;
        }
        // All that is wanted is names and hexadecimal digits; the text between may hold lone surrogates.
        let text = fs::read_to_string(&file).unwrap();
        let (mut rest, before) = (text.as_str(), streams.len());
        while let Some((_, vector)) = rest.split_once("\"name\": \"") {
            let (name, vector) = vector.split_once('"').unwrap();
            let (_, hex) = vector.split_once("\"hex\": \"").unwrap();
            let (hex, vector) = hex.split_once('"').unwrap();
            streams.push((format!("{stem}/{name}"), decode(hex)));
            rest = vector;
        }
        assert!(streams.len() > before, "{stem} holds no stream");
    }
    streams
}

/// The stream of one vector.
pub(crate) fn stream(name: &str) -> Vec<u8> {
    let found = streams(name.split('/').next().unwrap());
    let wanted = found.into_iter().find(|(found, _)| found == name);
    wanted.unwrap_or_else(|| panic!("no vector {name}")).1
}

fn decode(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}
