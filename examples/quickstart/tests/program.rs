//! The program, started in a folder of its own.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

/// Marks of the simulator's secrets: access and refresh tokens, codes, client secrets.
const MARKS: [&str; 4] = ["simat_", "simrt_", "simco_", "simcs_"];

pub(crate) fn quickstart(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quickstart"));
    command.arg("--dir").arg(folder).args(args).stdin(Stdio::null());
    command
}

pub(crate) fn run(folder: &Path, args: &[&str]) -> Output {
    quickstart(folder, args).output().expect("the program starts")
}

/// The web app. Stops when dropped.
pub(crate) struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
    pub(crate) base: String,
}

impl Running {
    pub(crate) fn start(folder: &Path) -> Self {
        let mut command = quickstart(folder, &["--port", "0"]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the program starts");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        while !line.starts_with("Open ") {
            line.clear();
            assert_ne!(output.read_line(&mut line).expect("text"), 0, "it ended early");
        }
        let base = line.split(' ').nth(1).expect("a URL").to_owned();
        Self { child, output, base }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Ctrl-C. Answers what it still printed.
    pub(crate) fn interrupt(mut self) -> String {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill runs").success());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).expect("text");
        assert!(self.child.wait().expect("it ends").success(), "{rest}");
        rest
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _: std::io::Result<()> = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The database holds no secret of the simulator's, and none of `secrets`.
pub(crate) fn assert_sealed(folder: &Path, secrets: &[&str]) {
    let names = fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").path());
    let files: Vec<_> = names.filter(|path| path.to_string_lossy().contains("vault.db")).collect();
    assert!(!files.is_empty(), "there is a database to search");
    for file in files {
        let bytes = fs::read(&file).expect("a readable file");
        for secret in MARKS.iter().chain(secrets) {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "a secret is in {}", file.display());
        }
    }
}

pub(crate) fn assert_unmarked(shown: &str) {
    for mark in MARKS {
        assert!(!shown.contains(mark), "a secret was shown");
    }
}
