use std::sync::Arc;
use std::time::Duration;

use super::binding::SessionBinding;
use super::callback::Callback;
use super::connected::Connected;
use super::flow::{self, state_hash};
use super::judge::New;
use super::keep::Candidate;
use super::redeem::{Redeemed, cancelled, redeem};
use crate::connector::Registered;
use crate::core::Core;
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::id::ConnectionKey;
use crate::revocation::{Grant, revoke_unstored};
use crate::store::{FlowRecord, StoreError, StoreErrorKind};

/// Longer than any exchange: so long a taken flow can be cancelled. After a crash it is purged then.
const UNDER_WAY: Duration = Duration::from_secs(10 * 60);
const DISCONNECTED: &str = "the user disconnected while the code was exchanged or the connection stored";
const TRIES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Tries against a store that is down: about ten minutes.
const PATIENCE: u32 = 120;

/// Takes the flow and finishes it in a task of its own: from here on a closed browser tab changes nothing.
pub(crate) async fn complete(
    core: &Arc<Core>,
    callback: Callback,
    binding: &SessionBinding,
) -> Result<Connected, Error> {
    let (core2, binding) = (Arc::clone(core), binding.clone());
    core.detached(async move {
        let hash = state_hash(&callback.state);
        let now = core2.now();
        let until = now.saturating_add(UNDER_WAY);
        let Some(record) = core2.stores.flows.take(&hash, until, now).await? else {
            return Err(Error::new(ErrorKind::UnknownState, "unknown, used, cancelled or expired state"));
        };
        let result = finish(&core2, &record, &callback, &binding).await;
        if let Err(error) = &result
            && *error.kind() != ErrorKind::AuditUnavailable
        {
            core2.report(&Event::ConnectFailed {
                tenant: record.tenant.clone(),
                owner: record.owner.clone(),
                connector: record.connector.clone(),
                kind: error.kind().clone(),
            });
        }
        result
    })
    .await
}

async fn finish(
    core: &Arc<Core>,
    record: &FlowRecord,
    callback: &Callback,
    binding: &SessionBinding,
) -> Result<Connected, Error> {
    let redeemed = match redeem(core, record, callback, binding).await {
        Ok(redeemed) => redeemed,
        Err(error) => {
            // What stays is purged.
            let _ = core.stores.flows.finish(record).await;
            return Err(error);
        }
    };
    let grants = match redeemed.judged(core, record).await {
        Ok(grants) => grants,
        Err(error) => {
            let is_cancelled = matches!(end_flow(core, record).await, Ok(false));
            let why = if is_cancelled { Why::Disconnected } else { Why::Failed };
            for grant in redeemed.issued() {
                give_up(core, &flow::key(record), &redeemed.registered, grant, why).await;
            }
            return Err(if is_cancelled { cancelled(DISCONNECTED) } else { error });
        }
    };
    let Redeemed { flow, registered, .. } = redeemed;
    let candidates = grants.into_iter().map(|(key, new)| Candidate::new(key, new)).collect();
    let (stored, failed) = store(core, record, &registered, candidates).await?;
    let mut audited = Ok(());
    for Candidate { key, .. } in &stored {
        audited = audited.and(core.audit(Event::Connected { key: key.clone() }).await);
    }
    // Of several connections the user may have disconnected one: the others stand.
    let failed = failed.filter(|error| stored.is_empty() || *error.kind() != ErrorKind::FlowCancelled);
    failed.map_or(Ok(()), Err)?;
    audited?;
    let keys = stored.iter().map(|candidate| candidate.key.clone()).collect();
    let Candidate { new: New { summary, .. }, .. } = stored.into_iter().next().ok_or_else(|| {
        Error::new(ErrorKind::ProviderReplyInvalid, "malformed token response: no grant in it")
    })?;
    Ok(Connected {
        keys,
        account: summary.account,
        scopes: summary.scopes,
        return_to: flow.return_to.clone(),
    })
}

/// What was stored, and why not all of it, if so.
async fn store(
    core: &Arc<Core>,
    record: &FlowRecord,
    registered: &Arc<Registered>,
    mut candidates: Vec<Candidate>,
) -> Result<(Vec<Candidate>, Option<Error>), Error> {
    let placed = place(core, record, registered, &mut candidates).await;
    // Whoever disconnects the user takes the flow away before the connection: either what was stored is seen there, or
    // the flow is missed here.
    let ended = end_flow(core, record).await;
    let failed = match (placed, ended) {
        (_, Ok(false)) => Some((Why::Disconnected, cancelled(DISCONNECTED))),
        (Err(error), _) | (Ok(()), Err(error)) => Some((Why::Failed, error)),
        (Ok(()), Ok(true)) => None,
    };
    if let Some((why, error)) = failed {
        take_back(core, registered, candidates, why).await;
        return Err(error);
    }
    let (mut stored, mut failed) = (Vec::new(), None);
    for mut candidate in candidates {
        match candidate.replace(core, registered).await {
            Ok(()) => stored.push(candidate),
            Err(error) if *error.kind() == ErrorKind::FlowCancelled => {
                take_back(core, registered, vec![candidate], Why::Disconnected).await;
                failed = Some(error);
            }
            Err(_) if candidate.stands(core).await => stored.push(candidate),
            Err(error) => {
                // If it was written after all, it stands: what it replaced cannot be brought back.
                give_up(core, &candidate.key, registered, candidate.grant(), Why::Failed).await;
                failed = Some(error);
            }
        }
    }
    Ok((stored, failed))
}

/// Stores what is new, before the flow ends.
async fn place(
    core: &Core,
    record: &FlowRecord,
    registered: &Registered,
    candidates: &mut [Candidate],
) -> Result<(), Error> {
    // The connector may have been switched off, or removed, while the code was exchanged.
    let now = core.registered(&record.tenant, &record.connector).await?;
    now.registration.check_owner(&record.owner)?;
    for candidate in candidates {
        candidate.place(core, registered).await?;
    }
    Ok(())
}

/// Whether nobody had cancelled it. After an answer that was lost, only a `true` says so: a `false` may be about the first
/// time it was asked.
async fn end_flow(core: &Core, record: &FlowRecord) -> Result<bool, Error> {
    let mut lost = None;
    for _ in 0..TRIES {
        match (core.stores.flows.finish(record).await, &lost) {
            (Ok(false), Some(_)) => break,
            (Ok(was_there), _) => return Ok(was_there),
            (Err(error), None) if did_nothing(&error) => {}
            (Err(error), _) => lost = Some(error),
        }
    }
    Err(lost.unwrap_or_else(|| StoreError::new(StoreErrorKind::Busy, "finishing a flow")).into())
}

fn did_nothing(error: &StoreError) -> bool {
    matches!(error.kind(), StoreErrorKind::Busy | StoreErrorKind::ReadOnly)
}

/// Why connections are not to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    /// They must not outlive that, nor must what was granted.
    Disconnected,
    Failed,
}

/// Ends a grant that nobody has. Where nobody disconnected it is only told of: some providers give the same token again and
/// again, or revoke more than one, and a connection from before, or another user's, works on.
async fn give_up(core: &Core, key: &ConnectionKey, registered: &Registered, grant: Grant<'_>, why: Why) {
    match why {
        Why::Disconnected => revoke_unstored(core, key, registered, grant).await,
        Why::Failed => core.report(&Event::GrantUnclaimed { key: key.clone() }),
    }
}

/// Takes these out of the store, and gives up their grants. A store that is down is waited for in a task of its own.
async fn take_back(core: &Arc<Core>, registered: &Arc<Registered>, candidates: Vec<Candidate>, why: Why) {
    let disconnected = why == Why::Disconnected;
    for candidate in candidates {
        if let Ok(is_owed) = candidate.take_back(core, disconnected).await {
            if !is_owed {
                give_up(core, &candidate.key, registered, candidate.grant(), why).await;
            }
            continue;
        }
        let (task, registered) = (Arc::clone(core), Arc::clone(registered));
        core.tasks.spawn(async move {
            let mut pause = FIRST_PAUSE;
            for _ in 0..PATIENCE {
                task.clock.sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
                match candidate.take_back(&task, disconnected).await {
                    Ok(true) => return,
                    Ok(false) => {
                        return give_up(&task, &candidate.key, &registered, candidate.grant(), why).await;
                    }
                    Err(_) => {}
                }
            }
            tracing::error!(key = %candidate.key, "a connection that is not to be may still be stored");
            task.report(&Event::RevocationAbandoned { key: candidate.key, attempts: 0 });
        });
    }
}
