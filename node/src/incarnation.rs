//! Remembering who we were before a crash, so that a fast restart leaves no ghost behind.
//!
//! A Tomcat keeps a member that was killed and came back at the same address sooner than the drop time: its
//! check finds somebody answering there. We keep our unique id in a file as long as we run. Whoever starts at
//! the same address and finds the file tells the group that the id in it has left.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use folkmoot_core::wire::UniqueId;

/// The file of one receiver address, there from start to a clean stop.
#[derive(Debug)]
pub(crate) struct Incarnation {
    file: PathBuf,
}

impl Incarnation {
    /// Writes `id` down for the receiver at `address`; returns the id of the one before if it ended uncleanly.
    pub(crate) fn begin(
        dir: &Path,
        address: SocketAddr,
        id: UniqueId,
    ) -> io::Result<(Self, Option<UniqueId>)> {
        make_private_dir(dir)?;
        // An IPv6 address has colons, which some file systems do not take.
        let name = address
            .to_string()
            .replace(['[', ']'], "")
            .replace([':', '%'], "-");
        let file = dir.join(format!("{name}.incarnation"));
        let previous = match fs::read_to_string(&file) {
            Ok(text) => text.trim().parse::<UniqueId>().ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        write_whole(&file, &format!("{id}\n"))?;
        Ok((Self { file }, previous.filter(|previous| *previous != id)))
    }

    /// A clean stop: there is nobody to say goodbye for.
    pub(crate) fn end(self) {
        if let Err(error) = fs::remove_file(&self.file) {
            tracing::debug!(file = %self.file.display(), %error, "the incarnation file could not be removed");
        }
    }
}

/// Where the file is unless the configuration says otherwise: the user's runtime directory, which does not
/// outlive the machine's uptime, else the directory for temporary files.
pub(crate) fn default_dir() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(dir) if Path::new(&dir).is_absolute() => Path::new(&dir).join("folkmoot"),
        _ => std::env::temp_dir().join("folkmoot"),
    }
}

fn make_private_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(dir)
}

/// All or nothing: a crash while writing leaves the old file. The new one is never opened through a link that
/// somebody else has put there.
fn write_whole(file: &Path, text: &str) -> io::Result<()> {
    let draft = file.with_extension(format!("{}.draft", std::process::id()));
    let written = File::create_new(&draft).and_then(|mut draft| draft.write_all(text.as_bytes()));
    let renamed = written.and_then(|()| fs::rename(&draft, file));
    if renamed.is_err() {
        let _ = fs::remove_file(&draft);
    }
    renamed
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: UniqueId = UniqueId([0xaa; 16]);
    const B: UniqueId = UniqueId([0xbb; 16]);

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("folkmoot-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&dir);
            Self(dir)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn only_an_unclean_end_at_the_same_address_leaves_somebody_behind() {
        let dir = Dir::new("incarnation");
        let here: SocketAddr = "127.0.0.1:4000".parse().unwrap();
        let there: SocketAddr = "[::1]:4000".parse().unwrap();
        let begin = |address, id| Incarnation::begin(&dir.0, address, id).unwrap();

        let (first, previous) = begin(here, A);
        assert_eq!(previous, None, "nobody before us");
        drop(first);
        let (_, previous) = begin(there, B);
        assert_eq!(previous, None, "another address");
        let (same, previous) = begin(here, A);
        assert_eq!(previous, None, "a configured id stays");
        drop(same);
        let (second, previous) = begin(here, B);
        assert_eq!(previous, Some(A), "killed");
        second.end();
        let (_, previous) = begin(here, A);
        assert_eq!(previous, None, "stopped cleanly");
    }

    #[test]
    fn a_damaged_file_is_nobody() {
        let dir = Dir::new("damaged");
        let here: SocketAddr = "127.0.0.1:4000".parse().unwrap();
        let (incarnation, _) = Incarnation::begin(&dir.0, here, A).unwrap();
        fs::write(&incarnation.file, "garbage").unwrap();
        let (_, previous) = Incarnation::begin(&dir.0, here, B).unwrap();
        assert_eq!(previous, None);
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_an_error() {
        let dir = Dir::new("file");
        fs::write(&dir.0, "").unwrap();
        let here: SocketAddr = "127.0.0.1:4000".parse().unwrap();
        assert!(Incarnation::begin(&dir.0, here, A).is_err());
        fs::remove_file(&dir.0).unwrap();
    }
}
