//! The running servers, and the commands that use them.

use std::io::{self, BufRead, BufReader, Write};
use std::mem;
use std::process::{Command, Stdio};

use crate::Result;
use crate::context::Context;
use crate::servers::{self, Server};

/// The servers are declared first, to stop before their folder goes.
#[derive(Debug)]
pub(crate) struct Session {
    servers: Vec<Server>,
    /// Besides what says where the servers are.
    env: Vec<(&'static str, String)>,
    pub(crate) context: Context,
}

impl Session {
    pub(crate) fn start() -> Result<Self> {
        let context = Context::new()?;
        Ok(Self { servers: servers::start(&context)?, env: Vec::new(), context })
    }

    /// With the servers that benches compare.
    pub(crate) fn for_benches() -> Result<Self> {
        let context = Context::new()?;
        Ok(Self { servers: servers::start_for_benches(&context)?, env: Vec::new(), context })
    }

    /// Tells the tests one thing more.
    pub(crate) fn tell(&mut self, variable: &'static str, value: String) {
        self.env.push((variable, value));
    }

    /// Runs `cargo test`, passes its output on as it comes, and shows each line of it to `see`.
    pub(crate) fn cargo_test<A: AsRef<str>>(&self, args: &[A], mut see: impl FnMut(&str)) -> Result<()> {
        let mut command = self.context.cargo();
        command.args(["test", "--locked"]).args(args.iter().map(AsRef::as_ref)).stdout(Stdio::piped());
        let mut child = self.with_servers(&mut command).spawn()?;
        let mut output = BufReader::new(child.stdout.take().ok_or("the child has no stdout")?);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line)? > 0 {
            io::stdout().write_all(&line)?;
            see(&String::from_utf8_lossy(&line));
            line.clear();
        }
        let status = child.wait()?;
        if status.success() { Ok(()) } else { Err(status.to_string().into()) }
    }

    pub(crate) fn with_servers<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let env = self.servers.iter().flat_map(|server| &server.env).chain(&self.env);
        command.envs(env.map(|(name, value)| (name, value))).stdin(Stdio::null())
    }

    /// Stops the servers. Their logs stay when something failed.
    pub(crate) fn finish(self, failed: bool) {
        let Self { servers, context, .. } = self;
        drop(servers);
        if failed {
            eprintln!("\nthe servers' logs are in {}", context.scratch().display());
            mem::forget(context);
        }
    }
}
