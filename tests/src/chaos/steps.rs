//! The named steps of the vault's protocols, at which a process can be told to die or to stop.
//!
//! Every await of the vault is a call of a store, a request to a provider or a sleep: a process that dies before or after
//! such a call dies at a step of its protocol, and no hook inside the vault is needed for that.

use std::fmt;
use std::io::Write as _;
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use url::form_urlencoded;
use vault_core::http::{HttpClient, HttpError, HttpRequest, HttpResponse};
use vault_http::GuardedHttp;
use vault_testkit::faults::Watch;

use super::protocol::{Line, Side, Signal};

/// Of an authorization, from the start to the stored connection.
pub const CONNECT: &[&str] = &["connect:start", "connect:take", "connect:exchange", "connect:write"];
/// Of a refresh that the provider grants.
pub const REFRESH: &[&str] = &["refresh:lease", "refresh:marker", "refresh:send", "refresh:persist"];
/// Of a refresh that the provider refuses, what is more.
pub const REFUSED: &[&str] = &["refresh:reread", "refresh:mark", "refresh:release"];
/// Of a disconnect.
pub const DISCONNECT: &[&str] =
    &["disconnect:cancel", "disconnect:delete", "disconnect:revoke", "disconnect:settle"];
/// Of a new client secret.
pub const ROTATE: &[&str] = &["rotate:write"];

/// Where in its protocol the process is: some calls mean different steps at different times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    /// The code was sent.
    Exchanged,
    /// The lease was asked for.
    Leased,
    /// The attempt is marked.
    Marked,
    /// The refresh token was sent.
    Sent,
    /// The provider refused it.
    Refused,
}

/// Follows what a process does. It fits a process that does one thing at a time; clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Steps {
    state: Arc<Mutex<State>>,
    trace: bool,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    armed: Option<(String, Side, Signal)>,
}

impl Steps {
    pub(super) fn new(trace: bool) -> Self {
        Self { state: Arc::new(Mutex::new(State { phase: Phase::Idle, armed: None })), trace }
    }

    pub(super) fn arm(&self, step: String, side: Side, signal: Signal) {
        self.state().armed = Some((step, side, signal));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass(&self, step: &str, side: Side) {
        if self.trace {
            say(&Line::Step { step: step.to_owned(), side });
        }
        let mut state = self.state();
        let struck = state.armed.take_if(|(armed, at, _)| armed == step && *at == side);
        drop(state);
        if let Some((step, side, signal)) = struck {
            say(&Line::Struck { step, side });
            strike(signal);
        }
    }

    fn move_to(&self, phase: Phase) {
        self.state().phase = phase;
    }
}

/// The steps that are calls of a store.
fn step_of(method: &str, phase: Phase) -> Option<&'static str> {
    Some(match (method, phase) {
        ("flows.insert", _) => "connect:start",
        ("flows.take", _) => "connect:take",
        ("flows.cancel", _) => "disconnect:cancel",
        ("connections.delete", _) => "disconnect:delete",
        ("connections.delete_owed", _) => "disconnect:settle",
        ("connections.acquire_lease", _) => "refresh:lease",
        ("connections.get", Phase::Refused) => "refresh:reread",
        ("connections.put", Phase::Leased) => "refresh:marker",
        ("connections.put", Phase::Sent) => "refresh:persist",
        ("connections.put", Phase::Refused) => "refresh:mark",
        ("connections.put_and_finish", Phase::Exchanged) => "connect:write",
        ("connections.release_lease", _) => "refresh:release",
        ("connectors.put", _) => "rotate:write",
        _ => return None,
    })
}

impl Watch for Steps {
    fn before(&self, method: &'static str) {
        let step = step_of(method, self.state().phase);
        if let Some(step) = step {
            self.pass(step, Side::Before);
        }
    }

    fn after(&self, method: &'static str) {
        let Some(step) = step_of(method, self.state().phase) else { return };
        self.pass(step, Side::After);
        match step {
            "refresh:lease" => self.move_to(Phase::Leased),
            "refresh:marker" => self.move_to(Phase::Marked),
            "refresh:persist" | "refresh:release" => self.move_to(Phase::Idle),
            _ => {}
        }
    }
}

/// The guarded client, whose requests are steps.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) http: GuardedHttp,
    pub(super) steps: Steps,
}

#[async_trait]
impl HttpClient for Wire {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let step = step_of_request(&request);
        let phase = match step {
            Some("connect:exchange") => Some(Phase::Exchanged),
            Some("refresh:send") => Some(Phase::Sent),
            _ => None,
        };
        if let Some(step) = step {
            self.steps.pass(step, Side::Before);
        }
        if let Some(phase) = phase {
            self.steps.move_to(phase);
        }
        let reply = self.http.send(request).await;
        if step == Some("refresh:send") && reply.as_ref().is_ok_and(|reply| reply.status() == 400) {
            self.steps.move_to(Phase::Refused);
        }
        if let Some(step) = step {
            self.steps.pass(step, Side::After);
        }
        reply
    }
}

fn step_of_request(request: &HttpRequest) -> Option<&'static str> {
    if request.uri().path().contains("revo") {
        return Some("disconnect:revoke");
    }
    let mut form = form_urlencoded::parse(request.body().expose_secret());
    let (_, grant) = form.find(|(name, _)| name == "grant_type")?;
    match &*grant {
        "authorization_code" => Some("connect:exchange"),
        "refresh_token" => Some("refresh:send"),
        _ => None,
    }
}

/// Writes a line to whoever started this process.
pub(super) fn say(line: &Line) {
    let mut text = serde_json::to_string(line).expect("plain data");
    text.push('\n');
    let mut out = std::io::stdout().lock();
    // Nobody listens any more: then there is nothing left to do.
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        process::exit(1);
    }
}

/// What `kill -9` or `kill -STOP` does from outside, at this very place: the worker has one thread, which stays here.
fn strike(signal: Signal) {
    let me = process::id().to_string();
    let sent = process::Command::new("sh").args(["-c", r#"kill -s "$0" "$1""#, signal.name(), &me]).status();
    assert!(sent.is_ok_and(|sent| sent.success()), "a process may send itself signals");
    if signal == Signal::Kill {
        unreachable!("nothing survives that");
    }
}

impl Signal {
    const fn name(self) -> &'static str {
        match self {
            Self::Kill => "KILL",
            Self::Stop => "STOP",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "before",
            Self::After => "after",
        })
    }
}
