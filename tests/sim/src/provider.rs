//! The authorization servers: one per mode, and what each remembers of its tokens.

use std::fmt;
use std::time::Duration;

/// How long a spent refresh token still works, in the modes with a leeway.
pub(crate) const LEEWAY: Duration = Duration::from_secs(120);

/// What happens to a refresh token that is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the six that the protocol knows")]
pub enum Mode {
    /// Nothing.
    Static,
    /// It is spent.
    Strict,
    /// It is spent; used again it ends the grant.
    Family,
    /// It works on for a while, and every reply lives.
    LeewaySiblings,
    /// It works on for a while, and only the latest reply lives.
    LeewayLatest,
    /// It brings the same reply for a while.
    Idempotent,
}

impl Mode {
    /// All of them.
    pub(crate) const ALL: [Self; 6] = [
        Self::Static,
        Self::Strict,
        Self::Family,
        Self::LeewaySiblings,
        Self::LeewayLatest,
        Self::Idempotent,
    ];

    pub(crate) const fn has_leeway(self) -> bool {
        matches!(self, Self::LeewaySiblings | Self::LeewayLatest | Self::Idempotent)
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Strict => "strict",
            Self::Family => "family",
            Self::LeewaySiblings => "leeway-siblings",
            Self::LeewayLatest => "leeway-latest",
            Self::Idempotent => "idempotent",
        }
    }

    /// As a provider file declares it.
    pub(crate) fn toml(self) -> String {
        let secs = LEEWAY.as_secs();
        match self {
            Self::Static | Self::Strict | Self::Family => format!(r#"{{ mode = "{}" }}"#, self.name()),
            Self::LeewaySiblings => format!(r#"{{ mode = "leeway", secs = {secs}, replies = "siblings" }}"#),
            Self::LeewayLatest => format!(r#"{{ mode = "leeway", secs = {secs}, replies = "latest" }}"#),
            Self::Idempotent => format!(r#"{{ mode = "idempotent", secs = {secs} }}"#),
        }
    }
}

/// Everything a token says about itself: to whom it was issued, and which one it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Tag {
    /// Which connection's user authorized it.
    pub(crate) conn: usize,
    /// Which of their grants, over all users.
    pub(crate) grant: usize,
    /// Which refresh token of the grant; for an access token, the one it came with.
    pub(crate) refresh: usize,
    /// Which access token of the grant; 0 for a refresh token.
    pub(crate) access: usize,
}

/// Stands in every secret of the simulation.
pub(crate) const MARK: &str = "S3CR3T";

impl Tag {
    pub(crate) fn text(self) -> String {
        let Self { conn, grant, refresh, access } = self;
        format!("{MARK}-{conn}-{grant}-{refresh}-{access}")
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.strip_prefix(MARK)?.strip_prefix('-')?.split('-').map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(Self { conn: next()?, grant: next()?, refresh: next()?, access: next()? })
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "g{}r{}a{}", self.grant, self.refresh, self.access)
    }
}

/// Why a refresh token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It was used before.
    Spent,
    /// It was used before, and that ended the grant.
    FamilyKilled,
    /// A later reply replaced it.
    Replaced,
    /// The grant had ended.
    Ended(Ended),
}

/// Why a grant ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The app revoked it.
    App,
    /// The user or an administrator took it away.
    User,
    /// A spent refresh token came back.
    Reuse,
}

#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) conn: usize,
    pub(crate) mode: Mode,
    pub(crate) write: bool,
    pub(crate) ended: Option<Ended>,
    refresh: Vec<Refresh>,
    accesses: usize,
}

#[derive(Debug, Default)]
struct Refresh {
    first_use: Option<Duration>,
    replies: Vec<usize>,
    replaced: bool,
}

impl Grant {
    pub(crate) fn new(conn: usize, mode: Mode, write: bool) -> Self {
        Self { conn, mode, write, ended: None, refresh: vec![Refresh::default()], accesses: 0 }
    }

    /// The next access token, with the refresh token of that number.
    pub(crate) const fn issue(&mut self, grant: usize, refresh: usize) -> Tag {
        self.accesses += 1;
        Tag { conn: self.conn, grant, refresh, access: self.accesses }
    }

    /// Spends a refresh token; answers the number of the one that comes back.
    pub(crate) fn spend(&mut self, now: Duration, serial: usize) -> Result<usize, Refusal> {
        if let Err(refusal) = self.judge(now, serial) {
            if refusal == Refusal::FamilyKilled {
                self.ended = Some(Ended::Reuse);
            }
            return Err(refusal);
        }
        let token = &self.refresh[serial];
        match (self.mode, token.replies.last()) {
            (Mode::Static, _) => return Ok(serial),
            (Mode::Idempotent, Some(reply)) => return Ok(*reply),
            (Mode::LeewayLatest, Some(_)) => {
                for earlier in token.replies.clone() {
                    self.refresh[earlier].replaced = true;
                }
            }
            _ => {}
        }
        let new = self.refresh.len();
        self.refresh.push(Refresh::default());
        let token = &mut self.refresh[serial];
        token.first_use.get_or_insert(now);
        token.replies.push(new);
        Ok(new)
    }

    fn judge(&self, now: Duration, serial: usize) -> Result<(), Refusal> {
        if let Some(ended) = self.ended {
            return Err(Refusal::Ended(ended));
        }
        let token = self.refresh.get(serial).ok_or(Refusal::Spent)?;
        if token.replaced {
            return Err(Refusal::Replaced);
        }
        match (self.mode, token.first_use) {
            (_, None) | (Mode::Static, _) => Ok(()),
            (Mode::Family, Some(_)) => Err(Refusal::FamilyKilled),
            (Mode::Strict, Some(_)) => Err(Refusal::Spent),
            (_, Some(first)) if now < first + LEEWAY => Ok(()),
            _ => Err(Refusal::Spent),
        }
    }

    /// Whether the token would bring tokens now.
    pub(crate) fn accepts(&self, now: Duration, serial: usize) -> bool {
        self.judge(now, serial).is_ok()
    }

    /// The refresh tokens that work and were never used.
    pub(crate) fn unspent(&self, now: Duration) -> Vec<usize> {
        let fresh = |serial: &usize| self.refresh[*serial].first_use.is_none() && self.accepts(now, *serial);
        (0..self.refresh.len()).filter(fresh).collect()
    }
}
