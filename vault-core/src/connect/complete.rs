use std::sync::Arc;
use std::time::Duration;

use super::binding::SessionBinding;
use super::callback::Callback;
use super::connected::Connected;
use super::flow::state_hash;
use super::judge::New;
use super::keep::{Kept, insert, replace};
use super::redeem::{Redeemed, cancelled, redeem};
use crate::core::Core;
use crate::disconnect::withdraw;
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::id::Incarnation;
use crate::revocation::revoke_unstored;
use crate::store::FlowRecord;

/// Longer than any exchange: so long a taken flow can be cancelled. After a crash it is purged then.
const UNDER_WAY: Duration = Duration::from_secs(10 * 60);

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
    let flows = &core.stores.flows;
    let redeemed = match redeem(core, record, callback, binding).await {
        Ok(redeemed) => redeemed,
        Err(error) => {
            // What stays is purged.
            let _ = flows.finish(record).await;
            return Err(error);
        }
    };
    let mut kept = Vec::new();
    let mut finished = false;
    let stored = store(core, record, &redeemed, &mut kept, &mut finished).await;
    // Whoever disconnects the user takes the flow away before the connection: either what was stored is seen there, or
    // the flow is missed here. Where the store does not say, the connection stands as it says.
    let cancelled = matches!(stored, Ok(Stored::Cancelled));
    if cancelled || !finished && matches!(flows.finish(record).await, Ok(false)) {
        return undo(core, &redeemed, &kept).await;
    }
    let mut audited = Ok(());
    for kept in &kept {
        audited = audited.and(core.audit(Event::Connected { key: kept.key.clone() }).await);
    }
    stored?;
    audited?;
    let first = redeemed.grants.into_iter().next();
    let (_, New { summary, .. }) = first.ok_or_else(|| {
        Error::new(ErrorKind::ProviderReplyInvalid, "malformed token response: no grant in it")
    })?;
    Ok(Connected {
        keys: kept.into_iter().map(|kept| kept.key).collect(),
        account: summary.account,
        scopes: summary.scopes,
        return_to: redeemed.flow.return_to.clone(),
    })
}

/// How storing ended.
enum Stored {
    All,
    /// The user has disconnected, and nothing was replaced.
    Cancelled,
}

/// What is new is stored before the flow is finished, and taken back should that find it cancelled. What another
/// connection makes room for is stored only after: that one could not be brought back.
async fn store(
    core: &Arc<Core>,
    record: &FlowRecord,
    redeemed: &Redeemed,
    kept: &mut Vec<Kept>,
    finished: &mut bool,
) -> Result<Stored, Error> {
    let registered = &redeemed.registered;
    let mut in_the_way = Vec::new();
    for (key, new) in &redeemed.grants {
        // Even a write that seems to have failed may have to be taken back.
        kept.push(Kept { key: key.clone(), incarnation: Incarnation::random(&*core.entropy)? });
        if let Some(candidate) = kept.last()
            && !insert(core, registered, candidate, new).await?
        {
            in_the_way.push((kept.len() - 1, new));
        }
    }
    if in_the_way.is_empty() {
        return Ok(Stored::All);
    }
    if !core.stores.flows.finish(record).await? {
        return Ok(Stored::Cancelled);
    }
    *finished = true;
    for (n, new) in in_the_way {
        if !replace(core, registered, &mut kept[n], new).await? {
            return Ok(Stored::Cancelled);
        }
    }
    Ok(Stored::All)
}

/// A disconnect came too late to see what was stored, and must not be outlived by it, nor by what was granted.
async fn undo(core: &Core, redeemed: &Redeemed, kept: &[Kept]) -> Result<Connected, Error> {
    for (Kept { key, incarnation }, (_, new)) in kept.iter().zip(&redeemed.grants) {
        withdraw(core, key, *incarnation).await?;
        revoke_unstored(core, key, &redeemed.registered, &new.tokens).await;
    }
    Err(cancelled("the user disconnected while the code was exchanged or the connection stored"))
}
