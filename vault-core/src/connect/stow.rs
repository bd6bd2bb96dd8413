//! From grants to stored connections, and the end of their flow: in one step where the store can do that.

use std::sync::Arc;
use std::time::Duration;

use super::keep::Candidate;
use super::redeem::disconnected;
use crate::connector::Registered;
use crate::core::Core;
use crate::ending::{Grant, revoke_unstored};
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::id::ConnectionKey;
use crate::store::{FlowRecord, StoreError, StoreErrorKind};

const TRIES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Tries against a store that is down: about ten minutes.
const PATIENCE: u32 = 120;

/// What was stored, and why not all of it, if so.
pub(super) async fn stow(
    core: &Arc<Core>,
    record: &FlowRecord,
    registered: &Arc<Registered>,
    mut candidates: Vec<Candidate>,
) -> Result<(Vec<Candidate>, Option<Error>), Error> {
    let at_once = match &mut candidates[..] {
        [only] => in_one_step(core, record, registered, only).await,
        // No step takes several.
        _ => Ok(false),
    };
    match at_once {
        Ok(true) => Ok((candidates, None)),
        Ok(false) => step_by_step(core, record, registered, candidates).await,
        Err((why, error)) => {
            take_back(core, registered, candidates, why).await;
            Err(error)
        }
    }
}

/// Answers whether the store could do that: then it is stored, and the flow has ended.
async fn in_one_step(
    core: &Arc<Core>,
    record: &FlowRecord,
    registered: &Registered,
    candidate: &mut Candidate,
) -> Result<bool, (Why, Error)> {
    let stored = match still_on(core, record).await {
        Ok(()) => candidate.place_and_finish(core, registered, record).await,
        Err(error) => Err(error),
    };
    let error = match stored {
        Ok(could) => return Ok(could),
        Err(error) => error,
    };
    if *error.kind() == ErrorKind::FlowCancelled {
        return Err(gone(core, record));
    }
    let ended = end_flow(core, record).await;
    if matches!(ended, Ok(true)) {
        return Err((Why::Failed, error));
    }
    // Perhaps this write has ended it. Where it did not, or was undone since, the user has disconnected.
    let stands = if candidate.may_stand() { candidate.stands(core).await } else { Ok(false) };
    match (ended, stands) {
        (_, Ok(true)) => Ok(true),
        (Ok(false), Ok(false)) => Err(gone(core, record)),
        _ => Err((Why::Failed, error)),
    }
}

/// For stores that are apart, and where one consent gave several grants.
async fn step_by_step(
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
        (_, Ok(false)) => Some(gone(core, record)),
        (Err(error), _) | (Ok(()), Err(error)) => Some((Why::Failed, error)),
        (Ok(()), Ok(true)) => None,
    };
    if let Some((why, error)) = failed {
        take_back(core, registered, candidates, why).await;
        return Err(error);
    }
    let (mut stored, mut failed) = (Vec::new(), None);
    for mut candidate in candidates {
        match candidate.replace(core, registered, record).await {
            Ok(()) => stored.push(candidate),
            Err(error) if *error.kind() == ErrorKind::FlowCancelled => {
                take_back(core, registered, vec![candidate], Why::Disconnected).await;
                failed = Some(error);
            }
            Err(_) if matches!(candidate.stands(core).await, Ok(true)) => stored.push(candidate),
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
    still_on(core, record).await?;
    for candidate in candidates {
        candidate.place(core, registered, record).await?;
    }
    Ok(())
}

/// The connector may have been switched off, or removed, while the code was exchanged.
async fn still_on(core: &Core, record: &FlowRecord) -> Result<(), Error> {
    let now = core.registered(&record.tenant, &record.connector).await?;
    now.registration.check_owner(&record.owner)?;
    now.confirm_key(core).await
}

/// Whether nobody had cancelled it. After an answer that was lost, only a `true` says so: a `false` may be about the first
/// time it was asked.
pub(super) async fn end_flow(core: &Core, record: &FlowRecord) -> Result<bool, Error> {
    let mut lost = None;
    for _ in 0..TRIES {
        match (core.stores.flows.finish(record).await, &lost) {
            (Ok(false), Some(_)) => break,
            (Ok(was_there), _) => return Ok(was_there),
            (Err(error), None) if error.wrote_nothing() => {}
            (Err(error), _) => lost = Some(error),
        }
    }
    Err(lost.unwrap_or_else(|| StoreError::new(StoreErrorKind::Busy, "finishing a flow")).into())
}

/// Why connections are not to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// They must not outlive that, nor must what was granted.
    Disconnected,
    Failed,
}

/// Why a taken flow is not there any more.
pub(super) fn gone(core: &Core, taken: &FlowRecord) -> (Why, Error) {
    if core.now() < taken.expires_at {
        (Why::Disconnected, disconnected())
    } else {
        (Why::Failed, Error::new(ErrorKind::FlowExpired, "storing what was connected took too long"))
    }
}

/// Ends a grant that nobody has. Where nobody disconnected it is only told of: some providers give the same token again and
/// again, or revoke more than one, and a connection from before, or another user's, works on.
pub(super) async fn give_up(
    core: &Core,
    key: &ConnectionKey,
    registered: &Registered,
    grant: Grant<'_>,
    why: Why,
) {
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
