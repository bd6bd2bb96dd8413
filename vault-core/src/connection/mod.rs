//! Stored connections: sealed on the way in, opened and checked on the way out.

mod credential;
mod opened;
mod packed;
mod summary;

pub(crate) use self::credential::{Access, Credential, DEFAULT_AUDIENCE, Grant, TokenSet};
#[cfg(test)]
pub(crate) use self::opened::tests::an_opened;
pub(crate) use self::opened::{Found, Held, Opened};
pub(crate) use self::packed::Packed;
pub(crate) use self::summary::Summary;
use crate::core::Core;
use crate::error::{Error, ErrorKind};
use crate::id::{ConnectionKey, Incarnation};
use crate::seal::{Context, Purpose};
use crate::secret::SecretBytes;
use crate::store::{
    Bytes, Condition, ConnectionRecord, ConnectionStatus, Finish, FlowRecord, Put, RevocationRecord,
    StoreError,
};

/// A whole record from the primary, with its tokens.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) record: ConnectionRecord,
    pub(crate) tokens: TokenSet,
}

impl Loaded {
    /// As a token read would find it.
    pub(crate) fn opened(&self) -> Result<Opened, Error> {
        let ConnectionRecord { key, status, incarnation, generation, .. } = &self.record;
        Opened::of(key, *status, *incarnation, *generation, &self.tokens)
    }
}

impl Core {
    /// One store round trip; a replica may answer.
    pub(crate) async fn read(&self, key: &ConnectionKey) -> Result<Option<Held>, Error> {
        let cache = self.cache.as_ref().map(|cache| (cache, cache.mark(key, self.reading())));
        let read = match self.stores.connections.read_at_once(key) {
            Some(read) => read,
            None => self.stores.connections.read(key).await,
        };
        let Some(bytes) = read? else {
            self.found(key, None);
            return Ok(None);
        };
        let Packed { status, incarnation, generation, .. } = Packed::parse(key, &bytes)?;
        let plain = self.open_packed(key, incarnation, generation, bytes).await?;
        let opened = Opened::new(key, status, incarnation, generation, plain)?;
        Ok(Some(match cache {
            Some((cache, mark)) => cache.keep(key, mark, opened),
            None => Held::Own(Box::new(opened)),
        }))
    }

    /// From the primary.
    pub(crate) async fn load(&self, key: &ConnectionKey) -> Result<Option<Loaded>, Error> {
        match self.stores.connections.get(key).await? {
            Some(record) => self.open_record(key, record).await.map(Some),
            None => Ok(None),
        }
    }

    /// From the primary, as a token read finds it.
    pub(crate) async fn load_opened(&self, key: &ConnectionKey) -> Result<Option<Opened>, Error> {
        let Some(record) = self.stores.connections.get(key).await? else {
            self.found(key, None);
            return Ok(None);
        };
        let plain = self.open_whole(key, &record).await?;
        let opened = Opened::new(key, record.status, record.incarnation, record.generation, plain)?;
        self.found(key, Some(&opened));
        Ok(Some(opened))
    }

    /// A caller is about to be told this, and the token cache must not say otherwise afterwards.
    pub(crate) fn found(&self, key: &ConnectionKey, found: Option<&Opened>) {
        if let Some(cache) = &self.cache {
            cache.found(key, found);
        }
    }

    pub(crate) async fn open_record(
        &self,
        key: &ConnectionKey,
        record: ConnectionRecord,
    ) -> Result<Loaded, Error> {
        let plain = self.open_whole(key, &record).await?;
        let tokens = Credential::from_bytes(plain.expose_secret())?.into_tokens();
        Ok(Loaded { record, tokens })
    }

    /// Opens what the store has under `key`. A row that says it is another connection's is not believed: the same row
    /// under another id would open, for somebody else.
    async fn open_whole(&self, key: &ConnectionKey, record: &ConnectionRecord) -> Result<SecretBytes, Error> {
        if record.key != *key {
            let message = format!("{key}: another connection's record is in its place");
            return Err(Error::new(ErrorKind::CorruptRecord, message));
        }
        let packed = Packed::parse(key, &record.credential)?;
        let same = (packed.status, packed.incarnation, packed.generation)
            == (record.status, record.incarnation, record.generation);
        if !same {
            return Err(Error::new(
                ErrorKind::CorruptRecord,
                format!("{key}: its columns contradict each other"),
            ));
        }
        let (incarnation, generation) = (packed.incarnation, packed.generation);
        self.open_packed(key, incarnation, generation, record.credential.clone()).await
    }

    /// Where it lies, if nobody else has these bytes.
    async fn open_packed(
        &self,
        key: &ConnectionKey,
        incarnation: Incarnation,
        generation: u64,
        bytes: Bytes,
    ) -> Result<SecretBytes, Error> {
        let context = credential_context(key, incarnation, generation);
        self.sealer.open_in_place(&context, bytes.into(), packed::HEADER).await
    }

    /// Writes a record. A write whose acknowledgement was lost is recognised by its version.
    pub(crate) async fn put(
        &self,
        record: &ConnectionRecord,
        condition: Condition,
        owed: Option<&RevocationRecord>,
    ) -> Result<Put, Error> {
        let error = match self.stores.connections.put(record, condition, owed, None).await {
            Err(error) if error.is_retryable() => error,
            done => return Ok(done?),
        };
        match self.stores.connections.get(&record.key).await {
            Ok(Some(found)) if found.version == record.version => Ok(Put::Written),
            _ => Err(error.into()),
        }
    }

    /// Writes the record of a connect with the end of its flow, as [`put`](Self::put) writes; `None` where the store cannot.
    pub(crate) async fn put_and_finish(
        &self,
        record: &ConnectionRecord,
        condition: Condition,
        owed: Option<&RevocationRecord>,
        taken: &FlowRecord,
    ) -> Result<Option<Finish>, StoreError> {
        if !self.finishes_in_one_step {
            return Ok(None);
        }
        let error = match self.stores.connections.put_and_finish(record, condition, owed, taken).await {
            Err(error) if error.is_retryable() && !error.wrote_nothing() => error,
            done => return done,
        };
        match self.stores.connections.get(&record.key).await {
            Ok(Some(found)) if found.version == record.version => Ok(Some(Finish::Written)),
            _ => Err(error),
        }
    }

    /// Seals other tokens into `record.credential`, for the record's status, incarnation and generation.
    pub(crate) async fn reseal_tokens(
        &self,
        record: &mut ConnectionRecord,
        tokens: &TokenSet,
    ) -> Result<(), Error> {
        let before = record.credential.clone();
        let beside = Packed::parse(&record.key, &before)?.sealed;
        self.seal_tokens(beside, record, tokens).await
    }

    /// The same for the first tokens, which come of what is sealed `beside` them.
    pub(crate) async fn seal_tokens(
        &self,
        beside: &[u8],
        record: &mut ConnectionRecord,
        tokens: &TokenSet,
    ) -> Result<(), Error> {
        let plain = Credential::encode(tokens)?;
        let context = credential_context(&record.key, record.incarnation, record.generation);
        let sealed = self.sealer.seal_beside(beside, &context, plain.expose_secret()).await?;
        record.credential = Packed {
            status: record.status,
            incarnation: record.incarnation,
            generation: record.generation,
            sealed: &sealed,
        }
        .to_bytes();
        Ok(())
    }

    pub(crate) async fn seal_summary(
        &self,
        beside: &[u8],
        key: &ConnectionKey,
        incarnation: Incarnation,
        summary: &Summary,
    ) -> Result<Vec<u8>, Error> {
        let context = summary_context(key, incarnation);
        self.sealer.seal_beside(beside, &context, summary.to_bytes()?.expose_secret()).await
    }

    pub(crate) async fn open_summary(
        &self,
        key: &ConnectionKey,
        incarnation: Incarnation,
        sealed: &[u8],
    ) -> Result<Summary, Error> {
        let context = summary_context(key, incarnation);
        Summary::from_bytes(self.sealer.open(&context, sealed).await?.expose_secret())
    }
}

/// Marks a record; its tokens stay sealed as they are.
pub(crate) fn set_status(record: &mut ConnectionRecord, status: ConnectionStatus) -> Result<(), Error> {
    let packed = Packed { status, ..Packed::parse(&record.key, &record.credential)? };
    record.credential = packed.to_bytes();
    record.status = status;
    Ok(())
}

fn credential_context(key: &ConnectionKey, incarnation: Incarnation, generation: u64) -> Context<'_> {
    Context {
        incarnation: Some(incarnation),
        generation: Some(generation),
        ..Context::of_connection(Purpose::Credential, key)
    }
}

fn summary_context(key: &ConnectionKey, incarnation: Incarnation) -> Context<'_> {
    Context { incarnation: Some(incarnation), ..Context::of_connection(Purpose::Summary, key) }
}

fn encode<T: serde::Serialize>(value: &T) -> Result<SecretBytes, Error> {
    postcard::to_allocvec(value).map(SecretBytes::new).map_err(|error| {
        Error::new(ErrorKind::CorruptRecord, "a record cannot be encoded").with_source(error)
    })
}

fn decode<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8], what: &'static str) -> Result<T, Error> {
    postcard::from_bytes(bytes).map_err(|error| Error::new(ErrorKind::CorruptRecord, what).with_source(error))
}
