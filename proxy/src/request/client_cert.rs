//! `x-forwarded-client-cert`: who the client is, by its certificate.

use weir_abi::HeaderMap;
use weir_config::{ClientCertDetail, ForwardClientCert, HttpOptions};

use super::append;
use crate::stream::ConnectionInfo;
use crate::tls::{CertificateFacts, TlsFacts};

const NAME: &str = "x-forwarded-client-cert";

pub(super) fn prepare(headers: &mut HeaderMap, options: &HttpOptions, connection: &ConnectionInfo) {
    use ForwardClientCert as Forward;
    let way = options.forward_client_cert_details;
    if way == Forward::AlwaysForwardOnly {
        return;
    }
    let tls = connection.tls.as_deref();
    let shown = tls.and_then(|tls| Some((tls, tls.peer.as_deref()?)));
    // Without a certificate, whoever has written it may be anybody.
    let Some((tls, peer)) = shown.filter(|_| way != Forward::Sanitize) else {
        headers.remove(NAME.as_bytes());
        return;
    };
    let wanted = &options.set_current_client_cert_details;
    match way {
        Forward::AppendForward => append(headers, NAME, &element(tls, peer, wanted), ","),
        Forward::SanitizeSet => headers.replace(NAME, element(tls, peer, wanted)),
        Forward::ForwardOnly | Forward::Sanitize | Forward::AlwaysForwardOnly => {}
    }
}

/// What is told of a certificate, in Envoy's form.
fn element(tls: &TlsFacts, peer: &CertificateFacts, wanted: &[ClientCertDetail]) -> String {
    let own = tls.local.iter().flat_map(|local| &local.uri_sans);
    let mut parts: Vec<String> = own.map(|uri| format!("By={uri}")).collect();
    parts.push(format!("Hash={}", peer.sha256));
    let has = |detail| wanted.contains(&detail);
    if has(ClientCertDetail::Subject) {
        // Quotation marks in it are escaped already.
        parts.push(format!("Subject=\"{}\"", peer.subject));
    }
    if has(ClientCertDetail::Uri) {
        // An empty one says that there is none.
        let none = peer.uri_sans.is_empty().then(|| "URI=".to_owned());
        let all = peer.uri_sans.iter().filter(|uri| is_one_value(uri));
        let all = all.map(|uri| format!("URI={uri}"));
        parts.extend(all.chain(none));
    }
    if has(ClientCertDetail::Dns) {
        let dns = peer.dns_sans.iter().filter(|name| is_one_value(name));
        parts.extend(dns.map(|name| format!("DNS={name}")));
    }
    parts.join(";")
}

/// Whether a name in a certificate cannot be taken for several parts of the header.
fn is_one_value(name: &str) -> bool {
    !name.contains([',', ';', '"']) && !name.contains(char::is_control)
}
