//! When a token ends, from whatever form the provider states it in.
//!
//! | the reply says | taken as |
//! |---|---|
//! | a number, or a number in a string (`3600`, `"3600"`, `3600.0`) | that |
//! | zero | ended now; never ends, where the provider file says `zero_means_never` |
//! | a negative number, a moment in the past | ended now |
//! | more than ten years ahead | ten years |
//! | nothing, null, another type, text that is no number or date | the provider file's `default`; else unknown |

use std::time::Duration;

use serde_json::Value;

use super::json;
use crate::clock::Timestamp;
use crate::provider::spec::{Expiry, ExpiryForm};

const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The moment of expiry, at the earliest `now`. `None` is unknown or never.
pub(super) fn expires_at(spec: &Expiry, reply: &Value, now: Timestamp) -> Option<Timestamp> {
    let stated = json::at(reply, &spec.ptr).and_then(|value| number(value, spec.form));
    let Some(number) = stated else {
        let default = Duration::from_secs(spec.default?);
        return Some(now.saturating_add(default.min(LONGEST)));
    };
    if number == 0.0 && spec.zero_means_never {
        return None;
    }
    let now_millis = now.as_millis() as f64;
    let millis = match spec.form {
        ExpiryForm::Seconds => now_millis + number * 1000.0,
        ExpiryForm::Millis => now_millis + number,
        ExpiryForm::EpochS => number * 1000.0,
        ExpiryForm::EpochMs | ExpiryForm::Iso8601 => number,
    };
    // Casts from float saturate.
    Some(Timestamp::from_millis(millis as i64).clamp(now, now.saturating_add(LONGEST)))
}

fn number(value: &Value, form: ExpiryForm) -> Option<f64> {
    match (value, form) {
        (Value::String(text), ExpiryForm::Iso8601) => {
            let moment = chrono::DateTime::parse_from_rfc3339(text.trim()).ok()?;
            Some(moment.timestamp_millis() as f64)
        }
        (_, ExpiryForm::Iso8601) => None,
        (Value::String(text), _) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        (value, _) => value.as_f64(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_750_000_000_000);

    /// Seconds from now.
    fn ends(spec: &str, value: &Value) -> Option<i64> {
        let spec: Expiry = toml::from_str(&format!("ptr = '/x'\n{spec}")).expect("valid spec");
        let at = expires_at(&spec, &json!({ "x": value }), NOW)?;
        Some((at.as_millis() - NOW.as_millis()) / 1000)
    }

    #[test]
    fn t06_expires_in_of_every_kind() {
        let ten_years = Some(LONGEST.as_secs() as i64);
        let cases = [
            (json!(3600), Some(3600)),
            (json!("3600"), Some(3600)),
            (json!(3600.0), Some(3600)),
            (json!("3600.0"), Some(3600)),
            (json!(0), Some(0)),
            (json!("0"), Some(0)),
            (json!(-1), Some(0)),
            (json!(1e308), ten_years),
            (json!("1e308"), ten_years),
            (json!(-1e308), Some(0)),
            (json!(9_223_372_036_854_775_807_u64), ten_years),
            (json!("9223372036854775807"), ten_years),
            (json!("abc"), None),
            (json!("inf"), None),
            (json!("NaN"), None),
            (json!(""), None),
            (json!(null), None),
            (json!([]), None),
            (json!({}), None),
            (json!(true), None),
        ];
        for (value, expected) in cases {
            assert_eq!(ends("", &value), expected, "{value}");
        }
    }

    #[test]
    fn t06_the_default_steps_in_for_what_is_missing_or_senseless() {
        for value in [json!(null), json!("abc"), json!([])] {
            assert_eq!(ends("default = 60", &value), Some(60));
        }
        assert_eq!(ends("default = 60", &json!(0)), Some(0));
        assert_eq!(ends("default = 60\nzero_means_never = true", &json!(0)), None);
        assert_eq!(ends("zero_means_never = true", &json!(-5)), Some(0));
    }

    #[test]
    fn t06_forms() {
        assert_eq!(ends("form = 'millis'", &json!(3_600_000)), Some(3600));
        assert_eq!(ends("form = 'epoch_s'", &json!(1_750_000_060)), Some(60));
        assert_eq!(ends("form = 'epoch_ms'", &json!("1750000060000")), Some(60));
        assert_eq!(ends("form = 'epoch_s'", &json!(1)), Some(0));
        assert_eq!(ends("form = 'iso8601'", &json!("2025-06-15T15:07:40Z")), Some(60));
        assert_eq!(ends("form = 'iso8601'", &json!("2025-06-15T17:07:40.000+02:00")), Some(60));
        assert_eq!(ends("form = 'iso8601'", &json!("tomorrow")), None);
        assert_eq!(ends("form = 'iso8601'", &json!(1_750_000_060)), None);
        assert_eq!(ends("form = 'iso8601'", &json!("9999-12-31T23:59:59Z")), Some(LONGEST.as_secs() as i64));
    }
}
