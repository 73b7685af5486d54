//! What is remembered of each address for the limiter: one number, for a bounded number of addresses.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;

/// One address of IPv4, or the 64 bits of one of IPv6 that name a network: who has one address of it has them all.
/// Requests whose address is not known share a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::http) struct Network(Option<IpAddr>);

impl Network {
    pub(in crate::http) fn of(address: Option<IpAddr>) -> Self {
        Self(address.map(|address| match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = address.to_bits() >> 64 << 64;
                IpAddr::V6(Ipv6Addr::from_bits(network))
            }
            address @ IpAddr::V4(_) => address,
        }))
    }
}

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::http) enum Whose {
    /// The client's.
    Theirs,
    /// Ours, or an issuer's. It takes nothing from what a client may fail; its own budget is that of lines in the log.
    Ours,
}

/// What is asked of the limiter about an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Question {
    pub network: Network,
    pub whose: Whose,
    /// Whether one is taken if there is one left, or it is only looked whether there is.
    pub takes: bool,
}

/// What each address has used. `None` instead of one is the place that those share for whom there is no room, so that a
/// flood from invented addresses buys the budget of one.
pub(super) struct Addresses {
    most: usize,
    used: Mutex<HashMap<(Option<Network>, Whose), Nanos>>,
}

impl Addresses {
    /// Remembers `most` addresses by themselves.
    pub(super) fn at_most(most: usize) -> Self {
        Self {
            most,
            used: Mutex::default(),
        }
    }
}

impl StateStore for Addresses {
    type Key = Question;

    fn measure_and_replace<T, F, E>(&self, question: &Question, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let own = (Some(question.network), question.whose);
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let has_own = used.contains_key(&own) || used.len() < self.most;
        let place = if has_own { own } else { (None, own.1) };
        let (outcome, after) = measure(used.get(&place).copied())?;
        if question.takes {
            used.insert(place, after);
        }
        Ok(outcome)
    }
}

impl ShrinkableKeyedStateStore<Question> for Addresses {
    fn retain_recent(&self, drop_below: Nanos) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|_, until| *until > drop_below);
        used.shrink_to_fit();
    }

    fn len(&self) -> usize {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        Network::of(Some(text.parse().unwrap()))
    }

    #[test]
    fn who_has_an_address_of_ipv6_has_its_whole_network() {
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:2"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }
}
