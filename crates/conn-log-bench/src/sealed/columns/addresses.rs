//! A column of addresses: those of version 4 as numbers, those of version 6 as bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::bits::{In, Out};
use super::codes;
use super::ints;
use super::texts::number;

const MISSING: u8 = 0;
const V4: u8 = 4;
const V6: u8 = 6;

pub(super) fn write(
    addresses: impl Iterator<Item = Option<IpAddr>>,
    devices: &[u32],
    out: &mut Out,
) {
    let (codes, distinct) = number(addresses);
    codes::write(&codes, Some(devices), out);
    out.count(distinct.len());
    out.soft.extend(distinct.iter().map(|address| match address {
        None => MISSING,
        Some(IpAddr::V4(_)) => V4,
        Some(IpAddr::V6(_)) => V6,
    }));
    let four = distinct.iter().filter_map(|address| match address {
        Some(IpAddr::V4(address)) => Some(i64::from(address.to_bits())),
        _ => None,
    });
    ints::write(&four.collect::<Vec<_>>(), out);
    for address in distinct {
        if let Some(IpAddr::V6(address)) = address {
            out.hard.extend(address.octets());
        }
    }
}

/// A column that is read.
pub(super) struct Addresses {
    codes: Vec<u32>,
    distinct: Vec<Option<IpAddr>>,
}

impl Addresses {
    pub(super) fn read(devices: &[u32], from: &mut In<'_>) -> anyhow::Result<Self> {
        let codes = codes::read(devices.len(), Some(devices), from)?;
        let count = from.count()?;
        let kinds = from.bytes(count)?;
        let four: Vec<_> = kinds.iter().filter(|kind| **kind == V4).collect();
        let four = ints::Ints::read(four.len(), from)?;
        let mut place = 0;
        let address = |kind: &u8| {
            Ok(match *kind {
                V4 => {
                    place += 1;
                    Some(Ipv4Addr::from_bits(u32::try_from(four.get(place - 1))?).into())
                }
                V6 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(from.hard_bytes(16)?)?).into()),
                _ => None,
            })
        };
        let distinct = kinds.iter().map(address).collect::<anyhow::Result<_>>()?;
        Ok(Addresses { codes, distinct })
    }

    pub(super) fn get(&self, place: usize) -> Option<IpAddr> {
        self.distinct[self.codes[place] as usize]
    }
}
