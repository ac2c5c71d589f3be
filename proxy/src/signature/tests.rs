//! Signatures of other tools (in `testdata`), and of this module's own making.

use p256::ecdsa::signature::Signer as _;
use sha2::{Digest as _, Sha256};

use super::image::{Form, ImageSignature};
use super::*;

const MODULE: &[u8] = include_bytes!("testdata/module.wasm");
/// By `wasmsign2`, with and without a name for the key.
const WASMSIGN2: [&[u8]; 2] = [
    include_bytes!("testdata/wasmsign2.wasm"),
    include_bytes!("testdata/wasmsign2-named.wasm"),
];
const WASMSIGN2_KEY: &str = include_str!("testdata/wasmsign2.pem");
/// By `openssl dgst -sha256 -sign`, in base64, as `cosign sign-blob` writes it.
const P256: &[u8] = include_bytes!("testdata/openssl-p256.sig");
const P256_KEY: &str = include_str!("testdata/openssl-p256.pem");
/// By `openssl pkeyutl -sign -rawin`.
const ED25519: &[u8] = include_bytes!("testdata/openssl-ed25519.sig");
const ED25519_KEY: &str = include_str!("testdata/openssl-ed25519.pem");

fn key(pem: &str) -> PublicKey {
    PublicKey::from_pem(pem).unwrap()
}

/// A key of this test, and what it signs.
fn own(byte: u8) -> (PublicKey, impl Fn(&[u8]) -> String) {
    let signer = p256::ecdsa::SigningKey::from_slice(&[byte; 32]).unwrap();
    let public = PublicKey::P256(Box::new(*signer.verifying_key()));
    let sign = move |message: &[u8]| {
        let signature: p256::ecdsa::Signature = signer.sign(message);
        STANDARD.encode(signature.to_der().as_bytes())
    };
    (public, sign)
}

fn every_changed_byte(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len()).map(move |at| {
        let mut changed = bytes.to_vec();
        changed[at] ^= 0x10;
        changed
    })
}

#[test]
fn a_signature_beside_the_module_fits_it_alone() {
    for (pem, signature) in [(P256_KEY, P256), (ED25519_KEY, ED25519)] {
        let key = key(pem);
        assert_eq!(verify_module(&key, MODULE, Some(signature)), Ok(()));
        for changed in every_changed_byte(MODULE) {
            let refused = verify_module(&key, &changed, Some(signature));
            assert_eq!(refused, Err(SignatureError::Wrong));
        }
        for changed in every_changed_byte(&decode(signature).unwrap()) {
            assert!(verify_module(&key, MODULE, Some(&changed)).is_err());
        }
        let missing = verify_module(&key, MODULE, None);
        assert_eq!(missing, Err(SignatureError::Missing));
    }
}

#[test]
fn base64_may_have_lines_around_it_and_the_bytes_alone_will_do() {
    let key = key(P256_KEY);
    let lines = [b"\n", P256, b"\r\n"].concat();
    assert_eq!(verify_module(&key, MODULE, Some(&lines)), Ok(()));
    let bytes = STANDARD.decode(P256).unwrap();
    assert_eq!(verify_module(&key, MODULE, Some(&bytes)), Ok(()));
}

#[test]
fn a_bundle_counts_for_the_signature_in_it() {
    let key = key(P256_KEY);
    let signature = std::str::from_utf8(P256).unwrap();
    let bundle = |signature: &str| {
        let digest = STANDARD.encode(Sha256::digest(MODULE));
        let bundle = serde_json::json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": { "publicKey": { "hint": "team" } },
            "messageSignature": {
                "messageDigest": { "algorithm": "SHA2_256", "digest": digest },
                "signature": signature,
            },
        });
        bundle.to_string().into_bytes()
    };
    let old = serde_json::json!({ "base64Signature": signature }).to_string();
    for bundle in [bundle(signature), old.into_bytes()] {
        assert_eq!(verify_module(&key, MODULE, Some(&bundle)), Ok(()));
        let refused = verify_module(&key, WASMSIGN2[0], Some(&bundle));
        assert_eq!(refused, Err(SignatureError::Wrong));
    }
    // Its digest proves nothing.
    let (_, sign) = own(7);
    let refused = verify_module(&key, MODULE, Some(&bundle(&sign(MODULE))));
    assert_eq!(refused, Err(SignatureError::Wrong));
}

#[test]
fn a_signature_of_another_key_is_refused() {
    let (_, sign) = own(7);
    let other = sign(MODULE);
    let refused = verify_module(&key(P256_KEY), MODULE, Some(other.as_bytes()));
    assert_eq!(refused, Err(SignatureError::Wrong));
    let refused = verify_module(&key(WASMSIGN2_KEY), MODULE, Some(ED25519));
    assert_eq!(refused, Err(SignatureError::Wrong));
    let refused = verify_module(&key(ED25519_KEY), WASMSIGN2[0], None);
    assert_eq!(refused, Err(SignatureError::Wrong));
}

#[test]
fn a_signature_of_another_kind_is_told_apart() {
    let error = |key, module, beside| verify_module(key, module, beside).unwrap_err();
    let (p256, ed25519) = (key(P256_KEY), key(ED25519_KEY));
    for malformed in [
        error(&p256, MODULE, Some(ED25519)),
        error(&ed25519, MODULE, Some(P256)),
        error(&p256, MODULE, Some(b"")),
        error(&p256, MODULE, Some(br#"{"mediaType": "bundle"}"#)),
    ] {
        let is_malformed = matches!(malformed, SignatureError::Malformed(_));
        assert!(is_malformed, "{malformed}");
    }
    let other = error(&p256, WASMSIGN2[0], None);
    assert_eq!(other, SignatureError::OtherAlgorithm("ECDSA on P-256"));
}

#[test]
fn a_signature_in_the_module_fits_it_alone() {
    let key = key(WASMSIGN2_KEY);
    for module in WASMSIGN2 {
        assert_eq!(verify_module(&key, module, None), Ok(()));
        let end = module.len() - (MODULE.len() - 8);
        // Counts, lengths and the name of the key are signed by nobody.
        let hash = Sha256::digest(&module[end..]);
        let hash = module.windows(32).position(|w| *w == *hash).unwrap();
        let signed =
            |at: &usize| *at >= end - 64 || (hash..hash + 32).contains(at) || (0..8).contains(at);
        let changed = every_changed_byte(module).enumerate();
        for (at, changed) in changed.filter(|(at, _)| signed(at)) {
            assert!(verify_module(&key, &changed, None).is_err(), "{at}");
        }
        for changed in every_changed_byte(module) {
            let _ = verify_module(&key, &changed, None);
        }
        for length in 0..module.len() {
            assert!(verify_module(&key, &module[..length], None).is_err());
        }
        let longer = [module, &[0, 2, 1, b'x']].concat();
        let refused = verify_module(&key, &longer, None);
        assert_eq!(refused, Err(SignatureError::Wrong));
    }
}

#[test]
fn a_section_of_another_module_is_refused() {
    let signed = WASMSIGN2[0];
    let section = &signed[..signed.len() - (MODULE.len() - 8)];
    let other = [section, &MODULE[8..MODULE.len() - 6]].concat();
    let refused = verify_module(&key(WASMSIGN2_KEY), &other, None);
    assert_eq!(refused, Err(SignatureError::Wrong));
}

#[test]
fn a_section_that_is_not_the_first_does_not_count() {
    let signed = WASMSIGN2[0];
    let begins = signed.len() - (MODULE.len() - 8);
    let moved = [MODULE, &signed[8..begins]].concat();
    let refused = verify_module(&key(WASMSIGN2_KEY), &moved, None);
    assert_eq!(refused, Err(SignatureError::Missing));
}

#[test]
fn keys_that_are_none_are_refused() {
    let weak = {
        // The neutral element, of which every signature may be one.
        let mut der = STANDARD.decode("MCowBQYDK2VwAyEA").unwrap();
        der.push(1);
        der.extend([0; 31]);
        let body = STANDARD.encode(der);
        format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
    };
    assert!(matches!(PublicKey::from_pem(&weak), Err(KeyError::Weak)));
    for pem in ["", "AAAA", &P256_KEY[..P256_KEY.len() / 2]] {
        assert!(matches!(PublicKey::from_pem(pem), Err(KeyError::Unknown)));
    }
}

const DIGEST: &str = "0c4f4b7cbd8a4d1c5a1cfbf1c8e0f8b9a0e5b7f4a8a7d6c5b4a39281706f5e4d";
const OLD_DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn payload(digest: &str) -> String {
    let text = serde_json::json!({
        "critical": {
            "identity": { "docker-reference": "registry.example/filters/auth" },
            "image": { "docker-manifest-digest": format!("sha256:{digest}") },
            "type": "cosign container image signature",
        },
        "optional": null,
    });
    text.to_string()
}

fn of_image(payload: &str, signature: &str) -> ImageSignature {
    ImageSignature {
        form: Form::SimpleSigning,
        payload: payload.to_owned(),
        signature: signature.to_owned(),
    }
}

#[test]
fn an_image_is_verified_by_its_digest() {
    let (key, sign) = own(7);
    let payload = payload(DIGEST);
    let signature = of_image(&payload, &sign(payload.as_bytes()));
    let verify = |key| image::verify(key, std::slice::from_ref(&signature), DIGEST);
    assert_eq!(verify(&key), Ok(()));
    let (other, _) = own(8);
    assert_eq!(verify(&other), Err(SignatureError::Wrong));
    let none = image::verify(&key, &[], DIGEST);
    assert_eq!(none, Err(SignatureError::Missing));
}

#[test]
fn the_signature_of_an_older_image_is_no_good_for_a_newer() {
    let (key, sign) = own(7);
    let old = payload(OLD_DIGEST);
    let signature = sign(old.as_bytes());
    let signatures = [of_image(&old, &signature)];
    assert_eq!(image::verify(&key, &signatures, OLD_DIGEST), Ok(()));
    let expected = SignatureError::OtherImage {
        found: format!("sha256:{OLD_DIGEST}"),
        expected: format!("sha256:{DIGEST}"),
    };
    let refused = image::verify(&key, &signatures, DIGEST);
    assert_eq!(refused, Err(expected));
    let forged = [of_image(&payload(DIGEST), &signature)];
    let refused = image::verify(&key, &forged, DIGEST);
    assert_eq!(refused, Err(SignatureError::Wrong));
}

#[test]
fn one_good_signature_of_an_image_is_enough() {
    let ((key, sign), (_, sign_otherwise)) = (own(7), own(8));
    let payload = payload(DIGEST);
    let bytes = payload.as_bytes();
    let signatures = [sign_otherwise(bytes), String::new(), sign(bytes)];
    let signatures = signatures.map(|signature| of_image(&payload, &signature));
    assert_eq!(image::verify(&key, &signatures, DIGEST), Ok(()));
    assert!(image::verify(&key, &signatures[..2], DIGEST).is_err());
}

#[test]
fn what_is_signed_for_another_purpose_is_no_image() {
    let (key, sign) = own(7);
    let right = payload(DIGEST);
    let of_another_type = right.replace("cosign container", "another");
    for payload in ["not JSON", "{}", &of_another_type] {
        let signature = of_image(payload, &sign(payload.as_bytes()));
        let refused = image::verify(&key, &[signature], DIGEST);
        assert!(matches!(refused, Err(SignatureError::Malformed(_))));
    }
    let signature = sign(right.as_bytes());
    for bytes in every_changed_byte(right.as_bytes()).take(64) {
        let Ok(payload) = String::from_utf8(bytes) else {
            continue;
        };
        let signature = of_image(&payload, &signature);
        let refused = image::verify(&key, &[signature], DIGEST);
        assert_eq!(refused, Err(SignatureError::Wrong));
    }
}

#[test]
fn signatures_have_a_tag_of_their_own() {
    assert_eq!(image::tag("00ff"), "sha256-00ff.sig");
}

/// The statement about an image that `cosign sign` makes since its version 3.
fn statement(digest: &str) -> serde_json::Value {
    serde_json::json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "digest": { "sha256": digest }, "annotations": {} }],
        "predicateType": "https://sigstore.dev/cosign/sign/v1",
        "predicate": {},
    })
}

/// A bundle with a statement, signed by `sign`.
fn bundle(statement: &serde_json::Value, sign: impl Fn(&[u8]) -> String) -> serde_json::Value {
    let payload = statement.to_string();
    let kind = "application/vnd.in-toto+json";
    let message = format!("DSSEv1 28 {kind} {} {payload}", payload.len());
    serde_json::json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": { "publicKey": { "hint": "x" }, "tlogEntries": [] },
        "dsseEnvelope": {
            "payload": STANDARD.encode(&payload),
            "payloadType": kind,
            "signatures": [{ "sig": sign(message.as_bytes()) }],
        },
    })
}

fn in_bundle(bundle: &serde_json::Value) -> Vec<ImageSignature> {
    ImageSignature::of_bundle(bundle.to_string().as_bytes())
}

#[test]
fn a_statement_in_a_bundle_signs_the_image_that_it_names() {
    let ((key, sign), (other, _)) = (own(7), own(8));
    let signatures = in_bundle(&bundle(&statement(DIGEST), &sign));
    assert_eq!(image::verify(&key, &signatures, DIGEST), Ok(()));
    let refused = image::verify(&other, &signatures, DIGEST);
    assert_eq!(refused, Err(SignatureError::Wrong));
    let refused = image::verify(&key, &signatures, OLD_DIGEST);
    assert!(matches!(refused, Err(SignatureError::OtherImage { .. })));
    // What is signed is not the payload alone.
    let mut simple = signatures;
    simple[0].form = Form::SimpleSigning;
    let refused = image::verify(&key, &simple, DIGEST);
    assert_eq!(refused, Err(SignatureError::Wrong));
}

#[test]
fn what_a_bundle_attests_otherwise_is_no_signature() {
    let (_, sign) = own(7);
    let mut attestation = statement(DIGEST);
    attestation["predicateType"] = "https://slsa.dev/provenance/v1".into();
    assert_eq!(in_bundle(&bundle(&attestation, &sign)), []);
    let mut other_kind = bundle(&statement(DIGEST), &sign);
    other_kind["dsseEnvelope"]["payloadType"] = "text/plain".into();
    assert_eq!(in_bundle(&other_kind), []);
    let of_file = serde_json::json!({ "messageSignature": { "signature": "AAAA" } });
    assert_eq!(in_bundle(&of_file), []);
    for odd in [&b""[..], b"[]", b"{\"dsseEnvelope\": 7}", b"\xff"] {
        assert_eq!(ImageSignature::of_bundle(odd), []);
    }
}
