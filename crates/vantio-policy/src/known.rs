//! The names that addresses were answers for.

use alloc::{borrow::ToOwned, string::String, vec::Vec};
use core::net::IpAddr;

use crate::trie::{
    Terminal,
    table::{Table, key},
};

/// Addresses, each in the first of its forms, and what is known of them.
#[derive(Clone, Debug)]
pub(crate) struct KnownNames {
    addresses: Vec<KnownAddress>,
    table: Table,
}

/// An address that was an answer.
#[derive(Clone, Debug)]
pub(crate) struct KnownAddress {
    address: IpAddr,
    /// At least one.
    answers: Vec<Answer>,
    /// The rules that cover one of the names, where somebody has looked for them.
    pub(crate) rules: Option<Vec<Terminal>>,
}

/// A name that an address was an answer for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) name: String,
    pub(crate) expires_unix_ms: u64,
}

impl KnownNames {
    pub(crate) fn new() -> Self {
        Self { addresses: Vec::new(), table: Table::new([].into_iter()) }
    }

    /// What is known of an address.
    #[inline]
    pub(crate) fn of(&self, address: IpAddr) -> Option<&KnownAddress> {
        self.addresses.get(self.find(address)?)
    }

    /// Remembers an answer. The rules for the address are then to be looked for.
    pub(crate) fn learn(&mut self, address: IpAddr, name: &str, expires_unix_ms: u64) -> &mut KnownAddress {
        let index = self.find(address).unwrap_or_else(|| self.add(address));
        let known = &mut self.addresses[index];
        known.rules = None;
        match known.answers.iter_mut().find(|answer| answer.name == name) {
            Some(answer) => answer.expires_unix_ms = answer.expires_unix_ms.max(expires_unix_ms),
            None => known.answers.push(Answer { name: name.to_owned(), expires_unix_ms }),
        }
        known
    }

    /// Forgets every answer for `name`, and gives `found` each address that was one and what is
    /// left to be known of it.
    pub(crate) fn forget(&mut self, name: &str, mut found: impl FnMut(&mut KnownAddress)) {
        for known in &mut self.addresses {
            let count = known.answers.len();
            known.answers.retain(|answer| answer.name != name);
            if known.answers.len() < count {
                found(known);
            }
        }
        self.addresses.retain(|known| !known.answers.is_empty());
        self.index();
    }

    fn add(&mut self, address: IpAddr) -> usize {
        let index = self.addresses.len();
        self.addresses.push(KnownAddress { address, answers: Vec::new(), rules: None });
        if !self.table.add(hash(address), index as u32) {
            self.index();
        }
        index
    }

    fn index(&mut self) {
        self.table = Table::new(self.addresses.iter().map(|known| hash(known.address)));
    }

    #[inline]
    fn find(&self, address: IpAddr) -> Option<usize> {
        let is =
            |index: u32| self.addresses.get(index as usize).is_some_and(|known| known.address == address);
        self.table.find(hash(address), is).map(|index| index as usize)
    }
}

impl KnownAddress {
    pub(crate) const fn address(&self) -> IpAddr {
        self.address
    }

    pub(crate) fn answers(&self) -> &[Answer] {
        &self.answers
    }

    /// The names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.answers.iter().map(|answer| answer.name.as_str())
    }
}

#[inline]
fn hash(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(v4) => key(u64::from(v4.to_bits()), 4),
        IpAddr::V6(v6) => key(v6.to_bits() as u64, 6) ^ key((v6.to_bits() >> 64) as u64, 7),
    }
}

#[cfg(test)]
mod tests {
    use alloc::{format, vec};
    use core::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn every_address_is_found_until_its_last_name_is_forgotten() {
        let addresses = |number: u32| -> [IpAddr; 2] {
            [Ipv4Addr::from_bits(number).into(), Ipv6Addr::from_bits(number.into()).into()]
        };
        let mut known = KnownNames::new();
        for number in 0..1_000 {
            for address in addresses(number) {
                known.learn(address, &format!("{}.org", number % 10), 7);
                known.learn(address, if number < 500 { "low.org" } else { "high.org" }, 7);
            }
        }
        let mut found = 0;
        known.forget("low.org", |_| found += 1);
        known.forget("3.org", |_| found += 1);
        assert_eq!(found, 1_200);
        for number in 0..1_100 {
            let mut expected = vec![format!("{}.org", number % 10)];
            expected.extend((number >= 500).then(|| "high.org".to_owned()));
            expected.retain(|name| number < 1_000 && name != "3.org");
            for address in addresses(number) {
                let names: Vec<&str> = known.of(address).into_iter().flat_map(KnownAddress::names).collect();
                assert_eq!(names, expected, "{address}");
                assert_eq!(known.of(address).is_none(), expected.is_empty(), "{address}");
            }
        }
    }
}
