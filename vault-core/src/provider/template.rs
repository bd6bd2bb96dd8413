//! URL templates: `https://{tenant}.example.com/realms/{realm}/token`.
//!
//! Variables stand in the host or in the path, nowhere else, and only where they are written as `{name}`. A value is
//! checked against its position before it goes in, and the result is parsed to see that it is the URL that was meant.

use url::Url;

use super::endpoints::Vars;
use super::spec::{Spec, VarPosition};
use super::url_rules::{endpoint_url, host_of, split};
use super::vars;
use crate::error::{Error, ErrorKind};

#[derive(Debug)]
pub(super) struct Template<'a> {
    field: &'a str,
    scheme: &'static str,
    authority: Vec<Part<'a>>,
    path: Vec<Part<'a>>,
    query: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part<'a> {
    Literal(&'a str),
    Var(&'a str),
}

impl<'a> Template<'a> {
    /// `field` is the template's name in the provider file.
    pub(super) fn parse(field: &'a str, text: &'a str) -> Result<Self, Error> {
        let Some(parts) = split(text) else {
            return Err(endpoint_url(field, text).err().unwrap_or_else(|| malformed(field)));
        };
        let (path, query) = parts.rest.split_at(parts.rest.find(['?', '#']).unwrap_or(parts.rest.len()));
        Ok(Self {
            field,
            scheme: parts.scheme,
            authority: parse_parts(field, parts.authority)?,
            path: parse_parts(field, path)?,
            query,
        })
    }

    /// The variables in it.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.authority.iter().chain(&self.path).filter_map(|part| match part {
            Part::Var(name) => Some(*name),
            Part::Literal(_) => None,
        })
    }

    /// Every variable is declared and stands where its declaration says.
    pub(super) fn check(&self, spec: &Spec) -> Result<(), Error> {
        for name in self.names() {
            let Some(var) = vars::declared(spec, name) else {
                let message = format!("`{}` uses the undeclared variable `{name}`", self.field);
                return Err(Error::new(ErrorKind::InvalidConfig, message));
            };
            if !self.stands_right(name, var.position) {
                let message = format!("variable `{name}` is at the wrong position in `{}`", self.field);
                return Err(Error::new(ErrorKind::InvalidConfig, message));
            }
        }
        self.render(|name| Ok(vars::declared(spec, name).map_or("", vars::sample))).map(drop)
    }

    fn stands_right(&self, name: &'a str, position: VarPosition) -> bool {
        let here = Part::Var(name);
        match position {
            VarPosition::HostLabel => !self.path.contains(&here),
            VarPosition::Path => !self.authority.contains(&here),
            VarPosition::RegionEnum => true,
            VarPosition::FullHost => {
                let whole = match self.authority.as_slice() {
                    [_] => true,
                    [_, Part::Literal(port)] => host_of(port).is_empty(),
                    _ => false,
                };
                whole && !self.path.contains(&here)
            }
        }
    }

    /// Fills in values, which are checked here again, however often they were before.
    pub(super) fn fill(&self, spec: &Spec, vars: &Vars) -> Result<(String, Url), Error> {
        self.render(|name| {
            let value = vars.get(name).ok_or_else(|| vars::missing(name))?;
            let var = vars::declared(spec, name).ok_or_else(|| vars::unknown(name))?;
            vars::check_value(name, var, value)?;
            Ok(value)
        })
    }

    fn render<'v>(&self, value: impl Fn(&str) -> Result<&'v str, Error>) -> Result<(String, Url), Error> {
        let join = |parts: &[Part<'_>]| {
            parts.iter().try_fold(String::new(), |mut text, part| {
                text.push_str(match part {
                    Part::Literal(literal) => literal,
                    Part::Var(name) => value(name)?,
                });
                Ok::<_, Error>(text)
            })
        };
        let (authority, path) = (join(&self.authority)?, join(&self.path)?);
        let text = format!("{}://{authority}{path}{}", self.scheme, self.query);
        if split(&text).is_none_or(|parts| parts.authority != authority) {
            return Err(malformed(self.field));
        }
        let url = endpoint_url(self.field, &text)?;
        Ok((text, url))
    }
}

fn parse_parts<'a>(field: &str, mut text: &'a str) -> Result<Vec<Part<'a>>, Error> {
    let mut parts = Vec::new();
    while let Some(start) = text.find(['{', '}']) {
        let (literal, after) = text.split_at(start);
        let (name, tail) = after
            .strip_prefix('{')
            .and_then(|after| after.split_once('}'))
            .filter(|(name, _)| vars::is_name(name))
            .ok_or_else(|| malformed(field))?;
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        parts.push(Part::Var(name));
        text = tail;
    }
    if !text.is_empty() {
        parts.push(Part::Literal(text));
    }
    Ok(parts)
}

fn malformed(field: &str) -> Error {
    Error::new(ErrorKind::InvalidConfig, format!("`{field}` is not a URL template"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VARS: &str = r#"
        [label]
        [host]
        position = "full_host"
        [realm]
        position = "path"
        [region]
        position = "region_enum"
        values = ["com", "com.au"]
        [pinned]
        position = "full_host"
        policy = "allow_list"
        values = ["10.0.0.7", "as.corp"]
        [guarded]
        position = "full_host"
        policy = "public_host_guard"
    "#;

    fn spec() -> Spec {
        Spec { vars: toml::from_str(VARS).expect("declarations"), ..Spec::default() }
    }

    fn fill(template: &str, name: &str, value: &str) -> Result<String, String> {
        let vars = Vars::from([(name.to_owned(), value.to_owned())]);
        let template = Template::parse("token", template).expect("template");
        template.check(&spec()).expect("well placed");
        let (text, url) = template.fill(&spec(), &vars).map_err(|error| error.to_string())?;
        assert_eq!(url.as_str(), text);
        Ok(text)
    }

    #[test]
    fn d01_values_never_change_the_shape_of_a_url() {
        let hostile = [
            "evil.com/",
            "a#",
            "a?",
            "u@evil",
            "..",
            "%2f",
            "a\\b",
            "",
            "ä",
            "a ",
            " a",
            "a.",
            "a\n",
            "a:1",
            ".",
            "{label}",
            "a\u{200b}",
        ];
        let templates = [
            ("label", "https://{label}.as.example/token"),
            ("host", "https://{host}/token"),
            ("realm", "https://as.example/{realm}/token"),
            ("region", "https://as.{region}/token"),
            ("pinned", "https://{pinned}/token"),
            ("guarded", "https://{guarded}/token"),
        ];
        for (name, template) in templates {
            for value in hostile {
                assert_eq!(
                    fill(template, name, value),
                    Err(format!("invalid value for variable `{name}`")),
                    "{value:?}"
                );
            }
        }
        let long = "a".repeat(64);
        for value in [long.as_str(), "-a", "a-", "A", "a.b", "a_b", "xn--a"] {
            assert!(fill(templates[0].1, "label", value).is_err(), "{value}");
        }
        for value in [long.as_str(), "127.0.0.1", "2130706433", "0x7f.1", "[::1]", "a..b", "A.example"] {
            assert!(fill(templates[1].1, "host", value).is_err(), "{value}");
        }
        for value in ["localhost", "intranet", "a.localhost"] {
            assert!(fill(templates[5].1, "guarded", value).is_err(), "{value}");
        }
    }

    #[test]
    fn honest_values_go_in() {
        let filled = |template: &str, name: &str, value: &str| fill(template, name, value).expect(value);
        assert_eq!(
            filled("https://{label}.as.example/token", "label", "acme-1"),
            "https://acme-1.as.example/token"
        );
        assert_eq!(
            filled("https://{host}:8443/token", "host", "id.acme.example"),
            "https://id.acme.example:8443/token"
        );
        assert_eq!(
            filled("https://as.example/{realm}/token?v=2", "realm", "My.Realm_1~"),
            "https://as.example/My.Realm_1~/token?v=2"
        );
        assert_eq!(filled("https://as.{region}/token", "region", "com.au"), "https://as.com.au/token");
        assert_eq!(filled("https://{pinned}/token", "pinned", "10.0.0.7"), "https://10.0.0.7/token");
        assert_eq!(
            filled("https://api.example/apps/{client_id}/grant", "client_id", "Iv1.8a61f9b3"),
            "https://api.example/apps/Iv1.8a61f9b3/grant"
        );
    }

    #[test]
    fn d02_only_the_variable_itself_is_replaced() {
        assert_eq!(
            fill("https://{label}.as.example/token/label", "label", "token").as_deref(),
            Ok("https://token.as.example/token/label")
        );
    }

    proptest::proptest! {
        #[test]
        fn d01_no_value_at_all_leaves_its_place(value in "[ -~é\t\n]{0,12}") {
            let spec = spec();
            for (name, text) in [("label", "https://{label}.as.example/t"), ("realm", "https://as.example/{realm}/t")] {
                let template = Template::parse("token", text).expect("template");
                let vars = Vars::from([(name.to_owned(), value.clone())]);
                if let Ok((_, url)) = template.fill(&spec, &vars) {
                    let host = url.host_str().expect("a host");
                    proptest::prop_assert!(host.strip_suffix("as.example").is_some());
                    proptest::prop_assert!(url.path().ends_with("/t"));
                    proptest::prop_assert_eq!(url.as_str(), text.replace(&format!("{{{name}}}"), &value));
                }
            }
        }
    }

    #[test]
    fn templates_that_do_not_hold_together_are_refused() {
        for text in [
            "https://{label/x",
            "https://label}/x",
            "https://{}/x",
            "https://{La}/x",
            "https://{nobody}.as.example/x",
            "https://as.example/{label}",
            "https://{realm}.as.example/",
            "https://{host}.as.example/",
            "https://as.example/?x={realm}",
            "https://as.example:{realm}/",
            "http://{label}.as.example/",
            "https://{label}@as.example/",
            "{host}://as.example/",
        ] {
            let checked = Template::parse("token", text).and_then(|template| template.check(&spec()));
            assert!(checked.is_err(), "{text}");
        }
    }
}
