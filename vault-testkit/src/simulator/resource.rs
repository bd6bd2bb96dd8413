//! What access tokens are good for: who the account is, and its calendar.

use http::StatusCode;
use serde_json::{Value, json};

use super::incoming::Incoming;
use super::ledger::{TokenInfo, TokenKind};
use super::reply::Reply;
use super::world::World;

const DAY: i64 = 24 * 3600;

impl World {
    pub(super) fn userinfo(&mut self, incoming: &Incoming) -> Reply {
        let info = match self.bearer(incoming, None) {
            Ok(info) => info,
            Err(refusal) => return *refusal,
        };
        let account = self.account(&info.account);
        Reply::json(
            StatusCode::OK,
            &json!({ "sub": account.id, "email": account.email, "email_verified": true, "name": account.name }),
        )
    }

    pub(super) fn calendar(&mut self, incoming: &Incoming) -> Reply {
        let info = match self.bearer(incoming, Some("calendar.read")) {
            Ok(info) => info,
            Err(refusal) => return *refusal,
        };
        let account = self.account(&info.account);
        let today = self.now().as_millis().div_euclid(1000 * DAY) * DAY;
        let event = |title: String, start: i64, minutes: i64| -> Value {
            let start = today + start;
            json!({ "title": title, "start": rfc3339(start), "end": rfc3339(start + minutes * 60) })
        };
        let events = [
            event("Stand-up".to_owned(), 9 * 3600, 15),
            event(format!("Lunch with {}", account.name), 12 * 3600, 60),
            event("Review of the quarter".to_owned(), DAY + 14 * 3600, 90),
        ];
        Reply::json(StatusCode::OK, &json!({ "account": account.email, "events": events }))
    }

    /// The token of the request, RFC 6750.
    fn bearer(&self, incoming: &Incoming, scope: Option<&str>) -> Result<TokenInfo, Box<Reply>> {
        let refuse = |status, challenge: &str| Box::new(Reply::bearer_refusal(status, challenge));
        let token = incoming
            .bearer()
            .ok_or_else(|| refuse(StatusCode::UNAUTHORIZED, "Bearer realm=\"simulator\""))?;
        let info = self.ledger.live(token, TokenKind::Access, self.now()).ok_or_else(|| {
            refuse(StatusCode::UNAUTHORIZED, "Bearer realm=\"simulator\", error=\"invalid_token\"")
        })?;
        if let Some(scope) = scope
            && !info.scopes.iter().any(|granted| granted == scope)
        {
            let challenge =
                format!("Bearer realm=\"simulator\", error=\"insufficient_scope\", scope=\"{scope}\"");
            return Err(refuse(StatusCode::FORBIDDEN, &challenge));
        }
        Ok(info.clone())
    }
}

/// Seconds since 1970 as a date and time in UTC.
fn rfc3339(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Howard Hinnant's `civil_from_days`: eras of 400 years that begin on the first of March.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_around_leap_days_are_right() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_772_323_200), "2026-03-01T00:00:00Z");
        assert_eq!(rfc3339(1_798_761_599), "2026-12-31T23:59:59Z");
    }
}
