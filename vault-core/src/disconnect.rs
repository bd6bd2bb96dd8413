//! Disconnect: local at once, at the provider at least once.
//!
//! One write takes the connection out of reach and records what is owed to the provider. The revocation itself may fail
//! and be tried again by maintenance; nothing about it can bring the connection back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::connection::Loaded;
use crate::connector::{Registered, Registration};
use crate::core::Core;
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::id::{ConnectionKey, RevocationId};
use crate::oauth::{RevokeOutcome, RevokeTokens};
use crate::provider::spec::Radius;
use crate::refresh::schedule::jittered;
use crate::seal::{Context, Purpose};
use crate::secret::{SecretBytes, SecretString};
use crate::store::{ConnectionFilter, ConnectionStatus, Page, Put, RevocationRecord, Version};

const TRIES: usize = 8;
/// While one process revokes, others leave the record alone for so long.
const CLAIM: Duration = Duration::from_secs(60);
const FIRST_RETRY: Duration = Duration::from_secs(60);
const LONGEST_RETRY: Duration = Duration::from_secs(6 * 60 * 60);

/// What a disconnect did. Locally the connection is gone in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Disconnected {
    /// There was nothing to disconnect.
    NotConnected,
    /// The provider could not be reached or did not agree yet; maintenance keeps trying.
    Pending,
    /// The provider confirmed that the tokens are dead.
    Revoked,
    /// The grant lives on: another connection of the same owner shares it, and revoking would end that one too.
    StillShared,
    /// This provider has no way to revoke. The user can remove the app in their account there.
    Unsupported,
}

/// A revocation that is still owed to a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwedRevocation {
    /// The connection as it was.
    pub connection: ConnectionKey,
    /// How often it was tried.
    pub attempts: u32,
    /// When the user disconnected.
    pub since: std::time::SystemTime,
    /// When it is tried next.
    pub next_attempt: std::time::SystemTime,
}

impl From<RevocationRecord> for OwedRevocation {
    fn from(record: RevocationRecord) -> Self {
        Self {
            connection: record.key,
            attempts: record.attempts,
            since: record.created_at.into(),
            next_attempt: record.due_at.into(),
        }
    }
}

/// All that revoking takes, so that neither the connection nor the connector need to be there any more.
#[derive(Deserialize)]
struct Owed {
    registration: Registration,
    config: BTreeMap<String, String>,
    access: Option<String>,
    refresh: Option<String>,
}

/// The same, borrowed, for sealing.
#[derive(Serialize)]
struct OwedRef<'a> {
    registration: &'a Registration,
    config: BTreeMap<&'a str, &'a str>,
    access: Option<&'a str>,
    refresh: Option<&'a str>,
}

pub(crate) async fn disconnect(core: &Arc<Core>, key: ConnectionKey) -> Result<Disconnected, Error> {
    let task = Arc::clone(core);
    core.detached(async move {
        // First the flows: one that completes after this finds its connection gone, and stops.
        task.stores.flows.cancel(&key.tenant, &key.owner, Some(&key.connector)).await?;
        let (owed, shared) = match remove(&task, &key).await? {
            Removed::Nothing => return Ok(Disconnected::NotConnected),
            Removed::Removed { owed, shared } => (owed, shared),
        };
        task.report(&Event::Disconnected { key });
        match owed {
            Some(owed) => Ok(settle(&task, owed).await),
            None if shared => Ok(Disconnected::StillShared),
            None => Ok(Disconnected::Unsupported),
        }
    })
    .await
}

enum Removed {
    Nothing,
    Removed { owed: Option<RevocationRecord>, shared: bool },
}

async fn remove(core: &Core, key: &ConnectionKey) -> Result<Removed, Error> {
    for _ in 0..TRIES {
        let Some(record) = core.stores.connections.get(key).await? else {
            return Ok(Removed::Nothing);
        };
        let version = record.version;
        // What cannot be opened cannot be revoked, but it can and must be removed.
        let (owed, shared) = match core.open_record(record).await {
            Ok(loaded) if shares_grant(core, &loaded).await? => (None, true),
            Ok(loaded) => (owe(core, &loaded, None).await?, false),
            Err(error) if error.is_retryable() => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "disconnecting a connection that does not open");
                (None, false)
            }
        };
        match core.stores.connections.delete(key, version, owed.as_ref()).await? {
            Put::Written => return Ok(Removed::Removed { owed, shared }),
            Put::Conflict(None) => return Ok(Removed::Nothing),
            Put::Conflict(Some(_)) => {}
        }
    }
    Err(Error::new(ErrorKind::Contended, format!("{key} kept changing")))
}

/// Whether revoking would end another connection of this owner: same client, same account, and a provider that revokes
/// more than the one token (`REFRESH.md` section 6).
pub(crate) async fn shares_grant(core: &Core, loaded: &Loaded) -> Result<bool, Error> {
    let Some(account) = &loaded.tokens.grant.account else {
        return Ok(false);
    };
    let registered = match core.registered(&loaded.record.key.tenant, &loaded.record.key.connector).await {
        Ok(registered) => registered,
        Err(error) if *error.kind() == ErrorKind::UnknownConnector => return Ok(false),
        Err(error) => return Err(error),
    };
    if registered.provider.spec().revoke.radius == Radius::Token {
        return Ok(false);
    }
    let key = &loaded.record.key;
    let filter =
        ConnectionFilter { tenant: key.tenant.clone(), owner: Some(key.owner.clone()), connector: None };
    let mut page = Page::first(100);
    loop {
        let listed = core.stores.connections.list(&filter, &page).await?;
        for other in listed.items {
            if other.key == *key || other.status != ConnectionStatus::Active {
                continue;
            }
            let summary = core.open_summary(&other.key, other.incarnation, &other.summary).await;
            let same = summary.is_ok_and(|summary| {
                summary.client_id == loaded.tokens.grant.client_id
                    && summary.account.is_some_and(|other| other.id == *account)
            });
            if same {
                return Ok(true);
            }
        }
        page.after = listed.next;
        if page.after.is_none() {
            return Ok(false);
        }
    }
}

/// The revocation that ending `loaded` will owe; `None` when its connector is gone.
pub(crate) async fn owe(
    core: &Core,
    loaded: &Loaded,
    registered: Option<&Registered>,
) -> Result<Option<RevocationRecord>, Error> {
    let key = &loaded.record.key;
    let fetched;
    let registered = match registered {
        Some(registered) => registered,
        None => match core.registered(&key.tenant, &key.connector).await {
            Ok(registered) => {
                fetched = registered;
                &fetched
            }
            Err(error) if error.is_retryable() => return Err(error),
            Err(_) => return Ok(None),
        },
    };
    let body = OwedRef {
        registration: &registered.registration,
        config: loaded.tokens.config.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        access: loaded.tokens.default_access().map(|access| access.token.as_str()),
        refresh: loaded.tokens.refresh_token.as_deref(),
    };
    let plain = SecretBytes::new(postcard::to_allocvec(&body).map_err(|error| {
        Error::new(ErrorKind::CorruptRecord, "a revocation cannot be encoded").with_source(error)
    })?);
    let now = core.now();
    let mut record = RevocationRecord {
        id: RevocationId::random(&*core.entropy)?,
        key: key.clone(),
        incarnation: loaded.record.incarnation,
        version: Version::random(&*core.entropy)?,
        due_at: now.saturating_add(CLAIM),
        attempts: 0,
        created_at: now,
        sealed: Vec::new(),
    };
    record.sealed = core.sealer.seal(&context(&record), plain.expose_secret()).await?;
    Ok(Some(record))
}

fn context(record: &RevocationRecord) -> Context<'_> {
    Context {
        incarnation: Some(record.incarnation),
        subject: Some(record.id.as_bytes()),
        ..Context::of_connection(Purpose::Revocation, &record.key)
    }
}

/// Pays what is owed in a task of its own.
pub(crate) fn settle_soon(core: &Arc<Core>, record: RevocationRecord) {
    let task = Arc::clone(core);
    core.tasks.spawn(async move { settle(&task, record).await });
}

/// Maintenance: takes the record for itself first, so that of several processes one revokes.
pub(crate) async fn settle_due(core: &Core, mut record: RevocationRecord) -> Result<bool, Error> {
    let before = record.version;
    record.version = Version::random(&*core.entropy)?;
    record.due_at = core.now().saturating_add(CLAIM);
    if !core.stores.connections.update_owed(&record, before).await? {
        return Ok(false);
    }
    Ok(settle(core, record).await != Disconnected::Pending)
}

/// Revokes, and notes how it went.
async fn settle(core: &Core, record: RevocationRecord) -> Disconnected {
    let outcome = match revoke(core, &record).await {
        Ok(RevokeOutcome::Revoked) => {
            core.report(&Event::Revoked { key: record.key.clone() });
            Disconnected::Revoked
        }
        Ok(RevokeOutcome::Unsupported) => Disconnected::Unsupported,
        Err(error) => {
            tracing::debug!(%error, "revocation failed");
            return postpone(core, record, error.retry_after()).await;
        }
    };
    if let Err(error) = core.stores.connections.delete_owed(&record.key, record.id).await {
        // Done but not crossed off: maintenance revokes once more, which is harmless.
        tracing::debug!(%error, "a settled revocation is still on record");
    }
    outcome
}

async fn revoke(core: &Core, record: &RevocationRecord) -> Result<RevokeOutcome, Error> {
    let plain = core.sealer.open(&context(record), &record.sealed).await?;
    let owed: Owed = postcard::from_bytes(plain.expose_secret()).map_err(|error| {
        Error::new(ErrorKind::CorruptRecord, "an owed revocation does not decode").with_source(error)
    })?;
    // The connector's own record knows of secrets that were rotated since; the sealed copy serves when it is gone.
    let registered = match core.registered(&record.key.tenant, &record.key.connector).await {
        Ok(registered) => registered,
        Err(error) if *error.kind() == ErrorKind::UnknownConnector => {
            Registered::detached(&record.key.tenant, &record.key.connector, owed.registration)?
        }
        Err(error) => return Err(error),
    };
    let endpoints = registered.endpoints(core, &owed.config).await?;
    let (access, refresh) = (owed.access.map(SecretString::new), owed.refresh.map(SecretString::new));
    let tokens = RevokeTokens { access: access.as_ref(), refresh: refresh.as_ref() };
    registered.client(core, &endpoints).revoke(tokens).await.map_err(|failure| failure.error)
}

async fn postpone(core: &Core, mut record: RevocationRecord, asked: Option<Duration>) -> Disconnected {
    let (now, before) = (core.now(), record.version);
    record.attempts = record.attempts.saturating_add(1);
    let event = |record: &RevocationRecord| (record.key.clone(), record.attempts);
    if now.saturating_since(record.created_at) > core.settings.revocation_limit {
        let (key, attempts) = event(&record);
        core.report(&Event::RevocationAbandoned { key, attempts });
        if let Err(error) = core.stores.connections.delete_owed(&record.key, record.id).await {
            tracing::debug!(%error, "an abandoned revocation is still on record");
        }
        return Disconnected::Unsupported;
    }
    let pause = FIRST_RETRY * 2u32.saturating_pow(record.attempts.min(12) - 1);
    let pause = asked.unwrap_or(pause).clamp(FIRST_RETRY, LONGEST_RETRY);
    // Without random bytes the retry is only less spread out.
    record.due_at = now.saturating_add(jittered(&*core.entropy, pause).unwrap_or(pause));
    if let Ok(version) = Version::random(&*core.entropy) {
        record.version = version;
        if let Err(error) = core.stores.connections.update_owed(&record, before).await {
            tracing::debug!(%error, "a postponed revocation keeps its old time");
        }
    }
    let (key, attempts) = event(&record);
    core.report(&Event::RevocationPending { key, attempts });
    Disconnected::Pending
}
