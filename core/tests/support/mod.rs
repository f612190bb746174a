//! Loading vectors, choosing a check for each, and saying what failed.

pub(crate) mod ha;
pub(crate) mod hex;
pub(crate) mod json;
pub(crate) mod tribes;
pub(crate) mod vector;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use vector::Vector;

/// What a check found out.
pub(crate) enum Outcome {
    /// All of it was compared.
    Checked,
    /// The part that this crate implements was compared; the rest is named here.
    Partly(&'static str),
}

/// `Err` says what differs.
pub(crate) type Checked = Result<Outcome, String>;

/// One check for all vectors whose name begins with the text; the first that fits is taken.
pub(crate) type Kind = (&'static str, fn(&Vector) -> Checked);

/// The kinds of vectors in one file, by the beginning of the file's name; the first that fits is taken.
pub(crate) type File = (&'static str, &'static [Kind]);

/// The two sub-folders.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Folder {
    /// The group communication layer.
    Tribes,
    /// The session layer.
    Ha,
}

impl Folder {
    fn path(self) -> PathBuf {
        let base = std::env::var_os("FOLKMOOT_VECTORS").map(PathBuf::from);
        let base =
            base.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors"));
        base.join(match self {
            Self::Tribes => "tribes",
            Self::Ha => "ha",
        })
    }
}

/// Plays every vector of `folder`, prints how many of which file, and fails with a list of those that differ.
pub(crate) fn run(folder: Folder, files: &[File]) {
    let path = folder.path();
    let mut found = fs::read_dir(&path)
        .map(|entries| {
            entries
                .map(|entry| entry.unwrap().path())
                .collect::<Vec<_>>()
        })
        .unwrap_or_default();
    found.retain(|file| {
        file.extension()
            .is_some_and(|extension| extension == "json")
    });
    found.sort();
    let (mut report, mut failures, mut total) = (String::new(), Vec::new(), 0);
    for file in &found {
        let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
        let vectors = vector::load(file);
        assert!(!vectors.is_empty(), "{} holds no vector", file.display());
        let (mut whole, mut partly) = (0, BTreeMap::new());
        for vector in &vectors {
            let outcome = kind_of(files, &stem, &vector.name)
                .ok_or_else(|| "no check is known for vectors of this kind".to_owned())
                .and_then(|check| check(vector));
            match outcome {
                Ok(Outcome::Checked) => whole += 1,
                Ok(Outcome::Partly(rest)) => *partly.entry(rest).or_insert(0) += 1,
                Err(difference) => {
                    failures.push(format!("{stem}.json: {}: {difference}", vector.name))
                }
            }
        }
        total += vectors.len();
        write!(
            report,
            "{folder:?} {stem}: {whole} of {} pass",
            vectors.len()
        )
        .unwrap();
        for (rest, count) in partly {
            write!(report, ", {count} but for {rest}").unwrap();
        }
        report.push('\n');
    }
    writeln!(
        report,
        "{folder:?}: {} files, {total} vectors, {} failed",
        found.len(),
        failures.len()
    )
    .unwrap();
    // Past libtest's capture: the counts belong to a passing run, too.
    std::io::stderr().write_all(report.as_bytes()).unwrap();
    // A folder handed in need not have both halves, but a wrong path must not pass.
    assert!(
        total > 0
            || [Folder::Tribes, Folder::Ha]
                .iter()
                .any(|folder| folder.path().is_dir() && folder.path() != path),
        "no vectors in {}",
        path.display()
    );
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// The check for `name`: by the kinds of its own file, else, in a file nobody has heard of, by all kinds.
fn kind_of(files: &[File], stem: &str, name: &str) -> Option<fn(&Vector) -> Checked> {
    let fits = |kinds: &[Kind]| {
        let kind = kinds.iter().find(|(prefix, _)| name.starts_with(prefix));
        kind.map(|(_, check)| *check)
    };
    match files.iter().find(|(prefix, _)| stem.starts_with(prefix)) {
        Some((_, kinds)) => fits(kinds),
        None => files.iter().find_map(|(_, kinds)| fits(kinds)),
    }
}

/// `Ok` if `got` is `want`; else an error that names `what` and shows both.
pub(crate) fn same<T: PartialEq<U> + std::fmt::Debug, U: std::fmt::Debug>(
    what: &str,
    got: T,
    want: U,
) -> Result<(), String> {
    if got == want {
        return Ok(());
    }
    Err(format!("{what} is {got:?}, should be {want:?}"))
}

/// As [`same`], for bytes: shows where they begin to differ.
pub(crate) fn same_bytes(what: &str, got: &[u8], want: &[u8]) -> Result<(), String> {
    if got == want {
        return Ok(());
    }
    let at = got
        .iter()
        .zip(want)
        .take_while(|(got, want)| got == want)
        .count();
    let near = |bytes: &[u8]| {
        let from = at.saturating_sub(8);
        hex::encode(&bytes[from.min(bytes.len())..bytes.len().min(at + 24)])
    };
    Err(format!(
        "{what} differ at {at} of {} (should be {}): ..{}.. should be ..{}..",
        got.len(),
        want.len(),
        near(got),
        near(want)
    ))
}
