//! The record's `refresh` column: how the current tokens came about and what may be under way. In clear, without secrets.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::decide::{Attempt, Stored};
use super::flight::Landing;
use crate::clock::Timestamp;
use crate::connection::{Loaded, Opened, TokenSet};
use crate::error::{Error, ErrorKind};
use crate::id::{AttemptId, ConnectionKey};
use crate::provider::spec::RefreshPolicy;
use crate::store::ConnectionRecord;

/// The format that is written. Another needs another number.
const FORM: u8 = 1;
/// How many generations are remembered.
const HISTORY: usize = 8;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// The generation that was spent for the current one.
    pub(crate) parent: Option<u64>,
    pub(crate) token_fence: u64,
    pub(crate) obtained_by: Option<AttemptId>,
    pub(crate) max_fence: u64,
    pub(crate) attempt: Option<Attempt>,
    /// When the first of the sends was that `attempt` counts.
    pub(crate) unknown_since: Option<Timestamp>,
    /// How often another refresh token has become current in this generation.
    pub(crate) promotions: u32,
    /// The current refresh token may never have been the live one.
    pub(crate) doubt: bool,
    /// Failures since the last success.
    pub(crate) failures: u32,
    /// The provider asked not to be asked before.
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) last_failure: Option<LastFailure>,
    /// Latest last.
    pub(crate) history: Vec<Past>,
}

/// What the provider said when it last failed us, in the vault's own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LastFailure {
    pub(crate) at: Timestamp,
    pub(crate) message: String,
}

/// One generation that a refresh brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Past {
    pub(crate) generation: u64,
    pub(crate) at: Timestamp,
    pub(crate) fence: u64,
}

impl State {
    /// Nothing stands for a connection that was never refreshed.
    pub(crate) fn parse(key: &ConnectionKey, bytes: &[u8]) -> Result<Self, Error> {
        let corrupt =
            || Error::new(ErrorKind::CorruptRecord, format!("{key}: its refresh state is not ours"));
        match bytes.split_first() {
            None => Ok(Self::default()),
            Some((&FORM, rest)) => postcard::from_bytes(rest).map_err(|error| corrupt().with_source(error)),
            Some(_) => Err(corrupt()),
        }
    }

    pub(crate) fn store_in(&self, record: &mut ConnectionRecord) -> Result<(), Error> {
        record.refresh = postcard::to_extend(self, vec![FORM]).map_err(|error| {
            Error::new(ErrorKind::CorruptRecord, "a refresh state cannot be encoded").with_source(error)
        })?;
        Ok(())
    }

    /// Another token set was written.
    pub(crate) fn remember(&mut self, past: Past) {
        self.history.push(past);
        let over = self.history.len().saturating_sub(HISTORY);
        self.history.drain(..over);
    }
}

/// A record with its tokens and its refresh state.
#[derive(Debug)]
pub(crate) struct At {
    pub(crate) loaded: Loaded,
    pub(crate) state: State,
}

impl At {
    pub(crate) fn new(loaded: Loaded) -> Result<Self, Error> {
        let state = State::parse(&loaded.record.key, &loaded.record.refresh)?;
        Ok(Self { loaded, state })
    }

    pub(crate) fn tokens(&self) -> &TokenSet {
        &self.loaded.tokens
    }

    /// As decisions see the record.
    pub(crate) fn view(&self) -> Stored {
        let (record, state) = (&self.loaded.record, &self.state);
        Stored {
            incarnation: record.incarnation,
            generation: record.generation,
            parent: state.parent,
            token_fence: state.token_fence,
            obtained_by: state.obtained_by,
            max_fence: state.max_fence,
            status: record.status,
            // A marker of an earlier generation says nothing about this one.
            attempt: state.attempt.filter(|attempt| attempt.generation == record.generation),
            alternates: self.tokens().alternates.len(),
            promotions: state.promotions,
            doubt: state.doubt,
        }
    }

    /// When the marked refresh token is to be sent again, if the provider still takes it then.
    pub(crate) fn retry_within_leeway(&self, policy: &RefreshPolicy, settle: Duration) -> Option<Timestamp> {
        let again = self.view().attempt?.started_at.saturating_add(settle);
        let end = self.state.unknown_since?.saturating_add(policy.leeway()?);
        (again < end).then_some(again)
    }

    /// For everybody who waits for these tokens.
    pub(super) fn landing(&self) -> Landing {
        self.loaded.opened().map(Opened::shared)
    }
}
