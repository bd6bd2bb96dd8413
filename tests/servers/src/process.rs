//! A server's process.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::{Result, poll};

const READY_WITHIN: Duration = Duration::from_secs(60);
const STOPPED_WITHIN: Duration = Duration::from_secs(10);
/// Lines of a log in an error.
const TAIL: usize = 20;

/// A child that writes to a log file, in a process group of its own: Ctrl-C reaches us alone. Dropping it stops it; it
/// also stops when we end in any other way.
#[derive(Debug)]
pub struct Process {
    child: Child,
    guard: Guard,
    log: PathBuf,
    /// Where in the log this process begins: an earlier one may have written to it.
    begins: u64,
    stop: &'static str,
    paused: bool,
}

impl Process {
    /// Starts `command`, which appends its output to the file `log` and ends by the signal `stop`, say `TERM`. If we end
    /// without stopping it, `folder` goes too.
    pub fn spawn(
        command: &mut Command,
        log: &Path,
        stop: &'static str,
        folder: Option<&Path>,
    ) -> Result<Self> {
        let out = OpenOptions::new().create(true).append(true).open(log)?;
        let begins = out.metadata()?.len();
        command.stdin(Stdio::null()).stderr(out.try_clone()?).stdout(out).process_group(0);
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command.spawn().map_err(|error| format!("cannot run {program}: {error}"))?;
        let guard = Guard::spawn(child.id(), stop, folder).inspect_err(|_| {
            // There is only the first error to tell.
            let _ = child.kill().and_then(|()| child.wait());
        })?;
        Ok(Self { child, guard, log: log.to_owned(), begins, stop, paused: false })
    }

    /// Waits for a line in the log that starts with `prefix`; returns the rest of that line.
    pub fn wait_for_line(&mut self, prefix: &str) -> Result<String> {
        self.wait_for(|log| {
            let complete = log.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
            complete.filter_map(|line| line.strip_prefix(prefix)).next().map(str::to_owned)
        })
    }

    /// Waits until `find` finds something in what the process has written.
    pub(crate) fn wait_for<T>(&mut self, find: impl Fn(&str) -> Option<T>) -> Result<T> {
        let found = poll::until("sign that it is ready", READY_WITHIN, || {
            // Before the log is read: what a child wrote last is in there when it has ended.
            let ended = self.child.try_wait()?;
            let found = find(&self.written()?);
            Ok(found.map(Ok).or_else(|| ended.map(|status| Err(format!("it ended with {status}")))))
        });
        let found = found.and_then(|outcome| Ok(outcome?));
        found.map_err(|error| format!("{error}; it wrote:\n{}", self.tail()).into())
    }

    /// Stops it at once, as a crash would, and waits until its own children have noticed.
    pub(crate) fn kill(mut self) -> Result<()> {
        let children = self.children().unwrap_or_default();
        self.child.kill()?;
        self.child.wait()?;
        self.guard.release();
        if self.paused {
            signal("CONT", &children)?;
        }
        let gone = || Ok(children.iter().all(|child| is_gone(*child)).then_some(()));
        poll::until("end of its children", STOPPED_WITHIN, gone)
    }

    /// Stops it and its children where they are: connections to it stay open, and nothing answers.
    pub(crate) fn pause(&mut self) -> Result<()> {
        self.paused = true;
        signal("STOP", &[self.child.id()])?;
        // The children last: by now there is nobody to start another.
        signal("STOP", &self.children()?)
    }

    /// Ends a pause.
    pub(crate) fn resume(&mut self) -> Result<()> {
        self.paused = false;
        signal("CONT", &self.children()?)?;
        signal("CONT", &[self.child.id()])
    }

    /// It and its children.
    pub(crate) fn family(&self) -> Result<Vec<u32>> {
        Ok(self.children()?.into_iter().chain([self.child.id()]).collect())
    }

    fn children(&self) -> Result<Vec<u32>> {
        let list = format!("/proc/{0}/task/{0}/children", self.child.id());
        let list = fs::read_to_string(&list).map_err(|error| format!("cannot read {list}: {error}"))?;
        Ok(list.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>()?)
    }

    fn written(&self) -> Result<String> {
        let mut log = File::open(&self.log)?;
        log.seek(SeekFrom::Start(self.begins))?;
        let mut written = Vec::new();
        log.read_to_end(&mut written)?;
        Ok(String::from_utf8_lossy(&written).into_owned())
    }

    fn tail(&self) -> String {
        let log = self.written().unwrap_or_else(|error| error.to_string());
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }

    fn end(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        if self.paused {
            self.resume()?;
        }
        signal(self.stop, &[self.child.id()])?;
        poll::until("end of it", STOPPED_WITHIN, || Ok(self.child.try_wait()?)).or_else(|_| {
            self.child.kill()?;
            Ok(self.child.wait()?)
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("cannot stop process {}: {error}", self.child.id());
        }
        self.guard.release();
    }
}

/// A shell that waits for our end. It holds the other end of a pipe, which closes when we end, in whatever way; neither a
/// database server nor a folder would notice.
#[derive(Debug)]
struct Guard {
    shell: Child,
}

/// Arguments: the process, the signal that stops it, a folder to remove. A line on stdin says that all has been done.
const GUARD: &str = r#"
read -r released && exit
children=$(cat "/proc/$1/task/$1/children")
kill -s CONT "$1" $children
kill -s "$2" "$1"
tries=0
while kill -s 0 "$1" && [ "$tries" -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
kill -s KILL "$1" $children
[ -z "$3" ] || rm -rf -- "$3"
"#;

impl Guard {
    fn spawn(process: u32, stop: &str, folder: Option<&Path>) -> Result<Self> {
        let mut shell = Command::new("sh");
        shell.args(["-c", GUARD, "guard", &process.to_string(), stop]).arg(folder.unwrap_or(Path::new("")));
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        Ok(Self { shell: shell.spawn().map_err(|error| format!("cannot run sh: {error}"))? })
    }

    /// Leaves the process and the folder to us. Its number may be another's from now on.
    fn release(&mut self) {
        if let Some(mut stdin) = self.shell.stdin.take() {
            let released = stdin.write_all(b"released\n").and_then(|()| self.shell.wait());
            if let Err(error) = released {
                eprintln!("cannot release the guard of a server: {error}");
            }
        }
    }
}

/// The `kill` of the shell: not every system has it as a program.
fn signal(name: &str, processes: &[u32]) -> Result<()> {
    if processes.is_empty() {
        return Ok(());
    }
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"kill -s "$0" "$@""#, name]).args(processes.iter().map(u32::to_string));
    let output = shell.output()?;
    // A child may have ended by itself.
    if output.status.success() || processes.iter().all(|process| is_gone(*process)) {
        return Ok(());
    }
    Err(format!("cannot send {name}: {}", String::from_utf8_lossy(&output.stderr).trim()).into())
}

/// A zombie that nobody has reaped yet is gone too.
pub(crate) fn is_gone(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_none_or(|rest| rest.is_empty() || rest.starts_with(['Z', 'X']))
}
