//! Requests to the token endpoint, and how their replies are read.

use serde::{Deserialize, Serialize};

use super::{Capture, Map};

table!(
    /// One request with the client's credentials.
    Call {
        /// A template; the token endpoint when empty.
        url: Option<String>,
        method: Method,
        body: BodyFormat,
        params: Map<Param>,
        /// Standard parameter name to the provider's own; to the empty string to leave it out.
        rename: Map<String>,
        /// On refresh. The exchange sends it, unless `authorize.redirect_uri` is `omitted`.
        send_redirect_uri: bool,
        send_scope: SendScope,
        headers: Map<String>,
        accept: String = "application/json".into(),
    }
);
keyword!(Method {
    #[default]
    Post,
    Get,
    Delete
});
keyword!(BodyFormat {
    #[default]
    Form,
    Json,
    Query
});
keyword!(SendScope {
    #[default]
    None,
    All,
    Subset
});

/// A literal, or where the value comes from: `callback.x`, `conn.x`, `state`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Param {
    Literal(String),
    From { from: String },
}

table!(
    /// How to read a token reply. Places in it are JSON pointers; of several, the first that is there counts.
    Response {
        /// Where the token set stands, when not at the top. A refresh reply without that place is read at the top.
        root: Option<String>,
        /// One consent, several grants: slot name to root. The first is the connection that was asked for.
        roots_by_kind: Map<String>,
        unwrap_first: bool,
        /// What must hold for a 200 to be a success.
        ok: Option<Predicate>,
        content: Content,
        fields: Fields,
        expires: Expires,
        scope_form: ScopeForm,
        token_type: TokenTypeCheck,
        /// Pointer to what becomes of it.
        capture: Map<Capture>,
    }
);
table!(Predicate { ptr: String, equals: Option<serde_json::Value>, absent: bool, is_in: Vec<serde_json::Value> });
keyword!(Content {
    #[default]
    Json,
    Form,
    JsonAnyType
});
table!(Fields {
    access: Vec<String> = vec!["/access_token".into()],
    refresh: Vec<String> = vec!["/refresh_token".into()],
    token_type: Vec<String> = vec!["/token_type".into()],
    scope: Vec<String> = vec!["/scope".into()],
    id_token: Vec<String> = vec!["/id_token".into()],
});
table!(Expires {
    access: Expiry = Expiry { ptr: "/expires_in".into(), ..Expiry::default() },
    refresh: Expiry = Expiry { ptr: "/refresh_token_expires_in".into(), ..Expiry::default() },
    earliest_refresh: Option<Expiry>,
});
table!(Expiry {
    ptr: String,
    form: ExpiryForm,
    zero_means_never: bool,
    /// Seconds to assume when the reply does not say; without it, unknown.
    default: Option<u64>,
});
keyword!(ExpiryForm {
    #[default]
    Seconds,
    Millis,
    EpochS,
    EpochMs,
    Iso8601
});
keyword!(ScopeForm {
    #[default]
    Space,
    Comma,
    SpaceOrComma,
    Array,
    FromCallback,
    AbsentUnknown
});
keyword!(TokenTypeCheck {
    /// Must be there and be `Bearer`, in any case.
    #[default]
    Bearer,
    /// May be missing; otherwise as `bearer`.
    Optional,
    /// Whatever it says.
    Any,
});
