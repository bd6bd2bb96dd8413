//! The write that ends a flow, while another transaction is at that flow.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use vault_core::store::{Condition, ConnectionStore as _, Finish, FlowInsert, FlowStore as _};

use super::support::{NOW, changed, connection, flow, fresh, number};

/// What the statement saw when it began is not enough.
#[tokio::test(flavor = "multi_thread")]
async fn v06_a_flow_that_is_being_cancelled_is_waited_for_and_ends_no_more() {
    let hour = Duration::from_secs(3600);
    let there = connection("bob", 1);
    for (record, condition) in
        [(connection("ann", 1), Condition::Absent), (changed(&there), Condition::Version(there.version))]
    {
        let (store, pool, schema) = fresh().await;
        super::support::insert(&store, &there).await.expect("works");
        let flow = flow(&record, 1, NOW.saturating_add(hour));
        assert_eq!(store.insert(&flow, 9, NOW).await.expect("works"), FlowInsert::Inserted);
        store.take(&flow.state_hash, flow.expires_at, NOW).await.expect("works").expect("it is there");

        let mut cancelling = pool.begin().await.expect("works");
        let cancel = format!("DELETE FROM \"{schema}\".vault_flows");
        sqlx::raw_sql(AssertSqlSafe(cancel)).execute(&mut *cancelling).await.expect("works");
        let (writer, written) = (store.clone(), record.clone());
        let finish =
            tokio::spawn(async move { writer.put_and_finish(&written, condition, None, &flow).await });
        let waiting = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%{schema}%'"
        );
        while number(&pool, waiting.clone()).await == 0 {
            tokio::task::yield_now().await;
        }
        cancelling.commit().await.expect("works");
        assert_eq!(finish.await.expect("no panic").expect("works"), Some(Finish::Gone));
        let stored = store.get(&record.key).await.expect("works");
        assert!(stored.is_none_or(|stored| stored.version == there.version), "nothing was written");
    }
}
