//! Providers by id.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use toml::{Table, Value};

use super::check::{at, invalid, is_slug};
use super::{Provider, parse};
use crate::error::{Error, ErrorKind, printable};

/// Values that are one thing: a child's replaces the parent's, table or not.
const WHOLE: [&str; 2] = ["ok", "reuse"];

const BUILTIN: [&str; 11] = [
    include_str!("../../providers/generic_oidc.toml"),
    include_str!("../../providers/github.toml"),
    include_str!("../../providers/github_oauth_app.toml"),
    include_str!("../../providers/gmail.toml"),
    include_str!("../../providers/google.toml"),
    include_str!("../../providers/google_calendar.toml"),
    include_str!("../../providers/google_drive.toml"),
    include_str!("../../providers/linkedin.toml"),
    include_str!("../../providers/microsoft.toml"),
    include_str!("../../providers/slack.toml"),
    include_str!("../../providers/slack_bot.toml"),
];

/// The providers that a host knows. Cloning is cheap.
///
/// Registering a connector copies the provider into it, so a catalog is needed only then.
///
/// ```
/// use vault_core::Catalog;
///
/// let catalog = Catalog::builtin().with_toml(r#"
///     id = "acme_mail"
///     extends = "google"
///     name = "Mail for Acme"
///     authorize.params.hd = "acme.example"
/// "#)?;
/// assert_eq!(catalog.provider("acme_mail")?.name(), "Mail for Acme");
/// # Ok::<_, vault_core::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Catalog(Arc<BTreeMap<String, Entry>>);

#[derive(Clone)]
struct Entry {
    /// With its parent's fields, for those that extend it.
    table: Table,
    provider: Provider,
}

impl Catalog {
    /// The providers that come with the vault.
    #[must_use]
    pub fn builtin() -> Self {
        static CATALOG: LazyLock<Catalog> =
            LazyLock::new(|| Catalog::empty().with_all(BUILTIN).expect("the built-in files are tested"));
        CATALOG.clone()
    }

    /// No providers.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Adds a provider file (see [the format](crate::provider)). It may extend one that is here already.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] names the field at fault, or the id that is taken or unknown;
    /// [`ErrorKind::EndpointRefused`] names the endpoint.
    pub fn with_toml(self, text: &str) -> Result<Self, Error> {
        self.with_all([text])
    }

    /// Adds several provider files in any order; they may extend each other.
    ///
    /// # Errors
    /// As [`with_toml`](Self::with_toml), and for files that extend each other in a circle.
    pub fn with_all<'a>(mut self, texts: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        let mut waiting = BTreeMap::new();
        for text in texts {
            let table = parse::table(text)?;
            let id = string(&table, "id")?.unwrap_or_default();
            if !is_slug(&id) {
                return Err(invalid(format!("invalid provider id `{}`", printable(&id))));
            }
            if self.0.contains_key(&id) || waiting.insert(id.clone(), table).is_some() {
                return Err(invalid(format!("provider `{id}` is there already")));
            }
        }
        let known = Arc::make_mut(&mut self.0);
        while let Some((id, table)) = waiting.pop_first() {
            add(known, &mut waiting, &id, table)?;
        }
        Ok(self)
    }

    /// The provider of that id.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownProvider`] names the id.
    pub fn provider(&self, id: &str) -> Result<Provider, Error> {
        let entry = self.0.get(id).ok_or_else(|| {
            let message = format!("unknown provider `{}`", printable(id));
            Error::new(ErrorKind::UnknownProvider, message)
        })?;
        Ok(entry.provider.clone())
    }

    /// The ids of all providers, in order.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Adds one, and its parents first. Each leaves `waiting` before its parent is looked for, so a circle ends at a file
/// that is neither known nor waiting.
fn add(
    known: &mut BTreeMap<String, Entry>,
    waiting: &mut BTreeMap<String, Table>,
    id: &str,
    mut table: Table,
) -> Result<(), Error> {
    let place = format!("provider `{id}`");
    if let Some(parent) = string(&table, "extends").map_err(|error| at(&place, &error))? {
        if let Some((parent, inner)) = waiting.remove_entry(&parent) {
            add(known, waiting, &parent, inner)?;
        }
        let Some(entry) = known.get(&parent) else {
            let parent = printable(&parent);
            let message = format!("{place} extends `{parent}`, which is unknown or extends it in turn");
            return Err(invalid(message));
        };
        table.remove("extends");
        table = merged(entry.table.clone(), table);
    }
    let provider = Provider::from_table(table.clone())?;
    known.insert(id.to_owned(), Entry { table, provider });
    Ok(())
}

/// Tables are merged, everything else is replaced.
fn merged(mut parent: Table, child: Table) -> Table {
    for (key, value) in child {
        let whole = WHOLE.contains(&key.as_str());
        let value = match (parent.remove(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) if !whole => Value::Table(merged(old, new)),
            (_, value) => value,
        };
        parent.insert(key, value);
    }
    parent
}

fn string(table: &Table, key: &str) -> Result<Option<String>, Error> {
    match table.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(invalid(format!("`{key}` is not a string"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(id: &str, more: &str) -> String {
        let endpoints =
            r#"endpoints = { authorize = "https://as.example/a", token = "https://as.example/t" }"#;
        format!("id = \"{id}\"\nname = \"{id}\"\n{endpoints}\n{more}")
    }

    fn refused(texts: &[&str]) -> String {
        let error = Catalog::empty().with_all(texts.iter().copied()).expect_err("refused");
        assert_eq!(*error.kind(), ErrorKind::InvalidConfig);
        error.to_string()
    }

    #[test]
    fn c01_an_unknown_id_is_named() {
        let error = Catalog::builtin().provider("nobody\n").expect_err("unknown");
        assert_eq!(*error.kind(), ErrorKind::UnknownProvider);
        assert_eq!(error.to_string(), "unknown provider `nobody\\n`");
    }

    #[test]
    fn children_change_single_fields_and_whole_lists() {
        let parent = file(
            "parent",
            r#"
            docs = ["https://a.example", "https://b.example"]
            authorize.params = { prompt = "consent", x = "1" }
            refresh_policy = { rotation = "always", reuse = { mode = "leeway", secs = 30 } }
            "#,
        );
        let child = r#"
            id = "child"
            name = "child"
            extends = "parent"
            docs = ["https://c.example"]
            authorize.params.prompt = "none"
            refresh_policy.reuse = { mode = "static" }
        "#;
        let catalog = Catalog::empty().with_all([child, &parent]).expect("in any order");
        let provider = catalog.provider("child").expect("known");
        let spec = provider.spec();
        assert_eq!(spec.authorize.params["prompt"], "none");
        assert_eq!(spec.authorize.params["x"], "1");
        assert_eq!(spec.docs, ["https://c.example"]);
        assert_eq!(spec.refresh_policy.reuse, super::super::spec::Reuse::Static);
        assert_eq!(spec.refresh_policy.rotation, super::super::spec::Rotation::Always);
        assert_eq!(spec.endpoints.token.as_deref(), Some("https://as.example/t"));
        assert!(catalog.with_toml("id = 'grandchild'\nextends = 'child'").is_ok());
    }

    #[test]
    fn families_that_do_not_end_are_refused_by_name() {
        let circle = ["id = 'a'\nextends = 'b'", "id = 'b'\nextends = 'c'", "id = 'c'\nextends = 'a'"];
        assert!(refused(&circle).contains("provider `c` extends `a`"));
        assert!(refused(&["id = 'a'\nextends = 'a'"]).contains("extends `a`"));
        assert!(refused(&["id = 'a'\nextends = 'nobody'"]).contains("extends `nobody`"));
        assert!(refused(&["id = 'a'\nextends = 1"]).contains("`extends` is not a string"));
    }

    #[test]
    fn ids_are_taken_once() {
        let text = file("a", "");
        assert!(refused(&[&text, &text]).contains("provider `a` is there already"));
        let again = Catalog::builtin().with_toml(&file("google", ""));
        assert!(again.expect_err("taken").to_string().contains("provider `google`"));
        assert!(refused(&["name = 'x'"]).contains("invalid provider id"));
        assert!(refused(&["id = 'a b'"]).contains("invalid provider id `a b`"));
    }
}
