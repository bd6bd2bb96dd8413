//! What users, operators and the application do, and what they make of the answers.

use std::sync::Arc;
use std::time::Duration;

use vault_core::store::ConnectionStatus;
use vault_core::{AccessToken, Callback, Error, SessionBinding, Vault};

use crate::history::{Pid, What};
use crate::http::authorize;
use crate::kernel::{Kernel, Task};
use crate::process::{Op, Reply};
use crate::provider::Tag;

const SESSION: &str = "the session of the user's own browser";

impl Kernel {
    /// A process that can serve somebody; not always one that runs.
    fn anybody(&mut self) -> Option<(usize, Vault)> {
        let up: Vec<_> =
            (0..self.processes.len()).filter(|slot| self.processes[*slot].vault.is_some()).collect();
        let slot = *up.get(self.rng.below(up.len()))?;
        Some((slot, self.processes[slot].vault.clone()?))
    }

    /// Somebody wants something.
    pub(crate) fn somebody_asks(&mut self) {
        let conn = self.rng.below(self.held.len());
        let standing = self.lock().standings[conn];
        let dice = self.rng.fraction();
        match standing.map(|standing| standing.status) {
            None if dice < 0.7 => return self.connect(conn),
            Some(ConnectionStatus::NeedsReauthorization(_)) if dice < 0.15 => return self.connect(conn),
            Some(ConnectionStatus::Active) if dice < 0.01 => return self.connect(conn),
            Some(_) if dice < 0.025 => return self.disconnect(conn),
            _ => {}
        }
        // Often several at once, in several processes.
        let readers = if self.rng.chance(0.3) { 2 + self.rng.below(4) } else { 1 };
        let rejected = self.rng.chance(0.1);
        for _ in 0..readers {
            match self.held[conn].clone().filter(|_| rejected) {
                Some(token) => self.reject(conn, token),
                None => self.read(conn),
            }
        }
    }

    pub(crate) fn read(&mut self, conn: usize) {
        let Some((slot, vault)) = self.anybody() else { return };
        let (owner, connector) = self.owner(&vault, conn);
        let asked_write = self.rng.chance(0.2);
        let fresh = self.rng.chance(0.1);
        let what = if fresh { "fresh" } else { "token" };
        let op = Op { conn: Some(conn), what, asked_write };
        self.ask(slot, op, async move {
            let mut request = owner.token(&connector);
            if asked_write {
                request = request.require_scopes(["write"]);
            }
            if fresh {
                request = request.fresh();
            }
            Reply::Token(request.await)
        });
    }

    fn reject(&mut self, conn: usize, token: Arc<AccessToken>) {
        let Some((slot, vault)) = self.anybody() else { return };
        let op = Op { conn: Some(conn), what: "reject", asked_write: false };
        self.ask(slot, op, async move { Reply::Token(vault.report_rejected(&token).await) });
    }

    fn connect(&mut self, conn: usize) {
        if self.away[conn] {
            return;
        }
        let Some((slot, vault)) = self.anybody() else { return };
        self.away[conn] = true;
        let (owner, connector) = self.owner(&vault, conn);
        let op = Op { conn: Some(conn), what: "connect", asked_write: false };
        self.ask(slot, op, async move {
            let started = match SessionBinding::new(SESSION) {
                Ok(binding) => owner.connect(&connector).require_scopes(["read"]).start(&binding).await,
                Err(error) => Err(error),
            };
            Reply::Started(started.map(|started| started.url().clone()))
        });
    }

    /// The browser comes back, to whatever process.
    pub(crate) fn come_back(&mut self, conn: usize, query: String) {
        let Some((slot, vault)) = self.anybody() else {
            return self.plan(Duration::from_secs(5), Task::Return { conn, query });
        };
        let op = Op { conn: Some(conn), what: "complete", asked_write: false };
        self.ask(slot, op, async move {
            let arrive = || Ok::<_, Error>((Callback::from_query(&query)?, SessionBinding::new(SESSION)?));
            Reply::Connected(match arrive() {
                Ok((callback, binding)) => vault.complete(callback, &binding).await,
                Err(error) => Err(error),
            })
        });
    }

    fn disconnect(&mut self, conn: usize) {
        let Some((slot, vault)) = self.anybody() else { return };
        let (owner, connector) = self.owner(&vault, conn);
        let op = Op { conn: Some(conn), what: "disconnect", asked_write: false };
        self.ask(slot, op, async move { Reply::Disconnected(owner.disconnect(&connector).await) });
    }

    pub(crate) fn maintain(&mut self, slot: usize) {
        let busy = self.processes[slot].ops.values().any(|op| op.what == "maintain");
        let Some(vault) = self.processes[slot].vault.clone().filter(|_| !busy) else { return };
        let op = Op { conn: None, what: "maintain", asked_write: false };
        self.ask(slot, op, async move { Reply::Maintained(vault.maintain(100).await) });
    }

    fn owner(&self, vault: &Vault, conn: usize) -> (vault_core::OwnerHandle, vault_core::id::ConnectorId) {
        let world = self.lock();
        let conn = &world.conns[conn];
        (vault.tenant(conn.tenant.clone()).user(conn.user), conn.key.connector.clone())
    }

    /// A request was answered.
    pub(crate) fn answered(&mut self, slot: usize, id: u64, op: Op, reply: Reply) {
        let pid = self.processes[slot].pid;
        match reply {
            Reply::Built(Ok(vault)) => {
                self.processes[slot].vault = Some(vault);
                self.done(pid, id, op, "up".into());
            }
            Reply::Built(Err(error)) => {
                self.failed(pid, id, op, &error);
                self.build(slot);
            }
            Reply::Closed(all) => {
                self.done(pid, id, op, format!("all done: {all}"));
                self.kill(slot);
                self.plan(Duration::from_secs(2), Task::Start(slot));
            }
            Reply::Connected(result) => {
                self.away[op.conn.unwrap_or(0)] = false;
                self.concluded(pid, id, op, result.map(|_| "connected".into()));
            }
            Reply::Disconnected(result) => {
                self.concluded(pid, id, op, result.map(|how| format!("{how:?}")));
            }
            Reply::Maintained(result) => {
                self.concluded(pid, id, op, result.map(|done| format!("{done:?}")));
            }
            Reply::Started(Ok(url)) => {
                let conn = op.conn.unwrap_or(0);
                self.done(pid, id, op, "at the provider".into());
                let query = authorize(&mut self.lock(), conn, &url);
                let thinks = self.rng.between(Duration::from_secs(1), Duration::from_secs(60));
                self.plan(thinks, Task::Return { conn, query });
            }
            Reply::Started(Err(error)) => {
                self.away[op.conn.unwrap_or(0)] = false;
                self.failed(pid, id, op, &error);
            }
            Reply::Token(Ok(token)) => self.handed_out(pid, id, op, token),
            Reply::Token(Err(error)) => self.failed(pid, id, op, &error),
        }
    }

    fn handed_out(&mut self, pid: Pid, id: u64, op: Op, token: AccessToken) {
        let mut world = self.world.lock();
        world.inspect(Some(pid), "a token's Debug", &format!("{token:?}"));
        if let (Some(tag), Some(conn)) = (Tag::parse(token.expose_secret()), op.conn) {
            let out = What::HandedOut {
                op: id,
                tag,
                generation: token.generation(),
                scopes: token.scopes().any(|scope| scope == "write"),
                asked_write: op.asked_write,
                grant_writes: world.grants[tag.grant].write,
            };
            world.note(Some(pid), op.conn, out);
            self.held[conn] = Some(Arc::new(token));
        }
    }

    fn concluded(&self, pid: Pid, id: u64, op: Op, result: Result<String, Error>) {
        match result {
            Ok(outcome) => self.done(pid, id, op, outcome),
            Err(error) => self.failed(pid, id, op, &error),
        }
    }

    fn done(&self, pid: Pid, op: u64, Op { conn, .. }: Op, outcome: String) {
        self.lock().note(Some(pid), conn, What::Done { op, outcome });
    }

    fn failed(&self, pid: Pid, op: u64, Op { conn, .. }: Op, error: &Error) {
        let mut world = self.lock();
        let mut shown = format!("{error} {error:?}");
        let mut source = std::error::Error::source(error);
        while let Some(error) = source {
            shown += &format!(" {error} {error:?}");
            source = error.source();
        }
        world.inspect(Some(pid), "an error", &shown);
        world.note(Some(pid), conn, What::Failed { op, kind: error.kind().clone() });
    }
}
