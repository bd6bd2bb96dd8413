//! One sequence on two backends, step by step.

use vault_core::store::{Condition, ConnectionRecord, Finish, FlowInsert, NamedPut, Put, StoreError, Stores};

use super::op::{OnConnection, OnConnector, OnFlow, OnKey, OnLease, OnOwed, Op, When, sweep};
use super::world::{World, drawn_in, version};

/// What a call answered, as far as backends must agree on it.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    Put(Put),
    Finish(Option<Finish>),
    Named(NamedPut),
    Inserted(FlowInsert),
    Flag(bool),
    Count(u64),
    Nothing,
    Absent,
    Acquired {
        fence: u64,
        record: Box<ConnectionRecord>,
    },
    Held {
        within_ttl: bool,
    },
    /// Records as they print; those of a listing sorted, as each backend has an order of its own.
    Shown(Vec<String>),
}

/// The step that came to different answers, and what they were.
pub(super) struct Difference {
    pub(super) step: usize,
    pub(super) op: Option<Op>,
    pub(super) reference: String,
    pub(super) subject: String,
}

/// Runs the sequence, and then looks at everything, until the answers differ; removes what it left.
pub(super) async fn run(reference: &Stores, subject: &Stores, ops: &[Op]) -> Result<(), Difference> {
    let mut world = World::new();
    world.finishing = world.finishes(reference).await && world.finishes(subject).await;
    let mut outcome = Ok(());
    for (step, op) in ops.iter().copied().chain(sweep()).enumerate() {
        let expected = world.perform(reference, step, op).await;
        let actual = world.perform(subject, step, op).await;
        match (expected, actual) {
            (Ok(expected), Ok(actual)) if expected == actual => world.learn(step, op, &expected),
            (expected, actual) => {
                let (reference, subject) = (print(&expected), print(&actual));
                outcome = Err(Difference { step, op: Some(op), reference, subject });
                break;
            }
        }
    }
    let cleaned = [world.clean(reference).await, world.clean(subject).await];
    if cleaned.iter().any(Result::is_err) {
        let [reference, subject] = cleaned.map(|cleaned| print(&cleaned.map(|()| Answer::Nothing)));
        outcome = outcome.and(Err(Difference { step: ops.len(), op: None, reference, subject }));
    }
    outcome
}

fn print(answer: &Result<Answer, StoreError>) -> String {
    match answer {
        Ok(answer) => format!("{answer:?}"),
        Err(error) => format!("error: {error}"),
    }
}

impl World {
    /// Keeps in mind what the step changed.
    fn learn(&mut self, step: usize, op: Op, answer: &Answer) {
        let wrote = Some(drawn_in(step));
        match (op, answer) {
            (Op::Connection(OnConnection::Put { key, owed, .. }), Answer::Put(Put::Written)) => {
                self.connections.entry(key).or_default().moves(wrote);
                self.owes(step, key, owed);
            }
            (
                Op::Connection(OnConnection::PutAndFinish { key, owed, .. }),
                Answer::Finish(Some(Finish::Written)),
            ) => {
                self.connections.entry(key).or_default().moves(wrote);
                self.owes(step, key, owed);
            }
            (Op::Connection(OnConnection::Delete { key, owed, .. }), Answer::Put(Put::Written)) => {
                self.connections.entry(key).or_default().moves(None);
                self.owes(step, key, owed);
            }
            (Op::Lease(OnLease::Acquire { key, .. }), Answer::Acquired { fence, .. }) => {
                self.fences.entry(key).or_default().moves(Some(*fence));
            }
            (Op::Owed(OnOwed::Update { which, due, .. }), Answer::Flag(true)) => {
                let rewritten = self.rewritten(step, which, due);
                if let Some((owed, versions)) = self.owed.get_mut(which) {
                    versions.moves(Some(rewritten.version));
                    *owed = rewritten;
                }
            }
            (Op::Connector(OnConnector::Put { tenant, id, .. }), Answer::Named(NamedPut::Written)) => {
                self.connectors.entry((tenant, id)).or_default().moves(wrote);
            }
            (Op::Connector(OnConnector::Delete { tenant, id, .. }), Answer::Flag(true)) => {
                self.connectors.entry((tenant, id)).or_default().moves(None);
            }
            (
                Op::Flow(OnFlow::Insert { flow, tenant, owner, connector, .. }),
                Answer::Inserted(FlowInsert::Inserted),
            ) => {
                self.flows.insert(flow, self.flow(step, flow, (tenant, owner, connector)));
            }
            (Op::Key(OnKey::Put { scope, .. }), Answer::Put(Put::Written)) => {
                self.keys.entry(scope).or_default().moves(wrote);
            }
            (Op::Key(OnKey::Delete { scope }), Answer::Flag(true)) => {
                self.keys.entry(scope).or_default().moves(None);
            }
            _ => {}
        }
    }

    /// Whether a write of theirs can end a flow. There is none yet.
    async fn finishes(&self, stores: &Stores) -> bool {
        let record = self.connection(0, 0, None, true);
        let taken = self.taken_of(0, 0, &record.key);
        let store = &stores.connections;
        let finish = store.put_and_finish(&record, Condition::Absent, None, &taken).await;
        stores.finish_in_one_step() && matches!(finish, Ok(Some(_)))
    }

    fn owes(&mut self, step: usize, key: usize, owed: bool) {
        if owed {
            let owed = self.revocation(step, key);
            let mut versions = super::world::Stand::default();
            versions.moves(Some(owed.version));
            self.owed.push((owed, versions));
        }
    }

    /// Leaves nothing that scans over all tenants would meet.
    async fn clean(&self, stores: &Stores) -> Result<(), StoreError> {
        for (key, stand) in &self.connections {
            let version = version(Some(stand), When::Current);
            let _ = stores.connections.delete(&self.key(*key), version, None).await?;
        }
        for (owed, _) in &self.owed {
            stores.connections.delete_owed(&owed.key, owed.id).await?;
        }
        for scope in self.keys.keys() {
            stores.keys.delete(&self.scope(*scope)).await?;
        }
        Ok(())
    }
}
