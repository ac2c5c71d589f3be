//! A registry that speaks the OCI distribution protocol, and storage that lies: every
//! path can be made to answer as a test wants it.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::PATIENCE;
use super::tls::Authority;

/// The token that it hands out.
const TOKEN: &str = "dG9rZW4";

/// How an image is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// A Docker image whose last layer has `plugin.wasm`.
    Docker,
    /// The same as an OCI image.
    Oci,
    /// An OCI artifact with the media types of `wasm-to-oci`.
    Artifact,
    /// An OCI artifact with the media types of the CNCF.
    Cncf,
}

/// What a path answers.
#[derive(Debug, Clone)]
pub enum Reply {
    /// 200 with header lines, each ended by CRLF, and a body.
    Bytes(String, Vec<u8>),
    Status(u16),
    /// 307.
    Redirect(String),
    /// 200, and then a byte now and then.
    Slow(Vec<u8>),
    /// 200, and a body without end.
    Endless,
    /// Each of them once, and the last from then on.
    InTurn(Vec<Reply>),
}

impl Reply {
    pub fn bytes(body: impl Into<Vec<u8>>) -> Self {
        Self::Bytes(String::new(), body.into())
    }
}

/// Who is let in, and how.
#[derive(Debug, Clone)]
pub enum Login {
    Nobody,
    /// With user and password, shown with each request.
    Basic(String, String),
    /// With a token, which is handed out to anybody or to the one with user and
    /// password; the realm, if it is not that of the registry itself.
    Token(Option<(String, String)>, Option<String>),
}

/// What becomes of uploads.
#[derive(Debug, Clone, Default)]
pub struct Uploads {
    /// Bytes that are taken at once; what is larger gets 413.
    pub at_once: Option<usize>,
    /// Where they go, if not to the registry itself.
    pub elsewhere: Option<String>,
    /// The registry says that it has something else than what has come.
    pub lies: bool,
}

/// A request that came in.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    /// With the query.
    pub path: String,
    pub authorization: Option<String>,
    pub body: String,
}

#[derive(Debug)]
struct State {
    /// Where tokens are, if nothing else is said.
    realm: String,
    replies: HashMap<String, Reply>,
    login: Login,
    uploads: Uploads,
    /// What has come of each upload that is under way.
    uploading: HashMap<String, Vec<u8>>,
    seen: Vec<Seen>,
    is_down: bool,
}

/// A running registry; its threads end with the process.
pub struct Registry {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

/// `sha256:…`
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", sha256(bytes))
}

/// In hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An archive with one file.
pub fn tar(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name).unwrap();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    let mut builder = tar::Builder::new(Vec::new());
    builder.append(&header, bytes).unwrap();
    builder.into_inner().unwrap()
}

impl Registry {
    pub fn start() -> Self {
        Self::serve("http", |connection, state| handle(connection, &state))
    }

    /// One that speaks TLS, as `localhost`; and the certificate of its authority.
    pub fn start_tls() -> (Self, String) {
        let authority = Authority::new("registries");
        let identity = authority.issue(&["localhost"]);
        let config = Arc::new(authority.server(&identity, false));
        let registry = Self::serve("https", move |connection, state| {
            let session = rustls::ServerConnection::new(Arc::clone(&config));
            let session = session.map_err(io::Error::other)?;
            handle(rustls::StreamOwned::new(session, connection), &state)
        });
        (registry, authority.pem())
    }

    fn serve(
        scheme: &str,
        handle: impl Fn(TcpStream, Arc<Mutex<State>>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let registry = Self {
            address,
            state: Arc::new(Mutex::new(State {
                realm: format!("{scheme}://localhost:{}/token", address.port()),
                replies: HashMap::new(),
                login: Login::Nobody,
                uploads: Uploads::default(),
                uploading: HashMap::new(),
                seen: Vec::new(),
                is_down: false,
            })),
        };
        let state = Arc::clone(&registry.state);
        let handle = Arc::new(handle);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (handle, state) = (Arc::clone(&handle), Arc::clone(&state));
                if state.lock().unwrap().is_down {
                    continue;
                }
                thread::spawn(move || {
                    connection.set_read_timeout(Some(PATIENCE))?;
                    connection.set_write_timeout(Some(PATIENCE))?;
                    // A client that goes away, or does not like the certificate.
                    handle(connection, state)
                });
            }
        });
        registry
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// `oci://127.0.0.1:…/REST`
    pub fn oci(&self, rest: &str) -> String {
        format!("oci://{}/{rest}", self.address)
    }

    /// `http://127.0.0.1:…PATH`
    pub fn http(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Has a path answer so.
    pub fn set(&self, path: &str, reply: Reply) {
        self.state().replies.insert(path.to_owned(), reply);
    }

    pub fn login(&self, login: Login) {
        self.state().login = login;
    }

    /// Has uploads treated so.
    pub fn uploads(&self, uploads: Uploads) {
        self.state().uploads = uploads;
    }

    /// The bytes that a path answers with.
    pub fn stored(&self, path: &str) -> Option<Vec<u8>> {
        match self.state().replies.get(path)? {
            Reply::Bytes(_, bytes) => Some(bytes.clone()),
            _ => None,
        }
    }

    /// Closes every connection from now on, or no longer.
    pub fn down(&self, is_down: bool) {
        self.state().is_down = is_down;
    }

    /// What was asked for since the last time.
    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state().seen)
    }

    /// Stores bytes under their digest; gives that.
    pub fn push_blob(&self, repository: &str, bytes: &[u8]) -> String {
        self.state().store_blob(repository, bytes)
    }

    /// Stores a manifest under its digest and a tag; gives the digest.
    pub fn push_manifest(&self, repository: &str, tag: &str, manifest: &Json) -> String {
        let bytes = manifest.to_string().into_bytes();
        let media_type = manifest["mediaType"].as_str().unwrap_or("text/plain");
        self.state()
            .store_manifest(repository, tag, media_type, bytes)
    }

    /// Stores an image with a module; gives its digest.
    pub fn push(&self, repository: &str, tag: &str, layout: Layout, module: &[u8]) -> String {
        let packed = || gzip(&tar("./plugin.wasm", module));
        let (kind, config, media_type, layer) = match layout {
            Layout::Docker => (
                "application/vnd.docker.distribution.manifest.v2+json",
                "application/vnd.docker.container.image.v1+json",
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
                packed(),
            ),
            Layout::Oci => (
                "application/vnd.oci.image.manifest.v1+json",
                "application/vnd.oci.image.config.v1+json",
                "application/vnd.oci.image.layer.v1.tar+gzip",
                packed(),
            ),
            Layout::Artifact => (
                "application/vnd.oci.image.manifest.v1+json",
                "application/vnd.module.wasm.config.v1+json",
                "application/vnd.module.wasm.content.layer.v1+wasm",
                module.to_vec(),
            ),
            Layout::Cncf => (
                "application/vnd.oci.image.manifest.v1+json",
                "application/vnd.wasm.config.v0+json",
                "application/wasm",
                module.to_vec(),
            ),
        };
        self.push_layer(repository, tag, (kind, config, media_type), &layer)
    }

    /// Stores an image with this layer, given the media types of the manifest, the
    /// configuration and the layer; gives its digest.
    pub fn push_layer(
        &self,
        repository: &str,
        tag: &str,
        (kind, config, media_type): (&str, &str, &str),
        layer: &[u8],
    ) -> String {
        let descriptor = |media_type: &str, bytes: &[u8]| {
            let digest = self.push_blob(repository, bytes);
            json!({ "mediaType": media_type, "size": bytes.len(), "digest": digest })
        };
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": kind,
            "config": descriptor(config, b"{}"),
            "layers": [descriptor(media_type, layer)],
        });
        self.push_manifest(repository, tag, &manifest)
    }
}

impl State {
    fn store_blob(&mut self, repository: &str, bytes: &[u8]) -> String {
        let digest = digest(bytes);
        let path = format!("/v2/{repository}/blobs/{digest}");
        self.replies.insert(path, Reply::bytes(bytes));
        digest
    }

    fn store_manifest(
        &mut self,
        repository: &str,
        tag: &str,
        media_type: &str,
        bytes: Vec<u8>,
    ) -> String {
        let digest = digest(&bytes);
        let lines = format!("content-type: {media_type}\r\ndocker-content-digest: {digest}\r\n");
        let reply = Reply::Bytes(lines, bytes);
        for name in [tag, &digest] {
            let path = format!("/v2/{repository}/manifests/{name}");
            self.replies.insert(path, reply.clone());
        }
        digest
    }

    /// What a request gets that writes.
    fn write(&mut self, seen: &Seen, bytes: Vec<u8>, head: &Head) -> Reply {
        let (path, query) = seen.path.split_once('?').unwrap_or((&seen.path, ""));
        let rest = path.strip_prefix("/v2/").unwrap_or_default();
        if let Some((repository, tag)) = rest.split_once("/manifests/") {
            let media_type = head.content_type.as_deref().unwrap_or_default();
            let stored = self.store_manifest(repository, tag, media_type, bytes);
            return self.created(&stored);
        }
        let Some((repository, upload)) = rest.split_once("/blobs/uploads/") else {
            return Reply::Status(404);
        };
        if seen.method == "POST" {
            let upload = format!("{path}{}", self.uploading.len());
            self.uploading.insert(upload.clone(), Vec::new());
            return self.accepted(&upload);
        }
        assert!(!upload.is_empty(), "{seen:?}");
        if self.uploads.at_once.is_some_and(|max| bytes.len() > max) {
            return Reply::Status(413);
        }
        let Some(come) = self.uploading.get_mut(path) else {
            return Reply::Status(404);
        };
        if seen.method == "PATCH" {
            let range = format!("{}-{}", come.len(), come.len() + bytes.len() - 1);
            if head.content_range.as_deref() != Some(&range) {
                return Reply::Status(416);
            }
            come.extend(bytes);
            return self.accepted(path);
        }
        come.extend(bytes);
        let come = self.uploading.remove(path).unwrap();
        if !query.ends_with(&format!("digest={}", digest(&come))) {
            return Reply::Status(400);
        }
        let stored = self.store_blob(repository, &come);
        self.created(&stored)
    }

    fn accepted(&self, upload: &str) -> Reply {
        let at = self.uploads.elsewhere.as_deref().unwrap_or_default();
        raw(&format!(
            "HTTP/1.1 202 Accepted\r\nlocation: {at}{upload}?state=1\r\n"
        ))
    }

    fn created(&self, stored: &str) -> Reply {
        let other = digest(b"something else");
        let stored = if self.uploads.lies { &other } else { stored };
        raw(&format!(
            "HTTP/1.1 201 Created\r\ndocker-content-digest: {stored}\r\n"
        ))
    }
}

/// An answer without a body, given its first lines.
fn raw(head: &str) -> Reply {
    let head = format!("raw\r\n{head}content-length: 0\r\n\r\n");
    Reply::Bytes(head, Vec::new())
}

/// What is in the head of a request.
#[derive(Default)]
struct Head {
    authorization: Option<String>,
    content_type: Option<String>,
    content_range: Option<String>,
}

fn handle(connection: impl Read + Write, state: &Mutex<State>) -> io::Result<()> {
    let mut connection = BufReader::new(connection);
    let mut line = String::new();
    connection.read_line(&mut line)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let (mut head, mut length) = (Head::default(), 0);
    loop {
        let mut line = String::new();
        if connection.read_line(&mut line)? <= 2 {
            break;
        }
        let (name, value) = line.split_once(": ").unwrap_or_default();
        let value = value.trim_end().to_owned();
        match name.to_ascii_lowercase().as_str() {
            "authorization" => head.authorization = Some(value),
            "content-type" => head.content_type = Some(value),
            "content-range" => head.content_range = Some(value),
            "content-length" => length = value.parse().unwrap_or(0),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body)?;
    let seen = Seen {
        method,
        path,
        authorization: head.authorization.clone(),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let has_no_body = seen.method == "HEAD";
    let reply = {
        let mut state = state.lock().unwrap();
        state.seen.push(seen.clone());
        refusal(&state, &seen).unwrap_or_else(|| match seen.method.as_str() {
            "GET" | "HEAD" => answer(&mut state, &seen.path),
            _ => state.write(&seen, body, &head),
        })
    };
    let reply = match reply {
        Reply::Bytes(lines, body) if has_no_body && !lines.starts_with("raw") => raw(&format!(
            "HTTP/1.1 200 OK\r\n{lines}x-length: {}\r\n",
            body.len()
        )),
        reply => reply,
    };
    write(connection.get_mut(), reply)
}

fn answer(state: &mut State, path: &str) -> Reply {
    let path = path.split('?').next().unwrap_or(path);
    match state.replies.get_mut(path) {
        Some(Reply::InTurn(replies)) if replies.len() > 1 => replies.remove(0),
        Some(Reply::InTurn(replies)) => replies[0].clone(),
        Some(reply) => reply.clone(),
        None => Reply::Status(404),
    }
}

fn basic(user: &str, password: &str) -> String {
    use base64::Engine as _;
    let pair = format!("{user}:{password}");
    format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(pair)
    )
}

/// What a request gets in place of what it asks for.
fn refusal(state: &State, seen: &Seen) -> Option<Reply> {
    let shown = seen.authorization.as_deref();
    let challenge = |value: &str| {
        let body =
            "{\"errors\":[{\"code\":\"UNAUTHORIZED\",\"message\":\"authentication required\"}]}";
        let length = body.len();
        let head = format!(
            "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: {value}\r\n\
             content-length: {length}\r\n\r\n{body}"
        );
        Some(Reply::Bytes(format!("raw\r\n{head}"), Vec::new()))
    };
    match &state.login {
        Login::Nobody => None,
        Login::Basic(user, password) => {
            let is_in = shown == Some(&basic(user, password));
            if is_in {
                None
            } else {
                challenge("Basic realm=\"registry\"")
            }
        }
        Login::Token(who, _) if seen.path.starts_with("/token") => {
            let refresh = seen.body.contains("refresh_token=refresh-me");
            let is_in = match who {
                Some((user, password)) => refresh || shown == Some(&basic(user, password)),
                None => true,
            };
            Some(if is_in {
                Reply::bytes(json!({ "token": TOKEN }).to_string())
            } else {
                Reply::Status(401)
            })
        }
        Login::Token(_, realm) if seen.path.starts_with("/v2/") => {
            if shown == Some(&format!("Bearer {TOKEN}")) {
                return None;
            }
            let realm = realm.as_deref().unwrap_or(&state.realm);
            challenge(&format!(
                "Bearer realm=\"{realm}\",service=\"registry\",scope=\"x\""
            ))
        }
        Login::Token(..) => None,
    }
}

fn write(connection: &mut impl Write, reply: Reply) -> io::Result<()> {
    let mut send = |bytes: &[u8]| {
        connection.write_all(bytes)?;
        connection.flush()
    };
    match reply {
        Reply::Bytes(lines, body) => match lines.strip_prefix("raw\r\n") {
            Some(head) => send(head.as_bytes()),
            None => {
                let length = body.len();
                let head = format!("HTTP/1.1 200 OK\r\n{lines}content-length: {length}\r\n\r\n");
                send(&[head.as_bytes(), &body].concat())
            }
        },
        Reply::Status(status) => {
            send(format!("HTTP/1.1 {status} No\r\ncontent-length: 0\r\n\r\n").as_bytes())
        }
        Reply::Redirect(to) => {
            let head = format!("HTTP/1.1 307 Away\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
            send(head.as_bytes())
        }
        Reply::Slow(body) => {
            let length = body.len();
            send(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").as_bytes())?;
            for byte in body {
                send(&[byte])?;
                // Slowness is what this is about.
                thread::sleep(Duration::from_millis(50));
            }
            Ok(())
        }
        Reply::Endless => {
            send(b"HTTP/1.1 200 OK\r\n\r\n")?;
            loop {
                send(&[0; 64 * 1024])?;
            }
        }
        Reply::InTurn(_) => Ok(()),
    }
}
