//! The variables of URL templates: what they may be, and checking what was given.

use std::collections::BTreeMap;

use regex_lite::Regex;
use url::Host;

use super::endpoints::Vars;
use super::spec::{Spec, Var, VarPolicy, VarPosition, VarSource};
use super::url_rules::{is_dns_name, is_label};
use crate::error::{Error, ErrorKind};

/// The one variable that every template may use undeclared. Whoever resolves endpoints adds it to the values.
pub(crate) const CLIENT_ID: &str = "client_id";

static CLIENT_ID_VAR: Var = Var {
    pattern: None,
    source: VarSource::Operator,
    position: VarPosition::Path,
    policy: VarPolicy::Regexp,
    values: Vec::new(),
    default: None,
    description: String::new(),
};

/// Checks the values given for the variables of some sources, and adds defaults.
///
/// A value for any other variable is refused, and so is a missing one without a default.
pub(crate) fn check_vars(
    spec: &Spec,
    given: BTreeMap<String, String>,
    wanted: impl Fn(VarSource) -> bool,
) -> Result<Vars, Error> {
    let asked = |name: &String| spec.vars.get(name).is_some_and(|var| wanted(var.source));
    if let Some(name) = given.keys().find(|name| !asked(name)) {
        return Err(unknown(name));
    }
    let mut vars = given;
    for (name, var) in spec.vars.iter().filter(|(_, var)| wanted(var.source)) {
        if let Some(default) = &var.default {
            vars.entry(name.clone()).or_insert_with(|| default.clone());
        }
        check_value(name, var, vars.get(name).ok_or_else(|| missing(name))?)?;
    }
    Ok(vars)
}

/// Checks one value; the error names the variable and never the value.
pub(crate) fn check_value(name: &str, var: &Var, value: &str) -> Result<(), Error> {
    let matches = match &var.pattern {
        Some(pattern) => anchored(name, pattern)?.is_match(value),
        None => true,
    };
    let listed = var.values.is_empty() || var.values.iter().any(|known| known == value);
    if matches && listed && fits(var, value) {
        Ok(())
    } else {
        let message = format!("invalid value for variable `{name}`");
        Err(Error::new(ErrorKind::InvalidInput, message))
    }
}

pub(super) fn declared<'a>(spec: &'a Spec, name: &str) -> Option<&'a Var> {
    match spec.vars.get(name) {
        None if name == CLIENT_ID => Some(&CLIENT_ID_VAR),
        var => var,
    }
}

/// Checks a declaration: its pattern, and its own values against it.
pub(super) fn check_declaration(name: &str, var: &Var) -> Result<(), Error> {
    let refuse = |why: &str| {
        let message = format!("variable `{name}` {why}");
        Err(Error::new(ErrorKind::InvalidConfig, message))
    };
    if !is_name(name) {
        return refuse("has a name that is not lower-case letters, digits and `_`");
    }
    if name == CLIENT_ID {
        return refuse("is built in");
    }
    let lists = var.policy == VarPolicy::AllowList || var.position == VarPosition::RegionEnum;
    if lists == var.values.is_empty() {
        return refuse("needs `values` for `allow_list` or `region_enum`, and only then");
    }
    let narrowed = var.pattern.is_some() || var.policy != VarPolicy::Regexp;
    if var.position == VarPosition::FullHost && var.source != VarSource::Operator && !narrowed {
        return refuse("is a host from outside: it needs a `pattern` or another `policy`");
    }
    if let Some(pattern) = &var.pattern {
        anchored(name, pattern)?;
    }
    for value in var.values.iter().chain(&var.default) {
        if check_value(name, var, value).is_err() {
            return refuse(&format!("may not have its own value `{}`", value.escape_debug()));
        }
    }
    Ok(())
}

/// Some value for trying a template out. It need not match the pattern.
pub(super) fn sample(var: &Var) -> &str {
    match (&var.default, var.values.first(), var.position) {
        (Some(value), ..) | (None, Some(value), _) => value,
        (None, None, VarPosition::FullHost) => "host.example",
        (None, None, _) => "sample",
    }
}

pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

pub(super) fn missing(name: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("missing variable `{name}`"))
}

pub(super) fn unknown(name: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("unknown variable `{}`", name.escape_debug()))
}

/// The pattern alone must be valid too, or `a)|(b` would slip out of the group.
fn anchored(name: &str, pattern: &str) -> Result<Regex, Error> {
    Regex::new(pattern).and_then(|_| Regex::new(&format!(r"\A(?:{pattern})\z"))).map_err(|error| {
        let message = format!("variable `{name}` has an invalid pattern: {error}");
        Error::new(ErrorKind::InvalidConfig, message)
    })
}

fn fits(var: &Var, value: &str) -> bool {
    match var.position {
        VarPosition::HostLabel => is_label(value) && is_domain(&format!("{value}.example")),
        VarPosition::FullHost => is_dns_name(value) && is_allowed_host(var.policy, value),
        VarPosition::Path => is_path_part(value),
        VarPosition::RegionEnum => is_dns_name(value),
    }
}

fn is_allowed_host(policy: VarPolicy, host: &str) -> bool {
    match policy {
        // Written down by the operator, so it may be an address too.
        VarPolicy::AllowList => Host::parse(host).is_ok_and(|parsed| parsed.to_string() == host),
        VarPolicy::Regexp => is_domain(host),
        VarPolicy::PublicHostGuard => is_domain(host) && host.contains('.') && !host.ends_with(".localhost"),
    }
}

/// A name that URL parsers take for a name: no address in disguise, no broken punycode.
fn is_domain(host: &str) -> bool {
    matches!(Host::parse(host), Ok(Host::Domain(name)) if name == host)
}

fn is_path_part(value: &str) -> bool {
    (1..=255).contains(&value.len())
        && !value.starts_with('.')
        && !value.ends_with('.')
        && !value.contains("..")
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(vars: &str) -> Spec {
        Spec { vars: toml::from_str(vars).expect("declarations"), ..Spec::default() }
    }

    fn given(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    const TWO: &str = r#"
        [tenant]
        position = "path"
        pattern = "common|[0-9]+"
        default = "common"
        [shop]
        source = "user"
    "#;

    #[test]
    fn values_are_asked_of_their_own_source() {
        let operator = |source| source == VarSource::Operator;
        let user = |source| source == VarSource::User;
        let check = |pairs: &[(&str, &str)], user_turn| {
            let checked = if user_turn {
                check_vars(&spec(TWO), given(pairs), user)
            } else {
                check_vars(&spec(TWO), given(pairs), operator)
            };
            checked.map_err(|error| error.to_string())
        };
        assert_eq!(check(&[], false), Ok(given(&[("tenant", "common")])));
        assert_eq!(check(&[("tenant", "42")], false), Ok(given(&[("tenant", "42")])));
        assert_eq!(check(&[("shop", "a")], false), Err("unknown variable `shop`".into()));
        assert_eq!(check(&[("nobody", "a")], true), Err("unknown variable `nobody`".into()));
        assert_eq!(check(&[], true), Err("missing variable `shop`".into()));
        assert_eq!(check(&[("shop", "a")], true), Ok(given(&[("shop", "a")])));
    }

    #[test]
    fn patterns_match_the_whole_value() {
        for value in ["common1", "x42", "42\n", "42/"] {
            let error =
                check_vars(&spec(TWO), given(&[("tenant", value)]), |source| source == VarSource::Operator)
                    .expect_err(value);
            assert_eq!(error.to_string(), "invalid value for variable `tenant`");
        }
    }

    #[test]
    fn declarations_that_promise_nothing_are_refused() {
        for text in [
            "[Tenant]",
            "[client_id]",
            "[a]\npattern = 'a)|(b'",
            "[a]\npattern = '('",
            "[a]\npolicy = 'allow_list'",
            "[a]\nposition = 'region_enum'",
            "[a]\nvalues = ['b']",
            "[a]\ndefault = 'b/c'",
            "[a]\nposition = 'region_enum'\nvalues = ['com/']",
            "[a]\nposition = 'full_host'\nsource = 'user'",
        ] {
            let spec = spec(text);
            let (name, var) = spec.vars.iter().next().expect("one");
            assert!(check_declaration(name, var).is_err(), "{text}");
        }
    }
}
