//! What goes wrong with single replies.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use super::gzip;
use super::log::Call;
use super::reply::Reply;

type Change = Arc<dyn Fn(&mut Reply) -> Result<(), &'static str> + Send + Sync>;
type Matcher = Arc<dyn Fn(&Call) -> bool + Send + Sync>;

/// How a reply takes to the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    Whole,
    /// The connection is reset before the first byte.
    Dropped,
    /// Reset after so many bytes of the body.
    Torn(usize),
    /// Silence after so many bytes of the body.
    Stalled(usize),
    /// A byte at a time.
    Dripping(Duration),
    /// Filler for ever.
    Endless,
}

/// A reply that is not what it should be; [`inject`](super::Simulator::inject) puts it in place.
///
/// Each comes from a constructor and is refined by methods. Those that start from [`genuine`](Self::genuine) let the
/// provider act (rotate, revoke, ...) and change its reply; the others reply in its place, and the provider does
/// nothing unless [`after_acting`](Self::after_acting) is said.
///
/// ```
/// # use vault_testkit::simulator::Fault;
/// # use serde_json::json;
/// // The token rotates, and the client never learns of it.
/// let lost_reply = Fault::dropped().after_acting();
/// // The next three refreshes say nothing of when the token ends.
/// let no_expiry = Fault::genuine().remove("expires_in").for_grant("refresh_token").times(3);
/// let odd_expiry = Fault::genuine().set("expires_in", json!("3600"));
/// ```
#[derive(Clone)]
#[must_use]
pub struct Fault {
    acts: bool,
    account: Option<String>,
    changes: Vec<Change>,
    delivery: Delivery,
    delay: Duration,
    matchers: Vec<Matcher>,
    left: Option<u32>,
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault")
            .field("acts", &self.acts)
            .field("changes", &self.changes.len())
            .field("delivery", &self.delivery)
            .field("delay", &self.delay)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

/// Where to start.
impl Fault {
    /// The genuine reply, to be changed.
    pub fn genuine() -> Self {
        Self {
            acts: true,
            account: None,
            changes: Vec::new(),
            delivery: Delivery::Whole,
            delay: Duration::ZERO,
            matchers: Vec::new(),
            left: Some(1),
        }
    }

    /// This reply and no other.
    ///
    /// # Panics
    /// When `status` is not between 100 and 999, or `content_type` is no header value.
    pub fn reply(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let reply = Reply::empty(status_code(status));
        let reply = Reply { body: body.into(), ..reply }.with(CONTENT_TYPE, content_type);
        Self { acts: false, ..Self::genuine() }.changed(move |genuine| {
            *genuine = reply.clone();
            Ok(())
        })
    }

    /// `{"error": code}` with that status, 200 included.
    ///
    /// # Panics
    /// When `status` is not between 100 and 999.
    pub fn error(status: u16, code: &str) -> Self {
        Self::reply(status, "application/json", json!({ "error": code }).to_string())
    }

    /// Status 200 and `{"ok": false, "error": code}`.
    pub fn not_ok(code: &str) -> Self {
        Self::reply(200, "application/json", json!({ "ok": false, "error": code }).to_string())
    }

    /// A page where data should be, as from a captive portal (200) or a gateway (502).
    ///
    /// # Panics
    /// When `status` is not between 100 and 999.
    pub fn html(status: u16) -> Self {
        let page = "<!doctype html><title>Welcome</title><p>Please sign in to this network.";
        Self::reply(status, "text/html", page)
    }

    /// A redirect.
    ///
    /// # Panics
    /// When `status` is not between 100 and 999, or `to` is no header value.
    pub fn redirect(status: u16, to: &str) -> Self {
        Self::reply(status, "text/plain", "").header(LOCATION.as_str(), to)
    }

    /// Status 429 with that `Retry-After`.
    ///
    /// # Panics
    /// When `retry_after` is no header value.
    pub fn throttled(retry_after: &str) -> Self {
        Self::error(429, "slow_down").header(RETRY_AFTER.as_str(), retry_after)
    }

    /// Status 503 with that `Retry-After`.
    ///
    /// # Panics
    /// When `retry_after` is no header value.
    pub fn unavailable(retry_after: &str) -> Self {
        Self::error(503, "temporarily_unavailable").header(RETRY_AFTER.as_str(), retry_after)
    }

    /// A token reply of this many bytes.
    pub fn oversized(bytes: usize) -> Self {
        let frame = r#"{"token_type":"Bearer","access_token":""}"#;
        let filler = "a".repeat(bytes.saturating_sub(frame.len()));
        let body = frame.replace(r#""""#, &format!("\"{filler}\""));
        Self::reply(200, "application/json", body)
    }

    /// A small reply that decompresses to this many bytes.
    pub fn gzip_bomb(bytes: usize) -> Self {
        Self::reply(200, "application/json", gzip::bomb(bytes)).header(CONTENT_ENCODING.as_str(), "gzip")
    }

    /// A reply that never ends.
    pub fn endless() -> Self {
        Self { delivery: Delivery::Endless, ..Self::reply(200, "application/json", "") }
    }

    /// No reply: the connection is reset.
    pub fn dropped() -> Self {
        Self { acts: false, delivery: Delivery::Dropped, ..Self::genuine() }
    }
}

/// What becomes of the reply.
impl Fault {
    /// The provider does what was asked before it answers like this.
    pub fn after_acting(self) -> Self {
        Self { acts: true, ..self }
    }

    /// At the token endpoint: answers with tokens of another account, as a confused provider does.
    pub fn for_account(self, account: impl Into<String>) -> Self {
        Self { account: Some(account.into()), ..self }
    }

    /// Sets a field of the JSON reply.
    pub fn set(self, field: &str, value: impl Into<Value>) -> Self {
        let (field, value) = (field.to_owned(), value.into());
        self.map_json(move |fields| {
            fields.insert(field.clone(), value.clone());
        })
    }

    /// Removes a field of the JSON reply.
    pub fn remove(self, field: &str) -> Self {
        let field = field.to_owned();
        self.map_json(move |fields| {
            fields.remove(&field);
        })
    }

    /// Changes the JSON reply. A reply that is not a JSON object becomes a 500 that says so.
    pub fn map_json(self, change: impl Fn(&mut Map<String, Value>) + Send + Sync + 'static) -> Self {
        self.changed(move |reply| {
            let mut fields = object(reply)?;
            change(&mut fields);
            reply.body = Value::Object(fields).to_string().into_bytes();
            Ok(())
        })
    }

    /// Changes the body, for what JSON values cannot say: doubled keys, bad UTF-8.
    pub fn map_body(self, change: impl Fn(Vec<u8>) -> Vec<u8> + Send + Sync + 'static) -> Self {
        self.changed(move |reply| {
            reply.body = change(std::mem::take(&mut reply.body));
            Ok(())
        })
    }

    /// Form-encodes the JSON reply.
    pub fn form_encoded(self) -> Self {
        self.changed(|reply| {
            let mut form = form_urlencoded::Serializer::new(String::new());
            for (name, value) in object(reply)? {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                form.append_pair(&name, &text);
            }
            reply.body = form.finish().into_bytes();
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            reply.headers.insert(CONTENT_TYPE, form);
            Ok(())
        })
    }

    /// Sends the body gzipped, whether or not the client asked for that.
    pub fn gzipped(self) -> Self {
        self.map_body(|body| gzip::stored(&body)).header(CONTENT_ENCODING.as_str(), "gzip")
    }

    /// Another status.
    ///
    /// # Panics
    /// When it is not between 100 and 999.
    pub fn status(self, status: u16) -> Self {
        let status = status_code(status);
        self.changed(move |reply| {
            reply.status = status;
            Ok(())
        })
    }

    /// Sets a header.
    ///
    /// # Panics
    /// When name or value cannot be one.
    pub fn header(self, name: &str, value: &str) -> Self {
        let name = HeaderName::try_from(name).expect("not a header name");
        let value = HeaderValue::try_from(value).expect("not a header value");
        self.changed(move |reply| {
            reply.headers.insert(name.clone(), value.clone());
            Ok(())
        })
    }

    /// Waits this long, on the simulator's clock, before the reply and after having acted.
    pub fn delayed(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Sends one byte of the body, waits this long on the simulator's clock, sends the next.
    pub fn dripping(self, pause: Duration) -> Self {
        Self { delivery: Delivery::Dripping(pause), ..self }
    }

    /// Sends so many bytes of the body, then nothing more; the connection stays open.
    pub fn stalled_at(self, bytes: usize) -> Self {
        Self { delivery: Delivery::Stalled(bytes), ..self }
    }

    /// Sends the head and so many bytes of the body, then resets the connection.
    pub fn torn_at(self, bytes: usize) -> Self {
        Self { delivery: Delivery::Torn(bytes), ..self }
    }

    fn changed(
        mut self,
        change: impl Fn(&mut Reply) -> Result<(), &'static str> + Send + Sync + 'static,
    ) -> Self {
        self.changes.push(Arc::new(change));
        self
    }
}

/// Which calls it befalls: the next one, unless said otherwise.
impl Fault {
    /// The next `calls` that match.
    pub fn times(self, calls: u32) -> Self {
        Self { left: Some(calls), ..self }
    }

    /// Every call that matches, until the faults are cleared.
    pub fn forever(self) -> Self {
        Self { left: None, ..self }
    }

    /// Token requests with that `grant_type` only.
    pub fn for_grant(self, grant_type: &str) -> Self {
        let grant_type = grant_type.to_owned();
        self.when(move |call| call.grant_type.as_ref() == Some(&grant_type))
    }

    /// Calls of which this holds. It sees the call as it arrived.
    pub fn when(mut self, matches: impl Fn(&Call) -> bool + Send + Sync + 'static) -> Self {
        self.matchers.push(Arc::new(matches));
        self
    }
}

impl Fault {
    pub(super) fn acts(&self) -> bool {
        self.acts
    }

    pub(super) fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    pub(super) fn delay(&self) -> Duration {
        self.delay
    }

    pub(super) fn delivery(&self) -> Delivery {
        self.delivery
    }

    pub(super) fn reshape(&self, mut reply: Reply) -> Reply {
        for change in &self.changes {
            if let Err(mistake) = change(&mut reply) {
                let text = format!("simulator: the fault does not fit the reply: {mistake}");
                return Reply::new(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", text);
            }
        }
        reply
    }

    pub(super) fn befalls(&self, call: &Call) -> bool {
        !self.is_over() && self.matchers.iter().all(|matches| matches(call))
    }

    pub(super) fn is_over(&self) -> bool {
        self.left == Some(0)
    }

    /// Counts one call.
    pub(super) fn happened(&mut self) {
        self.left = self.left.map(|left| left.saturating_sub(1));
    }
}

fn object(reply: &Reply) -> Result<Map<String, Value>, &'static str> {
    serde_json::from_slice(&reply.body).map_err(|_| "not a JSON object")
}

fn status_code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).expect("a status is between 100 and 999")
}
