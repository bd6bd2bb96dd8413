use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::decide::before_send;
use super::flight::{Goal, Landing, Progress};
use super::lease::{Asked, Held};
use super::read::{digest_of, lives_beyond, not_connected};
use super::schedule;
use super::state::At;
use crate::connector::Registered;
use crate::core::Core;
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::id::{AttemptId, Incarnation};
use crate::store::ConnectionRecord;

/// How often a waiting driver looks whether the holder of the lease is done.
const POLL: Duration = Duration::from_millis(200);
/// A refresh that another process makes is over by then, or in trouble.
const PROMPT: Duration = Duration::from_secs(2);
/// How often a lease may be lost before the send until somebody else's turn has come.
const ROUNDS: usize = 3;
/// Sends of one refresh token by one driver, while the outcome stays unknown.
const SENDS: usize = 2;

/// Steps 3 to 12, in a task of its own: whoever stops waiting, this goes on.
pub(super) struct Driver {
    pub(super) core: Arc<Core>,
    pub(super) goal: Goal,
    publish: watch::Sender<Progress>,
}

/// The lease, and the record as it stood when it was granted.
type Leased<'a> = (Held<'a>, Box<ConnectionRecord>);

/// What comes after a step.
pub(super) enum Step {
    Done(Landing),
    /// The lease was lost before anything was sent: back to step 3.
    Again,
    /// There is reason to send again, from step 4 on.
    Resend,
}

impl Driver {
    pub(super) const fn new(core: Arc<Core>, goal: Goal, publish: watch::Sender<Progress>) -> Self {
        Self { core, goal, publish }
    }

    #[tracing::instrument(name = "vault.refresh", skip_all, fields(connector = %self.goal.key.connector))]
    pub(super) async fn run(&self) -> Landing {
        self.drive().await
    }

    /// Step 12.
    pub(super) fn end(&self, landing: Landing) {
        if let Err(error) = &landing {
            self.report_failure(error);
        }
        self.publish(landing);
    }

    pub(super) fn report_failure(&self, error: &Error) {
        // Those two have events of their own, from where it was decided.
        if !matches!(error.kind(), ErrorKind::NeedsReauthorization { .. } | ErrorKind::NotConnected) {
            let (key, kind) = (self.goal.key.clone(), error.kind().clone());
            self.core.report(&Event::RefreshFailed { key, kind });
        }
    }

    /// The first answer counts, but tokens are better than an error that was told before them.
    pub(super) fn publish(&self, landing: Landing) {
        self.publish.send_if_modified(|progress| {
            let better = match progress {
                Progress::Soon | Progress::Delayed => true,
                Progress::Landed(before) => before.is_err() && landing.is_ok(),
            };
            if better {
                *progress = Progress::Landed(landing);
            }
            better
        });
    }

    /// Whoever has a token that still lives is not kept waiting.
    pub(super) fn delay(&self) {
        self.publish.send_if_modified(|progress| {
            let soon = matches!(progress, Progress::Soon);
            if soon {
                *progress = Progress::Delayed;
            }
            soon
        });
    }

    async fn drive(&self) -> Landing {
        let holder = AttemptId::random(&*self.core.entropy)?;
        for _ in 0..ROUNDS {
            let (lease, record) = match self.acquire(holder).await? {
                Ok(ours) => ours,
                Err(landing) => return landing,
            };
            let step = tokio::select! {
                biased;
                step = self.round(&lease, *record) => step,
                never = lease.keep() => match never {},
            };
            lease.release().await;
            if let Step::Done(landing) = step? {
                return landing;
            }
        }
        Err(Error::new(ErrorKind::Contended, format!("{}: the refresh lease was lost", self.goal.key)))
    }

    /// Step 3: the lease, or the answer that another process's refresh gave.
    async fn acquire(&self, holder: AttemptId) -> Result<Result<Leased<'_>, Landing>, Error> {
        let Core { clock, settings, .. } = &*self.core;
        let began = clock.monotonic();
        loop {
            match Held::ask(&self.core, &self.goal.key, holder).await? {
                Asked::Ours(lease, record) => return Ok(Ok((lease, record))),
                Asked::Absent => return Ok(Err(Err(not_connected(&self.goal.key)))),
                Asked::Busy(_) if clock.monotonic() >= began + 2 * settings.lease_ttl => {
                    let message = format!("{}: another process is refreshing it", self.goal.key);
                    return Ok(Err(Err(Error::new(ErrorKind::RefreshInProgress, message))));
                }
                Asked::Busy(remaining) => {
                    let wait = schedule::jittered(&*self.core.entropy, POLL)?.min(remaining.max(POLL / 10));
                    self.pause(wait).await?;
                    if clock.monotonic() >= began + PROMPT {
                        self.delay();
                    }
                    let at = self.load().await?;
                    let stored = at.as_ref().map(At::view);
                    let verdict =
                        before_send(self.seen(at.as_ref()), stored.as_ref(), Duration::ZERO, self.core.now());
                    if let Some(landing) = self.answer(verdict, at) {
                        return Ok(Err(landing));
                    }
                }
            }
        }
    }

    /// Steps 4 to 11, under the lease.
    async fn round(&self, lease: &Held<'_>, record: ConnectionRecord) -> Result<Step, Error> {
        let mut sends = 0;
        let mut found = Some(record);
        loop {
            let (at, registered) = match self.ready(lease, found.take()).await? {
                Ok(ready) => ready,
                Err(landing) => return Ok(Step::Done(landing)),
            };
            let registered = match registered {
                Some(registered) => registered,
                None => self.registered().await?,
            };
            self.asked_audience(&registered.provider.spec().refresh_policy)?;
            let wanted = self.core.now().saturating_add(self.core.settings.min_ttl);
            if lease.set_back
                && self.goal.rejected.is_none()
                && lives_beyond(at.tokens(), &self.goal.audience, wanted)
            {
                return Ok(Step::Done(at.landing()));
            }
            if let Some(landing) = self.too_soon(&at) {
                return Ok(Step::Done(landing));
            }
            if at.tokens().refresh_token.is_none() {
                return self.without_refresh_token(at).await.map(Step::Done);
            }
            self.check_circuit(&registered)?;
            sends += 1;
            match self.send(lease, &registered, at, sends < SENDS).await? {
                Step::Resend => {}
                step => return Ok(step),
            }
        }
    }

    pub(super) async fn load(&self) -> Result<Option<At>, Error> {
        self.core.load(&self.goal.key).await?.map(At::new).transpose()
    }

    pub(super) async fn registered(&self) -> Result<Arc<Registered>, Error> {
        let registered = self.core.registered(&self.goal.key.tenant, &self.goal.key.connector).await?;
        registered.registration.check_owner(&self.goal.key.owner)?;
        Ok(registered)
    }

    pub(super) fn settle(&self, registered: &Registered) -> Duration {
        registered.provider.spec().refresh_policy.settle(self.core.settings.http_timeout)
    }

    /// Whether it is still the very access token that the provider refused.
    fn is_rejected(&self, at: &At) -> bool {
        let there = at.tokens().access(&self.goal.audience);
        self.goal.rejected.is_some_and(|digest| {
            there.is_some_and(|access| digest == digest_of(&access.token, access.obtained_at))
        })
    }

    /// What is to be refreshed: the generation that the caller found wanting, or a later one that has nothing for its
    /// audience either, for it was refreshed for another.
    pub(super) fn seen(&self, at: Option<&At>) -> (Incarnation, u64) {
        let Goal { incarnation, generation, audience, .. } = &self.goal;
        let later = at.filter(|at| {
            let record = &at.loaded.record;
            record.incarnation == *incarnation
                && record.generation > *generation
                && (!lives_beyond(at.tokens(), audience, self.core.now()) || self.is_rejected(at))
        });
        (*incarnation, later.map_or(*generation, |at| at.loaded.record.generation))
    }
}
