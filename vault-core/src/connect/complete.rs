use std::sync::Arc;
use std::time::Duration;

use super::binding::SessionBinding;
use super::callback::Callback;
use super::connected::Connected;
use super::flow::{self, state_hash};
use super::judge::New;
use super::keep::Candidate;
use super::redeem::{Redeemed, redeem};
use super::stow::{Why, end_flow, give_up, gone, stow};
use crate::core::Core;
use crate::error::{Error, ErrorKind};
use crate::event::Event;
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
            let (why, error) = match end_flow(core, record).await {
                Ok(false) => gone(core, record),
                _ => (Why::Failed, error),
            };
            for grant in redeemed.issued() {
                give_up(core, &flow::key(record), &redeemed.registered, grant, why).await;
            }
            return Err(error);
        }
    };
    let Redeemed { flow, registered, .. } = redeemed;
    let candidates = grants.into_iter().map(|(key, new)| Candidate::new(key, new)).collect();
    let (stored, failed) = stow(core, record, &registered, candidates).await?;
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
