//! `tls`, of listeners and clusters.

use serde_json::Value as Json;

use super::{Object, routes};
use crate::defaults::TLS_HANDSHAKE_TIMEOUT;
use crate::read::Word as _;
use crate::tls::{
    ClientCertificates, ListenerTls, Pem, SanMatch, TlsCertificate, TlsCipher, TlsVersions,
    UpstreamTls, Verification,
};

pub(super) fn listener(tls: &ListenerTls) -> Json {
    let mut block = Object::default();
    let certificates = tls.certificates.iter();
    block.list(
        "certificates",
        certificates.map(|pair| {
            let mut block = Object::default();
            certificate(&mut block, pair);
            block
        }),
    );
    alpn(&mut block, tls.alpn.as_deref());
    versions(&mut block, tls.versions);
    if let Some(clients) = &tls.client_certificates {
        block.set("client_certificates", client_certificates(clients));
    }
    block.limit(
        "handshake_timeout",
        tls.handshake_timeout,
        Some(TLS_HANDSHAKE_TIMEOUT),
    );
    block.into()
}

pub(super) fn upstream(tls: &UpstreamTls) -> Object {
    let mut block = Object::default();
    if let Some(sni) = &tls.sni {
        // Even an empty one says something.
        let sni = sni.value.as_str().into();
        block.0.insert("sni".to_owned(), sni);
    }
    block.word("verify", tls.verify, Verification::Full);
    if let Some(ca) = &tls.ca {
        block.set("ca", pem(ca));
    }
    names(&mut block, &tls.match_subject_alt_names);
    if let Some(pair) = &tls.certificate {
        certificate(&mut block, pair);
    }
    alpn(&mut block, tls.alpn.as_deref());
    versions(&mut block, tls.versions);
    block
}

fn client_certificates(clients: &ClientCertificates) -> Json {
    let mut block = Object::default();
    block.set("ca", pem(&clients.ca));
    block.flag("required", clients.required, true);
    names(&mut block, &clients.match_subject_alt_names);
    block.into()
}

fn certificate(block: &mut Object, pair: &TlsCertificate) {
    block.set("cert", pem(&pair.cert));
    block.set("key", pem(&pair.key));
}

fn pem(pem: &Pem) -> Json {
    match pem {
        Pem::File(path) => path.display().to_string().into(),
        Pem::Text(text) => text.as_str().into(),
    }
}

fn names(block: &mut Object, names: &[SanMatch]) {
    block.list(
        "match_subject_alt_names",
        names.iter().map(|name| {
            let mut block = Object::default();
            if let Some(san_type) = name.san_type {
                block.set("san_type", san_type.word());
            }
            routes::text_match(&mut block, &name.text);
            block
        }),
    );
}

fn alpn(block: &mut Object, names: Option<&[String]>) {
    if let Some(names) = names {
        // Even an empty list says something.
        let names = names.iter().map(|name| name.as_str().into());
        let names = Json::Array(names.collect());
        block.0.insert("alpn".to_owned(), names);
    }
}

fn versions(block: &mut Object, versions: TlsVersions) {
    let other = TlsVersions::default();
    if versions.min != other.min {
        block.set("min_version", versions.min.name());
    }
    if versions.max != other.max {
        block.set("max_version", versions.max.name());
    }
    if versions.ciphers != other.ciphers {
        let all = TlsCipher::WORDS.iter();
        let wanted = all.filter(|(_, cipher)| versions.ciphers.contains(*cipher));
        block.list("cipher_suites", wanted.map(|(word, _)| *word));
    }
}
