//! Envoy's `TransportSocket`: TLS, or none; to endpoints, the PROXY protocol before it.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::message::Message;
use super::route_match::string_match;
use super::secret::{Secret, SecretKind};
use super::typed::Typed;
use crate::cluster::Cluster;
use crate::error::Problem;
use crate::proxy_protocol::{ProxyProtocolVersion, UpstreamProxyProtocol};
use crate::read::{Word, nearest};
use crate::source::{Span, Spanned};
use crate::tls::{
    ClientCertificates, ListenerTls, Pem, SanMatch, SanType, TlsCertificate, TlsCipher, TlsCiphers,
    TlsMatch, TlsVersion, TlsVersions, UpstreamTls, Verification,
};

const RAW_BUFFER: &str = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer";
const DOWNSTREAM: &str = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";
const UPSTREAM: &str = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
const PROXY_PROTOCOL: &str =
    "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport";

const PROXY_PROTOCOL_VERSIONS: [(&str, i64, ProxyProtocolVersion); 2] = [
    ("V1", 0, ProxyProtocolVersion::V1),
    ("V2", 1, ProxyProtocolVersion::V2),
];

/// Why nothing in a TLS context is passed over.
pub(super) const GUARD: &str =
    "`--lenient` does not pass it over: others could come in, or read along";

/// Fields with names of secrets.
const VALIDATION: &str = "validation_context_sds_secret_config";
const COMBINED: &str = "combined_validation_context";

/// The protocol of Istio's filters for metadata.
const PEER_EXCHANGE: &str = "istio-peer-exchange";

/// Where certificates can be.
const FILES: &str = "name the files, which are looked at again and again: \
                     `filename` in `tls_certificates` and `validation_context`";

/// Where certificates and keys stand: Envoy's `DataSource`.
const SOURCES: [&str; 4] = [
    "filename",
    "inline_string",
    "inline_bytes",
    "environment_variable",
];

const MIN_VERSIONS: [(&str, i64, TlsVersion); 2] = [
    ("TLS_AUTO", 0, TlsVersion::V12),
    ("TLSv1_2", 3, TlsVersion::V12),
];

const MAX_VERSIONS: [(&str, i64, TlsVersion); 2] = [
    ("TLS_AUTO", 0, TlsVersion::V13),
    ("TLSv1_2", 3, TlsVersion::V12),
];

const VERSION_13: (&str, i64, TlsVersion) = ("TLSv1_3", 4, TlsVersion::V13);

const SAN_TYPES: [(&str, i64, SanType); 4] = [
    ("EMAIL", 1, SanType::Email),
    ("DNS", 2, SanType::Dns),
    ("URI", 3, SanType::Uri),
    ("IP_ADDRESS", 4, SanType::IpAddress),
];

/// What both contexts have in common.
struct Common {
    certificates: Vec<Spanned<TlsCertificate>>,
    alpn: Vec<String>,
    versions: TlsVersions,
    validation: Validation,
}

/// Envoy's `CertificateValidationContext`.
#[derive(Debug, Clone, Default)]
pub(super) struct Validation {
    ca: Option<Spanned<Pem>>,
    /// Authorities that the system believes.
    system: bool,
    names: Vec<SanMatch>,
}

/// `transport_socket` of a filter chain.
pub(super) fn listener(chain: &Message<'_, '_>) -> Option<ListenerTls> {
    let timeout = "transport_socket_connect_timeout";
    let help = "terminate TLS in front of Weir, which would take plain text here";
    let Some(context) = open(chain).and_then(|opened| context(opened, DOWNSTREAM, help)) else {
        chain.inert(timeout);
        return None;
    };
    chain.reader.guarded(GUARD, move || {
        let mut tls = ListenerTls::of(Vec::new());
        tls.handshake_timeout = chain.limit(timeout, tls.handshake_timeout);
        let common = common(&context);
        let required = context.flag("require_client_certificate").unwrap_or(false);
        context.only("require_sni", false);
        context.only("disable_stateless_session_resumption", false);
        context.only("disable_stateful_session_resumption", false);
        context.only("full_scan_certs_on_sni_mismatch", false);
        context.inert("prefer_client_ciphers");
        context.word("ocsp_staple_policy", &[("LENIENT_STAPLING", 0, ())]);
        if common.certificates.is_empty() {
            let path = context.path();
            let message = format!("{path} has no certificate");
            let at = context.at();
            context
                .reader
                .problem(Problem::new(at, message).help(FILES));
        }
        tls.certificates = common.certificates;
        tls.alpn = Some(common.alpn);
        tls.versions = common.versions;
        let Validation { ca, names, system } = common.validation;
        tls.client_certificates = ca.map(|ca| ClientCertificates {
            ca,
            required,
            match_subject_alt_names: names,
        });
        if tls.client_certificates.is_none() && (required || system) {
            let message = format!(
                "{}: client certificates need a `trusted_ca`",
                context.path()
            );
            context.reader.problem(Problem::new(context.at(), message));
        }
        Some(tls)
    })
}

/// `transport_socket` of a cluster, and `transport_socket_matches`.
pub(super) fn cluster(message: &Message<'_, '_>, cluster: &mut Cluster) {
    for one in message.messages("transport_socket_matches") {
        one.reader.guarded(GUARD, || {
            let found = TlsMatch {
                name: one.required_text("name"),
                matches: one.object("match"),
                tls: open(&one).and_then(upstream),
            };
            if one.node("transport_socket").is_none() {
                one.missing("transport_socket");
            }
            cluster.tls_matches.push(found);
        });
    }
    if message.node("transport_socket_matcher").is_some() {
        let path = message.path_of("transport_socket_matcher");
        let at = message.span_of("transport_socket_matcher");
        message
            .reader
            .never(at, &path, "write `transport_socket_matches`");
    }
    let Some((socket, typed)) = open(message) else {
        return;
    };
    match typed {
        Some(Typed { name, message }) if name == PROXY_PROTOCOL => {
            socket.inert("name");
            cluster.proxy_protocol = Some(proxy_protocol(&message));
            if message.node("transport_socket").is_none() {
                message.missing("transport_socket");
            }
            cluster.tls = open(&message).and_then(upstream);
        }
        typed => cluster.tls = upstream((socket, typed)),
    }
}

fn proxy_protocol(transport: &Message<'_, '_>) -> UpstreamProxyProtocol {
    transport.only("allow_unspecified_address", false);
    transport.only("tlv_as_pool_key", false);
    let config = transport.message("config");
    let version = config.and_then(|config| config.word("version", &PROXY_PROTOCOL_VERSIONS));
    UpstreamProxyProtocol {
        version: version.unwrap_or(ProxyProtocolVersion::V1),
    }
}

fn upstream(opened: Opened<'_, '_>) -> Option<UpstreamTls> {
    let help = "put a proxy that speaks it before the endpoints, which would get plain text";
    let context = context(opened, UPSTREAM, help)?;
    context.reader.guarded(GUARD, move || {
        let common = common(&context);
        let sni = context.text("sni").filter(|sni| !sni.is_empty());
        let of_host = context.flag("auto_host_sni").unwrap_or(false);
        if let Some(sni) = sni.as_ref().filter(|_| of_host) {
            let what = format!("{} beside `auto_host_sni`", context.path_of("sni"));
            context.reader.outside(sni.span, &what, None);
        }
        let of_sni = context.flag("auto_sni_san_validation").unwrap_or(false);
        context.only("allow_renegotiation", false);
        context.inert("max_session_keys");
        context.inert("enforce_rsa_key_usage");
        let mut certificates = common.certificates.into_iter();
        let certificate = certificates.next().map(|pair| pair.value);
        if let Some(second) = certificates.next() {
            let what = format!("{}: a second certificate", context.path());
            context.reader.outside(second.span, &what, None);
        }
        let Validation { ca, names, system } = common.validation;
        let verify = match (ca.is_some() || system, of_sni || !names.is_empty()) {
            (false, _) => Verification::None,
            (true, true) => Verification::Full,
            (true, false) => Verification::Chain,
        };
        if verify == Verification::None && (of_sni || !names.is_empty()) {
            let message = format!(
                "{}: names are worth nothing without a `trusted_ca`",
                context.path()
            );
            context.reader.problem(Problem::new(context.at(), message));
        }
        // Without either, Envoy sends no name.
        let silent = || (!of_host).then(|| Spanned::new(String::new(), context.at()));
        Some(UpstreamTls {
            sni: sni.or_else(silent),
            verify,
            ca,
            match_subject_alt_names: if of_sni { Vec::new() } else { names },
            certificate,
            alpn: Some(common.alpn).filter(|alpn| !alpn.is_empty()),
            versions: common.versions,
        })
    })
}

/// A `transport_socket`, and what it is.
type Opened<'n, 'r> = (Message<'n, 'r>, Option<Typed<'n, 'r>>);

fn open<'n, 'r>(message: &Message<'n, 'r>) -> Option<Opened<'n, 'r>> {
    let socket = message.message("transport_socket")?;
    let typed = socket.typed("typed_config");
    Some((socket, typed))
}

/// The context of TLS in a transport socket, if it is TLS.
fn context<'n, 'r>(opened: Opened<'n, 'r>, kind: &str, help: &str) -> Option<Message<'n, 'r>> {
    let (socket, typed) = opened;
    let name = socket.nonempty("name").unwrap_or_default();
    match typed {
        Some(Typed { name, message }) if name == kind => return Some(message),
        Some(Typed { name, .. }) if name == RAW_BUFFER => {}
        typed => {
            let what = format!("{}: the transport `{name}`", socket.path());
            socket.reader.never(socket.at(), &what, help);
            if let Some(typed) = typed {
                typed.message.close();
            }
        }
    }
    None
}

fn common(context: &Message<'_, '_>) -> Common {
    let mut common = Common {
        certificates: Vec::new(),
        alpn: Vec::new(),
        versions: TlsVersions::default(),
        validation: Validation::default(),
    };
    let Some(message) = context.message("common_tls_context") else {
        return common;
    };
    let instance = "tls_certificate_provider_instance";
    if message.node(instance).is_some() {
        let at = message.span_of(instance);
        message.reader.never(at, &message.path_of(instance), FILES);
    }
    let names = message.texts("alpn_protocols").into_iter();
    // Who agrees on it tells the other side who it is before anything else, which no
    // filter here does.
    let names = names.filter(|name| name.value != PEER_EXCHANGE);
    common.alpn = names.map(|name| name.value).collect();
    if let Some(params) = message.message("tls_params") {
        common.versions = versions(&params);
    }
    for pair in message.messages("tls_certificates") {
        common.certificates.extend(certificate(&pair));
    }
    for config in message.messages("tls_certificate_sds_secret_configs") {
        if let Some(Secret::Certificate(pair)) = secret(&config, SecretKind::Certificate) {
            common.certificates.push(pair);
        }
    }
    match message.one_of(&["validation_context", VALIDATION, COMBINED]) {
        Some(COMBINED) => {
            if let Some(combined) = message.message(COMBINED) {
                let default = combined.message("default_validation_context");
                let default = default.map(|context| validation(&context));
                common.validation = default.unwrap_or_default();
                match combined.message(VALIDATION) {
                    Some(config) => common.validation.merge(named_validation(&config)),
                    None => combined.missing(VALIDATION),
                }
            }
        }
        Some(VALIDATION) => {
            let config = message.message(VALIDATION);
            common.validation = config.map(|c| named_validation(&c)).unwrap_or_default();
        }
        Some(_) => {
            let context = message.message("validation_context");
            common.validation = context.map(|c| validation(&c)).unwrap_or_default();
        }
        None => {}
    }
    common
}

fn named_validation(config: &Message<'_, '_>) -> Validation {
    match secret(config, SecretKind::Validation) {
        Some(Secret::Validation(validation)) => validation,
        _ => Validation::default(),
    }
}

/// The secret of a `SdsSecretConfig`; notes a problem if there is none of that kind.
fn secret(config: &Message<'_, '_>, kind: SecretKind) -> Option<Secret> {
    // Where it would come from; it is there, or it is not.
    config.inert("sds_config");
    let name = config.required_text("name");
    let secrets = config.reader.secrets.borrow();
    let found = secrets.get(&name, kind);
    if found.is_none() && !name.is_empty() {
        let path = config.path();
        let field = kind.field();
        let text = format!("{path}: there is no secret `{}` with a `{field}`", *name);
        let help = match nearest(&name, secrets.names()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "write it into `static_resources.secrets`".to_owned(),
        };
        let problem = Problem::new(name.span, text).help(help);
        config.reader.problem(problem);
    }
    found
}

/// A certificate that is yet to come.
pub(super) fn no_certificate() -> Spanned<TlsCertificate> {
    let pem = || Spanned::new(Pem::Text(String::new()), Span::NOWHERE);
    let pair = TlsCertificate {
        cert: pem(),
        key: pem(),
    };
    Spanned::new(pair, Span::NOWHERE)
}

/// Authorities that are yet to come.
pub(super) fn no_authority() -> Validation {
    Validation {
        ca: Some(Spanned::new(Pem::Text(String::new()), Span::NOWHERE)),
        ..Validation::default()
    }
}

impl Validation {
    /// What `other` says is added: as protobuf merges messages.
    fn merge(&mut self, other: Self) {
        self.ca = other.ca.or(self.ca.take());
        self.system |= other.system;
        self.names.extend(other.names);
    }
}

fn versions(params: &Message<'_, '_>) -> TlsVersions {
    let other = TlsVersions::default();
    let [auto, v12] = MIN_VERSIONS;
    let min = params.word("tls_minimum_protocol_version", &[auto, v12, VERSION_13]);
    let [auto, v12] = MAX_VERSIONS;
    let max = params.word("tls_maximum_protocol_version", &[auto, v12, VERSION_13]);
    let min = min.unwrap_or(other.min);
    let versions = TlsVersions {
        min,
        max: max.unwrap_or(other.max),
        ciphers: ciphers(params, min),
    };
    if versions.min > versions.max {
        let message = format!("{}: no version is left", params.path());
        params.reader.problem(Problem::new(params.at(), message));
    }
    versions
}

/// `cipher_suites`: what of them there is. The others are offered to nobody, which is less
/// than was asked for, and no worse.
fn ciphers(params: &Message<'_, '_>, min: TlsVersion) -> TlsCiphers {
    let given = params.texts("cipher_suites");
    let Some(first) = given.first() else {
        return TlsCiphers::ALL;
    };
    let mut found = Vec::new();
    for text in &given {
        // `[A|B]`: of these, the client's choice.
        let group = text.trim_start_matches('[').trim_end_matches(']');
        for name in group.split('|') {
            let known = TlsCipher::WORDS.iter().find(|(word, _)| *word == name);
            match known {
                Some((_, cipher)) => found.push(*cipher),
                None => {
                    let path = params.path_of("cipher_suites");
                    let message = format!("{path}: {name} is not supported: it is left out");
                    params.reader.warn(text.span, message);
                }
            }
        }
    }
    let ciphers = TlsCiphers::from_iter(found);
    if ciphers.is_empty() && min == TlsVersion::V12 {
        let what = params.path_of("cipher_suites");
        let why = "name one with forward secrecy, such as `ECDHE-ECDSA-AES128-GCM-SHA256`";
        params.reader.never(first.span, &what, why);
    }
    ciphers
}

pub(super) fn certificate(pair: &Message<'_, '_>) -> Option<Spanned<TlsCertificate>> {
    // Files are watched as they are.
    pair.inert("watched_directory");
    let cert = required_pem(pair, "certificate_chain");
    let key = required_pem(pair, "private_key");
    let (cert, key) = (cert?, key?);
    Some(Spanned::new(TlsCertificate { cert, key }, pair.at()))
}

pub(super) fn validation(context: &Message<'_, '_>) -> Validation {
    context.inert("watched_directory");
    context.word("trust_chain_verification", &[("VERIFY_TRUST_CHAIN", 0, ())]);
    context.only("allow_expired_certificate", false);
    context.only("require_signed_certificate_timestamp", false);
    let mut names = Vec::new();
    for typed in context.messages("match_typed_subject_alt_names") {
        let san_type = typed.word("san_type", &SAN_TYPES);
        if typed.node("san_type").is_none() {
            typed.missing("san_type");
        }
        let text = typed
            .message("matcher")
            .and_then(|text| string_match(&text));
        names.extend(text.map(|text| SanMatch { san_type, text }));
    }
    for text in context.messages("match_subject_alt_names") {
        let text = string_match(&text);
        names.extend(text.map(|text| SanMatch {
            san_type: None,
            text,
        }));
    }
    let system = context.message("system_root_certs").is_some();
    Validation {
        ca: pem(context, "trusted_ca"),
        system,
        names,
    }
}

fn required_pem(message: &Message<'_, '_>, name: &'static str) -> Option<Spanned<Pem>> {
    if message.node(name).is_none() {
        message.missing(name);
    }
    pem(message, name)
}

/// A `DataSource` of PEM.
fn pem(message: &Message<'_, '_>, name: &'static str) -> Option<Spanned<Pem>> {
    let source = message.message(name)?;
    source.inert("watched_directory");
    let Some(given) = source.one_of(&SOURCES) else {
        if !source.has_unknown() {
            source.missing("filename");
        }
        return None;
    };
    let text = source.text(given)?;
    let pem = match given {
        "filename" => Pem::File(PathBuf::from(text.value)),
        "inline_string" => Pem::Text(text.value),
        "inline_bytes" => {
            let bytes = STANDARD.decode(text.value.as_bytes()).ok();
            let Some(text) = bytes.and_then(|bytes| String::from_utf8(bytes).ok()) else {
                source.mismatch(source.node(given)?, &source.path_of(given), "PEM in Base64");
                return None;
            };
            Pem::Text(text)
        }
        _ => {
            let path = source.path_of(given);
            let help = "write it into a file, and its name here";
            source.reader.never(text.span, &path, help);
            return None;
        }
    };
    Some(Spanned::new(pem, text.span))
}
