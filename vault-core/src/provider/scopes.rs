//! What operators and callers may add to an authorization request.

use std::collections::BTreeMap;

use super::spec::Spec;
use crate::error::{Error, ErrorKind};

/// Parameters that the vault alone sets. Changing one would undo a protection or redirect the answer; the last four
/// replace the request as a whole or are secrets.
const RESERVED: [&str; 13] = [
    "client_id",
    "code_challenge",
    "code_challenge_method",
    "nonce",
    "redirect_uri",
    "response_mode",
    "response_type",
    "scope",
    "state",
    "client_secret",
    "code_verifier",
    "request",
    "request_uri",
];

/// Checks scopes against RFC 6749 3.3 and merges exact duplicates, keeping the order.
pub(crate) fn check_scopes(scopes: &[String]) -> Result<Vec<String>, Error> {
    let mut kept: Vec<String> = Vec::with_capacity(scopes.len());
    for (index, scope) in scopes.iter().enumerate() {
        if !is_scope(scope) {
            return Err(invalid_scope(index));
        }
        if !kept.contains(scope) {
            kept.push(scope.clone());
        }
    }
    Ok(kept)
}

pub(super) fn invalid_scope(index: usize) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("invalid scope at index {index}"))
}

/// Refuses parameters of an authorization request that belong to the vault, under their standard names and under the
/// provider's.
pub(crate) fn check_extra_params(spec: &Spec, params: &BTreeMap<String, String>) -> Result<(), Error> {
    match params.keys().find(|name| is_reserved(spec, name)) {
        Some(name) => {
            Err(Error::new(ErrorKind::InvalidInput, format!("reserved parameter `{}`", name.escape_debug())))
        }
        None => Ok(()),
    }
}

/// Some servers compare names without case, so this does too.
pub(super) fn is_reserved(spec: &Spec, name: &str) -> bool {
    let authorize = &spec.authorize;
    let own = [&authorize.scope.param].into_iter();
    let own = own.chain(&authorize.scope.optional_param).chain(authorize.rename.values());
    name.is_empty()
        || is_standard(name)
        || own.into_iter().any(|reserved| reserved.eq_ignore_ascii_case(name))
}

pub(super) fn is_standard(name: &str) -> bool {
    RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name))
}

fn is_scope(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn c04_bad_scopes_are_named_by_index() {
        for bad in ["a b", "a\"", "a\\b", "a\n", "ä", "", "\u{7f}", " "] {
            let error = check_scopes(&strings(&["ok", bad])).expect_err(bad);
            assert_eq!(*error.kind(), ErrorKind::InvalidInput);
            assert_eq!(error.to_string(), "invalid scope at index 1");
        }
    }

    #[test]
    fn c04_exact_duplicates_are_merged_in_order() {
        let kept = check_scopes(&strings(&["b", "https://as.example/a:b.c", "b", "B"])).expect("valid");
        assert_eq!(kept, ["b", "https://as.example/a:b.c", "B"]);
    }

    #[test]
    fn c07_reserved_parameters_are_refused() {
        let spec: Spec = toml::from_str(
            r#"
            [authorize]
            rename = { client_id = "client_key" }
            scope = { param = "user_scope", optional_param = "optional_scope" }
            "#,
        )
        .expect("spec");
        let check = |name: &str| check_extra_params(&spec, &BTreeMap::from([(name.into(), "x".into())]));
        for name in RESERVED.iter().chain(&["client_key", "user_scope", "optional_scope", "State"]) {
            let error = check(name).expect_err(name);
            assert_eq!(error.to_string(), format!("reserved parameter `{name}`"));
        }
        assert!(check("").is_err());
        for name in ["prompt", "login_hint", "access_type"] {
            assert!(check(name).is_ok(), "{name}");
        }
    }
}
