//! [`Answer`]: the addresses of a name.

use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::lookup::Lookup;
use hickory_resolver::proto::rr::RecordType;
use weir_config::DnsLookupFamily;

/// The addresses of a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Each once, in the order of the answer.
    pub(crate) addresses: Vec<IpAddr>,
    /// How long they hold, in whole seconds; 0 if nobody says so.
    pub(crate) ttl: Duration,
}

impl Answer {
    /// Addresses that hold until somebody changes them.
    pub(super) fn lasting(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let mut answer = Self::default();
        for address in addresses {
            answer.add(address);
        }
        answer
    }

    /// What a server has answered. It holds as long as each record that led to it.
    pub(super) fn of(lookup: &Lookup) -> Self {
        let records = lookup.answers();
        let addresses = records.iter().filter_map(|record| record.data.ip_addr());
        let seconds = records.iter().map(|record| record.ttl).min();
        Self {
            ttl: Duration::from_secs(seconds.unwrap_or(0).into()),
            ..Self::lasting(addresses)
        }
    }

    fn add(&mut self, address: IpAddr) {
        if !self.addresses.contains(&address) {
            self.addresses.push(address);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// All of both; they hold until the first of them ends.
    fn and(mut self, other: Self) -> Self {
        if self.is_empty() {
            return other;
        }
        if !other.is_empty() {
            self.ttl = self.ttl.min(other.ttl);
            self.addresses.extend(other.addresses);
        }
        self
    }
}

/// What two questions for one name come to. If one has failed, the other has to have
/// found something.
fn both<E>(first: Result<Answer, E>, second: Result<Answer, E>) -> Result<Answer, E> {
    match (first, second) {
        (Ok(first), Ok(second)) => Ok(first.and(second)),
        (Ok(found), Err(_)) | (Err(_), Ok(found)) if !found.is_empty() => Ok(found),
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

/// The addresses that `family` wants of those that `ask` tells of a kind. Where one
/// kind is preferred, the other is asked for if there are none.
pub(super) async fn of_family<E>(
    family: DnsLookupFamily,
    ask: impl AsyncFn(RecordType) -> Result<Answer, E>,
) -> Result<Answer, E> {
    let (preferred, other) = match family {
        DnsLookupFamily::V4Only => return ask(RecordType::A).await,
        DnsLookupFamily::V6Only => return ask(RecordType::AAAA).await,
        DnsLookupFamily::All => {
            let (v4, v6) = tokio::join!(ask(RecordType::A), ask(RecordType::AAAA));
            return both(v4, v6);
        }
        DnsLookupFamily::V4Preferred => (RecordType::A, RecordType::AAAA),
        DnsLookupFamily::Auto => (RecordType::AAAA, RecordType::A),
    };
    match ask(preferred).await {
        Ok(found) if !found.is_empty() => Ok(found),
        nothing => both(nothing, ask(other).await),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(addresses: &[&str], ttl: u64) -> Answer {
        let parse = |text: &&str| text.parse::<IpAddr>().unwrap_or_else(|e| panic!("{e}"));
        Answer {
            ttl: Duration::from_secs(ttl),
            ..Answer::lasting(addresses.iter().map(parse))
        }
    }

    type Asked = Result<Answer, &'static str>;

    async fn chosen(family: DnsLookupFamily, v4: &Asked, v6: &Asked) -> Asked {
        let answers = [(RecordType::A, v4), (RecordType::AAAA, v6)];
        of_family(family, async |kind| {
            let found = answers.iter().find(|(of, _)| *of == kind);
            found.map_or(Err("another kind"), |(_, answer)| (*answer).clone())
        })
        .await
    }

    #[tokio::test]
    async fn a_family_chooses_among_the_addresses() {
        use DnsLookupFamily::{All, Auto, V4Only, V4Preferred, V6Only};
        let (v4, v6) = (
            answer(&["127.0.0.1", "127.0.0.2", "127.0.0.1"], 9),
            answer(&["::1"], 5),
        );
        let (some_v4, some_v6) = (Ok(v4.clone()), Ok(v6.clone()));
        let none = Ok(Answer::default());
        let both = Ok(answer(&["127.0.0.1", "127.0.0.2", "::1"], 5));
        for (family, v4, v6, expected) in [
            (All, &some_v4, &some_v6, &both),
            (V4Only, &some_v4, &some_v6, &some_v4),
            (V6Only, &some_v4, &some_v6, &some_v6),
            (Auto, &some_v4, &some_v6, &some_v6),
            (V4Preferred, &some_v4, &some_v6, &some_v4),
            (Auto, &some_v4, &none, &some_v4),
            (V4Preferred, &none, &some_v6, &some_v6),
            (V6Only, &some_v4, &none, &none),
            (All, &none, &none, &none),
        ] {
            assert_eq!(&chosen(family, v4, v6).await, expected, "{family:?}");
        }
    }

    #[tokio::test]
    async fn what_one_question_has_found_outweighs_that_the_other_has_failed() {
        use DnsLookupFamily::{All, Auto, V4Preferred};
        let (found, none) = (Ok(answer(&["127.0.0.1"], 9)), Ok(Answer::default()));
        let failed = Err("failed");
        for family in [All, Auto, V4Preferred] {
            assert_eq!(chosen(family, &found, &failed).await, found, "{family:?}");
            assert_eq!(chosen(family, &none, &failed).await, failed, "{family:?}");
        }
        assert_eq!(chosen(Auto, &failed, &none).await, failed);
    }
}
