//! Where things are, and how to run a program.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, process};

use crate::Result;

/// The folders that the tasks work in.
#[derive(Debug)]
pub(crate) struct Context {
    root: PathBuf,
    bins: PathBuf,
    scratch: PathBuf,
}

impl Context {
    pub(crate) fn new() -> Result<Self> {
        let package = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let root = package.as_deref().and_then(Path::parent).ok_or("run this as `cargo xtask`")?;
        let program = env::current_exe()?;
        let scratch = env::temp_dir().join(format!("vault-xtask-{}", process::id()));
        fs::create_dir_all(&scratch)?;
        Ok(Self {
            root: root.to_owned(),
            bins: program.parent().ok_or("this program has no folder")?.to_owned(),
            scratch,
        })
    }

    /// The workspace.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of the programs that cargo built with this one.
    pub(crate) fn bins(&self) -> &Path {
        &self.bins
    }

    /// A folder that outlives this run, inside cargo's target folder.
    pub(crate) fn cache(&self, name: &str) -> Result<PathBuf> {
        let folder = self.bins.join("../xtask").join(name);
        fs::create_dir_all(&folder)?;
        Ok(folder.canonicalize()?)
    }

    /// A temporary folder of this run, for logs and data. It goes with this value.
    pub(crate) fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// A `cargo` command in the workspace: the cargo that runs us.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&self.root);
        command
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.scratch) {
            eprintln!("cannot remove {}: {error}", self.scratch.display());
        }
    }
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().map_err(|error| format!("cannot run {program}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{program} failed: {status}").into()) }
}
