//! What must be installed: Tomcat and Java from the distribution, the probes built from here.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const JARS: &str = "/usr/share/java";
const NEEDED: [(&str, &str); 4] = [
    ("tomcat10-embed-core", "libtomcat10-embed-java"),
    ("tomcat10-annotations-api", "libtomcat10-java"),
    ("tomcat10-catalina-ha", "libtomcat10-java"),
    ("tomcat10-tribes", "libtomcat10-java"),
];

/// Where the scenarios keep classes, logs and scratch directories: below `target/`.
pub(crate) fn scratch() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("tomcat")
}

/// The class path of the Java probe: our classes, compiled if they changed, and Tomcat's jars.
pub(crate) fn class_path() -> &'static str {
    static PATH: OnceLock<String> = OnceLock::new();
    PATH.get_or_init(|| {
        let jars = jars();
        let classes = compiled(&jars);
        format!("{}:{jars}", classes.display())
    })
}

fn jars() -> String {
    let mut missing: Vec<&str> = Vec::new();
    let mut path = Vec::new();
    for (jar, package) in NEEDED {
        let file = format!("{JARS}/{jar}.jar");
        if !Path::new(&file).exists() {
            missing.push(package);
        }
        path.push(file);
    }
    for tool in ["java", "javac"] {
        if Command::new(tool).arg("-version").output().is_err() {
            missing.push("openjdk-17-jdk-headless");
        }
    }
    missing.sort_unstable();
    missing.dedup();
    assert!(
        missing.is_empty(),
        "missing: Debian packages {}",
        missing.join(" ")
    );
    path.join(":")
}

fn compiled(jars: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tomcat/java");
    let mut sources = Vec::new();
    for package in ["lab", "probe"] {
        for entry in fs::read_dir(root.join(package)).expect("the Java sources are here") {
            sources.push(entry.expect("a directory entry").path());
        }
    }
    sources.sort();
    let mut hasher = DefaultHasher::new();
    jars.hash(&mut hasher);
    for source in &sources {
        fs::read(source).expect("a Java source").hash(&mut hasher);
    }
    let classes = scratch().join(format!("classes-{:016x}", hasher.finish()));
    if classes.exists() {
        return classes;
    }
    // Another test binary may be doing the same: whole or not at all.
    let partial = scratch().join(format!("classes-of-{}", std::process::id()));
    fs::create_dir_all(&partial).expect("a directory below target/");
    let mut javac = Command::new("javac");
    javac
        .args(["-Xlint:all", "-Werror", "-cp", jars, "-d"])
        .arg(&partial)
        .args(&sources);
    let output = javac.output().expect("javac runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "javac: {said}");
    if fs::rename(&partial, &classes).is_err() {
        assert!(classes.exists(), "{} cannot be made", classes.display());
    }
    classes
}

/// The example `session_probe`, built in the profile of this test.
pub(crate) fn session_probe() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let me = std::env::current_exe().expect("the test binary has a path");
        let profile = me
            .parent()
            .and_then(Path::parent)
            .expect("target/PROFILE/deps/test");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args([
            "build",
            "--quiet",
            "--package",
            "folkmoot",
            "--example",
            "session_probe",
        ]);
        cargo.arg("--profile").arg(if profile.ends_with("release") {
            "release"
        } else {
            "test"
        });
        cargo
            .arg("--target-dir")
            .arg(profile.parent().expect("target/"));
        cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
        let output = cargo.output().expect("cargo runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "cargo build --example session_probe: {said}"
        );
        profile.join("examples/session_probe")
    })
}
