use std::collections::HashSet;

use proptest::prelude::*;

use super::{connection, context::contexts, credential};
use crate::entropy::{Entropy as _, SystemEntropy};
use crate::id::DataKeyId;
use crate::seal::aead::{ZERO_NONCE, seal_in_place};
use crate::seal::context::AssociatedData;
use crate::seal::envelope::{
    self, Envelope, HEADER_BYTES, MAX_PLAINTEXT_BYTES, OpenError, TooLong, hedged_salt, seal,
};
use crate::seal::key::Key;
use crate::seal::{Context, Purpose};
use crate::secret::SecretBytes;

const ID: DataKeyId = DataKeyId::from_bytes([9; 16]);

fn key(byte: u8) -> Key {
    Key::from_slice(&[byte; 32]).expect("32 bytes")
}

fn associated(context: &Context<'_>) -> AssociatedData {
    let mut data = AssociatedData::new();
    data.fill(context).expect("a short subject");
    data
}

fn sealed(context: &Context<'_>, plaintext: &[u8]) -> Vec<u8> {
    seal(&key(1), ID, &mut associated(context), &[2; 32], plaintext).expect("short enough")
}

fn open(key: &Key, context: &Context<'_>, sealed: &[u8]) -> Result<SecretBytes, OpenError> {
    let mut behind_something = b"front".to_vec();
    behind_something.extend_from_slice(sealed);
    envelope::open(key, &mut associated(context), behind_something, 5)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Made by an implementation of the documented format in another language, from the RFC and the BLAKE3 paper.
#[test]
fn format_v1_is_what_its_documentation_says() {
    let dek: Vec<u8> = (0..32).collect();
    let id = std::array::from_fn(|at| 0xA0 + u8::try_from(at).expect("at most 15"));
    let key = connection("acme", "alice");
    let context = Context { subject: Some(b"subject"), ..credential(&key) };
    let sealed = seal(
        &Key::from_slice(&dek).expect("32 bytes"),
        DataKeyId::from_bytes(id),
        &mut associated(&context),
        &[0x55; 32],
        b"refresh token and its metadata",
    );
    let expected = "5456010100a0a1a2a3a4a5a6a7a8a9aaabacadaeaf\
        30b521657bcfb82a4a01979f8fae37f5758138db556eb92cd96e503668d2ad4f\
        2ff7d5df101119f6ccbc1f818e22f8899399a7023e24711d4ce319fb24d41efe\
        f48a8625e4b6a4680fe7cc9e04121e6d444026768db7aac145c8fac3db89e56f\
        334fb9f90adf1a5d58dd2b6afea32cd35319c7a5fb95ffaca96c013c5179d9bb\
        61f94eb07ef824dc3252a03e493dbd7e";
    assert_eq!(hex(&sealed.expect("short enough")), expected);
}

proptest! {
    #[test]
    fn what_was_sealed_opens(
        context in contexts("[a-z]{1,20}"),
        plaintext in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let sealed = sealed(&context.borrow(), &plaintext);
        prop_assert_eq!(sealed.len(), HEADER_BYTES + (plaintext.len() + 4).div_ceil(64) * 64 + 16);
        let opened = open(&key(1), &context.borrow(), &sealed).expect("just sealed");
        prop_assert_eq!(opened.expose_secret(), &plaintext);
    }
}

#[test]
fn e01_arbitrary_headers_are_refused_by_name() {
    let connection = connection("acme", "alice");
    let context = credential(&connection);
    let sealed = sealed(&context, b"token");
    let edited = |at: usize, byte: u8| {
        let mut bytes = sealed.clone();
        bytes[at] = byte;
        open(&key(1), &context, &bytes).err()
    };
    assert_eq!(edited(0, b'X'), Some(OpenError::Magic));
    assert_eq!(edited(2, 7), Some(OpenError::Version(7)));
    assert_eq!(edited(3, 9), Some(OpenError::Suite(9)));
    assert_eq!(edited(4, 0x80), Some(OpenError::Flags(0x80)));
    // The id of the data key is looked up before; here it is only associated data.
    assert_eq!(edited(5, 0), Some(OpenError::Tampered));
    assert_eq!(edited(21, sealed[21] ^ 1), Some(OpenError::WrongKey));
    assert_eq!(edited(53, sealed[53] ^ 1), Some(OpenError::WrongKey));
    assert_eq!(edited(HEADER_BYTES, sealed[HEADER_BYTES] ^ 1), Some(OpenError::Tampered));
    assert_eq!(OpenError::Version(7).to_string(), "unsupported format 7");
}

#[test]
fn an_unknown_version_is_named_even_when_nothing_else_is_known_of_it() {
    assert_eq!(Envelope::parse(b"TV\x02\0\0").err(), Some(OpenError::Version(2)));
    assert_eq!(Envelope::parse(b"").err(), Some(OpenError::Truncated));
}

#[test]
fn an_oversized_value_is_neither_sealed_nor_opened() {
    let connection = connection("acme", "alice");
    let context = credential(&connection);
    let mut plaintext = vec![0; MAX_PLAINTEXT_BYTES];
    let largest = sealed(&context, &plaintext);
    assert!(open(&key(1), &context, &largest).is_ok());
    plaintext.push(0);
    let refused = seal(&key(1), ID, &mut associated(&context), &[2; 32], &plaintext);
    assert!(matches!(refused, Err(TooLong)));
    let longer = [&largest[..], &[0; 64]].concat();
    assert_eq!(Envelope::parse(&longer).err(), Some(OpenError::TooLong));
}

/// A cloned virtual machine: the random source gives the same bytes again.
#[test]
fn e10_repeated_randomness_does_not_repeat_a_salt_for_other_content() {
    let (alice, bob) = (connection("acme", "alice"), connection("acme", "bob"));
    let salt = |context: &Context<'_>, plaintext: &[u8]| sealed(context, plaintext)[21..53].to_vec();
    let salts = HashSet::from([
        salt(&credential(&alice), b"token"),
        salt(&credential(&alice), b"token\0"),
        salt(&credential(&alice), b"other"),
        salt(&credential(&bob), b"token"),
    ]);
    assert_eq!(salts.len(), 4);
}

/// A million of the salts that seals begin with; whole seals are slow without optimisation, so fewer of these.
#[test]
fn e10_a_million_seals_repeat_no_salt_and_no_ciphertext() {
    let connection = connection("acme", "alice");
    let context = credential(&connection);
    let key = key(1);
    let random = || {
        let mut random = [0; 32];
        SystemEntropy.fill(&mut random).expect("the system has random bytes");
        random
    };
    let mut data = associated(&context);
    let mut salts: Vec<_> =
        (0..1_000_000).map(|_| hedged_salt(&key, &random(), data.fields(), b"the same token")).collect();
    salts.sort_unstable();
    salts.dedup();
    assert_eq!(salts.len(), 1_000_000);

    let mut seen = HashSet::new();
    for _ in 0..10_000 {
        let sealed = seal(&key, ID, &mut data, &random(), b"the same token").expect("short");
        for part in [&sealed[21..53], &sealed[53..85], &sealed[85..117]] {
            assert!(seen.insert(part.to_vec()), "a salt, a commitment or a ciphertext came twice");
        }
    }
}

/// Both forgeries satisfy Poly1305 under one of two keys; the commitment lets neither be taken for the other's.
#[test]
fn e18_a_ciphertext_made_for_another_key_is_rejected_by_its_commitment() {
    let connection = connection("acme", "alice");
    let context = credential(&connection);
    let (ours, theirs) = (key(1), key(2));
    let by_theirs = seal(&theirs, ID, &mut associated(&context), &[3; 32], b"planted").expect("short");
    assert_eq!(open(&ours, &context, &by_theirs).err(), Some(OpenError::WrongKey));

    // Encrypted and authenticated for our key, but committed to theirs.
    let purpose = Purpose::Credential.code();
    let mut derived = [0; 64];
    blake3::Hasher::new_keyed(ours.as_bytes())
        .update(&[purpose])
        .update(&by_theirs[21..53])
        .finalize_xof()
        .fill(&mut derived);
    let (encryption, our_commitment) = derived.split_first_chunk::<32>().expect("64 bytes");
    let forge = |commitment: &[u8]| {
        let header = [&by_theirs[..53], commitment].concat();
        let mut body = [0; 64];
        body[..11].copy_from_slice(b"\0\0\0\x07planted");
        let header = header.try_into().expect("a whole header");
        let mut data = associated(&context);
        let tag = seal_in_place(encryption, &ZERO_NONCE, data.behind(&header), &mut body);
        [&header[..], &body, &tag].concat()
    };
    let opened = open(&ours, &context, &forge(our_commitment)).expect("forged with the key itself");
    assert_eq!(opened.expose_secret(), b"planted");
    let crossed = forge(&by_theirs[53..85]);
    assert_eq!(open(&ours, &context, &crossed).err(), Some(OpenError::WrongKey));
    assert_eq!(open(&theirs, &context, &crossed).err(), Some(OpenError::Tampered));
}
