//! Modules that must be signed.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use p256::pkcs8::{EncodePublicKey as _, LineEnding};
use weir_conformance::guests::numbered;
use weir_conformance::registry::{Layout, Registry, Reply};
use weir_conformance::{Weir, check};

fn signer(byte: u8) -> SigningKey {
    SigningKey::from_slice(&[byte; 32]).unwrap()
}

fn pem(byte: u8) -> String {
    let key = *signer(byte).verifying_key();
    key.to_public_key_pem(LineEnding::LF).unwrap()
}

/// As `cosign sign-blob` writes it.
fn sign(byte: u8, module: &[u8]) -> String {
    let signature: Signature = signer(byte).sign(module);
    STANDARD.encode(signature.to_der().as_bytes())
}

fn config(verify: &str) -> String {
    format!(
        "workers: 1\nadmin: {{ address: 127.0.0.1:0 }}\nlisteners:\n\
         - name: edge\n  address: 127.0.0.1:0\n  http_filters:\n  \
           - name: auth\n    wasm:\n      vm_config:\n        \
               code: {{ local: {{ filename: auth.wasm }} }}\n        \
               verify: {verify}\n  \
           routes: [{{ match: {{ prefix: / }}, direct_response: {{ status: 200 }} }}]\n"
    )
}

const REQUIRED: &str = "{ key: team.pub }";
const OPTIONAL: &str = "{ key: team.pub, required: false }";

/// A folder with the key 1, a module, and a signature if there is one.
fn files<'a>(module: &'a [u8], signature: Option<&'a str>) -> impl FnOnce(&Path) + 'a {
    move |folder| {
        std::fs::write(folder.join("team.pub"), pem(1)).unwrap();
        std::fs::write(folder.join("auth.wasm"), module).unwrap();
        if let Some(signature) = signature {
            std::fs::write(folder.join("auth.wasm.sig"), signature).unwrap();
        }
    }
}

fn checked(verify: &str, module: &[u8], signature: Option<&str>) -> (bool, String) {
    check(&config(verify), files(module, signature))
}

#[test]
fn a_module_with_the_right_signature_is_served() {
    let module = numbered(1);
    let signature = sign(1, &module);
    let inline = format!("{{ key: {:?} }}", pem(1));
    for verify in [REQUIRED, OPTIONAL, &inline] {
        let (passed, printed) = checked(verify, &module, Some(&signature));
        assert!(passed, "{printed}");
    }
}

#[test]
fn whatever_does_not_fit_is_refused_at_its_place() {
    let (good, other) = (numbered(1), numbered(2));
    let mut tampered = good.clone();
    *tampered.last_mut().unwrap() ^= 1;
    for (module, signature) in [
        // A byte was changed.
        (&tampered, sign(1, &good)),
        // By somebody else.
        (&good, sign(2, &good)),
        // Of another module, or of an older version of this one.
        (&good, sign(1, &other)),
    ] {
        for verify in [REQUIRED, OPTIONAL] {
            let (passed, printed) = checked(verify, module, Some(&signature));
            assert!(!passed, "{printed}");
            let place = "weir.yaml:10:36";
            let words = "auth.wasm is refused: its signature does not fit";
            assert!(printed.contains(place), "{printed}");
            assert!(printed.contains(words), "{printed}");
        }
    }
}

#[test]
fn a_module_without_a_signature_is_refused_unless_that_is_allowed() {
    let (passed, printed) = checked(REQUIRED, &numbered(1), None);
    assert!(!passed, "{printed}");
    assert!(printed.contains("auth.wasm is refused: it is not signed"));
    assert!(printed.contains("auth.wasm.sig"), "{printed}");
    let (passed, printed) = checked(OPTIONAL, &numbered(1), None);
    assert!(passed, "{printed}");
}

#[test]
fn a_filter_that_asks_for_nothing_does_not_open_the_door_for_another() {
    let without = "  - name: free\n    wasm: { vm_config: { code: { local: \
                   { filename: auth.wasm } } } }\n  - name: auth";
    let config = config(REQUIRED).replace("  - name: auth", without);
    let (passed, printed) = check(&config, files(&numbered(1), None));
    assert!(!passed, "{printed}");
    assert!(printed.contains("it is not signed"), "{printed}");
}

#[test]
fn a_key_that_is_none_is_told_at_its_place() {
    let (passed, printed) = check(&config("{ key: other.pub }"), files(&numbered(1), None));
    assert!(
        !passed && printed.contains("cannot read the key"),
        "{printed}"
    );
    let (passed, printed) = checked("{ key: auth.wasm }", b"\0asm", None);
    assert!(!passed && printed.contains("cannot be used"), "{printed}");
}

#[test]
fn a_reload_takes_no_module_that_is_not_signed_for() {
    let (old, new) = (numbered(1), numbered(2));
    let signature = sign(1, &old);
    let weir = Weir::start_with(&config(REQUIRED), files(&old, Some(&signature)));
    weir.replace("auth.wasm", &new);
    let answer = weir.reload();
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(answer.text().contains("is refused"), "{}", answer.text());
    assert_eq!(weir.metric("weir_generation"), 1);
    assert_eq!(weir.connect().get("/").status, 200);
    // The file of the signature is looked after like that of the module.
    weir.replace("auth.wasm.sig", sign(1, &new).as_bytes());
    weir.eventually_metric("weir_generation", 2);
}

/// Signs the image with this digest, as `cosign sign` does, and puts that where the
/// signature of the image `under` belongs.
fn sign_image(registry: &Registry, byte: u8, digest: &str, under: &str) {
    let payload = serde_json::json!({
        "critical": {
            "identity": { "docker-reference": "elsewhere.example/auth" },
            "image": { "docker-manifest-digest": digest },
            "type": "cosign container image signature",
        },
        "optional": null,
    });
    let payload = payload.to_string();
    let blob = registry.push_blob("auth", payload.as_bytes());
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "layers": [{
            "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
            "size": payload.len(),
            "digest": blob,
            "annotations": {
                "dev.cosignproject.cosign/signature": sign(byte, payload.as_bytes()),
            },
        }],
    });
    let tag = format!("{}.sig", under.replace(':', "-"));
    registry.push_manifest("auth", &tag, &manifest);
}

/// Signs the image with this digest as `cosign sign` does since its version 3; gives the
/// index of what refers to the image.
fn attach_bundle(registry: &Registry, byte: u8, digest: &str) -> serde_json::Value {
    let statement = serde_json::json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "digest": { "sha256": digest.strip_prefix("sha256:") } }],
        "predicateType": SIGN,
        "predicate": {},
    });
    let statement = statement.to_string();
    let kind = "application/vnd.in-toto+json";
    let message = format!(
        "DSSEv1 {} {kind} {} {statement}",
        kind.len(),
        statement.len()
    );
    let bundle = serde_json::json!({
        "mediaType": BUNDLE,
        "dsseEnvelope": {
            "payload": STANDARD.encode(&statement),
            "payloadType": kind,
            "signatures": [{ "sig": sign(byte, message.as_bytes()) }],
        },
    });
    let bundle = bundle.to_string();
    let blob = registry.push_blob("auth", bundle.as_bytes());
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": BUNDLE,
        "layers": [{ "mediaType": BUNDLE, "size": bundle.len(), "digest": blob }],
        "subject": { "digest": digest },
    });
    let manifest = registry.push_manifest("auth", "bundle", &manifest);
    let of_something_else = serde_json::json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": BUNDLE,
        "annotations": { "dev.sigstore.bundle.predicateType": "https://spdx.dev/Document" },
        "size": 1,
        "digest": "sha256:0",
    });
    serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "artifactType": BUNDLE,
                "annotations": { "dev.sigstore.bundle.predicateType": SIGN },
                "size": 1,
                "digest": manifest,
            },
            of_something_else,
        ],
    })
}

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

fn image_config(registry: &Registry, verify: &str, more: &str) -> String {
    let uri = registry.oci("auth:1");
    let remote = format!(
        "remote: {{ uri: \"{uri}\", timeout: 5s, retry_policy: {{ num_retries: 0 }}{more} }}"
    );
    let local = "local: { filename: auth.wasm }";
    let config = config(verify).replace(local, &remote);
    format!("modules: {{ cache: cache }}\n{config}")
}

#[test]
fn an_image_is_signed_in_its_registry() {
    let registry = Registry::start();
    let image = registry.push("auth", "1", Layout::Oci, &numbered(1));
    let checked = |verify: &str| check(&image_config(&registry, verify, ""), files(b"", None));
    let tag = format!("auth:{}.sig", image.replace(':', "-"));
    let (passed, printed) = checked(REQUIRED);
    assert!(!passed, "{printed}");
    assert!(
        printed.contains("/auth:1 is refused: it is not signed"),
        "{printed}"
    );
    assert!(printed.contains(&format!("/{tag}, and")), "{printed}");
    let (passed, printed) = checked(OPTIONAL);
    assert!(passed, "{printed}");
    sign_image(&registry, 1, &image, &image);
    let (passed, printed) = checked(REQUIRED);
    assert!(passed, "{printed}");
    sign_image(&registry, 2, &image, &image);
    let (passed, printed) = checked(OPTIONAL);
    assert!(!passed, "{printed}");
    assert!(printed.contains("its signature does not fit"), "{printed}");
}

#[test]
fn a_bundle_that_refers_to_an_image_signs_it() {
    for lists_referrers in [true, false] {
        let registry = Registry::start();
        let image = registry.push("auth", "1", Layout::Oci, &numbered(1));
        let attach = |byte| {
            let index = attach_bundle(&registry, byte, &image);
            if lists_referrers {
                let path = format!("/v2/auth/referrers/{image}");
                registry.set(&path, Reply::bytes(index.to_string()));
            } else {
                registry.push_manifest("auth", &image.replace(':', "-"), &index);
            }
        };
        let config = image_config(&registry, REQUIRED, "");
        attach(2);
        let (passed, printed) = check(&config, files(b"", None));
        assert!(!passed, "{printed}");
        assert!(printed.contains("its signature does not fit"), "{printed}");
        attach(1);
        let (passed, printed) = check(&config, files(b"", None));
        assert!(passed, "{printed}");
    }
}

#[test]
fn the_bundle_of_a_copy_is_verified_again() {
    let registry = Registry::start();
    let image = registry.push("auth", "1", Layout::Oci, &numbered(1));
    let index = attach_bundle(&registry, 1, &image);
    let path = format!("/v2/auth/referrers/{image}");
    registry.set(&path, Reply::bytes(index.to_string()));
    let weir = Weir::start_with(&image_config(&registry, REQUIRED, ""), files(b"", None));
    registry.down(true);
    assert_eq!(weir.reload().status, 200);
    weir.replace("team.pub", pem(2).as_bytes());
    let answer = weir.reload();
    assert_eq!(answer.status, 400);
    assert!(
        answer.text().contains("its signature does not fit"),
        "{}",
        answer.text()
    );
}

#[test]
fn an_old_image_is_not_passed_off_as_a_new_one() {
    let registry = Registry::start();
    let old = registry.push("auth", "0", Layout::Oci, &numbered(0));
    let image = registry.push("auth", "1", Layout::Oci, &numbered(1));
    // A good signature, moved to where that of another image belongs.
    sign_image(&registry, 1, &old, &image);
    let config = image_config(&registry, REQUIRED, "");
    let (passed, printed) = check(&config, files(b"", None));
    assert!(!passed, "{printed}");
    let words = format!("its signature is for {old}, not for {image}");
    assert!(printed.contains(&words), "{printed}");
}

#[test]
fn a_copy_of_an_image_is_verified_like_the_image() {
    let registry = Registry::start();
    let image = registry.push("auth", "1", Layout::Oci, &numbered(1));
    let config = image_config(&registry, OPTIONAL, "");
    let weir = Weir::start_with(&config, files(b"", None));
    // It may be signed meanwhile.
    sign_image(&registry, 1, &image, &image);
    weir.configure(&config.replace(", required: false", ""));
    assert_eq!(weir.reload().status, 200);
    registry.seen();
    // The signature is kept too.
    registry.down(true);
    assert_eq!(weir.reload().status, 200);
    // And is looked at again.
    weir.replace("team.pub", pem(2).as_bytes());
    let answer = weir.reload();
    assert_eq!(answer.status, 400);
    let printed = answer.text();
    assert!(printed.contains("its signature does not fit"), "{printed}");
}

#[test]
fn a_signature_that_is_taken_back_counts_when_images_are_pulled_always() {
    let registry = Registry::start();
    let image = registry.push("auth", "1", Layout::Oci, &numbered(1));
    sign_image(&registry, 1, &image, &image);
    let config = image_config(&registry, REQUIRED, ", pull_policy: Always");
    let weir = Weir::start_with(&config, files(b"", None));
    assert_eq!(weir.reload().status, 200);
    sign_image(&registry, 2, &image, &image);
    assert_eq!(weir.reload().status, 400);
    assert_eq!(weir.connect().get("/").status, 200);
}
