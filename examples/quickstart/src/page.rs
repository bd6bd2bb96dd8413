//! The pages: templates, and what they show.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use axum::response::Html;
use minijinja::{Environment, Value};
use serde::Serialize;
use vault_core::ConnectionInfo;
use vault_core::store::ConnectionStatus;

pub(crate) const STYLE: &str = include_str!("../templates/style.css");

static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut templates = Environment::new();
    for (name, source) in [
        ("dashboard.html", include_str!("../templates/dashboard.html")),
        ("error.html", include_str!("../templates/error.html")),
        ("layout.html", include_str!("../templates/layout.html")),
        ("sign_in.html", include_str!("../templates/sign_in.html")),
    ] {
        templates.add_template(name, source).expect("a template that compiles");
    }
    templates
});

/// Escapes whatever is put in: the templates' names end in `.html`.
pub(crate) fn render(name: &str, context: Value) -> Html<String> {
    let template = TEMPLATES.get_template(name).expect("one of the templates above");
    Html(template.render(context).expect("a template that fits its context"))
}

/// A connection as the dashboard shows it.
#[derive(Serialize)]
pub(crate) struct Connection {
    name: Option<String>,
    email: Option<String>,
    scopes: Vec<String>,
    /// Why it has to be authorized again, if it has to.
    broken: Option<String>,
    expires: Option<String>,
    generation: u64,
    since: String,
}

impl From<ConnectionInfo> for Connection {
    fn from(info: ConnectionInfo) -> Self {
        let broken = match info.status() {
            ConnectionStatus::NeedsReauthorization(reason) => Some(reason.to_string()),
            _ => None,
        };
        Self {
            name: info.account_name().map(str::to_owned),
            email: info.account_email().map(str::to_owned),
            scopes: info.scopes().map(str::to_owned).collect(),
            broken,
            expires: info.expires_at().map(from_now),
            generation: info.generation(),
            since: httpdate::fmt_http_date(info.connected_at()),
        }
    }
}

/// `in 59 minutes`, `5 minutes ago`.
pub(crate) fn from_now(moment: SystemTime) -> String {
    match moment.duration_since(SystemTime::now()) {
        Ok(ahead) => format!("in {}", rounded(ahead)),
        Err(past) => format!("{} ago", rounded(past.duration())),
    }
}

fn rounded(span: Duration) -> String {
    let seconds = span.as_secs();
    let (count, unit) = match seconds {
        0..90 => (seconds, "second"),
        90..5_400 => ((seconds + 30) / 60, "minute"),
        5_400..129_600 => ((seconds + 1_800) / 3_600, "hour"),
        _ => ((seconds + 43_200) / 86_400, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_rounded_to_what_people_say() {
        for (seconds, said) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (89, "89 seconds"),
            (90, "2 minutes"),
            (3_599, "60 minutes"),
            (5_400, "2 hours"),
            (129_600, "2 days"),
        ] {
            assert_eq!(rounded(Duration::from_secs(seconds)), said);
        }
    }
}
