//! The provider of `tests/oidc-provider`: a real authorization server, run by Node.js.

use std::fs::{self, File};
use std::process::Command;

use vault_servers::process::Process;

use super::Server;
use crate::context::Context;
use crate::{Result, node};

pub(crate) fn start(context: &Context) -> Result<Server> {
    let sources = context.root().join("tests/oidc-provider");
    let folder = context.cache("oidc-provider")?;
    // Two runs at once share this folder.
    let lock = File::create(folder.join(".lock"))?;
    lock.lock()?;
    let node = node::find(context)?;
    for file in fs::read_dir(sources)? {
        let file = file?;
        if file.file_type()?.is_file() {
            fs::copy(file.path(), folder.join(file.file_name()))?;
        }
    }
    node::npm_ci(&folder)?;

    let mut command = Command::new(node);
    command.arg("server.mjs").current_dir(folder).env("PORT", "0");
    let log = context.scratch().join("oidc-provider.log");
    let mut process = Process::spawn(&mut command, &log, "TERM", None)?;
    let ready = process.wait_for_line("ready ")?;
    let issuer = ready.split(' ').next().unwrap_or_default().to_owned();
    Ok(Server::new(vec![("VAULT_TEST_OIDC", issuer)], process))
}
