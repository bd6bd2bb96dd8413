//! As much of PostgreSQL's protocol as tests need to look at a server: no password, text only.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use crate::Result;

const PROTOCOL: u32 = 3 << 16;
const PATIENCE: Duration = Duration::from_secs(30);

/// The rows of an answer; a null is `None`.
pub(crate) type Rows = Vec<Vec<Option<String>>>;

/// Runs `sql` on a connection of its own, as user postgres in the database postgres.
pub(crate) fn query(port: u16, sql: &str) -> Result<Rows> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut startup = PROTOCOL.to_be_bytes().to_vec();
    startup.extend(b"user\0postgres\0database\0postgres\0\0");
    send(&mut stream, None, &startup)?;
    until_ready(&mut stream)?;
    send(&mut stream, Some(b'Q'), &[sql.as_bytes(), b"\0"].concat())?;
    let rows = until_ready(&mut stream)?;
    send(&mut stream, Some(b'X'), &[])?;
    Ok(rows)
}

fn send(stream: &mut TcpStream, kind: Option<u8>, body: &[u8]) -> Result<()> {
    let length = u32::try_from(body.len() + 4)?.to_be_bytes();
    let message: Vec<u8> = kind.into_iter().chain(length).chain(body.iter().copied()).collect();
    Ok(stream.write_all(&message)?)
}

fn until_ready(stream: &mut TcpStream) -> Result<Rows> {
    let (mut rows, mut failed) = (Rows::new(), None);
    loop {
        let mut head = [0; 5];
        // After a fatal error the server hangs up: the error is what matters.
        match (stream.read_exact(&mut head), failed.take()) {
            (Err(_), Some(error)) => return Err(error),
            (outcome, error) => (outcome?, failed = error),
        };
        let [kind, length @ ..] = head;
        let mut body = vec![0; (u32::from_be_bytes(length) as usize).saturating_sub(4)];
        stream.read_exact(&mut body)?;
        match (kind, failed.take()) {
            (b'Z', None) => return Ok(rows),
            (b'Z', Some(error)) => return Err(error),
            (b'E', _) => failed = Some(error(&body).into()),
            (b'R', _) if body != [0; 4] => return Err("the server wants a password".into()),
            (other, error) => {
                failed = error;
                if other == b'D' {
                    rows.push(row(&body).ok_or("the server sent a malformed row")?);
                }
            }
        }
    }
}

fn row(body: &[u8]) -> Option<Vec<Option<String>>> {
    let (columns, mut rest) = body.split_first_chunk()?;
    let mut row = Vec::new();
    for _ in 0..u16::from_be_bytes(*columns) {
        let (length, after) = rest.split_first_chunk()?;
        // A null has the length -1.
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
            row.push(None);
            rest = after;
            continue;
        };
        let (value, after) = after.split_at_checked(length)?;
        row.push(Some(String::from_utf8_lossy(value).into_owned()));
        rest = after;
    }
    Some(row)
}

/// `57P03: the database system is starting up`.
fn error(body: &[u8]) -> String {
    let fields = || body.split(|byte| *byte == 0).filter_map(|field| field.split_first());
    let field = |wanted| fields().find(|(kind, _)| **kind == wanted).map_or(&[][..], |(_, text)| text);
    format!("{}: {}", String::from_utf8_lossy(field(b'C')), String::from_utf8_lossy(field(b'M')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_holds_texts_and_nulls() {
        let body = [&[0, 3][..], &[0, 0, 0, 2], b"ab", &[255; 4], &[0, 0, 0, 0]].concat();
        assert_eq!(row(&body), Some(vec![Some("ab".to_owned()), None, Some(String::new())]));
        assert_eq!(row(&body[..body.len() - 1]), None);
    }

    #[test]
    fn an_error_is_code_and_message() {
        assert_eq!(error(b"SFATAL\0C57P03\0Mstarting up\0\0"), "57P03: starting up");
    }
}
