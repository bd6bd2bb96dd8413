//! From TOML to a checked spec, with errors that name the field by its whole path.

use toml::Table;

use super::check::{self, at, invalid};
use super::spec::Spec;
use crate::error::{Error, printable};

pub(super) fn table(text: &str) -> Result<Table, Error> {
    text.parse::<Table>().map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map_or(1, |before| before.matches('\n').count() + 1);
        invalid(format!("line {line}: {}", printable(error.message())))
    })
}

/// The spec in a table whose `extends` is resolved already.
pub(super) fn spec(table: Table) -> Result<Spec, Error> {
    let id = match table.get("id").and_then(toml::Value::as_str) {
        Some(id) if check::is_slug(id) => format!("provider `{id}`"),
        _ => "provider".to_owned(),
    };
    let given = table.clone();
    let spec: Spec = table.try_into().map_err(|error| at(&id, &wrong_field(&error)))?;
    // Enums with fields of their own let unknown ones pass.
    let read = serde_json::to_value(&spec).expect("string keys and no custom serialisers");
    if let Some(path) = ignored(&toml::Value::Table(given), &read) {
        return Err(at(&id, &invalid(format!("unknown field {}", printable(&path)))));
    }
    check::check(&spec).map_err(|error| at(&id, &error))?;
    Ok(spec)
}

/// The path of the first field that was given and is not in what was read.
fn ignored(given: &toml::Value, read: &serde_json::Value) -> Option<String> {
    use serde_json::Value as Json;
    use toml::Value as Toml;
    let below = |key: &str, given, read| {
        let deeper = ignored(given, read)?;
        let dot = if deeper.is_empty() { "" } else { "." };
        Some(format!("{key}{dot}{deeper}"))
    };
    match (given, read) {
        (Toml::Table(given), Json::Object(read)) => {
            given.iter().find_map(|(key, given)| match read.get(key) {
                Some(read) => below(key, given, read),
                None => Some(key.clone()),
            })
        }
        (Toml::Array(given), Json::Array(read)) => given
            .iter()
            .zip(read)
            .enumerate()
            .find_map(|(index, (given, read))| below(&index.to_string(), given, read)),
        _ => None,
    }
}

/// The parser says what is wrong in one line, and in another in which table.
fn wrong_field(error: &toml::de::Error) -> Error {
    let text = error.to_string();
    let path = text.lines().find_map(|line| line.strip_prefix("in `")?.strip_suffix('`')).unwrap_or_default();
    let message = error.message();
    let unknown = message.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`'));
    invalid(match unknown {
        Some((field, _)) if path.is_empty() => format!("unknown field {}", printable(field)),
        Some((field, _)) => format!("unknown field {path}.{}", printable(field)),
        None if path.is_empty() => printable(message),
        None => format!("{path}: {}", printable(message)),
    })
}
