//! [`Interest`]: what of a type somebody wants.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::resource_type::ResourceType;

/// What of a type somebody wants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Interest {
    #[default]
    Nothing,
    /// Whatever there is.
    All,
    /// At least one.
    Names(Arc<BTreeSet<Arc<str>>>),
}

impl Interest {
    pub(crate) fn of_names(names: BTreeSet<Arc<str>>) -> Self {
        if names.is_empty() {
            Self::Nothing
        } else {
            Self::Names(Arc::new(names))
        }
    }

    pub(crate) fn is_something(&self) -> bool {
        *self != Self::Nothing
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::All => true,
            Self::Names(names) => names.contains(name),
        }
    }

    /// The names that were given.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        let names = match self {
            Self::Names(names) => Some(names),
            Self::Nothing | Self::All => None,
        };
        names.into_iter().flat_map(|names| names.iter())
    }

    /// The names that are not in the other one.
    pub(crate) fn names_beyond(&self, other: &Self) -> Vec<String> {
        let beyond = self.names().filter(|name| match other {
            Self::Names(names) => !names.contains(*name),
            Self::Nothing | Self::All => true,
        });
        beyond.map(|name| (**name).to_owned()).collect()
    }

    pub(crate) fn all_names(&self) -> Vec<String> {
        self.names().map(|name| (**name).to_owned()).collect()
    }
}

/// What is wanted of all types, by their places.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Interests([Interest; ResourceType::ALL.len()]);

impl Interests {
    pub(crate) fn of(&self, kind: ResourceType) -> &Interest {
        &self.0[kind.index()]
    }

    pub(crate) fn set(&mut self, kind: ResourceType, interest: Interest) {
        self.0[kind.index()] = interest;
    }
}

/// What a stream's server has been told of what is wanted.
#[derive(Debug, Default)]
pub(crate) struct Told([Option<Interest>; ResourceType::ALL.len()]);

/// What a server is still to be told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News {
    Nothing,
    /// It has not heard of the type.
    First,
    Names {
        added: Vec<String>,
        removed: Vec<String>,
    },
    /// A stream has no words for it.
    AnotherStream,
}

impl Told {
    /// What it was told last, if it has heard of the type.
    pub(crate) fn of(&self, kind: ResourceType) -> Option<&Interest> {
        self.0[kind.index()].as_ref()
    }

    /// What it is to be told now; counts it as told.
    pub(crate) fn tell(&mut self, kind: ResourceType, interest: &Interest) -> News {
        let told = &mut self.0[kind.index()];
        let news = match (&*told, interest) {
            (None, Interest::Nothing) => return News::Nothing,
            (None, _) => News::First,
            (Some(before), now) if before == now => News::Nothing,
            // Without names, the first request of a type is for all, and no later one
            // takes that back.
            (Some(Interest::All), _) | (Some(_), Interest::All) => News::AnotherStream,
            (Some(before), now) => News::Names {
                added: now.names_beyond(before),
                removed: before.names_beyond(now),
            },
        };
        *told = Some(interest.clone());
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: ResourceType = ResourceType::Listener;

    fn names(names: &[&str]) -> Interest {
        Interest::of_names(names.iter().map(|name| Arc::from(*name)).collect())
    }

    #[test]
    fn a_server_is_told_what_has_changed() {
        let mut told = Told::default();
        assert_eq!(told.tell(KIND, &Interest::Nothing), News::Nothing);
        assert_eq!(told.tell(KIND, &names(&["a", "b"])), News::First);
        assert_eq!(told.tell(KIND, &names(&["a", "b"])), News::Nothing);
        let news = News::Names {
            added: vec!["c".to_owned()],
            removed: vec!["a".to_owned()],
        };
        assert_eq!(told.tell(KIND, &names(&["b", "c"])), news);
        let news = News::Names {
            added: vec![],
            removed: vec!["b".to_owned(), "c".to_owned()],
        };
        assert_eq!(told.tell(KIND, &names(&[])), news);
    }

    #[test]
    fn all_and_names_do_not_share_a_stream() {
        let mut told = Told::default();
        assert_eq!(told.tell(KIND, &Interest::All), News::First);
        assert_eq!(told.tell(KIND, &names(&["a"])), News::AnotherStream);
        let mut told = Told::default();
        assert_eq!(told.tell(KIND, &names(&["a"])), News::First);
        assert_eq!(told.tell(KIND, &Interest::All), News::AnotherStream);
    }
}
