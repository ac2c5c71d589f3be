//! [`ClusterTls`]: how the endpoints of a cluster are spoken to.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_config::{Cluster, Config, ConfigError, Metadata, Struct, TlsMatch};

use crate::tls::{PemReader, Shown, UpstreamTls};

/// How the endpoints of a cluster are spoken to: all alike, or as their metadata says.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClusterTls {
    other: Option<Arc<UpstreamTls>>,
    /// The first of these that matches holds.
    matches: Vec<(Struct, Option<Arc<UpstreamTls>>)>,
}

impl ClusterTls {
    /// What a cluster says. File names are relative to `folder`; `files` gets every file
    /// that is read. What is the same in `before` is not made again.
    ///
    /// # Errors
    /// What cannot be read or used, with its place in the configuration.
    pub(crate) fn build(
        cluster: &Cluster,
        (config, folder): (&Config, &Path),
        files: &mut Vec<PathBuf>,
        before: Option<&Self>,
    ) -> Result<Self, ConfigError> {
        let mut build = |tls: Option<&weir_config::UpstreamTls>, before| {
            let build = |tls| {
                let reader = PemReader::new(config, folder, files);
                UpstreamTls::build(cluster, tls, reader, before)
            };
            tls.map(build).transpose()
        };
        let other = build(
            cluster.tls.as_ref(),
            before.and_then(|before| before.other.as_ref()),
        )?;
        let mut matches = Vec::with_capacity(cluster.tls_matches.len());
        for (place, one) in cluster.tls_matches.iter().enumerate() {
            let before = before.and_then(|before| before.matches.get(place)?.1.as_ref());
            matches.push((one.matches.clone(), build(one.tls.as_ref(), before)?));
        }
        Ok(Self { other, matches })
    }

    /// For an endpoint of which this is said; `None` for plain text.
    pub(crate) fn of(&self, metadata: Option<&Metadata>) -> Option<&Arc<UpstreamTls>> {
        let nothing = Struct::new();
        let mut namespaces = metadata.iter().flat_map(|metadata| &metadata.namespaces);
        let said = namespaces.find(|(name, _)| name == TlsMatch::NAMESPACE);
        let said = said.map_or(&nothing, |(_, said)| said);
        let fits = |wanted: &Struct| {
            let mut wanted = wanted.iter();
            wanted.all(|(key, value)| said.get(key) == Some(value))
        };
        let found = self.matches.iter().find(|(wanted, _)| fits(wanted));
        found.map_or(self.other.as_ref(), |(_, tls)| tls.as_ref())
    }

    /// Every way in which connections are encrypted.
    fn all(&self) -> impl Iterator<Item = &Arc<UpstreamTls>> {
        let matches = self.matches.iter().filter_map(|(_, tls)| tls.as_ref());
        self.other.iter().chain(matches)
    }

    /// Whether no connection is encrypted.
    pub(crate) fn is_plain(&self) -> bool {
        self.all().next().is_none()
    }

    /// Whether it is as `other` is, with all sessions.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.all()
            .map(|tls| tls.id)
            .eq(other.all().map(|tls| tls.id))
    }

    /// What is shown to endpoints.
    pub(crate) fn shown(&self) -> impl Iterator<Item = &Shown> {
        self.all().flat_map(|tls| tls.shown())
    }
}
