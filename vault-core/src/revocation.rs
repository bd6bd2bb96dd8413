//! Revocation: what a disconnected grant is still owed, until the provider has confirmed that it is dead.
//!
//! The record is stored in the write that takes the connection out of reach. It is tried at once, then by maintenance, at
//! growing intervals, until it is done or its time is up; nothing about it can bring the connection back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::connection::{Loaded, Packed};
use crate::connector::{Registered, Registration};
use crate::core::Core;
use crate::ending::{Grant, Outcome, end};
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::id::{ConnectionKey, RevocationId};
use crate::refresh::schedule::jittered;
use crate::seal::{Context, Purpose};
use crate::secret::{SecretBytes, SecretString};
use crate::store::{RevocationRecord, Version};

/// While one process revokes, others leave the record alone for so long.
const CLAIM: Duration = Duration::from_secs(60);
const FIRST_RETRY: Duration = Duration::from_secs(60);
const LONGEST_RETRY: Duration = Duration::from_secs(6 * 60 * 60);

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
    account: Option<String>,
    access: Option<String>,
    refresh: Option<String>,
    /// Other refresh tokens of the same grant.
    alternates: Vec<String>,
}

/// The same, borrowed, for sealing.
#[derive(Serialize)]
struct OwedRef<'a> {
    registration: &'a Registration,
    config: BTreeMap<&'a str, &'a str>,
    account: Option<&'a str>,
    access: Option<&'a str>,
    refresh: Option<&'a str>,
    alternates: &'a [String],
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
        account: loaded.tokens.grant.account.as_deref(),
        access: loaded.tokens.default_access().map(|access| access.token.as_str()),
        refresh: loaded.tokens.refresh_token.as_deref(),
        alternates: &loaded.tokens.alternates,
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
    let beside = Packed::parse(key, &loaded.record.credential)?.sealed;
    record.sealed = core.sealer.seal_beside(beside, &context(&record), plain.expose_secret()).await?;
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

/// Takes the record for this process first, so that of several one revokes; `None` when another was faster.
pub(crate) async fn claim_and_settle(
    core: &Core,
    mut record: RevocationRecord,
) -> Result<Option<Settled>, Error> {
    let before = record.version;
    record.version = Version::random(&*core.entropy)?;
    record.due_at = core.now().saturating_add(CLAIM);
    if !core.stores.connections.update_owed(&record, before).await? {
        return Ok(None);
    }
    Ok(Some(settle(core, record).await))
}

/// How a try to revoke ended, and what failed if it did.
pub(crate) struct Settled {
    pub(crate) outcome: Outcome,
    pub(crate) error: Option<Error>,
}

impl Settled {
    /// The pause that the provider asked for.
    pub(crate) fn asked(&self) -> Option<Duration> {
        self.error.as_ref().and_then(Error::retry_after)
    }
}

/// Revokes, and notes how it went.
pub(crate) async fn settle(core: &Core, record: RevocationRecord) -> Settled {
    let outcome = match revoke(core, &record).await {
        Ok(outcome) => outcome,
        Err(error) => {
            tracing::debug!(%error, "revocation failed");
            let outcome = postpone(core, record, &error).await;
            return Settled { outcome, error: Some(error) };
        }
    };
    match outcome {
        Outcome::Revoked => core.report(&Event::Revoked { key: record.key.clone() }),
        Outcome::MaybeShared | Outcome::Unsupported => abandoned(core, &record),
        Outcome::Pending | Outcome::StillShared => {}
    }
    if let Err(error) = core.stores.connections.delete_owed(&record.key, record.id).await {
        // Done but not crossed off: maintenance revokes once more, which is harmless.
        tracing::debug!(%error, "a settled revocation is still on record");
    }
    Settled { outcome, error: None }
}

async fn revoke(core: &Core, record: &RevocationRecord) -> Result<Outcome, Error> {
    let plain = core.sealer.open(&context(record), &record.sealed).await?;
    let owed: Owed = postcard::from_bytes(plain.expose_secret()).map_err(|error| {
        Error::new(ErrorKind::CorruptRecord, "an owed revocation does not decode").with_source(error)
    })?;
    let client_id = owed.registration.client_id.clone();
    // The connector's own record knows of secrets that were rotated since; the sealed copy serves when it is gone.
    let registered = match core.registered(&record.key.tenant, &record.key.connector).await {
        Ok(registered) => registered,
        Err(error) if error.is_retryable() => return Err(error),
        Err(_) => {
            let (tenant, id) = (&record.key.tenant, &record.key.connector);
            Arc::new(Registered::detached(tenant, id, owed.registration)?)
        }
    };
    let grant = Grant {
        client_id: &client_id,
        account: owed.account.as_deref(),
        access: owed.access.map(SecretString::new),
        refresh: owed.refresh.map(SecretString::new),
        alternates: owed.alternates.into_iter().map(SecretString::new).collect(),
        config: owed.config,
    };
    end(core, &record.key, &registered, grant).await
}

/// The grant may live on at the provider, and nobody will try again.
pub(crate) fn abandoned(core: &Core, record: &RevocationRecord) {
    core.report(&Event::RevocationAbandoned { key: record.key.clone(), attempts: record.attempts });
}

async fn postpone(core: &Core, mut record: RevocationRecord, error: &Error) -> Outcome {
    let (now, before) = (core.now(), record.version);
    record.attempts = record.attempts.saturating_add(1);
    // Without its key nothing can be sent, ever.
    let hopeless = *error.kind() == ErrorKind::Shredded;
    if hopeless || now.saturating_since(record.created_at) > core.settings.revocation_limit {
        abandoned(core, &record);
        if let Err(error) = core.stores.connections.delete_owed(&record.key, record.id).await {
            tracing::debug!(%error, "an abandoned revocation is still on record");
        }
        return Outcome::Unsupported;
    }
    let pause = FIRST_RETRY * 2u32.saturating_pow(record.attempts.min(12) - 1);
    let pause = error.retry_after().unwrap_or(pause).clamp(FIRST_RETRY, LONGEST_RETRY);
    // Without random bytes the retry is only less spread out.
    record.due_at = now.saturating_add(jittered(&*core.entropy, pause).unwrap_or(pause));
    if let Ok(version) = Version::random(&*core.entropy) {
        record.version = version;
        if let Err(error) = core.stores.connections.update_owed(&record, before).await {
            tracing::debug!(%error, "a postponed revocation keeps its old time");
        }
    }
    core.report(&Event::RevocationPending { key: record.key, attempts: record.attempts });
    Outcome::Pending
}
