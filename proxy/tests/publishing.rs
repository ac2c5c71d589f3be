//! Modules that are signed and put into a registry, and fetched from there.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use weir_conformance::guests::numbered;
use weir_conformance::registry::{Login, Registry, Reply, Seen, Uploads, sha256};
use weir_conformance::{Weir, check, run, run_program};

/// A folder with a module, `filter.wasm`, and with keys as `openssl` makes them.
struct Workshop(tempfile::TempDir);

/// What a command has printed.
struct Ran {
    passed: bool,
    out: String,
    err: String,
}

impl Ran {
    /// The reference that was printed.
    #[track_caller]
    fn passed(self) -> String {
        assert!(self.passed, "{}", self.err);
        self.out.trim_end().to_owned()
    }

    #[track_caller]
    fn failed(self) -> String {
        assert!(!self.passed && self.out.is_empty(), "{}", self.out);
        self.err
    }
}

impl Workshop {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("filter.wasm"), numbered(1)).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    /// Makes `key.pem` and `key.pub` with `openssl`.
    fn keys(&self, algorithm: &str) {
        for arguments in [
            format!("genpkey -out key.pem -algorithm {algorithm}"),
            "pkey -in key.pem -pubout -out key.pub".to_owned(),
        ] {
            self.openssl(&arguments);
        }
    }

    fn openssl(&self, arguments: &str) -> String {
        let output = run_program(self.0.path(), "openssl", arguments);
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(output.status.success(), "{arguments}: {text}");
        text
    }

    /// Runs `weir filter ARGUMENTS…`.
    fn filter(&self, arguments: &[&str]) -> Ran {
        let output = run(self.0.path(), &[&["filter"], arguments].concat());
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran {
            passed: output.status.success(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    fn push(&self, image: &str, options: &[&str]) -> Ran {
        self.filter(&[&["push", "filter.wasm", image], options].concat())
    }

    fn sign(&self, what: &str, options: &[&str]) -> Ran {
        self.filter(&[&["sign", what, "--key", "key.pem"], options].concat())
    }

    /// Puts what was made into the folder of a configuration.
    fn files(&self, names: &'static [&'static str]) -> impl FnOnce(&Path) {
        move |folder: &Path| {
            for name in names {
                std::fs::copy(self.path(name), folder.join(name)).unwrap();
            }
        }
    }
}

const ED25519: &str = "ed25519";
const P256: &str = "EC -pkeyopt ec_paramgen_curve:P-256";

/// A configuration whose filter has to be signed.
fn config(code: &str) -> String {
    format!(
        "workers: 1\n\
         admin: {{ address: 127.0.0.1:0 }}\n\
         modules: {{ cache: cache }}\n\
         listeners:\n\
         - name: edge\n  \
           address: 127.0.0.1:0\n  \
           http_filters:\n  \
           - name: auth\n    \
             wasm:\n      \
               vm_config:\n        \
                 code: {{ {code} }}\n        \
                 verify: {{ key: key.pub, required: true }}\n  \
           routes: [{{ match: {{ prefix: / }}, direct_response: {{ status: 200 }} }}]\n"
    )
}

fn remote(uri: &str) -> String {
    format!(
        "remote: {{ uri: \"{uri}\", pull_policy: Always, timeout: 5s, \
         retry_policy: {{ num_retries: 0 }} }}"
    )
}

#[test]
fn a_module_that_is_pushed_and_signed_is_served_where_signatures_are_required() {
    for algorithm in [ED25519, P256] {
        let (registry, workshop) = (Registry::start(), Workshop::new());
        workshop.keys(algorithm);
        let pushed = workshop.push(&registry.oci("acme/auth:1"), &[]).passed();
        let (tag, digest) = pushed.split_once('@').unwrap();
        assert_eq!(tag, registry.oci("acme/auth:1"));
        assert!(digest.starts_with("sha256:"), "{digest}");
        let config = config(&remote(&pushed));
        let (passed, printed) = check(&config, workshop.files(&["key.pub"]));
        assert!(!passed && printed.contains("it is not signed"), "{printed}");
        assert_eq!(workshop.sign(tag, &[]).passed(), pushed);
        let weir = Weir::start_with(&config, workshop.files(&["key.pub"]));
        assert_eq!(weir.connect().get("/").status, 200);
        assert_eq!(weir.metric("weir_generation"), 1);

        // Another module under the same tag, with the old one's signature.
        workshop.write("filter.wasm", numbered(2));
        let other = workshop.push(tag, &[]).passed();
        weir.configure(&config.replace(&pushed, tag));
        let answer = weir.reload();
        assert_eq!(answer.status, 400);
        assert!(
            answer.text().contains("it is not signed"),
            "{}",
            answer.text()
        );
        let (old, new) = (digest, other.split_once('@').unwrap().1);
        let signature =
            |digest: &str| format!("/v2/acme/auth/manifests/{}.sig", digest.replace(':', "-"));
        let moved = registry.stored(&signature(old)).unwrap();
        registry.set(&signature(new), Reply::bytes(moved));
        let answer = weir.reload();
        let refused = format!("its signature is for {old}, not for {new}");
        assert!(answer.text().contains(&refused), "{}", answer.text());
        assert_eq!(weir.connect().get("/").status, 200);
        assert_eq!(weir.metric("weir_generation"), 1);
    }
}

#[test]
fn a_layer_that_was_changed_in_the_registry_is_refused() {
    let (registry, workshop) = (Registry::start(), Workshop::new());
    workshop.keys(ED25519);
    let pushed = workshop
        .push(&registry.oci("auth:1"), &["--layout", "cncf"])
        .passed();
    workshop.sign(&pushed, &[]).passed();
    let path = format!("/v2/auth/blobs/sha256:{}", sha256(&numbered(1)));
    assert_eq!(registry.stored(&path).unwrap(), numbered(1));
    registry.set(&path, Reply::bytes(numbered(2)));
    let (passed, printed) = check(&config(&remote(&pushed)), workshop.files(&["key.pub"]));
    assert!(
        !passed && printed.contains("the layer has the digest"),
        "{printed}"
    );
}

#[test]
fn every_layout_is_one_that_is_fetched_and_the_same_module_is_the_same_image() {
    let (registry, workshop) = (Registry::start(), Workshop::new());
    workshop.keys(ED25519);
    for layout in ["oci", "docker", "artifact", "cncf"] {
        let image = registry.oci(&format!("auth:{layout}"));
        let options = ["--layout", layout];
        let pushed = workshop.push(&image, &options).passed();
        workshop.sign(&pushed, &[]).passed();
        let (passed, printed) = check(&config(&remote(&pushed)), workshop.files(&["key.pub"]));
        assert!(passed, "{layout}: {printed}");
        registry.seen();
        assert_eq!(workshop.push(&image, &options).passed(), pushed);
        let written = registry.seen();
        let written = written
            .iter()
            .filter(|seen| seen.method != "GET" && seen.method != "HEAD");
        let written: Vec<_> = written.map(|seen| seen.path.as_str()).collect();
        assert_eq!(
            written,
            [format!("/v2/auth/manifests/{layout}")],
            "{layout}"
        );
    }
}

#[test]
fn a_file_is_signed_beside_it_and_within() {
    for (algorithm, embed) in [(ED25519, true), (ED25519, false), (P256, false)] {
        let workshop = Workshop::new();
        workshop.keys(algorithm);
        let options: &[_] = if embed { &["--embed"] } else { &[] };
        let written = workshop.sign("filter.wasm", options).passed();
        let files: &[_] = if embed {
            assert_eq!(written, "filter.wasm");
            &["filter.wasm", "key.pub"]
        } else {
            assert_eq!(written, "filter.wasm.sig");
            &["filter.wasm", "filter.wasm.sig", "key.pub"]
        };
        let config = config("local: { filename: filter.wasm }");
        let weir = Weir::start_with(&config, workshop.files(files));
        assert_eq!(weir.connect().get("/").status, 200);
        let signed = std::fs::read(workshop.path("filter.wasm")).unwrap();
        let mut tampered = signed.clone();
        *tampered.last_mut().unwrap() ^= 1;
        weir.replace("filter.wasm", &tampered);
        let answer = weir.reload();
        assert_eq!(answer.status, 400);
        assert!(
            answer.text().contains("its signature does not fit"),
            "{}",
            answer.text()
        );
        if embed {
            // Signing once more takes the place of the first signature.
            workshop.sign("filter.wasm", &["--embed"]).passed();
            assert_eq!(std::fs::read(workshop.path("filter.wasm")).unwrap(), signed);
        }
    }
}

#[test]
fn openssl_finds_a_signature_good() {
    let workshop = Workshop::new();
    workshop.keys(P256);
    workshop
        .sign("filter.wasm", &["--output", "out.sig"])
        .passed();
    let signature = std::fs::read_to_string(workshop.path("out.sig")).unwrap();
    workshop.write("out.der", STANDARD.decode(signature.trim()).unwrap());
    let printed = workshop.openssl("dgst -sha256 -verify key.pub -signature out.der filter.wasm");
    assert!(printed.contains("Verified OK"), "{printed}");
}

#[test]
fn signatures_of_several_keys_stand_beside_each_other() {
    let (registry, workshop) = (Registry::start(), Workshop::new());
    let pushed = workshop.push(&registry.oci("auth:1"), &[]).passed();
    workshop.keys(P256);
    workshop.sign(&pushed, &[]).passed();
    workshop.write(
        "first.pub",
        std::fs::read(workshop.path("key.pub")).unwrap(),
    );
    workshop.keys(ED25519);
    workshop.sign(&pushed, &[]).passed();
    let config = config(&remote(&pushed));
    for config in [config.replace("key.pub", "first.pub"), config] {
        let (passed, printed) = check(&config, workshop.files(&["key.pub", "first.pub"]));
        assert!(passed, "{printed}");
    }
    // The same signature again is the same.
    registry.seen();
    workshop.sign(&pushed, &[]).passed();
    assert!(registry.seen().iter().all(|seen| seen.method == "GET"));
}

/// A Docker `config.json` with a password for the registry.
fn secret(registry: &Registry, password: &str) -> String {
    let pair = STANDARD.encode(format!("ann:{password}"));
    format!(
        "{{\"auths\": {{\"{}\": {{\"auth\": \"{pair}\"}}}}}}",
        registry.address
    )
}

#[test]
fn credentials_are_shown_to_the_registry_and_for_tokens_that_may_push() {
    let who = ("ann".to_owned(), "secret".to_owned());
    for login in [
        Login::Basic(who.0.clone(), who.1.clone()),
        Login::Token(Some(who), None),
    ] {
        let (registry, workshop) = (Registry::start(), Workshop::new());
        registry.login(login.clone());
        workshop.keys(ED25519);
        let image = registry.oci("acme/auth:1");
        workshop.write("good.json", secret(&registry, "secret"));
        workshop.write("bad.json", secret(&registry, "guess"));
        workshop.write("none.json", "{\"auths\": {}}");
        let none = workshop.push(&image, &["--auth", "none.json"]).failed();
        assert!(none.contains("401 Unauthorized"), "{none}");
        assert!(
            none.contains("there are no credentials for it in none.json"),
            "{none}"
        );
        let bad = workshop.push(&image, &["--auth", "bad.json"]).failed();
        assert!(bad.contains("401 Unauthorized"), "{bad}");
        assert!(
            bad.contains("it was shown the credentials in bad.json"),
            "{bad}"
        );
        assert!(!bad.contains("guess"), "{bad}");
        match login {
            Login::Basic(..) => {
                assert!(bad.contains("Basic realm=\"registry\""), "{bad}");
                assert!(
                    bad.contains("UNAUTHORIZED: authentication required"),
                    "{bad}"
                );
            }
            _ => {
                let realm = format!("http://localhost:{}/token", registry.address.port());
                let token = format!("a token for repository:acme/auth:pull,push at {realm}");
                assert!(bad.contains(&token), "{bad}");
            }
        }
        let good = ["--auth", "good.json"];
        let pushed = workshop.push(&image, &good).passed();
        workshop.sign(&pushed, &good).passed();
    }
}

#[test]
fn a_registry_with_its_own_authority_is_spoken_to_with_tls() {
    let (registry, certificate) = Registry::start_tls();
    let workshop = Workshop::new();
    workshop.write("ca.pem", certificate);
    let image = format!("oci://localhost:{}/auth:1", registry.address.port());
    workshop.push(&image, &["--ca-file", "ca.pem"]).passed();
    workshop.write("other.pem", Registry::start_tls().1);
    let other = workshop.push(&image, &["--ca-file", "other.pem"]).failed();
    assert!(other.contains("certificate"), "{other}");
    let missing = workshop
        .push(&image, &["--ca-file", "nowhere.pem"])
        .failed();
    assert!(
        missing.contains("cannot read the certificates in nowhere.pem"),
        "{missing}"
    );
}

#[test]
fn what_a_registry_does_not_take_at_once_is_uploaded_in_pieces() {
    let (registry, workshop) = (Registry::start(), Workshop::new());
    let image = registry.oci("auth:1");
    let patches = || {
        let seen = registry.seen();
        seen.iter().filter(|seen| seen.method == "PATCH").count()
    };
    let size = numbered(1).len();
    let pieces = ["--layout", "cncf", "--chunk-size", "10"];
    workshop.push(&image, &pieces).passed();
    assert_eq!(patches(), size.div_ceil(10));
    // More than a piece, so that it does not go at once.
    let mut large = numbered(2);
    large.extend(custom_section(5 << 20));
    workshop.write("filter.wasm", &large);
    registry.uploads(Uploads {
        at_once: Some(4 << 20),
        ..Uploads::default()
    });
    workshop.push(&image, &["--layout", "cncf"]).passed();
    assert_eq!(patches(), 2);
    let path = format!("/v2/auth/blobs/sha256:{}", sha256(&large));
    assert_eq!(registry.stored(&path).unwrap(), large);
}

#[test]
fn a_token_that_expires_in_the_middle_of_an_upload_is_followed_by_another() {
    let (registry, workshop) = (Registry::start(), Workshop::new());
    registry.login(Login::Fleeting(2));
    let image = registry.oci("auth:1");
    let pieces = ["--layout", "cncf", "--chunk-size", "10"];
    workshop.push(&image, &pieces).passed();
    let path = format!("/v2/auth/blobs/sha256:{}", sha256(&numbered(1)));
    assert_eq!(registry.stored(&path).unwrap(), numbered(1));
    // One that is never good is not asked for again and again.
    registry.login(Login::Fleeting(0));
    registry.seen();
    let refused = workshop.push(&image, &[]).failed();
    assert!(refused.contains("401 Unauthorized"), "{refused}");
    let is_token = |seen: &&Seen| seen.path.starts_with("/token");
    let tokens = registry.seen().iter().filter(is_token).count();
    assert!((1..=2).contains(&tokens), "{tokens}");
}

#[test]
fn a_token_that_was_given_is_not_exchanged_for_another() {
    let (registry, workshop) = (Registry::start(), Workshop::new());
    registry.login(Login::Token(None, None));
    let token = format!(
        "{{\"auths\": {{\"{}\": {{\"registrytoken\": \"old\"}}}}}}",
        registry.address
    );
    workshop.write("config.json", token);
    let refused = workshop.push(&registry.oci("auth:1"), &[]).failed();
    assert!(refused.contains("401 Unauthorized"), "{refused}");
    let seen = registry.seen();
    assert!(
        seen.iter().all(|seen| seen.path.starts_with("/v2/")),
        "{seen:?}"
    );
}

#[test]
fn a_file_of_docker_that_is_broken_is_not_passed_over() {
    let (registry, workshop) = (Registry::start(), Workshop::new());
    let image = registry.oci("acme/auth:1");
    workshop.write("config.json", "{\"credsStore\": \"desktop\"}");
    workshop.push(&image, &[]).passed();
    workshop.write("config.json", "{\"auths\": {");
    let broken = workshop.push(&image, &[]).failed();
    assert!(broken.contains("config.json"), "{broken}");
    assert!(broken.contains("line 1 is not JSON"), "{broken}");
}

/// A section that says nothing, of so many bytes and a few.
fn custom_section(bytes: usize) -> Vec<u8> {
    let content = [&[1, b'x'][..], &vec![0; bytes]].concat();
    let mut length = content.len();
    let mut section = vec![0];
    while length >= 0x80 {
        section.push(length as u8 | 0x80);
        length >>= 7;
    }
    section.push(length as u8);
    section.extend(content);
    section
}

#[test]
fn storage_elsewhere_is_not_shown_credentials() {
    let (registry, storage, workshop) = (Registry::start(), Registry::start(), Workshop::new());
    registry.login(Login::Basic("ann".to_owned(), "secret".to_owned()));
    registry.uploads(Uploads {
        elsewhere: Some(format!("http://{}", storage.address)),
        ..Uploads::default()
    });
    workshop.write("secret.json", secret(&registry, "secret"));
    let options = ["--auth", "secret.json"];
    let refused = workshop.push(&registry.oci("auth:1"), &options).failed();
    // It knows of no upload, as it is another registry.
    let words = format!("{} refuses the blob sha256:", storage.address);
    assert!(refused.contains(&words), "{refused}");
    let seen = storage.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].authorization, None);
}

#[test]
fn a_registry_that_has_something_else_is_found_out() {
    let (registry, workshop) = (Registry::start(), Workshop::new());
    registry.uploads(Uploads {
        lies: true,
        ..Uploads::default()
    });
    let refused = workshop.push(&registry.oci("auth:1"), &[]).failed();
    let words = "the blob as the registry has it has the digest";
    assert!(refused.contains(words), "{refused}");
}

#[test]
fn errors_name_what_is_wrong() {
    let (registry, workshop) = (Registry::start(), Workshop::new());
    workshop.keys(P256);
    workshop.write("text.wasm", "(module)");
    workshop.write(
        "cosign.key",
        "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAA==\n",
    );
    let image = registry.oci("auth:1");
    let digest = format!("{image}@sha256:{}", sha256(b"x"));
    let key = |file: &'static str| vec!["sign", "filter.wasm", "--key", file];
    for (arguments, words) in [
        (
            vec!["push", "nowhere.wasm", &image],
            "cannot read nowhere.wasm: ",
        ),
        (
            vec!["push", "text.wasm", &image],
            "text.wasm is not a WebAssembly binary",
        ),
        (
            vec!["push", "filter.wasm", &digest],
            "an image is pushed under a tag",
        ),
        (
            vec!["push", "filter.wasm", "auth:1"],
            "write `oci://registry/repository:tag`",
        ),
        (key("nowhere.pem"), "cannot read nowhere.pem: "),
        (key("key.pub"), "this is a public key"),
        (key("cosign.key"), "it is one of cosign's"),
        (key("filter.wasm"), "this is no private key in PEM"),
        (
            vec!["sign", "filter.wasm", "--key", "key.pem", "--embed"],
            "takes a key for Ed25519, and this one is for ECDSA on P-256",
        ),
        (
            vec!["sign", &image, "--key", "key.pem"],
            "answers 404 Not Found",
        ),
        (
            vec!["sign", &image, "--key", "key.pem", "--embed"],
            "`--embed` is for files",
        ),
    ] {
        let error = workshop.filter(&arguments).failed();
        assert!(error.contains(words), "{arguments:?}: {error}");
    }
    // The image is another one than the reference says.
    let pushed = workshop.push(&image, &[]).passed();
    let manifest = registry.stored("/v2/auth/manifests/1").unwrap();
    workshop.write("filter.wasm", numbered(2));
    let other = workshop.push(&image, &[]).passed();
    let path = format!("/v2/auth/manifests/{}", other.split_once('@').unwrap().1);
    registry.set(&path, Reply::bytes(manifest));
    let error = workshop.sign(&other, &[]).failed();
    let found = pushed.split_once('@').unwrap().1;
    assert!(
        error.contains(&format!("the manifest has the digest {found}")),
        "{error}"
    );
}

/// The fenced blocks of a page: what each is in, and its lines.
fn blocks(page: &str) -> Vec<(String, Vec<String>)> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let block = lines.by_ref().take_while(|line| *line != "```");
            blocks.push((language.to_owned(), block.map(str::to_owned).collect()));
        }
    }
    blocks
}

/// Whether a line is as a page says, where `…` stands for anything.
fn is_as_said(line: &str, said: &str) -> bool {
    match said.split_once('…') {
        Some((begin, end)) => line.starts_with(begin) && line.ends_with(end),
        None => line == said,
    }
}

#[test]
fn the_guide_on_publishing_does_what_it_says() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide/src/publishing.md");
    let (registry, workshop) = (Registry::start(), Workshop::new());
    workshop.write("my_filter.wasm", numbered(1));
    let here = registry.address.to_string();
    let page = std::fs::read_to_string(page).unwrap();
    let page = page
        .replace("registry.example", &here)
        .replace("127.0.0.1:10000", "127.0.0.1:0");
    let mut commands = 0;
    for (language, lines) in blocks(&page) {
        if language == "yaml" {
            workshop.write("weir.yaml", lines.join("\n"));
            continue;
        }
        assert_eq!(language, "console");
        let mut lines = lines.into_iter().peekable();
        while let Some(line) = lines.next() {
            let command = line.strip_prefix("$ ").expect("a command");
            let words: Vec<_> = command.split(' ').collect();
            let printed = match words[0] {
                "weir" => {
                    let output = run(workshop.0.path(), &words[1..]);
                    let error = String::from_utf8_lossy(&output.stderr);
                    assert!(output.status.success(), "{command}: {error}");
                    String::from_utf8(output.stdout).unwrap()
                }
                "openssl" => workshop.openssl(&words[1..].join(" ")),
                other => panic!("{other} is not run"),
            };
            let said = std::iter::from_fn(|| lines.next_if(|line| !line.starts_with("$ ")));
            let said: Vec<_> = said.collect();
            assert_eq!(printed.lines().count(), said.len(), "{command}: {printed}");
            for (line, said) in printed.lines().zip(&said) {
                assert!(
                    is_as_said(line, said),
                    "{command}: `{line}` is not `{said}`"
                );
            }
            commands += 1;
        }
    }
    assert_eq!(commands, 6, "all that is there");
}
