//! From a provider's reply to the shape of RFC 6749 5.1.

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};

use super::classify::{Head, Refused, malformed};
use super::json;
use super::types::{Failure, FailureClass, ReplyBody};
use crate::error::ErrorKind;
use crate::http::HttpResponse;
use crate::provider::spec::{Content, Phase, Predicate, Response, ScopeForm, Spec, TokenTypeCheck};

/// Longer tokens are refused: they would not fit into a request header anywhere.
const LONGEST_TOKEN: usize = 16 * 1024;

/// The body of a success, or why there is none.
pub(super) fn read(spec: &Spec, head: Head, response: &HttpResponse) -> Result<ReplyBody, Refused> {
    let bytes = response.body().expose_secret();
    if !head.status.is_success() {
        // Error replies are often mislabelled.
        let body = match spec.response.content {
            Content::Form => json::parse(bytes).or_else(|_| form(bytes)),
            Content::Json | Content::JsonAnyType => json::parse(bytes),
        };
        return Err(head.refusal(spec, body.ok().map(ReplyBody).as_ref()));
    }
    let body = body(spec.response.content, response.headers(), bytes)?;
    if is_success(spec.response.ok.as_ref(), &body.0) {
        Ok(body)
    } else {
        Err(head.refusal(spec, Some(&body)))
    }
}

fn body(content: Content, headers: &HeaderMap, bytes: &[u8]) -> Result<ReplyBody, Failure> {
    let media_type = headers.get(CONTENT_TYPE).map(|value| {
        let text = value.to_str().unwrap_or_default();
        text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    });
    let is_json = media_type
        .as_deref()
        .is_none_or(|media_type| media_type == "application/json" || media_type.ends_with("+json"));
    let parsed = match content {
        Content::Json if !is_json => return Err(malformed("content type")),
        Content::Form if media_type.is_none() || !is_json => form(bytes),
        Content::Form | Content::Json | Content::JsonAnyType => json::parse(bytes),
    };
    let body = ReplyBody(parsed.map_err(|_| malformed("body"))?);
    if body.0.is_object() || body.0.is_array() { Ok(body) } else { Err(malformed("body")) }
}

/// A form as a JSON object of strings. Names that come twice are refused, as in JSON.
fn form(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    use serde::de::Error as _;
    let text = std::str::from_utf8(bytes).map_err(serde_json::Error::custom)?;
    let mut fields = Map::new();
    for (name, value) in url::form_urlencoded::parse(text.trim().as_bytes()) {
        if fields.insert(name.into_owned(), Value::from(value.into_owned())).is_some() {
            return Err(serde_json::Error::custom("duplicate field"));
        }
    }
    Ok(Value::Object(fields))
}

/// Without a predicate of the provider's own, a success is what does not state an error.
fn is_success(ok: Option<&Predicate>, body: &Value) -> bool {
    let Some(ok) = ok else {
        return json::at(body, "/error").is_none_or(|error| error == "");
    };
    match json::at(body, &ok.ptr) {
        None => ok.absent,
        Some(_) if ok.absent => false,
        Some(found) => {
            ok.equals.as_ref().is_none_or(|wanted| wanted == found)
                && (ok.is_in.is_empty() || ok.is_in.contains(found))
        }
    }
}

/// The token sets in a reply.
pub(super) struct TokenSets<'a> {
    /// The one that was asked for.
    pub(super) main: &'a Value,
    /// What the same consent brought besides, by slot.
    pub(super) others: Vec<(&'a str, &'a Value)>,
}

impl<'a> TokenSets<'a> {
    /// With `root`, that is the main set and those of `roots_by_kind` come besides. Without, the main one is the first
    /// of `roots_by_kind` that holds a token. Refresh replies bring one set: there or, failing that, at the top.
    pub(super) fn find(spec: &'a Response, phase: Phase, body: &'a Value) -> Result<Self, Failure> {
        let set = |root: &str| {
            let found = json::at(body, root)?;
            let inner = if spec.unwrap_first { found.get(0)? } else { found };
            inner.is_object().then_some(inner)
        };
        let kinds = spec.roots_by_kind.iter();
        let kinds = kinds.filter_map(|(slot, root)| Some((slot.as_str(), set(root)?)));
        let mut others: Vec<_> =
            kinds.filter(|(_, set)| json::first(set, &spec.fields.access).is_some()).collect();
        let main = match &spec.root {
            None if !spec.roots_by_kind.is_empty() => others.first().map(|(_, set)| *set),
            root => set(root.as_deref().unwrap_or("")),
        };
        if phase == Phase::Refresh {
            others.clear();
        }
        let main = main.or_else(|| (phase == Phase::Refresh).then_some(body));
        let main = main.ok_or_else(|| malformed("access_token"))?;
        others.retain(|(_, set)| !std::ptr::eq(*set, main));
        Ok(Self { main, others })
    }
}

/// One token set under the RFC's names, checked.
pub(super) fn standard(spec: &Response, set: &Value) -> Result<ReplyBody, Failure> {
    let fields = &spec.fields;
    let access = token("access_token", set, &fields.access)?.ok_or_else(|| malformed("access_token"))?;
    let mut shape = ReplyBody(json!({
        "access_token": access,
        "token_type": token_type(spec.token_type, json::first(set, &fields.token_type))?,
    }));
    if let Some(refresh) = token("refresh_token", set, &fields.refresh)? {
        shape.0["refresh_token"] = Value::from(refresh);
    }
    if let Some(scope) = scope(spec.scope_form, json::first(set, &fields.scope))? {
        shape.0["scope"] = Value::from(scope);
    }
    Ok(shape)
}

/// A token: printable ASCII (RFC 6749 A.12, A.17). An empty one is as if it were not there.
pub(super) fn token<'a>(name: &str, set: &'a Value, pointers: &[String]) -> Result<Option<&'a str>, Failure> {
    let Some(found) = json::first(set, pointers) else {
        return Ok(None);
    };
    let text = found.as_str().ok_or_else(|| malformed(name))?;
    if text.len() > LONGEST_TOKEN {
        let message = format!("token too large: {name}");
        return Err(Failure::new(FailureClass::Indeterminate, ErrorKind::ProviderReplyInvalid, message));
    }
    if !text.bytes().all(|byte| (0x20..=0x7e).contains(&byte)) {
        return Err(malformed(name));
    }
    Ok(Some(text).filter(|text| !text.is_empty()))
}

fn token_type(check: TokenTypeCheck, stated: Option<&Value>) -> Result<&'static str, Failure> {
    let bearer = stated.and_then(Value::as_str).is_some_and(|text| text.eq_ignore_ascii_case("bearer"));
    match (check, stated) {
        _ if bearer => Ok("bearer"),
        (TokenTypeCheck::Any, _) | (TokenTypeCheck::Optional, None) => Ok("bearer"),
        (TokenTypeCheck::Bearer, None) => Err(malformed("token_type")),
        (TokenTypeCheck::Bearer | TokenTypeCheck::Optional, Some(_)) => Err(Failure::new(
            FailureClass::Indeterminate,
            ErrorKind::ProviderReplyInvalid,
            "unsupported token type",
        )),
    }
}

/// Granted scopes, space-delimited. An array is taken whatever the form; an empty list says nothing.
fn scope(form: ScopeForm, stated: Option<&Value>) -> Result<Option<String>, Failure> {
    let wrong = || malformed("scope");
    let parts: Vec<&str> = match stated {
        None => return Ok(None),
        Some(_) if form == ScopeForm::FromCallback => return Ok(None),
        Some(Value::Array(items)) => {
            let items: Option<_> = items.iter().map(Value::as_str).collect();
            items.ok_or_else(wrong)?
        }
        Some(stated) => split(form, stated.as_str().ok_or_else(wrong)?),
    };
    if parts.iter().any(|part| part.chars().any(|c| c.is_control() || c == ' ')) {
        return Err(wrong());
    }
    Ok(Some(parts.join(" ")).filter(|scope| !scope.is_empty()))
}

/// The scopes in a text.
pub(super) fn split(form: ScopeForm, text: &str) -> Vec<&str> {
    let comma = matches!(
        form,
        ScopeForm::Comma | ScopeForm::SpaceOrComma | ScopeForm::Array | ScopeForm::FromCallback
    );
    let parts = text.split(|c: char| c == ' ' || (comma && c == ','));
    parts.filter(|part| !part.is_empty()).collect()
}
