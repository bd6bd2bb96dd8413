//! One request, one total deadline.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::RETRY_AFTER;

use super::types::{Failure, FailureClass};
use crate::clock::Clock;
use crate::error::ErrorKind;
use crate::http::{HttpClient, HttpError, HttpErrorKind, HttpRequest, HttpResponse};

/// Longer waits are not believed.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(3600);

pub(super) struct Wire<'a> {
    pub(super) http: &'a dyn HttpClient,
    pub(super) clock: &'a dyn Clock,
    /// In monotonic time, for all requests of one operation together.
    pub(super) deadline: Duration,
    /// What is sent, for messages: `token request`.
    pub(super) what: &'static str,
}

impl Wire<'_> {
    /// A reply of any status is a success here.
    pub(super) async fn send(&self, request: HttpRequest) -> Result<HttpResponse, Failure> {
        let left = self.deadline.saturating_sub(self.clock.monotonic());
        if left.is_zero() {
            return Err(self.timed_out(FailureClass::NotSent));
        }
        tokio::select! {
            biased;
            reply = self.http.send(request) => reply.map_err(|error| self.failure(error)),
            () = self.clock.sleep(left) => Err(self.timed_out(FailureClass::Indeterminate)),
        }
    }

    fn failure(&self, error: HttpError) -> Failure {
        use HttpErrorKind as K;
        let class =
            if error.may_have_been_sent() { FailureClass::Indeterminate } else { FailureClass::NotSent };
        let kind = match error.kind() {
            K::AddressNotAllowed | K::InsecureEndpoint | K::Tls => ErrorKind::EndpointRefused,
            K::TooLarge => ErrorKind::ProviderReplyInvalid,
            K::Connect | K::Interrupted => ErrorKind::ProviderUnavailable,
            K::Timeout => return self.timed_out(class),
        };
        let message = format!("{} failed: {error}", self.what);
        let failure = Failure::new(class, kind, message);
        Failure { error: failure.error.with_source(error), ..failure }
    }

    fn timed_out(&self, class: FailureClass) -> Failure {
        let message = format!("{} timed out", self.what);
        Failure::new(class, ErrorKind::ProviderUnavailable, message)
    }
}

/// `Retry-After`, in seconds or as a date, at most an hour; anything else is as if it were not there.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().map_or(LONGEST_WAIT, Duration::from_secs)
    } else {
        let date = httpdate::parse_http_date(text).ok()?;
        date.duration_since(now).unwrap_or_default()
    };
    Some(wait.min(LONGEST_WAIT))
}
