//! Tribes and Tomcat from Debian's packages, and our small programs on top.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;

const JARS: &str = "/usr/share/java";
const NEEDED: [(&str, &str); 5] = [
    ("tomcat10-embed-core", "libtomcat10-embed-java"),
    ("tomcat10-annotations-api", "libtomcat10-java"),
    ("tomcat10-catalina-ha", "libtomcat10-java"),
    ("tomcat10-tribes", "libtomcat10-java"),
    ("tomcat10-juli", "libtomcat10-java"),
];

/// The compiled programs and the jars they need.
#[derive(Debug)]
pub struct Java {
    class_path: String,
}

impl Java {
    /// Finds Java and the jars and compiles the programs into `scratch`.
    ///
    /// # Errors
    /// What is missing, in one line, or what the compiler says.
    pub fn prepare(scratch: &Path) -> Result<Self> {
        let mut missing = Vec::new();
        let mut jars = Vec::new();
        for (jar, package) in NEEDED {
            let path = format!("{JARS}/{jar}.jar");
            if !Path::new(&path).exists() {
                missing.push(package);
            }
            jars.push(path);
        }
        for tool in ["java", "javac"] {
            if Command::new(tool).arg("-version").output().is_err() {
                missing.push("openjdk-17-jdk-headless");
            }
        }
        missing.sort_unstable();
        missing.dedup();
        if !missing.is_empty() {
            return Err(format!("missing: apt-get install {}", missing.join(" ")).into());
        }
        let classes = scratch.join("classes");
        std::fs::create_dir_all(&classes)?;
        let jars = jars.join(":");
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("java");
        let sources: Vec<PathBuf> = ["TribesPeer.java", "TomcatNode.java"]
            .into_iter()
            .map(|name| sources.join(name))
            .collect();
        let output = Command::new("javac")
            .args(["-Xlint:all", "-cp", &jars, "-d"])
            .arg(&classes)
            .args(&sources)
            .output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("javac: {said}").into());
        }
        Ok(Self {
            class_path: format!("{}:{jars}", classes.display()),
        })
    }

    /// A virtual machine with default settings that runs `class`.
    pub fn command(&self, class: &str) -> Command {
        let mut command = Command::new("java");
        command.args(["-cp", &self.class_path, class]);
        command
    }

    /// The versions of the jars and of Java, for the heading of a result.
    ///
    /// # Errors
    /// Java does not run.
    pub fn versions(&self) -> Result<String> {
        let output = Command::new("java").arg("-version").output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let java = said.lines().next().unwrap_or("java").to_owned();
        let link = std::fs::canonicalize(format!("{JARS}/tomcat10-tribes.jar"))?;
        let jar = link
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Ok(format!("{jar}, {java}"))
    }
}
