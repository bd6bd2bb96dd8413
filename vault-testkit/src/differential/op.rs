//! Random operations over a universe so small that they meet.

use proptest::prelude::{Just, Strategy, any, prop};
use proptest::{collection, option, prop_oneof};

pub(super) const TENANTS: usize = 2;
pub(super) const OWNERS: usize = 3;
pub(super) const CONNECTORS: usize = 2;
pub(super) const KEYS: usize = 6;
pub(super) const HOLDERS: usize = 2;
pub(super) const FLOWS: usize = 4;
pub(super) const SCOPES: usize = 3;
pub(super) const NAMES: usize = 3;
/// Due times fall into so many spans.
pub(super) const SPANS: i64 = 4;

/// One call. Numbers pick from the universe; what else the call needs follows from the step that it is made in.
#[derive(Debug, Clone, Copy)]
pub(super) enum Op {
    Connection(OnConnection),
    Connector(OnConnector),
    Flow(OnFlow),
    Key(OnKey),
    Lease(OnLease),
    Owed(OnOwed),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum OnConnection {
    Put {
        key: usize,
        when: When,
        due: Option<i64>,
        active: bool,
        owed: bool,
        release: Option<(usize, When)>,
    },
    /// Ends that flow, if it is the same owner's.
    PutAndFinish {
        key: usize,
        when: When,
        owed: bool,
        flow: usize,
    },
    Delete {
        key: usize,
        when: When,
        owed: bool,
    },
    Get {
        key: usize,
    },
    Read {
        key: usize,
    },
    List {
        tenant: usize,
        owner: Option<usize>,
        connector: Option<usize>,
        limit: u32,
    },
    Due {
        until: i64,
    },
}

#[derive(Debug, Clone, Copy)]
pub(super) enum OnLease {
    Acquire { key: usize, holder: usize, brief: bool },
    Renew { key: usize, holder: usize, when: When, brief: bool },
    Release { key: usize, holder: usize, when: When },
    Look { key: usize },
}

#[derive(Debug, Clone, Copy)]
pub(super) enum OnOwed {
    Due { until: i64 },
    List { tenant: usize, owner: Option<usize>, limit: u32 },
    Update { which: usize, when: When, due: i64 },
    Delete { which: usize },
}

#[derive(Debug, Clone, Copy)]
pub(super) enum OnFlow {
    Insert { flow: usize, tenant: usize, owner: usize, connector: usize, cap: u32 },
    Take { flow: usize },
    Finish { flow: usize },
    Cancel { tenant: usize, owner: usize, connector: Option<usize> },
    PurgeNothing { limit: u32 },
}

#[derive(Debug, Clone, Copy)]
pub(super) enum OnKey {
    Put { scope: usize, when: When },
    Get { scope: usize },
    Delete { scope: usize },
    List { limit: u32 },
}

#[derive(Debug, Clone, Copy)]
pub(super) enum OnConnector {
    Put { tenant: usize, id: usize, name: usize, when: When },
    Get { tenant: usize, id: usize },
    Find { tenant: usize, name: usize },
    Delete { tenant: usize, id: usize, when: When },
    List { tenant: usize, limit: u32 },
}

/// On which version, or fence, a call insists.
#[derive(Debug, Clone, Copy)]
pub(super) enum When {
    /// None there, or one that never was.
    Absent,
    /// The one that stands.
    Current,
    /// The one before it.
    Former,
}

/// What is drawn.
pub(super) fn sequences() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        8 => connections().prop_map(Op::Connection),
        4 => leases().prop_map(Op::Lease),
        3 => owed().prop_map(Op::Owed),
        3 => flows().prop_map(Op::Flow),
        2 => keys().prop_map(Op::Key),
        3 => connectors().prop_map(Op::Connector),
    ];
    collection::vec(op, 1..100)
}

/// A look at everything, to end each sequence with.
pub(super) fn sweep() -> impl Iterator<Item = Op> {
    let tenants = (0..TENANTS).flat_map(|tenant| {
        [
            Op::Connection(OnConnection::List { tenant, owner: None, connector: None, limit: 2 }),
            Op::Owed(OnOwed::List { tenant, owner: None, limit: 2 }),
            Op::Connector(OnConnector::List { tenant, limit: 2 }),
        ]
    });
    let scans = [
        Op::Connection(OnConnection::Due { until: SPANS }),
        Op::Owed(OnOwed::Due { until: SPANS }),
        Op::Key(OnKey::List { limit: 100 }),
    ];
    let keys = (0..KEYS).flat_map(|key| {
        [
            Op::Connection(OnConnection::Get { key }),
            Op::Connection(OnConnection::Read { key }),
            Op::Lease(OnLease::Acquire { key, holder: HOLDERS, brief: true }),
        ]
    });
    let flows =
        (0..FLOWS).flat_map(|flow| [Op::Flow(OnFlow::Take { flow }), Op::Flow(OnFlow::Finish { flow })]);
    tenants.chain(scans).chain(keys).chain(flows)
}

fn when() -> impl Strategy<Value = When> + Clone {
    prop_oneof![5 => Just(When::Current), 2 => Just(When::Absent), 1 => Just(When::Former)]
}

/// Insists on nothing being there as often as on a version.
fn when_put() -> impl Strategy<Value = When> {
    prop_oneof![Just(When::Absent), when()]
}

/// One of them more often than the rest, so that much happens to it.
fn key() -> impl Strategy<Value = usize> + Clone {
    prop_oneof![3 => Just(0), 2 => 0..KEYS]
}

fn connections() -> impl Strategy<Value = OnConnection> {
    use OnConnection::{Delete, Due, Get, List, Put, PutAndFinish, Read};
    let release = option::of((0..HOLDERS, fence()));
    let put = (key(), when_put(), option::of(0..SPANS), any::<bool>(), any::<bool>(), release);
    let list = (0..TENANTS, option::of(0..OWNERS), option::of(0..CONNECTORS), 0..4u32);
    prop_oneof![
        6 => put.prop_map(|(key, when, due, active, owed, release)| {
            Put { key, when, due, active, owed, release }
        }),
        3 => (key(), when_put(), any::<bool>(), 0..FLOWS).prop_map(|(key, when, owed, flow)| {
            PutAndFinish { key, when, owed, flow }
        }),
        2 => (key(), when(), any::<bool>()).prop_map(|(key, when, owed)| Delete { key, when, owed }),
        1 => key().prop_map(|key| Get { key }),
        1 => key().prop_map(|key| Read { key }),
        2 => list.prop_map(|(tenant, owner, connector, limit)| List { tenant, owner, connector, limit }),
        2 => (0..=SPANS).prop_map(|until| Due { until }),
    ]
}

fn fence() -> impl Strategy<Value = When> + Clone {
    prop_oneof![3 => Just(When::Current), 2 => Just(When::Former), 1 => Just(When::Absent)]
}

fn leases() -> impl Strategy<Value = OnLease> {
    use OnLease::{Acquire, Look, Release, Renew};
    let lease = (key(), 0..HOLDERS, fence(), prop::bool::weighted(0.2));
    prop_oneof![
        3 => lease.clone().prop_map(|(key, holder, _, brief)| Acquire { key, holder, brief }),
        2 => lease.clone().prop_map(|(key, holder, when, brief)| Renew { key, holder, when, brief }),
        2 => lease.prop_map(|(key, holder, when, _)| Release { key, holder, when }),
        1 => key().prop_map(|key| Look { key }),
    ]
}

fn owed() -> impl Strategy<Value = OnOwed> {
    use OnOwed::{Delete, Due, List, Update};
    let list = (0..TENANTS, option::of(0..OWNERS), 0..4u32);
    prop_oneof![
        (0..=SPANS).prop_map(|until| Due { until }),
        list.prop_map(|(tenant, owner, limit)| List { tenant, owner, limit }),
        (0..4usize, when(), 0..SPANS).prop_map(|(which, when, due)| Update { which, when, due }),
        (0..4usize).prop_map(|which| Delete { which }),
    ]
}

fn flows() -> impl Strategy<Value = OnFlow> {
    use OnFlow::{Cancel, Finish, Insert, PurgeNothing, Take};
    let insert = (0..FLOWS, 0..TENANTS, 0..OWNERS, 0..CONNECTORS, 0..4u32);
    let cancel = (0..TENANTS, 0..OWNERS, option::of(0..CONNECTORS));
    prop_oneof![
        4 => insert.prop_map(|(flow, tenant, owner, connector, cap)| {
            Insert { flow, tenant, owner, connector, cap }
        }),
        2 => (0..FLOWS).prop_map(|flow| Take { flow }),
        2 => (0..FLOWS).prop_map(|flow| Finish { flow }),
        1 => cancel.prop_map(|(tenant, owner, connector)| Cancel { tenant, owner, connector }),
        1 => (0..9u32).prop_map(|limit| PurgeNothing { limit }),
    ]
}

fn keys() -> impl Strategy<Value = OnKey> {
    use OnKey::{Delete, Get, List, Put};
    prop_oneof![
        4 => (0..SCOPES, when_put()).prop_map(|(scope, when)| Put { scope, when }),
        1 => (0..SCOPES).prop_map(|scope| Get { scope }),
        1 => (0..SCOPES).prop_map(|scope| Delete { scope }),
        1 => (50..100u32).prop_map(|limit| List { limit }),
    ]
}

fn connectors() -> impl Strategy<Value = OnConnector> {
    use OnConnector::{Delete, Find, Get, List, Put};
    let put = (0..TENANTS, 0..NAMES, 0..NAMES, when_put());
    prop_oneof![
        5 => put.prop_map(|(tenant, id, name, when)| Put { tenant, id, name, when }),
        1 => (0..TENANTS, 0..NAMES).prop_map(|(tenant, id)| Get { tenant, id }),
        1 => (0..TENANTS, 0..NAMES).prop_map(|(tenant, name)| Find { tenant, name }),
        1 => (0..TENANTS, 0..NAMES, when()).prop_map(|(tenant, id, when)| Delete { tenant, id, when }),
        1 => (0..TENANTS, 0..4u32).prop_map(|(tenant, limit)| List { tenant, limit }),
    ]
}
