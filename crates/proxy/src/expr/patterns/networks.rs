//! Networks of which the narrowest that holds an address is found in logarithmic time.
//!
//! Networks nest or are apart, so the narrowest that holds an address is the last one that begins
//! at or below it, or one of those that hold that one.

use std::net::{IpAddr, Ipv4Addr};

use crate::expr::network::Network;
use crate::expr::value::v6_to_v4;

const NONE: u32 = u32::MAX;

#[derive(Debug, Default)]
pub(crate) struct Networks {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
    /// IPv4 networks whose mask is no prefix.
    odd: Vec<(Network, u32)>,
}

#[derive(Debug, Default)]
struct Ranges<T>(Vec<Range<T>>);

#[derive(Debug, Clone, Copy)]
struct Range<T> {
    first: T,
    last: T,
    entry: u32,
    parent: u32,
}

impl Networks {
    pub(crate) fn build(networks: &[(Network, u32)]) -> Self {
        let mut built = Self::default();
        for &(network, entry) in networks {
            match network.range() {
                Some((IpAddr::V4(first), IpAddr::V4(last))) => {
                    built.v4.push(first.to_bits(), last.to_bits(), entry);
                }
                Some((IpAddr::V6(first), IpAddr::V6(last))) => {
                    built.v6.push(first.to_bits(), last.to_bits(), entry);
                }
                _ => built.odd.push((network, entry)),
            }
        }
        built.v4.nest();
        built.v6.nest();
        built
    }

    pub(crate) fn find(&self, address: IpAddr) -> Option<u32> {
        let v4 = |address: Ipv4Addr| self.v4.find(address.to_bits());
        let found = match address {
            IpAddr::V4(address) => {
                v4(address).or_else(|| self.v6.find(address.to_ipv6_mapped().to_bits()))
            }
            IpAddr::V6(address) => {
                self.v6.find(address.to_bits()).or_else(|| v6_to_v4(address).and_then(v4))
            }
        };
        found.or_else(|| {
            self.odd.iter().find(|(network, _)| network.contains(address)).map(|&(_, entry)| entry)
        })
    }
}

impl<T: Ord + Copy> Ranges<T> {
    fn push(&mut self, first: T, last: T, entry: u32) {
        self.0.push(Range { first, last, entry, parent: NONE });
    }

    /// Sorts, and tells each range which one holds it. Of equal ranges the first entry stays.
    fn nest(&mut self) {
        self.0.sort_unstable_by(|a, b| {
            a.first.cmp(&b.first).then(b.last.cmp(&a.last)).then(a.entry.cmp(&b.entry))
        });
        self.0.dedup_by(|second, first| second.first == first.first && second.last == first.last);
        let mut open: Vec<u32> = Vec::new();
        for index in 0..self.0.len() {
            while let Some(&top) = open.last()
                && self.0[top as usize].last < self.0[index].first
            {
                open.pop();
            }
            self.0[index].parent = open.last().copied().unwrap_or(NONE);
            open.push(index as u32);
        }
    }

    fn find(&self, address: T) -> Option<u32> {
        let above = self.0.partition_point(|range| range.first <= address);
        let mut next = above.checked_sub(1).and_then(|last| self.0.get(last));
        while let Some(range) = next {
            if address <= range.last {
                return Some(range.entry);
            }
            next = self.0.get(range.parent as usize);
        }
        None
    }
}
