//! Ordered tables whose keys are paths, so that a listing is a range.

use std::collections::BTreeMap;
use std::ops::Bound;

use vault_core::id::{Owner, TenantId};
use vault_core::store::{Condition, Cursor, Page, Paged, Version};

/// Parts of a key, each ended by NUL. No identifier contains one, so paths are injective, and a path of fewer parts is
/// the prefix of exactly what lies under it.
pub(crate) type Path = Vec<u8>;

pub(crate) type Table<V> = BTreeMap<Path, V>;

pub(crate) fn path<const N: usize>(parts: [&str; N]) -> Path {
    let mut path = Path::with_capacity(parts.iter().map(|part| part.len() + 1).sum());
    for part in parts {
        path.extend_from_slice(part.as_bytes());
        path.push(0);
    }
    path
}

pub(crate) fn owner_path(tenant: &TenantId, owner: &Owner) -> Path {
    match owner {
        Owner::Shared => path([tenant.as_str(), "s"]),
        Owner::User(user) => path([tenant.as_str(), "u", user.as_str()]),
    }
}

pub(crate) fn holds(condition: Condition, current: Option<Version>) -> bool {
    match condition {
        Condition::Absent => current.is_none(),
        Condition::Version(version) => current == Some(version),
    }
}

/// One page of what lies under `prefix` and `pick` does not leave out.
pub(crate) fn page<V, T>(
    table: &Table<V>,
    prefix: &[u8],
    page: &Page,
    pick: impl Fn(&V) -> Option<T>,
) -> Paged<T> {
    let start = match &page.after {
        Some(Cursor(after)) if after.as_slice() > prefix => Bound::Excluded(after.as_slice()),
        _ => Bound::Included(prefix),
    };
    let mut matching = table
        .range::<[u8], _>((start, Bound::Unbounded))
        .take_while(|(path, _)| path.starts_with(prefix))
        .filter_map(|(path, value)| Some((path, pick(value)?)));

    let limit = usize::try_from(page.limit.max(1)).unwrap_or(usize::MAX);
    let (paths, items): (Vec<&Path>, Vec<T>) = matching.by_ref().take(limit).unzip();
    let next = matching.next().and(paths.last()).map(|&last| Cursor(last.clone()));
    Paged { items, next }
}
