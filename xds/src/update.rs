//! [`Update`]: what a response says, whichever way it came.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::judge::Rejection;
use crate::resource::Resource;
use crate::resource_type::ResourceType;

/// What a response says of one type.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Update {
    pub(crate) version: Arc<str>,
    pub(crate) resources: Vec<Arc<Resource>>,
    pub(crate) removed: Vec<Arc<str>>,
    /// What is not in it is not there.
    pub(crate) is_whole: bool,
}

/// A response, as far as it could be read.
#[derive(Debug)]
pub(crate) enum Response {
    /// Of a type that is known.
    Known {
        kind: ResourceType,
        nonce: String,
        update: Result<Update, Vec<Rejection>>,
        /// What the server calls itself; empty if it does not say so.
        control_plane: String,
    },
    /// The URL of a type that is not.
    Unknown(String),
}

/// The resources of a response, if nothing is wrong with any of them; nor with what is
/// removed. Of more than `limit` none is read.
pub(crate) fn collect(
    resources: impl ExactSizeIterator<Item = Result<Resource, Rejection>>,
    removed: &[Arc<str>],
    limit: usize,
) -> Result<Vec<Arc<Resource>>, Vec<Rejection>> {
    if resources.len() > limit {
        let message = format!("there are {}, and {limit} are allowed", resources.len());
        return Err(vec![Rejection::of_all(message)]);
    }
    let mut taken = Vec::new();
    let mut rejections = Vec::new();
    let mut names = BTreeSet::new();
    for resource in resources {
        match resource {
            Ok(resource) if names.contains(&resource.name) => {
                rejections.push(Rejection::new(resource.name, "is there twice"));
            }
            Ok(resource) => {
                names.insert(Arc::clone(&resource.name));
                taken.push(Arc::new(resource));
            }
            Err(rejection) => rejections.push(rejection),
        }
    }
    let both = removed.iter().filter(|name| names.contains(*name));
    let both = both.map(|name| Rejection::new(Arc::clone(name), "is there, and is removed"));
    rejections.extend(both);
    if rejections.is_empty() {
        Ok(taken)
    } else {
        Err(rejections)
    }
}
