//! What a reply that is not a success means for the grant.
//!
//! By status first: redirects, server errors and throttling say nothing about the grant, whatever their body. Then by
//! the provider's own rules, in order; then by the table below. What is still unknown is indeterminate.
//!
//! Messages carry no text from the reply: an error code is named only when the table or a rule knows it.

use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

use super::json;
use super::types::{Failure, FailureClass, ReplyBody};
use super::wire::LONGEST_WAIT;
use crate::error::{ErrorKind, ReauthReason};
use crate::provider::spec::{Class, ErrorRule, Phase, Spec};

/// Error codes and what they mean, wherever they come from (RFC 6749 5.2, OIDC, and what large providers
/// use instead).
const CODES: &[(&str, Class)] = &[
    ("access_denied", Class::Denied),
    ("account_inactive", Class::InvalidGrant),
    ("account_selection_required", Class::InteractionRequired),
    ("admin_policy_enforced", Class::ClientMisconfigured),
    ("bad_client_secret", Class::ClientMisconfigured),
    ("bad_redirect_uri", Class::ClientMisconfigured),
    ("bad_refresh_token", Class::InvalidGrant),
    ("bad_verification_code", Class::InvalidGrant),
    ("code_already_used", Class::InvalidGrant),
    ("code_expired", Class::InvalidGrant),
    ("consent_required", Class::InteractionRequired),
    ("deleted_client", Class::ClientMisconfigured),
    ("fatal_error", Class::Transient),
    ("inactive_user", Class::InvalidGrant),
    ("incorrect_client_credentials", Class::ClientMisconfigured),
    ("interaction_required", Class::InteractionRequired),
    ("internal_error", Class::Transient),
    ("invalid_client", Class::ClientMisconfigured),
    ("invalid_client_id", Class::ClientMisconfigured),
    ("invalid_code", Class::InvalidGrant),
    ("invalid_grant", Class::InvalidGrant),
    ("invalid_rapt", Class::InvalidGrant),
    ("invalid_refresh_token", Class::InvalidGrant),
    ("invalid_request", Class::ClientMisconfigured),
    ("invalid_scope", Class::ClientMisconfigured),
    ("invalid_target", Class::ClientMisconfigured),
    ("login_required", Class::InteractionRequired),
    ("rate_limited", Class::Throttled),
    ("ratelimited", Class::Throttled),
    ("redirect_uri_mismatch", Class::ClientMisconfigured),
    ("server_error", Class::Transient),
    ("slow_down", Class::Throttled),
    ("temporarily_unavailable", Class::Throttled),
    ("token_expired", Class::InvalidGrant),
    ("token_revoked", Class::InvalidGrant),
    ("unauthorized_client", Class::ClientMisconfigured),
    ("unsupported_grant_type", Class::ClientMisconfigured),
];

/// Those that speak of the credentials themselves: another secret may do.
const BAD_CREDENTIALS: [&str; 4] =
    ["bad_client_secret", "incorrect_client_credentials", "invalid_client", "invalid_client_id"];

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
#[error("{}", failure.error)]
pub(super) struct Refused {
    pub(super) failure: Failure,
    /// The server refused the client's credentials and did nothing: the next secret may be tried.
    pub(super) bad_credentials: bool,
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self { failure, bad_credentials: false }
    }
}

/// What a reply says before its body is looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) phase: Phase,
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
}

impl Head {
    /// For statuses that settle the matter. A rule may refine an outage that it names, but not blame the grant for it.
    pub(super) fn settled(self, spec: &Spec, body: Option<&ReplyBody>) -> Option<Failure> {
        let status = self.status.as_u16();
        let class = match status {
            300..=399 => {
                let message = format!("redirect refused (status {status})");
                let kind = ErrorKind::ProviderReplyInvalid;
                return Some(Failure::new(FailureClass::Indeterminate, kind, message));
            }
            425 | 429 => Class::Throttled,
            408 | 500..=599 => Class::Transient,
            _ => return None,
        };
        let harmless = [Class::ClientMisconfigured, Class::Throttled, Class::Transient];
        let rule = self
            .rules(spec, body)
            .find(|rule| rule.status.contains(&status) && harmless.contains(&rule.class));
        let head = self.waiting(rule, body);
        Some(head.failure(rule.map_or(class, |rule| rule.class), None))
    }

    /// The meaning of an error reply. `body` is `None` when it could not be read.
    pub(super) fn refusal(self, spec: &Spec, body: Option<&ReplyBody>) -> Refused {
        if let Some(failure) = self.settled(spec, body) {
            return failure.into();
        }
        let rule = self.rules(spec, body).next();
        let code = body.and_then(|body| body.0.pointer("/error")?.as_str());
        let known = CODES.iter().find(|(known, _)| Some(*known) == code);
        let by_status = matches!(self.status.as_u16(), 404 | 405 | 410).then_some(Class::ClientMisconfigured);
        let class = rule.map(|rule| rule.class).or(known.map(|(_, class)| *class)).or(by_status);
        let name = known.map(|(code, _)| *code).or_else(|| rule.and_then(|rule| rule.equals.as_deref()));
        let failure = match class {
            Some(class) => self.waiting(rule, body).failure(class, name),
            None if body.is_none() && self.phase != Phase::Revoke => malformed("body"),
            None => Failure::new(
                FailureClass::Indeterminate,
                ErrorKind::ProviderReplyInvalid,
                format!("the provider answered with an unknown error{}", self.hint(None)),
            ),
        };
        let bad_credentials = failure.class == FailureClass::ClientMisconfigured
            && known.map_or(rule.is_some(), |(code, _)| BAD_CREDENTIALS.contains(code));
        Refused { failure, bad_credentials }
    }

    fn rules<'a>(self, spec: &'a Spec, body: Option<&'a ReplyBody>) -> impl Iterator<Item = &'a ErrorRule> {
        let body = body.map(|body| &body.0);
        spec.errors.iter().filter(move |rule| self.matches(rule, body))
    }

    /// With the wait that the body states, where a rule says that it does.
    fn waiting(self, rule: Option<&ErrorRule>, body: Option<&ReplyBody>) -> Self {
        let place = rule.and_then(|rule| rule.retry_after.as_deref());
        let stated = place.and_then(|place| json::at(&body?.0, place));
        let seconds = stated.and_then(|stated| json::text(stated)?.parse().ok());
        let stated = seconds.map(|seconds| Duration::from_secs(seconds).min(LONGEST_WAIT));
        Self { retry_after: stated.or(self.retry_after), ..self }
    }

    fn matches(self, rule: &ErrorRule, body: Option<&Value>) -> bool {
        let status = rule.status.is_empty() || rule.status.contains(&self.status.as_u16());
        let phase = rule.phase.is_none_or(|phase| phase == self.phase);
        status && phase && said(rule, body)
    }

    fn failure(self, class: Class, code: Option<&str>) -> Failure {
        use FailureClass as F;
        let hint = self.hint(code);
        let reauth = |reason| ErrorKind::NeedsReauthorization { reason };
        let (class, kind, message) = match (class, self.phase) {
            (Class::InvalidGrant, Phase::Refresh) => (
                F::InvalidGrant,
                reauth(ReauthReason::GrantRevoked),
                "the provider refused the refresh token",
            ),
            (Class::InvalidGrant, Phase::Exchange) => {
                (F::InvalidGrant, ErrorKind::ProviderReplyInvalid, "the provider refused the code")
            }
            (Class::InvalidGrant, _) => {
                (F::InvalidGrant, ErrorKind::ProviderReplyInvalid, "the provider refused the token")
            }
            (Class::Denied, Phase::Exchange) => {
                (F::InteractionRequired, ErrorKind::Denied, "the provider denied the authorization")
            }
            (Class::Denied | Class::InteractionRequired, _) => (
                F::InteractionRequired,
                reauth(ReauthReason::InteractionRequired),
                "the provider wants the user to sign in again",
            ),
            (Class::ClientMisconfigured, _) => {
                (F::ClientMisconfigured, ErrorKind::ProviderMisconfigured, "the provider refused the client")
            }
            (Class::Throttled, _) => return self.unavailable(F::Throttled(self.retry_after), code),
            (Class::Transient, _) => return self.unavailable(F::Indeterminate, code),
        };
        Failure::new(class, kind, format!("{message}{hint}"))
    }

    fn unavailable(self, class: FailureClass, code: Option<&str>) -> Failure {
        let message = match class {
            FailureClass::Throttled(_) => "the provider is throttling",
            _ => "the provider is unavailable",
        };
        let message = format!("{message}{}", self.hint(code));
        let failure = Failure::new(class, ErrorKind::ProviderUnavailable, message);
        Failure { error: failure.error.with_retry_after(self.retry_after), ..failure }
    }

    fn hint(self, code: Option<&str>) -> String {
        match code {
            Some(code) => format!(" ({code})"),
            None => format!(" (status {})", self.status.as_u16()),
        }
    }
}

/// A reply that is not what it should be. Whether the server acted is unknown.
pub(super) fn malformed(what: &str) -> Failure {
    let message = format!("malformed token response: {what}");
    Failure::new(FailureClass::Indeterminate, ErrorKind::ProviderReplyInvalid, message)
}

/// Whether the body says what the rule looks for; without a pointer, that is the RFC's `error`.
fn said(rule: &ErrorRule, body: Option<&Value>) -> bool {
    if rule.ptr.is_none() && rule.equals.is_none() && rule.regex.is_none() {
        return true;
    }
    let pointer = rule.ptr.as_deref().unwrap_or("/error");
    let Some(found) = body.and_then(|body| json::at(body, pointer)) else {
        return false;
    };
    let text = json::text(found);
    let is = |test: &dyn Fn(&str) -> bool| text.as_deref().is_some_and(test);
    rule.equals.as_deref().is_none_or(|wanted| is(&|text| text == wanted))
        && rule.regex.as_deref().is_none_or(|pattern| {
            // Patterns were compiled once when the provider was loaded; one that does not compile matches nothing.
            regex_lite::Regex::new(pattern).is_ok_and(|pattern| is(&|text| pattern.is_match(text)))
        })
}
