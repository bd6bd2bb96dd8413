//! The reference backend against the contract that it stands for.

use std::sync::Arc;
use std::time::Duration;

use vault_core::clock::Clock;
use vault_core::entropy::SystemEntropy;
use vault_core::id::{AttemptId, ConnectionKey, ConnectorId, Incarnation, Owner, Slot, TenantId};
use vault_core::store::{
    Bytes, Condition, ConnectionRecord, ConnectionStatus, ConnectionStore, LeaseAcquire, Put, Stores, Version,
};
use vault_memory::MemoryStore;
use vault_testkit::clock::ManualClock;
use vault_testkit::conformance::connections;
use vault_testkit::faults::FaultStore;

mod expiring;

mod through_pointers {
    use super::*;

    async fn backend() -> Stores {
        Stores::from_backend(Arc::new(Box::new(MemoryStore::new())))
    }
    vault_testkit::conformance!(backend);
}

mod through_a_fault_store_without_faults {
    use super::*;

    async fn backend() -> Stores {
        FaultStore::new(Stores::from_backend(MemoryStore::new())).stores()
    }
    vault_testkit::conformance!(backend);
}

mod on_one_store_for_all_tests {
    use std::sync::LazyLock;

    use super::*;

    static STORE: LazyLock<MemoryStore> = LazyLock::new(MemoryStore::new);

    async fn backend() -> Stores {
        Stores::from_backend(STORE.clone())
    }
    vault_testkit::conformance!(backend);
}

mod with_flows_that_expire_by_themselves {
    use super::*;

    async fn backend() -> Stores {
        let flows = Arc::new(expiring::ExpiringFlows::default());
        Stores { flows, ..Stores::from_backend(MemoryStore::new()) }
    }
    vault_testkit::conformance!(backend);
}

#[tokio::test(flavor = "multi_thread")]
async fn s16_clones_share_one_store() {
    let store = MemoryStore::new();
    connections::s16_two_handles_share_one_store(&store, &store.clone()).await;
}

#[tokio::test]
async fn r13_leases_do_not_notice_a_wall_clock_that_jumps() {
    let clock = ManualClock::new();
    let store = MemoryStore::with_clock(Arc::new(clock.clone()));
    let record = record();
    let written = store.put(&record, Condition::Absent, None, None).await.expect("works");
    assert_eq!(written, Put::Written);
    let acquire = async || {
        let holder = AttemptId::random(&SystemEntropy::default()).expect("random");
        let ttl = Duration::from_secs(45);
        store.acquire_lease(&record.key, holder, ttl).await.expect("works")
    };
    let LeaseAcquire::Acquired(first, _) = acquire().await else {
        panic!("a new record has no lease");
    };
    assert_eq!(first.granted_at, clock.now().into());

    clock.jump_wall(8 * 3600);
    clock.advance(Duration::from_secs(44));
    let remaining = Duration::from_secs(1);
    assert_eq!(acquire().await, LeaseAcquire::Held { remaining });
    clock.jump_wall(-9 * 3600);
    clock.advance(Duration::from_secs(1));
    let LeaseAcquire::Acquired(second, _) = acquire().await else {
        panic!("the first lease has lapsed");
    };
    assert_eq!(second.fence, first.fence + 1);
    let between = second.granted_at.saturating_since(first.granted_at);
    assert_eq!(between, Duration::from_secs(45));
}

fn record() -> ConnectionRecord {
    let now = ManualClock::new().now().into();
    ConnectionRecord {
        key: ConnectionKey {
            tenant: TenantId::default(),
            owner: Owner::Shared,
            connector: ConnectorId::new("mail").expect("valid"),
            slot: Slot::default(),
        },
        version: Version::from_i64(1),
        incarnation: Incarnation::from_bytes([7; 16]),
        generation: 1,
        status: ConnectionStatus::Active,
        due_at: None,
        expires_at: None,
        created_at: now,
        updated_at: now,
        summary: Vec::new(),
        credential: Bytes::new(),
        refresh: Vec::new(),
    }
}
