//! As much of Redis' protocol as tests need to look at a server.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use crate::Result;

/// A paused server must not hold a test up for ever.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a server answers; an error it answers is an [`Err`] of the call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// A string of bytes.
    Bytes(Vec<u8>),
    /// A number.
    Integer(i64),
    /// An array.
    List(Vec<Self>),
    /// No value.
    Nil,
}

impl Reply {
    /// The text of a string or number; empty for others.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::Integer(number) => number.to_string(),
            Self::List(_) | Self::Nil => String::new(),
        }
    }

    /// The replies in an array; none for others.
    #[must_use]
    pub fn list(self) -> Vec<Self> {
        if let Self::List(list) = self { list } else { Vec::new() }
    }
}

/// Sends one command on a connection of its own.
pub(crate) fn command<A: AsRef<[u8]>>(port: u16, args: &[A]) -> Result<Reply> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut request = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args.iter().map(AsRef::as_ref) {
        request.extend(format!("${}\r\n", arg.len()).bytes().chain(arg.iter().copied()).chain(*b"\r\n"));
    }
    stream.write_all(&request)?;
    let name = args.first().map(|name| String::from_utf8_lossy(name.as_ref()).into_owned());
    read(&mut BufReader::new(stream))
        .map_err(|error| format!("{} on port {port}: {error}", name.unwrap_or_default()).into())
}

fn read(stream: &mut impl BufRead) -> Result<Reply> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let line = line.strip_suffix("\r\n").ok_or("the server hung up")?;
    let (kind, rest) = line.split_at_checked(1).ok_or("the server sent an empty line")?;
    match kind {
        "+" => Ok(Reply::Bytes(rest.into())),
        "-" => Err(rest.into()),
        ":" => Ok(Reply::Integer(rest.parse()?)),
        // A nil has the length -1.
        "$" | "*" if rest == "-1" => Ok(Reply::Nil),
        "$" => {
            let mut bytes = vec![0; rest.parse::<usize>()? + 2];
            stream.read_exact(&mut bytes)?;
            bytes.truncate(bytes.len() - 2);
            Ok(Reply::Bytes(bytes))
        }
        "*" => (0..rest.parse::<usize>()?).map(|_| read(stream)).collect::<Result<_>>().map(Reply::List),
        _ => Err(format!("the server sent a line that begins with {kind}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_reply_is_read() {
        let mut wire = &b"*5\r\n+OK\r\n:-3\r\n$4\r\na\r\nb\r\n$-1\r\n*0\r\n"[..];
        let bytes = |bytes: &[u8]| Reply::Bytes(bytes.to_owned());
        assert_eq!(
            read(&mut wire).expect("the reply is whole").list(),
            [bytes(b"OK"), Reply::Integer(-3), bytes(b"a\r\nb"), Reply::Nil, Reply::List(Vec::new())]
        );
    }

    #[test]
    fn an_error_and_a_hang_up_are_errors() {
        let error = |mut wire: &[u8]| read(&mut wire).expect_err("it is an error").to_string();
        assert_eq!(error(b"-CLUSTERDOWN The cluster is down\r\n"), "CLUSTERDOWN The cluster is down");
        assert_eq!(error(b""), "the server hung up");
    }
}
