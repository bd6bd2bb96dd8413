//! What the format can say and the engine cannot do yet.

use super::spec::{
    CallbackMethod, Capture, ClientAuthKind, IdentitySource, Method, RedirectUri, RefreshCredential,
    ResponseMode, RevokeShape, Spec, VarSource,
};

/// The first field that would have to be ignored.
pub(super) fn unsupported(spec: &Spec) -> Option<&'static str> {
    let fields = [connect(spec), tokens(spec)].concat();
    fields.into_iter().find_map(|(field, found)| found.then_some(field))
}

fn connect(spec: &Spec) -> Vec<(&'static str, bool)> {
    let (authorize, callback) = (&spec.authorize, &spec.callback);
    let form_post = authorize.response_mode == ResponseMode::FormPost;
    let aliased = authorize.redirect_uri == RedirectUri::Alias;
    let provable = spec.client_auth.kinds.iter().any(|kind| can_prove(*kind));
    vec![
        ("vars.source", spec.vars.values().any(|var| is_received(var.source))),
        ("authorize.par", authorize.par),
        ("authorize.jar", authorize.jar),
        ("authorize.redirect_uri", aliased),
        ("authorize.scope.optional_param", authorize.scope.optional_param.is_some()),
        ("authorize.response_mode", form_post),
        ("callback.method", callback.method == CallbackMethod::Post),
        ("callback.hmac", callback.hmac.is_some()),
        ("callback.decode_code", callback.decode_code),
        ("callback.must_equal", !callback.must_equal.is_empty()),
        ("callback.capture.var", callback.capture.values().any(fills_var)),
        ("client_auth.kinds", !provable),
    ]
}

fn tokens(spec: &Spec) -> Vec<(&'static str, bool)> {
    use IdentitySource::{Callback, Introspection};
    use RefreshCredential::{AccessToken, ClientCredentials};
    let (exchange, refresh, identity) = (&spec.exchange, &spec.refresh, &spec.identity);
    let credential = spec.refresh_policy.credential;
    let custom = spec.revoke.shape == RevokeShape::JsonCustom;
    vec![
        ("exchange.url", exchange.url.is_some()),
        ("exchange.method", exchange.method == Method::Delete),
        ("refresh.url", refresh.url.is_some()),
        ("refresh.method", refresh.method == Method::Delete),
        ("post_exchange", !spec.post_exchange.is_empty()),
        ("response.capture.var", spec.response.capture.values().any(fills_var)),
        ("refresh_policy.credential", matches!(credential, AccessToken | ClientCredentials)),
        ("present.api_host", spec.present.api_host.is_some()),
        ("identity.source", matches!(identity.source, Callback | Introspection)),
        ("identity.call.url", identity.call.as_ref().is_some_and(|call| call.url.is_some())),
        ("revoke.shape", custom),
        ("errors.forward", spec.errors.iter().any(|rule| rule.forward.is_some())),
    ]
}

fn can_prove(kind: ClientAuthKind) -> bool {
    use ClientAuthKind::{Basic, BasicRaw, Json, None, Post, Query};
    matches!(kind, Basic | BasicRaw | Json | None | Post | Query)
}

/// Known only after the browser was sent away.
fn is_received(source: VarSource) -> bool {
    matches!(source, VarSource::Callback | VarSource::Token | VarSource::Identity)
}

fn fills_var(capture: &Capture) -> bool {
    capture.var.is_some()
}
