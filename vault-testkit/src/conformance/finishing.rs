//! What a store must do that ends a flow in the write of its connection. One that cannot, or whose flows are elsewhere,
//! keeps these rules by not being asked.

use vault_core::store::{
    Condition, ConnectionRecord, Finish, FlowInsert, FlowRecord, Page, Put, RevocationRecord, Stores,
};

use super::support::{
    LONG, NOW, WORKS, attempt, connection, drop_after, flow, key, lease, next, owed, race, tenant, version,
};

/// No operation awaits more often than this.
const ENOUGH: usize = 1_000;

/// A connection that is about to be stored, and the flow that it comes of.
struct Connect<'a> {
    stores: &'a Stores,
    flow: FlowRecord,
    record: ConnectionRecord,
}

impl<'a> Connect<'a> {
    /// Inserted, not taken yet.
    async fn begin(stores: &'a Stores, record: ConnectionRecord) -> Self {
        let flow = flow(&record.key.tenant, record.key.owner.clone(), NOW.saturating_add(LONG));
        let inserted = stores.flows.insert(&flow, 100, NOW).await;
        assert_eq!(inserted.expect(WORKS), FlowInsert::Inserted);
        Self { stores, flow, record }
    }

    async fn take(&mut self) -> bool {
        let until = NOW.saturating_add(LONG / 2);
        let taken = self.stores.flows.take(&self.flow.state_hash, until, NOW).await.expect(WORKS);
        taken.map(|taken| self.flow = taken).is_some()
    }

    /// `None` where there is nothing to check.
    async fn taken(stores: &'a Stores, record: ConnectionRecord) -> Option<Self> {
        let mut connect = Self::begin(stores, record).await;
        if !stores.finish_in_one_step() || connect.store(Condition::Absent).await.is_none() {
            return None;
        }
        assert!(connect.take().await);
        Some(connect)
    }

    async fn store(&self, condition: Condition) -> Option<Finish> {
        self.store_owing(condition, None).await
    }

    async fn store_owing(&self, condition: Condition, owed: Option<&RevocationRecord>) -> Option<Finish> {
        let store = &self.stores.connections;
        store.put_and_finish(&self.record, condition, owed, &self.flow).await.expect(WORKS)
    }

    async fn stored(&self) -> Option<ConnectionRecord> {
        self.stores.connections.get(&self.record.key).await.expect(WORKS)
    }

    async fn owed(&self) -> Vec<RevocationRecord> {
        let key = &self.record.key;
        let listed = self.stores.connections.list_owed(&key.tenant, Some(&key.owner), &Page::first(9)).await;
        listed.expect(WORKS).items
    }

    async fn finish(&self) -> bool {
        self.stores.flows.finish(&self.flow).await.expect(WORKS)
    }

    async fn cancel(&self) -> u64 {
        let key = &self.record.key;
        self.stores.flows.cancel(&key.tenant, &key.owner, None).await.expect(WORKS)
    }
}

/// The record is there, with what it owes, and nothing is left of the flow; in the place of another, too.
pub async fn a_write_ends_the_flow_that_it_comes_of(stores: &Stores) {
    let record = connection(&key(&tenant(), "alice"));
    let Some(connect) = Connect::taken(stores, record.clone()).await else { return };
    assert_eq!(connect.store(Condition::Absent).await, Some(Finish::Written));
    assert_eq!(connect.stored().await.as_ref(), Some(&record));
    assert!(!connect.finish().await, "it has ended");
    assert_eq!(connect.store(Condition::Version(record.version)).await, Some(Finish::Gone), "it ends once");
    let again = stores.flows.insert(&connect.flow, 1, NOW).await.expect(WORKS);
    assert_eq!(again, FlowInsert::Inserted, "nor does it count");
    assert_eq!(connect.cancel().await, 1);

    let replaced = owed(&record, NOW);
    let second = ConnectionRecord { generation: 1, ..next(&record) };
    let connect = Connect::taken(stores, second.clone()).await.expect("as before");
    let condition = Condition::Version(record.version);
    let holder = attempt();
    let fence = lease(&*stores.connections, &record.key, holder).await.fence;
    assert_eq!(connect.store_owing(condition, Some(&replaced)).await, Some(Finish::Written));
    assert_eq!(connect.stored().await, Some(second));
    assert_eq!(connect.owed().await, [replaced]);
    assert!(!connect.finish().await);
    let held = stores.connections.lease(&record.key).await.expect(WORKS).expect("its lease stays");
    assert_eq!((held.holder, held.fence), (holder, fence));
}

/// A write whose condition does not hold leaves the flow as it is, for another try.
pub async fn a_write_that_conflicts_ends_no_flow(stores: &Stores) {
    let there = connection(&key(&tenant(), "alice"));
    let created = stores.connections.put(&there, Condition::Absent, None, None).await;
    assert_eq!(created.expect(WORKS), Put::Written);
    let Some(mut connect) = Connect::taken(stores, next(&there)).await else { return };
    let replaced = owed(&there, NOW);
    for condition in [Condition::Absent, Condition::Version(version())] {
        let conflict = Some(Finish::Conflict(Some(there.version)));
        assert_eq!(connect.store_owing(condition, Some(&replaced)).await, conflict);
    }
    assert_eq!(connect.stored().await, Some(there.clone()));
    assert_eq!(connect.owed().await, []);
    assert_eq!(connect.store(Condition::Version(there.version)).await, Some(Finish::Written));

    connect = Connect::taken(stores, next(&there)).await.expect("as before");
    connect.record.key.slot = vault_core::id::Slot::new("absent").expect("valid");
    let conflict = Some(Finish::Conflict(None));
    assert_eq!(connect.store(Condition::Version(there.version)).await, conflict);
    assert!(connect.finish().await, "it is still there");
}

/// Without its flow nothing is written: nobody has taken it, it was finished, or cancelled.
pub async fn a_flow_that_is_gone_forbids_the_write(stores: &Stores) {
    let record = connection(&key(&tenant(), "alice"));
    let Some(connect) = Connect::taken(stores, record.clone()).await else { return };
    let replaced = owed(&record, NOW);
    assert_eq!(connect.cancel().await, 1);
    assert_eq!(connect.store_owing(Condition::Absent, Some(&replaced)).await, Some(Finish::Gone));
    let connect = Connect::taken(stores, record.clone()).await.expect("as before");
    assert!(connect.finish().await);
    assert_eq!(connect.store_owing(Condition::Absent, Some(&replaced)).await, Some(Finish::Gone));
    let pending = Connect::begin(stores, record).await;
    assert_eq!(pending.store_owing(Condition::Absent, Some(&replaced)).await, Some(Finish::Gone));
    assert_eq!(pending.stored().await, None);
    assert_eq!(pending.owed().await, []);
    assert_eq!(pending.cancel().await, 1, "it is still pending");
}

/// Whoever cancels a flow has either kept its connection from being written, or finds it.
pub async fn v06_a_cancel_keeps_a_connection_away_or_finds_it(stores: &Stores) {
    for _ in 0..10 {
        let record = connection(&key(&tenant(), "alice"));
        let Some(connect) = Connect::taken(stores, record).await else { return };
        let [written, found]: [bool; 2] = race(async |worker| {
            if worker == 0 {
                connect.store(Condition::Absent).await == Some(Finish::Written)
            } else {
                connect.cancel().await;
                connect.stored().await.is_some()
            }
        });
        assert_eq!(written, found, "written: {written}, found after the cancel: {found}");
    }
}

/// The same while the flow is being taken: what was cancelled in between is not written either.
pub async fn v06_a_cancel_reaches_a_flow_that_is_being_taken(stores: &Stores) {
    for _ in 0..10 {
        let record = connection(&key(&tenant(), "alice"));
        if Connect::taken(stores, record.clone()).await.is_none() {
            return;
        }
        let connect = Connect::begin(stores, record).await;
        let [written, found]: [bool; 2] = race(async |worker| {
            if worker == 0 {
                let mut connect =
                    Connect { stores, flow: connect.flow.clone(), record: connect.record.clone() };
                connect.take().await && connect.store(Condition::Absent).await == Some(Finish::Written)
            } else {
                connect.cancel().await;
                connect.stored().await.is_some()
            }
        });
        assert_eq!(written, found, "written: {written}, found after the cancel: {found}");
    }
}

/// Of two flows to one place, the second finds the first's connection, and can replace it.
pub async fn c08_a_race_of_two_flows_to_one_place_loses_neither(stores: &Stores) {
    for _ in 0..5 {
        let first = connection(&key(&tenant(), "alice"));
        let second = next(&first);
        let Some(one) = Connect::taken(stores, first).await else { return };
        let other = Connect::taken(stores, second).await.expect("as before");
        let both = [&one, &other];
        let outcomes: [_; 2] = race(async |worker| both[worker].store(Condition::Absent).await);
        let written = |outcome: &Option<Finish>| *outcome == Some(Finish::Written);
        let winner = outcomes.iter().position(written).expect("one is first");
        let (winner, loser) = (both[winner], both[1 - winner]);
        assert!(outcomes.contains(&Some(Finish::Conflict(Some(winner.record.version)))), "{outcomes:?}");
        let replaced = loser.store(Condition::Version(winner.record.version)).await;
        assert_eq!(replaced, Some(Finish::Written));
        assert_eq!(loser.stored().await.as_ref(), Some(&loser.record));
    }
}

/// A dropped write happens with the end of its flow and what it owes, or not at all.
pub async fn s15_a_dropped_write_that_ends_a_flow_is_whole_or_nothing(stores: &Stores) {
    for polls in 1..ENOUGH {
        let old = connection(&key(&tenant(), &format!("alice {polls}")));
        let created = stores.connections.put(&old, Condition::Absent, None, None).await;
        assert_eq!(created.expect(WORKS), Put::Written);
        let Some(connect) = Connect::taken(stores, next(&old)).await else { return };
        let (owed, condition) = (owed(&old, NOW), Condition::Version(old.version));
        let done = drop_after(polls, connect.store_owing(condition, Some(&owed))).await;
        // It may still be under way: whoever finishes the flow is sure.
        let ended = !connect.finish().await;
        let stored = connect.stored().await.map(|stored| stored.version);
        let expected = if ended { connect.record.version } else { old.version };
        assert_eq!(stored, Some(expected), "ended: {ended}");
        assert_eq!(connect.owed().await.len(), usize::from(ended));
        if done.is_some() {
            assert!(ended);
            return;
        }
    }
    panic!("a write of {ENOUGH} awaits");
}
