use proptest::prelude::*;

use super::tenant;
use crate::error::ErrorKind;
use crate::id::{ConnectorId, Incarnation, Owner, Slot, TenantId, UserId};
use crate::seal::context::AssociatedData;
use crate::seal::{Context, Purpose};

/// A [`Context`] that owns its parts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Owned {
    purpose: Purpose,
    pub(super) tenant: TenantId,
    owner: Option<Owner>,
    connector: Option<ConnectorId>,
    slot: Option<Slot>,
    incarnation: Option<Incarnation>,
    generation: Option<u64>,
    subject: Option<Vec<u8>>,
}

impl Owned {
    pub(super) fn borrow(&self) -> Context<'_> {
        Context {
            purpose: self.purpose,
            tenant: &self.tenant,
            owner: self.owner.as_ref(),
            connector: self.connector.as_ref(),
            slot: self.slot.as_ref(),
            incarnation: self.incarnation,
            generation: self.generation,
            subject: self.subject.as_deref(),
        }
    }

    fn fields(&self) -> Vec<u8> {
        let mut data = AssociatedData::new();
        data.fill(&self.borrow()).expect("a short subject");
        data.fields().to_vec()
    }
}

/// Contexts of parts that `id` matches.
pub(super) fn contexts(id: &'static str) -> impl Strategy<Value = Owned> {
    let text = || proptest::string::string_regex(id).expect("a valid pattern");
    let maybe = move || proptest::option::of(text());
    let owner = proptest::option::of(maybe());
    let small = || proptest::option::of(0..3u8);
    let purpose = prop_oneof![
        Just(Purpose::Credential),
        Just(Purpose::Summary),
        Just(Purpose::Flow),
        Just(Purpose::Revocation),
    ];
    (purpose, text(), owner, maybe(), maybe(), maybe(), small(), small()).prop_map(
        |(purpose, tenant, owner, connector, slot, subject, incarnation, generation)| Owned {
            purpose,
            tenant: TenantId::new(tenant).expect("matches the pattern"),
            owner: owner.map(|user| {
                user.map_or(Owner::Shared, |id| Owner::User(UserId::new(id).expect("matches the pattern")))
            }),
            connector: connector.map(|id| ConnectorId::new(id).expect("matches the pattern")),
            slot: slot.map(|id| Slot::new(id).expect("matches the pattern")),
            incarnation: incarnation.map(|byte| Incarnation::from_bytes([byte; 16])),
            generation: generation.map(u64::from),
            subject: subject.map(String::into_bytes),
        },
    )
}

proptest! {
    /// Few letters, control characters among them, so that encodings collide if they can.
    #[test]
    fn e02_two_contexts_are_encoded_alike_only_if_they_are_equal(
        a in contexts("[a\u{1}\u{3}\u{5}]{1,3}"),
        b in contexts("[a\u{1}\u{3}\u{5}]{1,3}"),
    ) {
        prop_assert_eq!(a == b, a.fields() == b.fields());
    }

    /// A neighbour differs in one thing only.
    #[test]
    fn e02_a_part_more_or_less_is_another_encoding(a in contexts("[ab]{1,2}")) {
        let neighbours = [
            Owned { owner: None, ..a.clone() },
            Owned { owner: Some(Owner::Shared), ..a.clone() },
            Owned { connector: None, ..a.clone() },
            Owned { slot: None, ..a.clone() },
            Owned { incarnation: None, ..a.clone() },
            Owned { generation: None, ..a.clone() },
            Owned { subject: None, ..a.clone() },
            Owned { subject: Some(Vec::new()), ..a.clone() },
        ];
        for b in neighbours {
            prop_assert_eq!(a == b, a.fields() == b.fields());
        }
    }
}

#[test]
fn the_longest_context_fits() {
    let longest = "x".repeat(255);
    let context = Owned {
        purpose: Purpose::Credential,
        tenant: tenant(&longest),
        owner: Some(Owner::User(UserId::new(&longest).expect("255 bytes"))),
        connector: Some(ConnectorId::new(&longest).expect("255 bytes")),
        slot: Some(Slot::new(&longest).expect("255 bytes")),
        incarnation: Some(Incarnation::from_bytes([1; 16])),
        generation: Some(u64::MAX),
        subject: Some(longest.clone().into_bytes()),
    };
    assert_eq!(context.fields().len(), 8 * 5 + 1 + 255 + 256 + 3 * 255 + 16 + 8);

    let too_long = Owned { subject: Some(vec![0; 256]), ..context };
    super::refused(
        AssociatedData::new().fill(&too_long.borrow()),
        ErrorKind::InvalidInput,
        "subject is longer than 255 bytes",
    );
}

#[test]
fn purposes_have_distinct_codes_that_are_no_letters() {
    let mut codes: Vec<_> = [
        Purpose::Connector,
        Purpose::Credential,
        Purpose::DataKey,
        Purpose::Flow,
        Purpose::Revocation,
        Purpose::Summary,
    ]
    .map(Purpose::code)
    .into();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes, [1, 2, 3, 4, 5, 6]);
}
