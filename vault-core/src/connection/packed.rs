use bytes::Bytes;

use crate::error::{Error, ErrorKind};
use crate::id::{ConnectionKey, Incarnation};
use crate::store::ConnectionStatus;

/// What a token read needs, in the one value that a store reads for it: status, incarnation and generation in clear,
/// then the sealed credential, which is bound to incarnation and generation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packed<'a> {
    pub(crate) status: ConnectionStatus,
    pub(crate) incarnation: Incarnation,
    pub(crate) generation: u64,
    pub(crate) sealed: &'a [u8],
}

/// How many bytes are in front of the sealed credential.
pub(super) const HEADER: usize = 1 + 16 + 8;

impl<'a> Packed<'a> {
    pub(crate) fn parse(key: &ConnectionKey, bytes: &'a [u8]) -> Result<Self, Error> {
        let corrupt = || {
            Error::new(ErrorKind::CorruptRecord, format!("{key}: its credential is truncated or not ours"))
        };
        let (status, rest) = bytes.split_first().ok_or_else(corrupt)?;
        let (incarnation, rest) = rest.split_first_chunk::<16>().ok_or_else(corrupt)?;
        let (generation, sealed) = rest.split_first_chunk::<8>().ok_or_else(corrupt)?;
        Ok(Self {
            status: ConnectionStatus::from_code(*status).ok_or_else(corrupt)?,
            incarnation: Incarnation::from_bytes(*incarnation),
            generation: u64::from_be_bytes(*generation),
            sealed,
        })
    }

    pub(crate) fn to_bytes(self) -> Bytes {
        let mut out = Vec::with_capacity(HEADER + self.sealed.len());
        out.push(self.status.code());
        out.extend_from_slice(self.incarnation.as_bytes());
        out.extend_from_slice(&self.generation.to_be_bytes());
        out.extend_from_slice(self.sealed);
        out.into()
    }
}
