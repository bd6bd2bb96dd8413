//! Why a connection is as it is, and who can do something about it.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::connection::{Loaded, Summary};
use crate::core::Core;
use crate::error::{Error, ErrorKind, ReauthReason};
use crate::id::{AttemptId, ConnectionKey};
use crate::listing;
use crate::refresh::State;
use crate::revocation::OwedRevocation;
use crate::store::{ConnectionRecord, ConnectionStatus};

/// All that the vault knows about one connection but its secrets. `Display` says it in a few lines.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Explanation {
    /// Which connection was asked about.
    pub connection: ConnectionKey,
    /// How it stands.
    pub state: ConnectionState,
    /// What is known of the stored connection; `None` when there is none, or it does not open.
    pub details: Option<Details>,
    /// Who refreshes it at this moment.
    pub lease: Option<LeaseHolder>,
    /// Revocations of earlier connections under this key that the provider has not confirmed.
    pub owed: Vec<OwedRevocation>,
    /// Why nothing can be refreshed through its connector: deleted, switched off, not readable.
    pub connector_problem: Option<ErrorKind>,
    /// What to do.
    pub next: NextActions,
}

/// How a connection stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionState {
    /// It works.
    Active,
    /// The last refreshes failed, or how one ended is unknown; nothing speaks against the grant.
    Failing,
    /// Only the user can make it work again.
    NeedsReauthorization(ReauthReason),
    /// There is none.
    NotConnected,
    /// Its record does not open, for this reason.
    Unreadable(ErrorKind),
}

/// What is known of a stored connection.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Details {
    /// Counts its token sets, from 1.
    pub generation: u64,
    /// When it was connected.
    pub connected_at: SystemTime,
    /// When its access token ends, if it does.
    pub expires_at: Option<SystemTime>,
    /// When maintenance refreshes it next.
    pub due_at: Option<SystemTime>,
    /// When the grant ends for good.
    pub reconsent_due_at: Option<SystemTime>,
    /// Whether the provider gave something to refresh with.
    pub has_refresh_token: bool,
    /// Other refresh tokens that are kept, because one of them may be the live one.
    pub alternates: usize,
    /// What was asked of the user and not granted.
    pub missing_scopes: Vec<String>,
    /// What the provider last failed us with, in the vault's words. A success since then does not erase it.
    pub last_failure: Option<Failure>,
    /// Failures since the last success.
    pub failures: u32,
    /// A refresh that was sent, or may have been, and whose outcome nobody wrote.
    pub unknown_outcome: Option<UnknownOutcome>,
    /// The last refreshes that brought tokens, latest last.
    pub history: Vec<Generation>,
}

/// A failure of the past.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// When.
    pub at: SystemTime,
    /// One line without anything that the provider wrote but known error codes.
    pub message: String,
}

/// A refresh under way, or one whose end nobody saw.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownOutcome {
    /// When it was sent, by the store's clock.
    pub since: SystemTime,
    /// How often this refresh token was sent.
    pub sends: u32,
}

/// A token set of the past or present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Generation {
    /// Its number.
    pub number: u64,
    /// When it was received.
    pub at: SystemTime,
    /// The lease under which it was fetched; they rise.
    pub fence: u64,
}

/// Who holds the refresh lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaseHolder {
    /// The refresh, which its process logs too.
    pub holder: AttemptId,
    /// Rises with every lease of this connection.
    pub fence: u64,
    /// Until it lapses, unless it is renewed.
    pub remaining: Duration,
}

/// What each of them can do now; `None` for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NextActions {
    /// The app user.
    pub user: Option<&'static str>,
    /// Whoever registers connectors.
    pub admin: Option<&'static str>,
    /// Whoever runs the host.
    pub operator: Option<&'static str>,
}

pub(crate) async fn explain(core: &Core, connection: ConnectionKey) -> Result<Explanation, Error> {
    let connections = &core.stores.connections;
    let (details, state) = match connections.get(&connection).await? {
        None => (None, ConnectionState::NotConnected),
        Some(record) => look(core, &connection, record).await?,
    };
    let lease = connections.lease(&connection).await?.map(|lease| LeaseHolder {
        holder: lease.holder,
        fence: lease.fence,
        remaining: lease.remaining,
    });
    let owed = listing::owed_by(core, &connection.tenant, &connection.owner).await?;
    let owed: Vec<_> = owed.into_iter().filter(|owed| owed.connection == connection).collect();
    let connector_problem = match core.stored_connector(&connection.tenant, &connection.connector).await {
        Ok(registered) => registered.registration.check_owner(&connection.owner).err(),
        Err(error) if matches!(error.kind(), ErrorKind::StoreUnavailable) => return Err(error),
        Err(error) => Some(error),
    };
    let connector_problem = connector_problem.map(|error| error.kind().clone());
    let next = next_actions(&state, details.as_ref(), connector_problem.as_ref(), &owed);
    Ok(Explanation { connection, state, details, lease, owed, connector_problem, next })
}

/// A record that does not open is explained too.
async fn look(
    core: &Core,
    key: &ConnectionKey,
    record: ConnectionRecord,
) -> Result<(Option<Details>, ConnectionState), Error> {
    let opened = async {
        let summary = core.open_summary(key, record.incarnation, &record.summary).await?;
        let state = State::parse(key, &record.refresh)?;
        Ok::<_, Error>((core.open_record(key, record).await?, summary, state))
    };
    match opened.await {
        Ok((loaded, summary, state)) => {
            let standing = match loaded.record.status {
                ConnectionStatus::NeedsReauthorization(reason) => {
                    ConnectionState::NeedsReauthorization(reason)
                }
                ConnectionStatus::Active if state.failures > 0 => ConnectionState::Failing,
                ConnectionStatus::Active => ConnectionState::Active,
            };
            Ok((Some(Details::new(&loaded, &summary, state)), standing))
        }
        Err(error) if matches!(error.kind(), ErrorKind::StoreUnavailable) => Err(error),
        Err(error) => Ok((None, ConnectionState::Unreadable(error.kind().clone()))),
    }
}

impl Details {
    fn new(loaded: &Loaded, summary: &Summary, state: State) -> Self {
        let (record, tokens) = (&loaded.record, &loaded.tokens);
        let missing = summary.requested.iter().filter(|scope| !summary.scopes.contains(scope));
        let attempt = state.attempt.filter(|attempt| attempt.generation == record.generation);
        Self {
            generation: record.generation,
            connected_at: record.created_at.into(),
            expires_at: record.expires_at.map(SystemTime::from),
            due_at: record.due_at.map(SystemTime::from),
            reconsent_due_at: summary.reconsent_due_at.map(SystemTime::from),
            has_refresh_token: tokens.refresh_token.is_some(),
            alternates: tokens.alternates.len(),
            missing_scopes: missing.cloned().collect(),
            last_failure: state
                .last_failure
                .map(|failure| Failure { at: failure.at.into(), message: failure.message }),
            failures: state.failures,
            unknown_outcome: attempt
                .map(|attempt| UnknownOutcome { since: attempt.started_at.into(), sends: attempt.sends }),
            history: state
                .history
                .iter()
                .map(|past| Generation { number: past.generation, at: past.at.into(), fence: past.fence })
                .collect(),
        }
    }
}

fn next_actions(
    state: &ConnectionState,
    details: Option<&Details>,
    connector: Option<&ErrorKind>,
    owed: &[OwedRevocation],
) -> NextActions {
    let mut next = NextActions::default();
    match state {
        ConnectionState::NotConnected => next.user = Some("connect the account"),
        ConnectionState::NeedsReauthorization(_) => next.user = Some("connect the account again"),
        ConnectionState::Unreadable(ErrorKind::KeyUnavailable) => {
            next.operator = Some("put the key that sealed this record back into the key ring");
        }
        ConnectionState::Unreadable(_) => {
            next.user = Some("connect the account again");
            next.operator = Some("find out who changed the stored record");
        }
        ConnectionState::Failing => next.operator = Some("see the last failure; the vault keeps trying"),
        ConnectionState::Active => {
            if details.is_some_and(|details| !details.missing_scopes.is_empty()) {
                next.user = Some("connect again and grant what is missing");
            }
        }
    }
    next.admin = match connector {
        Some(ErrorKind::UnknownConnector) => Some("register the connector again, or disconnect"),
        Some(ErrorKind::ConnectorDisabled) => Some("switch the connector on, for this kind of owner"),
        Some(_) => Some("see why the connector does not open"),
        None => None,
    };
    if next.operator.is_none() && !owed.is_empty() {
        next.operator = Some("a revocation is still owed to the provider; the vault keeps trying");
    }
    next
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.connection, self.state)?;
        if let Some(details) = &self.details {
            write!(f, "{details}")?;
        }
        if let Some(lease) = &self.lease {
            writeln!(f, "being refreshed under lease {} for {:?} at most", lease.fence, lease.remaining)?;
        }
        for owed in &self.owed {
            writeln!(f, "a revocation is owed, tried {} times", owed.attempts)?;
        }
        if let Some(problem) = &self.connector_problem {
            writeln!(f, "its connector cannot be used: {problem:?}")?;
        }
        let NextActions { user, admin, operator } = &self.next;
        for (who, what) in [("user", user), ("admin", admin), ("operator", operator)] {
            if let Some(what) = what {
                writeln!(f, "next, {who}: {what}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "generation {}, {} failures since", self.generation, self.failures)?;
        if !self.has_refresh_token {
            writeln!(f, "the provider gave nothing to refresh with")?;
        }
        if let Some(failure) = &self.last_failure {
            writeln!(f, "last failure: {}", failure.message)?;
        }
        if let Some(unknown) = &self.unknown_outcome {
            writeln!(f, "how a refresh ended is unknown; its token was sent {} times", unknown.sends)?;
        }
        if !self.missing_scopes.is_empty() {
            writeln!(f, "not granted: {}", self.missing_scopes.join(" "))?;
        }
        Ok(())
    }
}

impl fmt::Display for ConnectionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Active => f.write_str("active"),
            Self::Failing => f.write_str("active, and its refreshes fail"),
            Self::NeedsReauthorization(reason) => write!(f, "needs reauthorization: {reason}"),
            Self::NotConnected => f.write_str("not connected"),
            Self::Unreadable(kind) => write!(f, "does not open: {kind:?}"),
        }
    }
}
