//! A statement with its values inside.
//!
//! Text and bytes are written as hexadecimal digits, so that no value can end its literal, whatever the server's
//! settings for quoting.

use std::fmt::Write as _;

use crate::engine::Value;

/// Puts the values where the parameters stand. The statement is our own, and has `$` nowhere else.
pub(super) fn with_literals(sql: &str, values: &[Value<'_>]) -> String {
    let mut text = String::with_capacity(sql.len() + 64 * values.len());
    let mut parts = sql.split('$');
    text.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, rest) = part.split_at(digits);
        let index: usize = number.parse().unwrap_or(0);
        match values.get(index.wrapping_sub(1)) {
            Some(value) => push(&mut text, *value),
            // Left as it stands, the server refuses it.
            None => text.extend(["$", number]),
        }
        text.push_str(rest);
    }
    text
}

fn push(text: &mut String, value: Value<'_>) {
    match value {
        Value::Int(value) | Value::MaybeInt(Some(value)) => {
            text.extend(["CAST('", &value.to_string(), "' AS bigint)"]);
        }
        Value::MaybeInt(None) => text.push_str("CAST(NULL AS bigint)"),
        Value::Text(value) | Value::MaybeText(Some(value)) => {
            text.push_str("convert_from(decode('");
            push_hex(text, value.as_bytes());
            text.push_str("', 'hex'), 'UTF8')");
        }
        Value::MaybeText(None) => text.push_str("CAST(NULL AS text)"),
        Value::Bytes(value) => {
            text.push_str("decode('");
            push_hex(text, value);
            text.push_str("', 'hex')");
        }
    }
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::values;

    #[test]
    fn values_stand_where_the_parameters_were() {
        let values = values!["o'br$1", i64::MIN, &[0u8, 255] as &[u8], None::<i64>];
        assert_eq!(
            with_literals("SELECT $1, $2 FROM t WHERE a = $3 AND $2 < $4", &values),
            "SELECT convert_from(decode('6f2762722431', 'hex'), 'UTF8'), \
             CAST('-9223372036854775808' AS bigint) FROM t WHERE a = decode('00ff', 'hex') \
             AND CAST('-9223372036854775808' AS bigint) < CAST(NULL AS bigint)"
        );
    }

    #[test]
    fn two_digits_are_one_number() {
        let mut values = vec![Value::Int(0); 12];
        values[11] = Value::Int(7);
        assert_eq!(with_literals("$12", &values), "CAST('7' AS bigint)");
    }
}
