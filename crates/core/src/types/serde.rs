//! `serde` for what travels between processes: as the text or number that `Display` gives.

use std::borrow::Cow;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::types::owner::Owner;
use crate::types::ticket::Ticket;
use crate::types::token::FencingToken;

macro_rules! as_text {
    ($type:ty) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }
    };
}

as_text!(Owner);
as_text!(Ticket);

impl Serialize for FencingToken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.get())
    }
}

impl<'de> Deserialize<'de> for FencingToken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::IntoDeserializer;
    use serde::de::value::{Error, StrDeserializer, U64Deserializer};

    #[test]
    fn owners_and_tokens_are_read_back() {
        let owner = Owner::new();
        let text = owner.to_string();
        let from: StrDeserializer<'_, Error> = text.as_str().into_deserializer();
        assert_eq!(Owner::deserialize(from), Ok(owner), "an owner");
        let from: StrDeserializer<'_, Error> = "no owner".into_deserializer();
        assert!(Owner::deserialize(from).is_err(), "nonsense");
        let from: U64Deserializer<Error> = 7u64.into_deserializer();
        assert_eq!(
            FencingToken::deserialize(from),
            Ok(FencingToken::new(7)),
            "a token"
        );
    }
}
