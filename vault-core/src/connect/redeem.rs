//! From the callback to tokens: what must hold before the code leaves, and the exchange.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::binding::SessionBinding;
use super::callback::{Callback, invalid};
use super::flow::{self, Flow};
use super::judge::{New, judge};
use crate::connector::Registered;
use crate::core::Core;
use crate::ending::Grant;
use crate::error::{Error, ErrorKind, printable};
use crate::id::{ConnectionKey, Slot};
use crate::oauth::{self, ExchangeRequest};
use crate::provider::endpoints::Endpoints;
use crate::provider::spec::{CallbackMethod, IssMode, Spec};
use crate::secret::SecretString;
use crate::store::FlowRecord;

/// Clocks of several processes may differ by so much.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// What came for the code, not judged yet.
pub(super) struct Redeemed {
    pub(super) flow: Flow,
    pub(super) registered: Arc<Registered>,
    pub(super) grants: Vec<oauth::Grant>,
    endpoints: Endpoints,
    captured: BTreeMap<String, String>,
}

/// Everything up to the exchange.
pub(super) async fn redeem(
    core: &Core,
    record: &FlowRecord,
    callback: &Callback,
    binding: &SessionBinding,
) -> Result<Redeemed, Error> {
    let flow = core.open_flow(record).await?;
    check_time(core, record, &flow)?;
    if !binding.matches(&flow.binding) {
        return Err(Error::new(ErrorKind::SessionMismatch, "the callback came in another session"));
    }
    if callback.connector.as_ref().is_some_and(|connector| *connector != record.connector) {
        return Err(invalid("the callback came to another connector's path"));
    }
    let mut registered = core.registered(&record.tenant, &record.connector).await?;
    let mut exchanged = exchange(core, record, callback, &flow, &registered).await;
    // The client was refused, not the code: where another process has given it a new secret, that one is tried.
    if exchanged.as_ref().is_err_and(|error| *error.kind() == ErrorKind::ProviderMisconfigured)
        && let Ok(Some(changed)) = core.changed_since(&registered).await
    {
        exchanged = exchange(core, record, callback, &flow, &changed).await;
        registered = changed;
    }
    let Exchanged { endpoints, captured, grants } = exchanged?;
    Ok(Redeemed { flow, registered, grants, endpoints, captured })
}

impl Redeemed {
    /// What is to be stored: all of them or none.
    pub(super) async fn judged(
        &self,
        core: &Core,
        record: &FlowRecord,
    ) -> Result<Vec<(ConnectionKey, New)>, Error> {
        let Self { flow, registered, endpoints, captured, .. } = self;
        let mut judged = Vec::new();
        for grant in &self.grants {
            let slot = grant.slot.as_ref().map(Slot::new).transpose()?;
            let slot = slot.unwrap_or_else(|| record.slot.clone());
            let new = judge(core, registered, endpoints, flow, captured, &grant.reply).await?;
            judged.push((ConnectionKey { slot, ..flow::key(record) }, new));
        }
        Ok(judged)
    }

    /// As they are ended at the provider.
    pub(super) fn issued(&self) -> impl Iterator<Item = Grant<'_>> {
        let Flow { client_id, config, .. } = &self.flow;
        self.grants.iter().map(|grant| Grant::issued(client_id, config, &grant.reply))
    }
}

/// What an exchange brings.
struct Exchanged {
    endpoints: Endpoints,
    captured: BTreeMap<String, String>,
    grants: Vec<oauth::Grant>,
}

/// Holds the callback against the flow and the connector as it is now, then sends the code.
async fn exchange(
    core: &Core,
    record: &FlowRecord,
    callback: &Callback,
    flow: &Flow,
    registered: &Registered,
) -> Result<Exchanged, Error> {
    registered.registration.check_owner(&record.owner)?;
    let spec = registered.provider.spec();
    let endpoints = registered.endpoints(core, &flow.config).await?;
    check_callback(callback, flow, spec, &endpoints)?;
    if flow.client_id != registered.registration.client_id || flow.token_endpoint != endpoints.token.as_str()
    {
        return Err(cancelled("the connector changed while the user was away"));
    }

    let code = callback.code(&spec.callback.code_param, spec.callback.strip_suffix.as_deref())?;
    let captured = capture(callback, spec)?;
    let verifier = flow.verifier.as_deref().map(SecretString::new);
    let exchange = ExchangeRequest {
        code: &code,
        verifier: verifier.as_ref(),
        redirect_uri: &flow.redirect_uri,
        scopes: &flow.requested,
        callback: &callback.texts(),
        state: Some(&callback.state),
    };
    let grants = registered.client(core, &endpoints).exchange(&exchange).await;
    let grants = grants.map_err(|failure| failure.error)?;
    Ok(Exchanged { endpoints, captured, grants })
}

pub(super) fn cancelled(why: &'static str) -> Error {
    Error::new(ErrorKind::FlowCancelled, why)
}

pub(super) fn disconnected() -> Error {
    cancelled("the user disconnected while the code was exchanged or the connection stored")
}

fn check_time(core: &Core, record: &FlowRecord, flow: &Flow) -> Result<(), Error> {
    let now = core.now();
    // A wall clock that was set back must not stretch a flow's life.
    let set_back = now.saturating_add(CLOCK_SKEW) < record.created_at;
    let outlived = core.since(flow.began).is_some_and(|age| age > core.settings.flow_ttl);
    if now > flow.expires_at || set_back || outlived {
        return Err(Error::new(ErrorKind::FlowExpired, "the authorization took too long"));
    }
    Ok(())
}

/// What the callback says, before anything leaves: who sent it (RFC 9207), and whether it is a denial.
fn check_callback(callback: &Callback, flow: &Flow, spec: &Spec, endpoints: &Endpoints) -> Result<(), Error> {
    if callback.posted != (spec.callback.method == CallbackMethod::Post) {
        return Err(invalid("the callback came by the wrong HTTP method for this provider"));
    }
    let mismatch = |message| Err(Error::new(ErrorKind::IssuerMismatch, message));
    match (callback.param("iss"), &flow.issuer) {
        (Some(iss), Some(issuer)) if iss != issuer => {
            return mismatch(format!("the callback is from {}, not from {issuer}", printable(iss)));
        }
        (None, _) if endpoints.sends_iss || spec.callback.iss == IssMode::Required => {
            return mismatch("the callback does not say who issued it".to_owned());
        }
        _ => {}
    }
    if let Some(error) = callback.param("error") {
        let description = callback.param("error_description").map(printable).unwrap_or_default();
        let message = format!("the provider denied the authorization: {} {description}", printable(error));
        return Err(Error::new(ErrorKind::Denied, message.trim_end().to_owned()));
    }
    Ok(())
}

/// Callback parameters that belong to the connection, such as QuickBooks' realm.
fn capture(callback: &Callback, spec: &Spec) -> Result<BTreeMap<String, String>, Error> {
    let mut captured = BTreeMap::new();
    for (name, rule) in &spec.callback.capture {
        match callback.param(name) {
            Some(value)
                if !value.is_empty() && value.len() <= 1024 && !value.chars().any(char::is_control) =>
            {
                captured.insert(name.clone(), value.to_owned());
            }
            _ if rule.required => return Err(invalid(format!("the callback lacks `{name}`"))),
            _ => {}
        }
    }
    Ok(captured)
}
