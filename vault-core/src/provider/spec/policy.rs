//! What happens to a grant after it was given.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Map;

table!(RefreshPolicy {
    credential: RefreshCredential,
    rotation: Rotation,
    absent_in_reply: AbsentRefresh,
    reuse: Reuse,
    /// Seconds after which a request of unknown outcome is over; follows from `reuse` when not given.
    settle: Option<u64>,
    old_access: OldAccess,
    /// Idle life of the refresh token, in seconds.
    idle_lifetime: Option<u64>,
    /// Seconds from consent to the hard end of the grant.
    absolute_lifetime: Option<u64>,
    /// Not before so many seconds after the last refresh.
    earliest: Option<u64>,
    /// At least so many seconds between refreshes of one connection.
    min_interval: Option<u64>,
    /// At most so many refreshes at once.
    concurrency: Option<u32>,
    /// Seconds ahead of expiry to refresh.
    early_by: Option<u64>,
    proactive: bool = true,
    /// What asks for an access token for another audience, where there is such a thing.
    audience: Option<AudienceParam>,
});
impl RefreshPolicy {
    /// How long to wait after a refresh of unknown outcome until the same refresh token may be sent again: longer than
    /// the request can live, so that two never race; for a provider with a leeway, well inside it.
    pub(crate) fn settle(&self, http_timeout: Duration) -> Duration {
        const MARGIN: Duration = Duration::from_secs(5);
        if let Some(secs) = self.settle {
            return Duration::from_secs(secs);
        }
        match self.reuse {
            Reuse::Static => Duration::ZERO,
            Reuse::Strict => Duration::from_secs(30),
            Reuse::Family => Duration::from_secs(60),
            Reuse::Leeway { secs, .. } | Reuse::Idempotent { secs } => {
                (http_timeout + MARGIN).min(Duration::from_secs(secs) / 2)
            }
        }
    }

    /// For how long after its first use a spent refresh token still brings tokens.
    pub(crate) const fn leeway(&self) -> Option<Duration> {
        match self.reuse {
            Reuse::Leeway { secs, .. } | Reuse::Idempotent { secs } => Some(Duration::from_secs(secs)),
            Reuse::Static | Reuse::Strict | Reuse::Family => None,
        }
    }
}

keyword!(
    /// RFC 8707 calls it `resource`, some providers `audience`.
    AudienceParam { #[default] Resource, Audience }
);
impl AudienceParam {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Resource => "resource",
            Self::Audience => "audience",
        }
    }
}

keyword!(RefreshCredential {
    #[default]
    RefreshToken,
    AccessToken,
    ClientCredentials,
    None
});
keyword!(Rotation {
    Static,
    Always,
    Lazy,
    Soft,
    NearExpiry,
    Setting,
    #[default]
    Unknown
});
keyword!(AbsentRefresh {
    #[default]
    Keep,
    Error
});
keyword!(OldAccess {
    Lives,
    Dies,
    #[default]
    Unknown
});

/// What happens when a spent refresh token is sent again; unknown means the worst.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "mode", deny_unknown_fields)]
pub(crate) enum Reuse {
    /// It is not spent by use.
    Static,
    /// `invalid_grant`.
    Strict,
    /// The whole grant dies.
    #[default]
    Family,
    /// It works for so long; the replies are siblings, or only the latest lives.
    Leeway {
        secs: u64,
        #[serde(default)]
        replies: LeewayReplies,
    },
    /// The same reply again for so long.
    Idempotent { secs: u64 },
}
keyword!(LeewayReplies {
    #[default]
    Siblings,
    Latest
});

table!(Grants { concurrency: GrantConcurrency, cap: Option<u32> });
keyword!(GrantConcurrency {
    #[default]
    Independent,
    Capped,
    LatestWins,
    Shared
});

table!(
    /// How the token is shown to the provider's API.
    Present {
        scheme: String = "Bearer".into(),
        header: String = "Authorization".into(),
        extra_headers: Map<String>,
        api_host: Option<String>,
    }
);

table!(Identity {
    source: IdentitySource,
    /// For `userinfo` and `graphql`.
    call: Option<IdentityCall>,
    root: Option<String>,
    id: Vec<String> = vec!["/sub".into()],
    email: Vec<String> = vec!["/email".into()],
    name: Vec<String> = vec!["/name".into()],
    /// Asked only when one of these was granted; empty means always.
    needs_scopes: Vec<String>,
});
keyword!(IdentitySource {
    Userinfo,
    IdToken,
    TokenResponse,
    Introspection,
    Graphql,
    Callback,
    TokenPrefix,
    #[default]
    None
});
table!(IdentityCall { url: Option<String>, method: IdentityMethod, body: Option<String>, headers: Map<String> });
keyword!(IdentityMethod {
    #[default]
    Get,
    Post
});

table!(Revoke {
    shape: RevokeShape,
    which: RevokeWhich,
    needs_live_access: bool,
    radius: Radius,
    /// Statuses besides 200 that mean the token is dead.
    success: Vec<u16>,
});
keyword!(RevokeShape {
    #[default]
    Rfc7009,
    Rfc7009Noauth,
    DeleteBearer,
    DeleteBasicJson,
    PostBearer,
    JsonCustom,
    None
});
keyword!(RevokeWhich {
    #[default]
    Refresh,
    Access,
    Both
});
keyword!(Radius {
    #[default]
    Token,
    Grant,
    AppInstall,
    AccountAll
});

table!(ErrorRule {
    status: Vec<u16>,
    ptr: Option<String>,
    equals: Option<String>,
    regex: Option<String>,
    phase: Option<Phase>,
    class: Class,
    /// `header`, or a pointer.
    retry_after: Option<String>,
    /// Pointer to what the next authorization request must carry.
    forward: Option<String>,
});
keyword!(Phase {
    #[default]
    Authorize,
    Exchange,
    Refresh,
    Revoke,
    Api
});
keyword!(
    /// What an error reply means for the grant.
    Class {
        InvalidGrant, InteractionRequired, ClientMisconfigured, Throttled, #[default] Transient, Denied,
    }
);
keyword!(ScopesCheck {
    #[default]
    Exact,
    SubsetOk,
    Unknown
});
