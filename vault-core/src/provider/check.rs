//! Whether a provider file holds together. Everything that can be known at load is refused at load.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};
use regex_lite::Regex;
use url::Url;

use super::scopes::{check_scopes, is_reserved, is_standard};
use super::spec::{Call, Capture, Class, Discovery, ErrorRule, IdentitySource, Param, PkceMode, Spec};
use super::template::Template;
use super::url_rules::{check_issuer, is_dns_name};
use super::vars;
use crate::error::{Error, ErrorKind};

type Checked = Result<(), Error>;

/// Headers that belong to the vault or to HTTP itself.
const OWN_HEADERS: [&str; 7] =
    ["authorization", "connection", "content-length", "content-type", "cookie", "host", "transfer-encoding"];

pub(super) fn check(spec: &Spec) -> Checked {
    check_front(spec)?;
    check_urls(spec)?;
    check_authorize(spec)?;
    check_calls(spec)?;
    check_pointers(spec)?;
    spec.errors.iter().enumerate().try_for_each(|(index, rule)| {
        check_rule(rule).map_err(|error| at(&format!("errors[{index}]"), &error))
    })
}

pub(super) fn is_slug(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b))
}

/// The same error, with the place in front.
pub(super) fn at(place: &str, error: &Error) -> Error {
    Error::new(error.kind().clone(), format!("{place}: {error}"))
}

pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidConfig, message.into())
}

fn ensure(holds: bool, message: &str) -> Checked {
    if holds { Ok(()) } else { Err(invalid(message)) }
}

fn check_front(spec: &Spec) -> Checked {
    ensure(is_slug(&spec.id), "`id` must be 1 to 64 lower-case letters, digits, `_` and `-`")?;
    ensure(!spec.name.is_empty(), "`name` is missing")?;
    ensure(
        matches!(spec.confidence.as_str(), "" | "high" | "medium" | "low"),
        "`confidence` must be `high`, `medium` or `low`",
    )?;
    ensure(!spec.client_auth.kinds.is_empty(), "`client_auth.kinds` is empty")
}

fn check_urls(spec: &Spec) -> Checked {
    let endpoints = &spec.endpoints;
    match &endpoints.discovery {
        Some(discovery) => check_discovery(discovery, endpoints.issuer.is_some())?,
        None => {
            ensure(endpoints.authorize.is_some(), "`endpoints.authorize` is missing")?;
            ensure(endpoints.token.is_some(), "`endpoints.token` is missing")?;
        }
    }
    let query = endpoints.issuer.as_ref().is_some_and(|issuer| issuer.contains('?'));
    ensure(!query, "`endpoints.issuer` has a query")?;
    spec.vars.iter().try_for_each(|(name, var)| vars::check_declaration(name, var))?;
    let mut used = Vec::new();
    for (field, text) in templates(spec) {
        let template = Template::parse(field, text)?;
        template.check(spec)?;
        used.extend(template.names());
    }
    match spec.vars.keys().find(|name| !used.contains(&name.as_str())) {
        Some(name) => Err(invalid(format!("variable `{name}` is declared and not used"))),
        None => Ok(()),
    }
}

fn check_discovery(discovery: &Discovery, has_issuer: bool) -> Checked {
    ensure(has_issuer, "`endpoints.discovery` needs `endpoints.issuer`")?;
    if let Some(template) = &discovery.issuer_template {
        check_issuer("discovery.issuer_template", &template.replace(['{', '}'], ""))?;
    }
    ensure(
        discovery.endpoint_hosts.iter().all(|host| is_host(host)),
        "`endpoints.discovery.endpoint_hosts` must be lower-case host names, with a port where it is not 443",
    )
}

fn is_host(text: &str) -> bool {
    let (name, port) = text.split_once(':').unwrap_or((text, "443"));
    is_dns_name(name) && port.parse::<u16>().is_ok()
}

/// Every URL template of a file, by its name in errors.
fn templates(spec: &Spec) -> impl Iterator<Item = (&'static str, &str)> {
    let from = &spec.endpoints;
    let discovery = from.discovery.as_ref();
    let identity = spec.identity.call.as_ref();
    [
        ("issuer", &from.issuer),
        ("authorize", &from.authorize),
        ("token", &from.token),
        ("refresh", &from.refresh),
        ("revoke", &from.revoke),
        ("jwks", &from.jwks),
        ("userinfo", &from.userinfo),
        ("exchange.url", &spec.exchange.url),
        ("refresh.url", &spec.refresh.url),
    ]
    .into_iter()
    .chain(discovery.map(|discovery| ("discovery", &discovery.url)))
    .chain(identity.map(|call| ("identity.call.url", &call.url)))
    .chain(spec.post_exchange.iter().map(|call| ("post_exchange.url", &call.url)))
    .filter_map(|(field, text)| Some((field, text.as_deref()?)))
}

fn check_authorize(spec: &Spec) -> Checked {
    let authorize = &spec.authorize;
    if let Some(name) = authorize.params.keys().find(|name| is_reserved(spec, name)) {
        let name = name.escape_debug();
        return Err(invalid(format!("reserved parameter `{name}` in `authorize.params`")));
    }
    for (standard, own) in &authorize.rename {
        // The callback brings `state` back under its own name; leaving out another would undo a protection.
        let kept = !own.is_empty() || standard == "response_type" || !is_standard(standard);
        let free = standard != "state" && (own == standard || !is_standard(own));
        ensure(kept && free, &format!("`authorize.rename.{standard}` may not be `{own}`"))?;
    }
    let pkce = &authorize.pkce;
    ensure(
        pkce.method_label.eq_ignore_ascii_case("S256"),
        "`authorize.pkce.method_label` may only be a spelling of `S256`",
    )?;
    let reasoned = pkce.reason.as_ref().is_some_and(|reason| !reason.trim().is_empty());
    ensure(
        pkce.mode != PkceMode::Unsupported || reasoned,
        "`authorize.pkce.mode = \"unsupported\"` needs `authorize.pkce.reason`",
    )?;
    let scope = &authorize.scope;
    ensure(
        !scope.separator.is_empty() && !scope.param.is_empty(),
        "`authorize.scope` needs a separator and a param",
    )?;
    for (field, scopes) in [
        ("authorize.scope.defaults", &scope.defaults),
        ("authorize.scope.required_for_refresh", &scope.required_for_refresh),
        ("identity.needs_scopes", &spec.identity.needs_scopes),
    ] {
        check_scopes(scopes).map_err(|error| invalid(format!("`{field}`: {error}")))?;
    }
    if let Some(resource) = &authorize.resource {
        let absolute = Url::parse(resource).is_ok_and(|url| url.fragment().is_none());
        ensure(absolute, "`authorize.resource` must be an absolute URI without fragment")?;
    }
    let suffix = authorize.url_suffix.as_deref().unwrap_or("#");
    ensure(
        suffix.starts_with('#') && suffix.bytes().all(|b| b.is_ascii_graphic()),
        "`authorize.url_suffix` must be a fragment",
    )
}

fn check_calls(spec: &Spec) -> Checked {
    check_call(&spec.exchange, &["callback", "state"]).map_err(|error| at("exchange", &error))?;
    check_call(&spec.refresh, &["conn"]).map_err(|error| at("refresh", &error))?;
    for call in &spec.post_exchange {
        check_call(call, &["callback", "conn"]).map_err(|error| at("post_exchange", &error))?;
    }
    let verified = spec.exchange.rename.get("code_verifier").is_none_or(|own| !own.is_empty());
    ensure(
        verified || spec.authorize.pkce.mode == PkceMode::Unsupported,
        "`exchange.rename.code_verifier` may not leave the verifier out",
    )?;
    let (identity, present) = (&spec.identity, &spec.present);
    if let Some(call) = &identity.call {
        check_headers(&call.headers).map_err(|error| at("identity.call", &error))?;
    }
    let asks = identity.call.as_ref().is_some_and(|call| call.body.is_some());
    ensure(
        asks || identity.source != IdentitySource::Graphql,
        "`identity.source = \"graphql\"` needs `identity.call.body`",
    )?;
    ensure(
        HeaderName::try_from(&present.header).is_ok() && HeaderValue::from_str(&present.scheme).is_ok(),
        "`present.header` and `present.scheme` must fit into a header",
    )?;
    check_headers(&present.extra_headers).map_err(|error| at("present", &error))
}

/// `sources` are those that are known when the call is made.
fn check_call(call: &Call, sources: &[&str]) -> Checked {
    for (name, param) in &call.params {
        if let Param::From { from } = param {
            let (source, field) = from.split_once('.').unwrap_or((from, ""));
            let whole = (source == "state") == field.is_empty();
            ensure(
                whole && sources.contains(&source),
                &format!("`params.{name}` cannot come from `{}`", from.escape_debug()),
            )?;
        }
        let secret = ["client_secret", "code", "code_verifier", "refresh_token"].contains(&name.as_str());
        ensure(!secret, &format!("reserved parameter `{name}`"))?;
    }
    ensure(HeaderValue::from_str(&call.accept).is_ok(), "`accept` is not a header value")?;
    check_headers(&call.headers)
}

fn check_headers(headers: &BTreeMap<String, String>) -> Checked {
    for (name, value) in headers {
        let own = OWN_HEADERS.iter().any(|header| header.eq_ignore_ascii_case(name));
        let valid = HeaderName::try_from(name).is_ok() && HeaderValue::from_str(value).is_ok();
        ensure(valid && !own, &format!("header `{}` may not be set", name.escape_debug()))?;
    }
    Ok(())
}

fn check_pointers(spec: &Spec) -> Checked {
    let reply = &spec.response;
    let (fields, expires, identity) = (&reply.fields, &reply.expires, &spec.identity);
    let lists = [
        ("response.fields.access", &fields.access),
        ("response.fields.refresh", &fields.refresh),
        ("response.fields.token_type", &fields.token_type),
        ("response.fields.scope", &fields.scope),
        ("response.fields.id_token", &fields.id_token),
        ("identity.id", &identity.id),
        ("identity.email", &identity.email),
        ("identity.name", &identity.name),
    ];
    ensure(!fields.access.is_empty(), "`response.fields.access` is empty")?;
    for (field, pointers) in lists {
        pointers.iter().try_for_each(|text| check_pointer(field, text))?;
    }
    let roots = reply.root.iter().chain(reply.roots_by_kind.values());
    let expiries = [&expires.access, &expires.refresh].into_iter().chain(&expires.earliest_refresh);
    // Where nothing is a place too: the top, or a reply that never says.
    let optional =
        roots.chain(&identity.root).chain(expiries.map(|expiry| &expiry.ptr)).filter(|text| !text.is_empty());
    let captured = reply.capture.keys().chain(reply.ok.iter().map(|ok| &ok.ptr));
    for text in optional.chain(captured) {
        check_pointer("response", text)?;
    }
    check_captures("response.capture", spec, &reply.capture)?;
    check_captures("callback.capture", spec, &spec.callback.capture)
}

fn check_captures(field: &str, spec: &Spec, captures: &BTreeMap<String, Capture>) -> Checked {
    for (place, capture) in captures {
        ensure(
            vars::is_name(&capture.field),
            &format!("`{field}.{place}` needs a `field` of lower-case letters, digits and `_`"),
        )?;
        let declared = capture.var.as_ref().is_none_or(|var| spec.vars.contains_key(var));
        ensure(declared, &format!("`{field}.{place}` fills an undeclared variable"))?;
    }
    Ok(())
}

/// RFC 6901; the whole document is not a place.
fn check_pointer(field: &str, text: &str) -> Checked {
    let escaped = text.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
    ensure(
        text.starts_with('/') && escaped,
        &format!("`{field}`: `{}` is not a JSON pointer", text.escape_debug()),
    )
}

fn check_rule(rule: &ErrorRule) -> Checked {
    let tests_text = rule.equals.is_some() || rule.regex.is_some();
    ensure(
        tests_text || rule.ptr.is_some() || !rule.status.is_empty(),
        "a rule needs a `status`, a `ptr` or a text to look for",
    )?;
    ensure(rule.status.iter().all(|status| (200..600).contains(status)), "`status` is not an HTTP status")?;
    let server_fault = rule.status.iter().any(|status| *status >= 500);
    ensure(
        !(server_fault && rule.class == Class::InvalidGrant),
        "a server's fault never proves a dead grant",
    )?;
    if let Some(Err(error)) = rule.regex.as_deref().map(Regex::new) {
        return Err(invalid(format!("invalid `regex`: {error}")));
    }
    let after = rule.retry_after.iter().filter(|text| *text != "header");
    after.chain(&rule.ptr).chain(&rule.forward).try_for_each(|text| check_pointer("ptr", text))
}
